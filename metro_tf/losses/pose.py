"""Losses on coordinates in millimetres. The package states what all losses have in common."""

import tensorflow as tf

from metro_tf.geometry import masked
from metro_tf.losses import selection

MM_PER_M = 1000.0


def centered(coords, mask, i_root=None):
    """Subtracts the mean of the valid joints, or a root joint.

    Args:
        coords: Float tensor `[batch, joints, coords]`.
        mask: Boolean tensor `[batch, joints]`.
        i_root: None for the mean, else the index of the root; negative ones count from the end.
            The examples without a valid root are not meaningful; mask them.
    """
    if i_root is not None:
        return coords - coords[:, i_root, tf.newaxis]
    return coords - masked.mean(coords, mask[..., tf.newaxis], axis=1, keepdims=True)


def root_relative_loss(coords3d_true, coords3d_pred, mask, i_root=None, *, reduction='joints'):
    """L1 of coordinates relative to the mean of the valid joints or to a root joint.

    Args:
        coords3d_true, coords3d_pred: Float tensors `[batch, joints, 3]`, mm, any frame.
        mask: Boolean tensor `[batch, joints]`.
        i_root: None for the mean (R23 and MeTRo), else the index of the root joint (R20: -1, the
            last). Examples whose root is not valid do not count.
        reduction: See the package.

    Returns:
        Scalar, metres.

    Raises:
        ValueError: If a static shape, the index or the reduction does not fit.
    """
    mask, (coords3d_true, coords3d_pred) = selection.checked(
        mask, 3, coords3d_true=coords3d_true, coords3d_pred=coords3d_pred)
    mask = selection.with_valid_root(mask, i_root)
    return selection.l1(
        centered(coords3d_true, mask, i_root), centered(coords3d_pred, mask, i_root), mask,
        reduction) / MM_PER_M


def absolute_loss(coords3d_true, coords3d_pred, mask, near_limit_mm=300.0, far_limit_mm=10000.0,
                  *, reduction='joints'):
    """L1 of camera-frame coordinates; depth errors of far people count less (R23).

    Args:
        coords3d_true, coords3d_pred: Float tensors `[batch, joints, 3]`, camera frame, mm.
        mask: Boolean tensor `[batch, joints]`.
        near_limit_mm: Joints nearer than this to the image plane are left out. None takes all
            (R20).
        far_limit_mm: Beyond it the depth error is scaled by this over the true depth. None scales
            nothing (R20).
        reduction: See the package.

    Returns:
        Scalar, metres.

    Raises:
        ValueError: If a static shape or the reduction does not fit.
    """
    mask, (coords3d_true, coords3d_pred) = selection.checked(
        mask, 3, coords3d_true=coords3d_true, coords3d_pred=coords3d_pred)
    # Zero where masked: a NaN in the weights would spoil the gradient of the masked joints.
    depth = tf.where(mask, coords3d_true[..., 2], tf.zeros_like(coords3d_true[..., 2]))
    if near_limit_mm is not None:
        mask &= depth > near_limit_mm
    weight = tf.ones_like(depth)
    if far_limit_mm is not None:
        weight = tf.minimum(1.0, far_limit_mm / tf.maximum(tf.abs(depth), 1.0))
    weights = tf.stack([tf.ones_like(depth), tf.ones_like(depth), weight], axis=-1)
    return selection.l1(coords3d_true, coords3d_pred, mask, reduction, weights) / MM_PER_M
