import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.backbones import builder
from tests.backbones import probes

N_CHANNELS = {
    'compact_resnet': 192, 'mobilenet_v3_small': 576, 'mobilenet_v3_large': 960,
    'mobilenet_v3_small_1024': 1024, 'mobilenet_v3_large_1280': 1280, 'resnet50': 2048,
    'resnet50_v2': 2048, 'efficientnet_v2_s': 1280, 'efficientnet_v2_m': 1280,
    'efficientnet_v2_l': 1280}

CASES = [
    pytest.param(name, stride, marks=[pytest.mark.slow] * (
        name in probes.HEAVY or name == 'efficientnet_v2_s' and stride == 8))
    for name in builder.FAMILIES for stride in (32, 8)]


def random_images(side=64):
    return np.random.default_rng(0).random((2, side, side, 3)).astype(np.float32)


@pytest.mark.parametrize('name, stride', CASES)
def test_features_and_weights(name, stride, releases_graphs):
    backbone = probes.restrided(name, stride)
    features = backbone(random_images())
    assert features.shape == (2, 64 // stride, 64 // stride, N_CHANNELS[name])
    assert np.all(np.isfinite(features)) and np.std(features) > 0
    # Those of the published network at every stride.
    assert [tuple(weight.shape) for weight in backbone.weights] == [
        tuple(weight.shape) for weight in probes.network(name).weights]


def test_last_layer_is_the_hard_swish_of_a_convolution():
    backbone = probes.restrided('mobilenet_v3_small_1024', 32)
    layer = backbone.get_layer('Conv_2')
    assert tuple(layer.kernel.shape) == (1, 1, 576, 1024) and layer.use_bias
    values = keras.Model(backbone.input, [layer.output, backbone.output])(random_images())
    before, after = (np.asarray(value) for value in values)
    np.testing.assert_allclose(after, before * np.clip(before + 3, 0, 6) / 6, atol=1e-6)


def test_weights_move_between_strides():
    coarse = builder.build_backbone('mobilenet_v3_small')
    fine = builder.build_backbone('mobilenet_v3_small', 8)
    fine.set_weights(coarse.get_weights())
    for after, before in zip(fine.get_weights(), coarse.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize('name', ['mobilenet_v3_small', 'resnet50'])
def test_dilated_backbones_have_gradients(name):
    backbone = probes.restrided(name, 8)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def gradients(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(backbone(images, training=True)))
        return tape.gradient(loss, backbone.trainable_variables)

    for gradient in gradients(random_images()):
        assert np.all(np.isfinite(gradient))


def test_settings_reach_the_network():
    backbone = builder.build_backbone(
        'mobilenet_v3_small', 16, input_shape=(96, 64, 3), bn_momentum=0.98)
    assert tuple(backbone.input_shape) == (None, 96, 64, 3)
    assert tuple(backbone.output_shape) == (None, 6, 4, 576)
    norms = [layer for layer in backbone.layers
             if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 34 and {norm.momentum for norm in norms} == {0.98}
    assert norms[0].epsilon == 1e-3


def test_published_momentum_by_default():
    norms = [layer for layer in probes.restrided('mobilenet_v3_small', 32).layers
             if isinstance(layer, keras.layers.BatchNormalization)]
    assert {norm.momentum for norm in norms} == {0.999}


def test_own_weights_file(tmp_path):
    source = builder.build_backbone('mobilenet_v3_small')
    path = str(tmp_path / 'own.weights.h5')
    source.save_weights(path)
    loaded = builder.build_backbone('mobilenet_v3_small', 16, weights=path)
    assert_equal_weights(loaded, source)


@pytest.mark.parametrize('file_name', ['published.weights.h5', 'published.h5'])
def test_weights_file_of_keras_applications(file_name, tmp_path):
    source = keras.applications.MobileNetV3Small(
        (64, 64, 3), include_top=False, weights=None, include_preprocessing=False)
    path = str(tmp_path / file_name)
    # Recent versions read the old form of the published files, but write only whole models so.
    (source.save if file_name == 'published.h5' else source.save_weights)(path)
    loaded = builder.build_backbone('mobilenet_v3_small', weights=path)
    assert_equal_weights(loaded, source)


def assert_equal_weights(actual, expected):
    for weight, wanted in zip(actual.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, wanted)


def test_float16_policy(dtype_policy):
    dtype_policy('mixed_float16')
    backbone = builder.build_backbone('mobilenet_v3_small')
    features = backbone(random_images())
    assert features.dtype == tf.float16
    assert np.all(np.isfinite(features))
    assert backbone.trainable_variables[0].dtype == 'float32'


def test_refuses_names():
    with pytest.raises(ValueError, match=re.escape("Received: name='vgg16'")):
        builder.build_backbone('vgg16')


def test_refuses_missing_weights(tmp_path):
    with pytest.raises(ValueError, match='`weights` must be None or the path of a weights file'):
        builder.build_backbone('mobilenet_v3_small', weights=str(tmp_path / 'none.weights.h5'))


def test_refuses_weights_that_do_not_fit(tmp_path):
    image = keras.Input((8, 8, 3))
    other = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
    path = str(tmp_path / 'other.weights.h5')
    other.save_weights(path)
    with pytest.raises(ValueError, match='`weights` must be a Keras weights file that fits mobile'):
        builder.build_backbone('mobilenet_v3_small', weights=path)


def test_refuses_damaged_weights(tmp_path):
    path = tmp_path / 'damaged.weights.h5'
    path.write_bytes(b'not a weights file')
    with pytest.raises(ValueError, match='`weights` must be a Keras weights file that fits mobile'):
        builder.build_backbone('mobilenet_v3_small', weights=str(path))
