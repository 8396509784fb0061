"""Arithmetic of axis-aligned boxes `[x, y, width, height]` in px, optionally with a score fifth.

(x, y) is the top-left corner. A box may exceed the image; its size is not negative.
"""

import tensorflow as tf

from metro_tf import checks


def center(boxes):
    """Centres of boxes.

    Args:
        boxes: Float tensor `[..., 4 or 5]`, px.

    Returns:
        Float tensor `[..., 2]`: (x + width / 2, y + height / 2) in px.

    Raises:
        ValueError: If the last axis is not 4 or 5.
    """
    boxes = _checked(boxes, 'boxes')
    return boxes[..., :2] + boxes[..., 2:4] / 2


def area(boxes):
    """Areas of boxes `[..., 4 or 5]`: float tensor `[...]` in px^2; ValueError as in `center`."""
    boxes = _checked(boxes, 'boxes')
    return boxes[..., 2] * boxes[..., 3]


def intersection_area(boxes_a, boxes_b):
    """Areas of the pairwise overlaps, element by element.

    Args:
        boxes_a: Float tensor `[..., 4 or 5]`, px.
        boxes_b: Float tensor `[..., 4 or 5]`, px. Leading axes broadcast.

    Returns:
        Float tensor `[...]` in px^2; 0 for boxes that do not overlap.

    Raises:
        ValueError: If a last axis is not 4 or 5.
    """
    boxes_a = _checked(boxes_a, 'boxes_a')
    boxes_b = _checked(boxes_b, 'boxes_b', boxes_a.dtype)
    start = tf.maximum(boxes_a[..., :2], boxes_b[..., :2])
    end = tf.minimum(
        boxes_a[..., :2] + boxes_a[..., 2:4], boxes_b[..., :2] + boxes_b[..., 2:4])
    extent = tf.maximum(end - start, 0)
    return extent[..., 0] * extent[..., 1]


def iou_matrix(boxes_a, boxes_b):
    """Intersection over union of every box in one set with every box in another.

    Args:
        boxes_a: Float tensor `[..., n, 4 or 5]`, px.
        boxes_b: Float tensor `[..., m, 4 or 5]`, px. Leading axes broadcast.

    Returns:
        Float tensor `[..., n, m]` in `[0, 1]`; 0 for a pair of boxes without area.

    Raises:
        ValueError: If a static shape does not fit.
    """
    boxes_a = _checked(checks.last_axes(boxes_a, (None, None), 'boxes_a'), 'boxes_a')
    boxes_b = _checked(
        checks.last_axes(boxes_b, (None, None), 'boxes_b'), 'boxes_b', boxes_a.dtype)
    boxes_a = boxes_a[..., :, tf.newaxis, :]
    boxes_b = boxes_b[..., tf.newaxis, :, :]
    intersection = intersection_area(boxes_a, boxes_b)
    return tf.math.divide_no_nan(intersection, area(boxes_a) + area(boxes_b) - intersection)


def from_points(points, validity_mask=None):
    """Smallest boxes around the valid points.

    Args:
        points: Float tensor `[..., joints, 2]`, px.
        validity_mask: Boolean tensor `[..., joints]`. None means that all are valid.

    Returns:
        Float tensor `[..., 4]` in px; (0, 0, 0, 0) where no point is valid.

    Raises:
        ValueError: If a static shape does not fit.
    """
    points = checks.last_axes(points, (None, 2), name='points')
    if validity_mask is None:
        mask = tf.ones_like(points[..., :1], dtype=tf.bool)
    else:
        mask = tf.cast(validity_mask, tf.bool)[..., tf.newaxis]
    # Far beyond any image, yet with room for the difference below.
    beyond = tf.constant(points.dtype.max / 4, points.dtype)
    start = tf.reduce_min(tf.where(mask, points, beyond), axis=-2)
    end = tf.reduce_max(tf.where(mask, points, -beyond), axis=-2)
    boxes = tf.concat([start, end - start], axis=-1)
    return tf.where(tf.reduce_any(mask, axis=-2), boxes, tf.zeros_like(boxes))


def side_midpoints(boxes):
    """Midpoints of the four sides.

    Args:
        boxes: Float tensor `[..., 4 or 5]`, px.

    Returns:
        Float tensor `[..., 4, 2]` in px, in the order top, bottom, left, right.

    Raises:
        ValueError: If the last axis is not 4 or 5.
    """
    boxes = _checked(boxes, 'boxes')
    left, top, width, height = tf.unstack(boxes[..., :4], num=4, axis=-1)
    middle_x, middle_y = left + width / 2, top + height / 2
    return tf.stack([
        tf.stack([middle_x, top], axis=-1),
        tf.stack([middle_x, top + height], axis=-1),
        tf.stack([left, middle_y], axis=-1),
        tf.stack([left + width, middle_y], axis=-1)], axis=-2)


def clip(boxes, image_shape):
    """Cuts boxes to the image area, 0 to width and 0 to height.

    A box outside the image becomes one without area on the nearest border. A score is kept.

    Args:
        boxes: Float tensor `[..., 4 or 5]`, px.
        image_shape: (height, width) or (height, width, channels), ints or an int tensor.

    Returns:
        Float tensor of the shape of `boxes`, px.

    Raises:
        ValueError: If the last axis is not 4 or 5.
    """
    boxes = _checked(boxes, 'boxes')
    image_size = tf.cast(tf.stack([image_shape[1], image_shape[0]]), boxes.dtype)
    zero = tf.zeros([], boxes.dtype)
    start = tf.clip_by_value(boxes[..., :2], zero, image_size)
    end = tf.clip_by_value(boxes[..., :2] + boxes[..., 2:4], zero, image_size)
    return tf.concat([start, end - start, boxes[..., 4:]], axis=-1)


def _checked(boxes, name, dtype=None):
    boxes = checks.last_axes(boxes, (None,), name, dtype)
    if boxes.shape.rank is not None and boxes.shape[-1] not in (4, 5, None):
        raise ValueError(
            f'`{name}` must end in an axis of 4 (x, y, width, height) or 5 (with score). '
            f'Received: shape={boxes.shape}')
    return boxes
