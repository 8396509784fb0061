"""Losses of the detector."""

import tensorflow as tf

from metro_tf.geometry import boxes as box_geometry


def heatmap_loss(logits, heatmap, weight):
    """Penalty-reduced focal loss (Zhou et al., "Objects as Points", 2019, eq. 1).

    Args:
        logits: Float tensor of any shape.
        heatmap: Float tensor of the same shape, in [0, 1]; exactly 1 marks a centre.
        weight: Float tensor of the same shape, factors of the cells' terms.

    Returns:
        Scalar: the sum over all cells divided by the summed weight of the centres, or by 1 if
        that is less.
    """
    is_center = tf.cast(heatmap >= 1.0, tf.float32)
    score = tf.sigmoid(logits)
    at_centers = is_center * (1 - score) ** 2 * tf.nn.softplus(-logits)
    elsewhere = (1 - is_center) * (1 - heatmap) ** 4 * score ** 2 * tf.nn.softplus(logits)
    total = tf.reduce_sum(weight * (at_centers + elsewhere))
    return total / tf.maximum(tf.reduce_sum(weight * is_center), 1.0)


def box_loss(boxes_pred, boxes_true, weight):
    """Weighted mean of 1 - GIoU (Rezatofighi et al., CVPR 2019).

    Args:
        boxes_pred, boxes_true: Float tensors `[..., 4]`: left, top, width, height, px.
        weight: Float tensor `[...]`, not negative.

    Returns:
        Scalar in [0, 2]; zero if all weights are.
    """
    hull_low = tf.minimum(boxes_pred[..., :2], boxes_true[..., :2])
    high_pred = boxes_pred[..., :2] + boxes_pred[..., 2:]
    high_true = boxes_true[..., :2] + boxes_true[..., 2:]
    hull = tf.reduce_prod(tf.maximum(high_pred, high_true) - hull_low, axis=-1)
    intersection = box_geometry.intersection_area(boxes_pred, boxes_true)
    union = box_geometry.area(boxes_pred) + box_geometry.area(boxes_true) - intersection
    # Boxes of cells without weight are zeros, whence the lower limits.
    giou = intersection / tf.maximum(union, 1e-3) - 1 + union / tf.maximum(hull, 1e-3)
    return tf.math.divide_no_nan(
        tf.reduce_sum(weight * (1 - giou)), tf.reduce_sum(weight))
