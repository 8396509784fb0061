"""The table of `arguments` as TensorFlow sees it: signatures of graphs, and tensors for them."""

import numpy as np
import tensorflow as tf

from metro_tf import arguments


def tensor_spec(argument, method_name):
    """`tf.TypeSpec` of an `arguments.Argument` in one of the methods."""
    shape = argument.shape_in(method_name)
    if argument.is_ragged_in(method_name):
        return tf.RaggedTensorSpec(shape, tf.as_dtype(argument.dtype), ragged_rank=1)
    return tf.TensorSpec(shape, tf.as_dtype(argument.dtype), argument.name_in(method_name))


def tensor_specs(method_name):
    """`tf.TypeSpec` of every argument of a method, in order, for `tf.function`."""
    return [tensor_spec(argument, method_name)
            for argument in arguments.arguments_of(method_name)]


def bind(method_name, positional, named):
    """Tensors for all arguments of a call from Python, checked and converted.

    Args:
        method_name: One of `arguments.METHOD_NAMES`.
        positional: Sequence of positional arguments.
        named: Dict of named ones.

    Returns:
        List with one tensor (or ragged tensor) per argument of the method, in order.

    Raises:
        ValueError: If an argument is missing or unknown, or its type or shape does not fit.
    """
    values = arguments.bind_values(method_name, positional, named)
    return [_to_tensor(value, argument, method_name)
            for value, argument in zip(values.values(), arguments.arguments_of(method_name))]


def _to_tensor(value, argument, method_name):
    if not (tf.is_tensor(value) or isinstance(value, tf.RaggedTensor)):
        array = arguments.to_array(value, argument, method_name)
        if argument.is_ragged_in(method_name):
            return _ragged(array, argument)
        return tf.constant(array, tf.as_dtype(argument.dtype))
    if argument.is_ragged_in(method_name):
        value = _as_ragged(value, argument)
    if not tensor_spec(argument, method_name).is_compatible_with(value):
        raise arguments.mismatch(value, argument, method_name)
    return value


def _as_ragged(value, argument):
    """Ragged tensor from a dense one, or with row splits of the right type."""
    if not isinstance(value, tf.RaggedTensor):
        return tf.RaggedTensor.from_tensor(tf.cast(value, argument.dtype))
    return value if value.row_splits.dtype == tf.int64 else value.with_row_splits_dtype(tf.int64)


def _ragged(rows, argument):
    flat = np.concatenate([np.zeros([0, *argument.shape[1:]], argument.dtype), *rows])
    return tf.RaggedTensor.from_row_lengths(
        tf.constant(flat), tf.constant([len(row) for row in rows], tf.int64))
