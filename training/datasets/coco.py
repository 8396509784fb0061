"""COCO keypoints: everyday photos with up to 17 joints in 2D (Lin et al. 2014).

Quirks kept in here: joints without label lie at (0, 0); crowds have one box for many people; boxes
count from the corner of the first pixel, joints from its centre.
"""

import collections
import dataclasses

import numpy as np

from metro_tf import checks, skeleton
from metro_tf.geometry import boxes as boxes_lib
from training.datasets import coco_json, labelled_person, photo_people, reader

_JOINT_NAMES = skeleton.CONVENTIONS['coco_17'].joint_names
_N_LABELLED_PEOPLE = {(2017, 'train'): 149813, (2017, 'val'): 6352}
# The selection of MeTRAbs for weak supervision.
_MIN_VISIBLE_SHARE = 1 / 3
_MIN_LABELLED_SHARE = 1 / 2
_BOX_ENLARGEMENT = 1.25
_MIN_BOX_SIDE_PX = 200
_MAX_IOU = 0.1


@dataclasses.dataclass(frozen=True)
class CocoReader(reader.DatasetReader):
    """COCO keypoints: people in everyday photos, 17 joints in 2D.

    Args:
        source_dir: Folder that holds annotations and the photos' folder, e.g. train2017, which
            can be in a folder images.
        split: 'train' or 'val'.
        year: 2017 or 2014.
        selection: 'all' for everybody with a labelled joint, or 'metrabs' for whom MeTRAbs learns
            from: a third of the joints visible, half of them labelled, at least 200 px large, and
            apart from the others.
    """
    source_dir: str
    split: str = 'train'
    year: int = 2017
    selection: str = 'all'

    NAME = 'coco'
    CONVENTION = 'coco_17'

    def __post_init__(self):
        checks.one_of(self.split, ('train', 'val'), 'split')
        checks.one_of(self.year, (2014, 2017), 'year')
        checks.one_of(self.selection, ('all', 'metrabs'), 'selection')

    def items(self, report):
        """One item for some hundred photos, see `DatasetReader.items`."""
        path, photo_dir = self.paths()
        rows = coco_json.load(path, ['keypoints', 'bbox', 'iscrowd'], report)
        left_out = collections.Counter()
        photos = []
        for image, annotated in rows or ():
            prefix = f'{self.split}{self.year}/{image["file_name"].rpartition(".")[0]}'
            people = _people(annotated, prefix, path, left_out, report)
            if self.selection == 'metrabs':
                people = _selected(people, left_out)
            photos.append(photo_people.Photo(str(photo_dir / image['file_name']), tuple(people)))
        photo_people.report_counts(path, left_out, report)
        return photo_people.make_items(
            [photo for photo in photos if photo.people], f'{self.split}{self.year}', report)

    def paths(self):
        """Pair of the paths of the annotation file and of the photos' folder.

        Raises:
            ValueError: If there is no such annotation file.
        """
        name = f'{self.split}{self.year}'
        annotations = f'annotations/person_keypoints_{name}.json'
        folder = reader.existing_dir(self.source_dir, [annotations])
        in_images = folder / 'images' / name
        return folder / annotations, in_images if in_images.is_dir() else folder / name

    def examples(self, item, report):
        """See `DatasetReader.examples`."""
        return photo_people.examples(item.content, _JOINT_NAMES, report)

    def expected_counts(self):
        """See `DatasetReader.expected_counts`."""
        known = _N_LABELLED_PEOPLE.get((self.year, self.split))
        return {'examples': known} if known and self.selection == 'all' else {}


def read_person(row, path, report):
    """Reads one annotation.

    Args:
        row: Dict with `id`, `keypoints` and `bbox`, see `coco_json.load`.
        path: Path of the annotation file, for the report.
        report: Function that takes a `reader.Problem`.

    Returns:
        Tuple of `coords2d` `[17, 2]`, px, NaN where not labelled, of `visibility` `[17]` and of
        the box `[4]`: left, top, width, height as stored. None after a report if one is missing.
    """
    keypoints, box = (
        coco_json.numbers(row, key, n) for key, n in (('keypoints', 3), ('bbox', 4)))
    if keypoints is None or len(keypoints) != len(_JOINT_NAMES) or box is None or (
            box.shape != (1, 4)):
        report(reader.Problem(
            str(path), f'annotation {row["id"]}',
            f'must have {len(_JOINT_NAMES)} joints and a box, left out'))
        return None
    coords2d = np.where(keypoints[:, 2:] > 0, keypoints[:, :2], np.nan)
    return coords2d.astype(np.float32), np.float32(keypoints[:, 2] == 2), box[0]


def _people(annotated, prefix, path, left_out, report):
    """List of the people of a photo that have labels; `left_out` counts the others."""
    result = []
    for row in annotated:
        if row.get('iscrowd'):
            left_out['crowds'] += 1
            continue
        person = read_person(row, path, report)
        if person is None:
            continue
        coords2d, visibility, box = person
        if np.all(np.isnan(coords2d)):
            left_out['people without joints'] += 1
        else:
            result.append({
                'name': f'{prefix}/{row["id"]}', 'coords2d': coords2d, 'visibility': visibility,
                'box': np.float32(box - [0.5, 0.5, 0, 0])})
    return result


def _selected(people, left_out):
    """Those whom MeTRAbs learns from."""
    labelled = [person for person in people if _is_well_labelled(person)]
    boxes = [
        labelled_person.box_of_joints(person['coords2d'], _BOX_ENLARGEMENT)
        for person in labelled]
    result = [
        person for person, box, shares in zip(labelled, boxes, _ious(boxes))
        if max(box[2:]) >= _MIN_BOX_SIDE_PX and np.all(shares < _MAX_IOU)]
    left_out['people with few joints'] += len(people) - len(labelled)
    left_out['people who are small or close to others'] += len(labelled) - len(result)
    return result


def _is_well_labelled(person):
    is_labelled = np.isfinite(person['coords2d'][:, 0])
    return (
        person['visibility'].mean() >= _MIN_VISIBLE_SHARE - 1e-6
        and is_labelled.mean() >= _MIN_LABELLED_SHARE)


def _ious(boxes):
    """Array `[n, n]` of intersection over union with other boxes, 0 with themselves."""
    if len(boxes) < 2:
        return np.zeros([len(boxes)] * 2)
    ious = boxes_lib.iou_matrix(np.float32(boxes), np.float32(boxes)).numpy()
    return ious * (1 - np.eye(len(boxes)))
