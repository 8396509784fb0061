"""Stride 32 in training and stride 4 otherwise, with the same weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.backbones import builder, striding, two_strides
from tests import helpers
from tests.backbones import probes, test_striding

COARSE = {'stride': 2, 'dilation': 1, 'padding': [0, 2]}
FINE = {'stride': 1, 'dilation': 2, 'padding': [2, 2]}


def random_images(side=64):
    return np.random.default_rng(0).random((2, side, side, 3)).astype(np.float32)


def make_two(name='resnet50', test_stride=4):
    return striding.restride(
        probes.network(name), builder.FAMILIES[name].scaling, test_stride=test_stride)


def test_convolution_by_hand():
    """The kernel takes the middle pixel: the one at 2 i + 1 or the one at i."""
    layer = two_strides.TwoStrideConv2D(1, 3, COARSE, FINE, bias_initializer='ones')
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    layer(image)
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 1
    layer.set_weights([kernel, np.ones(1)])
    np.testing.assert_array_equal(layer(image, training=True)[0, ..., 0], [[6, 8], [14, 16]])
    np.testing.assert_array_equal(layer(image), 1 + image)


def test_single_pixels_by_hand():
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    pooling = two_strides.TwoStrideMaxPooling2D(
        1, {**COARSE, 'padding': [-1, 1]}, {**FINE, 'padding': [0, 0]})
    np.testing.assert_array_equal(pooling(image, training=True)[0, ..., 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(pooling(image), image)
    wide = two_strides.TwoStrideMaxPooling2D(3, COARSE, {**COARSE, 'padding': [1, 1]})
    np.testing.assert_array_equal(wide(image, training=True)[0, ..., 0], [[10, 11], [14, 15]])
    np.testing.assert_array_equal(wide(image)[0, ..., 0], [[5, 7], [13, 15]])


@pytest.mark.parametrize('layer_cls, size', [
    (two_strides.TwoStrideConv2D, {'filters': 2, 'kernel_size': 3}),
    (two_strides.TwoStrideMaxPooling2D, {'pool_size': 3})])
def test_layers(layer_cls, size):
    images = random_images(8)
    if layer_cls is two_strides.TwoStrideConv2D:
        # Its first two arguments come back as Keras stores them, the size as a pair.
        size = {'filters': 2, 'kernel_size': (3, 3)}
    helpers.check_layer(
        layer_cls, {**size, 'train_geometry': COARSE, 'test_geometry': FINE}, images)


@pytest.mark.parametrize('training, output_stride', [(True, 32), (False, 4)])
def test_equals_the_backbone_of_one_stride(training, output_stride):
    """On the small network, which has every kind of operation that ResNets have."""
    both = striding.restride(
        plain_network(), test_striding.SCALING, test_stride=4)
    one = striding.restride(
        plain_network(), test_striding.SCALING, output_stride=output_stride)
    weights = [np.random.default_rng(1).normal(0, 0.3, w.shape) ** 2 for w in one.get_weights()]
    one.set_weights(weights)
    both.set_weights(weights)
    expected = one(random_images())
    assert expected.shape == (2, 64 // output_stride, 64 // output_stride, 4)
    np.testing.assert_allclose(both(random_images(), training=training), expected, rtol=1e-4)


def plain_network():
    """Strides in 3x3 and 1x1 convolutions, in a pooling and in the choice of single pixels."""
    layers = keras.layers
    image = keras.Input((striding.ANALYSIS_SIDE_PX,) * 2 + (3,))
    x = layers.Rescaling(1 / 127.5, -1)(image)
    x = layers.Conv2D(4, 3, strides=2, padding='same')(x)
    x = layers.ZeroPadding2D(1)(x)
    x = layers.MaxPooling2D(3, strides=2)(x)
    x = layers.Conv2D(4, 1, strides=2)(x)
    x = layers.Conv2D(4, 3, padding='same', activation='relu')(x)
    shortcut = layers.MaxPooling2D(1, strides=2)(x)
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Add()([shortcut, layers.Conv2D(4, 3, strides=2)(x)])
    x = layers.Conv2D(4, 3, strides=2, padding='same')(x)
    return keras.Model(image, layers.Conv2D(4, 3, padding='same')(x))


def test_revives_with_both_strides(tmp_path):
    model = striding.restride(plain_network(), test_striding.SCALING, test_stride=4)
    model.save(tmp_path / 'model.keras')
    revived = keras.models.load_model(tmp_path / 'model.keras')
    for training, side in ((True, 2), (False, 16)):
        features = revived(random_images(), training=training)
        assert features.shape == (2, side, side, 4)
        np.testing.assert_allclose(features, model(random_images(), training=training), atol=1e-6)


def test_both_strides_have_gradients():
    model = striding.restride(plain_network(), test_striding.SCALING, test_stride=4)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def gradients(images):
        with tf.GradientTape(persistent=True) as tape:
            values = [tf.reduce_mean(model(images, training=training) ** 2)
                      for training in (True, False)]
        return [tape.gradient(value, model.trainable_variables) for value in values]

    for gradient in tf.nest.flatten(gradients(random_images())):
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize('name', [
    'resnet50', pytest.param('resnet50_v2', marks=pytest.mark.slow)])
def test_resnets(name):
    both = make_two(name)
    published = [tuple(weight.shape) for weight in probes.network(name).weights]
    assert [tuple(weight.shape) for weight in both.weights] == published
    image = random_images()[:1]
    assert both(image, training=True).shape == (1, 2, 2, 2048)
    fine = probes.restrided(name, 4)
    fine.set_weights(both.get_weights())
    expected = fine(image)
    assert expected.shape == (1, 16, 16, 2048)
    np.testing.assert_allclose(both(image), expected, rtol=1e-3, atol=1e-4)


def test_mixed_precision(dtype_policy):
    dtype_policy('mixed_bfloat16')
    model = striding.restride(plain_network(), test_striding.SCALING, test_stride=8)
    for training in (True, False):
        assert model(random_images(), training=training).dtype == tf.bfloat16


def test_without_centring_cells_lie_at_multiples_of_the_stride():
    model = striding.restride(
        plain_network(), test_striding.SCALING, centred_stride=0, test_stride=4)
    paddings = {
        training: [tuple(layer.get_config()[f'{training}_geometry']['padding'])
                   for layer in model.layers
                   if isinstance(layer, two_strides.TwoStrideConv2D)]
        for training in ('train', 'test')}
    assert paddings == {
        'train': [(0, 0), (1, 1), (1, 1), (1, 1), (1, 1)],
        'test': [(0, 0), (2, 2), (2, 2), (4, 4), (8, 8)]}


def test_refusals():
    for name in ('mobilenet_v3_small', 'efficientnet_v2_s'):
        with pytest.raises(ValueError, match='`test_stride` is offered for networks without depth'):
            make_two(name)
    for kwargs in (
            {'test_stride': 2}, {'output_stride': 8, 'test_stride': 16},
            {'test_stride': 4, 'centred_stride': 8}):
        with pytest.raises(ValueError, match='`test_stride` must be one of .* Received: test_str'):
            striding.restride(plain_network(), test_striding.SCALING, **kwargs)
