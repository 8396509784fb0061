"""OpenCV's lens model in NumPy; definition and behaviour are those of `geometry.distortion`."""

import math
from typing import NamedTuple

import numpy as np

MAX_COEFFS = 12
_N_ITERATIONS = 5
_MAX_RADIUS = math.tan(math.radians(85.0))
_RADII = np.tan(np.linspace(0, math.atan(_MAX_RADIUS), 256)).astype(np.float32)
_MIN_DENOMINATOR = np.float32(0.01)


class Lens(NamedTuple):
    """Lenses in the form in which they broadcast with planes of coordinates `[..., n]`.

    Args:
        coeffs: Float32 array `[12, ..., 1]`.
        max_radius: Float32 array `[..., 1]`, see `geometry.distortion.valid_radius`.
    """
    coeffs: np.ndarray
    max_radius: np.ndarray


def make_lens(distortion_coeffs):
    """`Lens` of float32 coefficients `[..., 12]`; None if all of them are zero."""
    if not np.any(distortion_coeffs):
        return None
    return Lens(
        np.moveaxis(distortion_coeffs, -1, 0)[..., np.newaxis],
        valid_radius(distortion_coeffs)[..., np.newaxis])


def distort(x, y, lens):
    """Moves ideal pinhole points to where a lens puts them.

    Args:
        x: Float32 array `[..., n]`, undistorted normalised image coordinates.
        y: Float32 array `[..., n]`.
        lens: `Lens`, or None for no distortion.

    Returns:
        Tuple of the distorted x and y.
    """
    if lens is None:
        return x, y
    factor, offset_x, offset_y = _terms(x, y, lens)
    factor = sum(factor)
    return x * factor + offset_x, y * factor + offset_y


def undistort(x, y, lens):
    """Inverse of `distort` by fixed-point iteration; same arguments and results."""
    if lens is None:
        return x, y
    ideal_x, ideal_y = x, y
    for _ in range(_N_ITERATIONS):
        (radial, tangential), offset_x, offset_y = _terms(ideal_x, ideal_y, lens)
        ideal_x, ideal_y = (
            (x - offset_x - ideal_x * tangential) / radial,
            (y - offset_y - ideal_y * tangential) / radial)
    return ideal_x, ideal_y


def valid_radius(distortion_coeffs):
    """Radius up to which the model means something, see `geometry.distortion.valid_radius`.

    Args:
        distortion_coeffs: Float32 array `[..., 12]`.

    Returns:
        Float32 array `[...]`, undistorted normalised units.
    """
    k1, k2, _, _, k3, k4, k5, k6 = np.moveaxis(distortion_coeffs, -1, 0)[:8, ..., np.newaxis]
    r2 = _RADII ** 2
    numerator = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    denominator = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    numerator_slope = r2 * (2 * k1 + r2 * (4 * k2 + r2 * 6 * k3))
    denominator_slope = r2 * (2 * k4 + r2 * (4 * k5 + r2 * 6 * k6))
    growth = (numerator + numerator_slope) * denominator - numerator * denominator_slope
    return _first_crossing(np.minimum(growth, denominator - _MIN_DENOMINATOR))


def _first_crossing(values):
    """Radius where `values` [..., 256], positive at first, first reach zero; else the last."""
    is_crossed = values[..., 1:] <= 0
    i_before = np.argmax(is_crossed, axis=-1)
    before, after = (
        np.take_along_axis(values, i[..., np.newaxis], axis=-1)[..., 0]
        for i in (i_before, i_before + 1))
    is_any_crossed = np.any(is_crossed, axis=-1)
    fraction = before / np.where(is_any_crossed, before - after, 1)
    crossing = _RADII[i_before] + fraction * (_RADII[i_before + 1] - _RADII[i_before])
    return np.where(is_any_crossed, crossing, _RADII[-1]).astype(np.float32)


def _terms(x, y, lens):
    """The model's (a, b) and the two components of c, see `geometry.distortion`."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = lens.coeffs
    radius = np.sqrt(x * x + y * y)
    shrink = lens.max_radius / np.maximum(radius, lens.max_radius)
    r2 = np.square(radius * shrink)
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    tangential = (x * (2 * p2) + y * (2 * p1)) * shrink
    return (radial, tangential), r2 * (p2 + s1 + r2 * s2), r2 * (p1 + s3 + r2 * s4)
