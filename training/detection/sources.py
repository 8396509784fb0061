"""Where the parts of a composite come from, and which of them are kept out of the training."""

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf

from metro_tf import skeleton
from training.datasets import lspet, records
from training.detection import coco

# Backgrounds left out of the training, to count false boxes on.
N_VALIDATION_BACKGROUNDS = 100
# Training photos from this number on are left out, to choose the threshold without the hold-out.
FIRST_VALIDATION_PHOTO = 8801
# People with fewer annotated joints have boxes that mean little.
_MIN_JOINTS = 8
# Neck and crown, which lie below and above the middle of the head.
_HEAD_JOINTS = [skeleton.CONVENTIONS['lsp_14'].index(name) for name in ('neck', 'htop')]


@dataclasses.dataclass(frozen=True, eq=False)
class Photos:
    """Photos with one annotated person each.

    Args:
        paths: Array of file names `[n]`.
        boxes: Float32 array `[n, 4]`: the person's box, px.
        heads: Float32 array `[n, 2]`: the middle of the person's head, px; the middle of the box
            where it is not annotated.
    """
    paths: np.ndarray
    boxes: np.ndarray
    heads: np.ndarray

    def people(self):
        """List of pairs of a file name and the box `[4]` of its person."""
        return list(zip(self.paths, self.boxes))


def read_backgrounds(folder, split):
    """Paths of photos without people.

    Args:
        folder: Folder of JPEG files.
        split: 'train', 'validation' (100 files, chosen by a hash of their names) or 'all'.

    Returns:
        Sorted list of paths.

    Raises:
        ValueError: If the split is unknown or empty.
    """
    if split not in ('train', 'validation', 'all'):
        raise ValueError(
            f"`split` must be 'train', 'validation' or 'all'. Received: split={split!r}")
    paths = sorted(str(path) for path in pathlib.Path(folder).glob('*.jpg'))
    by_hash = sorted(paths, key=coco.name_hash)
    chosen = {
        'train': by_hash[N_VALIDATION_BACKGROUNDS:],
        'validation': by_hash[:N_VALIDATION_BACKGROUNDS], 'all': paths}[split]
    if not chosen:
        raise ValueError(
            f'`folder` must hold more than {N_VALIDATION_BACKGROUNDS} .jpg files. '
            f'Received: {len(paths)} files in {folder}')
    return sorted(chosen)


def read_photos(lspet_dir, split, enlargement):
    """Photos of LSPET with boxes around their joints.

    Args:
        lspet_dir: Folder of LSPET.
        split: 'train', 'validation' (training photos from number 8801 on) or 'holdout'.
        enlargement: Factor of width and height of the boxes about their centre.

    Returns:
        `Photos`, without those with fewer than eight annotated joints.

    Raises:
        ValueError: If the split is unknown or a file is missing.
    """
    if split not in ('train', 'validation', 'holdout'):
        raise ValueError(
            f"`split` must be 'train', 'validation' or 'holdout'. Received: split={split!r}")
    numbers = np.array(lspet.read_split(lspet_dir, 'holdout' if split == 'holdout' else 'train'))
    if split != 'holdout':
        numbers = numbers[(numbers >= FIRST_VALIDATION_PHOTO) == (split == 'validation')]
    coords2d = lspet.read_annotations(lspet_dir)[numbers - 1]
    is_enough = np.isfinite(coords2d[..., 0]).sum(axis=1) >= _MIN_JOINTS
    folder = pathlib.Path(lspet_dir) / 'images'
    paths = [str(folder / f'im{number:05d}.jpg') for number in numbers[is_enough]]
    boxes = lspet.boxes_of(coords2d[is_enough], enlargement)
    heads = coords2d[is_enough][:, _HEAD_JOINTS].mean(axis=1)
    is_annotated = np.isfinite(heads).all(axis=1, keepdims=True)
    heads = np.where(is_annotated, heads, boxes[:, :2] + boxes[:, 2:] / 2)
    return Photos(np.array(paths), boxes, heads)


def people_batches(synth_dir, n_people, seed, first_batch=0):
    """Endless batches of serialised synthetic people; batch i is the same whatever the first one.

    Args:
        synth_dir: Folder of record files, or None for empty batches.
        n_people: People per batch.
        seed: Seed of the order.
        first_batch: How many batches of the sequence are left out at its start.

    Returns:
        `tf.data.Dataset` of string tensors `[n_people]` or `[0]`.
    """
    if synth_dir is None:
        return tf.data.Dataset.from_tensors(tf.zeros([0], tf.string)).repeat()
    people = records.make_serialized_source(synth_dir)
    return people.shuffled([seed, 0], first_batch * n_people).batch(n_people, drop_remainder=True)
