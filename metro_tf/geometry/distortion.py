"""OpenCV's rational lens model with tangential and thin prism terms, and its inverse.

For an undistorted normalised point p = (x, y) with r^2 = x^2 + y^2:

    a = (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6)
    b = 2 (x p2 + y p1)
    c = ((p2, p1) + (s1, s3) + (s2, s4) r^2) r^2
    distorted = p (a + b) + c

Coefficients come in OpenCV's order k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4; missing ones are zero.

A fitted polynomial means nothing far outside the image it was fitted on: there the radial map
may fold back (drawing ghosts of the scene) or its denominator may vanish. Within `valid_radius`
the functions are OpenCV's. Beyond it a, b and c keep the value that they have on the circle of
that radius in the point's direction, so the map goes on linearly along each ray: finite,
continuous, and outside stays outside.
"""

import math

import tensorflow as tf

from metro_tf import checks

MAX_COEFFS = 12
_MAX_RADIUS = math.tan(math.radians(85.0))
_N_RADII = 256
_MIN_DENOMINATOR = 0.01


def distort_points(points, distortion_coeffs):
    """Moves ideal pinhole points to where the lens puts them.

    Agrees with OpenCV inside `valid_radius` and continues linearly outside. If all coefficients
    of the call are zero, the points are returned as they are, at no cost.

    Args:
        points: Float tensor `[..., points, 2]`, undistorted normalised image coordinates.
        distortion_coeffs: Float tensor `[..., n]`, n at most 12. Leading axes broadcast.

    Returns:
        Float tensor `[..., points, 2]`, distorted normalised image coordinates.

    Raises:
        ValueError: If a static shape does not fit or there are more than 12 coefficients.
    """
    def distort(points, lens):
        """Distorts points by a lens: coefficients and valid radius."""
        radial, tangential, offset = _lens_terms(points, lens)
        return points * (radial + tangential) + offset

    return _unless_all_zero(distort, points, distortion_coeffs)


def undistort_points(points, distortion_coeffs, n_iterations=5):
    """Inverse of `distort_points` by fixed-point iteration (as in OpenCV and MeTRAbs).

    `p <- (p_distorted - c(p) - p b(p)) / a(p)`, starting at the distorted point. Five iterations
    are the published number; they leave about 2e-4 at radius 0.8 for moderate coefficients. The
    iteration converges where distortion changes slowly; for strong pincushion distortion it may
    swing between two values, which stay finite.

    Args:
        points: Float tensor `[..., points, 2]`, distorted normalised image coordinates.
        distortion_coeffs: Float tensor `[..., n]`, n at most 12. Leading axes broadcast.
        n_iterations: Positive int, number of fixed-point steps.

    Returns:
        Float tensor `[..., points, 2]`, undistorted normalised image coordinates.

    Raises:
        ValueError: If a static shape does not fit, there are more than 12 coefficients, or
            `n_iterations` is not positive.
    """
    checks.positive(n_iterations, 'n_iterations')

    def undistort(points, lens):
        """Solves for the undistorted points."""
        undistorted = points
        for _ in range(n_iterations):
            radial, tangential, offset = _lens_terms(undistorted, lens)
            undistorted = (points - offset - undistorted * tangential) / radial
        return undistorted

    return _unless_all_zero(undistort, points, distortion_coeffs)


def valid_radius(distortion_coeffs):
    """Radius up to which the radial part of the lens model is increasing and finite.

    It is the first zero of d/dr (r a(r)), or where the denominator of a falls below 0.01, found
    on 256 viewing angles and refined linearly; at most tan(85 degrees) = 11.43.

    Args:
        distortion_coeffs: Float tensor `[..., n]`, n at most 12.

    Returns:
        Float tensor `[...]`, undistorted normalised units, without gradient.

    Raises:
        ValueError: If there are more than 12 coefficients.
    """
    k1, k2, _, _, k3, k4, k5, k6 = tf.unstack(
        _padded_coeffs(distortion_coeffs)[..., :8, tf.newaxis], num=8, axis=-2)
    # A constant table, hence Python numbers: uniform in angle, from the axis outwards.
    step = math.atan(_MAX_RADIUS) / (_N_RADII - 1)
    radii = tf.constant([math.tan(i * step) for i in range(_N_RADII)], k1.dtype)
    r2 = tf.square(radii)
    numerator = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    denominator = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    numerator_slope = r2 * (2 * k1 + r2 * (4 * k2 + r2 * 6 * k3))
    denominator_slope = r2 * (2 * k4 + r2 * (4 * k5 + r2 * 6 * k6))
    growth = (numerator + numerator_slope) * denominator - numerator * denominator_slope
    margin = tf.minimum(growth, denominator - _MIN_DENOMINATOR)
    return tf.stop_gradient(_first_crossing(radii, margin))


def _first_crossing(positions, values):
    """Where `values` [..., n], positive at first, first reach zero; else the last position."""
    is_crossed = values[..., 1:] <= 0
    is_first = is_crossed & (tf.cumsum(tf.cast(is_crossed, tf.int32), axis=-1) == 1)
    before, after = values[..., :-1], values[..., 1:]
    fraction = before / tf.where(is_first, before - after, tf.ones_like(before))
    crossings = positions[:-1] + fraction * (positions[1:] - positions[:-1])
    crossing = tf.reduce_sum(tf.where(is_first, crossings, tf.zeros_like(crossings)), axis=-1)
    return tf.where(tf.reduce_any(is_crossed, axis=-1), crossing, positions[-1])


def _lens_terms(points, lens):
    """Returns a [..., points, 1], b [..., points, 1] and c [..., points, 2] of the model."""
    coeffs, max_radius = lens
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = tf.unstack(coeffs, num=MAX_COEFFS, axis=-1)
    r2 = tf.reduce_sum(tf.square(points), axis=-1, keepdims=True)
    max_r2 = tf.square(max_radius)
    shrink = tf.where(
        r2 > max_r2, max_radius * tf.math.rsqrt(tf.maximum(r2, max_r2)), tf.ones_like(r2))
    r2 = tf.minimum(r2, max_r2)
    x, y = points[..., :1] * shrink, points[..., 1:] * shrink
    radial = (
        (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6))))
    tangential = 2 * (x * p2 + y * p1)
    offset = tf.concat([r2 * (p2 + s1 + r2 * s2), r2 * (p1 + s3 + r2 * s4)], axis=-1)
    return radial, tangential, offset


def _unless_all_zero(function, points, distortion_coeffs):
    points = checks.last_axes(points, (None, 2), name='points')
    coeffs = _padded_coeffs(distortion_coeffs, points.dtype)[..., tf.newaxis, tf.newaxis, :]
    shape = tf.broadcast_dynamic_shape(tf.shape(points), tf.shape(coeffs[..., 0]))

    def compute():
        """The result where there is a lens."""
        lens = (coeffs, valid_radius(coeffs))
        return tf.broadcast_to(function(points, lens), shape)

    result = tf.cond(
        tf.reduce_any(tf.not_equal(coeffs, 0)), compute, lambda: tf.broadcast_to(points, shape))
    if points.shape.rank is not None and coeffs.shape.rank is not None:
        result.set_shape(tf.broadcast_static_shape(points.shape, coeffs.shape[:-1]))
    return result


def _padded_coeffs(coeffs, dtype=None):
    coeffs = checks.last_axes(coeffs, (None,), name='distortion_coeffs', dtype=dtype)
    n_coeffs = coeffs.shape[-1] if coeffs.shape.rank is not None else None
    if n_coeffs is not None and n_coeffs > MAX_COEFFS:
        raise ValueError(
            f'`distortion_coeffs` must have at most {MAX_COEFFS} coefficients (k1 k2 p1 p2 k3 k4 '
            f'k5 k6 s1 s2 s3 s4). Received: shape={coeffs.shape}')
    shape = tf.shape(coeffs)
    padding = tf.zeros(tf.concat([shape[:-1], [MAX_COEFFS - shape[-1]]], axis=0), coeffs.dtype)
    padded = tf.concat([coeffs, padding], axis=-1)
    if coeffs.shape.rank is not None:
        padded.set_shape(coeffs.shape[:-1].concatenate(MAX_COEFFS))
    return padded
