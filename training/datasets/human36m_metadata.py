"""Human3.6M's `metadata.xml`: the names of the takes, their lengths and the cameras.

Quirks kept in here: the names of the takes follow no rule, so they are read from the file's table;
cameras are given by three angles and their centre; the lens is the data set's own variant (see
`photo_camera.PhotoCamera`).
"""

import dataclasses
from xml.etree import ElementTree

import numpy as np

from training.datasets import photo_camera

CAMERAS = ('54138969', '55011271', '58860488', '60457274')
# Actions 2 to 16; the first is a calibration take that nobody uses.
ACTIONS = (
    'Directions', 'Discussion', 'Eating', 'Greeting', 'Phoning', 'Posing', 'Purchases', 'Sitting',
    'SittingDown', 'Smoking', 'TakingPhoto', 'Waiting', 'Walking', 'WalkingDog', 'WalkingTogether')
_FIRST_ACTION_ID = 2
_N_SUBJECTS = 11
_N_EXTRINSICS, _N_INTRINSICS = 6, 9
_TANGENTIAL_FACTOR = 1.0


@dataclasses.dataclass(frozen=True)
class Take:
    """A recording of one action, seen by all cameras.

    Args:
        subject: E.g. 'S1'.
        action: One of `ACTIONS`.
        subaction: 1 or 2.
        name: Base of the file names, e.g. 'Directions 1'.
        n_frames: Number of video frames, or 0 if the metadata do not tell.
    """
    subject: str
    action: str
    subaction: int
    name: str
    n_frames: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Metadata:
    """What `metadata.xml` tells.

    Args:
        takes: Tuple of `Take`s, all subjects and actions.
        cameras: Dict from pairs of subject and camera to `photo_camera.PhotoCamera`.
    """
    takes: tuple
    cameras: dict


def read(path):
    """Reads `metadata.xml`.

    Args:
        path: Path of the file.

    Returns:
        `Metadata`.

    Raises:
        ValueError: If the file is missing, damaged or lacks something.
    """
    try:
        root = ElementTree.parse(path).getroot()
        return Metadata(tuple(_takes(root)), dict(_cameras(root)))
    except (
            OSError, ElementTree.ParseError, AttributeError, LookupError, TypeError,
            ValueError) as error:
        raise ValueError(f'{path} must be the metadata of Human3.6M. Received: {error}') from error


def _takes(root):
    """Iterator over the takes, subject by subject."""
    header, *rows = [[cell.text or '' for cell in row] for row in root.find('mapping')]
    lengths = [[_last_number(cell.text) for cell in row] for row in root.find('frames')]
    for i_column, subject in enumerate(header[2:], 2):
        for i_row, row in enumerate(rows, 1):
            action_id = int(row[0]) if row[0].strip().isdigit() else 0
            if action_id >= _FIRST_ACTION_ID and row[i_column].strip():
                yield Take(
                    subject.strip(), ACTIONS[action_id - _FIRST_ACTION_ID], int(row[1]),
                    row[i_column].strip(), lengths[i_column - 2][i_row])


def _last_number(text):
    """Frames of one camera out of a text like '[1383 1383 1383 1383 5532]', or 0."""
    numbers = (text or '').strip().strip('[]').split()
    return int(numbers[0]) if numbers and numbers[0].isdigit() else 0


def _cameras(root):
    """Iterator over pairs of (subject, camera) and `PhotoCamera`."""
    numbers = np.array(root.find('w0').text.strip().strip('[]').split(), np.float64)
    n_extrinsics = len(CAMERAS) * _N_SUBJECTS * _N_EXTRINSICS
    if len(numbers) != n_extrinsics + len(CAMERAS) * _N_INTRINSICS:
        raise ValueError(f'`w0` must hold 300 numbers. Received: {len(numbers)}')
    extrinsics = numbers[:n_extrinsics].reshape(len(CAMERAS), _N_SUBJECTS, _N_EXTRINSICS)
    intrinsics = numbers[n_extrinsics:].reshape(len(CAMERAS), _N_INTRINSICS)
    for i_camera, name in enumerate(CAMERAS):
        for i_subject in range(_N_SUBJECTS):
            yield (f'S{i_subject + 1}', name), make_camera(
                extrinsics[i_camera, i_subject], intrinsics[i_camera])


def make_camera(extrinsics, intrinsics):
    """`photo_camera.PhotoCamera` from the numbers of the metadata.

    Args:
        extrinsics: Float array `[6]`: three angles in radians, and the centre in mm.
        intrinsics: Float array `[9]`: fx, fy, cx, cy, k1, k2, k3, p1, p2.
    """
    angles, center = extrinsics[:3], extrinsics[3:]
    rotation = _elementary(0, angles[0]) @ _elementary(1, angles[1]) @ _elementary(2, angles[2])
    fx, fy, cx, cy, k1, k2, k3, p1, p2 = intrinsics
    return photo_camera.PhotoCamera(
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), rotation, -rotation @ center,
        (k1, k2, p1, p2, k3), tangential_factor=_TANGENTIAL_FACTOR)


def _elementary(axis, angle):
    """Right-handed rotation about an axis, `[3, 3]`."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    result = np.eye(3)
    result[first, first] = result[second, second] = np.cos(angle)
    result[first, second], result[second, first] = -np.sin(angle), np.sin(angle)
    return result
