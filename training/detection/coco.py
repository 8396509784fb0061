"""Photos in which all people have boxes, in the format of COCO's instance annotations.

Only what detection needs is read: `images` (`id`, `file_name`), `annotations` (`image_id`,
`category_id`, `bbox`, `iscrowd`) and `categories`, where 'person' is looked up. Boxes with
`iscrowd` 1 surround what is no clear single person; nothing is learned there.
"""

import collections
import dataclasses
import hashlib
import json
import pathlib

import numpy as np

from metro_tf import checks

# Of the photos, one in this many is left out of the training.
VALIDATION_STEP = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Scenes:
    """Photos in which everybody has a box.

    Args:
        paths: Array of file names `[n]`.
        boxes: Float32 array `[n, n_max, 4]`: left, top, width, height, px; zeros after the last.
        is_person: Boolean array `[n, n_max]`: which boxes are of one person.
        is_ignored: Boolean array `[n, n_max]`: which surround something else that may look so.
    """
    paths: np.ndarray
    boxes: np.ndarray
    is_person: np.ndarray
    is_ignored: np.ndarray

    def people(self):
        """List of pairs of a file name and the box `[4]` of one person."""
        return [
            (self.paths[i_photo], self.boxes[i_photo, i_box])
            for i_photo, i_box in zip(*np.nonzero(self.is_person))]


def read_scenes(annotation_path, image_dir, split):
    """Reads photos and the boxes of their people.

    Args:
        annotation_path: JSON file.
        image_dir: Folder of the photos.
        split: 'train', 'validation' (every fifth photo by a hash of its name) or 'all'.

    Returns:
        `Scenes` of the photos that are listed in the file, people or not, by name.

    Raises:
        ValueError: If the file lacks something, a photo does not exist, or the split is unknown
            or empty.
    """
    checks.one_of(split, ('train', 'validation', 'all'), 'split')
    rows = _rows_by_photo(_read_json(annotation_path), annotation_path)
    names = sorted(rows, key=name_hash)
    in_validation = names[::VALIDATION_STEP]
    chosen = {
        'all': names, 'validation': in_validation,
        'train': [name for name in names if name not in set(in_validation)]}[split]
    if not chosen:
        raise ValueError(
            f'`annotation_path` must list photos for the split {split!r}. Received: '
            f'{annotation_path} with {len(names)} photos')
    chosen = sorted(chosen)
    return _pad([_existing(image_dir, name) for name in chosen], [rows[name] for name in chosen])


def name_hash(path):
    """Text that orders files at random but always alike."""
    return hashlib.md5(pathlib.Path(path).name.encode()).hexdigest()


def _read_json(path):
    if not pathlib.Path(path).is_file():
        raise ValueError(f'`annotation_path` must be a JSON file. Received: {path} does not exist')
    try:
        return json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(
            f'`annotation_path` must be a JSON file. Received: {path}: {error}') from error


def _rows_by_photo(content, path):
    """Dict from file name to pairs of box and whether it is of one person."""
    try:
        person_ids = {row['id'] for row in content['categories'] if row['name'] == 'person'}
        rows = collections.defaultdict(list)
        for row in content['annotations']:
            if row['category_id'] in person_ids:
                rows[row['image_id']].append((_checked_box(row, path), not row['iscrowd']))
        return {image['file_name']: rows[image['id']] for image in content['images']}
    except (KeyError, TypeError) as error:
        raise ValueError(
            '`annotation_path` must hold images, annotations and categories as COCO defines them. '
            f'Received: {path}, where {error} is missing or of another type') from error


def _checked_box(row, path):
    box = np.array(row['bbox'], np.float32)
    if box.shape != (4,) or not np.all(np.isfinite(box)) or not np.all(box[2:] > 0):
        raise ValueError(
            '`bbox` must be four finite numbers with positive width and height. '
            f'Received: bbox={row["bbox"]} of image {row["image_id"]} in {path}')
    # COCO counts from the corner of the first pixel, we from its centre.
    return box - np.array([0.5, 0.5, 0, 0], np.float32)


def _existing(image_dir, name):
    path = pathlib.Path(image_dir) / name
    if not path.is_file():
        raise ValueError(f'`image_dir` must hold all listed photos. Received: no file {path}')
    return str(path)


def _pad(paths, rows):
    n_max = max(map(len, rows))
    boxes = np.zeros([len(rows), n_max, 4], np.float32)
    is_person, is_ignored = np.zeros([2, len(rows), n_max], bool)
    for i_photo, photo_rows in enumerate(rows):
        for i_box, (box, is_single) in enumerate(photo_rows):
            boxes[i_photo, i_box] = box
            is_person[i_photo, i_box], is_ignored[i_photo, i_box] = is_single, not is_single
    return Scenes(np.array(paths), boxes, is_person, is_ignored)
