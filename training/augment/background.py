"""Backgrounds behind people that were rendered with an alpha channel."""

import dataclasses
import math
import pathlib

import numpy as np
import tensorflow as tf

BANK_SIDE_PX = 192


def load_bank(folders, bank_side_px=BANK_SIDE_PX):
    """Reads background photos into one array, the largest central square of each.

    Args:
        folders: Sequence of folders with JPEG files.
        bank_side_px: Side to which each square is resized.

    Returns:
        uint8 array `[n, side, side, 3]`.

    Raises:
        ValueError: If there is no JPEG file in the folders.
    """
    paths = sorted(path for folder in folders for path in pathlib.Path(folder).glob('*.jpg'))
    if not paths:
        raise ValueError(
            f'`folders` must hold .jpg files. Received: folders={list(map(str, folders))}')
    return np.stack([_read_square(path, bank_side_px) for path in paths])


def _read_square(path, side_px):
    image = tf.io.decode_jpeg(tf.io.read_file(str(path)), channels=3)
    side = tf.reduce_min(tf.shape(image)[:2])
    square = tf.image.resize_with_crop_or_pad(image, side, side)
    resized = tf.image.resize(square, [side_px, side_px], method='area')
    return tf.cast(tf.round(resized), tf.uint8).numpy()


@dataclasses.dataclass(frozen=True, eq=False)
class RandomBackground:
    """Policy: composites a person with alpha onto a random part of a random photo.

    Examples without alpha pass unchanged. Outside the full photo (`frame`) the crop stays black.

    Args:
        bank: uint8 tensor `[n, side, side, 3]`.
        crop_side_px: Side of the crop.
        probability: Probability that an example with alpha is composited.
        is_published: Whether the part of the photo is drawn as in MeTRAbs (see `published_patch`)
            or by `random_patch`.
    """
    bank: tf.Tensor
    crop_side_px: int
    probability: float = 1.0
    is_published: bool = False

    def __call__(self, example, seed):
        """Returns the example with its `image` composited."""
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        is_replaced = example['has_alpha'] & (
            tf.random.stateless_uniform([], seeds[0]) < self.probability)
        return tf.cond(
            is_replaced, lambda: self._composited(example, seeds[1]), lambda: dict(example))

    def _composited(self, example, seed):
        make_patch = published_patch if self.is_published else random_patch
        picture = make_patch(self.bank, self.crop_side_px, seed)
        alpha = example['alpha']
        image = (alpha * example['image'] + (1 - alpha) * picture) * example['frame']
        return {**example, 'image': image}


def random_patch(bank, side_px, seed, smallest=0.4):
    """A random, possibly mirrored square part of a random photo of the bank.

    Args:
        bank: uint8 tensor `[n, side, side, 3]`.
        side_px: Side of the result.
        seed: Seed of stateless randomness, `[2]`.
        smallest: Smallest side of the part, as a fraction of the photo.

    Returns:
        Float32 tensor `[side_px, side_px, 3]` in [0, 1].
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    index = tf.random.stateless_uniform([], seeds[0], 0, tf.shape(bank)[0], tf.int32)
    part, fraction_x, fraction_y = tf.unstack(tf.random.stateless_uniform([3], seeds[1]))
    part = smallest + (1 - smallest) * part
    y, x = fraction_y * (1 - part), fraction_x * (1 - part)
    is_mirrored = tf.random.stateless_uniform([], seeds[2]) < 0.5
    left, right = tf.where(is_mirrored, x + part, x), tf.where(is_mirrored, x, x + part)
    return _resampled(bank[index], [y, left, y + part, right], side_px)


def published_patch(bank, side_px, seed):
    """A part of a random photo as MeTRAbs (R23) shows it as a background.

    The photo is enlarged by U(1.2, 1.5) over the scale at which it just covers the crop, and its
    centre is shifted within a disc of 10 % of the crop's side, so that it covers the crop still.

    Args:
        bank, side_px, seed: See `random_patch`.

    Returns:
        Float32 tensor `[side_px, side_px, 3]` in [0, 1].
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    index = tf.random.stateless_uniform([], seeds[0], 0, tf.shape(bank)[0], tf.int32)
    zoom, distance, direction = tf.unstack(tf.random.stateless_uniform([3], seeds[1]))
    part = 1 / (1.2 + 0.3 * zoom)
    radius, angle = 0.1 * part * tf.sqrt(distance), 2 * math.pi * direction
    left, top = [
        0.5 - part / 2 + shift for shift in (radius * tf.cos(angle), radius * tf.sin(angle))]
    return _resampled(bank[index], [top, left, top + part, left + part], side_px)


def _resampled(photo, box, side_px):
    """The part of a photo within fractions (top, left, bottom, right), float32 in [0, 1]."""
    return tf.image.crop_and_resize(
        photo[tf.newaxis], tf.stack(box)[tf.newaxis], [0], [side_px, side_px])[0] / 255.0
