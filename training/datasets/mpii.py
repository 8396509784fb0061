"""MPII Human Pose: photos from videos with up to 16 joints in 2D (Andriluka et al. 2014).

Quirks kept in here: labels are nested MATLAB structs in which anything can be absent; pixels count
from 1; the box that is given is that of the head; head and neck often lack `is_visible`.
"""

import collections
import dataclasses

import numpy as np

from metro_tf import checks, skeleton
from training.datasets import matlab, photo_people, reader

ANNOTATIONS = 'mpii_human_pose_v1_u12_1.mat'
_JOINT_NAMES = skeleton.CONVENTIONS['mpii_16'].joint_names
_SCALE_PX = 200.0
# The annotated centre is at the chest; source: MeTRAbs, after Sun et al. 2018.
_CENTER_SHIFT = 0.075


@dataclasses.dataclass(frozen=True)
class MpiiReader(reader.DatasetReader):
    """MPII Human Pose: the people of the training photos, 16 joints in 2D.

    Args:
        source_dir: Folder that holds mpii_human_pose_v1_u12_1.mat and images.
        box: 'joints' for boxes around the labelled joints, or 'scale' for the square that the
            annotated scale gives, as MeTRAbs takes it.
        single_person_only: Whether to leave out people who are close to others, by the
            annotators' list.
        min_joints: People with fewer labelled joints inside or outside of the photo are left out.
    """
    source_dir: str
    box: str = 'joints'
    single_person_only: bool = False
    min_joints: int = 4

    NAME = 'mpii'
    CONVENTION = 'mpii_16'

    def __post_init__(self):
        checks.one_of(self.box, ('joints', 'scale'), 'box')
        checks.positive(self.min_joints, 'min_joints')

    def items(self, report):
        """One item for some hundred photos, see `DatasetReader.items`."""
        path = reader.existing_dir(self.source_dir, [ANNOTATIONS]) / ANNOTATIONS
        variables = matlab.load(path, ['RELEASE'], report)
        if variables is None:
            return ()
        release = matlab.first(variables[0])
        columns = [
            matlab.entries(release, name) for name in ('annolist', 'img_train', 'single_person')]
        if len({len(column) for column in columns}) != 1 or not len(columns[0]):
            report(reader.Problem(
                str(path), '', 'damaged: annolist, img_train and single_person differ in length'))
            return ()
        left_out = collections.Counter()
        photos = [
            self._photo(path, annotation, np.ravel(single_numbers), left_out, report)
            for annotation, is_training, single_numbers in zip(*columns) if is_training]
        photo_people.report_counts(path, left_out, report)
        return photo_people.make_items([photo for photo in photos if photo.people], 'train', report)

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        return photo_people.examples(item.content, _JOINT_NAMES, report)

    def _photo(self, path, annotation, single_numbers, left_out, report):
        """The `Photo` of an entry of annolist; `left_out` counts who is not in it."""
        name = str(matlab.entry(matlab.entry(annotation, 'image'), 'name'))
        people = []
        for number, person in enumerate(matlab.entries(annotation, 'annorect'), start=1):
            points = matlab.entries(matlab.entry(person, 'annopoints'), 'point')
            coords2d, visibility = _joints(points, str(path), f'{name}, person {number}', report)
            n_joints = np.isfinite(coords2d[:, 0]).sum()
            if not len(points):
                left_out['training people without joints'] += 1
            elif n_joints < self.min_joints:
                left_out[f'people with fewer than {self.min_joints} joints'] += 1
            elif self.single_person_only and number not in single_numbers:
                left_out['people close to others'] += 1
            elif self.box == 'scale' and _scale_box(person) is None:
                report(reader.Problem(
                    str(path), f'{name}, person {number}', 'no scale or centre, left out'))
            else:
                people.append({
                    'name': f'{name.rpartition(".")[0]}/{number}', 'coords2d': coords2d,
                    'visibility': visibility,
                    'box': _scale_box(person) if self.box == 'scale' else None})
        return photo_people.Photo(str(path.parent / 'images' / name), tuple(people))


def _joints(points, path, item, report):
    """Px `[16, 2]`, NaN where not labelled, and visibility `[16]` of a person's points."""
    coords2d = np.full([len(_JOINT_NAMES), 2], np.nan, np.float32)
    visibility = np.zeros(len(_JOINT_NAMES), np.float32)
    for point in points:
        i_joint, x, y = (matlab.entry(point, name) for name in ('id', 'x', 'y'))
        if i_joint not in range(len(_JOINT_NAMES)) or x is None or y is None:
            report(reader.Problem(path, item, f'joint {i_joint} at {x}, {y} is none, left out'))
        elif np.isfinite(coords2d[int(i_joint), 0]):
            report(reader.Problem(
                path, item, f'joint {i_joint} occurs more than once, only the first is kept'))
        else:
            coords2d[int(i_joint)] = float(x) - 1, float(y) - 1
            visibility[int(i_joint)] = _is_visible(point)
    return coords2d, visibility


def _is_visible(point):
    """Joints without the flag, which are heads and necks, count as visible."""
    flag = matlab.entry(point, 'is_visible')
    return flag is None or float(flag) > 0


def _scale_box(person):
    """The square `[4]` around a person by the annotated scale, px; None if that is not given."""
    center = matlab.entry(person, 'objpos')
    scale, x, y = (
        matlab.entry(person, 'scale'), matlab.entry(center, 'x'), matlab.entry(center, 'y'))
    if scale is None or x is None or y is None:
        return None
    side = float(scale) * _SCALE_PX
    left, top = float(x) - 1 - side / 2, float(y) - 1 + _CENTER_SHIFT * side - side / 2
    return np.array([left, top, side, side], np.float32)
