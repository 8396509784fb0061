"""Pins the conventions that the docstring of `metro_tf.geometry` states, by numbers."""

import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import boxes, camera, distortion, rotation


@pytest.fixture(name='intrinsics')
def fixture_intrinsics():
    return tf.constant([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]])


def test_camera_frame_is_x_right_y_down_z_forward(intrinsics):
    pixels = camera.project([[1.0, 2, 10], [2.0, 2, 10], [1.0, 3, 10], [1.0, 2, 20]], intrinsics)
    np.testing.assert_allclose(pixels, [[60, 60], [70, 60], [60, 70], [55, 50]], atol=1e-4)


def test_camera_frame_is_right_handed():
    quarter_turn = rotation.from_axis_angle([0.0, 0, 1], np.pi / 2)
    np.testing.assert_allclose(rotation.rotate([[1.0, 0, 0]], quarter_turn), [[0, 1, 0]], atol=1e-6)


def test_matrices_act_on_columns_and_points_are_rows():
    matrix = [[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]
    np.testing.assert_allclose(rotation.rotate([[1.0, 0, 0]], matrix), [[1, 4, 7]], atol=1e-6)


def test_extrinsics_map_world_to_camera_in_mm():
    # A camera at (1000, 0, 0) that looks along the world's +x axis, with the world's -y up.
    extrinsics = np.array(
        [[0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, -1000], [0, 0, 0, 1]], np.float32)
    in_camera = camera.world_to_camera([[3000.0, 0, 0], [1000.0, 0, 0]], extrinsics)
    np.testing.assert_allclose(in_camera, [[0, 0, 2000], [0, 0, 0]], atol=1e-3)


def test_image_up_is_negative_y(intrinsics):
    above, below = camera.project([[0.0, -1, 10], [0.0, 1, 10]], intrinsics)
    assert above[1] < below[1]
    np.testing.assert_allclose(
        rotation.look_at([0.0, 0, 1], [0.0, -1, 0]), np.eye(3), atol=1e-6)


def test_own_principal_points_are_half_the_size():
    assert camera.PRINCIPAL_POINT_FRACTION == 0.5
    intrinsics = camera.intrinsics_from_fov(55, (480, 640, 3))
    np.testing.assert_allclose(intrinsics[:2, 2], [320, 240], atol=1e-4)


def test_default_field_of_view_spans_the_larger_side():
    np.testing.assert_allclose(
        camera.intrinsics_from_fov(55, (480, 640))[0, 0], 614.7143, atol=0.001)


def test_augmentation_rotation_sign():
    matrix = rotation.around_z(np.float32(np.radians(25)))
    np.testing.assert_allclose(
        matrix, [[0.9063, 0.4226, 0], [-0.4226, 0.9063, 0], [0, 0, 1]], atol=1e-4)


def test_boxes_start_at_the_top_left_corner():
    np.testing.assert_allclose(boxes.center([10.0, 20, 4, 6]), [12, 23], atol=1e-5)


def test_distortion_coefficients_are_in_the_order_of_opencv():
    """Each coefficient alone, on the point (0.5, 0.25) with r^2 = 0.3125; worked out by hand."""
    x, y, r2 = 0.5, 0.25, 0.3125
    denominators = [1 + 0.1 * r2 ** power for power in (1, 2, 3)]
    expected = [
        [x * (1 + 0.1 * r2), y * (1 + 0.1 * r2)],
        [x * (1 + 0.1 * r2 ** 2), y * (1 + 0.1 * r2 ** 2)],
        [x + 0.2 * x * y, y + 0.1 * (r2 + 2 * y * y)],
        [x + 0.1 * (r2 + 2 * x * x), y + 0.2 * x * y],
        [x * (1 + 0.1 * r2 ** 3), y * (1 + 0.1 * r2 ** 3)],
        *([x / denominator, y / denominator] for denominator in denominators),
        [x + 0.1 * r2, y], [x + 0.1 * r2 ** 2, y], [x, y + 0.1 * r2], [x, y + 0.1 * r2 ** 2]]
    actual = distortion.distort_points(np.float32([[x, y]]), 0.1 * np.eye(12, dtype=np.float32))
    np.testing.assert_allclose(actual[:, 0], expected, atol=1e-6)
