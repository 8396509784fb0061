"""HumanEva-I: three people in a laboratory, seen by video cameras and motion capture (Sigal 2010).

What is read: videos, `.cal`, `.ofs`, `.mp`, and the motion capture from the `.mat` files that the
data set's own software makes, or else from the `.c3d` files.

Quirks kept in here: videos and capture run at 60 and 120 Hz with offsets of their own, so the
numbers of the official partition count on a common time, see `read_timeline`; frame numbers start
with 1; frames with lost markers have no labels; the capture of S3 ThrowCatch is damaged; the head
of S3 Walking is wrong. The world has z up and mm.
"""

import dataclasses
import pathlib
import re

import numpy as np
import scipy.io

from metro_tf import checks, skeleton
from training.datasets import c3d, humaneva_body, labelled_person, photo_camera, reader

SPLITS = ('train', 'validation')
SUBJECTS = ('S1', 'S2', 'S3')
# Frames of trial 1 on the common time: validation 6..a, training a+1..b.
PARTITION = {
    'Walking': ((590, 1203), (438, 876), (448, 939)),
    'Jog': ((367, 740), (398, 795), (401, 842)),
    'ThrowCatch': ((473, 945), (550, 1128), (493, 1027)),
    'Gestures': ((395, 801), (500, 901), (533, 1102)),
    'Box': ((385, 789), (382, 734), (512, 1021))}
_JOINT_NAMES = skeleton.vocabulary_names('humaneva_15')
_FIRST_FRAME = 6
_TRIAL = 1
_WITHOUT_MOCAP = (('S3', 'ThrowCatch'),)
_WITHOUT_HEAD = (('S3', 'Walking'),)
_ALL_CAMERAS = ('C1', 'C2', 'C3', 'BW1', 'BW2', 'BW3', 'BW4')


@dataclasses.dataclass(frozen=True)
class HumanEvaReader(reader.DatasetReader):
    """HumanEva-I: trial 1 of every action, which has both videos and labels; an item is a video.

    Args:
        source_dir: Folder that holds S1, S2 and S3.
        split: 'train' or 'validation', the official partition.
        cameras: Names of cameras: C1 to C3 have colours, BW1 to BW4 are grey.
        step: Every so many-th frame is read.
    """
    source_dir: str
    split: str = 'train'
    cameras: tuple = ('C1', 'C2', 'C3')
    step: int = 5

    NAME = 'humaneva'
    CONVENTION = 'humaneva_15'

    def __post_init__(self):
        checks.one_of(self.split, SPLITS, 'split')
        for camera in self.cameras:
            checks.one_of(camera, _ALL_CAMERAS, 'cameras')
        reader.check_step(self.step)

    def items(self, report):
        """One item for each subject, action and camera, see `DatasetReader.items`."""
        root = reader.existing_dir(self.source_dir, SUBJECTS)
        items = []
        for subject in SUBJECTS:
            if not (root / subject).is_dir():
                report(reader.Problem(str(root / subject), '', 'missing'))
                continue
            for action in PARTITION:
                if (subject, action) in _WITHOUT_MOCAP:
                    report(reader.Problem(
                        str(root / subject), action, 'known to have damaged motion capture, left '
                        'out', is_expected=True))
                    continue
                items += [
                    reader.Item(
                        f'{subject}/{action}_{_TRIAL} {camera}', len(self._frames(subject, action)),
                        (subject, action, camera))
                    for camera in self.cameras]
        return tuple(items)

    def expected_counts(self):
        """See `DatasetReader.expected_counts`."""
        n_takes = len(SUBJECTS) * len(PARTITION) - len(_WITHOUT_MOCAP)
        return {'items': n_takes * len(self.cameras)}

    def _frames(self, subject, action):
        """Wanted frames on the common time."""
        middle, last = PARTITION[action][SUBJECTS.index(subject)]
        if self.split == 'validation':
            return range(_FIRST_FRAME, middle + 1, self.step)
        return range(middle + 1, last + 1, self.step)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        subject, action, camera_name = item.content
        folder = pathlib.Path(self.source_dir) / subject
        take = f'{action}_{_TRIAL}'
        try:
            camera = read_camera(folder / 'Calibration_Data' / f'{camera_name}.cal')
            timeline = read_timeline(folder / 'Sync_Data', take, camera_name)
            poses = self._poses(folder, action, timeline, report)
        except ValueError as error:
            report(reader.Problem(str(folder), take, str(error)))
            return
        video_path = folder / 'Image_Data' / f'{take}_({camera_name}).avi'
        outside = []
        for i_frame, photo in reader.video_frames(video_path, list(poses), report):
            example = labelled_person.to_example(
                photo, f'{item.name}/{i_frame + 1:06d}', _JOINT_NAMES,
                coords3d_cam=camera.to_camera_frame(poses[i_frame]), camera=camera,
                camera_up=camera.direction_in_camera_frame([0, 0, 1]))
            if example is None:
                outside.append(i_frame + 1)
            else:
                yield example
        reader.report_frames(
            video_path, outside, 'the person is outside the picture, left out', report)

    def _poses(self, folder, action, timeline, report):
        """Dict from the wanted frames of the video, from 0, to joints `[15, 3]` in the world."""
        take = f'{action}_{_TRIAL}'
        mocap_path = folder / 'Mocap_Data' / take
        mocap, measures = read_mocap(mocap_path), read_measures(folder)
        frames = np.array(self._frames(folder.name, action))
        is_captured = timeline.mocap_positions(frames) <= len(mocap) - 1
        reader.report_frames(
            mocap_path, frames[~is_captured],
            f'the motion capture ends after its frame {len(mocap)}, left out', report)
        frames = frames[is_captured]
        coords3d = humaneva_body.body_joints(mocap, timeline.mocap_positions(frames), measures)
        is_labelled = np.all(np.isfinite(coords3d), axis=(1, 2))
        reader.report_frames(
            mocap_path, frames[~is_labelled], 'markers were lost, left out', report,
            is_expected=True)
        if (folder.name, action) in _WITHOUT_HEAD:
            coords3d[:, humaneva_body.JOINT_NAMES.index('head')] = np.nan
            report(reader.Problem(
                str(folder), take, 'the head is known to be wrong, left out', is_expected=True))
        return dict(zip(
            timeline.video_frames(frames[is_labelled]).tolist(), coords3d[is_labelled]))


def read_camera(path):
    """Reads a `.cal` file, 22 numbers.

    The skew is that of Bouguet's toolbox: a factor on the horizontal focal length.

    Raises:
        ValueError: If the file is missing or damaged.
    """
    numbers = _read_numbers(path, 22)
    intrinsics = np.eye(3)
    intrinsics[[0, 1], [0, 1]], intrinsics[:2, 2] = numbers[:2], numbers[2:4]
    intrinsics[0, 1] = numbers[4] * numbers[0]
    return photo_camera.PhotoCamera(
        intrinsics, numbers[10:19].reshape(3, 3), numbers[19:], tuple(numbers[5:10]))


@dataclasses.dataclass(frozen=True)
class Timeline:
    """Where frame 1 of the common time lies. All numbers count from 1.

    Args:
        video_start: Its frame in the video.
        mocap_start: Its frame in the motion capture, not always a whole number.
        mocap_rate: Frames of motion capture for each frame of the video.
    """
    video_start: int
    mocap_start: float
    mocap_rate: float

    def video_frames(self, frames):
        """Frame numbers of the common time to those of the video, from 0."""
        return frames - 1 + self.video_start - 1

    def mocap_positions(self, frames):
        """Frame numbers of the common time to positions in the motion capture, from 0."""
        return (frames - 1) * self.mocap_rate + self.mocap_start - 1


def read_timeline(sync_dir, take, camera_name):
    """Reads the `.ofs` files of all cameras, which together define the common time.

    Each file has three numbers: a frame of the video, the frame of the motion capture at that
    moment, and the rate. As in the data set's own software, the common time starts with the first
    frame of the video that began last, or with the motion capture if that began still later.

    Args:
        sync_dir: Path of the folder.
        take: Name of the take, e.g. 'Walking_1'.
        camera_name: Name of the wanted camera.

    Raises:
        ValueError: If a file is damaged, or that of the wanted camera is missing.
    """
    paths = {name: sync_dir / f'{take}_({name}).ofs' for name in _ALL_CAMERAS}
    offsets = np.array([
        _read_numbers(path, 3) for name, path in paths.items()
        if path.is_file() or name == camera_name])
    names = [name for name, path in paths.items() if path.is_file()]
    rate = np.mean(offsets[:, 2])
    mocap_start = offsets[0, 1]
    starts = offsets[:, 0] + (mocap_start - offsets[:, 1]) / offsets[:, 2]
    mocap_start -= rate * (np.min(starts) - 1)
    starts += 1 - np.min(starts)
    if mocap_start < 1:
        starts -= (mocap_start - 1) / rate
        mocap_start = 1.0
    video_start = int(np.floor(starts[names.index(camera_name)] + 0.5))
    return Timeline(video_start, float(mocap_start), float(rate))


def read_mocap(stem):
    """Reads the motion capture of a take from `stem`.mat or, without it, `stem`.c3d.

    Returns:
        `humaneva_body.MocapPoints`.

    Raises:
        ValueError: If both are missing, or the file is damaged or lacks a point.
    """
    path, c3d_path = (stem.with_name(f'{stem.name}.{suffix}') for suffix in ('mat', 'c3d'))
    if not path.is_file():
        if not c3d_path.is_file():
            raise ValueError(f'{path.name} and {c3d_path.name} are missing')
        return humaneva_body.MocapPoints(*c3d.read_points(c3d_path))
    try:
        content = scipy.io.loadmat(
            path, struct_as_record=False, squeeze_me=True,
            variable_names=['Markers', 'ParameterGroup'])
        labels = _parameter(content['ParameterGroup'], 'POINT', 'LABELS')
        return humaneva_body.MocapPoints(
            content['Markers'], [str(label) for label in np.atleast_1d(labels)])
    except Exception as error:  # scipy raises many types for damaged files
        raise ValueError(
            f'{path.name} must hold `Markers` [frames, points, 3] and their labels in '
            f'`ParameterGroup`. Received: {type(error).__name__}: {error}') from None


def _parameter(groups, group_name, name):
    """Data of a parameter of a C3D file in the form of a MATLAB struct."""
    group = [group for group in np.atleast_1d(groups) if group.name == group_name][0]
    return [entry.data for entry in np.atleast_1d(group.Parameter) if entry.name == name][0]


def read_measures(folder):
    """Reads the measures of a subject's body from the trial `Static` and the `.mp` file.

    Raises:
        ValueError: If a file is missing or damaged.
    """
    paths = [folder / 'Mocap_Data' / f'{folder.name}.mp', folder / f'{folder.name}.mp']
    found = [path for path in paths if path.is_file()]
    if not found:
        raise ValueError(f'{paths[0].name} is missing')
    text = found[0].read_text(errors='replace')
    offsets = {}
    for side in 'LR':
        match = re.search(rf'\b{side}ShoulderOffset\s*=\s*([-+.\deE]+)', text)
        if match is None:
            raise ValueError(f'{found[0].name} must tell {side}ShoulderOffset. Received: none')
        offsets[side] = float(match[1])
    static = read_mocap(folder / 'Mocap_Data' / 'Static')
    return humaneva_body.BodyMeasures(static.torso_radius(), offsets)


def _read_numbers(path, count):
    """Float array `[count]` of a text file."""
    if not path.is_file():
        raise ValueError(f'{path.name} is missing')
    try:
        numbers = np.array(path.read_text().split(), np.float64)
    except (OSError, ValueError) as error:
        raise ValueError(f'{path.name} must hold {count} numbers. Received: {error}') from None
    if len(numbers) != count or not np.all(np.isfinite(numbers)):
        raise ValueError(
            f'{path.name} must hold {count} finite numbers. Received: {len(numbers)} numbers')
    return numbers
