import numpy as np
import pytest
import tensorflow as tf

from metro_tf import losses
from metro_tf.geometry import voxels
from metro_tf.layers import volumetric_heatmaps

N_CELLS, N_DEPTH_CELLS, N_JOINTS = 8, 4, 3
ALL = np.ones((2, N_JOINTS), bool)


@pytest.fixture(name='targets')
def fixture_targets():
    return volumetric_heatmaps.VolumetricTargets(32, N_CELLS, N_DEPTH_CELLS, (-100, 100))


@pytest.fixture(name='coords')
def fixture_coords():
    rng = np.random.default_rng(0)
    return rng.uniform([0, 0, -100], [32, 32, 100], (2, N_JOINTS, 3)).astype(np.float32)


@pytest.fixture(name='volumes')
def fixture_volumes():
    rng = np.random.default_rng(1)
    return rng.normal(size=(2, N_CELLS, N_CELLS, N_JOINTS * N_DEPTH_CELLS)).astype(np.float32)


def loss_and_gradient(volumes, profiles, mask, **kwargs):
    volumes = tf.convert_to_tensor(volumes)
    with tf.GradientTape() as tape:
        tape.watch(volumes)
        loss = losses.volumetric_loss(volumes, profiles, mask, **kwargs)
    return loss, tape.gradient(loss, volumes)


def test_one_voxel_by_hand(targets):
    # In the corner; the window along x and y is 3 cells wide, with the deviation 0.75.
    profiles = targets.profiles(np.float32([[[2, 2, 10]]]))
    volumes = np.zeros((1, N_CELLS, N_CELLS, N_DEPTH_CELLS), np.float32)
    volumes[0, 0, 0, 2] = 3
    neighbour = np.exp(-1 / (2 * 0.75 ** 2))
    expected = (2 ** 2 + 2 * neighbour ** 2 + neighbour ** 4) / (N_CELLS ** 2 * N_DEPTH_CELLS)
    loss = losses.volumetric_loss(volumes, profiles, [[True]])
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_equals_the_mean_over_all_voxels(targets, coords, volumes):
    loss, gradient = loss_and_gradient(volumes, targets.profiles(coords), ALL)
    deviations = volumes - targets(coords)
    np.testing.assert_allclose(loss, np.mean(np.square(deviations)), rtol=1e-6)
    np.testing.assert_allclose(gradient, 2 * deviations / volumes.size, rtol=1e-5, atol=1e-9)


def test_is_zero_at_the_target(targets, coords):
    loss, gradient = loss_and_gradient(targets(coords).numpy(), targets.profiles(coords), ALL)
    assert loss == 0
    assert not np.any(gradient)


def test_only_joints_of_the_mask_count(targets, coords, volumes):
    mask = np.array([[True, False, True], [False, False, True]])
    loss, gradient = loss_and_gradient(volumes, targets.profiles(coords, mask), mask)
    split = [voxels.split_joints(tensor, N_DEPTH_CELLS).numpy() for tensor in (
        tf.constant(volumes), targets(coords), gradient)]
    errors = np.mean(np.square(split[0] - split[1]), axis=(1, 2, 4))
    np.testing.assert_allclose(loss, errors[mask].mean(), rtol=1e-6)
    is_changed = np.any(split[2], axis=(1, 2, 4))
    np.testing.assert_array_equal(is_changed, mask)


def test_reductions_differ_as_documented(targets, coords, volumes):
    mask = np.array([[True, True, True], [False, False, True]])
    profiles = targets.profiles(coords)
    each = np.array([[
        losses.volumetric_loss(volumes, profiles, np.eye(6, dtype=bool)[3 * i + j].reshape(2, 3))
        for j in range(3)] for i in range(2)])
    np.testing.assert_allclose(
        losses.volumetric_loss(volumes, profiles, mask), each[mask].mean(), rtol=1e-6)
    np.testing.assert_allclose(
        losses.volumetric_loss(volumes, profiles, mask, reduction='examples'),
        (each[0].mean() + each[1, 2]) / 2, rtol=1e-6)


def test_joint_in_the_mask_that_is_not_drawn_has_the_target_zero(targets, coords, volumes):
    profiles = targets.profiles(coords, np.zeros_like(ALL))
    loss, gradient = loss_and_gradient(volumes, profiles, ALL)
    np.testing.assert_allclose(loss, np.mean(np.square(volumes)), rtol=1e-6)
    np.testing.assert_allclose(gradient, 2 * volumes / volumes.size, rtol=1e-6)


def test_nothing_selected_gives_zero(targets, coords, volumes):
    loss, gradient = loss_and_gradient(volumes, targets.profiles(coords), ~ALL)
    assert loss == 0
    assert not np.any(gradient)


@pytest.mark.parametrize('dtype', [tf.float16, tf.bfloat16])
def test_half_precision_volumes_are_compared_in_float32(dtype, targets, coords, volumes):
    volumes = tf.cast(volumes, dtype)
    loss = losses.volumetric_loss(volumes, targets.profiles(coords), ALL)
    expected = losses.volumetric_loss(
        tf.cast(volumes, tf.float32), targets.profiles(coords), ALL)
    assert loss.dtype == tf.float32
    np.testing.assert_array_equal(loss, expected)


def test_in_a_graph_with_unknown_sizes(targets, coords, volumes):
    @tf.function(input_signature=[
        tf.TensorSpec([None, None, None, N_JOINTS * N_DEPTH_CELLS]),
        tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, None], tf.bool)])
    def in_graph(volumes, coords, mask):
        return loss_and_gradient(volumes, targets.profiles(coords), mask)

    actual = in_graph(volumes, coords, ALL)
    expected = loss_and_gradient(volumes, targets.profiles(coords), ALL)
    for first, second in zip(actual, expected):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize('shape, message', [
    ((2, 8, 8, 11), 'volumes.*multiple of 4'), ((2, 8, 8, 8), 'volumes.*sizes of the targets'),
    ((2, 7, 8, 12), 'volumes.*sizes of the targets')])
def test_sizes_that_do_not_fit(shape, message, targets, coords):
    with pytest.raises(ValueError, match=message):
        losses.volumetric_loss(tf.zeros(shape), targets.profiles(coords), ALL)


def test_unknown_reduction(targets, coords, volumes):
    with pytest.raises(ValueError, match='reduction.*one of'):
        losses.volumetric_loss(volumes, targets.profiles(coords), ALL, reduction='sum')
