"""Other 3D labels for the examples of record files, e.g. an earlier release of the same data."""

import dataclasses
import zipfile

import numpy as np
import tensorflow as tf

from training.datasets import example as example_lib
from training.datasets import records

_ARRAYS = ('names', 'coords3d_cam', 'joint_names')
_NAMES_BATCH_SIZE = 1024
# Names in an error message.
_MAX_SHOWN = 5


@dataclasses.dataclass(frozen=True, eq=False)
class LabelVersion:
    """3D labels by the name of the example.

    Args:
        rows: Dict from the name of an example to its row.
        coords3d_cam: Float32 array `[rows, joints, 3]`, frame of the photo's camera, mm, NaN where
            missing.
    """
    rows: dict
    coords3d_cam: np.ndarray

    def __call__(self, names):
        """Labels of some examples.

        Args:
            names: String tensor `[batch]`, names that there are.

        Returns:
            Tuple of `coords3d_cam`, float32 `[batch, joints, 3]`, zero where missing, and of the
            mask of the others, bool `[batch, joints]`.
        """
        rows = [self.rows[name.decode('utf-8')] for name in names.numpy()]
        coords = self.coords3d_cam[rows]
        mask = np.isfinite(coords).all(axis=-1)
        return np.where(mask[..., np.newaxis], coords, np.float32(0)), mask


def read(path, joint_names, example_names):
    """Reads labels that replace those of all examples of a data set.

    Args:
        path: NPZ file with the arrays `names` `[n]`, strings, `coords3d_cam` `[n, joints, 3]`, mm,
            NaN where missing, and `joint_names` `[joints]`, out of the vocabulary of
            `metro_tf.skeleton`.
        joint_names: Sequence of the names of the wanted joints. Those that the file lacks are
            missing joints, those that it has besides are left out.
        example_names: Sequence of the names of the examples, in any order.

    Returns:
        `LabelVersion`.

    Raises:
        ValueError: If the file cannot be read, has not these arrays, or other names than there
            are examples. The message names the file.
    """
    arrays = _load(path)
    names, coords = arrays['names'], arrays['coords3d_cam']
    own_joints = arrays['joint_names'].tolist()
    try:
        example_lib.check_joint_names(own_joints)
    except ValueError as error:
        raise ValueError(f'{error} in {path}') from None
    wanted = (len(names), len(own_joints), 3) if names.ndim == 1 else None
    if names.dtype.kind != 'U' or coords.shape != wanted or coords.dtype.kind != 'f':
        raise ValueError(
            '`names` must be strings [n] and `coords3d_cam` floats [n, joints, 3], with the '
            f'{len(own_joints)} joints of `joint_names`. Received: {names.dtype} {names.shape} '
            f'and {coords.dtype} {coords.shape} in {path}')
    names = names.tolist()
    _check_names(names, example_names, path)
    coords = example_lib.select_joints(coords.astype(np.float32), own_joints, joint_names)
    return LabelVersion({name: row for row, name in enumerate(names)}, coords)


def read_example_names(pattern_or_dir):
    """Names of all examples of record files, in file order, without decoding images.

    Args:
        pattern_or_dir: See `records.read_serialized`.

    Returns:
        List of strings.

    Raises:
        ValueError: If there is no such file, or a name occurs twice.
    """
    spec, names = {'name': tf.io.FixedLenFeature([], tf.string)}, []
    for batch in records.read_serialized(pattern_or_dir).batch(_NAMES_BATCH_SIZE):
        stored = tf.io.parse_example(batch, spec)['name'].numpy()
        names += [name.decode('utf-8') for name in stored]
    if doubles := _doubles(names):
        raise ValueError(
            'Names of examples must be distinct for other labels. Received: '
            f'{_shown(doubles)} more than once in {pattern_or_dir}')
    return names


def _load(path):
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in _ARRAYS if name in file.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f'`path` must be an NPZ file. Received: {path} ({error})') from error
    missing = sorted({*_ARRAYS} - {*arrays})
    if missing:
        raise ValueError(
            f'`path` must be an NPZ file with the arrays {", ".join(_ARRAYS)}. '
            f'Received: {path} without {", ".join(missing)}')
    return arrays


def _check_names(names, example_names, path):
    doubles, missing, unknown = (
        _doubles(names), sorted({*example_names} - {*names}), sorted({*names} - {*example_names}))
    for found, problem in (
            (doubles, 'more than once'), (missing, 'missing'), (unknown, 'unknown')):
        if found:
            raise ValueError(
                '`names` must hold the name of every example exactly once. '
                f'Received: {_shown(found)} {problem} in {path}')


def _doubles(names):
    seen = set()
    return sorted({name for name in names if name in seen or seen.add(name)})


def _shown(names):
    more = len(names) - _MAX_SHOWN
    return ', '.join(map(repr, names[:_MAX_SHOWN])) + (f' and {more} more' if more > 0 else '')
