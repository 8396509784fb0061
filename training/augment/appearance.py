"""Random colour, blur and noise."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

# Luma and two chroma axes of the NTSC colour space; turning the chroma plane turns the hue.
_RGB_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], np.float32)
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)


@dataclasses.dataclass(frozen=True)
class RandomColor:
    """Policy: brightness, contrast, saturation and hue of the crop, then clipping to [0, 1].

    Hue and saturation act as one linear map in the YIQ space, which costs a tenth of the way
    through HSV.

    Args:
        brightness: The added value is uniform in [-this, this].
        contrast: The factor about 0.5 is uniform in [1 - this, 1 + this].
        saturation: The factor of the chroma is uniform in [1 - this, 1 + this].
        hue_degrees: The turn of the chroma is uniform in [-this, this].
    """
    brightness: float = 0.125
    contrast: float = 0.5
    saturation: float = 0.5
    hue_degrees: float = 36.0

    def __call__(self, example, seed):
        """Returns the example with its `image` changed."""
        change = tf.random.stateless_uniform([4], seed, -1.0, 1.0)
        matrix = (1 + self.contrast * change[1]) * self._chroma_matrix(change[2], change[3])
        offset = 0.5 + self.brightness * change[0]
        image = (example['image'] - 0.5) @ tf.transpose(matrix) + offset
        return {**example, 'image': tf.clip_by_value(image, 0.0, 1.0)}

    def _chroma_matrix(self, saturation_change, hue_change):
        angle = math.radians(self.hue_degrees) * hue_change
        scale = 1 + self.saturation * saturation_change
        cos, sin = scale * tf.cos(angle), scale * tf.sin(angle)
        zero, one = tf.zeros_like(cos), tf.ones_like(cos)
        turn = tf.reshape(tf.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos]), [3, 3])
        return _YIQ_TO_RGB @ turn @ _RGB_TO_YIQ


@dataclasses.dataclass(frozen=True)
class RandomHsvColor:
    """Policy: the same four changes in random order, hue and saturation in HSV (MeTRAbs, R23).

    After each change the values are clipped to [0, 1], which HSV needs.

    Args:
        brightness, contrast, saturation, hue_degrees: See `RandomColor`; hue and saturation are
            those of HSV.
    """
    brightness: float = 0.125
    contrast: float = 0.5
    saturation: float = 0.5
    hue_degrees: float = 72.0

    def __call__(self, example, seed):
        """Returns the example with its `image` changed."""
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        change = tf.random.stateless_uniform([4], seeds[0], -1.0, 1.0)
        order = tf.random.experimental.stateless_shuffle(tf.range(4), seeds[1])
        image = example['image']
        for i_change in tf.unstack(order):
            image = tf.clip_by_value(self._changed(image, change, i_change), 0.0, 1.0)
        return {**example, 'image': image}

    def _changed(self, image, change, i_change):
        return tf.switch_case(i_change, [
            lambda: image + self.brightness * change[0],
            lambda: 0.5 + (1 + self.contrast * change[1]) * (image - 0.5),
            lambda: tf.image.adjust_saturation(image, 1 + self.saturation * change[2]),
            lambda: tf.image.adjust_hue(image, self.hue_degrees / 360 * change[3])])


@dataclasses.dataclass(frozen=True)
class RandomBlurAndNoise:
    """Policy: a Gaussian blur and sensor noise, each with its own chance.

    Args:
        probability: Probability of the blur, and likewise of the noise.
        max_sigma_px: Largest standard deviation of the blur.
        max_noise: Largest standard deviation of the noise.
    """
    probability: float = 0.2
    max_sigma_px: float = 1.5
    max_noise: float = 0.04

    def __call__(self, example, seed):
        """Returns the example with its `image` changed."""
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
        blur, noise, sigma, strength = tf.unstack(tf.random.stateless_uniform([4], seeds[0]))
        image = example['image']
        image = tf.cond(
            blur < self.probability,
            lambda: _blurred(image, 0.3 + sigma * (self.max_sigma_px - 0.3)), lambda: image)
        image = tf.cond(
            noise < self.probability,
            lambda: image + strength * self.max_noise * tf.random.stateless_normal(
                tf.shape(image), seeds[1]),
            lambda: image)
        return {**example, 'image': tf.clip_by_value(image, 0.0, 1.0)}


def _blurred(image, sigma_px):
    offsets = tf.range(-3.0, 4.0)
    kernel = tf.nn.softmax(-0.5 * (offsets / sigma_px) ** 2)
    padded = tf.pad(image, [[3, 3], [3, 3], [0, 0]], 'SYMMETRIC')[tf.newaxis]
    column = tf.tile(kernel[:, tf.newaxis, tf.newaxis, tf.newaxis], [1, 1, 3, 1])
    row = tf.tile(kernel[tf.newaxis, :, tf.newaxis, tf.newaxis], [1, 1, 3, 1])
    for factor in (column, row):
        padded = tf.nn.depthwise_conv2d(padded, factor, [1, 1, 1, 1], 'VALID')
    return padded[0]
