"""CMU Panoptic Studio: groups of people seen by HD cameras all around them (Joo et al. 2015).

Quirks kept in here: labels and positions of cameras are in centimetres, and the world's y axis
points down; joints that were not detected have confidence -1 and zeros; labels belong to frames of
the HD videos by number, and early frames have none; some videos are known to be missing or broken.
"""

import dataclasses
import functools
import json
import pathlib

import numpy as np

from metro_tf import skeleton
from training.datasets import labelled_person, photo_camera, reader

MIN_CONFIDENCE = 0.1
JOINT_NAMES = skeleton.vocabulary_names('coco_19')
# Pairs of sequence and camera whose video is missing or broken at the source.
BROKEN_VIDEOS = (
    ('160906_band3', '00_03'), ('171204_pose3', '00_20'), ('171204_pose4', '00_20'),
    ('171204_pose5', '00_20'), ('160422_haggling1', '00_20'))
_MM_PER_CM = 10.0
_LABELS_DIR = 'hdPose3d_stage1_coco19'
_LABELS_NAME = 'body3DScene_{:08d}.json'
_MIN_DEPTH_MM = 100.0
_MIN_JOINTS = 4


@dataclasses.dataclass(frozen=True)
class PanopticReader(reader.DatasetReader):
    """CMU Panoptic: HD videos; an item is a video, a frame gives an example for each person.

    People behind a camera or outside its picture are left out, which is told with their number;
    so are people with fewer than four joints. Whether somebody stands in front of a person is not
    known: all joints inside the picture count as visible.

    Args:
        source_dir: Folder that holds the sequences' folders.
        cameras: Numbers of the HD cameras. The default is what MeTRAbs used.
        sequences: Names of sequences, none for all that are there.
        step: Every so many-th frame is read, counted from frame 0 of the video.
    """
    source_dir: str
    cameras: tuple = (3, 5, 9, 15, 18, 20, 22, 23, 24)
    sequences: tuple = ()
    step: int = 10

    NAME = 'panoptic'
    CONVENTION = 'coco_19'

    def __post_init__(self):
        if not self.cameras or not all(0 <= number <= 30 for number in self.cameras):
            raise ValueError(
                f'`cameras` must be numbers from 0 to 30. Received: cameras={self.cameras}')
        reader.check_step(self.step)

    def items(self, report):
        """One item for each sequence and camera, see `DatasetReader.items`."""
        root = pathlib.Path(self.source_dir)
        found = sorted(path.parent.name for path in root.glob(f'*/{_LABELS_DIR}'))
        missing = sorted(set(self.sequences) - set(found))
        if not found or missing:
            raise ValueError(
                f'`source_dir` must hold SEQUENCE/{_LABELS_DIR}. Received: {self.source_dir}, '
                f'sequences {found}' + (f' without {missing}' if missing else ''))
        items = []
        for sequence in self.sequences or found:
            frames = self._labelled_frames(root / sequence, report)
            for camera in [f'00_{number:02d}' for number in self.cameras]:
                path = root / sequence / 'hdVideos' / f'hd_{camera}.mp4'
                if (sequence, camera) in BROKEN_VIDEOS:
                    report(reader.Problem(
                        str(path), '', 'known to be broken, left out', is_expected=True))
                elif frames:
                    items.append(reader.Item(
                        f'{sequence}/hd_{camera}', len(frames), (sequence, camera, frames)))
        return tuple(items)

    def _labelled_frames(self, folder, report):
        """Numbers of the wanted frames that have labels; gaps between them are reported."""
        paths = sorted((folder / _LABELS_DIR).glob('body3DScene_*.json'))
        numbers = [int(path.stem.rsplit('_', 1)[1]) for path in paths]
        wanted = [number for number in numbers if not number % self.step]
        if not wanted:
            report(reader.Problem(str(folder / _LABELS_DIR), '', 'holds no wanted frame'))
            return ()
        gaps = sorted(set(range(wanted[0], wanted[-1], self.step)) - set(wanted))
        reader.report_frames(folder / _LABELS_DIR, gaps, 'missing, left out', report)
        return tuple(wanted)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        sequence, camera_name, frames = item.content
        folder = pathlib.Path(self.source_dir) / sequence
        try:
            camera = read_camera(folder / f'calibration_{sequence}.json', camera_name)
        except ValueError as error:
            report(reader.Problem(
                str(folder / f'calibration_{sequence}.json'), f'camera {camera_name}', str(error)))
            return
        pinhole = dataclasses.replace(camera, distortion=None)
        n_outside = 0
        videos = reader.video_frames(
            folder / 'hdVideos' / f'hd_{camera_name}.mp4', frames, report)
        for i_frame, photo in videos:
            path = folder / _LABELS_DIR / _LABELS_NAME.format(i_frame)
            photo = camera.undistort_photo(photo)
            for body_id, coords3d in read_people(path, report):
                name = f'{item.name}/{i_frame:08d} person {body_id}'
                example = _example(photo, name, coords3d, pinhole)
                if example is None:
                    n_outside += 1
                else:
                    yield example
        if n_outside:
            report(reader.Problem(
                str(folder / _LABELS_DIR), f'camera {camera_name}',
                f'{n_outside} times, a person is outside the picture or has fewer than '
                f'{_MIN_JOINTS} joints, left out', is_expected=True))


@functools.lru_cache(maxsize=8)
def _read_cameras(path):
    """Dict from the names of cameras to what the calibration file tells about them."""
    try:
        cameras = json.loads(pathlib.Path(path).read_text())['cameras']
        return {camera['name']: camera for camera in cameras if camera['type'] == 'hd'}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            'the file must hold a list `cameras` of objects with `name` and `type`. '
            f'Received: {type(error).__name__}: {error}') from None


def read_camera(path, name):
    """Reads an HD camera of a calibration file.

    Args:
        path: Path of `calibration_{sequence}.json`.
        name: Name of the camera, e.g. '00_03'.

    Returns:
        `photo_camera.PhotoCamera`, mm.

    Raises:
        ValueError: If the file is missing or damaged, or lacks the camera.
    """
    cameras = _read_cameras(str(path))
    if name not in cameras:
        raise ValueError(f'the file must hold the HD camera. Received: {sorted(cameras)}')
    fields = cameras[name]
    try:
        arrays = [
            np.array(fields[key], np.float64).reshape(shape)
            for key, shape in (('K', (3, 3)), ('R', (3, 3)), ('t', 3), ('distCoef', 5))]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            'the camera must have numbers K [3, 3], R [3, 3], t [3] and distCoef [5]. '
            f'Received: {type(error).__name__}: {error}') from None
    intrinsics, rotation, translation, distortion = arrays
    return photo_camera.PhotoCamera(
        intrinsics, rotation, translation * _MM_PER_CM, tuple(distortion))


def read_people(path, report):
    """Reads the people of a frame.

    Args:
        path: Path of a `body3DScene` file.
        report: Function that takes a `reader.Problem`, about what is damaged and left out.

    Returns:
        List of pairs of a person's number, which is the same in all frames, and float array
        `[19, 3]`: world frame, mm, NaN for joints that were not detected.
    """
    try:
        bodies = json.loads(path.read_text())['bodies']
        rows = [(int(body['id']), np.array(body['joints19'], np.float64)) for body in bodies]
    except (OSError, ValueError, KeyError, TypeError) as error:
        report(reader.Problem(
            str(path), '', f'damaged, left out. {type(error).__name__}: {error}'))
        return []
    people = {}
    for body_id, values in rows:
        if values.shape != (4 * len(JOINT_NAMES),) or body_id in people:
            text = 'occurs twice' if body_id in people else (
                f'must have {4 * len(JOINT_NAMES)} numbers but has shape {values.shape}')
            report(reader.Problem(str(path), f'person {body_id}', f'{text}, left out'))
            continue
        values = values.reshape(-1, 4)
        is_detected = values[:, 3:] > MIN_CONFIDENCE
        people[body_id] = np.where(is_detected, values[:, :3] * _MM_PER_CM, np.nan)
    return list(people.items())


def _example(photo, name, coords3d_world, camera):
    """The example of a person, or None if the camera does not see enough of them."""
    coords3d_cam = camera.to_camera_frame(coords3d_world)
    if np.isfinite(coords3d_cam[:, 2]).sum() < _MIN_JOINTS:
        return None
    if np.nanmin(coords3d_cam[:, 2]) < _MIN_DEPTH_MM:
        return None
    return labelled_person.to_example(
        photo, name, JOINT_NAMES, coords3d_cam=coords3d_cam, camera=camera,
        camera_up=camera.direction_in_camera_frame([0, -1, 0]))
