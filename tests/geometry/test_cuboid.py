import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import camera, cuboid
from tests import helpers

SIDE = 72
# k = 72 / 96 = 0.75, so A = (1 + 1.25) / 0.75 = 3.
INTRINSICS = np.float32([[96, 0, 36], [0, 96, 32], [0, 0, 1]])


def random_poses(n_examples=3, n_joints=5, seed=0):
    rng = np.random.default_rng(seed)
    poses = rng.normal(0, 300, (n_examples, n_joints, 3)).astype(np.float32)
    return poses + np.float32([0, 0, 3000])


def random_intrinsics(n_examples=3, seed=1):
    rng = np.random.default_rng(seed)
    intrinsics = np.zeros([n_examples, 3, 3], np.float32)
    intrinsics[:, [0, 1], [0, 1]] = rng.uniform(80, 300, (n_examples, 2))
    intrinsics[:, :2, 2] = rng.uniform(30, 42, (n_examples, 2))
    intrinsics[:, 2, 2] = 1
    return intrinsics


def test_normalises_by_hand():
    coords = cuboid.from_camera_frame(
        np.float32([[300, -200, 1500], [0, 0, 1000], [0, 0, 750]]), INTRINSICS, 1000.0, SIDE)
    # 96 * 300 / (36 * 1500) = 8 / 15; 3 * (1 - 1000 / 750) = -1.
    np.testing.assert_allclose(
        coords, [[8 / 15, -0.4, 1], [0, 0, 0], [0, 0, -1]], atol=1e-6)


def test_places_by_hand():
    coords3d = cuboid.to_camera_frame(
        np.float32([[8 / 15, -0.4, 1], [0, 0, 0], [1, 1, -1]]), INTRINSICS, 1000.0, SIDE)
    np.testing.assert_allclose(
        coords3d, [[300, -200, 1500], [0, 0, 1000], [281.25, 250, 750]], atol=1e-3)


def test_the_smaller_focal_length_decides():
    intrinsics = INTRINSICS * np.float32([[1, 1, 1], [1, 5, 1], [1, 1, 1]])
    coords = cuboid.from_camera_frame(np.float32([[0, 0, 1500]]), intrinsics, 1000.0, SIDE)
    np.testing.assert_allclose(coords, [[0, 0, 1]], atol=1e-6)


def test_the_ends_are_the_width_of_the_view_apart():
    """With k = 0.38, A = 5.4468, so the ends are 1 / (1 + 1 / A) and 1 / (1 - 1 / A)."""
    intrinsics = np.float32([[SIDE / 0.38, 0, 36], [0, SIDE / 0.38, 36], [0, 0, 1]])
    ends = cuboid.to_camera_frame(
        np.float32([[0, 0, -1], [0, 0, 1]]), intrinsics, 1.0, SIDE)[:, 2].numpy()
    np.testing.assert_allclose(ends, [0.84489, 1.22489], atol=1e-4)
    np.testing.assert_allclose(ends[1] - ends[0], 0.38, atol=1e-5)


@pytest.mark.parametrize('in_graph', [False, True])
def test_round_trip(in_graph):
    def there_and_back(poses, intrinsics, depths):
        coords = cuboid.from_camera_frame(poses, intrinsics, depths, SIDE)
        return cuboid.to_camera_frame(coords, intrinsics, depths, SIDE)

    arrays = random_poses(), random_intrinsics(), np.float32([2800, 3000, 3500])
    result = helpers.run_in_graph(there_and_back, *arrays) if in_graph else there_and_back(*arrays)
    np.testing.assert_allclose(result, arrays[0], atol=0.01)


def test_image_coordinates_are_those_of_the_projection():
    poses, intrinsics = random_poses(), random_intrinsics()
    coords = cuboid.from_camera_frame(poses, intrinsics, np.float32([3000] * 3), SIDE)
    pixels = camera.project(poses, intrinsics)
    np.testing.assert_allclose(cuboid.to_pixels(coords, intrinsics), pixels, atol=1e-3)
    from_pixels = cuboid.from_pixels(pixels, intrinsics).numpy()
    np.testing.assert_allclose(from_pixels[..., :2], coords[..., :2], atol=1e-5)
    np.testing.assert_array_equal(from_pixels[..., 2], 0)


def test_pixels_by_hand():
    """Pixel 0 is -1 and the principal point is 0, wherever the crop ends."""
    np.testing.assert_allclose(
        cuboid.from_pixels([[0.0, 0], [36, 32], [54, 64]], INTRINSICS),
        [[-1, -1, 0], [0, 0, 0], [0.5, 1, 0]], atol=1e-6)


def test_variances_by_hand():
    """A is 3. At (300, -200, 1500), z_n is 1, so a step dz_n is (150, -100, 750) mm."""
    coords, coords3d = np.float32([[8 / 15, -0.4, 1]]), np.float32([[300, -200, 1500]])

    def deviations(*cuboid_deviations):
        return np.sqrt(cuboid.variances_in_camera_frame(
            np.float32([cuboid_deviations]) ** 2, coords, coords3d, INTRINSICS, SIDE))[0]

    np.testing.assert_allclose(deviations(0, 0, 0.1), [15, 10, 75], rtol=1e-5)
    # 36 * 1500 / 96 and 32 * 1500 / 96 mm.
    np.testing.assert_allclose(deviations(0.1, 0, 0), [56.25, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(deviations(0, 0.1, 0), [0, 50, 0], rtol=1e-5)
    np.testing.assert_allclose(
        deviations(0.1, 0.1, 0.1), np.sqrt([56.25 ** 2 + 225, 2600, 5625]), rtol=1e-5)


@pytest.mark.parametrize('in_graph', [False, True])
def test_variances_are_those_of_the_jacobian(in_graph):
    poses, intrinsics, depths = random_poses(), random_intrinsics(), np.float32([2800, 3e3, 3500])
    coords = cuboid.from_camera_frame(poses, intrinsics, depths, SIDE)
    variances = np.random.default_rng(2).random((3, 5, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(coords)
        placed = cuboid.to_camera_frame(coords, intrinsics, depths, SIDE)
    jacobian = tape.batch_jacobian(placed, coords).numpy()  # [batch, joint, XYZ, joint, xyz]
    jacobian = np.einsum('bjpjc->bjpc', jacobian)
    expected = np.einsum('bjpc,bjc->bjp', jacobian ** 2, variances)

    def spread(variances, coords, poses, intrinsics):
        return cuboid.variances_in_camera_frame(variances, coords, poses, intrinsics, SIDE)

    arrays = variances, coords, poses, intrinsics
    result = helpers.run_in_graph(spread, *arrays) if in_graph else spread(*arrays)
    np.testing.assert_allclose(result, expected, rtol=1e-3)


def test_poses_are_proportional_to_the_root_depth():
    coords = np.random.default_rng(0).uniform(-1, 1, (3, 5, 3)).astype(np.float32)
    intrinsics = random_intrinsics()
    near, far = [
        cuboid.to_camera_frame(coords, intrinsics, np.float32([depth] * 3), SIDE)
        for depth in (1000, 2500)]
    np.testing.assert_allclose(far, 2.5 * near, rtol=1e-5)


def test_joints_behind_the_camera_stay_finite():
    coords = cuboid.from_camera_frame(np.float32([[10, 10, -500]]), INTRINSICS, 1000.0, SIDE)
    assert np.all(np.isfinite(coords))


@pytest.mark.parametrize('in_graph', [False, True])
def test_root_depth_recovers_the_height(in_graph):
    edges = ((0, 1), (2, 3), (3, 4))
    poses, intrinsics = random_poses(), random_intrinsics()
    lengths = [np.linalg.norm(poses[:, i] - poses[:, j], axis=-1) for i, j in edges]
    poses *= (920 / sum(lengths))[:, np.newaxis, np.newaxis]
    depths = poses[:, 0, 2]

    def root_depth(poses, intrinsics, depths):
        coords = cuboid.from_camera_frame(poses, intrinsics, depths, SIDE)
        return cuboid.root_depth_from_height(coords, intrinsics, SIDE, edges)

    arrays = poses, intrinsics, depths
    result = helpers.run_in_graph(root_depth, *arrays) if in_graph else root_depth(*arrays)
    np.testing.assert_allclose(result, depths, rtol=1e-5)


def test_height_scale_by_hand():
    coords3d = np.float32([[0, 0, 0], [3, 4, 0], [3, 4, 2]])
    assert cuboid.height_scale(coords3d, ((1, 0), (1, 2)), 70.0).numpy() == pytest.approx(10)


def test_no_height_gives_a_bounded_scale_and_gradients():
    coords = tf.zeros([1, 3, 3])
    with tf.GradientTape() as tape:
        tape.watch(coords)
        depth = cuboid.root_depth_from_height(coords, INTRINSICS[np.newaxis], SIDE, ((0, 1),))
    assert depth.numpy() == pytest.approx([1e6])
    assert np.all(np.isfinite(tape.gradient(depth, coords)))


def test_cells_by_hand():
    np.testing.assert_allclose(cuboid.cell_centers(4), [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(cuboid.to_cells([-1.0, -0.75, 0, 0.75], 4), [-0.5, 0, 1.5, 3])
    np.testing.assert_allclose(
        cuboid.to_cells(cuboid.cell_centers(32), 32), np.arange(32), atol=1e-5)


def test_refusals():
    pose = np.zeros([2, 3], np.float32)
    with pytest.raises(ValueError, match=r'`coords3d` must have a shape that ends in \(any, 3\)'):
        cuboid.from_camera_frame(pose[:, :2], INTRINSICS, 1.0, SIDE)
    with pytest.raises(ValueError, match='`coords` must have a shape that ends in'):
        cuboid.to_camera_frame(pose[:, :2], INTRINSICS, 1.0, SIDE)
    with pytest.raises(ValueError, match=r'`intrinsics` must have .* ends in \(3, 3\)'):
        cuboid.to_pixels(pose, INTRINSICS[:2])
    with pytest.raises(ValueError, match='`edges` must contain at least one bone'):
        cuboid.height_scale(pose, ())
    with pytest.raises(ValueError, match='`edges` must be an index into 2 joints'):
        cuboid.height_scale(pose, ((0, 2),))
    with pytest.raises(ValueError, match='`crop_side_px` must be a positive finite number'):
        cuboid.to_camera_frame(pose, INTRINSICS, 1.0, 0)
    with pytest.raises(ValueError, match=r'`variances` must have a shape that ends in \(any, 3\)'):
        cuboid.variances_in_camera_frame(
            np.zeros([2, 2]), np.zeros([2, 3]), np.ones([2, 3]), INTRINSICS, SIDE)


def test_plane_coords_are_columns_and_rows():
    coords = np.float32([[[1, 2, 3], [4, 5, 6]]])
    np.testing.assert_array_equal(
        cuboid.plane_coords(coords),
        [[[[1, 2], [4, 5]], [[3, 2], [6, 5]], [[1, 3], [4, 6]]]])
    with pytest.raises(ValueError, match='`coords` must have a shape that ends in'):
        cuboid.plane_coords(coords[..., :2])
