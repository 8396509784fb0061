import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.layers import marginal_heatmaps
from tests import helpers


def random_logits(shape=(2, 6, 6, 3, 4), scale=3.0):
    return (np.random.default_rng(0).normal(size=shape) * scale).astype(np.float32)


def test_value_by_hand():
    """Cells of 4 at -0.75, -0.25, 0.25 and 0.75; (row, column) of the mass of each plane."""
    logits = np.full([1, 4, 4, 3, 1], -1e9, np.float32)
    logits[0, 1, 3, 0] = 0
    logits[0, 2, 0, 1] = np.log(3)
    logits[0, 2, 1, 1] = 0
    logits[0, 3, 2, 2] = 0
    outputs = marginal_heatmaps.MarginalHeatmaps()(logits)
    z_beside = 0.75 * -0.75 + 0.25 * -0.25
    np.testing.assert_allclose(
        outputs['plane_coords'][0, :, 0], [[0.75, -0.25], [z_beside, 0.25], [0.25, 0.75]],
        atol=1e-6)
    np.testing.assert_allclose(
        outputs['coords'], [[[0.75, -0.25, (z_beside + 0.75) / 2]]], atol=1e-6)
    np.testing.assert_allclose(
        outputs['disagreement'], [[[0.5, 0.5, 0.75 - z_beside]]], atol=1e-6)
    np.testing.assert_allclose(outputs['heatmaps'][0, 2, :, 1, 0], [0.75, 0.25, 0, 0], atol=1e-6)


def test_agrees_with_a_softmax_over_each_plane():
    logits = random_logits()
    weights = np.exp(logits)
    probs = weights / weights.sum((1, 2), keepdims=True)
    outputs = marginal_heatmaps.MarginalHeatmaps()(logits)
    np.testing.assert_allclose(outputs['heatmaps'], probs, rtol=1e-4)
    centers = (2 * np.arange(6) + 1) / 6 - 1
    columns = np.einsum('brcpj,c->bpj', probs, centers)
    rows = np.einsum('brcpj,r->bpj', probs, centers)
    expected = np.stack(
        [columns[:, 0], rows[:, 0], (columns[:, 1] + rows[:, 2]) / 2], axis=-1)
    np.testing.assert_allclose(outputs['coords'], expected, atol=1e-5)


def test_marginals_of_one_volume_agree():
    volume = np.exp(random_logits((2, 5, 5, 5, 3))).astype(np.float64)  # z, y, x
    volume /= volume.sum((1, 2, 3), keepdims=True)
    planes = [volume.sum(1), volume.sum(3).transpose(0, 2, 1, 3), volume.sum(2)]
    outputs = marginal_heatmaps.MarginalHeatmaps()(np.float32(np.log(np.stack(planes, axis=3))))
    np.testing.assert_allclose(outputs['disagreement'], 0, atol=1e-5)
    centers = (2 * np.arange(5) + 1) / 5 - 1
    expected = np.stack(
        [np.einsum(f'bzyxj,{axis}->bj', volume, centers) for axis in 'xyz'], axis=-1)
    np.testing.assert_allclose(outputs['coords'], expected, atol=1e-5)


def test_uniform_planes_give_the_centre():
    outputs = marginal_heatmaps.MarginalHeatmaps()(np.full((1, 8, 8, 3, 2), 7, np.float32))
    for name in ('coords', 'plane_coords', 'disagreement'):
        np.testing.assert_allclose(outputs[name], np.zeros(outputs[name].shape), atol=1e-6)


@pytest.mark.parametrize('offset', [-1e4, 1e4])
def test_large_logits_do_not_overflow(offset):
    layer = marginal_heatmaps.MarginalHeatmaps()
    outputs = layer(random_logits() + np.float32(offset))
    assert all(np.all(np.isfinite(value)) for value in outputs.values())


def test_gradient_is_that_of_the_expectation():
    """d mean / d logit = p (x - mean), in the plane that the coordinate is read from only."""
    logits = tf.constant(random_logits((1, 4, 4, 3, 1), 1.0))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        outputs = marginal_heatmaps.MarginalHeatmaps()(logits)
        x = outputs['coords'][0, 0, 0]
    probs = outputs['heatmaps'][0, :, :, 0, 0].numpy()
    gradient = tape.gradient(x, logits)[0, ..., 0].numpy()
    np.testing.assert_allclose(
        gradient[..., 0], probs * (np.float32([-0.75, -0.25, 0.25, 0.75]) - x.numpy()), atol=1e-6)
    np.testing.assert_array_equal(gradient[..., 1:], 0)


def test_layer():
    helpers.check_layer(marginal_heatmaps.MarginalHeatmaps, {}, random_logits())
    symbolic = marginal_heatmaps.MarginalHeatmaps()(keras.Input((6, 6, 3, 4)))
    assert tuple(symbolic['coords'].shape) == (None, 4, 3)
    assert tuple(symbolic['plane_coords'].shape) == (None, 3, 4, 2)


def test_no_examples():
    outputs = marginal_heatmaps.MarginalHeatmaps()(np.zeros((0, 4, 4, 3, 5), np.float32))
    assert outputs['coords'].shape == (0, 5, 3)


def test_float32_under_any_policy(dtype_policy):
    dtype_policy('mixed_bfloat16')
    outputs = marginal_heatmaps.MarginalHeatmaps()(tf.cast(random_logits(), tf.bfloat16))
    assert {value.dtype for value in outputs.values()} == {tf.float32}


def test_refuses_another_number_of_planes():
    with pytest.raises(ValueError, match='expected axis 3 of input shape to have value 3'):
        marginal_heatmaps.MarginalHeatmaps()(np.zeros((1, 4, 4, 2, 5), np.float32))
