import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import camera, rotation
from tests import helpers

INTRINSICS = np.float32([[500, 3, 128], [0, 480, 120], [0, 0, 1]])


def random_points(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform([-1000, -1000, 2000], [1000, 1000, 6000], (*shape, 3)).astype(np.float32)


def random_extrinsics(n_cameras, seed=0):
    rng = np.random.default_rng(seed)
    extrinsics = np.tile(np.eye(4, dtype=np.float32), (n_cameras, 1, 1))
    extrinsics[:, :3, :3] = rotation.from_axis_angle(
        rng.normal(size=(n_cameras, 3)).astype(np.float32), np.float32(1.0))
    extrinsics[:, :3, 3] = rng.normal(0, 3000, (n_cameras, 3))
    return extrinsics


def test_project_by_hand():
    intrinsics = [[500.0, 0, 128], [0, 500, 128], [0, 0, 1]]
    np.testing.assert_allclose(
        camera.project([[100.0, -200, 2000]], intrinsics), [[153, 78]], atol=1e-3)
    np.testing.assert_allclose(  # the skew adds 3 * (-0.1) px to x
        camera.project([[100.0, -200, 2000]], INTRINSICS), [[152.7, 72]], atol=1e-3)


@pytest.mark.parametrize('depth_mm', [0.5, 0.0, -100.0])
def test_project_stays_finite_behind_the_camera(depth_mm):
    points = tf.constant([[2.0, 1.0, depth_mm]])
    with tf.GradientTape() as tape:
        tape.watch(points)
        pixels = camera.project(points, INTRINSICS)
    np.testing.assert_allclose(pixels, [[128 + 1000 + 3, 120 + 480]], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(pixels, points), [[500, 483, 0]], rtol=1e-6)


def test_min_depth_is_an_argument():
    np.testing.assert_allclose(
        camera.project([[10.0, 0, 1]], INTRINSICS, min_depth_mm=100), [[178, 120]], atol=1e-3)


@pytest.mark.parametrize('in_graph', [False, True])
def test_normalize_inverts_to_pixels(in_graph):
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    pixels = np.random.default_rng(0).uniform(0, 256, (3, 5, 2)).astype(np.float32)
    intrinsics = np.stack([INTRINSICS, 2 * INTRINSICS, INTRINSICS])
    intrinsics[1, 2, 2] = 1
    intrinsics[2, 1, 0] = -40  # an image turned in its plane
    norm = call(camera.normalize, pixels, intrinsics)
    rays = np.concatenate([pixels, np.ones((3, 5, 1))], -1) @ np.swapaxes(
        np.linalg.inv(intrinsics.astype(np.float64)), 1, 2)
    np.testing.assert_allclose(norm, rays[..., :2], atol=1e-6)
    np.testing.assert_allclose(call(camera.to_pixels, norm, intrinsics), pixels, atol=1e-3)


@pytest.mark.parametrize('in_graph', [False, True])
def test_back_projection_inverts_projection(in_graph):
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    points = random_points((2, 4))
    pixels = call(camera.project, points, INTRINSICS)
    norm = call(camera.normalize, pixels, INTRINSICS)
    np.testing.assert_allclose(
        call(camera.back_project, norm, points[..., 2]), points, atol=0.01)


def test_back_project_by_hand():
    np.testing.assert_allclose(
        camera.back_project([[0.1, -0.2]], [2000.0]), [[200, -400, 2000]], atol=1e-3)
    np.testing.assert_allclose(  # one depth for all joints
        camera.back_project([[0.1, -0.2], [0, 0.5]], [[[10.0, 20.0]]])[0, 0],
        [[1, -2, 10], [0, 10, 20]], atol=1e-5)


def test_leading_axes_broadcast():
    points = random_points((4, 6))
    intrinsics = np.stack([INTRINSICS, 2 * INTRINSICS, 3 * INTRINSICS, INTRINSICS])
    together = camera.project(points, intrinsics)
    for i in range(4):
        np.testing.assert_allclose(
            together[i], camera.project(points[i], intrinsics[i]), atol=1e-3)
    np.testing.assert_allclose(
        camera.project(points[0], intrinsics[:2])[1], camera.project(points[0], intrinsics[1]),
        atol=1e-3)


@pytest.mark.parametrize('image_shape', [
    (480, 640), (480, 640, 3), tf.TensorShape([480, 640, 3]), tf.constant([480, 640, 3]),
    np.array([480, 640])])
def test_intrinsics_from_fov(image_shape):
    np.testing.assert_allclose(
        camera.intrinsics_from_fov(55, image_shape),
        [[614.7143, 0, 320], [0, 614.7143, 240], [0, 0, 1]], atol=1e-3)


def test_intrinsics_from_fov_uses_the_larger_side():
    np.testing.assert_allclose(
        camera.intrinsics_from_fov(90.0, (640, 480)),
        [[320, 0, 240], [0, 320, 320], [0, 0, 1]], atol=1e-3)


def test_intrinsics_from_fov_in_graph():
    images = np.zeros((2, 48, 64, 3), np.uint8)
    actual = helpers.run_in_graph(
        lambda batch, fov: camera.intrinsics_from_fov(fov, tf.shape(batch)[1:3]),
        images, np.float32([90, 55]))
    assert actual.shape == (2, 3, 3)
    np.testing.assert_allclose(actual[0], [[32, 0, 32], [0, 32, 24], [0, 0, 1]], atol=1e-4)


@pytest.mark.parametrize('centered, lowest, highest', [(True, 24, 232), (False, 8, 216)])
def test_field_of_view_bounds_are_inclusive(centered, lowest, highest):
    middle = 100
    points = [[lowest, middle], [highest, middle], [middle, lowest], [middle, highest],
              [lowest - 0.01, middle], [highest + 0.01, middle], [middle, lowest - 0.01],
              [middle, highest + 0.01], [float('nan'), middle]]
    inside = camera.is_within_fov(tf.constant(points), 256, 32, centered=centered)
    np.testing.assert_array_equal(inside, [True] * 4 + [False] * 5)


def test_negative_border_extends_the_field_of_view():
    inside = camera.is_within_fov([[-640.0, 896], [-641, 0]], 256, 32, border_factor=-20)
    np.testing.assert_array_equal(inside, [True, False])


def test_field_of_view_in_graph():
    points = np.float32([[[24, 24], [0, 100]]])
    inside = helpers.run_in_graph(lambda p: camera.is_within_fov(p, 256, 32), points)
    np.testing.assert_array_equal(inside, [[True, False]])


def test_transform_points_by_hand():
    matrix = [[0.0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(
        camera.transform_points([[1.0, 2, 3]], matrix), [[8, 21, 33]], atol=1e-5)


def test_identity_extrinsics_leave_points_alone():
    points = random_points((5,))
    np.testing.assert_array_equal(camera.world_to_camera(points, np.eye(4)), points)
    np.testing.assert_array_equal(camera.camera_to_world(points, np.eye(4)), points)


def test_optical_centre_is_the_camera_frame_origin():
    extrinsics = random_extrinsics(1)[0]
    centre = -extrinsics[:3, :3].T @ extrinsics[:3, 3]
    np.testing.assert_allclose(
        camera.world_to_camera(centre[None], extrinsics), [[0, 0, 0]], atol=2e-3)
    np.testing.assert_allclose(
        camera.camera_to_world([[0.0, 0, 0]], extrinsics), [centre], atol=2e-3)


@pytest.mark.parametrize('in_graph', [False, True])
def test_camera_to_world_inverts_world_to_camera(in_graph):
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    points, extrinsics = random_points((3, 7)), random_extrinsics(3)
    extrinsics[2, :3, :3] *= np.float32([[1.002], [1.001], [1.0]])  # a slightly odd calibration
    in_camera = call(camera.world_to_camera, points, extrinsics)
    expected = np.einsum('bij,bkj->bki', extrinsics[:, :3, :3], points)
    np.testing.assert_allclose(in_camera, expected + extrinsics[:, None, :3, 3], atol=0.01)
    np.testing.assert_allclose(
        call(camera.camera_to_world, in_camera, extrinsics), points, atol=0.01)


def test_wrong_shapes_are_refused():
    points = tf.zeros([5, 3])
    with pytest.raises(ValueError, match=r'`points` must have a shape that ends in \(any, 3\)'):
        camera.project(tf.zeros([5, 2]), INTRINSICS)
    with pytest.raises(ValueError, match=r'`intrinsics` must .* Received: shape=\(4, 4\)'):
        camera.project(points, tf.eye(4))
    with pytest.raises(ValueError, match='`points_px` must'):
        camera.normalize(points, INTRINSICS)
    with pytest.raises(ValueError, match=r'`depth` must have a shape that ends in \(5\)'):
        camera.back_project(tf.zeros([5, 2]), tf.zeros([4]))
    with pytest.raises(ValueError, match=r'`extrinsics` must .* \(4, 4\)'):
        camera.world_to_camera(points, tf.eye(3))
    with pytest.raises(ValueError, match=r'`extrinsics` must .* \(4, 4\)'):
        camera.camera_to_world(points, tf.eye(3))


@pytest.mark.parametrize('fov_degrees', [0, 180, -5.0, float('nan')])
def test_impossible_field_of_view_is_refused(fov_degrees):
    with pytest.raises(ValueError, match='`fov_degrees` must be above 0 and below 180. Received'):
        camera.intrinsics_from_fov(fov_degrees, (480, 640))


@pytest.mark.parametrize('image_shape', [(0, 640), (None, 640), tf.TensorShape([480, None])])
def test_impossible_image_shape_is_refused(image_shape):
    with pytest.raises(ValueError, match='`image_shape` must start with positive'):
        camera.intrinsics_from_fov(55, image_shape)


def test_an_image_ends_half_a_pixel_beyond_its_last_pixel():
    points = np.array([[-0.4, 0], [-0.6, 0], [63.4, 31.4], [63.6, 0], [0, 31.6], [np.nan, 0]])
    for inside in (
            camera.is_within_image(points, [64, 32]),
            helpers.run_in_graph(lambda p: camera.is_within_image(p, [64, 32]), points)):
        np.testing.assert_array_equal(inside, [True, False, True, False, False, False])
    np.testing.assert_array_equal(
        camera.is_within_image(points, 64), [True, False, True, False, True, False])
