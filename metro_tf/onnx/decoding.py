"""From the detector's grids to boxes, in NumPy; see `metro_tf.detection.decoding`."""

import numpy as np

# As in `metro_tf.detection.decoding`.
_LOG_SIZE_RANGE = (-1.0, 5.0)


def decode_boxes(offset, log_size, stride_px):
    """Boxes that the cells propose.

    Args:
        offset: Float32 array `[n, height, width, 2]`: box centre minus cell centre, in strides.
        log_size: Float32 array `[n, height, width, 2]`: log of width and height in strides.
        stride_px: Distance of neighbouring cells.

    Returns:
        Float32 array `[n, height, width, 4]`: left, top, width, height, px.
    """
    y, x = (stride_px * (np.arange(size, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
            for size in offset.shape[1:3])
    center = np.stack(np.meshgrid(x, y), axis=-1) + stride_px * offset
    size = stride_px * np.exp(np.clip(log_size, *_LOG_SIZE_RANGE))
    return np.concatenate([center - size / 2, size], axis=-1)


def keep_local_maxima(scores):
    """Sets scores `[n, height, width]` to zero that are below one of their eight neighbours."""
    padded = np.pad(scores, [[0, 0], [1, 1], [1, 1]])
    rows = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    highest = np.maximum(np.maximum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])
    return np.where(scores >= highest, scores, np.float32(0))


def best_candidates(scores, boxes, max_candidates):
    """The highest scores of every image with their boxes.

    Args:
        scores: Float32 array `[n, height, width]`.
        boxes: Float32 array `[n, height, width, 4]`.
        max_candidates: At most this many per image.

    Returns:
        Scores `[n, k]` in descending order and boxes `[n, k, 4]`.
    """
    scores, boxes = scores.reshape(len(scores), -1), boxes.reshape(len(boxes), -1, 4)
    best = np.argsort(-scores, axis=1, kind='stable')[:, :max_candidates]
    return (np.take_along_axis(scores, best, axis=1),
            np.take_along_axis(boxes, best[..., np.newaxis], axis=1))


def suppress(scores, boxes, threshold, nms_iou_threshold, max_detections):
    """Non-maximum suppression in one image.

    Args:
        scores: Float32 array `[n]`.
        boxes: Float32 array `[n, 4]`: left, top, width, height, px.
        threshold: Candidates must have a score of at least this, and above zero.
        nms_iou_threshold: Largest intersection over union of two results.
        max_detections: At most this many results.

    Returns:
        Float32 array `[n_people, 5]`: box and score, by descending score.
    """
    order = np.argsort(-scores, kind='stable')
    # As the TensorFlow version, which keeps scores strictly above this.
    order = order[scores[order] > np.maximum(np.float32(threshold * (1 - 1e-6)), 1e-6)]
    kept = []
    while len(order) and len(kept) < max_detections:
        kept.append(order[0])
        order = order[1:][_overlaps(boxes[order[0]], boxes[order[1:]]) <= nms_iou_threshold]
    return np.concatenate([boxes[kept], scores[kept, np.newaxis]], axis=1).reshape(-1, 5)


def _overlaps(box, boxes):
    """Intersection over union of one box `[4]` with others `[n, 4]`; 0 without area."""
    start = np.maximum(box[:2], boxes[:, :2])
    end = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    intersection = np.prod(np.maximum(end - start, 0), axis=1)
    union = np.prod(box[2:]) + np.prod(boxes[:, 2:], axis=1) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
