"""Slow crop sampling in double precision, one step after the other as MeTRAbs describes them."""

import numpy as np


def sample_crop(
        image, intrinsics, distortion_coeffs, crop_intrinsics, rotation, scale, gamma,
        crop_side_px, antialias_factor):
    """One crop `[S, S, 3]` in [0, 1] from one uint8 image."""
    light = (image / 255.0) ** 2.2
    level = int(np.clip(np.floor(-np.log2(scale * antialias_factor)), 0, 2))
    for _ in range(level):
        light = half(light)
    level_intrinsics = corner_aligned(0.5 ** level) @ intrinsics
    side = crop_side_px * antialias_factor
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    crop_px = homogeneous(grid) @ corner_aligned(1 / antialias_factor).T
    rays = crop_px @ np.linalg.inv(crop_intrinsics @ rotation).T
    points = distort(rays[:, :2] / rays[:, 2:], distortion_coeffs)
    points = (homogeneous(points) @ level_intrinsics.T)[:, :2]
    samples = np.array([interpolate(light, x, y) for x, y in points])
    samples = samples.reshape(crop_side_px, antialias_factor, crop_side_px, antialias_factor, 3)
    return samples.mean(axis=(1, 3)) ** (gamma / 2.2)


def corner_aligned(factor):
    """Scaling of pixel coordinates that keeps the corners of the picture in place."""
    shift = (factor - 1) / 2
    return np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1]])


def half(light):
    """2x2 means; an odd last row or column is dropped."""
    height, width = light.shape[0] // 2, light.shape[1] // 2
    cells = light[:2 * height, :2 * width].reshape(height, 2, width, 2, 3)
    return cells.mean(axis=(1, 3))


def homogeneous(points):
    """Appends a 1."""
    return np.concatenate([points, np.ones_like(points[:, :1])], axis=1)


def distort(points, coeffs):
    """OpenCV's rational model with tangential and thin prism terms."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = np.pad(coeffs, (0, 12 - len(coeffs)))
    x, y = points.T
    r2 = x ** 2 + y ** 2
    a = (1 + k1 * r2 + k2 * r2 ** 2 + k3 * r2 ** 3) / (1 + k4 * r2 + k5 * r2 ** 2 + k6 * r2 ** 3)
    b = 2 * (x * p2 + y * p1)
    return np.stack([
        x * (a + b) + (p2 + s1 + s2 * r2) * r2, y * (a + b) + (p1 + s3 + s4 * r2) * r2], axis=1)


def interpolate(light, x, y):
    """Bilinear in one point, pixels outside are black."""
    left, top = int(np.floor(x)), int(np.floor(y))
    value = np.zeros(3)
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < light.shape[0] and 0 <= column < light.shape[1]:
                value += light[row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return value
