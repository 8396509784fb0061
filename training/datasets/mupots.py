"""MuPoTS-3D: 20 videos of several people with 17 joints in 3D, for tests (Mehta et al. 2018).

Quirks kept in here: people stay in the list in frames in which they have no labels; there is no
calibration, so the camera is fitted to the labels.
"""

import dataclasses

import numpy as np

from metro_tf import checks, skeleton
from training.datasets import matlab, photo_camera, photo_people, reader

LABELS = ('annot3', 'univ_annot3')
_JOINT_NAMES = skeleton.CONVENTIONS['mpi_inf_3dhp_17'].joint_names
_N_JOINTS = len(_JOINT_NAMES)
_N_SEQUENCES = 20
# The fit leaves 2 px at hips and spine, which the data set moved in 3D only.
_MAX_MEDIAN_RESIDUAL_PX = 10.0


@dataclasses.dataclass(frozen=True)
class MupotsReader(reader.DatasetReader):
    """MuPoTS-3D: test videos of several people, 17 joints in 3D.

    Args:
        source_dir: Folder that holds TS1 to TS20, or MultiPersonTestSet with them.
        step: Every n-th frame is taken, from the first.
        labels: 'annot3', the true size of the person, or 'univ_annot3', scaled to one height. The
            latter does not project to the picture; 2D labels are those of the data set.
    """
    source_dir: str
    step: int = 1
    labels: str = 'annot3'

    NAME = 'mupots'
    CONVENTION = 'mpi_inf_3dhp_17'

    def __post_init__(self):
        checks.one_of(self.labels, LABELS, 'labels')
        checks.positive(self.step, 'step')

    def items(self, report):
        """One item for each sequence, see `DatasetReader.items`."""
        folder = reader.existing_dir(self.source_dir, ['TS1', 'MultiPersonTestSet'])
        if (folder / 'MultiPersonTestSet').is_dir():
            folder = folder / 'MultiPersonTestSet'
        found = []
        for number in range(1, _N_SEQUENCES + 1):
            sequence_dir = folder / f'TS{number}'
            if sequence_dir.is_dir():
                n_photos = sum(1 for _ in sequence_dir.glob('img_*.jpg'))
                found.append(reader.Item(
                    sequence_dir.name, -(-n_photos // self.step), str(sequence_dir)))
            else:
                report(reader.Problem(str(sequence_dir), '', 'missing'))
        return tuple(found)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        people, camera = read_sequence(item.content, report)
        if camera is None:
            return iter(())
        n_invalid = sum(not person['is_valid'] for row in people for person in row)
        photo_people.report_counts(
            f'{item.content}/annot.mat', {'labels of people out of sight': n_invalid}, report)
        if item.n_frames * self.step >= len(people) + self.step:
            report(reader.Problem(
                item.content, '', f'photos without labels after {len(people)}', is_expected=True))
        photos = (
            self._photo(item, i_frame, people[i_frame], camera)
            for i_frame in range(0, len(people), self.step))
        return photo_people.examples(photos, _JOINT_NAMES, report)

    def expected_counts(self):
        """See `DatasetReader.expected_counts`."""
        return {'items': _N_SEQUENCES}

    def _photo(self, item, i_frame, row, camera):
        return photo_people.Photo(photo_path(item.content, i_frame), tuple(
            {'name': f'{item.name}/{i_frame:06}/{i_person}', 'camera': camera,
             'coords2d': person['annot2'], 'coords3d_cam': person[self.labels],
             'visibility': person['visibility']}
            for i_person, person in enumerate(row) if person['is_valid']))


def photo_path(sequence_dir, i_frame):
    """Path of the photo of a frame."""
    return f'{sequence_dir}/img_{i_frame:06}.jpg'


def read_sequence(sequence_dir, report):
    """Reads the labels of a sequence and fits its camera to them.

    Args:
        sequence_dir: Folder with annot.mat and occlusion.mat.
        report: Function that takes a `reader.Problem`.

    Returns:
        Pair of the people and of a `photo_camera.PhotoCamera` that projects the labels in 3D to
        those in 2D. The people are a list by frame of lists by person of dicts: `is_valid`;
        `annot2` `[17, 2]`, px; `annot3` and `univ_annot3` `[17, 3]`, camera frame, mm, of true and
        of normalised size; `visibility` `[17]`, or None where that is not known. After a report,
        no people and None if annot.mat is missing or damaged or no camera fits.
    """
    people = _read_people(sequence_dir, report)
    camera = None if people is None else _fitted_camera(people, sequence_dir, report)
    return ([], None) if camera is None else (people, camera)


def _read_people(sequence_dir, report):
    """The people of `read_sequence`; None after a report if there are no labels."""
    path = f'{sequence_dir}/annot.mat'
    variables = matlab.load(path, ['annotations'], report)
    if variables is None:
        return None
    occlusion = matlab.load(f'{sequence_dir}/occlusion.mat', ['occlusion_labels'], report)
    if occlusion is not None and occlusion[0].shape != variables[0].shape:
        report(reader.Problem(
            f'{sequence_dir}/occlusion.mat', '',
            f'{occlusion[0].shape} labels instead of {variables[0].shape}, all are left out'))
        occlusion = None
    return [
        [_person(cell, occlusion and occlusion[0][i_frame, i_person],
                 path, f'frame {i_frame}, person {i_person}', report)
         for i_person, cell in enumerate(row)]
        for i_frame, row in enumerate(variables[0])]


def _person(cell, occlusion, path, item, report):
    """The labels in a cell, see `read_sequence`; an empty one has no valid labels."""
    struct = matlab.first(cell)
    is_valid = bool(matlab.entry(struct, 'isValidFrame'))
    labels = {'is_valid': is_valid, 'visibility': _visibility(occlusion)}
    for key, n_coords in (('annot2', 2), ('annot3', 3), ('univ_annot3', 3)):
        coords = np.asarray(getattr(struct, key, ()))
        if coords.shape == (n_coords, _N_JOINTS):
            labels[key] = np.float32(coords.T)
        elif is_valid:
            report(reader.Problem(
                path, item, f'{key} must have the shape {(n_coords, _N_JOINTS)}, but has '
                f'{coords.shape}; the person is left out'))
            labels['is_valid'] = is_valid = False
    return labels


def _visibility(occlusion):
    values = np.ravel(() if occlusion is None else occlusion)
    return np.float32(1 - values) if values.size == _N_JOINTS else None


def _fitted_camera(people, sequence_dir, report):
    """`PhotoCamera` that projects the labels in 3D to those in 2D; None after a report."""
    valid = [person for row in people for person in row if person['is_valid']]
    if not valid:
        report(reader.Problem(f'{sequence_dir}/annot.mat', '', 'no person has labels'))
        return None
    coords2d, coords3d = (
        np.concatenate([person[key] for person in valid]).astype(np.float64)
        for key in ('annot2', 'annot3'))
    camera = photo_camera.PhotoCamera(photo_camera.fit_intrinsics(coords2d, coords3d))
    residual = np.median(np.linalg.norm(camera.project(coords3d) - coords2d, axis=-1))
    if residual > _MAX_MEDIAN_RESIDUAL_PX:
        report(reader.Problem(
            f'{sequence_dir}/annot.mat', '',
            f'no camera projects annot3 to annot2 (median error {residual:.0f} px)'))
        return None
    return camera
