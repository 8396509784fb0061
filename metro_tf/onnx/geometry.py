"""Pinhole cameras and rotations in NumPy; conventions are those of `metro_tf.geometry`."""

import math

import numpy as np

# As in `metro_tf.geometry.camera` and `metro_tf.geometry.rotation`.
PRINCIPAL_POINT_FRACTION = 0.5
_MIN_SINE = 1e-4


def intrinsics_from_fov(fov_degrees, image_shape):
    """Intrinsics of an unknown camera, see `metro_tf.geometry.camera.intrinsics_from_fov`.

    Args:
        fov_degrees: Float, degrees along the larger image side.
        image_shape: (height, width), ints.

    Returns:
        Float32 array `[3, 3]`, px.
    """
    height, width = image_shape
    focal = max(height, width) / (2 * math.tan(math.radians(float(fov_degrees)) / 2))
    center_x, center_y = width * PRINCIPAL_POINT_FRACTION, height * PRINCIPAL_POINT_FRACTION
    return np.array([[focal, 0, center_x], [0, focal, center_y], [0, 0, 1]], np.float32)


def rotate(points, rotation):
    """Applies 3x3 matrices `[..., 3, 3]` to rows of points `[..., n, 3]`."""
    return points @ np.swapaxes(rotation, -1, -2)


def to_pixels(points_norm, intrinsics):
    """Applies intrinsics `[..., 3, 3]`, px, to normalised image points `[..., n, 2]`."""
    upper = np.swapaxes(intrinsics[..., :2, :2], -1, -2)
    return points_norm @ upper + intrinsics[..., np.newaxis, :2, 2]


def inverse_intrinsics(intrinsics):
    """Inverses of intrinsics `[..., 3, 3]` with the last row (0, 0, 1), in float64.

    Closed form: a general matrix inverse costs more than all else that is done with a camera.
    """
    (xx, xy, x1), (yx, yy, y1) = np.moveaxis(
        intrinsics[..., :2, :].astype(np.float64), (-2, -1), (0, 1))
    determinant = xx * yy - xy * yx
    inverse = np.zeros([*intrinsics.shape[:-2], 3, 3])
    inverse[..., 0, 0], inverse[..., 0, 1], inverse[..., 0, 2] = yy, -xy, xy * y1 - yy * x1
    inverse[..., 1, 0], inverse[..., 1, 1], inverse[..., 1, 2] = -yx, xx, yx * x1 - xx * y1
    inverse /= determinant[..., np.newaxis, np.newaxis]
    inverse[..., 2, 2] = 1
    return inverse


def normalize(points_px, intrinsics):
    """Removes intrinsics `[..., 3, 3]` from points `[..., n, 2]`, px. Inverse of `to_pixels`."""
    return to_pixels(points_px, inverse_intrinsics(intrinsics)).astype(np.float32)


def project(points, intrinsics, min_depth_mm=1.0):
    """Projects camera-frame points, see `metro_tf.geometry.camera.project`.

    Args:
        points: Float array `[..., n, 3]`, camera frame, mm.
        intrinsics: Float array `[..., 3, 3]`, px.
        min_depth_mm: Depths below this are raised to it.

    Returns:
        Float array `[..., n, 2]`, px.
    """
    return to_pixels(points[..., :2] / np.maximum(points[..., 2:], min_depth_mm), intrinsics)


def camera_to_world(points, extrinsics):
    """Camera points `[..., n, 3]` in the world: `R^-1 (p - t)`, extrinsics `[..., 4, 4]`, mm."""
    row0, row1, row2 = np.moveaxis(extrinsics[..., :3, :3], -2, 0)
    # The columns of the inverse are cross products of the rows over the determinant.
    columns = np.stack([np.cross(row1, row2), np.cross(row2, row0), np.cross(row0, row1)], -2)
    determinant = np.sum(row0 * columns[..., 0, :], axis=-1)[..., np.newaxis, np.newaxis]
    return (points - extrinsics[..., np.newaxis, :3, 3]) @ (columns / determinant)


def look_at(forward, up):
    """Rotations into cameras that look along a ray, see `metro_tf.geometry.rotation.look_at`.

    Args:
        forward: Float array `[n, 3]`, viewing directions of any length.
        up: Float array `[n, 3]` of any length, same frame.

    Returns:
        Float array `[n, 3, 3]`, old to new coordinates.
    """
    z = _normalized(forward, (0.0, 0.0, 1.0))
    across_up = np.cross(z, _normalized(up, (0.0, 0.0, 0.0)))
    horizontal = np.stack([z[:, 2], np.zeros_like(z[:, 0]), -z[:, 0]], axis=-1)
    x = np.where(_is_long(across_up), across_up, np.where(
        _is_long(horizontal), horizontal, np.array([1, 0, 0], z.dtype)))
    x = _normalized(x - np.sum(x * z, axis=-1, keepdims=True) * z, (1.0, 0.0, 0.0))
    return np.stack([x, np.cross(z, x), z], axis=-2)


def _is_long(vectors):
    return np.sum(vectors ** 2, axis=-1, keepdims=True) > _MIN_SINE ** 2


def _normalized(vectors, fallback):
    """Unit vectors; `fallback` instead of (nearly) zero ones."""
    squared_length = np.sum(vectors ** 2, axis=-1, keepdims=True)
    is_valid = squared_length > 1e-24
    length = np.sqrt(np.where(is_valid, squared_length, 1))
    return np.where(is_valid, vectors / length, np.array(fallback, vectors.dtype))
