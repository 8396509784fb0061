"""Things in front of the person: textured shapes, objects and noise."""

import dataclasses
import math
from typing import Callable

import tensorflow as tf

from training.augment import background


@dataclasses.dataclass(frozen=True, eq=False)
class RandomOcclusion:
    """Policy: covers parts of the crop with up to `max_shapes` ellipses and rectangles.

    The shapes carry the texture of a random photo; this stands for the cut-out objects of
    MeTRAbs, of which the free data has none. Noise covers them instead with the probability 1/4.

    Args:
        bank: uint8 tensor `[n, side, side, 3]` of photos for the textures.
        crop_side_px: Side of the crop.
        probability: Probability that anything is covered.
        max_shapes: Most shapes in one crop.
        noise_probability: Probability that a cover is noise.
    """
    bank: tf.Tensor
    crop_side_px: int
    probability: float = 0.5
    max_shapes: int = 3
    noise_probability: float = 0.25

    def __call__(self, example, seed):
        """Returns the example with its `image` partly covered."""
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        is_covered = tf.random.stateless_uniform([], seeds[0]) < self.probability
        image = tf.cond(
            is_covered, lambda: self._covered(example['image'], seeds[1]),
            lambda: example['image'])
        return {**example, 'image': image}

    def _covered(self, image, seed):
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
        side = self.crop_side_px
        is_noise = tf.random.stateless_uniform([], seeds[0]) < self.noise_probability
        texture = tf.cond(
            is_noise, lambda: tf.random.stateless_uniform([side, side, 3], seeds[1]),
            lambda: background.random_patch(self.bank, side, seeds[2]))
        cover = self._shapes(seeds[3])
        return image + cover * (texture - image)

    def _shapes(self, seed):
        """Mask `[S, S, 1]` of a random number of turned ellipses and rectangles."""
        numbers = tf.random.stateless_uniform([self.max_shapes, 7], seed)
        center_x, center_y, size, aspect, angle, kind, is_present = [
            column[:, tf.newaxis, tf.newaxis] for column in tf.unstack(numbers, axis=1)]
        axis = tf.linspace(0.0, 1.0, self.crop_side_px)
        dx = axis[tf.newaxis, tf.newaxis, :] - center_x
        dy = axis[tf.newaxis, :, tf.newaxis] - center_y
        cos, sin = tf.cos(angle * math.pi), tf.sin(angle * math.pi)
        half_side = 0.04 + 0.16 * size
        stretch = tf.exp(math.log(3.0) * (aspect - 0.5))
        u = tf.abs(cos * dx + sin * dy) / (half_side * stretch)
        v = tf.abs(cos * dy - sin * dx) / (half_side / stretch)
        radius = tf.where(kind < 0.5, tf.sqrt(u * u + v * v), tf.maximum(u, v))
        is_first = tf.range(self.max_shapes)[:, tf.newaxis, tf.newaxis] == 0
        inside = (radius < 1) & (is_first | (is_present < 0.5))
        return tf.cast(tf.reduce_any(inside, axis=0), tf.float32)[..., tf.newaxis]


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectsOrErase:
    """Policy: objects before the change of colours, or a rectangle of noise after it (MeTRAbs).

    Both are equally probable. So the noise stays uniform, while objects look as taken by the same
    camera.

    Args:
        paste_objects: Step that puts objects over the crop.
        change_color: Step that changes the crop's colours.
        probability: Probability that there is either.
    """
    paste_objects: Callable
    change_color: Callable
    probability: float = 0.5

    def __call__(self, example, seed):
        """Returns the example with its `image` changed."""
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
        choice = tf.random.stateless_uniform([], seeds[0])
        has_objects = choice < self.probability / 2
        is_erased = ~has_objects & (choice < self.probability)
        image = tf.cond(
            has_objects, lambda: self.paste_objects(example, seeds[1])['image'],
            lambda: example['image'])
        image = self.change_color({**example, 'image': image}, seeds[2])['image']
        image = tf.cond(is_erased, lambda: erase(image, seeds[3]), lambda: image)
        return {**example, 'image': image}


def erase(image, seed, max_area=1 / 3, min_aspect=0.3):
    """Covers a random rectangle with noise (Zhong et al., Random Erasing, AAAI 2020).

    Its area is a fraction U(0, `max_area`) of the square crop, its height over width
    U(`min_aspect`, 1 / `min_aspect`), its top left corner uniform; rectangles are drawn until one
    lies inside.

    Args:
        image: Float tensor `[S, S, 3]` in [0, 1].
        seed: Seed of stateless randomness, `[2]`.
        max_area: Largest area as a fraction of the crop's.
        min_aspect: Smallest aspect; the largest is its inverse.

    Returns:
        Float tensor `[S, S, 3]`; noise values are i / 255 with i uniform in 0, ..., 255.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))

    def draw(attempt, _):
        """Draws a rectangle, as corners in fractions of the crop."""
        area, aspect, left, top = tf.unstack(tf.random.stateless_uniform(
            [4], tf.random.experimental.stateless_fold_in(seeds[0], attempt)))
        area, aspect = area * max_area, min_aspect + aspect * (1 / min_aspect - min_aspect)
        size = tf.stack([tf.sqrt(area / aspect), tf.sqrt(area * aspect)])
        return attempt + 1, tf.concat([[left, top], [left, top] + size], axis=0)

    rectangle = tf.while_loop(
        lambda _, rectangle: tf.reduce_max(rectangle[2:]) > 1, draw, draw(0, None))[1]
    left, top, right, bottom = tf.unstack(rectangle)
    noise = tf.random.stateless_uniform(tf.shape(image), seeds[1], 0, 256, tf.int32)
    side = tf.shape(image)[0]
    centre = (tf.range(side, dtype=tf.float32) + 0.5) / tf.cast(side, tf.float32)
    in_columns, in_rows = (centre >= left) & (centre < right), (centre >= top) & (centre < bottom)
    is_covered = in_rows[:, tf.newaxis, tf.newaxis] & in_columns[tf.newaxis, :, tf.newaxis]
    return tf.where(is_covered, tf.cast(noise, tf.float32) / 255.0, image)
