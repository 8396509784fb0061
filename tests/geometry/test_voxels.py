import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import voxels
from tests import helpers

NEAR_MM, FAR_MM = voxels.DEPTH_RANGE_MM
DEPTH_STEP_MM = 31.0319650752


@pytest.mark.parametrize('n_cells, window', [
    (1, 1), (2, 1), (4, 1), (8, 3), (16, 5), (32, 7), (64, 13)])
def test_published_windows(n_cells, window):
    assert voxels.window_cells(n_cells) == window


@pytest.mark.parametrize('coords, voxel', [
    ((0, 0, 0), (0, 0, 32)), ((3.99, 4, 0), (0, 1, 32)), ((3.9999, 0, 0), (1, 0, 32)),
    ((255.9, -0.1, NEAR_MM - 500), (63, -1, 0)), ((256, 128, FAR_MM + 500), (64, 32, 63)),
    ((0, 0, NEAR_MM + DEPTH_STEP_MM - 0.1), (0, 0, 0)),
    ((0, 0, NEAR_MM + DEPTH_STEP_MM + 0.1), (0, 0, 1))])
def test_voxels_by_hand(coords, voxel):
    # The pelvis lies in plane 33, counted from 1.
    np.testing.assert_array_equal(
        voxels.to_voxels([np.float32(coords)], 256, 64), [voxel])


def test_far_away_joints_stay_in_the_range_of_integers():
    cells = voxels.to_voxels(np.float32([[3e12, -3e12, 1e30]]), 256, 64)
    np.testing.assert_array_equal(cells, [[192, -128, 63]])


def test_camera_frame_by_hand():
    intrinsics = np.float32([[100, 0, 50], [0, 100, 40], [0, 0, 1]])
    coords = voxels.to_camera_frame(
        np.float32([[60, 60, 2], [50, 40, -3]]), intrinsics, np.float32(8))
    np.testing.assert_allclose(coords, [[1, 2, 10], [0, 0, 5]], atol=1e-6)


def test_camera_frame_in_a_graph_with_unknown_sizes():
    rng = np.random.default_rng(0)
    coords25d = rng.uniform(
        [0, 0, NEAR_MM], [256, 256, FAR_MM], (2, 5, 3)).astype(np.float32)
    intrinsics = np.tile(np.float32([[300, 0, 128], [0, 300, 128], [0, 0, 1]]), (2, 1, 1))
    arguments = coords25d, intrinsics, np.float32([3000, 4000])
    np.testing.assert_allclose(
        helpers.run_in_graph(voxels.to_camera_frame, *arguments),
        voxels.to_camera_frame(*arguments), rtol=1e-6)


@pytest.mark.parametrize('n_depth_cells, planes', [
    (1, [0, 0, 0, 0, 0]), (2, [0, 0, 0, 1, 1]), (4, [0, 0, 1, 2, 3]), (64, [0, 15, 16, 32, 63])])
def test_planes_by_hand(n_depth_cells, planes):
    cells = tf.constant([0, 15, 16, 32, 63])
    np.testing.assert_array_equal(voxels.to_planes(cells, n_depth_cells), planes)


def test_split_joints_is_joint_major():
    volumes = np.arange(2 * 3 * 3 * 8, dtype=np.float32).reshape(2, 3, 3, 8)
    split = voxels.split_joints(tf.constant(volumes), 4)
    np.testing.assert_array_equal(split[1, 2, 0, 1, 3], volumes[1, 2, 0, 7])


def test_outer_product_by_hand():
    along_x, along_y, along_z = np.float32([[[1, 2]]]), np.float32([[[3, 5, 7]]]), [[[11.0]]]
    volumes = voxels.outer_product((along_x, along_y, tf.constant(along_z)))
    np.testing.assert_array_equal(
        volumes[0, ..., 0, 0], [[33, 66], [55, 110], [77, 154]])


@pytest.mark.parametrize('make, message', [
    (lambda: voxels.split_joints(tf.zeros([1, 4, 4, 6]), 4), 'volumes.*multiple of 4'),
    (lambda: voxels.checked_depth_range((5, -5)), 'depth_range_mm.*smaller one first'),
    (lambda: voxels.checked_depth_range((0, np.inf)), 'depth_range_mm.*finite'),
    (lambda: voxels.to_camera_frame(tf.zeros([2, 2]), tf.eye(3), 1.0), 'coords25d.*any, 3'),
    (lambda: voxels.to_voxels(tf.zeros([2, 2]), 256, 64), 'coords25d.*any, 3')])
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
