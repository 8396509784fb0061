"""MPI-INF-3DHP, training part: 8 actors before 14 cameras, without markers (Mehta et al. 2017).

Quirks kept in here: labels are longer than videos, so a table tells what counts; one video is even
shorter; 3D labels of hips and spine are 1 to 2 px beside the 2D labels; masks exist in part only,
as a table tells, and have three meanings in three colours; camera flashes spoil some frames. Frames
count from 0.
"""

import dataclasses
import pathlib

import cv2
import numpy as np

from metro_tf import checks, skeleton
from training.datasets import labelled_person, matlab, photo_camera, reader

CAMERAS = tuple(range(14))
LABELS = ('annot3', 'univ_annot3')
# Frames of the videos of Seq1 and Seq2, from the data set's readme.
N_FRAMES = {
    'S1': (6416, 12430), 'S2': (6502, 6081), 'S3': (12488, 12283), 'S4': (6171, 6675),
    'S5': (12820, 12312), 'S6': (6188, 6145), 'S7': (6239, 6320), 'S8': (6468, 6054)}
_SHORT_VIDEOS = {('S6', 'Seq2', 2): 3911}
_SEQUENCES = tuple((subject, sequence) for subject in N_FRAMES for sequence in ('Seq1', 'Seq2'))
_MARGIPOSE_VAL = (('S4', 'Seq1'), ('S8', 'Seq2'))
SPLITS = {
    'train': tuple(part for part in _SEQUENCES if part[0] != 'S8'),
    'val': tuple(part for part in _SEQUENCES if part[0] == 'S8'),
    'all': _SEQUENCES,
    'margipose_train': tuple(part for part in _SEQUENCES if part not in _MARGIPOSE_VAL),
    'margipose_val': _MARGIPOSE_VAL}
# Masks that there are of Seq1 and Seq2: p for the person, u and l for upper and lower clothing.
_MASKS = {
    'S1': ('p', 'u'), 'S2': ('p', 'pul'), 'S3': ('p', 'pul'), 'S4': ('p', 'u'), 'S5': ('p', 'pul'),
    'S6': ('p', 'pul'), 'S7': ('pul', 'p'), 'S8': ('pul', 'p')}
_MASK_DIRS = ('FGmasks', 'FGmaks')
_MASK_THRESHOLD = 32
_JOINT_NAMES = skeleton.CONVENTIONS['mpi_inf_3dhp_28'].joint_names
_WORLD_UP = (0.0, 1.0, 0.0)
_FLASH_SHARE, _FLASH_VALUE = 1 / 3, 250


@dataclasses.dataclass(frozen=True)
class MpiInf3dhpReader(reader.DatasetReader):
    """Reads the labels, videos and masks of the training part of MPI-INF-3DHP.

    An item is the video of a sequence and a camera. Boxes are around the joints. Where FGmasks were
    obtained, examples have the masks that there are.

    Args:
        source_dir: Folder that holds S1 to S8.
        split: 'train' (S1 to S7) or 'val' (S8) as in MeTRAbs, 'all', or 'margipose_train' or
            'margipose_val' (Seq1 of S4, Seq2 of S8).
        cameras: Numbers of the cameras to read; 11 to 13 look down from the ceiling.
        labels: 'annot3', the true size of the person, or 'univ_annot3', scaled to one height. The
            latter does not project to the picture; its 2D labels are those of the data set.
        step: Every so many-th frame is looked at.
        min_movement_mm: A frame is left out if no joint moved this far since the last one.
        require_inside: Whether frames are left out in which a joint lies outside the picture.
        drop_flashes: Whether frames are left out in which over a third is overexposed.
        with_masks: Whether masks are read.
    """
    source_dir: str
    split: str = 'train'
    cameras: tuple = CAMERAS
    labels: str = 'annot3'
    step: int = 5
    min_movement_mm: float = 100.0
    require_inside: bool = True
    drop_flashes: bool = True
    with_masks: bool = True

    NAME = 'mpi_inf_3dhp'
    CONVENTION = 'mpi_inf_3dhp_28'

    def __post_init__(self):
        checks.one_of(self.split, SPLITS, 'split')
        checks.one_of(self.labels, LABELS, 'labels')
        checks.positive(self.step, 'step')
        reader.check_min_movement(self.min_movement_mm)
        if not set(self.cameras) <= set(CAMERAS) or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(
                f'`cameras` must be distinct ones of {CAMERAS}. Received: {self.cameras}')

    def items(self, report):
        """One item for each sequence and camera, see `DatasetReader.items`."""
        folder = reader.existing_dir(
            self.source_dir, [f'{subject}/{sequence}' for subject, sequence in SPLITS[self.split]])
        items = []
        for subject, sequence in SPLITS[self.split]:
            if not (folder / subject / sequence).is_dir():
                report(reader.Problem(str(folder / subject / sequence), '', 'missing'))
                continue
            for camera in self.cameras:
                n_frames = len(range(0, _video_length(subject, sequence, camera), self.step))
                items.append(reader.Item(
                    f'{subject}/{sequence}/video_{camera}', n_frames, (subject, sequence, camera)))
        return tuple(items)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        subject, sequence, i_camera = item.content
        folder = pathlib.Path(self.source_dir, subject, sequence)
        coords = _read_labels(folder / 'annot.mat', i_camera, self.labels, report)
        camera, photo_size = _read_camera(folder / 'camera.calibration', i_camera, report)
        if coords is None or camera is None:
            return
        coords2d, coords3d = (
            part[:_video_length(subject, sequence, i_camera)] for part in coords)
        video_path = folder / 'imageSequence' / f'video_{i_camera}.avi'
        frames = self._frames(coords2d, coords3d, photo_size, video_path, report)
        photos = _with_masks(
            reader.video_frames(video_path, frames, report),
            self._masks(item.content, frames, report))
        overexposed, outside = [], []
        for i_frame, photo, mask in photos:
            if self.drop_flashes and is_overexposed(photo):
                overexposed.append(i_frame)
                continue
            example = labelled_person.to_example(
                photo, f'{item.name}/{i_frame:06d}', _JOINT_NAMES, coords3d_cam=coords3d[i_frame],
                coords2d=None if self.labels == 'annot3' else coords2d[i_frame], camera=camera,
                camera_up=camera.direction_in_camera_frame(_WORLD_UP),
                **_mask_layers(mask, _available_masks(subject, sequence), photo.shape))
            if example is None:
                outside.append(i_frame)
            else:
                yield example
        _report_frames(video_path, overexposed, 'overexposed by a flash', report)
        _report_frames(video_path, outside, 'the person is outside', report)

    def expected_counts(self):
        """See `DatasetReader.expected_counts`."""
        return {'items': len(SPLITS[self.split]) * len(self.cameras)}

    def _frames(self, coords2d, coords3d, photo_size, video_path, report):
        """Numbers of the frames that are wanted."""
        is_inside = np.all((coords2d > -0.5) & (coords2d < np.array(photo_size) - 0.5), axis=(1, 2))
        frames = np.arange(0, len(coords2d), self.step)
        if self.require_inside:
            _report_frames(
                video_path, frames[~is_inside[frames]].tolist(), 'a joint is outside', report)
            frames = frames[is_inside[frames]]
        moved = reader.moved_frames(coords3d[frames], self.min_movement_mm)
        return frames[moved].tolist()

    def _masks(self, content, frames, report):
        """Iterator over pairs of frame number and mask, of none if there are no masks."""
        subject, sequence, i_camera = content
        folder = pathlib.Path(self.source_dir, subject, sequence)
        folders = [folder / name for name in _MASK_DIRS if (folder / name).is_dir()]
        if not self.with_masks or not folders:
            return iter(())
        return reader.video_frames(folders[0] / f'video_{i_camera}.avi', frames, report)


def _video_length(subject, sequence, i_camera):
    n_frames = N_FRAMES[subject][int(sequence[-1]) - 1]
    return _SHORT_VIDEOS.get((subject, sequence, i_camera), n_frames)


def _available_masks(subject, sequence):
    return _MASKS[subject][int(sequence[-1]) - 1]


def _report_frames(path, frames, text, report):
    """Reports frames, if any, that are left out by a rule."""
    reader.report_frames(path, frames, f'{text}, left out', report, is_expected=True)


def _read_labels(path, i_camera, labels, report):
    """Pair of 2D `[frames, 28, 2]` and 3D labels `[frames, 28, 3]`, px and mm; or None."""
    variables = matlab.load(path, ['cameras', 'annot2', labels], report)
    if variables is None:
        return None
    numbers = np.ravel(variables[0]).tolist()
    if i_camera not in numbers:
        report(reader.Problem(str(path), f'camera {i_camera}', 'missing'))
        return None
    coords = [np.ravel(cells)[numbers.index(i_camera)] for cells in variables[1:]]
    n_frames, n_joints = len(coords[1]), len(_JOINT_NAMES)
    if [part.shape for part in coords] != [(n_frames, 2 * n_joints), (n_frames, 3 * n_joints)]:
        report(reader.Problem(
            str(path), f'camera {i_camera}', 'labels must have shapes (n, 56) and (n, 84), but '
            f'have {coords[0].shape} and {coords[1].shape}; left out'))
        return None
    return coords[0].reshape(n_frames, n_joints, 2), coords[1].reshape(n_frames, n_joints, 3)


def _read_camera(path, i_camera, report):
    """The camera and its width and height; two times None after a report."""
    try:
        return read_calibration(path)[i_camera]
    except (ValueError, KeyError) as error:
        text = f'camera {i_camera} is missing' if isinstance(error, KeyError) else str(error)
        report(reader.Problem(str(path), '', text))
        return None, None


def read_calibration(path):
    """Reads a `camera.calibration` file.

    Args:
        path: Path of the file.

    Returns:
        Dict from the number of a camera to a pair of its `photo_camera.PhotoCamera` and its width
        and height in px.

    Raises:
        ValueError: If the file is missing or damaged.
    """
    cameras = {}
    try:
        words = [line.split() for line in pathlib.Path(path).read_text().splitlines()[1:]]
        for key, *values in filter(None, words):
            if key == 'name':
                parts = cameras.setdefault(int(values[0]), {})
            else:
                parts[key] = np.array(values, np.float64)
        return {number: _make_camera(parts) for number, parts in cameras.items()}
    except (OSError, ValueError, KeyError, UnboundLocalError) as error:
        raise ValueError(f'missing or damaged: {type(error).__name__}: {error}') from error


def _make_camera(parts):
    intrinsics, extrinsics = (parts[key].reshape(4, 4) for key in ('intrinsic', 'extrinsic'))
    return photo_camera.PhotoCamera(
        intrinsics[:3, :3], extrinsics[:3, :3], extrinsics[:3, 3]), tuple(parts['size'].astype(int))


def is_overexposed(photo):
    """Whether a flash spoils a photo: over a third of its values are almost white.

    Source: MargiPose's preparation of the data set.
    """
    return np.mean(photo > _FLASH_VALUE) > _FLASH_SHARE


def _with_masks(photos, masks):
    """Triples of frame number, photo and the mask of the same number, or None."""
    i_mask, mask = next(masks, (-1, None))
    for i_frame, photo in photos:
        while mask is not None and i_mask < i_frame:
            i_mask, mask = next(masks, (-1, None))
        yield i_frame, photo, mask if i_mask == i_frame else None


def _mask_layers(mask, available, photo_shape):
    """Dict of `alpha` and `clothing_masks`, see `Example`, of which each can be missing.

    Args:
        mask: uint8 array `[height, width, 3]`: person, upper and lower clothing; or None.
        available: Letters of what there is, see `_MASKS`.
        photo_shape: Shape of the photo.
    """
    if mask is None:
        return {}
    if mask.shape != photo_shape:
        mask = cv2.resize(mask, photo_shape[1::-1], interpolation=cv2.INTER_NEAREST)
    layers = cv2.split(cv2.threshold(mask, _MASK_THRESHOLD, 255, cv2.THRESH_BINARY)[1])
    person, *clothes = (
        layer if letter in available else np.zeros_like(layer)
        for letter, layer in zip('pul', layers))
    result = {'alpha': person} if 'p' in available else {}
    if 'u' in available or 'l' in available:
        result['clothing_masks'] = cv2.merge(clothes)
    return result
