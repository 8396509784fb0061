"""Other clothes for people whose clothes are marked, as in MargiPose."""

import dataclasses
import functools

import tensorflow as tf

from training.augment import background

# Limits of each colour channel of the tint, in 0..255.
_DARKEST_TINT, _BRIGHTEST_TINT = 50, 255


@dataclasses.dataclass(frozen=True, eq=False)
class RandomClothing:
    """Policy: textures upper and lower clothes anew, each by its own probability.

    It comes before the crop, on the stored image. The texture is a grey part of a photo, tinted
    in one colour, and as bright as the clothes under it. Where masks are zero, as in examples
    without them, nothing changes.

    Source: the code of MargiPose (Nibali et al., WACV 2019), which has eight textures of its own.

    Args:
        bank: uint8 tensor `[n, side, side, 3]` of photos (see `background.load_bank`).
        upper_probability: Probability that the upper clothes change.
        lower_probability: Probability that the lower clothes change.
    """
    bank: tf.Tensor
    upper_probability: float
    lower_probability: float

    def __call__(self, example, seed):
        """Returns the example with its `image` composited."""
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
        image = example['image']
        for i_mask, probability in enumerate((self.upper_probability, self.lower_probability)):
            mask = example['clothing_masks'][..., i_mask:i_mask + 1]
            is_changed = tf.random.stateless_uniform([], seeds[2 * i_mask]) < probability
            dressed = functools.partial(self._dressed, image, mask, seeds[2 * i_mask + 1])
            image = tf.cond(is_changed, dressed, functools.partial(tf.identity, image))
        return {**example, 'image': image}

    def _dressed(self, image, mask, seed):
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        height, width = tf.unstack(tf.shape(image)[:2])
        texture = background.random_patch(self.bank, tf.maximum(height, width), seeds[0])
        texture = tf.reduce_mean(texture[:height, :width], axis=-1, keepdims=True)
        tint = tf.random.stateless_uniform(
            [3], seeds[1], _DARKEST_TINT, _BRIGHTEST_TINT + 1, tf.int32)
        return dress(image, mask, texture * tf.cast(tint, tf.float32))


def dress(image, mask, texture):
    """Transform: lays a texture over a part of an image, as bright as the image is there.

    Args:
        image: uint8 tensor `[height, width, 3]`.
        mask: uint8 tensor `[height, width, 1]`, 255 where the texture covers the image.
        texture: Float tensor `[height, width, 3]`, in 0..255.

    Returns:
        uint8 tensor `[height, width, 3]`.
    """
    image = tf.cast(image, tf.float32)
    brightness = tf.reduce_mean(image, axis=-1, keepdims=True) / 255.0
    share = tf.cast(mask, tf.float32) / 255.0
    shaded = tf.round(texture * brightness)
    return tf.cast(tf.round(share * shaded + (1 - share) * image), tf.uint8)
