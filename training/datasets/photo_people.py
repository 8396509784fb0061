"""Photos with one or more labelled people each, which is how most data sets come."""

import collections
import dataclasses

import numpy as np

from training.datasets import labelled_person, reader

PHOTOS_PER_ITEM = 250


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo and what is known of its people.

    Args:
        path: Path of the file.
        people: Tuple of dicts, for each person the arguments `name`, `coords2d` and others of
            `labelled_person.to_example`.
    """
    path: str
    people: tuple


def make_items(photos, prefix, report):
    """Tuple of `reader.Item`s with `PHOTOS_PER_ITEM` photos each, whose content are the photos.

    Args:
        photos: Sequence of `Photo`s.
        prefix: Text with which the items' names begin.
        report: Function that takes a `reader.Problem`, here about people with the same name, of
            whom the first one is kept.
    """
    photos = _without_doubles(photos, report)
    return tuple(
        reader.Item(f'{prefix}/{start:06}', len(part), part)
        for start, part in (
            (start, tuple(photos[start:start + PHOTOS_PER_ITEM]))
            for start in range(0, len(photos), PHOTOS_PER_ITEM)))


def examples(photos, joint_names, report):
    """Iterator over the `Example`s of photos, of which one at a time is read.

    People of whom no labelled joint is inside their photo are reported and left out.

    Args:
        photos: Iterable of `Photo`s; those without people are not read.
        joint_names: Sequence of the joints' names.
        report: Function that takes a `reader.Problem`.
    """
    for photo in photos:
        image = reader.read_photo(photo.path, report) if photo.people else None
        for person in photo.people if image is not None else ():
            example = labelled_person.to_example(image, joint_names=joint_names, **person)
            if example is not None and np.any(
                    labelled_person.is_within_frame(example.coords2d, example.frame)):
                yield example
            else:
                report(reader.Problem(
                    photo.path, person['name'], 'nothing of the person is inside, left out',
                    is_expected=True))


def report_counts(path, counts, report):
    """Reports what is left out in every copy of a data set.

    Args:
        path: Path of the file that it is in.
        counts: Dict from what it is, e.g. 'people without joints', to how many there are.
        report: Function that takes a `reader.Problem`.
    """
    for what, count in counts.items():
        if count:
            report(reader.Problem(str(path), '', f'{count} {what}, left out', is_expected=True))


def _without_doubles(photos, report):
    counts = collections.Counter()
    result = []
    for photo in photos:
        kept = []
        for person in photo.people:
            counts[person['name']] += 1
            if counts[person['name']] > 1:
                report(reader.Problem(
                    photo.path, person['name'], 'occurs more than once, only the first is kept'))
            else:
                kept.append(person)
        result.append(dataclasses.replace(photo, people=tuple(kept)))
    return result
