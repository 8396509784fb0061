"""Benchmarks that match people across whole photos: their photos, and the labels of all people."""

import dataclasses

import numpy as np

from metro_tf import skeleton
from training.datasets import coco, coco_json, mupots, reader

# MuPoTS: TS1 to TS5 are dark, and MeTRAbs brightens them for its predictions.
_DARK_SEQUENCES = ('TS1', 'TS2', 'TS3', 'TS4', 'TS5')
_DARK_GAMMA = 0.67


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """A photo and what a protocol needs to know of its people.

    Args:
        name: Text, distinct within the benchmark.
        path: Path of the file.
        people: Tuple of dicts from the name of a column to its value, with the same keys for all
            people of the benchmark.
        intrinsics: Float array `[3, 3]`, px, or None where nobody knows.
        gamma: Exponent for the stored values, scaled to 0..1, before the photo is looked at.
    """
    name: str
    path: str
    people: tuple
    intrinsics: np.ndarray = None
    gamma: float = 1.0

    def read(self, report):
        """The photo as it should be looked at, uint8 RGB `[height, width, 3]`.

        Args:
            report: Function that takes a `reader.Problem`.

        Returns:
            The photo, or None after a report if it is missing or damaged.
        """
        image = reader.read_photo(self.path, report)
        if image is None or self.gamma == 1:
            return image
        values = np.uint8(np.round(255 * np.linspace(0, 1, 256) ** self.gamma))
        return values[image]


def mupots_photos(source_dir, step, report):
    """The photos of MuPoTS-3D, as MeTRAbs looks at them.

    Cameras are fitted to the labels of each sequence, as is usual; dark sequences are brightened.

    Args:
        source_dir, step: See `mupots.MupotsReader`.
        report: Function that takes a `reader.Problem`; sequences without a camera are left out.

    Returns:
        List of `LabelledPhoto`. People who are out of sight are not among them.

    Raises:
        ValueError: If the folder does not hold the data set.
    """
    photos = []
    for item in mupots.MupotsReader(source_dir, step).items(report):
        people, camera = mupots.read_sequence(item.content, report)
        for i_frame in range(0, len(people), step):
            photos.append(LabelledPhoto(
                f'{item.name}/{i_frame:06}', mupots.photo_path(item.content, i_frame),
                tuple({'sequence': item.name, 'coords2d': person['annot2'],
                       'coords3d_cam': person['annot3'], 'coords3d_univ': person['univ_annot3']}
                      for person in people[i_frame] if person['is_valid']),
                camera.intrinsics, _DARK_GAMMA if item.name in _DARK_SEQUENCES else 1))
    return photos


def coco_photos(source_dir, split, year, report):
    """The photos of COCO keypoints, those without people too.

    Args:
        source_dir, split, year: See `coco.CocoReader`.
        report: Function that takes a `reader.Problem`; people whose labels are damaged are left
            out.

    Returns:
        List of `LabelledPhoto`. Crowds and people without joints are among the people.

    Raises:
        ValueError: If the folder does not hold the data set.
    """
    path, photo_dir = coco.CocoReader(source_dir, split, year).paths()
    rows = coco_json.load(path, ['keypoints', 'bbox', 'iscrowd', 'area'], report)
    return [
        LabelledPhoto(
            image['file_name'], str(photo_dir / image['file_name']),
            tuple(_coco_people(annotated, path, report)))
        for image, annotated in rows or ()]


def _coco_people(annotated, path, report):
    for row in annotated:
        person = coco.read_person(row, path, report)
        if person is None:
            continue
        coords2d, _, box = person
        if isinstance(row.get('area'), (int, float)):
            yield {'coords2d': coords2d, 'box': np.float32(box), 'area': float(row['area']),
                   'is_crowd': bool(row.get('iscrowd'))}
        else:
            report(reader.Problem(
                str(path), f'annotation {row["id"]}', 'must have an area, left out'))


def label_table(photos, convention):
    """The labels of photos in the form of `protocols.predictions`.

    Args:
        photos: Sequence of `LabelledPhoto`.
        convention: A key of `skeleton.CONVENTIONS`, whose joints they have.

    Returns:
        Dict from name to array.

    Raises:
        ValueError: If nobody has labels.
    """
    people = [(photo.name, i, person)
              for photo in photos for i, person in enumerate(photo.people)]
    if not people:
        raise ValueError(
            f'`photos` must show labelled people. Received: {len(photos)} photos without')
    columns = {
        key: np.stack([person[key] for _, _, person in people]) for key in people[0][2]}
    return {
        **people_names([(name, i) for name, i, _ in people], [photo.name for photo in photos]),
        'joint_names': np.array(skeleton.CONVENTIONS[convention].joint_names), **columns}


def people_names(people, frame_names):
    """Dict with the arrays `names`, `frame` and `frame_names` of `protocols.predictions`.

    Args:
        people: Sequence of pairs of the name of a photo and of the number of a person in it.
        frame_names: Sequence of the names of all photos.
    """
    return {
        'names': np.array([f'{frame}/{i}' for frame, i in people], str),
        'frame': np.array([frame for frame, _ in people], str),
        'frame_names': np.array(list(frame_names), str)}
