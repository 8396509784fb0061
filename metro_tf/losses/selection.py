"""What the losses share: checked arguments, and means over the selected joints."""

import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import masked

REDUCTIONS = ('joints', 'examples')


def checked(mask, n_coords, **coords):
    """Converts the arguments of a loss and checks their static shapes.

    Args:
        mask: Boolean tensor `[batch, joints]`.
        n_coords: Number of coordinates per joint.
        **coords: Float tensors `[batch, joints, n_coords]` under their argument names.

    Returns:
        Tuple of the boolean mask and the list of the float tensors, in the type of the first.

    Raises:
        ValueError: If a static shape does not fit.
    """
    mask = tf.cast(checks.last_axes(mask, (None, None), 'mask'), tf.bool)
    sizes = (*(mask.shape if mask.shape.rank else (None, None)), n_coords)
    tensors = []
    for name, value in coords.items():
        tensors.append(
            checks.last_axes(value, sizes, name, tensors[0].dtype if tensors else None))
    return mask, tensors


def checked_cells(mask, cells, n_coords):
    """Like `checked` for true positions, which are zero in the result where the mask is false.

    Args:
        mask: Boolean tensor `[batch, joints]`.
        cells: Float tensor `[batch, joints, n_coords]`.
        n_coords: Number of coordinates per joint.

    Returns:
        Tuple of the boolean mask and the float tensor.

    Raises:
        ValueError: If a static shape does not fit.
    """
    mask, (cells,) = checked(mask, n_coords, cells=cells)
    return mask, tf.where(mask[..., tf.newaxis], cells, tf.zeros_like(cells))


def with_valid_root(mask, i_root):
    """Leaves out the examples whose root is not valid; None stands for the mean joint.

    Raises:
        ValueError: If the index is out of the static range.
    """
    if i_root is None:
        return mask
    checks.joint_index(i_root, mask.shape[1], 'i_root')
    return mask & mask[:, i_root, tf.newaxis]


def l1(coords_true, coords_pred, mask, reduction, weights=1.0):
    """Mean over the selected joints of the mean over the coordinates of `weights |difference|`.

    Args:
        coords_true, coords_pred: Float tensors `[batch, joints, coords]`.
        mask: Boolean tensor `[batch, joints]`.
        reduction: See `joint_mean`.
        weights: Float tensor that broadcasts to the coordinates, finite everywhere.

    Returns:
        Scalar, in the unit of the coordinates.

    Raises:
        ValueError: If the reduction is unknown.
    """
    difference = coords_true - coords_pred
    # Selected before `abs`, whose gradient at a masked NaN would be NaN.
    difference = tf.where(mask[..., tf.newaxis], difference, tf.zeros_like(difference))
    return joint_mean(tf.reduce_mean(weights * tf.abs(difference), axis=-1), mask, reduction)


def joint_mean(values, mask, reduction):
    """Mean over the selected joints.

    Args:
        values: Float tensor `[batch, joints]`.
        mask: Boolean tensor `[batch, joints]`.
        reduction: 'joints' for the mean over all selected joints of the batch, 'examples' for
            the mean over the examples, where one is selected, of their own means.

    Returns:
        Scalar; 0 with zero gradient where nothing is selected.

    Raises:
        ValueError: If the reduction is unknown.
    """
    checks.one_of(reduction, REDUCTIONS, 'reduction')
    if reduction == 'joints':
        return masked.mean(values, mask)
    return masked.mean(masked.mean(values, mask, axis=1), tf.reduce_any(mask, axis=1))
