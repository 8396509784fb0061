"""Losses on what the heads put out, without absolute reconstruction in between."""

import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import camera
from metro_tf.losses import image, pose, selection


def head_loss(coords3d_true, coords2d_pred, coords3d_rel_pred, intrinsics, mask, *, meters_per_px,
              i_root=-1, reduction='joints'):
    """Loss on the outputs of the 2D and the 3D head themselves (R20, examples with 3D labels).

    Args:
        coords3d_true: Float tensor `[batch, joints, 3]`, camera frame, mm.
        coords2d_pred: Float tensor `[batch, joints, 2]`, px.
        coords3d_rel_pred: Float tensor `[batch, joints, 3]`, mm from any origin.
        intrinsics: Float tensor `[batch, 3, 3]` of the crop, px.
        mask: Boolean tensor `[batch, joints]`.
        meters_per_px: See `image_loss`.
        i_root: See `root_relative_loss`.
        reduction: See the package.

    Returns:
        Scalar, metres: the sum of both terms.

    Raises:
        ValueError: If a static shape, the index or the reduction does not fit.
    """
    mask, (coords3d_true, coords3d_rel_pred) = selection.checked(
        mask, 3, coords3d_true=coords3d_true, coords3d_rel_pred=coords3d_rel_pred)
    image_term = image.image_loss(
        camera.project(coords3d_true, intrinsics), coords2d_pred, mask, meters_per_px,
        reduction=reduction)
    return image_term + pose.root_relative_loss(
        coords3d_true, coords3d_rel_pred, mask, i_root, reduction=reduction)


def weak_head_loss(coords2d_true, coords2d_pred, coords3d_rel_pred, mask, *, meters_per_px,
                   reduction='joints'):
    """Loss on the outputs of both heads (R20, examples with 2D labels only).

    Args:
        coords2d_true: Float tensor `[batch, joints, 2]`, px.
        coords2d_pred, coords3d_rel_pred: See `head_loss`; in the order of the labels, averaged by
            `group_means` where the dataset names its joints otherwise.
        mask: Boolean tensor `[batch, joints]`.
        meters_per_px: See `image_loss`.
        reduction: See the package.

    Returns:
        Scalar, metres: the sum of `image_loss` and `aligned_image_loss`.

    Raises:
        ValueError: If a static shape or the reduction does not fit.
    """
    mask, (coords3d_rel_pred,) = selection.checked(mask, 3, coords3d_rel_pred=coords3d_rel_pred)
    image_term = image.image_loss(
        coords2d_true, coords2d_pred, mask, meters_per_px, reduction=reduction)
    return image_term + image.aligned_image_loss(
        coords2d_true, coords3d_rel_pred[..., :2], mask, meters_per_px, reduction=reduction)


def pose25d_loss(coords3d_true, coords25d_pred, intrinsics, mask, meters_per_px, *,
                 box_size_mm=2200.0, i_root=None, reduction='joints'):
    """Loss of the 2.5D baseline: pixels and depths within the volume, 2 to 1.

    Args:
        coords3d_true: Float tensor `[batch, joints, 3]`, camera frame, mm.
        coords25d_pred: Float tensor `[batch, joints, 3]`: (x, y) in px, z in mm from the front
            of the volume.
        intrinsics: Float tensor `[batch, 3, 3]` of the crop, px.
        mask: Boolean tensor `[batch, joints]`.
        meters_per_px: See `image_loss`.
        box_size_mm: Depth of the volume; the reference depth lies in its middle.
        i_root: See `root_relative_loss`; the reference of the depths.
        reduction: See the package.

    Returns:
        Scalar, metres.

    Raises:
        ValueError: If a static shape, the index or the reduction does not fit.
    """
    mask, (coords3d_true, coords25d_pred) = selection.checked(
        mask, 3, coords3d_true=coords3d_true, coords25d_pred=coords25d_pred)
    image_term = image.image_loss(
        camera.project(coords3d_true, intrinsics), coords25d_pred[..., :2], mask, meters_per_px,
        reduction=reduction)
    mask = selection.with_valid_root(mask, i_root)
    depth_true = pose.centered(coords3d_true[..., 2:], mask, i_root) + box_size_mm / 2
    depth_term = selection.l1(depth_true, coords25d_pred[..., 2:], mask, reduction) / pose.MM_PER_M
    return depth_term / 3 + 2 * image_term / 3


def heatmap_cross_entropy(logits, cells, mask, sigma_cells, *, reduction='joints'):
    """Cross-entropy of a 2D heatmap against a Gaussian around the true position.

    Args:
        logits: Float tensor `[batch, y, x, joints]`.
        cells: Float tensor `[batch, joints, 2]`, true (x, y) in cells.
        mask: Boolean tensor `[batch, joints]`.
        sigma_cells: Standard deviation of the target.
        reduction: See the package.

    Returns:
        Scalar, nats. Its least value is the entropy of the target.

    Raises:
        ValueError: If a static shape or the reduction does not fit.
    """
    mask, cells = selection.checked_cells(mask, cells, 2)
    logits = checks.last_axes(logits, (None, None, mask.shape[1]), 'logits', cells.dtype)
    target_y = _gaussian(cells[..., 1], tf.shape(logits)[1], sigma_cells)
    target_x = _gaussian(cells[..., 0], tf.shape(logits)[2], sigma_cells)
    log_normaliser = tf.reduce_logsumexp(logits, axis=[1, 2])
    over_rows = tf.reduce_sum(logits * target_y[:, :, tf.newaxis], axis=1)
    expected_logit = tf.reduce_sum(over_rows * target_x, axis=1)
    return selection.joint_mean(log_normaliser - expected_logit, mask, reduction)


def volume_cross_entropy(
        logits, cells, mask, sigma_cells, sigma_depth_cells=0.7, *, reduction='joints'):
    """Cross-entropy of the image-plane marginal and of the depth marginal of a volume.

    Args:
        logits: Float tensor `[batch, y, x, depth, joints]`.
        cells: Float tensor `[batch, joints, 3]`, true (x, y, z) in cells.
        mask: Boolean tensor `[batch, joints]`.
        sigma_cells: Standard deviation of the target in the image plane.
        sigma_depth_cells: Standard deviation of the target along depth.
        reduction: See the package.

    Returns:
        Scalar, nats: the sum of both terms.

    Raises:
        ValueError: If a static shape or the reduction does not fit.
    """
    mask, cells = selection.checked_cells(mask, cells, 3)
    logits = checks.last_axes(logits, (None, None, None, mask.shape[1]), 'logits', cells.dtype)
    peak = tf.stop_gradient(tf.reduce_max(logits, axis=[1, 2, 3], keepdims=True))
    masses = tf.exp(logits - peak)
    plane = tf.math.log(tf.maximum(tf.reduce_sum(masses, axis=3), 1e-30))
    depth = tf.math.log(tf.maximum(tf.reduce_sum(masses, axis=[1, 2]), 1e-30))
    plane_term = heatmap_cross_entropy(
        plane, cells[..., :2], mask, sigma_cells, reduction=reduction)
    target = _gaussian(cells[..., 2], tf.shape(depth)[1], sigma_depth_cells)
    entropy = tf.reduce_logsumexp(depth, axis=1) - tf.reduce_sum(depth * target, axis=1)
    return plane_term + selection.joint_mean(entropy, mask, reduction)


def _gaussian(centers, n_cells, sigma_cells):
    """Normalised Gaussians `[batch, cells, joints]` around centers `[batch, joints]`."""
    grid = tf.range(n_cells)[tf.newaxis, :, tf.newaxis]
    distance = tf.cast(grid, centers.dtype) - centers[:, tf.newaxis]
    return tf.nn.softmax(-0.5 * (distance / sigma_cells) ** 2, axis=1)
