"""Antialiased perspective crops in NumPy and OpenCV; see `metro_tf.cropping.warp`.

OpenCV's own warps round positions to 1/32 px, so positions and interpolation are computed here.
One person is sampled after the other, since the planes of one crop then stay in the cache.
"""

from typing import NamedTuple

import cv2
import numpy as np

from metro_tf.onnx import distortion, geometry

# As in `metro_tf.cropping.warp`.
DISPLAY_GAMMA = 2.2
N_PYRAMID_LEVELS = 3
_COARSEST_CELL_PX = 2 ** (N_PYRAMID_LEVELS - 1)
_LATTICE_SIZE = 17
_MIN_RAY_DEPTH = np.float32(1e-6)
_LIGHT_OF_DISPLAY_VALUE = ((np.arange(256) / 255) ** DISPLAY_GAMMA).astype(np.float32)


def sample_crops(
        images, image_index, intrinsics, distortion_coeffs, crop_intrinsics, *, rotations,
        scales, gamma, crop_side_px, antialias_factor=1):
    """Samples what virtual cameras see, several views of every person.

    Args:
        images: uint8 array `[N, H, W, 3]`, H and W at least 1.
        image_index: Int array `[n]`, the image that each person is in.
        intrinsics: Float array `[n, 3, 3]`, px, of that image.
        distortion_coeffs: Float32 array `[n, 12]`, of that image.
        crop_intrinsics: Float array `[n, views, 3, 3]`, px.
        rotations: Float array `[n, views, 3, 3]`, original to crop camera; may mirror.
        scales: Float array `[n, views]`, crop px per image px; selects the pyramid level.
        gamma: Float array `[views]`, positive exponent of the display values.
        crop_side_px: Int, side of the square crops.
        antialias_factor: Int, at least 1, samples per crop pixel along one axis.

    Returns:
        Float32 array `[n, views, crop_side_px, crop_side_px, 3]` in [0, 1], display space.
    """
    grid = _Grid(crop_side_px, antialias_factor)
    rays_from_crop = np.swapaxes(rotations, -1, -2) @ geometry.inverse_intrinsics(
        crop_intrinsics)
    levels = _pyramid_levels(scales, antialias_factor, images.shape[1:3])
    exponents = gamma / DISPLAY_GAMMA
    crops = np.empty([*scales.shape, crop_side_px, crop_side_px, 3], np.float32)
    for i, i_image in enumerate(image_index):
        views = [
            _View(rays, intrinsics[i, :2], distortion.make_lens(distortion_coeffs[i]), *rest)
            for rays, *rest in zip(rays_from_crop[i], levels[i], exponents)]
        _sample_person(images[i_image], views, grid, crops[i])
    return crops


class _Grid(NamedTuple):
    """The sample positions in every crop."""
    side_px: int
    antialias_factor: int


class _View(NamedTuple):
    """Where the pixels of one crop come from."""
    rays_from_crop: np.ndarray  # [3, 3], crop px to rays of the original camera
    pixels_from_norm: np.ndarray  # [2, 3], normalised coordinates to image px
    lens: distortion.Lens
    level: int
    exponent: float  # of the light


def _pyramid_levels(scales, antialias_factor, image_size):
    """Int array `[n, views]`; an image too small for a level has the coarsest that fits."""
    sample_scales = np.maximum(scales, np.float32(1e-6)) * np.float32(antialias_factor)
    max_level = sum(min(image_size) >= 2 ** level for level in range(1, N_PYRAMID_LEVELS))
    return np.clip(np.floor(-np.log2(sample_scales)), 0, max_level).astype(int)


def _sample_person(image, views, grid, crops):
    """Writes all views of one person into `crops` `[views, S, S, 3]`."""
    (x0, y0), (x1, y1) = _touched_rectangle(views, grid.side_px, image.shape[:2])
    pyramid = _light_pyramid(image[y0:y1, x0:x1], max(view.level for view in views))
    for view, crop in zip(views, crops):
        light = _mean_light(view, pyramid[view.level], (x0, y0), grid)
        with np.errstate(divide='ignore'):
            # exp of log is several times faster than a power, and is 0 for 0.
            display = np.exp(np.log(light) * np.float32(view.exponent))
        np.copyto(crop, display.transpose(1, 2, 0))


def _touched_rectangle(views, crop_side_px, image_size):
    """First (x, y) and the (x, y) behind the last of what the views may need of the image.

    Whole cells of the coarsest level, at least one if the image has one. Bounds are found on a
    lattice; half of its largest step covers what lies between its points.
    """
    lattice = np.linspace(-0.5, crop_side_px - 0.5, _LATTICE_SIZE, dtype=np.float32)
    points = np.stack([
        _image_points(view, view.pixels_from_norm, lattice, lattice) for view in views])
    step = max(np.abs(np.diff(points, axis=axis)).max() for axis in (2, 3))
    margin = step / 2 + 2 * _COARSEST_CELL_PX
    size = np.array(image_size[::-1])
    lower = np.clip(points.min(axis=(0, 2, 3)) - margin, 0, size - 1).astype(int)
    upper = np.clip(points.max(axis=(0, 2, 3)) + margin, 0, size - 1).astype(int)
    cell = _COARSEST_CELL_PX
    start = np.minimum(lower, np.maximum(size - cell, 0)) // cell * cell
    n_cells = np.maximum((upper - start) // cell + 1, 1)
    return start, np.minimum(start + n_cells * cell, size)


def _light_pyramid(image, max_level):
    """Linear light in [0, 1] at the levels 0 to `max_level`, each as a tuple of three planes."""
    light = cv2.LUT(np.ascontiguousarray(image), _LIGHT_OF_DISPLAY_VALUE)
    levels = [cv2.split(light)]
    for _ in range(max_level):
        height, width = light.shape[0] // 2, light.shape[1] // 2
        light = cv2.resize(
            light[:2 * height, :2 * width], (width, height), interpolation=cv2.INTER_AREA)
        levels.append(cv2.split(light))
    return levels


def _mean_light(view, planes, origin, grid):
    """Linear light of one crop `[3, S, S]`: the mean over all subsamples."""
    cell_px = 2 ** view.level
    pixels_from_norm = view.pixels_from_norm / cell_px
    pixels_from_norm[:, 2] += (0.5 - np.asarray(origin)) / cell_px - 0.5
    pixel_grid = np.arange(grid.side_px, dtype=np.float32)
    n = grid.antialias_factor
    total = 0
    for row, column in np.ndindex(n, n):
        grid_x, grid_y = (pixel_grid + np.float32((i + 0.5) / n - 0.5) for i in (column, row))
        total = total + _interpolated(
            planes, *_image_points(view, pixels_from_norm, grid_x, grid_y))
    return total if n == 1 else total / np.float32(n * n)


def _image_points(view, pixels_from_norm, grid_x, grid_y):
    """Image points of a grid of crop points: planes x and y `[len(grid_y), len(grid_x)]`."""
    if view.lens is None:
        homography = np.concatenate(
            [pixels_from_norm @ view.rays_from_crop, view.rays_from_crop[2:]])
        return _project_grid(homography, grid_x, grid_y)
    x, y = distortion.distort(
        *_project_grid(view.rays_from_crop, grid_x, grid_y), view.lens)
    (xx, xy, x1), (yx, yy, y1) = pixels_from_norm.astype(np.float32)
    return xx * x + xy * y + x1, yx * x + yy * y + y1


def _project_grid(matrix, grid_x, grid_y):
    """Homogeneous map of a grid. Points behind the camera land far outside the image."""
    x, y, depth = (
        per_x * grid_x + (per_y * grid_y + constant)[:, np.newaxis]
        for per_x, per_y, constant in matrix.astype(np.float32))
    inverse_depth = 1 / np.maximum(depth, _MIN_RAY_DEPTH)
    return x * inverse_depth, y * inverse_depth


def _interpolated(planes, x, y):
    """Bilinear samples of three planes at planes of points, `[3, S, S]`, zeros outside."""
    height, width = planes[0].shape
    column, left, right = _taps(x, width)
    row, top, bottom = _taps(y, height)
    first = row * width + column
    below = first + min(height - 1, 1) * width
    next_column = min(width - 1, 1)
    taps = ((first, top * left), (first + next_column, top * right),
            (below, bottom * left), (below + next_column, bottom * right))
    result = np.zeros([len(planes), *x.shape], np.float32)
    for plane, total in zip(planes, result):
        values = plane.ravel()
        for indices, weights in taps:
            total += values[indices] * weights
    return result


def _taps(position, size):
    """Index of the first of two neighbouring pixels and the weights of both along one axis.

    Weights are tents around the pixels, so that positions outside fade out by themselves.
    """
    first = np.clip(np.floor(position), 0, max(size - 2, 0))
    offset = position - first
    has_second = np.float32(size > 1)
    return (first.astype(np.intp), np.maximum(1 - np.abs(offset), 0),
            np.maximum(has_second - np.abs(offset - 1), 0))
