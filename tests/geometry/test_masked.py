import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import masked
from tests import helpers

NAN = float('nan')


def test_mean_ignores_masked_values():
    actual = masked.mean([[1.0, 5, 3], [10, 20, 60]], [[True, False, True], [True] * 3], axis=-1)
    np.testing.assert_allclose(actual, [2, 30], atol=1e-6)


def test_mean_over_all_axes_by_default():
    np.testing.assert_allclose(masked.mean([[1.0, 2], [3, 100]], [[1, 1], [1, 0]]), 2, atol=1e-6)


def test_mean_counts_the_broadcast_mask_once_per_value():
    values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    mask = np.array([[[1], [0], [1]], [[0], [1], [0]]], bool)
    np.testing.assert_allclose(
        masked.mean(values, mask, axis=1), [[2, 3], [8, 9]], atol=1e-6)
    np.testing.assert_allclose(
        masked.mean(values, mask, axis=(1, 2), keepdims=True), [[[2.5]], [[8.5]]], atol=1e-6)


def test_masked_nan_leaves_value_and_gradient_alone():
    values = tf.constant([1.0, NAN, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = masked.mean(values, [True, False, True])
    np.testing.assert_allclose(result, 2, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(result, values), [0.5, 0, 0.5], atol=1e-6)


def test_empty_selection_is_zero_with_zero_gradient():
    values = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = masked.mean(values, [[False, False], [True, True]], axis=-1)
    np.testing.assert_allclose(result, [0, 3.5], atol=1e-6)
    np.testing.assert_allclose(tape.gradient(result, values), [[0, 0], [0.5, 0.5]], atol=1e-6)


def test_mean_in_graph_with_unknown_sizes():
    values, mask = np.float32([[[1, 2], [3, 4]]]), np.array([[[True], [False]]])
    actual = helpers.run_in_graph(lambda v, m: masked.mean(v, m, axis=1), values, mask)
    np.testing.assert_allclose(actual, [[1, 2]], atol=1e-6)


def test_mean_refuses_a_mask_that_does_not_broadcast():
    with pytest.raises(ValueError, match=r'`mask` must broadcast .*Received: mask.shape=\(3,\)'):
        masked.mean(tf.zeros([3, 2]), [True, True, False])
    with pytest.raises(ValueError, match='`mask` must broadcast'):
        masked.mean(tf.zeros([2]), tf.ones([3, 2]))


def test_spread_sums_over_coordinates_and_divides_by_points():
    points = [[1.0, 1], [-1, 1], [1, -1], [-1, -1], [500, 500]]
    mean, spread = masked.mean_and_spread(points, [True] * 4 + [False])
    np.testing.assert_allclose(mean, [[0, 0]], atol=1e-6)
    np.testing.assert_allclose(spread, [[np.sqrt(2)]], atol=1e-6)


def test_spread_scales_with_the_points_and_ignores_translation():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(3, 7, 2)).astype(np.float32)
    mask = rng.random((3, 7)) < 0.6
    mean, spread = masked.mean_and_spread(points, mask)
    moved_mean, moved_spread = masked.mean_and_spread(4 * points + [1, -2], mask)
    np.testing.assert_allclose(moved_mean, 4 * mean + [1, -2], atol=1e-5)
    np.testing.assert_allclose(moved_spread, 4 * spread, rtol=1e-5)


@pytest.mark.parametrize('mask', [[True, True], [True, False], [False, False]])
def test_zero_spread_is_clamped_with_finite_gradient(mask):
    points = tf.constant([[3.0, 4.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(points)
        mean, spread = masked.mean_and_spread(points, mask)
        total = tf.reduce_sum(mean) + tf.reduce_sum(spread)
    np.testing.assert_allclose(spread, [[masked.MIN_SPREAD]], rtol=1e-5)
    np.testing.assert_allclose(mean, [np.array([3, 4]) * any(mask)], atol=1e-6)
    assert np.all(np.isfinite(tape.gradient(total, points)))


def test_tiny_spread_has_the_published_floor():
    points = np.array([[1e-5, 0], [-1e-5, 0]])
    _, spread = masked.mean_and_spread(points, [True, True])
    np.testing.assert_allclose(spread, [[np.sqrt(2e-10)]], rtol=1e-5)


def test_spread_gradient_ignores_masked_nan():
    points = tf.constant([[0.0, 0], [2, 0], [NAN, NAN]])
    with tf.GradientTape() as tape:
        tape.watch(points)
        _, spread = masked.mean_and_spread(points, [True, True, False])
    np.testing.assert_allclose(spread, [[1]], atol=1e-6)
    np.testing.assert_allclose(
        tape.gradient(spread, points), [[-0.5, 0], [0.5, 0], [0, 0]], atol=1e-6)


def test_spread_in_graph_with_unknown_sizes():
    points, mask = np.float32([[[0, 0], [6, 8]]]), np.array([[True, True]])
    mean, spread = helpers.run_in_graph(masked.mean_and_spread, points, mask)
    np.testing.assert_allclose(mean, [[[3, 4]]], atol=1e-6)
    np.testing.assert_allclose(spread, [[[5]]], atol=1e-5)


def test_spread_refuses_a_single_point():
    with pytest.raises(ValueError, match=r'`points` must have a shape that ends in \(any, any\)'):
        masked.mean_and_spread([1.0, 2.0], [True])
