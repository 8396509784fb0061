"""Virtual cameras of boxes: hand-computed views, properties, vertical rays, errors."""

import numpy as np
import pytest

from metro_tf.cropping import view
from metro_tf.geometry import camera, distortion, rotation
from tests import helpers

NO_LENS = np.zeros((1, 5), np.float32)
UP = np.float32([[0, -1, 0]])
INTRINSICS = np.float32([[[500, 0, 320], [0, 500, 240], [0, 0, 1]]])


@pytest.mark.parametrize('box, size', [
    ([270, 140, 100, 200], 200), ([170, 190, 300, 100, 0.9], 300)])
def test_centred_box(box, size):
    # The ray of the centre is the optical axis, so nothing turns and pixels stay pixels.
    rotations, scales = view.virtual_cameras(np.float32([box]), INTRINSICS, NO_LENS, UP, 256)
    np.testing.assert_allclose(rotations[0], np.eye(3), atol=1e-6)
    np.testing.assert_allclose(scales, [256 / size], rtol=1e-5)


def test_box_at_45_degrees():
    # Centre at x = 320 + 500, so the ray is (1, 0, 1). Sides at x/z = 0.9 and 1.1 are at angles
    # atan(0.9) - 45 and atan(1.1) - 45 degrees: tangents -1/19 and 1/21, a width of 50.13 px.
    # Top and bottom at y/z = 0.04 and distance sqrt(2): 2 * 500 * 0.04 / sqrt(2) = 28.28 px.
    box = np.float32([[770, 220, 100, 40]])
    rotations, scales = view.virtual_cameras(box, INTRINSICS, NO_LENS, UP, 256)
    expected = [[0.70711, 0, -0.70711], [0, 1, 0], [0.70711, 0, 0.70711]]
    np.testing.assert_allclose(rotations[0], expected, atol=1e-5)
    np.testing.assert_allclose(256 / scales, [500 * (1 / 19 + 1 / 21)], rtol=1e-4)
    high_box = np.float32([[810, 140, 20, 200]])
    _, scales = view.virtual_cameras(high_box, INTRINSICS, NO_LENS, UP, 256)
    np.testing.assert_allclose(256 / scales, [200 / np.sqrt(2)], rtol=1e-4)


@pytest.mark.parametrize('in_graph', [False, True])
def test_box_fills_the_crop_and_up_is_up(in_graph):
    rng = np.random.default_rng(0)
    n, side = 20, 160
    boxes = np.float32(rng.uniform([-50, -50, 20, 20], [600, 400, 200, 300], (n, 4)))
    intrinsics = np.tile(INTRINSICS * np.float32([[1], [0.9], [1]]), (n, 1, 1))
    intrinsics[:, 2, 2] = 1
    coeffs = np.tile(np.float32([[-0.1, 0.02, 0.001, -0.002]]), (n, 1))
    up = np.float32(rng.normal([0, -1, 0], 0.3, (n, 3)))

    def cameras(boxes, intrinsics, coeffs, up):
        return view.virtual_cameras(boxes, intrinsics, coeffs, up, side)

    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    rotations, scales = call(cameras, boxes, intrinsics, coeffs, up)
    crop_intrinsics = view.crop_intrinsics(intrinsics, scales, side)
    x, y, w, h = boxes.T
    points = np.stack([
        [x + w / 2, y + h / 2], [x + w / 2, y], [x + w / 2, y + h], [x, y + h / 2],
        [x + w, y + h / 2]]).transpose(2, 0, 1)
    rays = camera.back_project(
        distortion.undistort_points(camera.normalize(points, intrinsics), coeffs),
        np.ones((n, 5)))
    crop_points = camera.project(
        rotation.rotate(rays, rotations), crop_intrinsics, min_depth_mm=0.01).numpy()
    np.testing.assert_allclose(crop_points[:, 0], np.full((n, 2), side / 2), atol=0.01)
    extents = np.linalg.norm(crop_points[:, [2, 4]] - crop_points[:, [1, 3]], axis=-1)
    np.testing.assert_allclose(extents.max(axis=1), np.full(n, side), rtol=1e-4)
    np.testing.assert_allclose(
        rotations @ np.swapaxes(rotations, 1, 2), np.tile(np.eye(3), (n, 1, 1)), atol=1e-5)
    up_in_crop = np.einsum('nij,nj->ni', rotations, up)
    np.testing.assert_allclose(up_in_crop[:, 0], np.zeros(n), atol=1e-5)
    np.testing.assert_array_less(up_in_crop[:, 1], 0)


@pytest.mark.parametrize('up', [(0, 0, 1), (0, 0, -1), (0, 0, 0)])
def test_vertical_ray_keeps_the_cameras_own_axes(up):
    # The camera looks straight up or down at the person (or up is unknown).
    boxes = np.float32([[270, 140, 100, 200]])
    rotations, scales = view.virtual_cameras(
        boxes, INTRINSICS, NO_LENS, np.float32([up]), 256)
    np.testing.assert_allclose(rotations[0], np.eye(3), atol=1e-6)
    np.testing.assert_allclose(scales, [1.28], rtol=1e-5)


def test_degenerate_boxes_stay_finite():
    boxes = np.float32([[320, 240, 0, 0], [-1e5, -1e5, 2e5, 2e5], [1e6, 0, 10, 10]])
    rotations, scales = view.virtual_cameras(boxes, INTRINSICS, NO_LENS, UP, 256)
    assert np.isfinite(rotations).all()
    assert np.isfinite(scales).all()
    np.testing.assert_array_less(0, scales)


def test_zero_boxes():
    rotations, scales = view.virtual_cameras(np.zeros((0, 4)), INTRINSICS[0], NO_LENS[0], UP[0], 9)
    assert rotations.shape == (0, 3, 3)
    assert scales.shape == (0,)


def test_crop_intrinsics_keep_aspect_and_skew():
    intrinsics = [[500, 3, 300], [0, 520, 200], [0, 0, 1]]
    expected = [[250, 1.5, 128], [0, 260, 128], [0, 0, 1]]
    np.testing.assert_allclose(view.crop_intrinsics(intrinsics, 0.5, 256), expected)
    several = view.crop_intrinsics(np.float32([intrinsics] * 2), [0.5, 1], 256)
    np.testing.assert_allclose(several[0], expected)
    np.testing.assert_allclose(several[1, :2, 2], [128, 128])


def test_errors():
    boxes = np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match='`boxes` must'):
        view.virtual_cameras(np.zeros((2, 3)), INTRINSICS, NO_LENS, UP, 256)
    with pytest.raises(ValueError, match='`boxes` must'):
        view.virtual_cameras(np.zeros(4), INTRINSICS, NO_LENS, UP, 256)
    with pytest.raises(ValueError, match='`intrinsics` must'):
        view.virtual_cameras(boxes, np.eye(4), NO_LENS, UP, 256)
    with pytest.raises(ValueError, match='`camera_up` must'):
        view.virtual_cameras(boxes, INTRINSICS, NO_LENS, np.zeros(2), 256)
    with pytest.raises(ValueError, match='`intrinsics` must'):
        view.crop_intrinsics(np.eye(2), 1.0, 256)
