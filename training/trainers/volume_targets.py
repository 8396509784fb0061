"""Where a labelled pose lies in the heatmap volume, for losses of heatmaps."""

import tensorflow as tf

from metro_tf import losses
from metro_tf.layers import heatmap_coords


def cross_entropy(logits, coords3d, mask, heatmap, loss_config):
    """Cross-entropy of a metric or 2.5D volume in the two marginals of `volume_cross_entropy`.

    Args:
        logits: Float tensor `[batch, y, x, depth, joints]`.
        coords3d: Float tensor `[batch, joints, 3]`, mm from the corner of the volume.
        mask: Boolean tensor `[batch, joints]`.
        heatmap: `HeatmapConfig`.
        loss_config: `training.config.LossConfig`.

    Returns:
        Scalar, nats.
    """
    return losses.volume_cross_entropy(
        logits, to_cells(coords3d, logits, heatmap), mask, loss_config.heatmap_sigma_cells,
        reduction=loss_config.reduction)


def to_cells(coords3d, logits, heatmap):
    """Positions in the cells of a volume.

    Args:
        coords3d: Float tensor `[batch, joints, 3]`, mm from the corner of the volume.
        logits: Float tensor `[batch, y, x, depth, joints]`, for its size.
        heatmap: `HeatmapConfig`.

    Returns:
        Float tensor `[batch, joints, 3]`: x, y and z, 0 at the centre of the first cell.
    """
    n_cells = logits.shape[1]  # follows the stride in use
    cells = heatmap_coords.metric_to_heatmap(
        coords3d, heatmap.crop_side_px, heatmap.crop_side_px // n_cells, heatmap.box_size_mm,
        centered=heatmap.centered)
    return cells * [n_cells - 1.0, n_cells - 1.0, heatmap.n_depth_cells - 1.0]


def place_in_volume(coords3d, coords2d, mask, heatmap):
    """Puts a pose into the metric volume, whose origin is arbitrary in MeTRo.

    A target heatmap needs a definite place: here the one where the mean joint lies over its own
    image, moved by as little as is needed to have all joints inside the volume. The mean depth is
    in the middle.

    Args:
        coords3d: Float tensor `[batch, joints, 3]`, mm, frame of the crop's camera.
        coords2d: Float tensor `[batch, joints, 2]`, px in the crop.
        mask: Boolean tensor `[batch, joints]`.
        heatmap: `HeatmapConfig`.

    Returns:
        Float tensor `[batch, joints, 3]`, mm from the corner of the volume; zeros where masked.
    """
    box_size = heatmap.box_size_mm
    relative = tf.where(mask[..., tf.newaxis], losses.centered(coords3d, mask), 0.0)
    mm_per_px = box_size / heatmap.crop_side_px
    weight = tf.cast(mask, tf.float32)[..., tf.newaxis]
    n_valid = tf.maximum(tf.reduce_sum(weight, axis=1, keepdims=True), 1.0)
    place = mm_per_px * tf.reduce_sum(coords2d * weight, axis=1, keepdims=True) / n_valid
    low = -tf.reduce_min(relative[..., :2], axis=1, keepdims=True)
    high = box_size - tf.reduce_max(relative[..., :2], axis=1, keepdims=True)
    place = tf.where(low < high, tf.clip_by_value(place, low, tf.maximum(low, high)),
                     (low + high) / 2)
    depth = tf.fill(tf.shape(place[..., :1]), box_size / 2)
    placed = relative + tf.concat([place, depth], axis=-1)
    return tf.where(mask[..., tf.newaxis], placed, 0.0)


def place_in_25d_volume(coords3d, coords2d, mask, heatmap, i_root=None):
    """Puts a pose into the 2.5D volume: x and y by its image, depth relative to the middle.

    Args:
        coords3d, coords2d, mask, heatmap: See `place_in_volume`.
        i_root: Index of the joint whose depth is the middle, or None for the mean joint.

    Returns:
        Float tensor `[batch, joints, 3]`, mm from the corner of the volume; zeros where masked.
    """
    xy = coords2d * (heatmap.box_size_mm / heatmap.crop_side_px)
    depth = losses.centered(coords3d[..., 2:], mask, i_root) + heatmap.box_size_mm / 2
    placed = tf.concat([xy, depth], axis=-1)
    return tf.where(mask[..., tf.newaxis], placed, 0.0)
