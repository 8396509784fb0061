"""Where crops find their pixels: one table of all that they need, in linear light.

The cost follows what the crops touch and not the image: pixels are decoded only in the rectangle
of each image that its crops reach (or after they were picked, where that is less), and pyramid
levels are built only if a crop needs them, one image at a time.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from metro_tf import checks

DISPLAY_GAMMA = 2.2
N_PYRAMID_LEVELS = 3
COARSEST_CELL_PX = 2 ** (N_PYRAMID_LEVELS - 1)
MAX_LIGHT = 255.0 ** DISPLAY_GAMMA


class Source(NamedTuple):
    """A list of pixels and where in it each crop finds its picture, row by row."""
    light: tf.Tensor  # [pixels, 3], linear light in float32; empty if `is_decoded` is False
    display: tf.Tensor  # [pixels, 3], uint8 display values; empty if `is_decoded` is True
    is_decoded: tf.Tensor  # boolean scalar
    first: tf.Tensor  # [n], int32 index of the picture's first pixel
    size: tf.Tensor  # [n, 2], int32 (width, height) of the picture
    origin: tf.Tensor  # [n, 2], (x, y) px of the picture's first pixel in the full image


def make_source(images, image_index, levels, lower, upper, n_picked):
    """The pixels that crops need, and where each finds its own.

    Args:
        images: uint8 tensor `[N, H, W, 3]`.
        image_index: Int32 tensor `[n]`, the image of each crop.
        levels: Int32 tensor `[n]`, its pyramid level.
        lower: Float tensor `[n, 2]`, (x, y) px; no pixel before matters to the crop.
        upper: Float tensor `[n, 2]`, (x, y) px; nor does any after it.
        n_picked: Int tensor, number of pixels that all crops together pick.

    Returns:
        `Source`.
    """
    used_images, slots = tf.unique(image_index)
    start, stop = _touched_rectangles(
        tf.math.unsorted_segment_min(lower, slots, tf.size(used_images)),
        tf.math.unsorted_segment_max(upper, slots, tf.size(used_images)), tf.shape(images)[1:3])
    n_touched = tf.reduce_sum(tf.reduce_prod(stop - start, axis=1))
    return tf.cond(
        tf.reduce_any(levels > 0) | (n_touched <= n_picked),
        lambda: _decoded_source(images, levels, used_images, slots, start, stop),
        lambda: _undecoded_source(images, image_index))


def pyramid_levels(scales, antialias_factor, image_size):
    """Levels from which crops are sampled, see `warp.sample_crops`.

    Args:
        scales: Float tensor `[n]`, crop px per image px.
        antialias_factor: Int tensor of rank 0, samples per crop pixel along one axis.
        image_size: Int tensor (height, width); a level of no pixels is none.

    Returns:
        Int32 tensor `[n]`, 0 for the image itself.
    """
    scales = checks.last_axes(scales, (None,), 'scales', tf.float32)
    sample_scales = tf.maximum(scales, 1e-6) * tf.cast(antialias_factor, tf.float32)
    levels = tf.cast(tf.floor(-tf.math.log(sample_scales) / tf.math.log(2.0)), tf.int32)
    smaller_side = tf.reduce_min(image_size)
    max_level = sum(
        tf.cast(smaller_side >= 2 ** level, tf.int32) for level in range(1, N_PYRAMID_LEVELS))
    return tf.clip_by_value(levels, 0, max_level)


def _touched_rectangles(lower, upper, image_size):
    """Whole cells of the coarsest level within bounds; at least one if the image has one.

    Args:
        lower: Float tensor `[m, 2]`, (x, y) px.
        upper: Float tensor `[m, 2]`, (x, y) px.
        image_size: Int tensor (height, width).

    Returns:
        Int32 tensors `[m, 2]`, start and stop (x, y).
    """
    size = tf.reverse(image_size, [0])
    last = tf.cast(size - 1, tf.float32)
    lower = tf.cast(tf.clip_by_value(lower, 0.0, last), tf.int32)
    upper = tf.cast(tf.clip_by_value(upper, 0.0, last), tf.int32)
    cell = COARSEST_CELL_PX
    start = tf.minimum(lower, tf.maximum(size - cell, 0)) // cell * cell
    n_cells = tf.maximum((upper - start) // cell + 1, 1)
    return start, tf.minimum(start + n_cells * cell, size)


def _undecoded_source(images, image_index):
    """Source of whole images at full resolution."""
    height, width = tf.unstack(tf.shape(images)[1:3])
    zeros = tf.zeros_like(image_index)[:, tf.newaxis]
    return Source(
        light=tf.zeros([0, 3]), display=tf.reshape(images, [-1, 3]), is_decoded=tf.constant(False),
        first=image_index * (height * width), size=zeros + tf.stack([width, height]),
        origin=tf.cast(zeros, tf.float32) + tf.zeros([2]))


def _decoded_source(images, levels, used_images, slots, start, stop):
    """Source of linear light in one rectangle per used image, at the pyramid levels in use.

    Args:
        images: uint8 tensor `[N, H, W, 3]`.
        levels: Int32 tensor `[n]`, the crops' pyramid levels.
        used_images: Int32 tensor `[m]`, distinct image indices.
        slots: Int32 tensor `[n]`, each crop's index into `used_images`.
        start: Int32 tensor `[m, 2]`, first (x, y) of each image's rectangle.
        stop: Int32 tensor `[m, 2]`, (x, y) after the last.
    """
    all_levels = tf.range(N_PYRAMID_LEVELS)
    is_level_used = tf.reduce_any(levels[:, tf.newaxis] == all_levels, axis=0)

    def make_part(slot):
        """The pixels of one image."""
        (x0, y0), (x1, y1) = tf.unstack(start[slot]), tf.unstack(stop[slot])
        return _pyramid(decode(images[used_images[slot], y0:y1, x0:x1]), is_level_used)

    def make_parts():
        """The pixels of several images."""
        parts = tf.TensorArray(
            tf.float32, n_images, infer_shape=False, element_shape=[None, 3])
        # One image at a time: all together would take several times their memory for a while.
        _, parts = tf.while_loop(
            lambda i, _: i < n_images, lambda i, parts: (i + 1, parts.write(i, make_part(i))),
            (0, parts), parallel_iterations=1)
        return parts.concat()

    n_images = tf.size(used_images)
    table = tf.cond(n_images == 1, lambda: make_part(0), make_parts)
    # [m, levels, 2] and [m, levels]; the parts follow each other as the levels do within them.
    sizes = (stop - start)[:, tf.newaxis] // tf.bitwise.left_shift(1, all_levels)[:, tf.newaxis]
    n_pixels = tf.reduce_prod(sizes, axis=2) * tf.cast(is_level_used, tf.int32)
    first = tf.reshape(
        tf.cumsum(tf.reshape(n_pixels, [-1]), exclusive=True), tf.shape(n_pixels))
    places = tf.stack([slots, levels], axis=1)
    return Source(
        light=table, display=tf.zeros([0, 3], tf.uint8), is_decoded=tf.constant(True),
        first=tf.gather_nd(first, places), size=tf.gather_nd(sizes, places),
        origin=tf.cast(tf.gather(start, slots), tf.float32))


def _pyramid(light, is_level_used):
    """The used levels of `light` `[h, w, 3]` as one list of pixels `[pixels, 3]`."""
    is_full_used, is_half_used, is_quarter_used = tf.unstack(is_level_used)

    def shrunk_levels():
        """The used ones of all levels."""
        half = _halved(light)
        quarter = tf.cond(is_quarter_used, lambda: _halved(half), lambda: tf.zeros([0, 0, 3]))
        full_rows = tf.where(is_full_used, tf.shape(light)[0], 0)
        half_rows = tf.where(is_half_used, tf.shape(half)[0], 0)
        return tf.concat([
            tf.reshape(light[:full_rows], [-1, 3]), tf.reshape(half[:half_rows], [-1, 3]),
            tf.reshape(quarter, [-1, 3])], axis=0)

    return tf.cond(
        is_half_used | is_quarter_used, shrunk_levels, lambda: tf.reshape(light, [-1, 3]))


def _halved(light):
    """Means of 2x2 pixels of `[h, w, 3]`; an odd last row or column is left out.

    Several times faster than `tf.nn.avg_pool2d` where oneDNN does not take that over, as inside
    the conditions here.
    """
    height, width = tf.unstack(tf.shape(light)[:2] // 2)
    even = light[:2 * height, :2 * width]
    rows = tf.reduce_sum(tf.reshape(even, [height, 2, width * 6]), axis=1)
    pairs_to_means = tf.constant(np.tile(np.eye(3, dtype=np.float32), (2, 1)) / 4)
    return tf.reshape(
        tf.matmul(tf.reshape(rows, [-1, 6]), pairs_to_means), [height, width, 3])


def decode(display_values):
    """uint8 display values to linear light, in units of 1 / `MAX_LIGHT`.

    exp of log takes a fifth of the time of pow, and leaving the division by 255 to the
    interpolation weights saves one pass over the pixels. The log of 0 is -inf, its exp 0.
    """
    return tf.exp(DISPLAY_GAMMA * tf.math.log(tf.cast(display_values, tf.float32)))
