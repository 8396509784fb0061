import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import cuboid
from metro_tf.layers import cuboid_reconstruction
from tests import helpers

INTRINSICS = np.float32([[[96, 0, 36], [0, 96, 32], [0, 0, 1]]] * 2)
COORDS = np.random.default_rng(0).uniform(-0.8, 0.8, (2, 4, 3)).astype(np.float32)
EDGES = [[0, 1], [1, 2]]


def test_the_person_gets_the_height():
    layer = cuboid_reconstruction.CuboidReconstruction(72, EDGES, 800.0)
    poses = layer(COORDS, INTRINSICS).numpy()
    heights = sum(np.linalg.norm(poses[:, i] - poses[:, j], axis=-1) for i, j in EDGES)
    np.testing.assert_allclose(heights, [800, 800], rtol=1e-5)


def test_the_root_gets_the_given_depth():
    layer = cuboid_reconstruction.CuboidReconstruction(72, EDGES)
    depths = np.float32([2000, 3000])
    np.testing.assert_allclose(
        layer(COORDS, INTRINSICS, depths),
        cuboid.to_camera_frame(COORDS, INTRINSICS, depths, 72), rtol=1e-5)


def test_layer():
    helpers.check_layer(
        cuboid_reconstruction.CuboidReconstruction,
        {'crop_side_px': 72, 'height_edges': EDGES, 'height_mm': 900.0}, [COORDS, INTRINSICS],
        atol=0.01)


def test_float32_under_any_policy(dtype_policy):
    dtype_policy('mixed_bfloat16')
    layer = cuboid_reconstruction.CuboidReconstruction(72, EDGES)
    assert layer(tf.cast(COORDS, tf.bfloat16), INTRINSICS).dtype == tf.float32


def test_refusals():
    with pytest.raises(ValueError, match='`height_edges` must contain at least one bone'):
        cuboid_reconstruction.CuboidReconstruction(72, [])
    with pytest.raises(ValueError, match='`height_mm` must be a positive finite number'):
        cuboid_reconstruction.CuboidReconstruction(72, EDGES, 0)
