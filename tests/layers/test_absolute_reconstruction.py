import json

import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import camera, reconstruction
from metro_tf.layers import absolute_reconstruction
from tests import helpers

SIDE, STRIDE = 256, 32


def make_inputs(n_examples=3, n_joints=8, seed=0):
    """Consistent pixels, relative pose and camera, and the true pose."""
    rng = np.random.default_rng(seed)
    coords3d_rel = rng.uniform(-400, 400, (n_examples, n_joints, 3)).astype(np.float32)
    position = rng.uniform([-100, -100, 3000], [100, 100, 5000], (n_examples, 1, 3))
    coords3d_cam = (coords3d_rel + position).astype(np.float32)
    intrinsics = np.tile(np.float32([[500, 0, 128], [0, 500, 128], [0, 0, 1]]), (n_examples, 1, 1))
    coords2d = camera.project(coords3d_cam, intrinsics).numpy()
    return [coords2d, coords3d_rel, intrinsics], coords3d_cam


def test_consistent_input_gives_the_true_pose():
    inputs, coords3d_cam = make_inputs()
    layer = absolute_reconstruction.AbsoluteReconstruction(SIDE, STRIDE)
    relative_error = np.linalg.norm(layer(*inputs) - coords3d_cam, axis=-1) / coords3d_cam[..., 2]
    assert relative_error.max() < 0.02  # the solve is slightly regularised towards the camera


def test_matches_the_geometry_with_its_settings():
    (coords2d, coords3d_rel, intrinsics), _ = make_inputs()
    coords2d[:, 0] = [10, 128]  # closer to the border than 24 px
    coords2d += np.random.default_rng(1).normal(0, 3, coords2d.shape).astype(np.float32)
    for weak, mix in ((False, 0.5), (True, 0.25)):
        layer = absolute_reconstruction.AbsoluteReconstruction(
            SIDE, STRIDE, weak_perspective=weak, mix_3d_inside_fov=mix)
        is_in_fov = np.all((coords2d >= 24) & (coords2d <= 232), axis=-1)
        expected = reconstruction.reconstruct_absolute(
            coords2d, coords3d_rel, intrinsics, is_in_fov, mix_3d_inside_fov=mix,
            weak_perspective=weak)
        np.testing.assert_allclose(
            layer(coords2d, coords3d_rel, intrinsics), expected, rtol=1e-5, atol=0.01)


def test_field_of_view_without_centring():
    """Inside is 8 to 216 px; there, without any 3D share, the pose projects to the 2D pose."""
    (coords2d, coords3d_rel, intrinsics), _ = make_inputs()
    coords2d[:, :4] = [[9, 128], [7, 128], [215, 128], [217, 128]]
    layer = absolute_reconstruction.AbsoluteReconstruction(
        SIDE, STRIDE, mix_3d_inside_fov=0, centered=False)
    projected = camera.project(layer(coords2d, coords3d_rel, intrinsics), intrinsics)
    error = np.abs(projected - coords2d).max(axis=(0, 2))
    assert np.all((error < 0.1)[:4] == [True, False, True, False])


def test_mix_chooses_between_3d_and_2d():
    inputs, _ = make_inputs()
    inputs[0] = inputs[0] + np.random.default_rng(1).normal(0, 3, inputs[0].shape).astype('f')
    only2d, half, only3d = (
        absolute_reconstruction.AbsoluteReconstruction(
            SIDE, STRIDE, mix_3d_inside_fov=mix)(*inputs).numpy() for mix in (0, 0.5, 1))
    np.testing.assert_allclose(half, (only2d + only3d) / 2, atol=0.01)
    np.testing.assert_allclose(camera.project(only2d, inputs[2]), inputs[0], atol=0.01)
    offset = only3d - inputs[1]
    np.testing.assert_allclose(offset, np.broadcast_to(offset[:, :1], offset.shape), atol=0.01)


def test_training_mixes_at_random_per_example():
    inputs, _ = make_inputs()
    inputs[0] = inputs[0] + np.random.default_rng(1).normal(0, 3, inputs[0].shape).astype('f')
    only2d, only3d = (
        absolute_reconstruction.AbsoluteReconstruction(
            SIDE, STRIDE, mix_3d_inside_fov=mix)(*inputs).numpy() for mix in (0, 1))
    tf.random.set_seed(0)
    layer = absolute_reconstruction.AbsoluteReconstruction(SIDE, STRIDE)
    trained = layer(*inputs, training=True).numpy()
    difference = only3d - only2d
    mix = ((trained - only2d) * difference).sum((1, 2)) / (difference ** 2).sum((1, 2))
    np.testing.assert_allclose(
        trained, only2d + mix[:, np.newaxis, np.newaxis] * difference, atol=0.01)
    assert np.all((mix > -1e-3) & (mix < 1.001)) and np.ptp(mix) > 0.01


def test_examples_do_not_influence_each_other():
    inputs, _ = make_inputs()
    layer = absolute_reconstruction.AbsoluteReconstruction(SIDE, STRIDE)
    alone = layer(*[tensor[1:2] for tensor in inputs])
    np.testing.assert_allclose(layer(*inputs)[1:2], alone, rtol=1e-5, atol=0.01)


def test_layer():
    inputs, _ = make_inputs()
    helpers.check_layer(
        absolute_reconstruction.AbsoluteReconstruction,
        {'crop_side_px': SIDE, 'stride_px': STRIDE, 'weak_perspective': True,
         'mix_3d_inside_fov': 0.25, 'centered': False}, inputs, rtol=1e-4, atol=0.01)
    layer = absolute_reconstruction.AbsoluteReconstruction(SIDE, STRIDE)
    json.dumps(layer.get_config())


def test_nothing_inside_the_field_of_view_is_finite():
    inputs, _ = make_inputs()
    inputs[0] = np.full_like(inputs[0], -50)
    output = absolute_reconstruction.AbsoluteReconstruction(SIDE, STRIDE)(*inputs)
    assert np.all(np.isfinite(output))


def test_float32_under_mixed_precision(dtype_policy):
    inputs, coords3d_cam = make_inputs()
    dtype_policy('mixed_float16')
    output = absolute_reconstruction.AbsoluteReconstruction(SIDE, STRIDE)(*inputs)
    assert output.dtype == tf.float32
    np.testing.assert_allclose(output, coords3d_cam, rtol=0.05, atol=20)


def test_refusals():
    with pytest.raises(ValueError, match='`mix_3d_inside_fov` must be between 0 and 1'):
        absolute_reconstruction.AbsoluteReconstruction(SIDE, STRIDE, mix_3d_inside_fov=1.5)
    with pytest.raises(ValueError, match='`crop_side_px` must be a positive'):
        absolute_reconstruction.AbsoluteReconstruction(-1, STRIDE)
