"""The window around a labelled person: every label moves with the pixels."""

import numpy as np
import pytest

from training.datasets import example as example_lib
from training.datasets import labelled_person, photo_camera

JOINTS = ('pelv', 'neck', 'lank')
INTRINSICS = np.array([[800.0, 0, 320], [0, 820, 240], [0, 0, 1]])
COORDS3D = np.array([[0.0, 0, 4000], [100, -500, 4100], [-150, 800, 3900]])


def make_photo(height=480, width=640):
    return np.random.default_rng(0).integers(0, 255, [height, width, 3], np.uint8)


def to_example(photo=None, **labels):
    return labelled_person.to_example(
        make_photo() if photo is None else photo, 'x/1', JOINTS, **labels)


def test_small_box_keeps_the_pixels():
    camera = photo_camera.PhotoCamera(INTRINSICS)
    example = example_lib.check(to_example(
        box=[270, 120, 90, 100], coords3d_cam=COORDS3D, camera=camera, camera_up=[0, -1, 0]))
    # The window has twice the box's longer side: 215..415 by 70..270 from its middle (315, 170).
    x, y = -example.frame[:2]
    assert 213 <= x <= 216 and 68 <= y <= 71
    height, width = example.image.shape[:2]
    np.testing.assert_array_equal(
        example.image, make_photo()[int(y):int(y) + height, int(x):int(x) + width])
    np.testing.assert_allclose(example.box, [270 - x, 120 - y, 90, 100])
    # 800 * 100 / 4100 + 320 and 820 * -500 / 4100 + 240
    np.testing.assert_allclose(example.coords2d[1], [339.512195 - x, 140 - y], rtol=1e-6)
    np.testing.assert_array_equal(example.coords3d_cam, np.float32(COORDS3D))
    np.testing.assert_array_equal(example.visibility, [1, 1, 1])


def test_large_person_is_downscaled_with_labels_and_camera():
    camera = photo_camera.PhotoCamera(INTRINSICS)
    example = example_lib.check(to_example(
        box=[10, 20, 500, 424], coords3d_cam=COORDS3D, camera=camera))
    homogeneous = example.coords3d_cam @ example.intrinsics.T
    np.testing.assert_allclose(
        homogeneous[:, :2] / homogeneous[:, 2:], example.coords2d, atol=1e-3)
    np.testing.assert_allclose(example.frame[2:], [271, 204])  # 640 and 480 times 212 / 500
    np.testing.assert_allclose(example.box[2:], [500 * 271 / 640, 424 * 204 / 480], rtol=1e-6)


def test_distorted_photo_with_2d_labels_becomes_a_pinhole():
    camera = photo_camera.PhotoCamera(INTRINSICS, distortion=(-0.2, 0.1, 0.001, 0.002, 0.0))
    distorted = camera.project(COORDS3D)
    example = to_example(box=[270, 120, 90, 100], coords2d=distorted, camera=camera)
    x, y = -example.frame[:2]
    np.testing.assert_allclose(
        example.coords2d + [x, y], camera.project_undistorted(COORDS3D), atol=1e-3)
    expected = camera.undistort_photo(make_photo())
    np.testing.assert_array_equal(example.image[0, 0], expected[int(y), int(x)])
    np.testing.assert_allclose(
        example.box + [x, y, 0, 0], camera.undistort_box([270, 120, 90, 100]), rtol=1e-5)


def test_masks_are_cut_with_the_photo():
    photo = make_photo()
    example = example_lib.check(to_example(
        photo, box=[100, 50, 200, 400], coords2d=np.full([3, 2], 200.0), alpha=photo[..., 0],
        clothing_masks=photo[..., 1:]))
    np.testing.assert_array_equal(example.alpha, example.image[..., 0])
    np.testing.assert_array_equal(example.clothing_masks, example.image[..., 1:])


def test_labels_in_2d_alone_get_an_almost_orthographic_camera():
    coords2d = np.array([[100.0, 100], [120, 200], [90, 150]])
    example = example_lib.check(to_example(coords2d=coords2d))
    # Half of 640 px at 4 degrees: 320 / tan(4) = 4576.2 px.
    np.testing.assert_allclose(example.intrinsics[0, 0], 4576.213, rtol=1e-4)
    assert example.coords3d_cam is None
    np.testing.assert_array_equal(example.camera_up, [0, -1, 0])
    # Joints span 90..120 by 100..200; a fifth more around their middle (105, 150).
    shift = example.frame[:2]
    np.testing.assert_allclose(example.box, [87 + shift[0], 90 + shift[1], 36, 120], rtol=1e-6)


def test_visibility():
    coords2d = np.array([[-1.0, 100], [639.4, 479.4], [np.nan, np.nan]])
    example = to_example(box=[0, 0, 640, 480], coords2d=coords2d)
    np.testing.assert_array_equal(example.visibility, [0, 1, 0])
    assert np.isnan(example.coords2d[2]).all()
    coords2d = np.array([[-1.0, 100], [300, 300], [310, 300]])
    example = to_example(box=[0, 0, 640, 480], coords2d=coords2d, visibility=[1, 0, 2])
    np.testing.assert_array_equal(example.visibility, [0, 0, 1])


@pytest.mark.parametrize('labels', [
    {'box': [700, 0, 50, 50], 'coords2d': np.full([3, 2], 10.0)},
    {'box': [-60, 0, 60, 50], 'coords2d': np.full([3, 2], 10.0)},
    {'coords2d': np.full([3, 2], np.nan)},
    {'coords2d': np.full([3, 2], 1000.0)}])
def test_nobody_in_the_photo(labels):
    assert to_example(**labels) is None


@pytest.mark.filterwarnings('error')
def test_joints_behind_the_camera_are_missing_in_2d():
    example = to_example(
        coords3d_cam=COORDS3D * [[1, 1, -1], [1, 1, 1], [1, 1, 1]],
        camera=photo_camera.PhotoCamera(INTRINSICS))
    np.testing.assert_array_equal(np.isnan(example.coords2d[:, 0]), [True, False, False])
    assert np.isfinite(example.coords3d_cam).all()


def test_labels_are_required():
    with pytest.raises(ValueError, match='`coords2d` must be given without .* Received: None'):
        to_example(coords3d_cam=COORDS3D)


def test_box_within_the_photo():
    np.testing.assert_allclose(
        labelled_person.within_photo([-10, 5, 30, 100], (50, 40)), [-0.5, 5, 20.5, 44.5])
    assert labelled_person.within_photo([38.6, 5, 30, 30], (50, 40)) is None
    assert labelled_person.within_photo([38.5, 5, 30, 30], (50, 40)) is not None


def test_box_of_a_mask():
    mask = np.zeros([8, 10], np.uint8)
    mask[5, 3] = 1  # one pixel, whose edges lie between pixels
    np.testing.assert_allclose(labelled_person.box_of_mask(mask), [2.5, 4.5, 1, 1])
    mask[6:8, 9] = 255
    np.testing.assert_allclose(labelled_person.box_of_mask(mask), [2.5, 4.5, 7, 3])
    assert labelled_person.box_of_mask(np.zeros([8, 10])) is None
