"""The first layers of published networks as backbones of stride 8, as in MargiPose."""

import functools
import os

import keras
import numpy as np

from metro_tf import checks
from metro_tf.backbones import early_resnet, inception_v4, published_layers

OUTPUT_STRIDE = 8
FAMILIES = {
    'inception_v4': inception_v4.first_modules,
    **{f'resnet{depth}': functools.partial(early_resnet.first_stages, depth=depth)
       for depth in early_resnet.N_BLOCKS}}


def build_truncated(name='inception_v4', n_channels=128, weights=None, input_shape=(None, None, 3)):
    """Builds the beginning of a published network, reduced to a number of channels.

    The network ends in a 1x1 convolution, a normalisation and a ReLU where it has another number
    of channels at stride 8 than wanted: 384 and 512 in Inception-v4 and ResNet-50, but the wanted
    128 in the smaller ResNets. Padding is symmetric, so cell i sees pixel `8 i`; the heatmap
    layers, for which it lies at `8 i + 4`, learn the difference.

    Args:
        name: A key of `FAMILIES`.
        n_channels: Number of output channels.
        weights: None for new weights; the path of a Keras weights file of this backbone; or of an
            .npz file with the published PyTorch weights of the whole network, arrays under their
            names there: `numpy.savez(path, **{k: v.numpy() for k, v in state_dict.items()})`. The
            latter know nothing of the reduction, which starts anew.
        input_shape: Shape of an image, without the batch. Sizes may be None; they should be
            multiples of 8.

    Returns:
        Functional model from float images `[batch, y, x, 3]`, RGB in `[0, 1]`, to features
        `[batch, y / 8, x / 8, n_channels]`.

    Raises:
        ValueError: If the name is unknown, or the weights are missing or do not fit.

    Source: Nibali et al., WACV 2019.
    """
    checks.one_of(name, FAMILIES, 'name')
    checks.positive(n_channels, 'n_channels')
    image = keras.Input(input_shape, name='image')
    features = FAMILIES[name](published_layers.normalize_colors(image))
    if features.shape[-1] != n_channels:
        features = _reduce(features, n_channels)
    backbone = keras.Model(image, features, name=f'{name}_truncated')
    if weights is not None:
        _load_weights(backbone, weights)
    return backbone


def _reduce(features, n_channels):
    # The initial values are the defaults of PyTorch, as published.
    limit = float(features.shape[-1]) ** -0.5
    features = keras.layers.Conv2D(
        n_channels, 1, kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        bias_initializer=keras.initializers.RandomUniform(-limit, limit),
        name='reduction_conv')(features)
    features = keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, name='reduction_norm')(features)
    return keras.layers.ReLU(name='reduction_relu')(features)


def _load_weights(backbone, path):
    if not os.path.isfile(path):
        raise ValueError(
            f'`weights` must be None or the path of a weights file. Received: weights={path}')
    try:
        if str(path).endswith('.npz'):
            with np.load(path) as tensors:
                published_layers.take_over(_published(backbone), tensors)
        else:
            backbone.load_weights(path)
    except Exception as error:  # the kind depends on the Keras version and on what does not fit
        raise ValueError(
            f'`weights` must be a weights file that fits {backbone.name}. '
            f'Received: weights={path}, which failed with: {error}') from error


def _published(backbone):
    """The layers with weights but for those of the reduction."""
    return [layer for layer in backbone.layers
            if layer.weights and not layer.name.startswith('reduction_')]
