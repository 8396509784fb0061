"""Shape checks for public functions: static shapes only, so they cost nothing inside a graph."""

import tensorflow as tf


def last_axes(tensor, sizes, name, dtype=None):
    """Converts to a float tensor and checks its last axes.

    Args:
        tensor: Anything that `tf.convert_to_tensor` accepts. Integers become float32.
        sizes: Sequence of ints or None, the required sizes of the last axes. None takes any.
        name: The argument's name for the error message.
        dtype: Type to cast to, usually that of the function's first argument. None keeps floats.

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: If the static rank is too small or a static size differs.
    """
    tensor = tf.convert_to_tensor(tensor)
    if dtype is not None or not tensor.dtype.is_floating:
        tensor = tf.cast(tensor, dtype or tf.float32)
    shape = tensor.shape
    if shape.rank is None:
        return tensor
    fits = shape.rank >= len(sizes) and all(
        wanted is None or actual is None or wanted == actual
        for wanted, actual in zip(sizes, shape[shape.rank - len(sizes):]))
    if not fits:
        wanted = ', '.join('any' if size is None else str(size) for size in sizes)
        raise ValueError(
            f'`{name}` must have a shape that ends in ({wanted}). Received: shape={shape}')
    return tensor


def positive(value, name):
    """Checks that a Python number is finite and above zero.

    Raises:
        ValueError: If it is not.
    """
    if not 0 < value < float('inf'):
        raise ValueError(f'`{name}` must be a positive finite number. Received: {name}={value}')
    return value


def one_of(value, choices, name):
    """Checks that `value` is one of `choices` and returns it.

    Raises:
        ValueError: If it is not; the message lists the choices.
    """
    if value not in choices:
        raise ValueError(
            f'`{name}` must be one of {sorted(choices)}. Received: {name}={value!r}')
    return value


def joint_index(index, n_joints, name):
    """Checks the index of a joint; negative ones count from the end.

    Args:
        index: Int.
        n_joints: Int, or None if not known statically.
        name: The argument's name for the error message.

    Raises:
        ValueError: If it is out of range.
    """
    if n_joints is not None and not -n_joints <= index < n_joints:
        raise ValueError(
            f'`{name}` must be an index into {n_joints} joints. Received: {name}={index}')
