"""The arguments of the estimator's four methods: one table for all of them, without TensorFlow.

The names, their order, defaults and units are those of MeTRAbs (R23). The table gives the
signatures in Python and in graphs (see `call_spec`), the documentation and the checks of what a
caller passes. Names after `suppress_implausible_poses` are our additions.
"""

import dataclasses
import inspect
import typing

import numpy as np

REQUIRED = inspect.Parameter.empty
METHOD_NAMES = (
    'detect_poses', 'detect_poses_batched', 'estimate_poses', 'estimate_poses_batched')


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument.

    Args:
        name: Its name in the methods for a single image.
        dtype: Name of its type: `'uint8'`, `'int32'`, `'float32'`, `'bool'` or `'string'`.
        shape: Tuple, its shape for a single image; None is any size.
        default: Python number, string or nested tuple; `REQUIRED` if there is none.
        meaning: One sentence with the unit.
        batching: `'shared'`: one value for the batch; `'stacked'`: `[n_images, ...]`;
            `'broadcast'`: `[n_images or 1, ...]`; `'ragged'`: `[n_images, (n_people), ...]`.
        batched_name: The name in the batched methods if it is another one.
        method: `'detect'` or `'estimate'` if only these methods have it.
        estimate_default: The default in the `estimate_*` methods if it is another one.
    """
    name: str
    dtype: str
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
        if self.default is REQUIRED or self.batching != 'broadcast':
            return self.default
        return (self.default,) if is_batched(method_name) else self.default

    def name_in(self, method_name):
        """Name in one of the methods."""
        return self.batched_name if self.batched_name and is_batched(method_name) else self.name

    def shape_in(self, method_name):
        """Shape in one of the methods; None is any size."""
        is_shared = self.batching == 'shared' or not is_batched(method_name)
        return self.shape if is_shared else (None, *self.shape)

    def is_ragged_in(self, method_name):
        """Whether the second axis of a method's argument may differ between images."""
        return self.batching == 'ragged' and is_batched(method_name)


_IDENTITY = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
ARGUMENTS = (
    Argument(
        'image', 'uint8', (None, None, 3), REQUIRED,
        'RGB image, one size per batch.', batching='stacked', batched_name='images'),
    Argument(
        'boxes', 'float32', (None, 4), REQUIRED,
        'Left, top, width and height of people, px.', batching='ragged', method='estimate'),
    Argument(
        'intrinsic_matrix', 'float32', (3, 3), ((-1.0,) * 3,) * 3,
        'Intrinsics, px. A matrix whose entries are all -1 means unknown.', batching='broadcast'),
    Argument(
        'distortion_coeffs', 'float32', (None,), (0.0,) * 5,
        'At most 12 lens coefficients in the order of OpenCV, k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 '
        's4; missing ones are zero.', batching='broadcast'),
    Argument(
        'extrinsic_matrix', 'float32', (4, 4), _IDENTITY,
        'World to camera, `[R | t; 0 0 0 1]` with t in mm.', batching='broadcast'),
    Argument(
        'world_up_vector', 'float32', (3,), (0.0, -1.0, 0.0), 'Up direction in the world.'),
    Argument(
        'default_fov_degrees', 'float32', (), 55.0,
        'Field of view along the larger image side, degrees, where intrinsics are unknown.'),
    Argument('internal_batch_size', 'int32', (), 64, 'Crops per call of the network; 0 is all.'),
    Argument('antialias_factor', 'int32', (), 1, 'Supersampling factor of the crops.'),
    Argument('num_aug', 'int32', (), 5, 'Test-time augmentations per person.'),
    Argument(
        'average_aug', 'bool', (), True, 'Whether to average over these or return them all.'),
    Argument('skeleton', 'string', (), '', 'Name of a joint convention; empty is all joints.'),
    Argument(
        'detector_threshold', 'float32', (), 0.3, 'Lowest score of a detection.',
        method='detect'),
    Argument(
        'detector_nms_iou_threshold', 'float32', (), 0.7,
        'Largest overlap (IoU) of two detections.', method='detect'),
    Argument(
        'max_detections', 'int32', (), -1,
        'Only this many most confident detections per image; -1 is all.', method='detect'),
    Argument(
        'detector_flip_aug', 'bool', (), False,
        'Whether to detect in the mirrored image as well.', method='detect'),
    Argument(
        'suppress_implausible_poses', 'bool', (), True,
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
        default = argument.default_in(method_name)
        text = (f'{argument.name_in(method_name)}: {argument.dtype} '
                f'{argument.shape_in(method_name)}. {argument.meaning}')
        if default is not REQUIRED:
            text += f' Default: {default!r}.'
        lines.append('    ' + text)
    return '\n'.join([*lines, '', *returns.splitlines()])


def bind_values(method_name, positional, named):
    """What a call from Python gives each argument, defaults included, unchecked.

    Args:
        method_name: One of `METHOD_NAMES`.
        positional: Sequence of positional arguments.
        named: Dict of named ones.

    Returns:
        Dict from the names in this method, in order, to values.

    Raises:
        ValueError: If an argument is missing or unknown.
    """
    try:
        bound = _SIGNATURES[method_name].bind(*positional, **named)
    except TypeError as error:
        names = [argument.name_in(method_name) for argument in arguments_of(method_name)]
        raise ValueError(
            f'`{method_name}` takes the arguments {names}. Received: {error}') from None
    bound.apply_defaults()
    return bound.arguments


def bind_arrays(method_name, positional, named):
    """Arrays for all arguments of a call from Python, checked and converted.

    Args:
        method_name: One of `METHOD_NAMES`.
        positional: Sequence of positional arguments.
        named: Dict of named ones.

    Returns:
        Dict from the names in this method, in order, to arrays of the types and shapes of the
        table. Strings are arrays of the kind 'U' without axes (`.item()` is the string), ragged
        arguments lists with an array per image.

    Raises:
        ValueError: If an argument is missing or unknown, or its type or shape does not fit.
    """
    values = bind_values(method_name, positional, named)
    return {
        name: to_array(value, argument, method_name)
        for (name, value), argument in zip(values.items(), arguments_of(method_name))}


def to_array(value, argument, method_name):
    """Array for one argument of a call, as in `bind_arrays`."""
    shape = argument.shape_in(method_name)
    try:
        if argument.is_ragged_in(method_name):
            value = _as_rows(value, argument)
            if all(_fits(row.shape, shape[1:]) for row in value):
                return value
        else:
            value = _as_array(value, argument)
            if _fits(value.shape, shape):
                return value
    except (TypeError, ValueError):
        pass
    raise mismatch(value, argument, method_name)


def mismatch(value, argument, method_name):
    """`ValueError` about a value whose type or shape does not fit an argument."""
    received = getattr(getattr(value, 'dtype', None), 'name', None) or type(value).__name__
    return ValueError(
        f'`{argument.name_in(method_name)}` must be {argument.dtype} with shape '
        f'{argument.shape_in(method_name)}. Received: {received} with shape {_shape(value)}')


def _shape(value):
    """Shape of an array, a tensor or nested sequences, for messages."""
    try:
        shape = getattr(value, 'shape', None)
        return np.shape(value) if shape is None else tuple(shape)
    except ValueError:
        return 'that is uneven'


def _fits(shape, expected):
    return len(shape) == len(expected) and all(
        size is None or size == actual for size, actual in zip(expected, shape))


def _as_array(value, argument):
    """Array of the right type; kinds of numbers mix only where nothing is lost."""
    array = np.asarray(value)
    if argument.dtype == 'string':
        return _as_string(array)
    wanted = np.dtype(argument.dtype)
    allowed = {'u': 'u', 'i': 'iu', 'f': 'fiu', 'b': 'b'}[wanted.kind]
    if array.dtype.kind not in allowed and array.size > 0:
        raise TypeError
    if wanted == np.uint8 and array.dtype != np.uint8:
        raise TypeError
    return array.astype(wanted, copy=False)


def _as_string(array):
    if array.dtype.kind not in 'SU':
        raise TypeError
    return np.char.decode(array, 'utf-8') if array.dtype.kind == 'S' else array


def _as_rows(value, argument):
    """List with one array per image, from a dense array or one array or sequence per image."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        if value.ndim != 1 + len(argument.shape):
            raise TypeError
        return list(value.astype(argument.dtype, copy=False))
    return [np.asarray(row, argument.dtype).reshape([-1, *argument.shape[1:]]) for row in value]


_SIGNATURES = {name: python_signature(name) for name in METHOD_NAMES}
