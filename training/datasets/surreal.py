"""SURREAL: rendered people with SMPL's joints on photographs (Varol et al. 2017).

Quirks kept in here: the stored pictures are mirror images of the 3D world, as the determinant of
the camera's rotation is -1, so pictures are mirrored and the camera's x axis is turned around,
while all labels keep their names; coordinates are in metres, up is -y; a clip of a single frame
is stored without the axis of frames; some sequences show monsters.
"""

import dataclasses
import functools
import pathlib
import re

import numpy as np
import scipy.io

from metro_tf import skeleton
from training.datasets import labelled_person, photo_camera, reader

SPLITS = ('train', 'val', 'test')
_JOINT_NAMES = skeleton.vocabulary_names('smpl_24')
_MM_PER_M = 1000.0
_FOCAL_LENGTH_PX, _CENTER_PX = 600.0, (160.0, 120.0)
_PHOTO_WIDTH = 320
_MAX_FRAMES = 100
# After turning the x axis around, see the module's docstring.
_ROTATION = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
# Motions of the CMU subjects 18 and 19, and motion 21 of subject 143.
_MONSTERS = re.compile(r'(.*_)?((18|19)_\d+|143_21)')
_INFO_SUFFIX = '_info.mat'
_MIN_DEPTH_MM = 100.0


@dataclasses.dataclass(frozen=True)
class SurrealReader(reader.DatasetReader):
    """SURREAL: rendered people; an item is a sequence of a run, which has one or more clips.

    The masks of body parts give `alpha` and the box. Without masks, the box is around the joints.

    Args:
        source_dir: Folder that holds `cmu`.
        split: 'train', 'val' or 'test'.
        run: 0, 1 or 2. The runs show the same motions in clips that overlap by 30, 50 or 70 %.
        step: Every so many-th frame of a clip is read.
    """
    source_dir: str
    split: str = 'train'
    run: int = 0
    step: int = 5

    NAME = 'surreal'
    CONVENTION = 'smpl_24'

    def __post_init__(self):
        if self.split not in SPLITS:
            raise ValueError(f'`split` must be one of {SPLITS}. Received: split={self.split!r}')
        if self.run not in (0, 1, 2):
            raise ValueError(f'`run` must be 0, 1 or 2. Received: run={self.run}')
        reader.check_step(self.step)

    def items(self, report):
        """One item for each sequence of the run, see `DatasetReader.items`.

        `n_frames` is an upper limit, as clips have up to 100 frames.
        """
        run_dir = f'cmu/{self.split}/run{self.run}'
        folder = reader.existing_dir(self.source_dir, [run_dir]) / run_dir
        items = []
        for path in sorted(folder.iterdir()):
            n_clips = len(list(path.glob(f'*{_INFO_SUFFIX}')))
            if _MONSTERS.fullmatch(path.name):
                report(reader.Problem(
                    str(path), '', 'shows a monster, left out', is_expected=True))
            elif not n_clips:
                report(reader.Problem(str(path), '', f'holds no *{_INFO_SUFFIX}'))
            else:
                n_frames = n_clips * len(range(0, _MAX_FRAMES, self.step))
                items.append(reader.Item(
                    f'{self.split}/run{self.run}/{path.name}', n_frames, str(path)))
        return tuple(items)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        for info_path in sorted(pathlib.Path(item.content).glob(f'*{_INFO_SUFFIX}')):
            clip_path = str(info_path)[:-len(_INFO_SUFFIX)]
            try:
                coords3d, camera = read_labels(info_path)
            except ValueError as error:
                report(reader.Problem(str(info_path), '', f'{error}; the clip is left out'))
                continue
            yield from self._clip(item.name, clip_path, coords3d, camera, report)

    def _clip(self, item_name, clip_path, coords3d, camera, report):
        """Iterator over the examples of a clip."""
        read_mask = _mask_reader(f'{clip_path}_segm.mat', report)
        name = f'{item_name}/{clip_path.rsplit("_", 1)[-1]}'
        outside = []
        frames = reader.video_frames(
            f'{clip_path}.mp4', range(0, len(coords3d), self.step), report)
        for i_frame, photo in frames:
            example = _example(
                photo, f'{name}/{i_frame:03d}', camera.to_camera_frame(coords3d[i_frame]), camera,
                read_mask(i_frame, photo.shape[:2]))
            if example is None:
                outside.append(i_frame)
            else:
                yield example
        reader.report_frames(
            f'{clip_path}.mp4', outside, 'the person is outside the picture, left out', report,
            is_expected=True)


def read_labels(path):
    """Reads an `_info.mat` file.

    Args:
        path: Path of the file.

    Returns:
        Float array `[frames, 24, 3]`, world frame, mm, and the `photo_camera.PhotoCamera` of the
        mirrored pictures.

    Raises:
        ValueError: If the file is damaged or lacks something.
    """
    try:
        info = scipy.io.loadmat(path, variable_names=['joints3D', 'camLoc'])
        # MATLAB leaves the axis of frames out where there is only one.
        coords3d = np.asarray(info['joints3D'], np.float64).reshape(3, len(_JOINT_NAMES), -1)
        position = np.asarray(info['camLoc'], np.float64).reshape(3)
    except Exception as error:  # scipy raises many types for damaged files
        raise ValueError(
            'the file must hold `joints3D` [3, 24, frames] and `camLoc` [3]. '
            f'Received: {type(error).__name__}: {error}') from None
    if not np.all(np.isfinite(coords3d)) or not np.all(np.isfinite(position)):
        raise ValueError('`joints3D` and `camLoc` must be finite. Received: numbers that are not')
    intrinsics = np.diag([_FOCAL_LENGTH_PX, _FOCAL_LENGTH_PX, 1.0])
    intrinsics[:2, 2] = _PHOTO_WIDTH - 1 - _CENTER_PX[0], _CENTER_PX[1]
    return coords3d.transpose(2, 1, 0) * _MM_PER_M, photo_camera.PhotoCamera(
        intrinsics, _ROTATION, -_ROTATION @ position * _MM_PER_M)


def _mask_reader(path, report):
    """Function from frame number and shape to the mask of the person, or None without one."""
    try:
        masks = scipy.io.loadmat(path)
    except Exception as error:  # scipy raises many types for damaged files
        report(reader.Problem(
            path, '', f'missing or damaged, examples have no alpha: {type(error).__name__}'))
        return lambda i_frame, shape: None
    return functools.partial(_mask, masks, path, report)


def _mask(masks, path, report, i_frame, shape):
    """Mask uint8 `[height, width]` of what the person covers, or None after a report."""
    parts = masks.get(f'segm_{i_frame + 1}')
    if parts is None or parts.shape != shape:
        report(reader.Problem(
            path, f'segm_{i_frame + 1}', 'missing or of another size, the example has no alpha'))
        return None
    return np.where(parts > 0, 255, 0).astype(np.uint8)


def _example(photo, name, coords3d_cam, camera, mask):
    """The example of a stored picture and mask, which are mirrored, or None if nobody is seen."""
    is_behind = np.any(coords3d_cam[:, 2] < _MIN_DEPTH_MM)
    if is_behind or (mask is not None and not mask.any()):
        return None
    if mask is not None:
        mask = np.ascontiguousarray(mask[:, ::-1])
    return labelled_person.to_example(
        np.ascontiguousarray(photo[:, ::-1]), name, _JOINT_NAMES,
        box=None if mask is None else labelled_person.box_of_mask(mask),
        coords3d_cam=coords3d_cam, camera=camera,
        camera_up=camera.direction_in_camera_frame([0, -1, 0]), alpha=mask)
