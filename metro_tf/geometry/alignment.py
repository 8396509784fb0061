"""Rigid and similarity alignment of point sets."""

import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import masked


def procrustes(points, reference, validity_mask=None, allow_scaling=True, allow_reflection=False):
    """Moves points onto a reference by the best similarity (Umeyama 1991, equations 40 to 43).

    Minimises `sum_j |s R p_j + t - q_j|^2` over the valid joints. The result covers all joints:
    invalid ones are moved along, provided that they are finite.

    Degenerate input: without a valid joint the points come back unchanged; with one (or with
    coinciding points) they are translated only, the scale being 1. Where the best rotation is
    not unique, e.g. on a line, one of the best is taken.

    Args:
        points: Float tensor `[..., joints, 3]`, any unit (2 coordinates work as well).
        reference: Float tensor of the same shape and frame conventions.
        validity_mask: Boolean tensor `[..., joints]`. None means that all are valid.
        allow_scaling: Whether s is free; otherwise it is 1.
        allow_reflection: Whether R may be improper (mirroring).

    Returns:
        Float tensor of the shape of `points`, in the unit and frame of `reference`.

    Raises:
        ValueError: If a static shape does not fit.
    """
    points = checks.last_axes(points, (None, None), name='points')
    reference = checks.last_axes(
        reference, points.shape[-2:] if points.shape.rank else (None, None),
        name='reference', dtype=points.dtype)
    if validity_mask is None:
        validity_mask = tf.ones_like(points[..., 0], dtype=tf.bool)
    mask = tf.cast(validity_mask, tf.bool)
    points_mean, points_spread = masked.mean_and_spread(points, mask)
    reference_mean, reference_spread = masked.mean_and_spread(reference, mask)
    points_centered = points - points_mean
    # Unit spread keeps the decomposition and its gradient well scaled in any unit.
    covariance = _mean_outer_product(
        points_centered / points_spread, (reference - reference_mean) / reference_spread, mask)
    rotation, agreement = _best_rotation(covariance, allow_reflection)
    rotated = tf.einsum('...jc,...pc->...jp', points_centered, rotation)
    if allow_scaling:
        scale = agreement[..., tf.newaxis, tf.newaxis] * reference_spread / points_spread
        is_extended = points_spread > 2 * masked.MIN_SPREAD
        rotated *= tf.where(is_extended, scale, tf.ones_like(scale))
    return rotated + reference_mean


def _mean_outer_product(points, reference, mask):
    """Mean over the valid joints of `q p^T`, `[..., coords of reference, coords of points]`."""
    products = reference[..., :, tf.newaxis] * points[..., tf.newaxis, :]
    return masked.mean(products, mask[..., tf.newaxis, tf.newaxis], axis=-3)


def _best_rotation(covariance, allow_reflection):
    """Rotation `[..., c, c]` that maximises trace(R^T covariance), and that maximum `[...]`."""
    singular_values, u, v = tf.linalg.svd(covariance)
    if allow_reflection:
        signs = tf.ones_like(singular_values)
    else:
        determinant = tf.stop_gradient(tf.linalg.det(u) * tf.linalg.det(v))
        last = tf.where(determinant < 0, -tf.ones_like(determinant), tf.ones_like(determinant))
        signs = tf.concat(
            [tf.ones_like(singular_values[..., 1:]), last[..., tf.newaxis]], axis=-1)
    rotation = tf.einsum('...ik,...jk->...ij', u * signs[..., tf.newaxis, :], v)
    return rotation, tf.reduce_sum(singular_values * signs, axis=-1)
