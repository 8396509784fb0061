import cv2
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import distortion
from tests import helpers

LENSES = {
    'mild': [-0.2, 0.1, 0.001, -0.002, 0.02],
    'two': [0.1, -0.05],
    'all': [-0.2, 0.1, 0.001, -0.002, 0.02, 0.05, 0.02, 0.01, 0.001, 0.002, -0.001, 0.003],
    'depth_camera': [0.5, -2.6, 5e-4, -2e-4, 1.5, 0.38, -2.4, 1.4]}
FOLDING = np.float32([-0.5, 0, 0, 0, 0])
SINGULAR = np.float32([0, 0, 0, 0, 0, -1.0, 0, 0])  # denominator zero at radius 1


def points_within(radius, n_points=60, seed=0):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n_points)
    distance = radius * np.sqrt(rng.uniform(0, 1, n_points))
    return np.stack(
        [distance * np.cos(angle), distance * np.sin(angle)], axis=-1).astype(np.float32)


def distort_by_opencv(points, coeffs):
    rays = np.concatenate([points, np.ones_like(points[:, :1])], axis=-1).astype(np.float64)
    padded = np.zeros(12)
    padded[:len(coeffs)] = coeffs
    return cv2.projectPoints(rays, np.zeros(3), np.zeros(3), np.eye(3), padded)[0][:, 0]


@pytest.mark.parametrize('name', LENSES)
def test_distortion_agrees_with_opencv(name):
    points = points_within(0.8)
    np.testing.assert_allclose(
        distortion.distort_points(points, LENSES[name]), distort_by_opencv(points, LENSES[name]),
        atol=1e-6)


def test_distortion_by_hand():
    # r^2 = 0.25: radial 1 + 0.1 * 0.25 = 1.025, tangential x: 0.02 * (r^2 + 2 * 0.09).
    np.testing.assert_allclose(
        distortion.distort_points([[0.3, 0.4]], [0.1, 0, 0, 0.02]),
        [[0.3 * 1.025 + 0.02 * 0.43, 0.4 * 1.025 + 0.04 * 0.12]], atol=1e-6)


@pytest.mark.parametrize('name', LENSES)
def test_many_iterations_invert_distortion(name):
    points = points_within(0.6)
    distorted = distortion.distort_points(points, LENSES[name])
    np.testing.assert_allclose(
        distortion.undistort_points(distorted, LENSES[name], n_iterations=60), points, atol=5e-6)


def test_five_iterations_by_default():
    points, coeffs = points_within(0.8), np.float32(LENSES['mild'])
    expected = points.astype(np.float64)
    for _ in range(5):
        x, y = expected.T
        r2 = x ** 2 + y ** 2
        radial = 1 + coeffs[0] * r2 + coeffs[1] * r2 ** 2 + coeffs[4] * r2 ** 3
        tangential = 2 * (x * coeffs[3] + y * coeffs[2])
        offset = r2[:, None] * coeffs[[3, 2]]
        expected = (points - offset - expected * tangential[:, None]) / radial[:, None]
    np.testing.assert_allclose(
        distortion.undistort_points(points, coeffs), expected, atol=1e-6)
    by_default, *explicit = [
        distortion.undistort_points([[0.5, 0.0]], [-0.4], **kwargs).numpy()
        for kwargs in ({}, {'n_iterations': 5}, {'n_iterations': 6})]
    np.testing.assert_array_equal(by_default, explicit[0])
    assert np.max(np.abs(by_default - explicit[1])) > 1e-4


def test_five_iterations_are_accurate_to_the_documented_error():
    points = points_within(0.8)
    distorted = distortion.distort_points(points, LENSES['mild'])
    undistorted = distortion.undistort_points(distorted, LENSES['mild'])
    assert np.max(np.abs(undistorted - points)) < 3e-4


@pytest.mark.parametrize('function', [distortion.distort_points, distortion.undistort_points])
def test_zero_coefficients_return_the_points_exactly(function):
    points = points_within(20.0)
    np.testing.assert_array_equal(function(points, np.zeros(5, np.float32)), points)
    np.testing.assert_array_equal(function(points, np.zeros(0, np.float32)), points)
    mixed = function(points, np.float32([LENSES['mild'], np.zeros(5)]))
    np.testing.assert_array_equal(mixed[1], points)
    assert np.max(np.abs(mixed[0] - points)) > 1e-3


@pytest.mark.parametrize('function', [distortion.distort_points, distortion.undistort_points])
def test_missing_coefficients_are_zero(function):
    points = points_within(0.7)
    padded = np.float32(LENSES['two'] + [0] * 10)
    np.testing.assert_allclose(function(points, LENSES['two']), function(points, padded), atol=1e-7)


@pytest.mark.parametrize('function', [distortion.distort_points, distortion.undistort_points])
def test_cameras_broadcast_and_work_in_graph(function):
    points = np.stack([points_within(0.7, seed=seed) for seed in range(2)])
    coeffs = np.float32([LENSES['mild'], LENSES['two'] + [0] * 3])
    expected = np.stack([function(points[i], coeffs[i]) for i in range(2)])
    np.testing.assert_allclose(function(points, coeffs), expected, atol=1e-6)
    np.testing.assert_allclose(helpers.run_in_graph(function, points, coeffs), expected, atol=1e-6)
    np.testing.assert_allclose(
        helpers.run_in_graph(function, points, 0 * coeffs), points, atol=1e-6)
    shared_points = function(points[0], coeffs[:, None])
    assert shared_points.shape == (2, 1, 60, 2)
    zero_lens = function(points[0], 0 * coeffs)
    assert zero_lens.shape == (2, 60, 2)


def test_static_shape_survives():
    spec = [tf.TensorSpec([None, 7, 2]), tf.TensorSpec([None, 5])]
    concrete = tf.function(distortion.undistort_points).get_concrete_function(*spec)
    assert concrete.output_shapes.as_list() == [None, 7, 2]


def test_valid_radius():
    # The radial map r (1 - r^2 / 2) rises up to r = sqrt(2 / 3).
    np.testing.assert_allclose(
        distortion.valid_radius([FOLDING, 0 * FOLDING]), [np.sqrt(2 / 3), 11.4300], atol=1e-3)
    np.testing.assert_allclose(distortion.valid_radius(SINGULAR), np.sqrt(0.99), atol=1e-3)


@pytest.mark.parametrize('coeffs', [FOLDING, SINGULAR])
def test_beyond_the_fold_the_map_goes_on_linearly_along_the_ray(coeffs):
    limit = distortion.valid_radius(coeffs).numpy()
    radii = np.concatenate([np.linspace(0, 3, 300), [10, 1e3, 1e6]]).astype(np.float32)
    direction = np.float32([0.6, 0.8])
    distorted = distortion.distort_points(radii[:, None] * direction, coeffs).numpy() @ direction
    assert np.all(np.diff(distorted) > 0)
    beyond = radii > limit
    slopes = distorted[beyond] / radii[beyond]
    np.testing.assert_allclose(slopes, np.full(len(slopes), slopes[0]), rtol=1e-5)
    inside = radii < limit - 0.01
    np.testing.assert_allclose(
        distorted[inside],
        distort_by_opencv(radii[inside, None] * direction, coeffs) @ direction, rtol=1e-4)


def test_the_linear_continuation_includes_all_terms():
    coeffs = FOLDING + np.float32([0, 0, 0.02, -0.03, 0])
    limit = distortion.valid_radius(coeffs).numpy()
    direction = np.float32([0.6, -0.8])
    at_limit, *beyond = distortion.distort_points(
        limit * np.float32([[1], [2], [3], [10]]) * direction, coeffs).numpy()
    np.testing.assert_allclose(
        at_limit, distort_by_opencv(limit * direction[None], coeffs)[0], atol=1e-5)
    steps = np.diff([at_limit, *beyond], axis=0) / [[1], [1], [7]]
    np.testing.assert_allclose(steps, np.tile(steps[:1], (3, 1)), atol=1e-5)


@pytest.mark.parametrize('coeffs', [FOLDING, SINGULAR, np.float32([1, 1, 0.1, 0.1, 1])])
def test_far_points_stay_finite_both_ways(coeffs):
    points = tf.constant(np.float32([[0, 0], [1, 0], [-3, 2], [1e3, -1e3], [1e6, 1e6]]))
    for function in (distortion.distort_points, distortion.undistort_points):
        with tf.GradientTape() as tape:
            tape.watch(points)
            moved = function(points, coeffs)
        assert np.all(np.isfinite(moved))
        assert np.all(np.isfinite(tape.gradient(moved, points)))


def test_undistortion_inverts_the_linear_continuation():
    points = np.float32([[2, 0], [-1.5, 3]])
    distorted = distortion.distort_points(points, FOLDING)
    np.testing.assert_allclose(
        distortion.undistort_points(distorted, FOLDING), points, rtol=1e-5)


def test_gradient_agrees_with_finite_differences():
    points, step = points_within(0.7, n_points=8), 1e-3
    coeffs = np.float64(LENSES['all'])
    points = tf.constant(points, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(points)
        total = tf.reduce_sum(distortion.distort_points(points, coeffs)[:, 0])
    shift = np.array([step, 0])
    numeric = (distortion.distort_points(points + shift, coeffs)
               - distortion.distort_points(points - shift, coeffs))[:, 0] / (2 * step)
    np.testing.assert_allclose(tape.gradient(total, points)[:, 0], numeric, atol=1e-5)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r'at most 12 .*Received: shape=\(14,\)'):
        distortion.distort_points([[0.0, 0.0]], np.zeros(14, np.float32))
    with pytest.raises(ValueError, match='at most 12'):
        distortion.undistort_points([[0.0, 0.0]], np.zeros((2, 13), np.float32))
    with pytest.raises(ValueError, match=r'`points` must have a shape that ends in \(any, 2\)'):
        distortion.distort_points(tf.zeros([5, 3]), FOLDING)
    with pytest.raises(ValueError, match='`n_iterations` must be a positive'):
        distortion.undistort_points([[0.0, 0.0]], FOLDING, n_iterations=0)
