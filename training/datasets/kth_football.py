"""KTH Multiview Football II: players on a pitch in 3D, seen by three cameras (Kazemi et al. 2013).

Quirks kept in here: text files hold one number per line in MATLAB's column-major order, and pixels
that count from 1; the cameras are affine and change with every image; the world is centred on the
player, z up, in metres. The affine cameras become distant pinhole cameras, see `distant_camera`.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from metro_tf import skeleton
from training.datasets import labelled_person, photo_camera, reader

N_CAMERAS = 3
_JOINT_NAMES = skeleton.vocabulary_names('lsp_14')
_N_JOINTS = len(_JOINT_NAMES)
_MM_PER_M = 1000.0
# Annotations in 2D are a few pixels off (5.7 px in the median); more means a camera of another
# image.
_MAX_MEDIAN_ERROR_PX = 30.0
_SHIN_MM = (300.0, 550.0)
_LABELS = 'positions3d.txt'


@dataclasses.dataclass(frozen=True)
class KthFootballReader(reader.DatasetReader):
    """KTH Multiview Football II, the 3D part; an item is what one camera saw of a sequence.

    The `Sequence N` folders may lie at any depth, e.g. one for each unpacked archive.

    The labels in 2D are the projections of those in 3D, as in all data sets with 3D labels. The
    annotations in 2D serve to check them.

    Args:
        source_dir: Folder above those that hold `positions3d.txt`.
        distance_m: Distance of the pinhole cameras. At 100 m, they agree with the affine cameras
            within 1 % of a joint's distance in the picture from the middle of the body.
        step: Every so many-th frame is read.
    """
    source_dir: str
    distance_m: float = 100.0
    step: int = 1

    NAME = 'kth_football'
    CONVENTION = 'lsp_14'

    def __post_init__(self):
        if not self.distance_m >= 10:
            raise ValueError(
                f'`distance_m` must be at least 10. Received: distance_m={self.distance_m}')
        reader.check_step(self.step)

    def items(self, report):
        """One item for each sequence and camera, see `DatasetReader.items`."""
        root = pathlib.Path(self.source_dir)
        folders = sorted(path.parent for path in root.rglob(_LABELS))
        if not folders:
            raise ValueError(
                f'`source_dir` must be a folder above those that hold {_LABELS}. '
                f'Received: source_dir={self.source_dir}')
        items = []
        for folder in folders:
            for i_camera in range(N_CAMERAS):
                photos = sorted((folder / f'Camera {i_camera + 1}').glob('*.png'))
                if not photos:
                    report(reader.Problem(
                        str(folder / f'Camera {i_camera + 1}'), '', 'missing, or without photos'))
                else:
                    name = f'{folder.relative_to(root).as_posix()} camera {i_camera + 1}'
                    n_frames = -(-len(photos) // self.step)
                    items.append(reader.Item(name, n_frames, (str(folder), i_camera)))
        return tuple(items)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        folder, i_camera = pathlib.Path(item.content[0]), item.content[1]
        try:
            coords3d, coords2d, matrices = read_labels(folder)
        except ValueError as error:
            report(reader.Problem(str(folder), '', str(error)))
            return
        photo_dir = folder / f'Camera {i_camera + 1}'
        _check_sequence(folder, photo_dir, coords3d, report)
        for i_frame in range(0, len(coords3d), self.step):
            path = photo_dir / f'{i_frame + 1:05d}.png'
            photo = reader.read_photo(path, report)
            if photo is None:
                continue
            example = self._example(
                photo, f'{item.name}/{path.stem}', coords3d[i_frame], coords2d[i_frame, i_camera],
                matrices[i_frame, i_camera], functools.partial(_report_photo, report, path))
            if example is not None:
                yield example

    def _example(self, photo, name, coords3d, coords2d, matrix, report):
        """The example of a photo, or None after a report."""
        if np.linalg.matrix_rank(matrix[:, :3]) < 2:
            return report('the camera is damaged, left out')
        camera = distant_camera(matrix, np.mean(coords3d, axis=0), self.distance_m * _MM_PER_M)
        coords3d_cam = camera.to_camera_frame(coords3d)
        errors = np.linalg.norm(camera.project(coords3d_cam) - coords2d, axis=-1)
        if np.median(errors) > _MAX_MEDIAN_ERROR_PX:
            return report(f'2D and 3D labels differ by {np.median(errors):.0f} px, left out')
        example = labelled_person.to_example(
            photo, name, _JOINT_NAMES, coords3d_cam=coords3d_cam, camera=camera,
            camera_up=camera.direction_in_camera_frame([0, 0, 1]))
        return report('the person is outside the photo, left out') if example is None else example


def _report_photo(report, path, text):
    report(reader.Problem(str(path), '', text))


def _check_sequence(folder, photo_dir, coords3d, report):
    """Reports photos without labels, and shins that tell that the labels have another unit."""
    n_photos = len(list(photo_dir.glob('*.png')))
    if n_photos > len(coords3d):
        report(reader.Problem(
            str(photo_dir), '', f'{n_photos} photos but {len(coords3d)} labels, the rest is left '
            'out'))
    knee, ankle = (_JOINT_NAMES.index(name) for name in ('lkne', 'lank'))
    shin_mm = np.median(np.linalg.norm(coords3d[:, knee] - coords3d[:, ankle], axis=-1))
    if not _SHIN_MM[0] <= shin_mm <= _SHIN_MM[1]:
        report(reader.Problem(
            str(folder / _LABELS), '', f'shins of {shin_mm:.0f} mm, check the unit'))


def read_labels(folder):
    """Reads the three text files of a sequence.

    Args:
        folder: Path of a `Sequence N` folder.

    Returns:
        Tuple of float arrays: joints `[frames, 14, 3]`, world frame, mm; joints
        `[frames, cameras, 14, 2]`, px from 0; affine cameras `[frames, cameras, 2, 4]`, which take
        (x, y, z, 1) in mm to px from 0.

    Raises:
        ValueError: If a file is missing or damaged, or the files have different numbers of frames.
    """
    coords3d = _read_numbers(folder / _LABELS, [_N_JOINTS, 3]) * _MM_PER_M
    coords2d = _read_numbers(folder / 'positions2d.txt', [N_CAMERAS, _N_JOINTS, 2]) - 1
    matrices = _read_numbers(folder / 'cameras.txt', [N_CAMERAS, 4, 2]).swapaxes(2, 3)
    counts = [len(values) for values in (coords3d, coords2d, matrices)]
    if len(set(counts)) > 1:
        raise ValueError(
            f'{_LABELS}, positions2d.txt and cameras.txt must have the same number of frames. '
            f'Received: {counts}')
    matrices[..., :3] /= _MM_PER_M
    matrices[..., 3] -= 1
    return coords3d, coords2d, matrices


def _read_numbers(path, shape):
    """Float array `[frames, *shape]` of a text file with one number in each line."""
    if not path.is_file():
        raise ValueError(f'{path.name} is missing')
    try:
        numbers = np.array(path.read_text().split(), np.float64)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f'{path.name} must hold one number in each line. {error}') from None
    if not len(numbers) or len(numbers) % np.prod(shape) or not np.all(np.isfinite(numbers)):
        raise ValueError(
            f'{path.name} must hold {np.prod(shape)} finite numbers for each frame. '
            f'Received: {len(numbers)} numbers, {np.isfinite(numbers).sum()} of them finite')
    return numbers.reshape(-1, *shape)


def distant_camera(matrix, center, distance_mm):
    """The pinhole camera at a distance that agrees with an affine camera around a point.

    Both project the plane through the point that faces the camera alike. A joint by `depth` before
    or behind that plane is drawn to, or away from, the point's projection by the part
    `depth / distance_mm` of its distance from it.

    Convention: the rows of the affine matrix are spanned by the camera's axes to the right and
    down; the third axis, their cross product, points forward, since the world is right-handed.

    Args:
        matrix: Float array `[2, 4]` of rank 2, (x, y, z, 1) in mm to px.
        center: Float array `[3]`, world frame, mm.
        distance_mm: Distance of the camera from `center`.

    Returns:
        `photo_camera.PhotoCamera`.
    """
    linear = matrix[:, :3]
    down = linear[1] / np.linalg.norm(linear[1])
    skew = linear[0] @ down
    right = (linear[0] - skew * down) / np.linalg.norm(linear[0] - skew * down)
    rotation = np.stack([right, down, np.cross(right, down)])
    intrinsics = np.eye(3)
    intrinsics[:2, :2] = linear @ rotation[:2].T * distance_mm
    intrinsics[:2, 2] = linear @ center + matrix[:, 3]
    intrinsics[1, 0] = 0
    return photo_camera.PhotoCamera(
        intrinsics, rotation, np.array([0, 0, distance_mm]) - rotation @ center)
