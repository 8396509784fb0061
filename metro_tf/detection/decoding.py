"""From the network's grids to boxes: every cell proposes a box, local maxima of the score win.

Cell (i, j) of stride s stands for a block of s x s pixels with its centre at pixel
(s j + (s - 1) / 2, s i + (s - 1) / 2), so that a mirrored image has the mirrored grid (unlike the
heatmaps of the pose models, which keep MeTRAbs' s / 2). A box is its centre's offset from there
and the logarithm of its size, both in strides.
"""

import tensorflow as tf

# Keeps sizes finite whatever the weights: 1 / e to e^5 strides.
LOG_SIZE_RANGE = (-1.0, 5.0)


def cell_centers(grid_size, stride_px):
    """Pixel positions of the cell centres.

    Args:
        grid_size: Integers (height, width) of the grid, static or tensors.
        stride_px: Distance of neighbouring cells.

    Returns:
        Float32 tensor `[height, width, 2]`: (x, y), px.
    """
    y = stride_px * (tf.range(grid_size[0], dtype=tf.float32) + 0.5) - 0.5
    x = stride_px * (tf.range(grid_size[1], dtype=tf.float32) + 0.5) - 0.5
    return tf.stack(tf.meshgrid(x, y), axis=-1)


def decode_boxes(offset, log_size, stride_px):
    """Boxes that the cells propose.

    Convention: with stride 8, offset (0, 0.5) and log size (0, log 2) in cell (0, 0) give the
    centre (3.5, 7.5) and the box (-0.5, -0.5, 8, 16).

    Args:
        offset: Float tensor `[..., height, width, 2]`: box centre minus cell centre, in strides.
        log_size: Float tensor `[..., height, width, 2]`: log of width and height in strides.
        stride_px: Distance of neighbouring cells.

    Returns:
        Float32 tensor `[..., height, width, 4]`: left, top, width, height, px.
    """
    offset, log_size = tf.cast(offset, tf.float32), tf.cast(log_size, tf.float32)
    center = cell_centers(tf.shape(offset)[-3:-1], stride_px) + stride_px * offset
    size = stride_px * tf.exp(tf.clip_by_value(log_size, *LOG_SIZE_RANGE))
    return tf.concat([center - size / 2, size], axis=-1)


def keep_local_maxima(scores):
    """Sets scores to zero that are below one of their eight neighbours.

    Args:
        scores: Float tensor `[n_images, height, width]`, not negative.
    """
    highest = tf.nn.max_pool2d(scores[..., tf.newaxis], 3, 1, 'SAME')[..., 0]
    return tf.where(scores >= highest, scores, 0.0)


def best_candidates(scores, boxes, max_candidates):
    """The highest scores of every image with their boxes.

    Args:
        scores: Float tensor `[n_images, height, width]`.
        boxes: Float tensor `[n_images, height, width, 4]`.
        max_candidates: At most this many per image.

    Returns:
        Scores `[n_images, n]` in descending order and boxes `[n_images, n, 4]`.
    """
    shape = tf.shape(scores)
    n_cells = shape[1] * shape[2]
    flat_scores = tf.reshape(scores, [shape[0], n_cells])
    flat_boxes = tf.reshape(boxes, [shape[0], n_cells, 4])
    best_scores, indices = tf.math.top_k(flat_scores, k=tf.minimum(n_cells, max_candidates))
    return best_scores, tf.gather(flat_boxes, indices, batch_dims=1)


def suppress(scores, boxes, threshold, nms_iou_threshold, max_detections):
    """Non-maximum suppression in every image.

    Args:
        scores: Float tensor `[n_images, n]`, n > 0.
        boxes: Float tensor `[n_images, n, 4]`: left, top, width, height, px.
        threshold: Scalar: candidates must have a score of at least this, and above zero.
        nms_iou_threshold: Scalar: largest intersection over union of two results.
        max_detections: Integer: at most this many results per image.

    Returns:
        Float32 `tf.RaggedTensor` `[n_images, (n_people), 5]`: box and score, by descending score.
    """
    # The op keeps scores strictly above its threshold.
    below_threshold = tf.maximum(threshold * (1 - 1e-6), 1e-6)
    top_left, size = boxes[..., 1::-1], boxes[..., :1:-1]
    corners = tf.concat([top_left, top_left + size], axis=-1)
    result = tf.image.combined_non_max_suppression(
        corners[:, :, tf.newaxis], scores[..., tf.newaxis],
        max_output_size_per_class=max_detections, max_total_size=max_detections,
        iou_threshold=nms_iou_threshold, score_threshold=below_threshold, clip_boxes=False)
    top_left, bottom_right = result.nmsed_boxes[..., :2], result.nmsed_boxes[..., 2:]
    kept = tf.concat(
        [top_left[..., ::-1], (bottom_right - top_left)[..., ::-1],
         result.nmsed_scores[..., tf.newaxis]], axis=-1)
    return tf.RaggedTensor.from_tensor(
        kept, lengths=tf.cast(result.valid_detections, tf.int64))
