import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import helpers
from training import backbone_changes
from training.backbone_changes import GhostBatchNormalization


def make_backbone():
    image = keras.Input([None, None, 3])
    x = keras.layers.Conv2D(4, 3, use_bias=False, name='conv')(image)
    x = keras.layers.BatchNormalization(momentum=0.5, name='bn')(x)
    x = keras.layers.DepthwiseConv2D(3, use_bias=False, name='depthwise')(x)
    return keras.Model(image, keras.layers.ReLU()(x))


def test_groups_are_normalised_separately():
    layer = GhostBatchNormalization((2, 1), momentum=0.5, epsilon=0.0, center=False, scale=False)
    # Means 2 and 7, variances 1 and 4.
    inputs = np.float32([[1, 1], [3, 3], [5, 9]]).reshape(3, 1, 2, 1)
    layer.build(inputs.shape)
    outputs = layer(inputs, training=True)
    np.testing.assert_allclose(np.ravel(outputs), [-1, -1, 1, 1, -1, 1], atol=1e-5)


def test_all_groups_move_the_running_statistics():
    layer = GhostBatchNormalization((2, 2), momentum=0.5, epsilon=0.0)
    layer(np.float32([[1], [3], [5], [9]]), training=True)
    # (0 + 2) / 2 = 1, then (1 + 7) / 2 = 4; variances (1 + 1) / 2 = 1, then (1 + 4) / 2 = 2.5.
    np.testing.assert_allclose(np.ravel(layer.moving_mean), [4.0], atol=1e-5)
    np.testing.assert_allclose(np.ravel(layer.moving_variance), [2.5], atol=1e-5)
    # (7 - 4) / sqrt(2.5), whatever the size of the batch
    np.testing.assert_allclose(layer(np.float32([[7]]), training=False), [[1.897367]], atol=1e-5)


def test_layer_contract():
    helpers.check_layer(
        GhostBatchNormalization, {'group_sizes': [1, 2]}, np.ones([3, 4], np.float32))


@pytest.mark.parametrize('group_sizes', [(), (2, 0)])
def test_refuses_bad_groups(group_sizes):
    with pytest.raises(ValueError, match='`group_sizes` must be positive integers. Received: '):
        GhostBatchNormalization(group_sizes)


def test_refuses_other_batch_sizes():
    with pytest.raises(ValueError, match='as many examples as `group_sizes` together. Received: '):
        GhostBatchNormalization((2, 2))(np.ones([3, 4], np.float32), training=True)
    graph = tf.function(
        lambda x: GhostBatchNormalization((2, 2), name='late')(x, training=True),
        input_signature=[tf.TensorSpec([None, 4])])
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        graph(np.ones([3, 4], np.float32))


def test_adapted_backbone_equals_two_passes_in_training_and_the_original_in_inference():
    backbone = make_backbone()
    adapted = backbone_changes.adapt_backbone(backbone, ghost_batch_sizes=(2, 3))
    images = np.random.default_rng(0).random([5, 8, 8, 3], np.float32)
    np.testing.assert_allclose(adapted(images), backbone(images), atol=1e-6)
    in_graph = tf.function(
        lambda x: adapted(x, training=True), input_signature=[tf.TensorSpec([None, 8, 8, 3])])
    parts = [backbone(images[:2], training=True), backbone(images[2:], training=True)]
    np.testing.assert_allclose(in_graph(images), tf.concat(parts, axis=0), atol=1e-5)
    for a, b in zip(adapted.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_kernel_norms_are_limited_per_filter():
    backbone = make_backbone()
    adapted = backbone_changes.adapt_backbone(backbone, max_kernel_norm=0.5)
    images = np.ones([2, 8, 8, 3], np.float32)
    np.testing.assert_allclose(adapted(images), backbone(images), atol=1e-6)
    adapted.compile(optimizer=keras.optimizers.SGD(1e-6), loss='mse')
    adapted.fit(images, np.zeros([2, 4, 4, 4]), verbose=0)
    kernel, depthwise = (
        np.asarray(adapted.get_layer(name).trainable_variables[0])
        for name in ('conv', 'depthwise'))
    original = np.asarray(backbone.get_layer('conv').trainable_variables[0])
    norms = np.linalg.norm(original.reshape(-1, 4), axis=0)
    assert norms.min() > 0.5
    np.testing.assert_allclose(kernel, original * 0.5 / norms, atol=1e-4)
    assert np.linalg.norm(depthwise.reshape(9, 4), axis=0).max() < 0.5001


def test_nothing_to_change_returns_the_backbone_itself():
    backbone = make_backbone()
    assert backbone_changes.adapt_backbone(backbone) is backbone
