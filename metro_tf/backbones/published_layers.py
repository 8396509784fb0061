"""Layers of networks that were published in PyTorch, under the names that they have there.

A layer is called as in the published list of weights, with underscores for dots (Keras allows no
dots): `features_3_conv_conv` for `features.3.conv.conv`. So weights can be taken over by name.
"""

import keras
import numpy as np

from metro_tf.backbones import padded

IMAGENET_MEANS = (0.485, 0.456, 0.406)
IMAGENET_DEVIATIONS = (0.229, 0.224, 0.225)
# Published names of a layer's weights, in the order of Keras.
_CONV_PARTS = ('weight',)
_NORM_PARTS = ('weight', 'bias', 'running_mean', 'running_var')


def normalize_colors(image, name='normalization'):
    """Images in [0, 1] to the means 0 and deviations 1 of ImageNet. Float32 under any policy."""
    return keras.layers.Rescaling(
        [1 / deviation for deviation in IMAGENET_DEVIATIONS],
        [-mean / deviation for mean, deviation in zip(IMAGENET_MEANS, IMAGENET_DEVIATIONS)],
        dtype='float32', name=name)(image)


def conv_norm(x, n_channels, kernel_size, names, *, stride=1, epsilon=1e-5):
    """A convolution without bias and a batch normalisation.

    Args:
        x: Symbolic features `[batch, y, x, channels]`.
        n_channels: Number of output channels.
        kernel_size: Odd int, or a pair of them (rows, columns).
        names: Pair of the published names of the convolution and of the normalisation.
        stride: Stride of the convolution, which is padded by half its kernel on all sides.
        epsilon: See `keras.layers.BatchNormalization`.
    """
    conv_name, norm_name = (name.replace('.', '_') for name in names)
    settings = {
        'use_bias': False, 'name': conv_name,
        'kernel_initializer': keras.initializers.VarianceScaling(
            2.0, 'fan_out', 'untruncated_normal')}
    if stride == 1:
        conv = keras.layers.Conv2D(n_channels, kernel_size, padding='same', **settings)
    elif kernel_size == 1:
        conv = padded.PaddedConv2D(n_channels, 1, input_step=stride, **settings)
    else:
        margin = kernel_size // 2
        conv = padded.PaddedConv2D(
            n_channels, kernel_size, explicit_padding=(margin, margin), strides=stride, **settings)
    norm = keras.layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=norm_name)
    return norm(conv(x))


def max_pool(x, name):
    """Maximum pooling 3x3 of stride 2 with symmetric padding. Zero pads, as nothing is negative."""
    return padded.PaddedMaxPooling2D(
        3, strides=2, explicit_padding=(1, 1), name=name.replace('.', '_'))(x)


def take_over(layers, tensors):
    """Sets the weights of convolutions and normalisations from a published list.

    Args:
        layers: Sequence of layers of this module, with weights.
        tensors: Mapping from published names to arrays, kernels `[out, in, rows, columns]`. It may
            contain more than is needed.

    Raises:
        ValueError: If the list lacks something or a shape does not fit.
    """
    by_layer = {}
    for name in tensors:
        prefix, _, part = name.rpartition('.')
        by_layer.setdefault(prefix.replace('.', '_'), {})[part] = name
    for layer in layers:
        parts = by_layer.get(layer.name, {})
        _set_weights(layer, {part: np.asarray(tensors[name]) for part, name in parts.items()})


def _set_weights(layer, parts):
    is_norm = isinstance(layer, keras.layers.BatchNormalization)
    wanted = _NORM_PARTS if is_norm else _CONV_PARTS
    if not set(wanted) <= set(parts):
        raise ValueError(
            f'`tensors` must contain {wanted} for {layer.name}. Received: {sorted(parts)}')
    values = [parts[name] for name in wanted]
    if not is_norm:
        values = [np.transpose(values[0], (2, 3, 1, 0))]
    shapes = [tuple(weight.shape) for weight in layer.weights]
    if [value.shape for value in values] != shapes:
        raise ValueError(
            f'`tensors` must have the shapes {shapes} for {layer.name}. '
            f'Received: {[value.shape for value in values]}')
    layer.set_weights(values)
