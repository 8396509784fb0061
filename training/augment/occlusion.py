"""Things in front of the person: textured shapes and noise."""

import dataclasses
import math

import tensorflow as tf

from training.augment import background


@dataclasses.dataclass(frozen=True, eq=False)
class RandomOcclusion:
    """Policy: covers parts of the crop with up to `max_shapes` ellipses and rectangles.

    The shapes carry the texture of a random photo; this stands for the cut-out objects of
    MeTRAbs, of which the free data has none. A cover by noise (random erasing, Zhong et al.) is
    drawn instead with the probability 1/4.

    Args:
        bank: uint8 tensor `[n, side, side, 3]` of photos for the textures.
        crop_side_px: Side of the crop.
        probability: Probability that anything is covered.
        max_shapes: Most shapes in one crop.
    """
    bank: tf.Tensor
    crop_side_px: int
    probability: float = 0.5
    max_shapes: int = 3

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
        is_noise = tf.random.stateless_uniform([], seeds[0]) < 0.25
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
