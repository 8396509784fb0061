"""Annotation files in the format of COCO, of which only an index is kept."""

import collections
import json

import numpy as np

from training.datasets import reader


def load(path, kept_keys, report):
    """Reads a file and sorts its annotations by image.

    Objects lose all but the wanted keys as soon as they are read, and lists of numbers become
    arrays: outlines alone would take gigabytes.

    Args:
        path: Path of the JSON file.
        kept_keys: Sequence of the keys of images and annotations that are wanted besides `id`,
            `image_id` and `file_name`.
        report: Function that takes a `reader.Problem`. Images and annotations whose ids occur more
            than once are reported, and the first ones kept.

    Returns:
        List of pairs of an image and the list of its annotations, which are dicts, by file name;
        None after a report if the file is missing or damaged.
    """
    keys = {'images', 'annotations', 'id', 'image_id', 'file_name', *kept_keys}
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file, object_hook=lambda values: _compact(values, keys))
        images = _by_id(content['images'], path, 'image', report)
        annotations = collections.defaultdict(list)
        for row in _by_id(content['annotations'], path, 'annotation', report).values():
            annotations[row['image_id']].append(row)
        for image_id in set(annotations) - set(images):
            report(reader.Problem(
                str(path), f'image {image_id}', 'not listed, its annotations are left out'))
        return sorted(
            ((row, annotations.get(image_id, [])) for image_id, row in images.items()),
            key=lambda pair: pair[0]['file_name'])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        report(reader.Problem(str(path), '', f'missing, damaged, or of another format: {error!r}'))
        return None


def numbers(annotation, key, n_columns):
    """Float64 array `[n, n_columns]` of a list of numbers or of rows; None if it is none."""
    value = annotation.get(key)
    if not isinstance(value, np.ndarray) or value.size % n_columns or not np.isfinite(value).all():
        return None
    return value.reshape(-1, n_columns).astype(np.float64)


def _compact(values, keys):
    return {
        key: _array_of_numbers(value) if isinstance(value, list) else value
        for key, value in values.items() if key in keys}


def _array_of_numbers(value):
    """A float32 array of numbers or of rows of numbers; other lists as they are."""
    first = value[0] if value else None
    first = first[0] if isinstance(first, list) and first else first
    if isinstance(first, bool) or not isinstance(first, (int, float)):
        return value
    try:
        return np.array(value, np.float32)
    except (TypeError, ValueError):
        return value


def _by_id(rows, path, kind, report):
    """Dict from id to row."""
    result = {}
    for row in rows:
        if row['id'] in result:
            report(reader.Problem(
                str(path), f'{kind} {row["id"]}', 'occurs more than once, the first is kept'))
        else:
            result[row['id']] = row
    return result
