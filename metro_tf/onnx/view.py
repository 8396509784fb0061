"""From people's boxes to virtual cameras that look at them, in NumPy; see `cropping.view`."""

import numpy as np

from metro_tf.onnx import distortion, geometry

# As in `metro_tf.cropping.view`.
_MIN_RAY_DEPTH = 1e-2
_MIN_SIZE_PX = 1e-3


def virtual_cameras(boxes, cameras, crop_side_px):
    """Turns the camera towards each box and finds the zoom that makes the box fill the crop.

    Args:
        boxes: Float32 array `[n, 4 or 5]`, image px.
        cameras: `calibration.Cameras` with one row per box.
        crop_side_px: Side of the square crop.

    Returns:
        Tuple of float32 arrays: rotations `[n, 3, 3]`, original to virtual camera, and box scales
        `[n]`, crop px per px of an image with the original intrinsics.
    """
    points_norm = geometry.normalize(_center_and_midpoints(boxes), cameras.intrinsics)
    x, y = distortion.undistort(
        points_norm[..., 0], points_norm[..., 1],
        distortion.make_lens(cameras.distortion_coeffs))
    rays = np.stack([x, y, np.ones_like(x)], axis=-1)
    rotations = geometry.look_at(rays[:, 0], cameras.up)
    sides = geometry.project(
        geometry.rotate(rays[:, 1:], rotations), cameras.intrinsics, _MIN_RAY_DEPTH)
    top, bottom, left, right = np.moveaxis(sides, 1, 0)
    size = np.maximum(
        np.linalg.norm(bottom - top, axis=-1), np.linalg.norm(right - left, axis=-1))
    return rotations, np.float32(crop_side_px) / np.maximum(size, np.float32(_MIN_SIZE_PX))


def crop_intrinsics(intrinsics, scales, crop_side_px):
    """Intrinsics of virtual cameras: zoomed, with the principal point in the crop's centre.

    Args:
        intrinsics: Float32 array `[..., 3, 3]`, px, of the original camera.
        scales: Float32 array `[...]`, crop px per image px. Leading axes broadcast.
        crop_side_px: Side of the square crop.

    Returns:
        Float32 array `[..., 3, 3]`, px.
    """
    focal = intrinsics[..., :2, :2] * scales[..., np.newaxis, np.newaxis]
    result = np.zeros([*focal.shape[:-2], 3, 3], np.float32)
    result[..., :2, :2] = focal
    result[..., :2, 2] = crop_side_px * geometry.PRINCIPAL_POINT_FRACTION
    result[..., 2, 2] = 1
    return result


def _center_and_midpoints(boxes):
    """Centre and midpoints of the top, bottom, left and right side, `[n, 5, 2]`, px."""
    left, top, width, height = boxes[:, :4].T
    middle_x, middle_y = left + width / 2, top + height / 2
    x = np.stack([middle_x, middle_x, middle_x, left, left + width], axis=-1)
    y = np.stack([middle_y, top, top + height, middle_y, middle_y], axis=-1)
    return np.stack([x, y], axis=-1)
