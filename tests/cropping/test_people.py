"""The public cropping helper: what is at which crop pixel, the way back, batches and errors."""

import numpy as np
import pytest
import tensorflow as tf

from metro_tf.cropping import people
from metro_tf.geometry import camera, distortion

SIDE = 64
INTRINSICS = np.float32([[300, 0, 160], [0, 310, 120], [0, 0, 1]])
LENS = np.float32([-0.2, 0.05, 0.002, -0.001])
UP = np.float32([0.1, -1, 0.1])


def picture_of(point, coeffs):
    """Black image with a soft white dot where a camera with a lens sees a 3D point."""
    norm = distortion.distort_points((point[:, :2] / point[:, 2:])[np.newaxis], coeffs)
    x, y = camera.to_pixels(norm, INTRINSICS).numpy()[0, 0]
    columns, rows = np.meshgrid(np.arange(320), np.arange(240))
    dot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    return np.uint8(255 * dot)[..., np.newaxis].repeat(3, axis=-1), (x, y)


@pytest.mark.parametrize('point', [(300, 200, 1000), (-400, -300, 900), (0, 100, 800)])
def test_point_is_where_the_crop_camera_projects_it(point):
    point = np.float32([point])
    image, (x, y) = picture_of(point, LENS)
    box = np.float32([[x - 30, y - 25, 50, 60]])
    result = people.crop_people(
        image, box, INTRINSICS, crop_side_px=SIDE, distortion_coeffs=LENS, camera_up=UP)
    light = result.crops.numpy()[0, ..., 0] ** 2.2
    weights = light / light.sum()
    columns, rows = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    found = [(weights * columns).sum(), (weights * rows).sum()]
    in_crop = np.einsum('nij,nj->ni', result.rotations, point)[:, np.newaxis]
    expected = camera.project(in_crop, result.intrinsics)[0, 0]
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert np.linalg.norm(expected - np.float32([SIDE / 2, SIDE / 2])) > 2


def test_uncropping_inverts_the_rotation():
    image = np.zeros((240, 320, 3), np.uint8)
    boxes = np.float32([[10, 20, 50, 80], [200, 100, 90, 60]])
    result = people.crop_people(image, boxes, INTRINSICS, crop_side_px=SIDE, camera_up=UP)
    poses = np.random.default_rng(0).normal([0, 0, 3000], 500, (2, 7, 3)).astype(np.float32)
    in_crop = np.einsum('nij,nkj->nki', result.rotations, poses)
    np.testing.assert_allclose(
        people.uncrop_poses(in_crop, result.rotations), poses, atol=0.01)
    # The crop camera looks at the box, so a point on its axis returns to the box's centre.
    on_axis = people.uncrop_poses(np.float32([[[0, 0, 1000]]] * 2), result.rotations)
    np.testing.assert_allclose(
        camera.project(on_axis, INTRINSICS)[:, 0], [[35, 60], [245, 130]], atol=0.01)


def test_uncropping_by_hand():
    rotations = np.float32([[[0, 1, 0], [-1, 0, 0], [0, 0, 1]]])
    poses = people.uncrop_poses(np.float32([[[1, 2, 3]]]), rotations)
    np.testing.assert_allclose(poses, [[[-2, 1, 3]]])


def test_ragged_batch_equals_single_images():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 60, 80, 3), np.uint8)
    intrinsics = np.stack([INTRINSICS * [[s], [s], [1]] for s in (0.2, 0.3, 0.4)])
    coeffs = np.stack([LENS, 0 * LENS, LENS])
    boxes = [[[10, 10, 30, 40], [40, 5, 30, 30]], [], [[5, 6, 60, 50]]]
    ragged = tf.RaggedTensor.from_row_lengths(np.float32(boxes[0] + boxes[2]), [2, 0, 1])

    @tf.function
    def crop_batch(images, boxes):
        return people.crop_people(
            images, boxes, np.float32(intrinsics), crop_side_px=16, distortion_coeffs=coeffs,
            zoom=0.9, gamma=0.8, antialias_factor=2)

    result = crop_batch(images, ragged)
    np.testing.assert_array_equal(result.image_index, [0, 0, 2])
    start = 0
    for image, matrix, lens, image_boxes in zip(images, intrinsics, coeffs, boxes):
        single = people.crop_people(
            image, np.float32(image_boxes).reshape(-1, 4), matrix, crop_side_px=16,
            distortion_coeffs=lens, zoom=0.9, gamma=0.8, antialias_factor=2)
        rows = slice(start, start + len(image_boxes))
        start += len(image_boxes)
        np.testing.assert_allclose(single.crops, result.crops[rows], atol=1e-3)
        np.testing.assert_allclose(single.intrinsics, result.intrinsics[rows], rtol=1e-5)
        np.testing.assert_allclose(single.rotations, result.rotations[rows], atol=1e-6)
    assert start == 3


def test_zoom_magnifies_and_gamma_brightens():
    image = np.full((240, 320, 3), 64, np.uint8)
    boxes = np.float32([[100, 100, 40, 50]])
    plain = people.crop_people(image, boxes, INTRINSICS, crop_side_px=SIDE)
    zoomed = people.crop_people(image, boxes, INTRINSICS, crop_side_px=SIDE, zoom=2.0, gamma=0.5)
    np.testing.assert_allclose(zoomed.intrinsics[0, 0, 0], 2 * plain.intrinsics[0, 0, 0])
    np.testing.assert_allclose(plain.crops, np.full((1, SIDE, SIDE, 3), 64 / 255), atol=1e-5)
    np.testing.assert_allclose(zoomed.crops, np.sqrt(plain.crops), atol=1e-5)


@pytest.mark.parametrize('images, boxes', [
    (np.zeros((2, 9, 9, 3), np.uint8), np.zeros((1, 4), np.float32)),
    (np.zeros((9, 9, 3), np.uint8), tf.ragged.constant([[[1.0, 2, 3, 4]]], ragged_rank=1))])
def test_refuses_mixed_single_and_batch(images, boxes):
    with pytest.raises(ValueError, match='`images` must have the shape .*Received'):
        people.crop_people(images, boxes, INTRINSICS, crop_side_px=SIDE)
