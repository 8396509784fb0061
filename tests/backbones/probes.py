"""Thin copies of backbones with the same geometry, cheap enough for very large images."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.backbones import builder, padded, striding


class TakeFirst(keras.layers.Layer):
    """Stands for a product whose second factor shall not count."""

    def call(self, inputs, mask=None):
        return inputs[0]

    def compute_output_shape(self, input_shape):
        return input_shape[0]


class Identity(keras.layers.Layer):
    """Stands for a layer that shall do nothing; takes whatever arguments the layer took."""

    def call(self, inputs, training=None, mask=None):
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


class PaddedMean(keras.layers.Layer):
    """Stands for a maximum pooling, whose gradient has no meaningful centre on equal values."""

    def __init__(self, pooling, **kwargs):
        super().__init__(**kwargs)
        self.padding = getattr(pooling, 'explicit_padding', (0, 0))
        self.size, self.stride = pooling.pool_size[0], pooling.strides[0]

    def call(self, inputs):
        return tf.nn.avg_pool2d(
            padded.pad_image(inputs, self.padding), self.size, self.stride, 'VALID')


# Networks that take most of a minute to build.
HEAVY = ('efficientnet_v2_m', 'efficientnet_v2_l')


def families():
    """Names of all families for `pytest.mark.parametrize`, with the heavy ones marked as slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in HEAVY))
            for name in builder.FAMILIES]


@functools.lru_cache(maxsize=None)
def network(name):
    """The published network. Heavy ones, too, are kept until the test module ends (see `conftest`;
    the others are for all tests).
    """
    return builder.FAMILIES[name].make_network()


def restrided(name, output_stride):
    """The backbone at a stride, as the builder makes it, a new one with weights of its own."""
    chosen = builder.FAMILIES[name]
    return striding.restride(
        network(name), chosen.scaling, output_stride=output_stride,
        first_padding=chosen.first_padding)


@functools.lru_cache(maxsize=None)
def restrided_probe(name, output_stride):
    """`linear_probe` of `restrided`, kept until the test module ends."""
    return linear_probe(restrided(name, output_stride))


def linear_probe(backbone):
    """Copy with one channel, positive constant kernels and nothing that is not linear.

    The gradient of a cell is then its receptive field, whose centroid is the field's centre.
    """
    return keras.models.clone_model(
        backbone, input_tensors=keras.Input((None, None, 3)),
        clone_function=functools.partial(_thin_layer, n_channels=1, is_linear=True))


def random_probe(backbone, n_channels=4):
    """Copy with few channels and random weights. Nonlinear, but without squeeze-and-excitation.

    (Its global mean depends on the whole image, so nothing would be exactly equivariant.)
    """
    return keras.models.clone_model(
        backbone, input_tensors=keras.Input((None, None, 3)),
        clone_function=functools.partial(_thin_layer, n_channels=n_channels, is_linear=False))


def _thin_layer(layer, n_channels, is_linear):
    is_excitation = 'excit' in layer.name.lower()
    if isinstance(layer, (keras.layers.GlobalAveragePooling2D, keras.layers.Reshape)):
        return Identity(name=layer.name)
    if isinstance(layer, keras.layers.Multiply) and (is_linear or is_excitation):
        return TakeFirst(name=layer.name)
    if is_linear and isinstance(layer, keras.layers.MaxPooling2D):
        return PaddedMean(layer, name=layer.name)
    if is_linear and isinstance(layer, (
            keras.layers.BatchNormalization, keras.layers.Activation, keras.layers.ReLU)):
        return Identity(name=layer.name)
    config = layer.get_config()
    if isinstance(layer, keras.layers.Conv2D) and 'filters' in config:
        config['filters'] = n_channels
    if 'gamma_initializer' in config:
        config['gamma_initializer'] = 'ones'  # also where blocks begin as the identity
    for key in ('kernel_initializer', 'depthwise_initializer'):
        if key in config:
            config[key] = (
                keras.initializers.Constant(1 / layer.kernel_size[0] ** 2) if is_linear
                else 'he_normal')
    if isinstance(layer, keras.layers.Conv2D):
        config['activation'] = 'linear' if is_linear else config['activation']
    return type(layer).from_config(config)


def receptive_centroid(model, image_shape, cell):
    """Centroid (y, x) in px of the receptive field of an output cell.

    Args:
        model: Result of `linear_probe`.
        image_shape: (height, width).
        cell: (row, column).

    Returns:
        Tuple of the centroid, of the extent: rows (first, last) and columns (first, last) that
        matter, and of the output's (height, width).
    """
    image = tf.ones([1, *image_shape, 3])
    with tf.GradientTape() as tape:
        tape.watch(image)
        features = model(image)
        value = features[0, cell[0], cell[1], 0]
    field = np.abs(tape.gradient(value, image).numpy().astype(np.float64)[0]).sum(-1)
    marginals = field.sum(1), field.sum(0)
    centroid = [np.arange(len(m)) @ m / m.sum() for m in marginals]
    extent = [(np.flatnonzero(m)[0], np.flatnonzero(m)[-1]) for m in marginals]
    return centroid, extent, features.shape[1:3]
