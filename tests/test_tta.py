"""Test-time augmentation: the published values, mirroring, undoing and averaging."""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from metro_tf import tta
from tests import helpers

DEGREES = math.pi / 180
PUBLISHED = {
    1: {'gamma': [0.8], 'angle': [0], 'scale': [1.05], 'should_flip': [0]},
    2: {'gamma': [0.6, 1], 'angle': [-25, 25], 'scale': [0.8, 1.05], 'should_flip': [1, 0]},
    5: {'gamma': [0.6, 0.7, 0.8, 0.9, 1], 'angle': [-25, -12.5, 0, 12.5, 25],
        'scale': [0.8, 0.9, 1, 1.05, 1.1], 'should_flip': [0, 1, 0, 1, 0]},
    6: {'gamma': [0.6, 0.68, 0.76, 0.84, 0.92, 1], 'angle': [-25, -15, -5, 5, 15, 25],
        'scale': [0.8, 0.86667, 0.93333, 1, 1.05, 1.1], 'should_flip': [1, 0, 1, 0, 1, 0]}}


def parameters_in_graph(num_aug, **kwargs):
    """With `num_aug` as a tensor of unknown value."""
    function = tf.function(
        lambda n: tta.parameters(n, **kwargs), input_signature=[tf.TensorSpec([], tf.int32)])
    return function(num_aug)


@pytest.mark.parametrize('call', [tta.parameters, parameters_in_graph])
@pytest.mark.parametrize('num_aug', sorted(PUBLISHED))
def test_published_values(num_aug, call):
    actual, expected = call(num_aug), PUBLISHED[num_aug]
    assert set(actual) == set(expected)
    np.testing.assert_allclose(actual['gamma'], expected['gamma'], atol=1e-5)
    np.testing.assert_allclose(actual['angle'] / DEGREES, expected['angle'], atol=1e-4)
    np.testing.assert_allclose(actual['scale'], expected['scale'], atol=1e-5)
    np.testing.assert_array_equal(actual['should_flip'], np.bool_(expected['should_flip']))


@pytest.mark.parametrize('call', [tta.parameters, parameters_in_graph])
@pytest.mark.parametrize('spread, num_aug, degrees', [
    ('circle', 1, [0]), ('circle', 4, [-135, -45, 45, 135]), ('circle', 3, [-120, 0, 120]),
    ('half_circle', 1, [0]), ('half_circle', 2, [0, 0]),
    ('half_circle', 5, [-120, -25, 0, 25, 120])])
def test_full_circle(spread, num_aug, degrees, call):
    angles = call(num_aug, angle_spread=spread)['angle']
    np.testing.assert_allclose(angles / DEGREES, degrees, atol=1e-4)


def test_ranges_are_arguments():
    actual = tta.parameters(
        3, max_angle=0.5, gamma_range=(0.5, 0.7), scale_range=(0.6, 1.4))
    np.testing.assert_allclose(actual['angle'], [-0.5, 0, 0.5])
    np.testing.assert_allclose(actual['gamma'], [0.5, 0.6, 0.7])
    np.testing.assert_allclose(actual['scale'], [0.6, 1.0, 1.4])


def test_view_matrices_pin_the_sign():
    matrices = tta.view_matrices([25 * DEGREES] * 2, [False, True]).numpy()
    np.testing.assert_allclose(matrices[0, 0], [0.9063, 0.4226, 0], atol=1e-4)
    np.testing.assert_allclose(matrices[0, 1], [-0.4226, 0.9063, 0], atol=1e-4)
    np.testing.assert_allclose(matrices[1, 0], [-0.9063, -0.4226, 0], atol=1e-4)
    np.testing.assert_allclose(matrices[1, 1:], matrices[0, 1:])
    np.testing.assert_allclose(np.linalg.det(matrices), [1, -1], atol=1e-6)


@pytest.mark.parametrize('in_graph', [False, True])
def test_undo_returns_what_augmented_views_show(in_graph):
    rng = np.random.default_rng(0)
    mapping = (1, 0, 2, 4, 3)
    poses = rng.normal([0, 0, 3000], 400, (3, 5, 3)).astype(np.float32)  # people, joints
    aug = tta.parameters(6)
    rotations = tta.view_matrices(aug['angle'], aug['should_flip']).numpy()
    # A mirrored view shows a person whose left is on the other side.
    seen = np.einsum('aij,njk->anik', rotations, poses.transpose(0, 2, 1)).transpose(1, 0, 3, 2)
    flips = aug['should_flip'].numpy()
    seen[:, flips] = seen[:, flips][:, :, list(mapping)]

    def undo(seen, rotations, flips):
        return tta.undo(seen, rotations, flips, mapping)

    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    undone = call(undo, seen, rotations, flips)
    expected = np.broadcast_to(poses[:, np.newaxis], (3, 6, 5, 3))
    np.testing.assert_allclose(undone, expected, atol=0.01)


def test_undo_by_hand():
    rotations = np.float32([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    poses = np.float32([[[1, 2, 3], [4, 5, 6]]])
    plain = tta.undo(poses, rotations, False, (1, 0))
    np.testing.assert_allclose(plain, [[[-2, 1, 3], [-5, 4, 6]]])
    flipped = tta.undo(poses, rotations, True, (1, 0))
    np.testing.assert_allclose(flipped, [[[-5, 4, 6], [-2, 1, 3]]])


def test_average_is_separate_in_3d_and_2d():
    poses3d = np.float32([[[[0, 0, 1000]], [[400, 0, 3000]]]])
    poses2d = poses3d[..., :2] / poses3d[..., 2:] * 300
    mean3d, mean2d = tta.average(poses3d, poses2d)
    np.testing.assert_allclose(mean3d, [[[200, 0, 2000]]])
    np.testing.assert_allclose(mean2d, [[[20, 0]]])  # the projection of the mean would be 30


@pytest.mark.parametrize('num_aug', [0, -1, tf.constant(0)])
def test_refuses_no_augmentation(num_aug):
    with pytest.raises(ValueError, match='`num_aug` must be at least 1. Received: num_aug='):
        tta.parameters(num_aug)


def test_other_errors():
    with pytest.raises(ValueError, match="`angle_spread` must be one of .*'all'"):
        tta.parameters(3, angle_spread='all')
    with pytest.raises(ValueError, match='`poses` must'):
        tta.undo(np.zeros((1, 3, 3)), np.eye(3), False, (1, 0))
    with pytest.raises(ValueError, match='`poses2d` must'):
        tta.average(np.zeros((2, 3, 3)), np.zeros((2, 3, 3)))


def test_uncertainties_of_mirrored_views_change_sides():
    uncertainty = np.float32([[[1, 2, 3], [4, 5, 6]]])  # one person, two views
    should_flip = np.array([False, True])
    expected = [[[1, 2, 3], [5, 4, 6]]]
    np.testing.assert_array_equal(
        tta.undo_uncertainty(uncertainty, should_flip, (1, 0, 2)), expected)
    undo = functools.partial(tta.undo_uncertainty, mirror_mapping=(1, 0, 2))
    np.testing.assert_array_equal(helpers.run_in_graph(undo, uncertainty, should_flip), expected)
    with pytest.raises(ValueError, match=r'`uncertainty` must have a shape that ends in \(2\)'):
        tta.undo_uncertainty(uncertainty, should_flip, (1, 0))


def test_average_uncertainty_is_the_root_of_the_mean_variance():
    uncertainty = np.float32([[[3, 0], [4, 0]], [[7, 2], [1, 2]]])
    expected = [[np.sqrt(12.5), 0], [5, 2]]
    np.testing.assert_allclose(tta.average_uncertainty(uncertainty), expected, rtol=1e-6)
    np.testing.assert_allclose(
        helpers.run_in_graph(tta.average_uncertainty, uncertainty), expected, rtol=1e-6)
    with pytest.raises(ValueError, match='`uncertainty` must have a shape that ends'):
        tta.average_uncertainty([1.0])
