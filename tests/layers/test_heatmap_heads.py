import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.layers import heatmap_heads
from tests import helpers

SETTINGS = {
    'n_joints': 3, 'crop_side_px': 64, 'stride_px': 16, 'n_depth_cells': 5, 'box_size_mm': 1000.0}
VOLUME_HEADS = [heatmap_heads.MetricHeatmapHead, heatmap_heads.Heatmap25DHead]
HEADS = [*VOLUME_HEADS, heatmap_heads.MetrabsHeads]


def random_features(seed=0):
    return np.random.default_rng(seed).normal(size=(2, 4, 4, 6)).astype(np.float32)


def head_with_numbered_channels(head_cls):
    """Head whose logit is the number of its channel wherever the only feature is 1."""
    head = head_cls(**SETTINGS)
    head.build((None, None, None, 1))
    n_channels = head.get_weights()[0].shape[-1]
    head.set_weights([
        np.arange(n_channels, dtype=np.float32).reshape(1, 1, 1, -1), np.zeros(n_channels)])
    return head


@pytest.mark.parametrize('head_cls', HEADS)
def test_layer(head_cls):
    helpers.check_layer(head_cls, SETTINGS, random_features(), atol=1e-3)


@pytest.mark.parametrize('head_cls', VOLUME_HEADS)
def test_depth_is_the_slow_channel_index(head_cls):
    features = np.ones((1, 2, 2, 1), np.float32)
    logits3d = head_with_numbered_channels(head_cls).logits(features)
    assert logits3d.shape == (1, 2, 2, 5, 3)
    np.testing.assert_allclose(logits3d[0, 1, 0], np.arange(15).reshape(5, 3))


def test_2d_channels_come_first():
    features = np.ones((1, 2, 2, 1), np.float32)
    logits2d, logits3d = head_with_numbered_channels(heatmap_heads.MetrabsHeads).logits(features)
    np.testing.assert_allclose(logits2d[0, 1, 0], [0, 1, 2])
    np.testing.assert_allclose(logits3d[0, 1, 0], 3 + np.arange(15).reshape(5, 3))


@pytest.mark.parametrize('head_cls', HEADS)
def test_two_strides_without_centring(head_cls):
    """Cells of 8 px, or of 16 px in training, from pixel 0 on; a box of 1000 mm over 64 px."""
    settings = {**SETTINGS, 'test_stride_px': 8, 'centered': False}
    helpers.check_layer(head_cls, settings, random_features(), atol=1e-3)
    head = head_cls(**settings)
    for training, n_cells, stride in ((True, 4, 16), (False, 8, 8)):
        logits3d = np.zeros((1, n_cells, n_cells, 5, 3), np.float32)
        logits3d[0, 0, 2, 4] = 60
        logits = [logits3d] if head_cls in VOLUME_HEADS else [logits3d[..., 4, :], logits3d]
        *coords2d, coords3d = tf.nest.flatten(head.decode(*logits, training=training))
        unit = 1 if head_cls is heatmap_heads.Heatmap25DHead else 1000 / 64
        np.testing.assert_allclose(
            coords3d, np.tile([2 * stride * unit, 0, 1000], (1, 3, 1)), atol=0.01)
        for coords in coords2d:
            np.testing.assert_allclose(coords, np.tile([2 * stride, 0], (1, 3, 1)), atol=0.01)


@pytest.mark.parametrize('test_stride_px, cell_mm', [(None, 250), (8, 125)])
def test_variances_of_two_spikes_by_hand(test_stride_px, cell_mm):
    """Cells of 16 px of 64, or half of it, in a box of 1000 mm; 5 planes, 250 mm apart."""
    logits3d = np.zeros((1, 4, 4, 5, 3), np.float32)
    logits3d[0, (0, 2), (3, 0), (1, 1), 0] = 60
    logits3d[0, (1, 1), (1, 1), (0, 4), 1] = 60
    logits3d[0, 2, 2, 2, 2] = 60
    head = heatmap_heads.MetrabsHeads(**SETTINGS, test_stride_px=test_stride_px)
    deviations = np.sqrt(head.variances(logits3d))
    np.testing.assert_allclose(
        deviations, [[[1.5 * cell_mm, cell_mm, 0], [0, 0, 500], [0, 0, 0]]], atol=0.01)


def test_decoding_of_peaks_by_hand():
    logits2d = np.zeros((1, 4, 4, 3), np.float32)
    logits3d = np.zeros((1, 4, 4, 5, 3), np.float32)
    logits2d[0, 1, 3] = 60  # row 1, column 3: y = 8 + 16, x = 8 + 3 * 16
    logits3d[0, 0, 2, 4] = 60  # row 0, column 2, last plane
    coords2d, coords3d = heatmap_heads.MetrabsHeads(**SETTINGS).decode(logits2d, logits3d)
    np.testing.assert_allclose(coords2d, np.tile([56, 24], (1, 3, 1)), atol=1e-3)
    # Pixels (40, 8) in a box of 1000 mm over 64 px.
    np.testing.assert_allclose(coords3d, np.tile([625, 125, 1000], (1, 3, 1)), atol=0.01)
    metric = heatmap_heads.MetricHeatmapHead(**SETTINGS).decode(logits3d)
    np.testing.assert_allclose(metric, coords3d)
    coords25d = heatmap_heads.Heatmap25DHead(**SETTINGS).decode(logits3d)
    np.testing.assert_allclose(coords25d, np.tile([40, 8, 1000], (1, 3, 1)), atol=0.01)


@pytest.mark.parametrize('head_cls', HEADS)
def test_call_is_logits_then_decode(head_cls):
    head = head_cls(**SETTINGS)
    outputs = tf.nest.flatten(head(random_features()))
    decoded = tf.nest.flatten(head.decode(*as_tuple(head.logits(random_features()))))
    for output, expected in zip(outputs, decoded, strict=True):
        np.testing.assert_allclose(output, expected)


def as_tuple(logits):
    return logits if isinstance(logits, tuple) else (logits,)


@pytest.mark.parametrize('head_cls', HEADS)
@pytest.mark.parametrize('policy', ['mixed_float16', 'mixed_bfloat16'])
def test_everything_is_float32(head_cls, policy, dtype_policy):
    features = tf.cast(30 * random_features(), policy[len('mixed_'):])
    wide = head_cls(**SETTINGS)
    expected = as_tuple(wide.logits(tf.cast(features, tf.float32)))
    dtype_policy(policy)
    head = head_cls(**SETTINGS)
    head.build(features.shape)
    head.set_weights(wide.get_weights())
    logits = as_tuple(head.logits(features))
    for actual, wanted in zip(logits, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-4)
    for tensor in (*logits, *tf.nest.flatten(head(features))):
        assert tensor.dtype == tf.float32
        assert np.all(np.isfinite(tensor))
    for gradient in gradients(head, features):
        assert np.all(np.isfinite(gradient))


def gradients(head, features):
    with tf.GradientTape() as tape:
        total = tf.add_n([tf.reduce_sum(coords) for coords in tf.nest.flatten(head(features))])
    return tape.gradient(total, head.trainable_weights)


@pytest.mark.parametrize('head_cls', HEADS)
def test_unknown_batch_and_no_examples(head_cls):
    head = head_cls(**SETTINGS)
    features = random_features()
    expected = tf.nest.flatten(head(features))
    graph_head = tf.function(head, input_signature=[tf.TensorSpec([None, 4, 4, 6])])
    for actual, wanted in zip(tf.nest.flatten(graph_head(features)), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-3)
    for empty, wanted in zip(tf.nest.flatten(graph_head(features[:0])), expected, strict=True):
        assert empty.shape == (0, *wanted.shape[1:])


@pytest.mark.parametrize('head_cls', HEADS)
def test_symbolic_shapes(head_cls):
    outputs = tf.nest.flatten(head_cls(**SETTINGS)(keras.Input((None, None, 6))))
    assert [tuple(output.shape) for output in outputs][-1] == (None, 3, 3)
    assert [tuple(output.shape) for output in outputs][:-1] == [(None, 3, 2)] * (len(outputs) - 1)


@pytest.mark.parametrize('head_cls', HEADS)
@pytest.mark.parametrize('name', list(SETTINGS))
def test_refuses_zero(head_cls, name):
    with pytest.raises(ValueError, match=f'`{name}` must be a positive finite number. Received'):
        head_cls(**{**SETTINGS, name: 0})
