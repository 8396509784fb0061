"""Fits images of any size into the network's input: one scale, grey bars, exact way back."""

import dataclasses
from typing import Any

import tensorflow as tf

from metro_tf import checks

PADDING_VALUE = 0.5


@dataclasses.dataclass(frozen=True)
class LetterboxTransform:
    """Where pixel x of an image lies in its letterboxed copy: `(x + 0.5) scale + offset - 0.5`.

    Pixel centres are integers on both sides. The two scales differ slightly, because the resized
    image has a whole number of pixels on both axes.

    Args:
        scale: Float tensor `[2]`: letterboxed px per image px, along x and y.
        offset: Float tensor `[2]`: width of the left bar and height of the upper bar, px.
    """
    scale: Any
    offset: Any

    def boxes_to_image(self, boxes):
        """Maps boxes back.

        Args:
            boxes: Float tensor `[..., 4]`: left, top, width, height in letterboxed px.

        Returns:
            Float tensor `[..., 4]` in px of the image.
        """
        corner = (boxes[..., :2] - self.offset + 0.5) / self.scale - 0.5
        return tf.concat([corner, boxes[..., 2:4] / self.scale], axis=-1)


def letterbox(images, side_px, multiple_px=32):
    """Resizes images so that their larger side is `side_px`, and pads both to a multiple.

    Area averaging when shrinking, bilinear interpolation when enlarging. The bars are grey (0.5)
    and lie on both sides.

    Args:
        images: uint8 tensor `[n_images, height, width, 3]`.
        side_px: Larger side after resizing, a multiple of `multiple_px`.
        multiple_px: Both sides of the result are multiples of this.

    Returns:
        Float32 tensor `[n_images, new_height, new_width, 3]` in [0, 1] and the
        `LetterboxTransform`, which is the same for the whole batch.

    Raises:
        ValueError: If `side_px` is not a multiple of `multiple_px`.
    """
    checks.positive(side_px, 'side_px')
    if side_px % multiple_px:
        raise ValueError(
            f'`side_px` must be a multiple of {multiple_px}. Received: side_px={side_px}')
    image_size = tf.shape(images)[1:3]
    content_size = _content_size(image_size, side_px)
    resized = tf.cond(
        tf.reduce_any(content_size > image_size),
        lambda: tf.image.resize(images, content_size, method='bilinear'),
        lambda: tf.image.resize(images, content_size, method='area'))
    resized = tf.ensure_shape(resized, [None, None, None, 3]) / 255.0
    missing = -content_size % multiple_px
    before = missing // 2
    padding = tf.stack([before, missing - before], axis=1)
    padding = tf.pad(padding, [[1, 1], [0, 0]])
    scale = tf.cast(content_size, tf.float32) / tf.cast(image_size, tf.float32)
    transform = LetterboxTransform(
        tf.reverse(scale, [0]), tf.cast(tf.reverse(before, [0]), tf.float32))
    return tf.pad(resized, padding, constant_values=PADDING_VALUE), transform


def _content_size(image_size, side_px):
    """(height, width) of the resized image, each at least one pixel."""
    larger = tf.cast(tf.reduce_max(image_size), tf.float32)
    exact = tf.cast(image_size, tf.float32) * (side_px / larger)
    return tf.maximum(tf.cast(tf.round(exact), tf.int32), 1)
