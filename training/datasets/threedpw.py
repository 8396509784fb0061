"""3D Poses in the Wild: outdoor videos by a moving camera, SMPL joints in 3D (von Marcard 2018).

Quirks kept in here: labels are Python 2 pickles, in metres and in a world whose up is not
dependable; the camera's pose is not known in every frame, by person.
"""

import dataclasses
import pathlib

import numpy as np

from metro_tf import checks, skeleton
from training.datasets import photo_camera, photo_people, reader, restricted_pickle

_JOINT_NAMES = skeleton.vocabulary_names('smpl_24')
_N_JOINTS = len(_JOINT_NAMES)
_N_JOINTS_2D = 18
_MM_PER_M = 1000.0
_N_SEQUENCES = {'train': 24, 'validation': 12, 'test': 24}


@dataclasses.dataclass(frozen=True)
class ThreedpwReader(reader.DatasetReader):
    """3D Poses in the Wild: outdoor videos of one or two people, 24 SMPL joints in 3D.

    Args:
        source_dir: Folder that holds sequenceFiles and imageFiles.
        split: 'train', 'validation', 'test', or 'all', with which papers test models that were
            trained on other data.
        step: Every n-th frame is taken, from the first.
        seen_only: Whether to leave out people whom no detector saw in the frame, i.e. whose 2D
            joints are all zero, as the benchmark does.
    """
    source_dir: str
    split: str = 'train'
    step: int = 1
    seen_only: bool = True

    NAME = '3dpw'
    CONVENTION = 'smpl_24'

    def __post_init__(self):
        checks.one_of(self.split, (*_N_SEQUENCES, 'all'), 'split')
        checks.positive(self.step, 'step')

    def items(self, report):
        """One item for each sequence, see `DatasetReader.items`."""
        folder = reader.existing_dir(self.source_dir, ['sequenceFiles'])
        result = []
        for split in self._splits():
            paths = sorted((folder / 'sequenceFiles' / split).glob('*.pkl'))
            if not paths:
                report(reader.Problem(
                    str(folder / 'sequenceFiles' / split), '', 'missing, or no .pkl files'))
            for path in paths:
                photo_dir = folder / 'imageFiles' / path.stem
                n_photos = sum(1 for _ in photo_dir.glob('image_*.jpg'))
                result.append(reader.Item(
                    f'{split}/{path.stem}', -(-n_photos // self.step),
                    (str(path), str(photo_dir))))
        return tuple(result)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        path, photo_dir = item.content
        sequence = read_sequence(path, report)
        if sequence is None:
            return iter(())
        is_usable = self._report_unusable(sequence, path, report)
        n_frames = is_usable.shape[1]
        if item.n_frames * self.step >= n_frames + self.step:
            report(reader.Problem(
                photo_dir, '', f'photos without labels after {n_frames}', is_expected=True))
        photos = (
            photo_people.Photo(
                str(pathlib.Path(photo_dir) / f'image_{i_frame:05}.jpg'),
                self._people(item, sequence, i_frame, is_usable))
            for i_frame in range(0, n_frames, self.step))
        return photo_people.examples(photos, _JOINT_NAMES, report)

    def expected_counts(self):
        """See `DatasetReader.expected_counts`."""
        return {'items': sum(_N_SEQUENCES[split] for split in self._splits())}

    def _splits(self):
        return tuple(_N_SEQUENCES) if self.split == 'all' else (self.split,)

    def _report_unusable(self, sequence, path, report):
        """Boolean array `[people, frames]`: whose labels are taken; the others are counted."""
        is_valid, is_seen = sequence['is_camera_valid'], sequence['is_seen']
        photo_people.report_counts(path, {
            'people in frames without camera pose': np.sum(~is_valid[:, ::self.step])}, report)
        if not self.seen_only:
            return is_valid
        photo_people.report_counts(path, {
            'people whom no detector saw': np.sum((is_valid & ~is_seen)[:, ::self.step])}, report)
        return is_valid & is_seen

    @staticmethod
    def _people(item, sequence, i_frame, is_usable):
        camera = photo_camera.PhotoCamera(
            sequence['intrinsics'], sequence['rotations'][i_frame],
            sequence['translations'][i_frame])
        return tuple({
            'name': f'{item.name}/{i_frame:05}/{i_person}', 'camera': camera,
            'coords3d_cam': camera.to_camera_frame(joints[i_frame])}
            for i_person, joints in enumerate(sequence['coords3d_world'])
            if is_usable[i_person, i_frame])


def read_sequence(path, report):
    """Reads the labels of a sequence.

    Args:
        path: Path of the .pkl file.
        report: Function that takes a `reader.Problem`.

    Returns:
        Dict of arrays: `intrinsics` `[3, 3]`, px; `rotations` `[frames, 3, 3]` and `translations`
        `[frames, 3]`, world to camera, mm; `coords3d_world` `[people, frames, 24, 3]`, mm;
        `is_camera_valid` and `is_seen`, boolean `[people, frames]`: whether the camera's pose
        is known, and whether a detector saw the person. None after a report if the file is
        missing, damaged, or holds something else.
    """
    try:
        content = restricted_pickle.load(path)
        cameras = _array(content, 'cam_poses', (-1, 4, 4))
        n_frames = len(cameras)
        coords3d = _array(content, 'jointPositions', (-1, n_frames, 3 * _N_JOINTS))
        coords2d = _array(content, 'poses2d', (len(coords3d), n_frames, 3, _N_JOINTS_2D))
        return {
            'intrinsics': _array(content, 'cam_intrinsics', (3, 3)),
            'rotations': cameras[:, :3, :3], 'translations': cameras[:, :3, 3] * _MM_PER_M,
            'coords3d_world': coords3d.reshape(*coords3d.shape[:2], _N_JOINTS, 3) * _MM_PER_M,
            'is_camera_valid': _array(content, 'campose_valid', coords3d.shape[:2]) > 0,
            'is_seen': np.any(coords2d != 0, axis=(2, 3))}
    except ValueError as error:
        report(reader.Problem(str(path), '', str(error)))
        return None


def _array(content, key, shape):
    """Float64 array of a value in the pickle; -1 stands for any size.

    Raises:
        ValueError: If it is missing or has another shape.
    """
    values = content.get(key) if isinstance(content, dict) else None
    try:
        values = np.array(values, np.float64)
    except (TypeError, ValueError):
        values = np.zeros(())
    if values.ndim != len(shape) or any(
            wanted not in (-1, size) for wanted, size in zip(shape, values.shape)):
        raise ValueError(f'`{key}` must have the shape {shape}. Received: shape={values.shape}')
    return values
