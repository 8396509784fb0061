"""MPI-INF-3DHP, test part: six sequences in a studio and outdoors (Mehta et al. 2017).

Quirks kept in here: labels come without intrinsics, which are fitted to them; only a part of the
frames counts; pictures count from 1. The directions of up are from the published descriptions of
the two cameras.
"""

import dataclasses
import pathlib

import h5py
import numpy as np

from metro_tf import checks, skeleton
from training.datasets import labelled_person, photo_camera, reader

# Frames that count.
N_VALID = {'TS1': 603, 'TS2': 540, 'TS3': 505, 'TS4': 553, 'TS5': 276, 'TS6': 452}
LABELS = ('annot3', 'univ_annot3')
# The cameras' axes to the right and upwards, in worlds where y is up.
_STUDIO_AXES = (0.000575281, 0.0616098, -0.9981), (-0.208215, 0.976233, 0.06014)
_OUTDOOR_AXES = (
    (-0.939647257, -0.009210289, 0.342020929), (0.025272345, 0.995038509, 0.096227370))
_OUTDOOR_SEQUENCES = ('TS5', 'TS6')
_JOINT_NAMES = skeleton.CONVENTIONS['mpi_inf_3dhp_17'].joint_names
_SHAPES = {
    'valid_frame': (1,), 'activity_annotation': (1,), 'annot2': (1, 17, 2), 'annot3': (1, 17, 3),
    'univ_annot3': (1, 17, 3)}


@dataclasses.dataclass(frozen=True)
class MpiInf3dhpTestReader(reader.DatasetReader):
    """Reads the labels and pictures of the test part of MPI-INF-3DHP.

    An item is a sequence. Boxes are around the joints. Examples are named after their activity (1
    to 7) and their picture, such as TS1/activity 3/000017.

    Args:
        source_dir: Folder that holds TS1 to TS6.
        sequences: Names of the sequences to read.
        labels: 'annot3', the true size of the person, or 'univ_annot3', scaled to one height. The
            latter does not project to the picture; its 2D labels are those of the data set.
        only_valid: Whether frames are left out that do not count in the official evaluation.
    """
    source_dir: str
    sequences: tuple = tuple(N_VALID)
    labels: str = 'annot3'
    only_valid: bool = True

    NAME = 'mpi_inf_3dhp_test'
    CONVENTION = 'mpi_inf_3dhp_17'

    def __post_init__(self):
        checks.one_of(self.labels, LABELS, 'labels')
        if not set(self.sequences) <= set(N_VALID) or len(set(self.sequences)) != len(
                self.sequences):
            raise ValueError(
                f'`sequences` must be distinct ones of {tuple(N_VALID)}. '
                f'Received: {self.sequences}')

    def items(self, report):
        """One item for each sequence, see `DatasetReader.items`."""
        folder = reader.existing_dir(self.source_dir, self.sequences)
        for name in self.sequences:
            if not (folder / name).is_dir():
                report(reader.Problem(str(folder / name), '', 'missing'))
        return tuple(
            reader.Item(name, N_VALID[name]) for name in self.sequences if (folder / name).is_dir())

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        folder = pathlib.Path(self.source_dir, item.name)
        try:
            annotations = read_annotations(folder / 'annot_data.mat')
            intrinsics = photo_camera.fit_intrinsics(
                annotations['annot2'], annotations['annot3'])
        except ValueError as error:
            report(reader.Problem(str(folder / 'annot_data.mat'), '', f'{error}; left out'))
            return
        camera = photo_camera.PhotoCamera(intrinsics)
        is_valid = annotations['valid_frame'][:, 0] == 1
        if self.only_valid and not np.all(is_valid):
            report(reader.Problem(
                str(folder / 'annot_data.mat'), f'{np.sum(~is_valid)} frames',
                'not valid for the evaluation, left out', is_expected=True))
        for i_frame in np.flatnonzero(is_valid | (not self.only_valid)):
            path = folder / 'imageSequence' / f'img_{i_frame + 1:06d}.jpg'
            photo = reader.read_photo(path, report)
            if photo is None:
                continue
            activity = int(annotations['activity_annotation'][i_frame, 0])
            example = labelled_person.to_example(
                photo, f'{item.name}/activity {activity}/{i_frame + 1:06d}', _JOINT_NAMES,
                coords3d_cam=annotations[self.labels][i_frame, 0], camera=camera,
                coords2d=None if self.labels == 'annot3' else annotations['annot2'][i_frame, 0],
                camera_up=world_up(item.name))
            if example is None:
                report(reader.Problem(str(path), '', 'the person is outside, left out'))
            else:
                yield example

    def expected_counts(self):
        """See `DatasetReader.expected_counts`."""
        counts = {'items': len(self.sequences)}
        if self.only_valid:
            counts['examples'] = sum(N_VALID[name] for name in self.sequences)
        return counts


def read_annotations(path):
    """Reads an `annot_data.mat` file.

    Args:
        path: Path of the file.

    Returns:
        Dict of float64 arrays: `valid_frame` and `activity_annotation` `[frames, 1]`, `annot2`
        `[frames, 1, 17, 2]` in px, `annot3` and `univ_annot3` `[frames, 1, 17, 3]` in mm, camera
        frame.

    Raises:
        ValueError: If the file is missing or damaged, or holds another skeleton.
    """
    try:
        with h5py.File(path, 'r') as file:
            arrays = {name: np.asarray(file[name], np.float64) for name in _SHAPES}
    except (OSError, KeyError) as error:
        raise ValueError(f'missing or damaged: {error}') from error
    n_frames = len(arrays['annot3'])
    for name, shape in _SHAPES.items():
        if arrays[name].shape != (n_frames, *shape):
            raise ValueError(
                f'`{name}` must have shape {(n_frames, *shape)}. Received: {arrays[name].shape}')
    return arrays


def world_up(sequence):
    """The world's up in the camera frame of a sequence, float array `[3]`."""
    right, up = np.array(_OUTDOOR_AXES if sequence in _OUTDOOR_SEQUENCES else _STUDIO_AXES)
    return np.stack([right, -up, np.cross(up, right)])[:, 1]
