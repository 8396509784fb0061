"""Antialiased perspective crops from full images (MeTRAbs, R23, with another implementation).

Resampling averages light, so it happens in linear light: display values v in [0, 1] are decoded
to v^2.2, sampled, and encoded again. Where a crop shrinks the image, an image pyramid of three
levels (2x2 means) and optional supersampling prevent aliasing.

Pixels come from one table (`pixel_source`), from which several crops are sampled together: few
enough for what lies between the operations to stay small. Only core TensorFlow operations are used.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from metro_tf import checks
from metro_tf.cropping import pixel_source
from metro_tf.geometry import distortion

# Crop pixels that are sampled together, if crops are smaller.
_N_SAMPLED_TOGETHER = 2 ** 16
_LATTICE_SIZE = 17
_MIN_RAY_DEPTH = 1e-6


def sample_crops(
        images, image_index, intrinsics, distortion_coeffs, crop_intrinsics, *, rotations,
        scales, gamma, crop_side_px, antialias_factor=1):
    """Samples what virtual cameras see.

    Crop pixel q shows the image at `K distort(ray)`, with the ray `R^T K'^-1 q`; bilinear
    interpolation in the pyramid level `clip(floor(-log2(scale * antialias_factor)), 0, 2)`.
    Outside the image is black; the border fades to it over one pixel. An image too small for a
    level is sampled from the coarsest that it has.

    Args:
        images: uint8 tensor `[N, H, W, 3]`, H and W at least 1.
        image_index: Int tensor `[n]`, the image that each crop is taken from.
        intrinsics: Float tensor `[n, 3, 3]`, px, of the image, per crop.
        distortion_coeffs: Float tensor `[n, k]`, at most 12, of the image, per crop.
        crop_intrinsics: Float tensor `[n, 3, 3]`, px (`view.crop_intrinsics`).
        rotations: Float tensor `[n, 3, 3]`, original to crop camera, orthogonal; may mirror.
        scales: Float tensor `[n]`, crop px per image px; selects the pyramid level.
        gamma: Float tensor `[n]`, positive exponent of the display values: 1 keeps the
            brightness, less brightens.
        crop_side_px: Int, side of the square crops.
        antialias_factor: Int or int tensor of rank 0, at least 1: each crop pixel is the mean
            of a square of `antialias_factor^2` samples. A tensor's value is not checked.

    Returns:
        Float32 tensor `[n, crop_side_px, crop_side_px, 3]` in [0, 1], display space.

    Raises:
        ValueError: If a static shape or `images`' type does not fit, or `crop_side_px` or
            `antialias_factor` (where known) is not positive.
    """
    images = _checked_images(images)
    checks.positive(crop_side_px, 'crop_side_px')
    static_factor = tf.get_static_value(antialias_factor)
    if static_factor is not None:
        checks.positive(static_factor, 'antialias_factor')
    grid = _Grid(crop_side_px, tf.cast(antialias_factor, tf.int32))
    views = _make_views(
        image_index, intrinsics, distortion_coeffs, crop_intrinsics, rotations)
    levels = pixel_source.pyramid_levels(scales, grid.antialias_factor, tf.shape(images)[1:3])
    light = _sample_from_images(images, views._replace(level=levels), grid)
    gamma = checks.last_axes(gamma, (None,), 'gamma', tf.float32)
    exponents = (gamma / pixel_source.DISPLAY_GAMMA)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    # exp of log takes a fifth of the time of pow, and is 0 for 0.
    return tf.exp(exponents * tf.math.log(light))


class _Views(NamedTuple):
    """Where crop pixels come from; all fields have one entry per crop."""
    image_index: tf.Tensor  # [n]
    rays_from_crop: tf.Tensor  # [n, 3, 3], crop px to rays of the original camera
    pixels_from_norm: tf.Tensor  # [n, 2, 3], normalised coordinates to image px
    lens: tf.Tensor  # [n, 12] distortion coefficients
    max_radius: tf.Tensor  # [n], normalised radius up to which the lens model holds
    level: tf.Tensor = None  # [n], pyramid level


class _Grid(NamedTuple):
    """The sample positions in every crop."""
    side_px: int
    antialias_factor: tf.Tensor  # samples per pixel along one axis


def _checked_images(images):
    images = tf.convert_to_tensor(images)
    rank = images.shape.rank
    if images.dtype != tf.uint8 or rank not in (4, None) or (
            rank and images.shape[3] not in (3, None)):
        raise ValueError(
            '`images` must be uint8 with shape [N, H, W, 3]. '
            f'Received: dtype={images.dtype.name}, shape={images.shape}')
    return tf.ensure_shape(images, [None, None, None, 3])


def _make_views(image_index, intrinsics, distortion_coeffs, crop_intrinsics, rotations):
    # Matrices in double precision: a relative error of 1e-7 is visible behind a long focal length.
    intrinsics = checks.last_axes(intrinsics, (None, 3, 3), 'intrinsics', tf.float64)
    crop_intrinsics = checks.last_axes(
        crop_intrinsics, (None, 3, 3), 'crop_intrinsics', tf.float64)
    rotations = checks.last_axes(rotations, (None, 3, 3), 'rotations', tf.float64)
    lens = checks.last_axes(distortion_coeffs, (None, None), 'distortion_coeffs', tf.float32)
    if lens.shape[1] is not None and lens.shape[1] > distortion.MAX_COEFFS:
        raise ValueError(
            f'`distortion_coeffs` must have at most {distortion.MAX_COEFFS} coefficients. '
            f'Received: shape={lens.shape}')
    rays_from_crop = tf.matmul(rotations, tf.linalg.inv(crop_intrinsics), transpose_a=True)
    lens = tf.pad(lens, [[0, 0], [0, distortion.MAX_COEFFS - tf.shape(lens)[1]]])
    return _Views(
        image_index=tf.cast(image_index, tf.int32),
        rays_from_crop=tf.ensure_shape(tf.cast(rays_from_crop, tf.float32), [None, 3, 3]),
        pixels_from_norm=tf.ensure_shape(tf.cast(intrinsics[:, :2], tf.float32), [None, 2, 3]),
        lens=tf.ensure_shape(lens, [None, distortion.MAX_COEFFS]),
        max_radius=tf.cond(
            tf.reduce_any(lens != 0), lambda: distortion.valid_radius(lens),
            lambda: tf.zeros_like(lens[:, 0])))


def _touched_bounds(views, crop_side_px):
    """No pixel before the first `[n, 2]` or after the second result matters, (x, y) in px.

    Found on a lattice of points that spans the crop. What lies between lattice points may exceed
    them by curvature: half the largest step between neighbours covers that for any lens. A
    lattice point behind the camera is far outside.
    """
    lattice = np.linspace(-0.5, crop_side_px - 0.5, _LATTICE_SIZE, dtype=np.float32)
    points = tf.stack(_image_points(views, views.pixels_from_norm, lattice, lattice), axis=-1)
    step = tf.maximum(
        tf.reduce_max(tf.abs(points[:, 1:] - points[:, :-1]), axis=(1, 2)),
        tf.reduce_max(tf.abs(points[:, :, 1:] - points[:, :, :-1]), axis=(1, 2)))
    # The coarsest level interpolates between cells up to one cell away.
    margin = step / 2 + 2 * pixel_source.COARSEST_CELL_PX
    return (tf.reduce_min(points, axis=(1, 2)) - margin,
            tf.reduce_max(points, axis=(1, 2)) + margin)


def _sample_from_images(images, views, grid):
    """Linear light in [0, 1] of all crops, `[n, S, S, 3]`."""
    shape = [None, grid.side_px, grid.side_px, 3]

    def sample():
        """Samples at least one crop."""
        source = pixel_source.make_source(
            images, views.image_index, views.level, *_touched_bounds(views, grid.side_px),
            n_picked=4 * grid.side_px ** 2 * tf.size(views.level))
        return _sample(views, source, grid)

    light = tf.cond(
        tf.size(views.image_index) > 0, sample, lambda: tf.zeros([0, *shape[1:]]))
    return tf.ensure_shape(light, shape)


def _sample(views, source, grid):
    """Linear light in [0, 1] of the crops, `[n, S, S, 3]`, some crops at a time."""
    cell_px = tf.cast(tf.bitwise.left_shift(1, views.level), tf.float32)[:, tf.newaxis]
    shift = (0.5 - source.origin) / cell_px - 0.5
    views = views._replace(
        pixels_from_norm=views.pixels_from_norm / cell_px[..., tf.newaxis] + tf.pad(
            shift[..., tf.newaxis], [[0, 0], [0, 0], [2, 0]]))
    n_together = max(_N_SAMPLED_TOGETHER // grid.side_px ** 2, 1)
    n_parts = -(-tf.size(views.level) // n_together)

    def add_part(i_part, parts):
        """Samples the next crops."""
        first = i_part * n_together
        some_views, some_first, some_sizes = tf.nest.map_structure(
            lambda values: values[first:first + n_together], (views, source.first, source.size))
        light = _mean_of_samples(
            some_views, source._replace(first=some_first, size=some_sizes), grid)
        return i_part + 1, parts.write(i_part, light)

    parts = tf.TensorArray(
        tf.float32, n_parts, infer_shape=False,
        element_shape=[None, grid.side_px, grid.side_px, 3])
    return tf.while_loop(
        lambda i_part, _: i_part < n_parts, add_part, (0, parts), parallel_iterations=1)[1].concat()


def _mean_of_samples(views, source, grid):
    """`_sample` of crops at the same time: the mean over the subsamples of each crop pixel."""
    pixel_grid = np.arange(grid.side_px, dtype=np.float32)
    step = 1 / tf.cast(grid.antialias_factor, tf.float32)
    weight = tf.square(step) / pixel_source.MAX_LIGHT

    def add_sample(i_sample, total):
        """Adds the next subsample of all pixels."""
        row, column = i_sample // grid.antialias_factor, i_sample % grid.antialias_factor
        grid_x, grid_y = (
            pixel_grid + (tf.cast(i, tf.float32) + 0.5) * step - 0.5 for i in (column, row))
        x, y = _image_points(views, views.pixels_from_norm, grid_x, grid_y)
        return i_sample + 1, total + _interpolate(source, x, y, weight)

    shape = [None, grid.side_px, grid.side_px, 3]
    return tf.while_loop(
        lambda i_sample, _: i_sample < tf.square(grid.antialias_factor), add_sample,
        (0, tf.zeros([tf.size(views.level), *shape[1:]])), parallel_iterations=1,
        shape_invariants=(tf.TensorShape([]), tf.TensorShape(shape)))[1]


def _image_points(views, pixels_from_norm, grid_x, grid_y):
    """Image points of a grid of crop points, as planes x and y `[n, len(grid_y), len(grid_x)]`.

    Planes and not pairs: operations on a last axis of two are several times slower.
    """
    def pinhole():
        """One homography from crop to image."""
        homography = tf.concat(
            [tf.matmul(pixels_from_norm, views.rays_from_crop), views.rays_from_crop[:, 2:]], 1)
        return _project_grid(homography, grid_x, grid_y)

    def through_lens():
        """By way of rays."""
        x, y = _distort(
            *_project_grid(views.rays_from_crop, grid_x, grid_y), views.lens, views.max_radius)
        matrix = tf.reshape(pixels_from_norm, [-1, 6, 1, 1])
        xx, xy, x1, yx, yy, y1 = tf.unstack(matrix, axis=1)
        return xx * x + xy * y + x1, yx * x + yy * y + y1

    return tf.cond(tf.reduce_any(views.lens != 0), through_lens, pinhole)


def _project_grid(matrices, grid_x, grid_y):
    """Homogeneous map of a grid. Points behind the camera land far outside the image."""
    per_x, per_y, constant = tf.unstack(matrices[..., tf.newaxis, tf.newaxis], axis=2)
    columns, rows = per_x * grid_x, per_y * grid_y[:, tf.newaxis] + constant
    x, y, depth = (c + r for c, r in zip(tf.unstack(columns, axis=1), tf.unstack(rows, axis=1)))
    inverse_depth = 1 / tf.maximum(depth, _MIN_RAY_DEPTH)
    return x * inverse_depth, y * inverse_depth


def _distort(x, y, lens, max_radius):
    """The lens model of `geometry.distortion.distort_points` on planes `[n, rows, columns]`."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = tf.unstack(
        lens[:, :, tf.newaxis, tf.newaxis], axis=1)
    max_radius = max_radius[:, tf.newaxis, tf.newaxis]
    radius = tf.sqrt(x * x + y * y)
    shrink = max_radius / tf.maximum(radius, max_radius)
    r2 = tf.square(radius * shrink)
    factor = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    factor += (x * (2 * p2) + y * (2 * p1)) * shrink
    return (x * factor + r2 * (p2 + s1 + r2 * s2),
            y * factor + r2 * (p1 + s3 + r2 * s4))


def _interpolate(source, x, y, weight):
    """Weighted bilinear samples at planes of points, `[n, S, S, 3]`, zeros outside."""
    width, height = tf.unstack(source.size[..., tf.newaxis, tf.newaxis], axis=1)
    column, left, right = _taps(x, width)
    row, top, bottom = _taps(y, height)
    first = row * width + (column + source.first[:, tf.newaxis, tf.newaxis])
    next_column = tf.minimum(width - 1, 1)
    below = first + tf.minimum(height - 1, 1) * width
    top, bottom = top * weight, bottom * weight
    # All four neighbours at once: few and large operations.
    indices = tf.stack([first, first + next_column, below, below + next_column])
    weights = tf.stack([top * left, top * right, bottom * left, bottom * right])
    indices = tf.reshape(indices, [-1])
    light = tf.cond(
        source.is_decoded, lambda: tf.gather(source.light, indices),
        lambda: pixel_source.decode(tf.gather(source.display, indices)))
    # A matrix product is faster than broadcasting along a short last axis.
    light *= tf.matmul(tf.reshape(weights, [-1, 1]), tf.ones([1, 3]))
    total = tf.reduce_sum(tf.reshape(light, [4, -1]), axis=0)
    return tf.reshape(total, tf.concat([tf.shape(x), [3]], axis=0))


def _taps(position, size):
    """Index of the first of two neighbouring pixels and the weights of both along one axis.

    Weights are tents around the pixels, so that positions outside fade out by themselves.
    """
    last_first = tf.cast(tf.maximum(size - 2, 0), tf.float32)
    first = tf.minimum(tf.nn.relu(tf.floor(position)), last_first)
    offset = position - first
    has_second = tf.cast(size > 1, tf.float32)
    return (tf.cast(first, tf.int32), tf.nn.relu(1 - tf.abs(offset)),
            tf.nn.relu(has_second - tf.abs(offset - 1)))
