"""Rotation matrices. They act on column vectors from the left; point arrays hold rows."""

import tensorflow as tf

from metro_tf import checks

# Sine of the angle between two directions below which they count as parallel.
_MIN_SINE = 1e-4


def rotate(points, rotation):
    """Applies rotations (or any 3x3 matrices) to rows of points: `p -> R p`.

    Args:
        points: Float tensor `[..., joints, 3]`, any unit.
        rotation: Float tensor `[..., 3, 3]`. Leading axes broadcast.

    Returns:
        Float tensor `[..., joints, 3]` in the unit of the points.

    Raises:
        ValueError: If a static shape does not fit.
    """
    points = checks.last_axes(points, (None, 3), name='points')
    rotation = checks.last_axes(rotation, (3, 3), name='rotation', dtype=points.dtype)
    return tf.einsum('...jc,...pc->...jp', points, rotation)


def look_at(forward, up):
    """Rotation into a camera that looks along `forward` with its top towards `up` (MeTRAbs).

    Convention: the rows are the new camera's x (right), y (down) and z (forward) axes, so the
    matrix maps old coordinates to new ones: `z = forward / |forward|`, `x = z x up` normalised,
    `y = z x x`. Forward (0, 0, 1) with up (0, -1, 0) gives the identity.

    Where the ray is parallel to `up` (within 1e-4 rad), or `up` is zero, the x axis is the
    horizontal one across the ray, `(z_z, 0, -z_x)`; where the ray is parallel to the y axis as
    well, it is the old x axis. A zero `forward` counts as (0, 0, 1). The result is always a
    proper rotation and its gradient is finite.

    Args:
        forward: Float tensor `[..., 3]`, viewing direction of any length.
        up: Float tensor `[..., 3]` of any length, same frame. Leading axes broadcast.

    Returns:
        Float tensor `[..., 3, 3]`.

    Raises:
        ValueError: If a last axis is not 3.
    """
    forward = checks.last_axes(forward, (3,), name='forward')
    up = checks.last_axes(up, (3,), name='up', dtype=forward.dtype)
    shape = tf.broadcast_dynamic_shape(tf.shape(forward), tf.shape(up))
    z = _normalize(tf.broadcast_to(forward, shape), fallback=(0.0, 0.0, 1.0))
    up = _normalize(tf.broadcast_to(up, shape), fallback=(0.0, 0.0, 0.0))
    across_up = tf.linalg.cross(z, up)
    horizontal = tf.stack([z[..., 2], tf.zeros_like(z[..., 0]), -z[..., 0]], axis=-1)
    old_x = tf.constant([1.0, 0.0, 0.0], z.dtype)
    x = tf.where(_is_long(across_up), across_up, tf.where(
        _is_long(horizontal), horizontal, old_x))
    x = _normalize(x - tf.reduce_sum(x * z, axis=-1, keepdims=True) * z, (1.0, 0.0, 0.0))
    return tf.stack([x, tf.linalg.cross(z, x), z], axis=-2)


def around_z(angle):
    """Rotation of the image plane (MeTRAbs, augmentation matrix Q).

    Convention: `[[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]`. Used as world-to-camera rotation it
    turns the camera clockwise, so the picture content turns counter-clockwise on the screen (y
    points down). At 25 degrees the first row is (0.9063, 0.4226, 0).

    Args:
        angle: Float tensor `[...]`, radians.

    Returns:
        Float tensor `[..., 3, 3]`.
    """
    angle = checks.last_axes(angle, (), name='angle')
    cos, sin = tf.cos(angle), tf.sin(angle)
    zero, one = tf.zeros_like(angle), tf.ones_like(angle)
    return tf.stack([
        tf.stack([cos, sin, zero], axis=-1),
        tf.stack([-sin, cos, zero], axis=-1),
        tf.stack([zero, zero, one], axis=-1)], axis=-2)


def from_axis_angle(axis, angle):
    """Rotation by an angle about an axis, right-hand rule (Rodrigues' formula).

    `R = I + sin(angle) [a]_x + (1 - cos(angle)) [a]_x^2`. About z, +90 degrees takes (1, 0, 0)
    to (0, 1, 0); note that `around_z` turns the other way.

    Args:
        axis: Float tensor `[..., 3]` of any length. A zero axis gives the identity.
        angle: Float tensor `[...]`, radians. Leading axes broadcast.

    Returns:
        Float tensor `[..., 3, 3]`.

    Raises:
        ValueError: If the last axis of `axis` is not 3.
    """
    axis = checks.last_axes(axis, (3,), name='axis')
    angle = checks.last_axes(angle, (), name='angle', dtype=axis.dtype)
    x, y, z = tf.unstack(_normalize(axis, fallback=(0.0, 0.0, 0.0)), num=3, axis=-1)
    zero = tf.zeros_like(x)
    cross = tf.stack([
        tf.stack([zero, -z, y], axis=-1),
        tf.stack([z, zero, -x], axis=-1),
        tf.stack([-y, x, zero], axis=-1)], axis=-2)
    angle = angle[..., tf.newaxis, tf.newaxis]
    identity = tf.eye(3, dtype=axis.dtype)
    return identity + tf.sin(angle) * cross + (1 - tf.cos(angle)) * tf.matmul(cross, cross)


def _is_long(vectors):
    squared_length = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return squared_length > _MIN_SINE ** 2


def _normalize(vectors, fallback):
    """Unit vectors; `fallback` instead of (nearly) zero ones, whose gradient is zero."""
    squared_length = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    is_valid = squared_length > 1e-24
    safe_squared_length = tf.where(is_valid, squared_length, tf.ones_like(squared_length))
    return tf.where(
        is_valid, vectors * tf.math.rsqrt(safe_squared_length),
        tf.constant(fallback, vectors.dtype))
