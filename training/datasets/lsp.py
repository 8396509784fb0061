"""Leeds Sports Pose and its extension: photos of sports with 14 joints in 2D.

Quirks kept in here: pixels count from 1; the third value of a joint means occluded in LSP, and
labelled in LSP Extended, where the coordinates of the others are meaningless; HR-LSPET, a refined
release of the latter, has PNG files beside joints.mat instead of JPEG files in a folder.
"""

import dataclasses
import pathlib

import numpy as np

from metro_tf import checks, skeleton
from training.datasets import lspet, matlab, photo_people, reader

_JOINT_NAMES = skeleton.CONVENTIONS['lsp_14'].joint_names
_N_LSP_PHOTOS = 2000
_LSP_RANGES = {'train': (1, 1000), 'test': (1001, 2000), 'all': (1, _N_LSP_PHOTOS)}
_N_LSPET_PHOTOS = 10000
# No photo of the release has fewer labelled joints.
_MIN_LSPET_JOINTS = 4


@dataclasses.dataclass(frozen=True)
class LspReader(reader.DatasetReader):
    """Leeds Sports Pose: 2000 photos of one labelled person each, 14 joints in 2D.

    Args:
        source_dir: Folder that holds joints.mat and images.
        split: 'train', 'test', or 'all'.
    """
    source_dir: str
    split: str = 'train'

    NAME = 'lsp'
    CONVENTION = 'lsp_14'

    def __post_init__(self):
        checks.one_of(self.split, _LSP_RANGES, 'split')

    def items(self, report):
        """One item for some hundred photos, see `DatasetReader.items`."""
        folder = reader.existing_dir(self.source_dir, ['joints.mat'])
        joints = _read_joints(folder, (3, 14), report)
        if joints is None:
            return ()
        first, last = _LSP_RANGES[self.split]
        numbers = _labelled_numbers(range(first, last + 1), joints, folder, report)
        photos = [
            _photo(folder / 'images' / f'im{number:04}.jpg',
                   joints[:2, :, number - 1].T, 1 - joints[2, :, number - 1])
            for number in numbers]
        return photo_people.make_items(photos, self.split, report)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        return photo_people.examples(item.content, _JOINT_NAMES, report)

    def expected_counts(self):
        """See `DatasetReader.expected_counts`."""
        first, last = _LSP_RANGES[self.split]
        return {'examples': last - first + 1}


@dataclasses.dataclass(frozen=True)
class LspetReader(reader.DatasetReader):
    """LSP Extended, or HR-LSPET: 10,000 photos of one labelled person each, 14 joints in 2D.

    Args:
        source_dir: Folder that holds joints.mat and images; those of HR-LSPET can lie beside it.
        split: 'all', or 'train' or 'holdout' as the file splits.json tells, see `lspet.read_split`.
        min_joints: Photos with fewer labelled joints are left out.
    """
    source_dir: str
    split: str = 'all'
    min_joints: int = _MIN_LSPET_JOINTS

    NAME = 'lspet'
    CONVENTION = 'lsp_14'

    def __post_init__(self):
        checks.one_of(self.split, ('all', 'train', 'holdout'), 'split')
        checks.positive(self.min_joints, 'min_joints')

    def items(self, report):
        """One item for some hundred photos, see `DatasetReader.items`."""
        folder = reader.existing_dir(self.source_dir, ['joints.mat'])
        joints = _read_joints(folder, (14, 3), report)
        if joints is None:
            return ()
        numbers = _labelled_numbers(
            range(1, _N_LSPET_PHOTOS + 1) if self.split == 'all'
            else lspet.read_split(folder, self.split), joints, folder, report)
        n_labelled = np.count_nonzero(joints[:, 2] > 0, axis=0)
        kept = [number for number in numbers if n_labelled[number - 1] >= self.min_joints]
        photo_people.report_counts(folder / 'joints.mat', {
            f'photos with fewer than {self.min_joints} joints': len(numbers) - len(kept)}, report)
        photos = [
            _photo(path, *_lspet_labels(joints[..., number - 1]))
            for number, path in zip(kept, _lspet_paths(folder, kept))]
        return photo_people.make_items(photos, self.split, report)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        return photo_people.examples(item.content, _JOINT_NAMES, report)

    def expected_counts(self):
        """See `DatasetReader.expected_counts`."""
        is_whole = self.split == 'all' and self.min_joints <= _MIN_LSPET_JOINTS
        return {'examples': _N_LSPET_PHOTOS} if is_whole else {}


def _read_joints(folder, shape, report):
    """The array `joints`, float `[*shape, n]`, or None after a report."""
    path = folder / 'joints.mat'
    variables = matlab.load(path, ['joints'], report)
    if variables is None:
        return None
    joints = variables[0]
    if joints.ndim != 3 or joints.shape[:2] != shape:
        report(reader.Problem(
            str(path), '', f'joints must have the shape {shape} x n, but has {joints.shape}'))
        return None
    return joints


def _labelled_numbers(numbers, joints, folder, report):
    """Those numbers of photos that there are labels for, the others are reported."""
    kept = [number for number in numbers if number <= joints.shape[2]]
    if len(kept) < len(numbers):
        report(reader.Problem(
            str(folder / 'joints.mat'), '',
            f'damaged: labels of {joints.shape[2]} photos, but photos up to {numbers[-1]} wanted'))
    return kept


def _photo(path, coords2d, visibility):
    coords2d = np.float32(coords2d) - 1
    return photo_people.Photo(str(path), ({
        'name': path.stem, 'coords2d': coords2d, 'visibility': np.float32(visibility)},))


def _lspet_labels(joints):
    """Px `[14, 2]`, counted from 1, NaN where not labelled; and which are labelled."""
    is_labelled = joints[:, 2] > 0
    return np.where(is_labelled[:, np.newaxis], joints[:, :2], np.nan), is_labelled


def _lspet_paths(folder, numbers):
    """Paths of photos, in the layout in which the first one is found."""
    layouts = [
        [folder / part / f'im{number:05}{suffix}' for number in numbers]
        for part, suffix in (('images', '.jpg'), ('images', '.png'), ('', '.png'), ('', '.jpg'))]
    return next((paths for paths in layouts if any(map(pathlib.Path.is_file, paths))), layouts[0])
