"""Means and spreads over the valid part of a tensor, defined for empty selections too."""

import tensorflow as tf

from metro_tf import checks

MIN_SPREAD = 1e-5
_VARIANCE_FLOOR = 1e-10


def mean(values, mask, axis=None, keepdims=False):
    """Mean of the values whose mask is true.

    An empty selection gives 0 with zero gradient. Masked values may be anything, NaN included,
    without effect on the result.

    Args:
        values: Float tensor of any shape.
        mask: Boolean tensor (or numbers, where nonzero means true) that broadcasts to `values`.
        axis: Int or sequence of ints, the axes of `values` to average over. None means all.
        keepdims: Whether the reduced axes stay with size 1.

    Returns:
        Float tensor: the shape of `values` without the axes in `axis`.

    Raises:
        ValueError: If the static shapes of values and mask do not broadcast.
    """
    values = checks.last_axes(values, (), name='values')
    mask = tf.cast(mask, tf.bool)
    _check_mask_broadcasts(values, mask)
    selected = tf.where(mask, values, tf.zeros_like(values))
    is_selected = tf.broadcast_to(mask, tf.shape(values))
    count = tf.reduce_sum(tf.cast(is_selected, values.dtype), axis, keepdims=keepdims)
    return tf.reduce_sum(selected, axis, keepdims=keepdims) / tf.maximum(count, 1)


def mean_and_spread(points, mask):
    """Mean and isotropic spread of the valid points (MeTRAbs, weak-perspective scale).

    spread = sqrt(sum_j |p_j - mean|^2 / n_valid + 1e-10), raised to at least `MIN_SPREAD`. The
    squared deviations are summed over the coordinates and divided by the number of points, so a
    2D point set with unit deviation along both axes has the spread sqrt(2). The constants keep
    value and gradient finite for coincident points; without a valid point the mean is 0 and the
    spread `MIN_SPREAD`.

    Args:
        points: Float tensor `[..., joints, coords]`, any unit.
        mask: Boolean tensor `[..., joints]`.

    Returns:
        Tuple of the mean `[..., 1, coords]` and the spread `[..., 1, 1]`, in the points' unit.

    Raises:
        ValueError: If a static shape does not fit.
    """
    points = checks.last_axes(points, (None, None), name='points')
    mask = tf.cast(mask, tf.bool)[..., tf.newaxis]
    center = mean(points, mask, axis=-2, keepdims=True)
    # Masking before squaring keeps invalid, possibly NaN points out of the gradient.
    deviations = tf.where(mask, points - center, tf.zeros_like(points))
    squared_deviations = tf.reduce_sum(tf.square(deviations), axis=-1, keepdims=True)
    variance = mean(squared_deviations, mask, axis=-2, keepdims=True)
    return center, tf.maximum(tf.sqrt(variance + _VARIANCE_FLOOR), MIN_SPREAD)


def _check_mask_broadcasts(values, mask):
    if values.shape.rank is None or mask.shape.rank is None:
        return
    sizes = ([1] * (values.shape.rank - mask.shape.rank) + mask.shape.as_list())
    fits = len(sizes) == values.shape.rank and all(
        size in (1, None) or wanted in (size, None)
        for size, wanted in zip(sizes, values.shape.as_list()))
    if not fits:
        raise ValueError(
            '`mask` must broadcast to the shape of `values`. Received: '
            f'mask.shape={mask.shape}, values.shape={values.shape}')
