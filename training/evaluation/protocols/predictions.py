"""Stored predictions and labels: one form for both, in NPZ, HDF5 and JSON files.

NPZ and HDF5 files hold arrays with one row per pose (HDF5: as datasets of the root group):

    names           [n]              distinct strings
    joint_names     [joints]         strings, e.g. those of `metro_tf.skeleton`
    coords3d_cam    [n, joints, 3]   mm, frame of the camera
    coords2d        [n, joints, 2]   px
    frame_names     [frames]         strings, all frames looked at, where a frame may hold several
                                     people or none (MuPoTS, COCO)

and further columns `[n, ...]` of the protocol, such as `action`. Labels are NaN where missing;
predictions never are. JSON files hold the same as

    {"joint_names": ["pelv", ...],
     "entries": [{"name": "a", "coords3d_cam": [[0, 0, 3000], ...], "action": "Eating"}, ...]}

with null for missing numbers or joints.
"""

import dataclasses
import json
import pathlib
import zipfile

import h5py
import numpy as np

# Names in an error message.
_MAX_SHOWN = 5
_WITHOUT_ROWS = ('joint_names', 'frame_names')


@dataclasses.dataclass(frozen=True, eq=False)
class PoseTable:
    """Poses and what is known about them, row by row.

    Args:
        path: Where it comes from, for messages.
        names: Sequence of distinct strings, one per row.
        joint_names: Sequence of distinct strings.
        columns: Dict from name to array `[rows, ...]`. Names that start with `coords2d` or
            `coords3d` are coordinates, `[rows, joints, 2 or 3]`.
        frame_names: Sequence of distinct strings, all frames looked at, or None.

    Raises:
        ValueError: If names repeat or a shape does not fit. The message names the path.
    """
    path: str
    names: tuple
    joint_names: tuple
    columns: dict
    frame_names: tuple = None

    def __post_init__(self):
        for attribute in ('names', *_WITHOUT_ROWS):
            self._check_distinct(attribute)
        for name, values in self.columns.items():
            if values.shape[:1] != (len(self.names),):
                raise ValueError(
                    f'`{name}` must have one row for each of the {len(self.names)} names. '
                    f'Received: shape={values.shape} in {self.path}')
            if name.startswith(('coords2d', 'coords3d')):
                self._check_coords(name, values)

    @property
    def is_valid(self):
        """Boolean array `[rows]`: the column `is_valid`, or all where there is none."""
        if 'is_valid' not in self.columns:
            return np.ones(len(self.names), bool)
        return self.values('is_valid').astype(bool)

    def column(self, name):
        """A column.

        Raises:
            ValueError: If there is none of this name.
        """
        if name not in self.columns:
            raise ValueError(
                f'This protocol needs `{name}`. Received: {", ".join(sorted(self.columns))} '
                f'in {self.path}')
        return self.columns[name]

    def coords(self, name, joint_names):
        """Coordinates of some joints, float64 `[rows, joint_names, 2 or 3]`.

        Raises:
            ValueError: If there is no such column, or it lacks a joint.
        """
        missing = [joint for joint in joint_names if joint not in self.joint_names]
        if missing:
            raise ValueError(
                f'`joint_names` must contain {", ".join(joint_names)}. '
                f'Received: joints without {", ".join(missing)} in {self.path}')
        columns = [self.joint_names.index(joint) for joint in joint_names]
        return self.column(name).astype(np.float64)[:, columns]

    def predicted(self, name, joint_names):
        """Like `coords`, for predictions.

        Raises:
            ValueError: Also if one of these numbers is not finite. The message names the poses.
        """
        coords = self.coords(name, joint_names)
        self.check_rows(name, np.isfinite(coords).all(axis=(1, 2)), 'finite')
        return coords

    def values(self, name):
        """A column of one value per row, `[rows]`.

        Raises:
            ValueError: If there is no such column, or its rows have a shape.
        """
        values = self.column(name)
        if values.ndim != 1:
            raise ValueError(
                f'`{name}` must be one value per row. Received: shape={values.shape} '
                f'in {self.path}')
        return values

    def numbers(self, name):
        """A column of one number per row, float64 `[rows]`.

        Raises:
            ValueError: See `values`; also if one is not finite. The message names the rows.
        """
        numbers = self.values(name).astype(np.float64)
        self.check_rows(name, np.isfinite(numbers), 'finite')
        return numbers

    def texts(self, name):
        """A column of one text per row, an array of strings `[rows]`."""
        return self.values(name).astype(str)

    def check_rows(self, name, is_good, rule):
        """Checks rows of a column.

        Args:
            name: Of the column.
            is_good: Boolean array `[rows]`.
            rule: What a value must be.

        Raises:
            ValueError: If one is not good. The message names the rows.
        """
        if not is_good.all():
            bad = shown([self.names[row] for row in np.flatnonzero(~is_good)])
            raise ValueError(f'`{name}` must be {rule}. Received: others in {bad} in {self.path}')

    def take(self, rows):
        """The table of some rows, given by their indices."""
        return dataclasses.replace(
            self, names=tuple(self.names[row] for row in rows),
            columns={name: values[rows] for name, values in self.columns.items()})

    def _check_distinct(self, attribute):
        names = getattr(self, attribute)
        if names is not None and (doubles := _doubles(names)):
            raise ValueError(
                f'`{attribute}` must be distinct. Received: {shown(doubles)} more than once '
                f'in {self.path}')

    def _check_coords(self, name, values):
        wanted = (len(self.joint_names), int(name[len('coords')]))
        if values.shape[1:] != wanted or values.dtype.kind not in 'fiu':
            raise ValueError(
                f'`{name}` must be {wanted[0]} joints of {wanted[1]} numbers, as `joint_names` '
                f'says. Received: {values.dtype} {values.shape[1:]} in '
                f'{shown(self.names)} in {self.path}')


def read(path):
    """Reads a file of predictions or labels.

    Args:
        path: Path that ends with .npz, .h5, .hdf5 or .json; see the module for the form.

    Returns:
        `PoseTable`.

    Raises:
        ValueError: If the file cannot be read or has not this form. The message names it, and
            the pose where one is wrong.
    """
    readers = {'.npz': _read_npz, '.h5': _read_hdf5, '.hdf5': _read_hdf5, '.json': _read_json}
    suffix = pathlib.Path(path).suffix
    if suffix not in readers:
        raise ValueError(f'`path` must end with {", ".join(readers)}. Received: {path}')
    try:
        arrays = readers[suffix](path)
    except (OSError, TypeError, KeyError, EOFError, zipfile.BadZipFile, UnicodeDecodeError,
            json.JSONDecodeError) as error:
        raise ValueError(
            f'`path` must be a readable {suffix} file. Received: {path} ({error})') from error
    return _table(arrays, path)


def match(predictions, labels, allow_partial=False):
    """Pairs predictions and labels of the same name.

    Only labels with `is_valid` need a prediction; predictions for the others are ignored.

    Args:
        predictions, labels: `PoseTable`.
        allow_partial: Whether labels may lack a prediction and predictions a label.

    Returns:
        Tuple of both tables with the rows that are in both, in the order of the labels, and of a
        dict for the result: `n_labelled`, `n_scored` and `share` of labels, `n_unknown`
        predictions without a label.

    Raises:
        ValueError: If names differ and `allow_partial` is false, or no name is in both.
    """
    wanted = [name for name, is_valid in zip(labels.names, labels.is_valid) if is_valid]
    common, coverage = _common(
        predictions.names, wanted, labels.names, allow_partial, predictions.path, 'names')
    rows_pred = {name: row for row, name in enumerate(predictions.names)}
    rows_true = {name: row for row, name in enumerate(labels.names)}
    return (predictions.take([rows_pred[name] for name in common]),
            labels.take([rows_true[name] for name in common]), coverage)


def match_frames(predictions, labels, allow_partial=False):
    """Keeps the people of the frames that were both labelled and looked at.

    Args:
        predictions, labels: `PoseTable` with `frame_names` and a column `frame`.
        allow_partial: Whether frames may differ.

    Returns:
        Tuple of both tables restricted to people in these frames (labels: with `is_valid`), of
        the names of the frames, and of the dict of `match`, which counts frames.

    Raises:
        ValueError: See `match`; also if people are in a frame that is not in `frame_names`.
    """
    for table in (predictions, labels):
        _check_frames(table)
    frames, coverage = _common(
        predictions.frame_names, labels.frame_names, labels.frame_names, allow_partial,
        predictions.path, 'frame_names')
    is_kept_pred, is_kept_true = (
        np.isin(table.texts('frame'), frames) for table in (predictions, labels))
    return (predictions.take(np.flatnonzero(is_kept_pred)),
            labels.take(np.flatnonzero(is_kept_true & labels.is_valid)), frames, coverage)


def rows_of_frames(table, frames):
    """Rows of the people of each frame, in the order of the table, as a list of index arrays."""
    order = {frame: i for i, frame in enumerate(frames)}
    numbers = np.array([order[frame] for frame in table.texts('frame')], int)
    by_frame = np.argsort(numbers, kind='stable')
    return np.split(by_frame, np.searchsorted(numbers[by_frame], np.arange(1, len(frames))))


def with_labels(labels, version, name):
    """Labels with coordinates of another version, e.g. of an earlier release of the data.

    Args:
        labels: `PoseTable`.
        version: `PoseTable` with the same names and joints, in any order.
        name: The column of coordinates to take over.

    Raises:
        ValueError: If the names differ, or a joint is missing.
    """
    _common(version.names, labels.names, labels.names, False, version.path, 'names')
    rows = {version_name: row for row, version_name in enumerate(version.names)}
    coords = version.coords(name, labels.joint_names)[[rows[label] for label in labels.names]]
    return dataclasses.replace(
        labels, path=version.path, columns={**labels.columns, name: coords})


def shown(names):
    """The first names and how many there are, for a message."""
    names = list(names)
    text = ', '.join(map(repr, map(str, names[:_MAX_SHOWN])))
    more = len(names) - _MAX_SHOWN
    return f'{text} and {more} more ({len(names)} in all)' if more > 0 else text


def _common(found, wanted, known, allow_partial, path, what):
    """Names that are found and wanted, and the counts of `match`."""
    found_set, known_set = {*found}, {*known}
    common = [name for name in wanted if name in found_set]
    missing = [name for name in wanted if name not in found_set]
    unknown = [name for name in found if name not in known_set]
    if not allow_partial:
        problems = [f'{shown(names)} {problem}' for names, problem in (
            (missing, 'missing'), (unknown, 'unknown')) if names]
        if problems:
            raise ValueError(
                f'`{what}` must be those of the labels (or allow partial predictions). Received: '
                f'{"; ".join(problems)} in {path}')
    if not common:
        raise ValueError(f'`{what}` must have one of the labels. Received: none in {path}')
    return common, {
        'n_labelled': len(wanted), 'n_scored': len(common), 'share': len(common) / len(wanted),
        'n_unknown': len(unknown)}


def _check_frames(table):
    if table.frame_names is None:
        raise ValueError(
            'This protocol needs `frame_names`, all frames looked at. '
            f'Received: none in {table.path}')
    others = sorted({*table.texts('frame')} - {*table.frame_names})
    if others:
        raise ValueError(
            f'`frame` must be among `frame_names`. Received: {shown(others)} in {table.path}')


def _doubles(names):
    seen = set()
    return sorted({name for name in names if name in seen or seen.add(name)})


def _table(arrays, path):
    for name in ('names', 'joint_names'):
        if name not in arrays or arrays[name].ndim != 1:
            raise ValueError(f'`{name}` must be a list of strings. Received: {path} without one')
    texts = {
        name: tuple(arrays.pop(name).astype(str).tolist())
        for name in ('names', *_WITHOUT_ROWS) if name in arrays}
    return PoseTable(str(path), columns=arrays, **texts)


def _read_npz(path):
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, AttributeError) as error:  # pickled objects, a single array
        raise TypeError(str(error)) from error


def _read_hdf5(path):
    with h5py.File(path, 'r') as file:
        return {
            name: (dataset.asstr() if h5py.check_string_dtype(dataset.dtype) else dataset)[()]
            for name, dataset in file.items()}


def _read_json(path):
    document = json.loads(pathlib.Path(path).read_text('utf-8'))
    joint_names, entries = document['joint_names'], document['entries']
    names = [entry['name'] for entry in entries]
    arrays = {'names': np.array(names, str), 'joint_names': np.array(joint_names, str)}
    if 'frame_names' in document:
        arrays['frame_names'] = np.array(document['frame_names'], str)
    columns = sorted({key for entry in entries for key in entry} - {'name'})
    for column in columns:
        arrays[column] = _json_column(entries, column, len(joint_names), path)
    return arrays


def _json_column(entries, column, n_joints, path):
    """One array of the values of all entries."""
    is_coords = column.startswith(('coords2d', 'coords3d'))
    values = []
    for entry in entries:
        try:
            value = entry[column]
            values.append(_coords(value, n_joints, int(column[len('coords')])) if is_coords
                          else np.array(_without_null(value)))
            if values[-1].shape != values[0].shape or values[-1].dtype == object:
                raise ValueError('another shape than the others')
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'`{column}` must have one form in all entries. Received: {error} in '
                f'{entry["name"]!r} in {path}') from error
    return np.stack(values)


def _coords(joints, n_joints, n_coords):
    """Array `[joints, coords]` of a list of joints, each a list of numbers or None."""
    if len(joints) != n_joints:
        raise ValueError(f'{len(joints)} in place of {n_joints} joints')
    coords = np.array(
        [[np.nan] * n_coords if joint is None else _without_null(joint) for joint in joints],
        np.float64)
    return coords.reshape([n_joints, n_coords])


def _without_null(value):
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return np.nan if value is None else value
