"""Human3.6M: 11 actors before 4 calibrated cameras, with motion capture (Ionescu et al. 2014).

Quirks kept in here: poses hold 32 joints of which 7 repeat others; poses and videos of a take
differ by a few frames; three takes of S9 are shifted by 200 mm against the video, and so are their
boxes; a video of S11 is damaged; folders are named as in the archives or after the archives.
Further ones are kept in `human36m_metadata`.
"""

import contextlib
import dataclasses
import pathlib

import cdflib
import h5py
import numpy as np

from metro_tf import skeleton
from training.datasets import human36m_metadata as metadata_lib
from training.datasets import labelled_person, reader

SPLITS = {'train': ('S1', 'S5', 'S6', 'S7', 'S8'), 'test': ('S9', 'S11')}
SUBJECTS = (*SPLITS['train'], *SPLITS['test'])
# Of the 32 joints those that do not repeat others, in the order of the convention h36m_25.
JOINTS = (
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19, 21, 22, 25, 26, 27, 29, 30, 0)
N_STORED_JOINTS = 32
METADATA_PATHS = ('metadata.xml', 'Release-v1.2/metadata.xml')
_JOINT_NAMES = skeleton.CONVENTIONS['h36m_25'].joint_names
_PELVIS = _JOINT_NAMES.index('pelv')
_POSE_DIRS = ('MyPoseFeatures/D3_Positions', 'Poses_D3_Positions')
_VIDEO_DIRS = ('Videos',)
_BOX_DIRS = ('MySegmentsMat/ground_truth_bb', 'Segments_mat_gt_bb')
# Source: public processing code, since the data set's documentation does not mention it.
_SHIFTED_TAKES = (('S9', 'SittingDown', 2), ('S9', 'Waiting', 1), ('S9', 'Greeting', 2))
SHIFT_MM = (-200.0, 0.0, 0.0)
WORLD_UP = (0.0, 0.0, 1.0)
OUTSIDE = 'the person is outside, left out'
_DAMAGED_TAKE, _DAMAGED_CAMERA = ('S11', 'Directions', 2), '54138969'
_N_TAKES = 2 * len(metadata_lib.ACTIONS)
# Poses and video of the same take may differ by this many frames without a report.
_MAX_LENGTH_DIFFERENCE = 10


@dataclasses.dataclass(frozen=True)
class Human36MReader(reader.DatasetReader):
    """Reads the poses in world coordinates and the videos of Human3.6M.

    An item is the video of a take and a camera. Examples are named after their frame, from 0.

    Args:
        source_dir: Folder that holds metadata.xml, or Release-v1.2 with it, and the subjects.
        split: 'train' (S1, S5 to S8) or 'test' (S9, S11).
        subjects: Names of subjects like S1 S5, instead of those of the split.
        cameras: Names of the cameras to read.
        step: Every so many-th frame is looked at. None stands for 5 in training and 64 in the test,
            as in MeTRAbs.
        min_movement_mm: A frame is left out if no joint moved this far since the last one. None
            stands for 100 in training and 0 in the test, as in MeTRAbs.
        correct_s9: Whether the three shifted takes of S9 are moved back.
    """
    source_dir: str
    split: str = 'train'
    subjects: tuple = ()
    cameras: tuple = metadata_lib.CAMERAS
    step: int = None
    min_movement_mm: float = None
    correct_s9: bool = True

    NAME = 'human36m'
    CONVENTION = 'h36m_25'

    def __post_init__(self):
        check_choice(self)
        if self.step is not None:
            reader.check_step(self.step)
        if self.min_movement_mm is not None:
            reader.check_min_movement(self.min_movement_mm)

    def items(self, report):
        """One item for each take and camera, see `DatasetReader.items`."""
        folder = reader.existing_dir(self.source_dir, METADATA_PATHS)
        metadata = metadata_lib.read(find(folder, METADATA_PATHS))
        subjects = existing_subjects(folder, chosen_subjects(self), report)
        items = []
        for take in metadata.takes:
            for camera in self.cameras if take.subject in subjects else ():
                name = f'{take.subject}/{take.name}.{camera}'
                if self._is_damaged(take, camera):
                    report(reader.Problem(
                        str(folder), name, 'damaged in all copies, left out', is_expected=True))
                else:
                    n_frames = len(range(0, take.n_frames, self._settings()[0]))
                    items.append(reader.Item(
                        name, n_frames, (take, camera, metadata.cameras[take.subject, camera])))
        return tuple(items)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        take, camera_name, camera = item.content
        coords3d = self._read_poses(take, report)
        if coords3d is None:
            return
        shift = np.array(SHIFT_MM) * (self.correct_s9 and is_shifted(take))
        video_path, boxes_path = (
            find(pathlib.Path(self.source_dir) / take.subject, [
                f'{folder}/{take.name}.{camera_name}.{suffix}' for folder in folders])
            for folders, suffix in ((_VIDEO_DIRS, 'mp4'), (_BOX_DIRS, 'mat')))
        frames = self._frames(coords3d, video_path, report)
        outside = []
        with open_boxes(boxes_path, len(coords3d), report) as box_of_frame:
            for i_frame, photo in reader.video_frames(video_path, frames, report):
                example = _example(
                    photo, f'{item.name}/{i_frame:06d}', coords3d[i_frame], shift, camera,
                    box_of_frame(i_frame))
                if example is None:
                    outside.append(i_frame)
                else:
                    yield example
        reader.report_frames(video_path, outside, OUTSIDE, report)

    def expected_counts(self):
        """See `DatasetReader.expected_counts`."""
        n_damaged = sum(
            self._is_damaged(metadata_lib.Take(*_DAMAGED_TAKE, ''), camera)
            for camera in self.cameras if 'S11' in chosen_subjects(self))
        return {'items': len(chosen_subjects(self)) * _N_TAKES * len(self.cameras) - n_damaged}

    def _settings(self):
        """Step and minimal movement, with defaults filled in."""
        is_training = self.split == 'train'
        step = (5 if is_training else 64) if self.step is None else self.step
        min_movement_mm = self.min_movement_mm
        return step, (100.0 * is_training if min_movement_mm is None else min_movement_mm)

    def _is_damaged(self, take, camera):
        return take_key(take) == _DAMAGED_TAKE and camera == _DAMAGED_CAMERA

    def _read_poses(self, take, report):
        """World coordinates `[frames, 25, 3]` as stored, mm, or None after a report."""
        folder = pathlib.Path(self.source_dir) / take.subject
        path = find(folder, [f'{pose_dir}/{take.name}.cdf' for pose_dir in _POSE_DIRS])
        if not path.is_file():
            report(reader.Problem(str(path), '', 'missing'))
            return None
        try:
            return read_poses(path)
        except ValueError as error:
            report(reader.Problem(str(path), '', f'{error}; left out'))
            return None

    def _frames(self, coords3d, video_path, report):
        """Numbers of the frames that are wanted, as far as poses and video reach."""
        step, min_movement_mm = self._settings()
        n_poses, n_frames = len(coords3d), reader.video_length(video_path) or len(coords3d)
        if abs(n_poses - n_frames) > _MAX_LENGTH_DIFFERENCE:
            report(reader.Problem(
                str(video_path), '', f'has {n_frames} frames for {n_poses} poses; '
                f'the first {min(n_poses, n_frames)} are read'))
        moved = reader.moved_frames(coords3d[:n_frames:step], min_movement_mm)
        return [step * i_frame for i_frame in moved]


def check_choice(settings):
    """Checks the fields `split`, `subjects` and `cameras` of a reader.

    Raises:
        ValueError: If one of them is unknown.
    """
    if settings.split not in SPLITS:
        raise ValueError(
            f'`split` must be one of {list(SPLITS)}. Received: split={settings.split!r}')
    for name, known in (('subjects', SUBJECTS), ('cameras', metadata_lib.CAMERAS)):
        chosen = getattr(settings, name)
        if not set(chosen) <= set(known) or len(set(chosen)) != len(chosen):
            raise ValueError(f'`{name}` must be distinct ones of {known}. Received: {chosen}')


def chosen_subjects(settings):
    """Names of the subjects that a reader with `split` and `subjects` reads."""
    return tuple(settings.subjects) or SPLITS[settings.split]


def existing_subjects(folder, subjects, report):
    """Those of the subjects that have a folder; the others are reported."""
    for subject in subjects:
        if not (folder / subject).is_dir():
            report(reader.Problem(str(folder / subject), '', 'missing'))
    return [subject for subject in subjects if (folder / subject).is_dir()]


def find(folder, paths):
    """The first of several relative paths that exists, or the first of all."""
    return next((folder / path for path in paths if (folder / path).exists()), folder / paths[0])


def take_key(take):
    """What identifies a take whatever its file names: subject, action and subaction."""
    return take.subject, take.action, take.subaction


def is_shifted(take):
    """Whether a take is one of those of S9 that lie beside the video."""
    return take_key(take) in _SHIFTED_TAKES


def read_poses(path):
    """Reads a CDF file of poses.

    Args:
        path: Path of the file.

    Returns:
        Float64 array `[frames, 25, 3]`, mm, joints in the order of the convention h36m_25.

    Raises:
        ValueError: If the file is damaged or holds another skeleton.
    """
    try:
        poses = np.asarray(cdflib.CDF(str(path)).varget('Pose'), np.float64)
    except Exception as error:  # cdflib raises many types for damaged files
        raise ValueError(f'damaged: {type(error).__name__}: {error}') from error
    if poses.ndim != 3 or poses.shape[0] != 1 or poses.shape[2] != 3 * N_STORED_JOINTS:
        raise ValueError(f'`Pose` must have shape (1, frames, 96). Received: {poses.shape}')
    return poses[0].reshape(-1, N_STORED_JOINTS, 3)[:, JOINTS]


@contextlib.contextmanager
def open_boxes(path, n_frames, report):
    """Opens a file of masks of boxes, if the data set has them.

    Args:
        path: Path of a MATLAB file whose `Masks` refer to one image for each frame, with ones in
            the box. If not even its folder exists, boxes were not obtained.
        n_frames: Number of frames that should have a box.
        report: Function that takes a `Problem`.

    Yields:
        Function from a frame number to a box, float array `[4]` in px, or to None.
    """
    if not path.is_file():
        if path.parent.is_dir():
            report(reader.Problem(str(path), '', 'missing; the joints give the boxes'))
        yield lambda i_frame: None
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(h5py.File(path, 'r'))
            masks = file['Masks'][:].ravel()
        except (OSError, KeyError) as error:
            report(reader.Problem(str(path), '', f'damaged: {error}; the joints give the boxes'))
            masks = ()
        if len(masks) and len(masks) < n_frames - _MAX_LENGTH_DIFFERENCE:
            report(reader.Problem(
                str(path), '', f'has boxes of {len(masks)} of {n_frames} frames; '
                'the joints give the others'))
        yield lambda i_frame: (
            _stored_box(file, masks[i_frame]) if i_frame < len(masks) else None)


def _stored_box(file, mask):
    """Box of a mask, whose first axis is x in the file, or None for an empty mask."""
    return labelled_person.box_of_mask(file[mask][:].T)


def _example(photo, name, stored_coords3d, shift, camera, box):
    """Example of a frame, or None if the person is outside."""
    coords3d = camera.to_camera_frame(stored_coords3d + shift)
    if box is not None:
        before, after = camera.project(np.stack([
            camera.to_camera_frame(stored_coords3d[_PELVIS]), coords3d[_PELVIS]]))
        box = box + [*(after - before), 0, 0]
    return labelled_person.to_example(
        photo, name, _JOINT_NAMES, box=box, coords3d_cam=coords3d, camera=camera,
        camera_up=camera.direction_in_camera_frame(WORLD_UP))
