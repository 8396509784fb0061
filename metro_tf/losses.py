"""Loss terms of metric-scale pose estimation, as functions of tensors.

Joint arrays are `[batch, joints, coords]`, masks `[batch, joints]`. A mean runs over all selected
elements of the whole batch, as in MeTRAbs (R23), and is 0 with zero gradient where none is
selected. Losses on 3D coordinates take mm and return metres.
"""

import tensorflow as tf

from metro_tf.geometry import masked

MM_PER_M = 1000.0


def centered(coords, mask):
    """Subtracts the mean of the valid joints.

    Args:
        coords: Float tensor `[batch, joints, coords]`.
        mask: Boolean tensor `[batch, joints]`.
    """
    return coords - masked.mean(coords, mask[..., tf.newaxis], axis=1, keepdims=True)


def root_relative_loss(coords3d_true, coords3d_pred, mask):
    """L1 of coordinates relative to the mean of the valid joints (MeTRAbs, relative loss).

    Args:
        coords3d_true, coords3d_pred: Float tensors `[batch, joints, 3]`, mm, any frame.
        mask: Boolean tensor `[batch, joints]`.

    Returns:
        Scalar, metres.
    """
    difference = centered(coords3d_true, mask) - centered(coords3d_pred, mask)
    return _joint_mean(tf.abs(difference), mask) / MM_PER_M


def absolute_loss(coords3d_true, coords3d_pred, mask, near_limit_mm=300.0, far_limit_mm=10000.0):
    """L1 of camera-frame coordinates; depth errors of far people count less (MeTRAbs).

    Args:
        coords3d_true, coords3d_pred: Float tensors `[batch, joints, 3]`, camera frame, mm.
        mask: Boolean tensor `[batch, joints]`.
        near_limit_mm: Joints nearer than this to the image plane are left out.
        far_limit_mm: Beyond it the depth error is scaled by this over the true depth.

    Returns:
        Scalar, metres.
    """
    depth = coords3d_true[..., 2:]
    mask = mask & (depth[..., 0] > near_limit_mm)
    weight = tf.minimum(1.0, far_limit_mm / tf.maximum(tf.abs(depth), 1.0))
    error = tf.abs(coords3d_true - coords3d_pred)
    error = tf.concat([error[..., :2], weight * error[..., 2:]], axis=-1)
    return _joint_mean(error, mask) / MM_PER_M


def image_loss(coords2d_true, coords2d_pred, mask, meters_per_px):
    """L1 of image coordinates.

    Args:
        coords2d_true, coords2d_pred: Float tensors `[batch, joints, 2]`, px.
        mask: Boolean tensor `[batch, joints]`.
        meters_per_px: Metric side of the volume over the side of the crop, which makes the
            loss comparable to metric ones.

    Returns:
        Scalar, metres.
    """
    return meters_per_px * _joint_mean(tf.abs(coords2d_true - coords2d_pred), mask)


def aligned_image_loss(coords2d_true, coords_pred, mask, meters_per_px):
    """L1 after moving and scaling the prediction onto the labels (MeTRo, weak supervision).

    Args:
        coords2d_true: Float tensor `[batch, joints, 2]`, px.
        coords_pred: Float tensor `[batch, joints, 2]`, any unit: x and y of metric predictions.
        mask: Boolean tensor `[batch, joints]`.
        meters_per_px: See `image_loss`.

    Returns:
        Scalar, metres.
    """
    mean_true, spread_true = masked.mean_and_spread(coords2d_true, mask)
    mean_pred, spread_pred = masked.mean_and_spread(coords_pred, mask)
    scale = tf.math.divide_no_nan(spread_true, spread_pred)
    aligned = (coords_pred - mean_pred) * scale + mean_true
    return image_loss(coords2d_true, aligned, mask, meters_per_px)


def heatmap_cross_entropy(logits, cells, mask, sigma_cells):
    """Cross-entropy of a 2D heatmap against a Gaussian around the true position.

    Args:
        logits: Float tensor `[batch, y, x, joints]`.
        cells: Float tensor `[batch, joints, 2]`, true (x, y) in cells.
        mask: Boolean tensor `[batch, joints]`.
        sigma_cells: Standard deviation of the target.

    Returns:
        Scalar, nats. Its least value is the entropy of the target.
    """
    target_y = _gaussian(cells[..., 1], tf.shape(logits)[1], sigma_cells)
    target_x = _gaussian(cells[..., 0], tf.shape(logits)[2], sigma_cells)
    log_normaliser = tf.reduce_logsumexp(logits, axis=[1, 2])
    over_rows = tf.reduce_sum(logits * target_y[:, :, tf.newaxis], axis=1)
    expected_logit = tf.reduce_sum(over_rows * target_x, axis=1)
    return masked.mean(log_normaliser - expected_logit, mask)


def volume_cross_entropy(logits, cells, mask, sigma_cells, sigma_depth_cells=0.7):
    """Cross-entropy of the image-plane marginal and of the depth marginal of a volume.

    Args:
        logits: Float tensor `[batch, y, x, depth, joints]`.
        cells: Float tensor `[batch, joints, 3]`, true (x, y, z) in cells.
        mask: Boolean tensor `[batch, joints]`.
        sigma_cells: Standard deviation of the target in the image plane.
        sigma_depth_cells: Standard deviation of the target along depth.

    Returns:
        Scalar, nats: the sum of both terms.
    """
    peak = tf.stop_gradient(tf.reduce_max(logits, axis=[1, 2, 3], keepdims=True))
    masses = tf.exp(logits - peak)
    plane = tf.math.log(tf.maximum(tf.reduce_sum(masses, axis=3), 1e-30))
    depth = tf.math.log(tf.maximum(tf.reduce_sum(masses, axis=[1, 2]), 1e-30))
    plane_term = heatmap_cross_entropy(plane, cells[..., :2], mask, sigma_cells)
    target = _gaussian(cells[..., 2], tf.shape(depth)[1], sigma_depth_cells)
    entropy = tf.reduce_logsumexp(depth, axis=1) - tf.reduce_sum(depth * target, axis=1)
    return plane_term + masked.mean(entropy, mask)


def _gaussian(centers, n_cells, sigma_cells):
    """Normalised Gaussians `[batch, cells, joints]` around centers `[batch, joints]`."""
    grid = tf.range(n_cells)[tf.newaxis, :, tf.newaxis]
    distance = tf.cast(grid, centers.dtype) - centers[:, tf.newaxis]
    return tf.nn.softmax(-0.5 * (distance / sigma_cells) ** 2, axis=1)


def _joint_mean(values, mask):
    """Mean of `[batch, joints, coords]` over the joints selected by `[batch, joints]`."""
    return masked.mean(tf.reduce_mean(values, axis=-1), mask)
