"""MuCo-3DHP: composites of four people each out of MPI-INF-3DHP, for training (Mehta et al. 2018).

Users make the composites by the authors' MATLAB scripts. Quirks kept in here: their label files
lack the camera and have 3D labels relative to the pelvis of skeletons that are normalised in
height, so the true ones are looked up in MPI-INF-3DHP; composites count from 1 and frames from 0.
"""

import dataclasses
import functools
import pathlib

import h5py
import numpy as np

from metro_tf import checks, skeleton
from training.datasets import coco_json, matlab, mpi_inf_3dhp, photo_camera, photo_people, reader

_JOINT_NAMES = skeleton.CONVENTIONS['muco_21'].joint_names
_N_JOINTS = len(_JOINT_NAMES)
_JOINT_NAMES_3DHP = skeleton.CONVENTIONS['mpi_inf_3dhp_28'].joint_names
_JOINTS_3DHP = [_JOINT_NAMES_3DHP.index(name) for name in _JOINT_NAMES]
_WORLD_UP = (0.0, 1.0, 0.0)
_PELVIS = _JOINT_NAMES.index('pelv')
_N_PEOPLE = 4
_N_COMPOSITES_PER_CHUNK = 500
_COMPOSITE_INDEX = 'sampled_dataset_info.mat'
# Hips and spine of MPI-INF-3DHP do not project exactly onto their 2D labels.
_MAX_MEDIAN_ERROR_PX = 3.0


@dataclasses.dataclass(frozen=True)
class MucoReader(reader.DatasetReader):
    """MuCo-3DHP as the authors' scripts write it: composites of four people, 21 joints.

    Args:
        source_dir: Folder that holds the composites' folders and sampled_dataset_info.mat.
        composites: Name of the folder of composites.
        mpi_inf_3dhp_dir: Folder of MPI-INF-3DHP, out of which 3D labels of true size and cameras
            are taken; without it there are labels in 2D only.
    """
    source_dir: str
    composites: str = 'unaugmented_set_001'
    mpi_inf_3dhp_dir: str = ''

    NAME = 'muco'
    CONVENTION = 'muco_21'

    def items(self, report):
        """One item for each chunk of 500 composites, see `DatasetReader.items`."""
        folder = reader.existing_dir(self.source_dir, [self.composites])
        if self.mpi_inf_3dhp_dir:
            reader.existing_dir(folder, [_COMPOSITE_INDEX])
            if not pathlib.Path(self.mpi_inf_3dhp_dir, 'S1').is_dir():
                raise ValueError(
                    '`mpi_inf_3dhp_dir` must be the folder that holds S1 to S8. '
                    f'Received: mpi_inf_3dhp_dir={self.mpi_inf_3dhp_dir}')
        paths = sorted((folder / self.composites).glob('chunk_*_annot.mat'))
        if not paths:
            report(reader.Problem(
                str(folder / self.composites), '', 'no files chunk_00001_annot.mat and so on'))
        return tuple(
            reader.Item(f'{self.composites}/{path.stem}', _N_COMPOSITES_PER_CHUNK, str(path))
            for path in paths)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        chunk = _read_chunk(item.content, report)
        if chunk is None:
            return iter(())
        return photo_people.examples(self._photos(item, *chunk, report), _JOINT_NAMES, report)

    def _photos(self, item, names, coords2d, report):
        folder = pathlib.Path(item.content).parent
        for name, people2d in zip(names, coords2d):
            stem = name.rpartition('.')[0]
            people = [
                {'name': f'{self.composites}/{stem}/{i_person}', 'coords2d': person2d}
                for i_person, person2d in enumerate(people2d)]
            if self.mpi_inf_3dhp_dir:
                people = self._with_true_poses(people, int(stem), str(folder / name), report)
            yield photo_people.Photo(str(folder / name), tuple(people))

    def _with_true_poses(self, people, number, path, report):
        """The people with camera and 3D labels, without those whose labels do not agree."""
        index_path = pathlib.Path(self.source_dir) / _COMPOSITE_INDEX
        try:
            origins = read_origins(index_path, number)
            true = [true_pose(self.mpi_inf_3dhp_dir, *origin) for origin in origins]
        except (OSError, ValueError, KeyError, IndexError) as error:
            report(reader.Problem(path, '', f'no 3D labels, left out: {error!r}'))
            return []
        # The scripts sort people front to back.
        true.sort(key=lambda pose: pose['coords3d_cam'][_PELVIS, 2])
        result = []
        for person, pose in zip(people, true):
            projected = pose['camera'].project(pose['coords3d_cam'])
            error = np.median(np.linalg.norm(projected - person['coords2d'], axis=-1))
            if error < _MAX_MEDIAN_ERROR_PX:
                result.append({**person, **pose})
            else:
                report(reader.Problem(
                    path, person['name'],
                    f'3D labels are {error:.0f} px off the 2D labels, left out'))
        return result


@dataclasses.dataclass(frozen=True)
class MucoProcessedReader(reader.DatasetReader):
    """MuCo-3DHP as processed by Moon et al. in the format of COCO, 21 joints in 3D.

    Args:
        source_dir: Folder that holds MuCo-3DHP.json and the folders of photos that it names.
        subset: 'all', or 'augmented' or 'unaugmented' for the photos of one folder.
    """
    source_dir: str
    subset: str = 'all'

    NAME = 'muco_processed'
    CONVENTION = 'muco_21'

    def __post_init__(self):
        checks.one_of(self.subset, ('all', 'augmented', 'unaugmented'), 'subset')

    def items(self, report):
        """One item for some hundred photos, see `DatasetReader.items`."""
        folder = reader.existing_dir(self.source_dir, ['MuCo-3DHP.json'])
        path = folder / 'MuCo-3DHP.json'
        keys = ['f', 'c', 'bbox', 'keypoints_img', 'keypoints_cam', 'keypoints_vis']
        photos = []
        for image, annotations in coco_json.load(path, keys, report) or ():
            if self.subset in ('all', image['file_name'].partition('_')[0]):
                people = _processed_people(image, annotations, path, report)
                photos.append(photo_people.Photo(str(folder / image['file_name']), people))
        return photo_people.make_items(
            [photo for photo in photos if photo.people], self.subset, report)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        return photo_people.examples(item.content, _JOINT_NAMES, report)


def _processed_people(image, annotations, path, report):
    """Tuple of dicts with the labels of the people of a photo."""
    focal, center = (coco_json.numbers(image, key, 2) for key in 'fc')
    if annotations and (focal is None or center is None):
        report(reader.Problem(
            str(path), f'image {image["id"]}', 'no camera f and c, its people are left out'))
        return ()
    result = []
    for row in annotations:
        coords2d, coords3d, box, visibility = (
            coco_json.numbers(row, key, n) for key, n in (
                ('keypoints_img', 2), ('keypoints_cam', 3), ('bbox', 4), ('keypoints_vis', 1)))
        if any(coords is None or len(coords) != _N_JOINTS for coords in (coords2d, coords3d)) or (
                box is None):
            report(reader.Problem(
                str(path), f'annotation {row["id"]}',
                f'must have {_N_JOINTS} joints in 2D and 3D and a box, left out'))
            continue
        result.append({
            'name': f'{image["file_name"].rpartition(".")[0]}/{row["id"]}',
            'coords2d': np.float32(coords2d), 'coords3d_cam': np.float32(coords3d),
            'box': np.float32(box[0] - [0.5, 0.5, 0, 0]),
            'camera': photo_camera.PhotoCamera(np.array([
                [focal[0, 0], 0, center[0, 0]], [0, focal[0, 1], center[0, 1]], [0, 0, 1]])),
            'visibility': None if visibility is None else np.float32(visibility.ravel() > 0)})
    return tuple(result)


def _read_chunk(path, report):
    """List of the composites' file names and px `[composites, people, 21, 2]`, or None."""
    variables = matlab.load(path, ['img_names', 'joint_loc2'], report)
    if variables is None:
        return None
    names = [str(matlab.first(cell)) for cell in np.ravel(variables[0])]
    shape = variables[1].shape
    if len(shape) == 3:  # MATLAB drops a last axis of one composite
        shape = (*shape, 1)
    if shape != (2, _N_JOINTS, _N_PEOPLE, len(names)):
        report(reader.Problem(
            path, '', f'joint_loc2 must have the shape (2, {_N_JOINTS}, {_N_PEOPLE}, '
            f'{len(names)}), but has {shape}'))
        return None
    return names, np.float32(variables[1].reshape(shape).transpose(3, 2, 1, 0))


def read_origins(index_path, number):
    """Where the people of a composite are from.

    Args:
        index_path: Path of sampled_dataset_info.mat, a MATLAB file of version 7.3.
        number: The composite's number, from 1.

    Returns:
        List of tuples: subject and sequence from 1, camera and frame from 0.

    Raises:
        OSError, KeyError, IndexError, ValueError: If the file is missing or damaged, or has no
            such composite.
    """
    with h5py.File(index_path, 'r') as file:
        # MATLAB's axes are reversed: [people, composites].
        people = file['composite_info'][:, number - 1]
        return [tuple(int(i) for i in np.ravel(file[file[cell][0, 0]][()])) for cell in people]


def true_pose(mpi_inf_3dhp_dir, subject, sequence, i_camera, i_frame):
    """Dict of the arguments `camera`, `camera_up` and `coords3d_cam` for `to_example`.

    Args:
        mpi_inf_3dhp_dir: Folder of the data set.
        subject: From 1.
        sequence: 1 or 2.
        i_camera: From 0.
        i_frame: From 0.

    Raises:
        OSError, KeyError, IndexError, ValueError: If something is missing or damaged.
    """
    folder = f'{mpi_inf_3dhp_dir}/S{subject}/Seq{sequence}'
    camera, _ = _read_calibration(f'{folder}/camera.calibration')[i_camera]
    return {
        'camera': camera, 'camera_up': camera.direction_in_camera_frame(_WORLD_UP),
        'coords3d_cam': _true_coords(f'{folder}/annot.mat')[i_camera][i_frame]}


@functools.lru_cache(maxsize=None)
def _true_coords(path):
    """List by camera of float32 arrays `[frames, 21, 3]`, camera frame, mm.

    All 16 sequences stay in memory, about 460 MB, since every composite mixes them.
    """
    problems = []
    variables = matlab.load(path, ['annot3'], problems.append)
    if variables is None:
        raise ValueError(str(problems[0]))
    return [
        np.float32(coords.reshape(-1, len(_JOINT_NAMES_3DHP), 3)[:, _JOINTS_3DHP])
        for coords in np.ravel(variables[0])]


_read_calibration = functools.lru_cache(maxsize=None)(mpi_inf_3dhp.read_calibration)
