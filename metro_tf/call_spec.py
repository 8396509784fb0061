"""The arguments of the estimator's four methods: one table for all of them.

The names, their order, defaults and units are those of MeTRAbs (R23). The table gives the
TensorFlow signatures, the Python signatures, the documentation and the checks of what a caller
passes. Names after `suppress_implausible_poses` are our additions.
"""

import dataclasses
import inspect
import typing

import numpy as np
import tensorflow as tf

_REQUIRED = inspect.Parameter.empty
METHOD_NAMES = (
    'detect_poses', 'detect_poses_batched', 'estimate_poses', 'estimate_poses_batched')


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument.

    Args:
        name: Its name in the methods for a single image.
        dtype: Its `tf.DType`.
        shape: Tuple, its shape for a single image; None is any size.
        default: Python number, string or nested tuple; `inspect.Parameter.empty` if required.
        meaning: One sentence with the unit.
        batching: `'shared'`: one value for the batch; `'stacked'`: `[n_images, ...]`;
            `'broadcast'`: `[n_images or 1, ...]`; `'ragged'`: `[n_images, (n_people), ...]`.
        batched_name: The name in the batched methods if it is another one.
        method: `'detect'` or `'estimate'` if only these methods have it.
        estimate_default: The default in the `estimate_*` methods if it is another one.
    """
    name: str
    dtype: tf.DType
    shape: tuple
    default: typing.Any
    meaning: str
    batching: str = 'shared'
    batched_name: str = ''
    method: str = ''
    estimate_default: typing.Any = None

    def default_in(self, method_name):
        """Default value in one of the methods."""
        is_estimate = method_name.startswith('estimate')
        if is_estimate and self.estimate_default is not None:
            return self.estimate_default
        if self.default is _REQUIRED or self.batching != 'broadcast':
            return self.default
        return (self.default,) if is_batched(method_name) else self.default

    def name_in(self, method_name):
        """Name in one of the methods."""
        return self.batched_name if self.batched_name and is_batched(method_name) else self.name

    def spec_in(self, method_name):
        """`tf.TypeSpec` in one of the methods."""
        name = self.name_in(method_name)
        if not is_batched(method_name) or self.batching == 'shared':
            return tf.TensorSpec(self.shape, self.dtype, name)
        if self.batching == 'ragged':
            return tf.RaggedTensorSpec([None, *self.shape], self.dtype, ragged_rank=1)
        return tf.TensorSpec([None, *self.shape], self.dtype, name)


_IDENTITY = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
ARGUMENTS = (
    Argument(
        'image', tf.uint8, (None, None, 3), _REQUIRED,
        'RGB image, one size per batch.', batching='stacked', batched_name='images'),
    Argument(
        'boxes', tf.float32, (None, 4), _REQUIRED,
        'Left, top, width and height of people, px.', batching='ragged', method='estimate'),
    Argument(
        'intrinsic_matrix', tf.float32, (3, 3), ((-1.0,) * 3,) * 3,
        'Intrinsics, px. A matrix whose entries are all -1 means unknown.', batching='broadcast'),
    Argument(
        'distortion_coeffs', tf.float32, (None,), (0.0,) * 5,
        'At most 12 lens coefficients in the order of OpenCV, k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 '
        's4; missing ones are zero.', batching='broadcast'),
    Argument(
        'extrinsic_matrix', tf.float32, (4, 4), _IDENTITY,
        'World to camera, `[R | t; 0 0 0 1]` with t in mm.', batching='broadcast'),
    Argument(
        'world_up_vector', tf.float32, (3,), (0.0, -1.0, 0.0), 'Up direction in the world.'),
    Argument(
        'default_fov_degrees', tf.float32, (), 55.0,
        'Field of view along the larger image side, degrees, where intrinsics are unknown.'),
    Argument('internal_batch_size', tf.int32, (), 64, 'Crops per call of the network; 0 is all.'),
    Argument('antialias_factor', tf.int32, (), 1, 'Supersampling factor of the crops.'),
    Argument('num_aug', tf.int32, (), 5, 'Test-time augmentations per person.'),
    Argument(
        'average_aug', tf.bool, (), True, 'Whether to average over these or return them all.'),
    Argument('skeleton', tf.string, (), '', 'Name of a joint convention; empty is all joints.'),
    Argument(
        'detector_threshold', tf.float32, (), 0.3, 'Lowest score of a detection.',
        method='detect'),
    Argument(
        'detector_nms_iou_threshold', tf.float32, (), 0.7,
        'Largest overlap (IoU) of two detections.', method='detect'),
    Argument(
        'max_detections', tf.int32, (), -1,
        'Only this many most confident detections per image; -1 is all.', method='detect'),
    Argument(
        'detector_flip_aug', tf.bool, (), False,
        'Whether to detect in the mirrored image as well.', method='detect'),
    Argument(
        'suppress_implausible_poses', tf.bool, (), True,
        'Whether to leave out implausible and duplicate poses.', estimate_default=False))


def is_batched(method_name):
    """Whether a method takes a batch of images."""
    return method_name.endswith('_batched')


def arguments_of(method_name):
    """The arguments of a method, in order.

    Returns:
        Tuple of `Argument`.
    """
    kind = method_name.partition('_')[0]
    return tuple(argument for argument in ARGUMENTS if argument.method in ('', kind))


def tensor_specs(method_name):
    """`tf.TypeSpec` of every argument of a method, in order, for `tf.function`."""
    return [argument.spec_in(method_name) for argument in arguments_of(method_name)]


def python_signature(method_name):
    """`inspect.Signature` of a method, without self."""
    return inspect.Signature([
        inspect.Parameter(
            argument.name_in(method_name), inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=argument.default_in(method_name))
        for argument in arguments_of(method_name)])


def documentation(method_name, summary, returns):
    """Docstring of a method: the given texts around the list of arguments."""
    lines = [summary, '', 'Args:']
    for argument in arguments_of(method_name):
        spec, default = argument.spec_in(method_name), argument.default_in(method_name)
        shape = str(spec._shape if isinstance(spec, tf.RaggedTensorSpec) else spec.shape)
        text = f'{argument.name_in(method_name)}: {spec.dtype.name} {shape}. {argument.meaning}'
        if default is not _REQUIRED:
            text += f' Default: {default!r}.'
        lines.append('    ' + text)
    return '\n'.join([*lines, '', *returns.splitlines()])


def bind(method_name, positional, named):
    """Tensors for all arguments of a call from Python, checked and converted.

    Args:
        method_name: One of `METHOD_NAMES`.
        positional: Sequence of positional arguments.
        named: Dict of named ones.

    Returns:
        List with one tensor (or ragged tensor) per argument of the method, in order.

    Raises:
        ValueError: If an argument is missing or unknown, or its type or shape does not fit.
    """
    try:
        bound = _SIGNATURES[method_name].bind(*positional, **named)
    except TypeError as error:
        names = [argument.name_in(method_name) for argument in arguments_of(method_name)]
        raise ValueError(
            f'`{method_name}` takes the arguments {names}. Received: {error}') from None
    tensors = []
    for argument in arguments_of(method_name):
        name = argument.name_in(method_name)
        if name in bound.arguments:
            tensors.append(_convert(bound.arguments[name], argument, method_name))
        else:
            tensors.append(tf.constant(argument.default_in(method_name), argument.dtype))
    return tensors


def _convert(value, argument, method_name):
    spec, name = argument.spec_in(method_name), argument.name_in(method_name)
    try:
        if isinstance(spec, tf.RaggedTensorSpec):
            value = _as_ragged(value, argument)
        elif not tf.is_tensor(value):
            value = _as_array(value, argument)
        if spec.is_compatible_with(value):
            return value
    except (TypeError, ValueError):
        pass
    shape = getattr(value, 'shape', None)
    shape = np.shape(value) if shape is None else tuple(shape)
    received = getattr(getattr(value, 'dtype', None), 'name', None) or type(value).__name__
    expected = [None, *argument.shape] if isinstance(spec, tf.RaggedTensorSpec) else spec.shape
    raise ValueError(
        f'`{name}` must be {spec.dtype.name} with shape {tuple(expected)}. '
        f'Received: {received} with shape {shape}')


def _as_array(value, argument):
    """Array of the right type; kinds of numbers mix only where nothing is lost."""
    array = np.asarray(value)
    wanted = argument.dtype.as_numpy_dtype
    if argument.dtype == tf.string:
        return tf.constant(value, tf.string)
    allowed = {'u': 'u', 'i': 'iu', 'f': 'fiu', 'b': 'b'}[np.dtype(wanted).kind]
    if array.dtype.kind not in allowed and array.size > 0:
        raise TypeError
    if argument.dtype == tf.uint8 and array.dtype != np.uint8:
        raise TypeError
    return tf.convert_to_tensor(array.astype(wanted, copy=False))


def _as_ragged(value, argument):
    """Ragged tensor from one, from a dense tensor or from one array per image."""
    if isinstance(value, tf.RaggedTensor):
        return value if value.row_splits.dtype == tf.int64 else value.with_row_splits_dtype(
            tf.int64)
    if tf.is_tensor(value) or isinstance(value, np.ndarray) and value.dtype != object:
        return tf.RaggedTensor.from_tensor(tf.cast(value, argument.dtype))
    rows = [np.asarray(row, np.float32).reshape([-1, *argument.shape[1:]]) for row in value]
    flat = np.concatenate(rows) if rows else np.zeros([0, *argument.shape[1:]], np.float32)
    return tf.RaggedTensor.from_row_lengths(
        tf.constant(flat), tf.constant([len(row) for row in rows], tf.int64))


_SIGNATURES = {name: python_signature(name) for name in METHOD_NAMES}
