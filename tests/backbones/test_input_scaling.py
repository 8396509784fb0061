import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.backbones import builder, input_scaling, mobilenet_v3, resnet
from tests import helpers

RGB = np.float32([1.0, 0.5, 0.0]).reshape(1, 1, 1, 3)


def test_scaling_to_plus_minus_one():
    np.testing.assert_allclose(
        input_scaling.InputScaling(**mobilenet_v3.SMALL.scaling)(RGB).numpy().ravel(), [1, 0, -1])


def test_caffe_means_belong_to_blue_green_red():
    scaled = input_scaling.InputScaling(**resnet.RESNET50.scaling)(RGB).numpy().ravel()
    np.testing.assert_allclose(scaled, [0 - 103.939, 127.5 - 116.779, 255 - 123.68], rtol=1e-5)
    np.testing.assert_allclose(
        scaled, keras.applications.resnet.preprocess_input(255 * RGB).ravel(), rtol=1e-5)


def test_layer():
    images = np.random.default_rng(0).random((2, 4, 5, 3)).astype(np.float32)
    helpers.check_layer(
        input_scaling.InputScaling,
        {'scale': 255.0, 'means': [1.0, 2.0, 3.0], 'is_bgr': True}, images)


@pytest.mark.parametrize('policy', ['mixed_float16', 'mixed_bfloat16'])
def test_no_bit_is_lost_before_the_means_are_subtracted(policy, dtype_policy):
    images = np.float32([0.501, 0.4985, 0.503]).reshape(1, 1, 1, 3)
    dtype_policy(policy)
    layer = input_scaling.InputScaling()
    assert layer(images).dtype == tf.float32
    # From a half-precision image it would be off by 1e-4 or 1e-3.
    np.testing.assert_allclose(layer(images).numpy().ravel(), [0.002, -0.003, 0.006], atol=1e-6)


def test_the_next_layer_rounds(dtype_policy):
    dtype_policy('mixed_float16')
    backbone = builder.build_backbone('compact_resnet', 32, input_shape=(64, 64, 3))
    assert backbone.get_layer('input_scaling').compute_dtype == 'float32'
    convs = [layer for layer in backbone.layers if 'Conv' in type(layer).__name__]
    assert {layer.compute_dtype for layer in convs} == {'float16'}
    assert backbone(tf.zeros([1, 64, 64, 3])).dtype == tf.float16


def test_refuses_other_than_three_means():
    with pytest.raises(ValueError, match=r'`means` must be three numbers. Received: means=\(1,'):
        input_scaling.InputScaling(means=(1, 2))
