"""Absolute position from 2D joints and relative 3D joints (MeTRAbs, Sárándi et al. 2021).

Given joints c_j in mm up to a translation and their image points, of normalised coordinates n_j,
the reference point r is sought such that c_j + r are camera coordinates that project to n_j.
"""

import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import camera, masked

# The published solve: row weights are mask + floor, the regulariser acts on scaled unknowns.
WEIGHT_FLOOR = 1e-4
REGULARIZER = 1e-2
# Added under square roots: far below any real spread, but gradients at zero stay finite.
_NORM_VARIANCE_FLOOR = 1e-12
_MM_VARIANCE_FLOOR = 1e-6


def reconstruct_absolute(
        coords2d, coords3d_rel, intrinsics, is_in_fov, mix_3d_inside_fov=None,
        weak_perspective=False, shared_scales=False):
    """Absolute camera coordinates from the 2D and the relative 3D output of a crop model.

    With r solved from the joints inside the field of view, a joint inside becomes
    `m (c + r) + (1 - m) (n, 1) (c_z + r_z)`, one outside `c + r`.

    Without any joint inside, the full-perspective r is nearly zero and the weak-perspective one
    is (0, 0, 1) mm: the result is finite, but it holds no absolute position.

    Args:
        coords2d: Float tensor `[batch, joints, 2]`, crop px, free of lens distortion.
        coords3d_rel: Float tensor `[batch, joints, 3]`, mm, axes of the crop camera, arbitrary
            common origin per example.
        intrinsics: Float tensor `[batch, 3, 3]` of the crop, px.
        is_in_fov: Boolean tensor `[batch, joints]`: whether the 2D point can be relied upon, see
            `camera.is_within_fov`.
        mix_3d_inside_fov: The share m of the 3D-based joint inside the field of view: a float in
            `[0, 1]` or a float tensor that broadcasts, e.g. `[batch, 1, 1]`. None means 0. The
            published inference uses 0.5.
        weak_perspective: Which reference point to use: a bool, or a scalar boolean tensor if
            that changes within a graph (early in training).
        shared_scales: Whether the full-perspective solve uses the published batch-wide scales,
            see `reference_point_full_perspective`.

    Returns:
        Float tensor `[batch, joints, 3]`, camera frame, mm.

    Raises:
        ValueError: If a static shape does not fit or a Python `mix_3d_inside_fov` is not within
            `[0, 1]`.
    """
    coords3d_rel = checks.last_axes(coords3d_rel, (None, 3), name='coords3d_rel')
    coords2d = checks.last_axes(coords2d, (_n_joints(coords3d_rel), 2), 'coords2d',
                                dtype=coords3d_rel.dtype)
    mask = _checked_mask(is_in_fov, coords3d_rel, 'is_in_fov')
    share_of_3d = _checked_mix(mix_3d_inside_fov, coords3d_rel.dtype)
    coords2d_norm = camera.normalize(coords2d, intrinsics)
    reference_point = _reference_point(
        coords2d_norm, coords3d_rel, mask, weak_perspective, shared_scales)
    from_3d = coords3d_rel + reference_point[..., tf.newaxis, :]
    from_2d = camera.back_project(coords2d_norm, from_3d[..., 2])
    inside = share_of_3d * from_3d + (1 - share_of_3d) * from_2d
    return tf.where(mask[..., tf.newaxis], inside, from_3d)


def reference_point_weak_perspective(coords2d_norm, coords3d_rel, validity_mask):
    """Reference point under a common depth for all joints (MeTRAbs).

    The spread of the 3D xy-coordinates over that of the image points is the depth Z of the mean:
    `r = Z (mean n, 1) - mean c`, over the valid joints.

    Args:
        coords2d_norm: Float tensor `[..., joints, 2]`, normalised image coordinates.
        coords3d_rel: Float tensor `[..., joints, 3]`, mm.
        validity_mask: Boolean tensor `[..., joints]`.

    Returns:
        Float tensor `[..., 3]`, mm; (0, 0, 1) without a valid joint. Coinciding image points
        give a very large depth, but a finite one with finite gradients.

    Raises:
        ValueError: If a static shape does not fit.
    """
    coords3d_rel = checks.last_axes(coords3d_rel, (None, 3), name='coords3d_rel')
    coords2d_norm = checks.last_axes(
        coords2d_norm, (_n_joints(coords3d_rel), 2), 'coords2d_norm', dtype=coords3d_rel.dtype)
    mask = _checked_mask(validity_mask, coords3d_rel, 'validity_mask')
    mean_2d, spread_2d = masked.mean_and_spread(coords2d_norm, mask)
    mean_3d = masked.mean(coords3d_rel, mask[..., tf.newaxis], axis=-2)
    _, spread_3d = masked.mean_and_spread(coords3d_rel[..., :2], mask)
    depth = (spread_3d / spread_2d)[..., 0]
    return tf.concat([mean_2d[..., 0, :] * depth, depth], axis=-1) - mean_3d


def reference_point_full_perspective(
        coords2d_norm, coords3d_rel, validity_mask, shared_scales=False):
    """Reference point by weighted, regularised least squares on the projection (MeTRAbs).

    From `n_j (c_jz + r_z) = c_jxy + r_xy` follow two linear equations per joint,
    `[I | -n_j] r = b_j` with `b_j = n_j c_jz - c_jxy`. With s2 and sb the root mean squares of
    all components of n and b (masked joints included) and the weights `w_j = mask_j + 1e-4`,

        sum_j w_j^2 |[I | -n_j / s2] x - b_j / sb|^2 + 0.01 |x|^2

    is minimised and `r = sb (x_1, x_2, x_3 / s2)`. The regulariser pulls the depth towards the
    camera: by about 0.02 % for a person of 24 valid joints in the middle of the crop, by more
    with fewer joints or off the principal point, to r = 0 with none.

    The published model takes s2 and sb over the whole batch, so that a person's depth depends,
    by millimetres, on who else is in the batch. The default takes them per example.

    Args:
        coords2d_norm: Float tensor `[..., joints, 2]`, normalised image coordinates.
        coords3d_rel: Float tensor `[..., joints, 3]`, mm.
        validity_mask: Boolean tensor `[..., joints]`.
        shared_scales: Whether s2 and sb are batch-wide as published.

    Returns:
        Float tensor `[..., 3]`, mm.

    Raises:
        ValueError: If a static shape does not fit.
    """
    coords3d_rel = checks.last_axes(coords3d_rel, (None, 3), name='coords3d_rel')
    coords2d_norm = checks.last_axes(
        coords2d_norm, (_n_joints(coords3d_rel), 2), 'coords2d_norm', dtype=coords3d_rel.dtype)
    mask = _checked_mask(validity_mask, coords3d_rel, 'validity_mask')
    right_side = coords2d_norm * coords3d_rel[..., 2:] - coords3d_rel[..., :2]
    axes = None if shared_scales else (-2, -1)
    scale_2d = _root_mean_square(coords2d_norm, axes, _NORM_VARIANCE_FLOOR)
    scale_b = _root_mean_square(right_side, axes, _MM_VARIANCE_FLOOR)
    weights = tf.square(tf.cast(mask, coords3d_rel.dtype) + WEIGHT_FLOOR)[..., tf.newaxis]
    xy, z = _solve(coords2d_norm / scale_2d, right_side / scale_b, weights)
    return tf.concat([xy * scale_b, z * scale_b / scale_2d], axis=-1)[..., 0, :]


def _solve(n, b, weights):
    """Minimises `sum_j w_j |x_xy - n_j x_z - b_j|^2 + 0.01 |x|^2` in closed form.

    Eliminating x_xy from the normal equations leaves one equation for x_z. Written with
    deviations from the weighted means, it has no cancelling terms, so float32 suffices even for
    a small person far from the principal point.

    Args: n, b `[..., joints, 2]` and weights `[..., joints, 1]`.
    Returns: x_xy `[..., 1, 2]` and x_z `[..., 1, 1]`.
    """
    total = tf.reduce_sum(weights, axis=-2, keepdims=True)
    mean_n = tf.reduce_sum(weights * n, axis=-2, keepdims=True) / total
    mean_b = tf.reduce_sum(weights * b, axis=-2, keepdims=True) / total
    deviation_n, deviation_b = n - mean_n, b - mean_b
    covariance = tf.reduce_sum(weights * deviation_n * deviation_b, (-2, -1), keepdims=True)
    variance = tf.reduce_sum(weights * tf.square(deviation_n), (-2, -1), keepdims=True)
    # The share of the means that the regulariser lets through.
    leak = REGULARIZER * total / (total + REGULARIZER)
    z = -(covariance + leak * tf.reduce_sum(mean_n * mean_b, -1, keepdims=True)) / (
        variance + leak * tf.reduce_sum(tf.square(mean_n), -1, keepdims=True) + REGULARIZER)
    xy = (mean_b + mean_n * z) * total / (total + REGULARIZER)
    return xy, z


def _root_mean_square(values, axes, floor):
    return tf.sqrt(tf.reduce_mean(tf.square(values), axes, keepdims=True) + floor)


def _reference_point(coords2d_norm, coords3d_rel, mask, weak_perspective, shared_scales):
    def weak():
        return reference_point_weak_perspective(coords2d_norm, coords3d_rel, mask)

    def full():
        return reference_point_full_perspective(
            coords2d_norm, coords3d_rel, mask, shared_scales=shared_scales)

    if tf.is_tensor(weak_perspective):
        return tf.where(weak_perspective, weak(), full())
    return weak() if weak_perspective else full()


def _n_joints(coords3d):
    return coords3d.shape[-2] if coords3d.shape.rank is not None else None


def _checked_mask(mask, coords3d, name):
    mask = tf.cast(mask, tf.bool)
    n_joints = _n_joints(coords3d)
    if mask.shape.rank is None or n_joints is None:
        return mask
    if mask.shape.rank == 0 or mask.shape[-1] not in (n_joints, None):
        raise ValueError(
            f'`{name}` must have a shape that ends in ({n_joints}), the number of joints. '
            f'Received: shape={mask.shape}')
    return mask


def _checked_mix(mix, dtype):
    if mix is None:
        return tf.zeros([], dtype)
    if isinstance(mix, (int, float)) and not 0 <= mix <= 1:
        raise ValueError(
            f'`mix_3d_inside_fov` must lie within [0, 1]. Received: mix_3d_inside_fov={mix}')
    return tf.cast(mix, dtype)
