import numpy as np
import pytest
import tensorflow as tf

from metro_tf.layers import heatmap_variance
from tests import helpers


def profile_of(n_cells, **masses):
    """Profile `[1, n_cells]` with the given masses: `at_3=0.5`."""
    profile = np.zeros([1, n_cells], np.float32)
    for cell, mass in masses.items():
        profile[0, int(cell.removeprefix('at_'))] = mass
    return profile


@pytest.mark.parametrize('distance', [1, 2, 7])
def test_two_equal_spikes_have_half_their_distance_as_deviation(distance):
    profile = np.zeros([1, 12], np.float32)
    profile[0, [3, 3 + distance]] = 0.5
    np.testing.assert_allclose(
        np.sqrt(heatmap_variance.profile_variance(profile)), [distance / 2], rtol=1e-6)


@pytest.mark.parametrize('cell', [0, 5, 63])
def test_one_spike_has_none(cell):
    profile = profile_of(64, **{f'at_{cell}': 1})
    np.testing.assert_allclose(heatmap_variance.profile_variance(profile), [0], atol=1e-9)


@pytest.mark.parametrize('n_cells', [1, 2, 8, 64])
def test_uniform_profile(n_cells):
    variance = heatmap_variance.profile_variance(np.full([1, n_cells], 1 / n_cells, np.float32))
    np.testing.assert_allclose(variance, [(n_cells ** 2 - 1) / 12], rtol=1e-5)


def test_unequal_spikes_by_hand():
    # p (1 - p) d^2 = 0.25 * 0.75 * 16.
    profile = profile_of(6, at_0=0.25, at_4=0.75)
    np.testing.assert_allclose(heatmap_variance.profile_variance(profile), [3], rtol=1e-6)


def test_masses_need_not_sum_to_one():
    profile = np.random.default_rng(0).random((2, 9, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(
        heatmap_variance.profile_variance(1e-3 * profile),
        heatmap_variance.profile_variance(profile), rtol=1e-4)


def test_small_spread_far_from_the_first_cell():
    """A difference of moments would be off by 5 % here."""
    profile = profile_of(1000, at_990=1 - 1e-4, at_991=1e-4)
    np.testing.assert_allclose(heatmap_variance.profile_variance(profile), [1e-4], rtol=1e-2)


def test_further_axes_and_unknown_sizes():
    profile = np.random.default_rng(0).random((2, 5, 3, 4)).astype(np.float32)
    expected = heatmap_variance.profile_variance(profile)
    assert expected.shape == (2, 3, 4)
    np.testing.assert_allclose(
        helpers.run_in_graph(heatmap_variance.profile_variance, profile), expected, rtol=1e-5)
    np.testing.assert_allclose(
        expected[1, 2, 3], heatmap_variance.profile_variance(profile[1:, :, 2, 3])[0], rtol=1e-5)


def test_half_precision_becomes_float32():
    variance = heatmap_variance.profile_variance(tf.ones([1, 200], tf.float16))
    assert variance.dtype == tf.float32
    np.testing.assert_allclose(variance, [(200 ** 2 - 1) / 12], rtol=1e-5)


def test_no_examples():
    assert heatmap_variance.profile_variance(np.zeros([0, 4, 3], np.float32)).shape == (0, 3)


def test_planes_by_hand():
    """In each plane two equal spikes: (row, column) 1, 0 and 3, 6 in the first joint's zy."""
    heatmaps = np.zeros([1, 4, 8, 3, 2], np.float32)
    heatmaps[0, 2, 5] = 1
    heatmaps[0, :, :, 1, 0] = 0
    heatmaps[0, (1, 3), (0, 6), 1, 0] = 0.5
    variances = heatmap_variance.plane_variances(heatmaps)
    expected = np.zeros([1, 3, 2, 2])
    expected[0, 1, 0] = 9, 1  # columns first
    np.testing.assert_allclose(variances, expected, atol=1e-6)
    np.testing.assert_allclose(
        helpers.run_in_graph(heatmap_variance.plane_variances, heatmaps), expected, atol=1e-6)


def test_refusals():
    with pytest.raises(ValueError, match=r'`profile` must have a shape that ends in \(any, any\)'):
        heatmap_variance.profile_variance(np.zeros([3], np.float32))
    with pytest.raises(ValueError, match='`heatmaps` must have a shape .* Received: shape='):
        heatmap_variance.plane_variances(np.zeros([1, 4, 4, 2, 5], np.float32))
