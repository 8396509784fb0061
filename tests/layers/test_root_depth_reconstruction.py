import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import camera, root_depth
from metro_tf.layers import root_depth_reconstruction
from tests import helpers

SIDE, STRIDE = 256, 32
EDGES = ((0, 1), (1, 2), (1, 3), (3, 4))
SETTINGS = {
    'crop_side_px': SIDE, 'stride_px': STRIDE, 'edges': EDGES,
    'bone_lengths_mm': (500.0, 250.0, 300.0, 280.0), 'i_root_joint': 0}


def make_layer(**kwargs):
    return root_depth_reconstruction.RootDepthReconstruction(**{**SETTINGS, **kwargs})


def make_inputs(n_examples=3, seed=0):
    """Pixels with depths and cameras of one pose at several places, its bones and the pose."""
    rng = np.random.default_rng(seed)
    coords3d_rel = rng.uniform(-300, 300, (1, 5, 3))
    position = rng.uniform([-50, -50, 3000], [50, 50, 5000], (n_examples, 1, 3))
    coords3d_cam = (coords3d_rel + position).astype(np.float32)
    intrinsics = np.tile(np.float32([[500, 0, 128], [0, 500, 128], [0, 0, 1]]), (n_examples, 1, 1))
    coords2d = camera.project(coords3d_cam, intrinsics).numpy()
    coords25d = np.concatenate([coords2d, coords3d_rel[..., 2:].repeat(n_examples, 0)], axis=-1)
    lengths = [np.linalg.norm(coords3d_rel[0, i] - coords3d_rel[0, j]) for i, j in EDGES]
    return [coords25d.astype(np.float32), intrinsics], lengths, coords3d_cam


def test_consistent_input_gives_the_true_pose():
    inputs, lengths, coords3d_cam = make_inputs()
    np.testing.assert_allclose(
        make_layer(bone_lengths_mm=lengths)(*inputs), coords3d_cam, atol=0.05)


def test_given_root_depth_replaces_the_bones():
    inputs, _, coords3d_cam = make_inputs()
    for i_root_joint in (0, 3, None):
        depth = coords3d_cam[..., 2].mean(1) if i_root_joint is None else (
            coords3d_cam[:, i_root_joint, 2])
        actual = make_layer(i_root_joint=i_root_joint)(*inputs, depth)
        np.testing.assert_allclose(actual, coords3d_cam, atol=0.05)


def test_field_of_view_without_centring():
    """The bounds are 8 and 216 px: the joint at 217 px and its bone do not count.

    The other bone spans 50 px at a focal length of 500 px, so its 300 mm are at 3000 mm.
    """
    coords25d = np.float32([[[128, 128, 0], [128, 178, 0], [217, 128, 0]]])
    intrinsics = np.float32([[[500, 0, 128], [0, 500, 128], [0, 0, 1]]])
    settings = {'edges': ((0, 1), (0, 2)), 'bone_lengths_mm': (300.0, 400.0)}
    coords3d = make_layer(**settings, centered=False)(coords25d, intrinsics)
    np.testing.assert_allclose(coords3d[0, :2], [[0, 0, 3000], [0, 300, 3000]], atol=0.1)
    # The bone of 89 px would be 400 mm long at 2247 mm.
    assert 2247 < make_layer(**settings)(coords25d, intrinsics)[0, 0, 2] < 2900


def test_joints_near_the_border_do_not_count():
    (coords25d, intrinsics), _, _ = make_inputs()
    coords25d[:, 4, :2] = [23.9, 128]  # the bounds are 24 and 232 px
    coords25d[:, 2, :2] = [128, 24]
    is_in_fov = np.tile([True, True, True, True, False], (3, 1))
    depth = root_depth.from_bone_lengths(
        coords25d, intrinsics, EDGES, SETTINGS['bone_lengths_mm'], is_in_fov, i_root_joint=0)
    actual = make_layer()(coords25d, intrinsics)
    np.testing.assert_allclose(actual[:, 0, 2], depth, atol=0.01)
    np.testing.assert_allclose(actual, root_depth.to_camera_frame(
        coords25d, intrinsics, depth, i_root_joint=0), atol=0.01)


@pytest.mark.parametrize('with_root_depth', [False, True])
def test_layer(with_root_depth):
    inputs, _, _ = make_inputs()
    if with_root_depth:
        inputs.append(np.float32([3000, 4000, 5000]))
    helpers.check_layer(
        root_depth_reconstruction.RootDepthReconstruction, SETTINGS, inputs, atol=0.01)


def test_examples_do_not_influence_each_other():
    inputs, _, _ = make_inputs()
    alone = make_layer()(*[tensor[1:2] for tensor in inputs])
    np.testing.assert_allclose(make_layer()(*inputs)[1:2], alone, atol=1e-3)


def test_nothing_inside_the_field_of_view_is_finite():
    inputs, _, _ = make_inputs()
    inputs[0][..., :2] = -50
    assert np.all(np.isfinite(make_layer()(*inputs)))


def test_float32_under_mixed_precision(dtype_policy):
    inputs, lengths, coords3d_cam = make_inputs()
    dtype_policy('mixed_float16')
    output = make_layer(bone_lengths_mm=lengths)(*inputs)
    assert output.dtype == tf.float32
    np.testing.assert_allclose(output, coords3d_cam, atol=0.05)


def test_symbolic_shape():
    output = make_layer()(keras.Input((5, 3)), keras.Input((3, 3)))
    assert tuple(output.shape) == (None, 5, 3)


def test_refusals():
    with pytest.raises(ValueError, match='`bone_lengths_mm` must have .* 3 lengths for 4 edges'):
        make_layer(bone_lengths_mm=[1, 2, 3])
    with pytest.raises(ValueError, match='`bone_lengths_mm` must have .* 0 lengths for 0 edges'):
        make_layer(edges=[], bone_lengths_mm=[])
    with pytest.raises(ValueError, match='`bone_lengths_mm` must be a positive finite number'):
        make_layer(bone_lengths_mm=[1, 2, 3, 0])
    with pytest.raises(ValueError, match='`stride_px` must be a positive'):
        make_layer(stride_px=0)
    with pytest.raises(ValueError, match='`i_root_joint` must be None or the index of one of 5'):
        make_layer(i_root_joint=5)(*make_inputs()[0])
