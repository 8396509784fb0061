import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.layers import soft_argmax
from tests import helpers


def peaked_logits(shape, cell, height=50.0):
    logits = np.zeros(shape, np.float32)
    logits[cell] = height
    return logits


def test_value_by_hand():
    # Probabilities 1/4 and 3/4 on two cells of three: 0.25 * 0 + 0.75 * 0.5.
    logits = np.log(np.float32([1, 3, 1e-30])).reshape(1, 3, 1)
    np.testing.assert_allclose(soft_argmax.SoftArgmax((1,))(logits), [[[0.375]]], atol=1e-6)


@pytest.mark.parametrize('cell, expected', [
    ((0, 0, 0), (0, 0, 0)), ((4, 0, 0), (0, 1, 0)), ((0, 2, 0), (1, 0, 0)),
    ((0, 0, 3), (0, 0, 1)), ((1, 1, 1), (0.5, 0.25, 1 / 3))])
def test_peak_gives_its_cell_in_the_order_of_axes(cell, expected):
    logits = peaked_logits((1, 5, 3, 4, 1), (0, *cell, 0))
    np.testing.assert_allclose(
        soft_argmax.SoftArgmax((2, 1, 3))(logits), [[expected]], atol=1e-6)


def test_uniform_heatmap_gives_the_centre():
    coords = soft_argmax.SoftArgmax((2, 1, 3))(np.full((2, 8, 6, 4, 3), 7, np.float32))
    np.testing.assert_allclose(coords, np.full((2, 3, 3), 0.5), atol=1e-6)


def test_joints_and_examples_are_independent():
    logits = np.random.default_rng(0).normal(size=(3, 5, 4, 6, 2)).astype(np.float32)
    layer = soft_argmax.SoftArgmax((2, 1, 3))
    alone = layer(logits[1:2, ..., 1:2])
    np.testing.assert_allclose(layer(logits)[1:2, 1:2], alone, atol=1e-6)


def test_agrees_with_softmax_then_expectation():
    logits = np.random.default_rng(0).normal(size=(2, 5, 4, 6, 3)).astype(np.float32) * 3
    probs = np.exp(logits) / np.exp(logits).sum((1, 2, 3), keepdims=True)
    expected = np.stack([
        np.einsum('byxzj,x->bj', probs, np.linspace(0, 1, 4)),
        np.einsum('byxzj,y->bj', probs, np.linspace(0, 1, 5)),
        np.einsum('byxzj,z->bj', probs, np.linspace(0, 1, 6))], -1)
    np.testing.assert_allclose(soft_argmax.SoftArgmax((2, 1, 3))(logits), expected, atol=1e-5)


def test_gradient_is_that_of_the_expectation():
    # d mean / d logit_i = p_i (x_i - mean); with p = (1/4, 3/4, 0): mean 0.375.
    logits = tf.constant(np.log(np.float32([1, 3, 1e-30])).reshape(1, 3, 1))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        coords = soft_argmax.SoftArgmax((1,))(logits)
    expected = np.float32([0.25 * -0.375, 0.75 * 0.125, 0]).reshape(1, 3, 1)
    np.testing.assert_allclose(tape.gradient(coords, logits), expected, atol=1e-6)


def test_variance_of_two_spikes_by_hand():
    # Cells (row, column, plane) 1, 0, 3 and 4, 2, 1, equally likely: half of 3, 2 and 2, squared.
    logits = np.zeros((1, 5, 3, 4, 1), np.float32)
    logits[0, (1, 4), (0, 2), (3, 1)] = 60
    np.testing.assert_allclose(
        soft_argmax.SoftArgmax((2, 1, 3)).variance(logits), [[[1, 2.25, 1]]], atol=1e-5)


def test_variance_agrees_with_softmax_then_second_moment():
    logits = np.random.default_rng(0).normal(size=(2, 5, 4, 6, 3)).astype(np.float32) * 3
    probs = np.float64(np.exp(logits) / np.exp(logits).sum((1, 2, 3), keepdims=True))
    expected = []
    for letters, n_cells in (('byxzj,x->bj', 4), ('byxzj,y->bj', 5), ('byxzj,z->bj', 6)):
        cells = np.arange(n_cells)
        mean = np.einsum(letters, probs, cells)
        expected.append(np.einsum(letters, probs, cells ** 2) - mean ** 2)
    layer = soft_argmax.SoftArgmax((2, 1, 3))
    np.testing.assert_allclose(layer.variance(logits), np.stack(expected, -1), rtol=1e-4)
    np.testing.assert_allclose(
        helpers.run_in_graph(layer.variance, logits), np.stack(expected, -1), rtol=1e-4)


def test_variance_in_half_precision_and_with_large_logits():
    logits = tf.cast(peaked_logits((1, 100, 100, 1), (0, 20, 30, 0), height=1000), tf.bfloat16)
    variance = soft_argmax.SoftArgmax((2, 1)).variance(logits)
    assert variance.dtype == tf.float32
    np.testing.assert_allclose(variance, [[[0, 0]]], atol=1e-6)
    assert soft_argmax.SoftArgmax((2, 1)).variance(np.zeros((0, 4, 4, 3), np.float32)).shape == (
        0, 3, 2)


@pytest.mark.parametrize('offset', [-1e4, 0, 1e4])
def test_large_logits_do_not_overflow(offset):
    logits = peaked_logits((1, 4, 4, 1), (0, 2, 3, 0), height=1000) + np.float32(offset)
    np.testing.assert_allclose(
        soft_argmax.SoftArgmax((2, 1))(logits), [[[1, 2 / 3]]], atol=1e-5)


def test_axis_of_one_cell_gives_zero():
    logits = np.zeros((1, 1, 3, 2), np.float32)
    expected = [[[0.5, 0], [0.5, 0]]]
    np.testing.assert_allclose(soft_argmax.SoftArgmax((2, 1))(logits), expected, atol=1e-6)
    in_graph = helpers.run_in_graph(soft_argmax.SoftArgmax((2, 1)), logits)
    np.testing.assert_allclose(in_graph, expected, atol=1e-6)


def test_no_examples():
    assert soft_argmax.SoftArgmax((2, 1))(np.zeros((0, 4, 4, 3), np.float32)).shape == (0, 3, 2)


@pytest.mark.parametrize('axes, shape', [
    ((1,), (2, 5, 3)), ((2, 1), (2, 5, 4, 3)), ((2, 1, 3), (2, 5, 4, 6, 3))])
def test_layer(axes, shape):
    logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    helpers.check_layer(soft_argmax.SoftArgmax, {'axes': list(axes)}, logits)
    symbolic = soft_argmax.SoftArgmax(axes)(keras.Input(shape[1:]))
    assert tuple(symbolic.shape) == (None, 3, len(axes))


def test_unknown_sizes_give_the_same():
    logits = np.random.default_rng(0).normal(size=(2, 5, 4, 6, 3)).astype(np.float32)
    layer = soft_argmax.SoftArgmax((3, 1, 2))
    np.testing.assert_allclose(helpers.run_in_graph(layer, logits), layer(logits), atol=1e-6)


@pytest.mark.parametrize('policy', ['mixed_float16', 'mixed_bfloat16'])
def test_float32_under_any_policy(policy, dtype_policy):
    dtype_policy(policy)
    coords = soft_argmax.SoftArgmax((2, 1))(tf.zeros([1, 100, 100, 1], tf.float16))
    assert coords.dtype == tf.float32
    np.testing.assert_allclose(coords, [[[0.5, 0.5]]], atol=1e-5)


@pytest.mark.parametrize('axes', [(), (0, 1), (1, 3), (1, 1)])
def test_refuses_axes(axes):
    with pytest.raises(ValueError, match=r'`axes` must permute 1, ..., n. Received: axes='):
        soft_argmax.SoftArgmax(axes)
