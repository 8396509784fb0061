"""Cameras of data sets: check values of Human3.6M's metadata, OpenCV's lens, and undistortion."""

import cv2
import numpy as np
import pytest

from training.datasets import photo_camera

# S1, camera 54138969: Euler angles, centre (mm), rows of R, intrinsics and lens, as published.
ANGLES = (-1.383828, -3.167343, 0.413636)
CENTER = np.array([1841.107, 4955.285, 1563.445])
ROTATION = np.array([
    [-0.915362, 0.401808, 0.025748], [0.051548, 0.180374, -0.982246],
    [-0.399319, -0.897784, -0.185820]])
INTRINSICS = np.array([[1145.049405, 0, 512.541505], [0, 1143.781096, 515.451487], [0, 0, 1]])
LENS = (-0.207099, 0.247775, -0.001424, -0.000976, -0.003075)  # k1 k2 p1 p2 k3


def make_camera(distortion=LENS, factor=2.0):
    return photo_camera.PhotoCamera(
        INTRINSICS, ROTATION, -ROTATION @ CENTER, distortion, tangential_factor=factor)


def make_points(seed=0, n_points=50):
    rng = np.random.default_rng(seed)
    return rng.uniform([-1500, -1500, 3500], [1500, 1500, 6000], [n_points, 3])


def test_pinhole_worked_out_by_hand():
    camera = photo_camera.PhotoCamera(np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]]))
    point = np.array([1.0, 2, 10])
    np.testing.assert_allclose(camera.project(point), [60, 60])
    np.testing.assert_allclose(camera.project_undistorted(point), [60, 60])
    np.testing.assert_allclose(camera.to_camera_frame(point), point)


def test_world_to_camera_frame():
    camera = make_camera()
    np.testing.assert_allclose(camera.to_camera_frame(CENTER), [0, 0, 0], atol=1e-9)
    # A metre along the camera's own z axis, which is the third row of the rotation.
    np.testing.assert_allclose(
        camera.to_camera_frame(CENTER + 1000 * ROTATION[2]), [0, 0, 1000], atol=2e-3)
    np.testing.assert_allclose(
        camera.direction_in_camera_frame([0, 0, 1]), ROTATION[:, 2])


def test_lens_agrees_with_opencv():
    points = make_points()
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), INTRINSICS, np.array(LENS))
    np.testing.assert_allclose(make_camera().project(points), expected[:, 0], atol=1e-6)


def test_human36m_lens_by_its_own_formula():
    x, y = 0.3, 0.2
    k1, k2, p1, p2, k3 = LENS
    r2 = 0.13
    factor = 1 + k1 * r2 + k2 * r2 ** 2 + k3 * r2 ** 3 + p1 * y + p2 * x
    expected = [
        1145.049405 * (x * factor + p2 * r2) + 512.541505,
        1143.781096 * (y * factor + p1 * r2) + 515.451487]
    point = np.array([x, y, 1]) * 4000
    np.testing.assert_allclose(make_camera(factor=1.0).project(point), expected, atol=1e-9)
    difference = np.linalg.norm(make_camera(factor=2.0).project(point) - expected)
    assert 0.05 < difference < 0.3  # the published 0.19 px is at other points


@pytest.mark.parametrize('factor', [1.0, 2.0])
def test_undistorted_points_are_those_of_the_pinhole(factor):
    camera, points = make_camera(factor=factor), make_points(seed=1)
    distorted = camera.project(points)
    expected = camera.project_undistorted(points)
    assert np.max(np.linalg.norm(distorted - expected, axis=1)) > 3
    np.testing.assert_allclose(camera.undistort_points(distorted), expected, atol=1e-4)


def test_undistorted_photo_shows_points_where_the_pinhole_projects_them():
    camera = make_camera(distortion=(-0.3, 0.1, 0.001, -0.002, 0.0))
    for point in make_points(seed=2, n_points=2):
        photo = np.zeros([1000, 1000], np.uint8)
        x, y = camera.project(point)
        rows, columns = np.mgrid[:1000, :1000]
        photo[:] = 255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8)
        result = camera.undistort_photo(photo).astype(float)
        found = [np.sum(grid * result) / result.sum() for grid in (columns, rows)]
        np.testing.assert_allclose(found, camera.project_undistorted(point), atol=0.1)


def test_masks_are_undistorted_like_photos():
    camera = make_camera()
    photo = np.random.default_rng(3).integers(0, 255, [100, 120, 3], np.uint8)
    result = camera.undistort_photo(photo)
    np.testing.assert_array_equal(camera.undistort_photo(photo[..., :2]), result[..., :2])
    np.testing.assert_array_equal(camera.undistort_photo(photo[..., 0]), result[..., 0])


@pytest.mark.parametrize('distortion', [None, (0, 0, 0, 0, 0)])
def test_without_distortion_nothing_moves(distortion):
    camera = make_camera(distortion)
    photo = np.zeros([4, 4, 3], np.uint8)
    assert not camera.is_distorted
    assert camera.undistort_photo(photo) is photo
    points = make_points()
    np.testing.assert_array_equal(camera.project(points), camera.project_undistorted(points))
    np.testing.assert_array_equal(camera.undistort_points(points[:, :2]), points[:, :2])
    np.testing.assert_allclose(camera.undistort_box([3, 4, 10, 20]), [3, 4, 10, 20])


def test_undistorted_box_holds_the_moved_edges():
    camera = make_camera()
    left, top, width, height = camera.undistort_box([100, 200, 300, 400])
    corners = camera.undistort_points(np.array([[100.0, 200], [400, 200], [100, 600], [400, 600]]))
    np.testing.assert_allclose([left, top], corners.min(axis=0), atol=1e-9)
    np.testing.assert_allclose(top + height, corners[:, 1].max())
    # The right edge bulges: its middle is further right than its corners.
    middle = camera.undistort_points(np.array([400.0, 400]))
    assert left + width >= middle[0]


@pytest.mark.parametrize('depth', [0.0, -3000.0])
def test_points_not_before_the_camera_have_no_pixel(depth):
    points = np.array([[100.0, 100, depth], [100, 100, 3000], [np.nan] * 3])
    for pixels in (make_camera().project(points), make_camera().project_undistorted(points)):
        np.testing.assert_array_equal(np.isfinite(pixels[:, 0]), [False, True, False])


def test_missing_points_stay_missing():
    points = np.array([[np.nan, np.nan], [500.0, 400.0]])
    result = make_camera().undistort_points(points)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(points))


def test_fitted_intrinsics():
    points = make_points()
    camera = make_camera(distortion=None)
    found = photo_camera.fit_intrinsics(camera.project(points), points)
    np.testing.assert_allclose(found, INTRINSICS, atol=1e-6)
    with pytest.raises(ValueError, match='`coords3d_cam` must have points in different directions'):
        photo_camera.fit_intrinsics(np.zeros([5, 2]), np.tile([1.0, 2, 3], (5, 1)))
