"""Human3.6M as two well-known projects store it: VideoPose3D's archive, h36m-fetch's folders.

Quirks kept in here: VideoPose3D stores world coordinates in metres, renames two actions and lacks
one take; it has no cameras and pictures, which still come from the data set. h36m-fetch stores a
part of the frames as pictures, with coordinates in the camera frame, and cameras fitted without
lens distortion; its frames count from 1.
"""

import dataclasses
import functools
import pathlib

import h5py
import numpy as np

from metro_tf import skeleton
from training.datasets import human36m
from training.datasets import human36m_metadata as metadata_lib
from training.datasets import labelled_person, photo_camera, reader, restricted_pickle

_MM_PER_M = 1000.0
_NEW_NAMES = {'TakingPhoto': 'Photo', 'WalkingDog': 'WalkDog'}
_MISSING_TAKE = ('S11', 'Directions', 2)
_FETCH_KEYS = ('pose/3d', 'frame', 'camera')
_JOINT_NAMES = skeleton.CONVENTIONS['h36m_25'].joint_names
# Cameras without known direction are assumed level: up in the world is up in the picture.
_LEVEL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


@dataclasses.dataclass(frozen=True)
class Human36MVideoPoseReader(human36m.Human36MReader):
    """Reads the poses of VideoPose3D's archive, and metadata.xml and the videos of Human3.6M.

    Args:
        poses_file: Path of the archive within `source_dir`.
    """
    poses_file: str = 'data_3d_h36m.npz'

    NAME = 'human36m_videopose3d'

    def _is_damaged(self, take, camera):
        return human36m.take_key(take) == _MISSING_TAKE

    def _read_poses(self, take, report):
        path = pathlib.Path(self.source_dir, self.poses_file)
        name = functools.reduce(
            lambda text, old: text.replace(old, _NEW_NAMES[old]), _NEW_NAMES, take.name)
        try:
            poses = read_archive(path)[take.subject][name]
        except KeyError:
            report(reader.Problem(str(path), f'{take.subject} {name}', 'missing'))
            return None
        except ValueError as error:
            report(reader.Problem(str(path), '', f'{error}; left out'))
            return None
        if poses.ndim != 3 or poses.shape[1:] != (human36m.N_STORED_JOINTS, 3):
            report(reader.Problem(
                str(path), f'{take.subject} {name}',
                f'has shape {poses.shape} instead of (frames, 32, 3), left out'))
            return None
        return poses[:, human36m.JOINTS].astype(np.float64) * _MM_PER_M


@functools.lru_cache(maxsize=1)
def read_archive(path):
    """Reads `data_3d_h36m.npz`, which takes 0.2 GB of memory, and 0.6 GB meanwhile.

    Args:
        path: Path of the file.

    Returns:
        Dict from subject to dict from take to float array `[frames, 32, 3]`, world frame, m.

    Raises:
        ValueError: If the file is missing or damaged, or holds something else.
    """
    positions = restricted_pickle.load_npz(path).get('positions_3d')
    if not isinstance(positions, np.ndarray) or positions.shape != () or not isinstance(
            positions.item(), dict):
        raise ValueError(f'{path} must hold the dict `positions_3d`. Received: {positions}')
    return positions.item()


@dataclasses.dataclass(frozen=True)
class Human36MFetchReader(reader.DatasetReader):
    """Reads the folders that h36m-fetch makes of Human3.6M.

    An item is a take with all cameras. If `source_dir` or the folder around it holds metadata.xml,
    cameras have their lens and the direction of up; else they are as h36m-fetch fitted them.

    Args:
        source_dir: Folder that holds the subjects, called processed by h36m-fetch.
        split: 'train' (S1, S5 to S8) or 'test' (S9, S11).
        subjects: Names of subjects like S1 S5, instead of those of the split.
        cameras: Names of the cameras to read.
        correct_s9: Whether the three shifted takes of S9 are moved back, for which metadata.xml is
            needed; without it they are left out.
    """
    source_dir: str
    split: str = 'train'
    subjects: tuple = ()
    cameras: tuple = metadata_lib.CAMERAS
    correct_s9: bool = True

    NAME = 'human36m_fetch'
    CONVENTION = 'h36m_25'

    def __post_init__(self):
        human36m.check_choice(self)

    def items(self, report):
        """One item for each take, see `DatasetReader.items`."""
        chosen = human36m.chosen_subjects(self)
        folder = reader.existing_dir(self.source_dir, chosen)
        cameras = _metadata_cameras(folder)
        items = []
        for subject in human36m.existing_subjects(folder, chosen, report):
            for path in sorted((folder / subject).iterdir()):
                action, _, subaction = path.name.rpartition('-')
                if action not in metadata_lib.ACTIONS or not subaction.isdigit():
                    report(reader.Problem(str(path), '', 'no folder of a take, left out'))
                    continue
                take = metadata_lib.Take(subject, action, int(subaction), path.name)
                content = take, {name: cameras.get((subject, name)) for name in self.cameras}
                items.append(reader.Item(
                    f'{subject}/{path.name}', _n_rows(path / 'annot.h5'), content))
        return tuple(items)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        take, cameras = item.content
        folder = pathlib.Path(self.source_dir, take.subject, take.name)
        try:
            rows, fitted = read_annotations(folder / 'annot.h5')
        except ValueError as error:
            report(reader.Problem(str(folder / 'annot.h5'), '', f'{error}; left out'))
            return
        for name, metadata_camera in cameras.items():
            camera = metadata_camera or fitted.get(name)
            is_shifted = self.correct_s9 and human36m.is_shifted(take)
            problem = functools.partial(
                reader.Problem, str(folder / 'annot.h5'), f'camera {name}')
            if camera is None:
                report(problem('missing, its frames are left out'))
            elif is_shifted and not metadata_camera:
                report(problem('cannot be moved back without metadata.xml, left out'))
            else:
                shift = camera.direction_in_camera_frame(human36m.SHIFT_MM) * is_shifted
                frames = _distinct_frames(rows, name, lambda text: report(problem(text)))
                moved = {i_frame: coords3d + shift for i_frame, coords3d in frames.items()}
                yield from _camera_examples(
                    folder / 'imageSequence' / name, f'{item.name}/{name}', moved, camera, report)

    def expected_counts(self):
        """See `DatasetReader.expected_counts`."""
        return {'items': len(human36m.chosen_subjects(self)) * 2 * len(metadata_lib.ACTIONS)}


def read_annotations(path):
    """Reads an `annot.h5` file.

    Args:
        path: Path of the file.

    Returns:
        List of triples of a camera's name, a frame number from 1 and coordinates, float array
        `[25, 3]`, camera frame, mm; and a dict from a camera's name to the fitted
        `photo_camera.PhotoCamera`.

    Raises:
        ValueError: If the file is missing, damaged or lacks something.
    """
    try:
        with h5py.File(path, 'r') as file:
            coords3d, frames, names = (file[key][:] for key in _FETCH_KEYS)
            fitted = {name: values[:] for name, values in file['intrinsics'].items()}
    except (OSError, KeyError) as error:
        raise ValueError(f'missing or damaged: {error}') from error
    if coords3d.shape != (len(frames), human36m.N_STORED_JOINTS, 3) or len(names) != len(frames):
        raise ValueError(
            '`pose/3d`, `frame` and `camera` must have shapes (n, 32, 3), (n) and (n). '
            f'Received: {coords3d.shape}, {frames.shape}, {names.shape}')
    coords3d = coords3d[:, human36m.JOINTS].astype(np.float64)
    return list(zip(map(_text, names), map(int, frames), coords3d)), {
        name: photo_camera.PhotoCamera(
            np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), _LEVEL)
        for name, (fx, cx, fy, cy) in fitted.items()}


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def _n_rows(path):
    """Number of rows of an `annot.h5` file, 0 if it is missing or damaged."""
    try:
        with h5py.File(path, 'r') as file:
            return len(file['frame'])
    except (OSError, KeyError):
        return 0


def _metadata_cameras(folder):
    """Dict of cameras of `metadata.xml`, empty without that file."""
    for path in (folder / 'metadata.xml', folder.resolve().parent / 'metadata.xml'):
        if path.is_file():
            return metadata_lib.read(path).cameras
    return {}


def _distinct_frames(rows, camera_name, report_text):
    """Dict from the numbers of a camera's frames to their coordinates."""
    frames, doubles = {}, set()
    for name, i_frame, coords3d in rows:
        if name == camera_name and frames.setdefault(i_frame, coords3d) is not coords3d:
            doubles.add(i_frame)
    if doubles:
        report_text(
            f'{reader.frames_text(sorted(doubles))} there more than once; the first is taken')
    return frames


def _camera_examples(folder, name, frames, camera, report):
    """Iterator over the examples of a camera, whose pictures are in a folder."""
    outside = []
    for i_frame, coords3d in sorted(frames.items()):
        photo = reader.read_photo(folder / f'img_{i_frame:06d}.jpg', report)
        if photo is None:
            continue
        example = labelled_person.to_example(
            photo, f'{name}/{i_frame:06d}', _JOINT_NAMES, coords3d_cam=coords3d, camera=camera,
            camera_up=camera.direction_in_camera_frame(human36m.WORLD_UP))
        if example is None:
            outside.append(i_frame)
        else:
            yield example
    reader.report_frames(folder, outside, human36m.OUTSIDE, report)
