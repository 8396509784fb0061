"""A folder of photos with one file of labels, `annotations.json` or `annotations.parquet`.

The format is described in docs/retraining.md. All rows are checked before any is used, so that
every mistake can be listed at once.

Quirks kept in here: photos are turned upright as their EXIF orientation says, so labels refer to
what a viewer shows; people without camera get the near-orthographic one that is used for 2D
labels everywhere; where a joint has both labels, the projection of its 3D label is stored in 2D.
"""

import dataclasses
import functools
import os
import pathlib
from typing import Optional

import numpy as np

from metro_tf import checks
from metro_tf.geometry import camera
from metro_tf.tools import images
from training.datasets import annotation_file
from training.datasets import example as example_lib
from training.datasets import labelled_person

# 2D labels may differ from the projection of the 3D labels by this part of the box's longer side.
TOLERANCE = 0.05
_JOINT_KEYS = ('skeleton', 'joint_names')
_TOP_KEYS = (*_JOINT_KEYS, 'people')
_N_COORDS = {'coords2d': 2, 'coords3d_cam': 3}
_ROW_KEYS = ('image', 'box', *_JOINT_KEYS, 'intrinsics', 'camera_up', *_N_COORDS)
_MIN_DEPTH_MM = 1.0
# Between any joints of a person; less means that the labels are in metres.
_MIN_EXTENT_MM = 10.0
# Larger numbers are no coordinates in px or mm, and would not fit into float32 everywhere.
_LIMIT = 1e8


@dataclasses.dataclass(frozen=True)
class Person:
    """A row that passed all checks. Joints are in the order of `joint_names`.

    Args:
        name: Image path and row number.
        path: Path of the photo.
        box: float64 array `[4]`: left, top, width, height, cut to the photo, px.
        coords2d: float64 array `[joints, 2]`, px in the photo, NaN where missing.
        intrinsics: float64 array `[3, 3]`, px, assumed where the row has none.
        camera_up: float64 array `[3]`, unit vector, or None.
        coords3d_cam: float64 array `[joints, 3]`, camera frame, mm, NaN where missing; None if
            all are missing.
        joint_names: Tuple of names out of the vocabulary of `metro_tf.skeleton`.
    """
    name: str
    path: pathlib.Path
    box: np.ndarray
    coords2d: np.ndarray
    intrinsics: np.ndarray
    camera_up: Optional[np.ndarray]
    coords3d_cam: Optional[np.ndarray]
    joint_names: tuple


def read_people(folder, progress=iter, annotations=None):
    """Reads and checks all rows, decoding every photo.

    Args:
        folder: Folder with the photos.
        progress: Function around the sequence of rows, which may show a bar.
        annotations: The annotation file; None finds it in the folder.

    Returns:
        List of `Person`, in the order of the rows.

    Raises:
        ValueError: If anything is wrong; the message has one line for every mistake, with the
            file and the row's number (from 1).
    """
    folder = pathlib.Path(folder)
    path = annotation_file.locate(folder, annotations)
    top = annotation_file.read(path)
    top_names, top_mistakes = _read_top(top)
    mistakes = [f'{path.name}: {mistake}' for mistake in top_mistakes]
    photo_size = functools.lru_cache(maxsize=None)(_photo_size)
    people, first_rows = [], {}
    for number, row in enumerate(progress(top['people']), 1):
        person, row_mistakes = _read_row(row, number, folder, top_names, photo_size)
        first = first_rows.setdefault(_identity(row) or number, number)
        if first != number:
            row_mistakes.append(f'repeats row {first}: the same image and box')
        mistakes += [f'{path.name}, row {number}: {mistake}' for mistake in row_mistakes]
        people.append(person)
    if mistakes:
        raise ValueError('\n'.join(mistakes))
    return people


def to_example(person):
    """Cuts the window around a person out of the photo.

    Args:
        person: `Person`.

    Returns:
        `Example` whose image, joints, box and intrinsics belong to the window.
    """
    return labelled_person.cut_out(
        images.read_image(person.path), person.name, person.joint_names, person.box,
        person.coords2d, person.intrinsics, coords3d_cam=person.coords3d_cam,
        camera_up=person.camera_up)


def _read_top(top):
    """Joint names for rows without their own, and the list of what is wrong outside of the rows.

    The names are None where none are given, and () where they are wrong, which is told once.
    """
    mistakes = _capture(_check_keys, top, _TOP_KEYS)[1]
    names, name_mistakes = _capture(_given_names, top)
    mistakes += name_mistakes
    if not top['people']:
        mistakes.append('`people` must have a row for every person. Received: no rows')
    return () if name_mistakes else names, mistakes


def _read_row(row, number, folder, top_names, photo_size):
    """Returns the row's `Person`, None if it cannot be made, and the list of its mistakes."""
    if not isinstance(row, dict):
        return None, [f'a row must be an object. Received: {annotation_file.short(row)}']
    mistakes = []

    def attempt(function, *args):
        value, new_mistakes = _capture(function, *args)
        mistakes.extend(new_mistakes)
        return value

    attempt(_check_keys, row, _ROW_KEYS)
    path = attempt(_photo_path, row, folder)
    size = path and attempt(photo_size, path)
    box = attempt(_box, row, size)
    intrinsics = attempt(_intrinsics, row)
    camera_up = attempt(_camera_up, row)
    attempt(_check_presence, row)
    joint_names = attempt(_joint_names, row, top_names)
    coords2d, coords3d = [attempt(_joints, row, key, joint_names) for key in _N_COORDS]
    if mistakes or not joint_names:
        return None, mistakes
    if intrinsics is None:
        intrinsics = labelled_person.pseudo_intrinsics(size[::-1])
    projected = camera.project(coords3d, intrinsics).numpy()
    attempt(_check_agreement, coords2d, projected, box, joint_names)
    merged = np.where(np.isfinite(projected), projected, coords2d)
    attempt(_check_place, merged, box)
    person = Person(
        f'{row["image"]} row {number}', path, box, merged, intrinsics, camera_up,
        coords3d if np.isfinite(coords3d).any() else None, joint_names)
    return person, mistakes


def _capture(function, *args):
    """Result and list of at most one mistake: the text of a `ValueError` in place of a result."""
    try:
        return function(*args), []
    except ValueError as error:
        return None, [str(error)]


def _identity(row):
    """What must not occur twice; None where it is not given."""
    if not isinstance(row, dict) or row.get('image') is None or row.get('box') is None:
        return None
    return os.path.normpath(str(row['image'])), str(row['box'])


def _check_keys(values, allowed):
    """Checks the keys of an object; those that start with an underscore are the user's own."""
    unknown = [key for key in values if key not in allowed and not key.startswith('_')]
    if unknown:
        raise ValueError(f'keys must be among {list(allowed)}. Received: {unknown}')


def _check_presence(row):
    """Checks that there are labels, and a camera for labels in 3D."""
    given = {
        key: _numbers(row[key], n_coords) for key, n_coords in _N_COORDS.items()
        if row.get(key) is not None}
    # Ill-formed labels count as given here, since they are reported elsewhere.
    given = [key for key, value in given.items() if value is None or np.isfinite(value).any()]
    if not given:
        raise ValueError(
            '`coords2d` or `coords3d_cam` must have a labelled joint. Received: none')
    if 'coords3d_cam' in given and row.get('intrinsics') is None:
        raise ValueError(
            '`intrinsics` must be given with `coords3d_cam`. Received: intrinsics=None')


def _photo_path(row, folder):
    """Path of the photo, which must not lead out of the folder."""
    name = row.get('image')
    if not isinstance(name, str) or not name:
        raise ValueError(
            '`image` must be a path relative to the folder. '
            f'Received: image={annotation_file.short(name)}')
    if os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir:
        raise ValueError(f'`image` must not lead out of the folder. Received: image={name!r}')
    return folder / name


def _photo_size(path):
    """Width and height of a photo, after decoding it."""
    height, width = images.read_image(path).shape[:2]
    return width, height


def _box(row, size):
    """The box, cut to the photo where its size is known."""
    box = _numbers(row.get('box'), 4)
    if box is None or box.shape != (4,) or not _are_coordinates(box):
        raise ValueError(
            '`box` must be four finite numbers: left, top, width, height in px. '
            f'Received: box={annotation_file.short(row.get("box"))}')
    if not np.all(box[2:] > 0):
        raise ValueError(f'`box` must have positive width and height. Received: box={row["box"]}')
    if size is None:
        return box
    cut = labelled_person.within_photo(box, size[::-1])
    if cut is None:
        raise ValueError(
            '`box` must overlap the photo by at least 1 px. '
            f'Received: box={row["box"]}, photo of {size[0]} x {size[1]} px')
    return cut


def _intrinsics(row):
    """The camera matrix, None where it is missing."""
    if row.get('intrinsics') is None:
        return None
    matrix = _numbers(row['intrinsics'], 3)
    is_fine = (
        matrix is not None and matrix.shape == (3, 3) and _are_coordinates(matrix)
        and matrix[0, 0] > 0 and matrix[1, 1] > 0 and matrix[1, 0] == 0
        and np.array_equal(matrix[2], [0, 0, 1]))
    if not is_fine:
        raise ValueError(
            '`intrinsics` must be finite numbers [[fx, skew, cx], [0, fy, cy], [0, 0, 1]] in px '
            'with positive fx and fy. '
            f'Received: intrinsics={annotation_file.short(row["intrinsics"])}')
    return matrix


def _camera_up(row):
    """The unit vector that points up, None where it is missing."""
    if row.get('camera_up') is None:
        return None
    vector = _numbers(row['camera_up'], 3)
    if vector is None or vector.shape != (3,) or not _are_coordinates(vector) or not vector.any():
        raise ValueError(
            '`camera_up` must be three finite numbers, not all zero. '
            f'Received: camera_up={annotation_file.short(row["camera_up"])}')
    return vector / np.linalg.norm(vector)


def _given_names(values):
    """Names of the joints that a row, or the top, gives; None where it gives none."""
    given = [key for key in _JOINT_KEYS if values.get(key) is not None]
    if len(given) > 1:
        raise ValueError(
            '`skeleton` and `joint_names` must not both be given. Received: ' + ', '.join(
                f'{key}={annotation_file.short(values[key])}' for key in _JOINT_KEYS))
    if given == ['skeleton']:
        known = example_lib.SKELETONS
        return known[checks.one_of(values['skeleton'], list(known), 'skeleton')]
    return example_lib.check_joint_names(values['joint_names']) if given else None


def _joint_names(row, top_names):
    """Names of the row's joints; () where those at the top are wrong."""
    names = _given_names(row)
    if names is None and top_names is None:
        raise ValueError(
            f'`skeleton`, one of {sorted(example_lib.SKELETONS)}, or `joint_names` must be given '
            'in the row or at the top. Received: neither')
    return top_names if names is None else names


def _joints(row, key, joint_names):
    """Labels of the row's joints; all NaN where the row has none."""
    n_coords, names = _N_COORDS[key], joint_names or ()
    if row.get(key) is None or not names:
        return np.full([len(names), n_coords], np.nan)
    coords = _numbers(row[key], n_coords)
    if coords is None or coords.shape != (len(names), n_coords):
        received = (
            annotation_file.short(row[key]) if coords is None
            else f'an array of shape {coords.shape}')
        raise ValueError(
            f'`{key}` must be {n_coords} numbers for each of the {len(names)} joints of '
            f'{_source_of(names)}, null for a missing joint. Received: {received}')
    coords[np.isnan(coords).any(axis=1)] = np.nan
    is_given = ~np.isnan(coords[:, 0])
    _refuse(key, 'be finite', names, coords, is_given & ~(np.abs(coords) < _LIMIT).all(axis=1))
    if key == 'coords3d_cam':
        _refuse(key, f'be in front of the camera (z of at least {_MIN_DEPTH_MM:g} mm)', names,
                coords, is_given & ~(coords[:, 2] >= _MIN_DEPTH_MM))
        extent = np.ptp(coords[is_given], axis=0).max() if is_given.sum() > 1 else np.inf
        if extent < _MIN_EXTENT_MM:
            raise ValueError(
                f'`{key}` must be in mm. Received: joints within {extent:.3g} mm of each other')
    return coords


def _source_of(joint_names):
    """What joint names are from, for error messages."""
    known = [repr(name) for name, names in example_lib.SKELETONS.items() if names == joint_names]
    return known[0] if known else '`joint_names`'


def _refuse(key, rule, names, coords, is_wrong):
    """Raises an error that lists the wrong joints, if there are any."""
    if is_wrong.any():
        wrong = ', '.join(f'{names[i]} {coords[i].tolist()}' for i in np.flatnonzero(is_wrong))
        raise ValueError(f'`{key}` must {rule}. Received: {wrong}')


def _check_agreement(coords2d, projected, box, joint_names):
    """Checks 2D labels against the projection of the 3D labels."""
    distances = np.nan_to_num(np.linalg.norm(coords2d - projected, axis=1))
    worst, limit = int(np.argmax(distances)), TOLERANCE * max(box[2:])
    if distances[worst] > limit:
        raise ValueError(
            '`coords2d` must agree with the projection of `coords3d_cam` within '
            f'{limit:.1f} px ({TOLERANCE:.0%} of the box). Received: '
            f'{joint_names[worst]} is {distances[worst]:.1f} px off')


def _check_place(coords2d, box):
    """Checks that a joint lies in or near the box."""
    distances = np.abs(coords2d - (box[:2] + box[2:] / 2))
    if not np.any(np.all(distances < box[2:], axis=1)):
        raise ValueError(
            '`box` must surround the person. Received: every joint lies far outside of '
            f'{np.round(box, 1).tolist()}')


def _numbers(value, n_columns):
    """Float64 array of a list of numbers or rows, NaN for null; None if ill-formed."""
    if isinstance(value, list):
        value = [[None] * n_columns if row is None else row for row in value]
    try:
        return np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None


def _are_coordinates(values):
    """Whether all are finite and of a size that px and mm can have."""
    return bool(np.all(np.abs(values) < _LIMIT))
