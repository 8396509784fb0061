"""Cameras as callers give them, in NumPy; see `metro_tf.calibration`."""

import dataclasses

import numpy as np

from metro_tf.onnx import distortion, geometry

# As in `metro_tf.calibration`.
UNKNOWN_INTRINSICS_ENTRY = -1.0
_ROTATION_TOLERANCE = 1e-2


@dataclasses.dataclass(frozen=True)
class Cameras:
    """The calibration of a batch of images; the first axis is 1 or the number of images.

    Args:
        intrinsics: Float32 array `[1 or n_images, 3, 3]`, px.
        distortion_coeffs: Float32 array `[1 or n_images, 12]`.
        extrinsics: Float32 array `[1 or n_images, 4, 4]`, world to camera, mm.
        up: Float32 array `[1 or n_images, 3]`, world up direction in the camera frame.
    """
    intrinsics: np.ndarray
    distortion_coeffs: np.ndarray
    extrinsics: np.ndarray
    up: np.ndarray

    def per_person(self, image_index):
        """`Cameras` with one row for each of the images `[n]` that people are in."""
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Cameras(*(
            values[np.zeros_like(image_index) if len(values) == 1 else image_index]
            for values in fields))

    def rows(self, selected):
        """`Cameras` with some of the rows, given as a slice."""
        return Cameras(*(
            getattr(self, field.name)[selected] for field in dataclasses.fields(self)))


def require(condition, message, *received):
    """Raises a `ValueError` with the message and what was received unless the condition holds."""
    if not condition:
        raise ValueError(' '.join([message, 'Received:', *map(str, received)]))


def prepare_cameras(
        image_shape, intrinsic_matrix, distortion_coeffs, extrinsic_matrix, *, world_up_vector,
        default_fov_degrees):
    """Checks the calibration of a batch and fills in unknown intrinsics.

    Args:
        image_shape: Tuple: n_images, height, width, channels.
        intrinsic_matrix: Float32 array `[n_images or 1, 3, 3]`, px; -1 everywhere is unknown.
        distortion_coeffs: Float32 array `[n_images or 1, n]`.
        extrinsic_matrix: Float32 array `[n_images or 1, 4, 4]`, mm.
        world_up_vector: Float32 array `[3]`.
        default_fov_degrees: Float, degrees.

    Returns:
        `Cameras`.

    Raises:
        ValueError: If a value breaks the rules.
    """
    _check_count('intrinsic_matrix', intrinsic_matrix, image_shape[0])
    _check_count('distortion_coeffs', distortion_coeffs, image_shape[0])
    _check_count('extrinsic_matrix', extrinsic_matrix, image_shape[0])
    _check_distortion(distortion_coeffs)
    _check_extrinsics(extrinsic_matrix, world_up_vector)
    require(0 < default_fov_degrees < 180,
            '`default_fov_degrees` must be above 0 and below 180.', default_fov_degrees)
    is_unknown = np.all(
        intrinsic_matrix == UNKNOWN_INTRINSICS_ENTRY, axis=(1, 2), keepdims=True)
    intrinsics = np.where(
        is_unknown, geometry.intrinsics_from_fov(default_fov_degrees, image_shape[1:3]),
        intrinsic_matrix)
    _check_intrinsics(intrinsics)
    n_missing = distortion.MAX_COEFFS - distortion_coeffs.shape[1]
    return Cameras(
        intrinsics, np.pad(distortion_coeffs, [[0, 0], [0, n_missing]]), extrinsic_matrix,
        extrinsic_matrix[:, :3, :3] @ world_up_vector)


def _check_count(name, values, n_images):
    require(len(values) in (1, n_images), f'`{name}` must be given once or once per image.',
            len(values), 'for', n_images, 'images')


def _check_distortion(distortion_coeffs):
    n_coeffs = distortion_coeffs.shape[1]
    require(n_coeffs <= distortion.MAX_COEFFS,
            f'`distortion_coeffs` must have at most {distortion.MAX_COEFFS} coefficients.',
            n_coeffs)
    require(np.all(np.isfinite(distortion_coeffs)), '`distortion_coeffs` must be finite.',
            distortion_coeffs)


def _check_extrinsics(extrinsic_matrix, world_up_vector):
    require(np.all(extrinsic_matrix[:, 3] == [0, 0, 0, 1]) and np.all(
        np.isfinite(extrinsic_matrix)),
            '`extrinsic_matrix` must be finite with last row (0, 0, 0, 1), world to camera, for '
            'column vectors.', extrinsic_matrix)
    rotation = extrinsic_matrix[:, :3, :3]
    deviation = np.abs(rotation @ np.swapaxes(rotation, 1, 2) - np.eye(3))
    require(np.all(deviation < _ROTATION_TOLERANCE) and np.all(np.linalg.det(rotation) > 0),
            '`extrinsic_matrix` must hold a rotation (orthonormal rows, determinant +1) in its '
            'upper left 3x3 block.', extrinsic_matrix)
    squared_up = np.sum(np.square(world_up_vector))
    require(0 < squared_up < np.inf, '`world_up_vector` must be finite and not zero.',
            world_up_vector)


def _check_intrinsics(intrinsics):
    focal_product = (
        intrinsics[:, 0, 0] * intrinsics[:, 1, 1] - intrinsics[:, 0, 1] * intrinsics[:, 1, 0])
    require(
        np.all(np.isfinite(intrinsics)) and np.all(intrinsics[:, 2] == [0, 0, 1])
        and np.all(focal_product > 0),
        '`intrinsic_matrix` must be finite (no NaN) with last row (0, 0, 1) and positive focal '
        'lengths, or -1 in all entries if unknown.', intrinsics)
