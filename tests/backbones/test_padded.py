import keras
import numpy as np
import pytest

from metro_tf.backbones import padded
from tests import helpers


def numbered_image(side=4):
    return np.arange(1, side ** 2 + 1, dtype=np.float32).reshape(1, side, side, 1)


@pytest.mark.parametrize('padding, expected', [
    ((0, 0), [[1, 2], [3, 4]]),
    ((1, 0), [[0, 0, 0], [0, 1, 2], [0, 3, 4]]),
    ((-1, 1), [[4, 0], [0, 0]]),
    ((0, -1), [[1]])])
def test_pad_image(padding, expected):
    np.testing.assert_array_equal(
        padded.pad_image(numbered_image(2), padding)[0, ..., 0], expected)


@pytest.mark.parametrize('padding, expected', [
    ((1, 1), [[14, 30], [57, 99]]),  # 1 + 2 + 5 + 6 = 14
    ((0, 2), [[54, 45], [72, 54]])])  # 1 + 2 + 3 + 5 + 6 + 7 + 9 + 10 + 11 = 54
def test_convolutions_by_hand(padding, expected):
    settings = {'strides': 2, 'explicit_padding': padding, 'use_bias': False}
    conv = padded.PaddedConv2D(1, 3, kernel_initializer='ones', **settings)
    depthwise = padded.PaddedDepthwiseConv2D(3, depthwise_initializer='ones', **settings)
    for layer in (conv, depthwise):
        np.testing.assert_allclose(layer(numbered_image())[0, ..., 0], expected, rtol=1e-6)


def test_pooling_pads_with_zeros():
    pooling = padded.PaddedMaxPooling2D(3, strides=2, explicit_padding=(1, 1))
    np.testing.assert_array_equal(pooling(-numbered_image())[0, ..., 0], [[0, 0], [0, -6]])


@pytest.mark.parametrize('shift, expected', [(0, [[1, 3], [9, 11]]), (1, [[6, 8], [14, 16]])])
def test_1x1_operations_take_every_second_cell(shift, expected):
    padding = (-shift, shift)
    conv = padded.PaddedConv2D(
        1, 1, explicit_padding=padding, input_step=2, kernel_initializer='ones')
    pooling = padded.PaddedMaxPooling2D(1, strides=2, explicit_padding=padding)
    for layer in (conv, pooling):
        np.testing.assert_array_equal(layer(numbered_image())[0, ..., 0], expected)


@pytest.mark.parametrize('layer_cls, kwargs', [
    (padded.PaddedConv2D, {'filters': 3, 'kernel_size': [3, 3], 'strides': [2, 2]}),
    (padded.PaddedConv2D, {'filters': 3, 'kernel_size': [1, 1], 'input_step': 2}),
    (padded.PaddedDepthwiseConv2D, {'kernel_size': [3, 3], 'strides': [2, 2]}),
    (padded.PaddedMaxPooling2D, {'pool_size': [3, 3], 'strides': [2, 2]})])
@pytest.mark.parametrize('side', [6, 7])
def test_layers(layer_cls, kwargs, side):
    kwargs = {**kwargs, 'explicit_padding': [0, 2]}
    images = np.random.default_rng(0).random((2, side, side + 2, 2)).astype(np.float32)
    helpers.check_layer(layer_cls, kwargs, images)
    symbolic = layer_cls(**kwargs)(keras.Input(images.shape[1:]))
    assert tuple(symbolic.shape) == (None, *layer_cls(**kwargs)(images).shape[1:])
