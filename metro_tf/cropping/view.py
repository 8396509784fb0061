"""From a person's box to a virtual camera that looks at the person (MeTRAbs).

A crop is not a cut-out but the picture of a pinhole camera at the place of the real one, turned
so that its optical axis goes through the centre of the box. Its principal point is the crop's
centre (side / 2, side / 2), it has no lens distortion, and up in the world is up in the crop.
"""

import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import boxes as boxlib
from metro_tf.geometry import camera, distortion, rotation

# Rays have depth 1 before they are turned, so this is a cosine: sides of a box that come to lie
# beside or behind the virtual camera count as almost 90 degrees off its axis.
_MIN_RAY_DEPTH = 1e-2
_MIN_SIZE_PX = 1e-3


def virtual_cameras(boxes, intrinsics, distortion_coeffs, camera_up, crop_side_px):
    """Turns the camera towards each box and finds the zoom that makes the box fill the crop.

    The centre and the midpoints of the sides are undistorted to rays, since a box's corners
    say little about the person. The larger of the two reprojected extents, top to bottom and
    left to right, fills the crop.

    Args:
        boxes: Float tensor `[n, 4 or 5]`, image px.
        intrinsics: Float tensor `[n, 3, 3]` or `[3, 3]`, px, of the image each box lies in.
        distortion_coeffs: Float tensor `[n, k]` or `[k]`, at most 12 coefficients.
        camera_up: Float tensor `[n, 3]` or `[3]`, the world's up direction in camera coordinates.
            Where a box's ray is vertical, the camera's own x axis decides (`rotation.look_at`).
        crop_side_px: Side of the square crop.

    Returns:
        Tuple of rotations `[n, 3, 3]`, original camera to virtual camera, and box scales `[n]`,
        crop px per px of an image with the original intrinsics. Both float32.

    Raises:
        ValueError: If a static shape does not fit.
    """
    boxes = checks.last_axes(boxes, (None, None), 'boxes', tf.float32)
    intrinsics = checks.last_axes(intrinsics, (3, 3), 'intrinsics', tf.float32)
    coeffs = checks.last_axes(distortion_coeffs, (None,), 'distortion_coeffs', tf.float32)
    camera_up = checks.last_axes(camera_up, (3,), 'camera_up', tf.float32)
    points = tf.concat(
        [boxlib.center(boxes)[:, tf.newaxis], boxlib.side_midpoints(boxes)], axis=1)
    points_norm = distortion.undistort_points(camera.normalize(points, intrinsics), coeffs)
    rays = camera.back_project(points_norm, tf.ones_like(points_norm[..., 0]))
    rotations = rotation.look_at(rays[:, 0], camera_up)
    sides = camera.project(
        rotation.rotate(rays[:, 1:], rotations), intrinsics, min_depth_mm=_MIN_RAY_DEPTH)
    top, bottom, left, right = tf.unstack(sides, axis=1)
    size = tf.maximum(tf.norm(bottom - top, axis=-1), tf.norm(right - left, axis=-1))
    return rotations, tf.cast(crop_side_px, tf.float32) / tf.maximum(size, _MIN_SIZE_PX)


def crop_intrinsics(intrinsics, scales, crop_side_px):
    """Intrinsics of the virtual cameras: zoomed, with the principal point in the crop's centre.

    Aspect and skew of the original camera remain. Focal length 500 at scale 0.5 in a crop of
    256 px gives focal length 250 and principal point (128, 128).

    Args:
        intrinsics: Float tensor `[..., 3, 3]`, px, of the original camera.
        scales: Float tensor `[...]`, crop px per image px. Leading axes broadcast.
        crop_side_px: Side of the square crop.

    Returns:
        Float32 tensor `[..., 3, 3]`, px.

    Raises:
        ValueError: If a static shape does not fit.
    """
    intrinsics = checks.last_axes(intrinsics, (3, 3), 'intrinsics', tf.float32)
    scales = checks.last_axes(scales, (), 'scales', tf.float32)[..., tf.newaxis, tf.newaxis]
    focal = intrinsics[..., :2, :2] * scales
    center = tf.cast(crop_side_px, tf.float32) * camera.PRINCIPAL_POINT_FRACTION
    upper = tf.concat([focal, tf.zeros_like(focal[..., :1]) + center], axis=-1)
    last_row = tf.concat([tf.zeros_like(focal[..., :1, :]), tf.ones_like(focal[..., :1, :1])], -1)
    return tf.concat([upper, last_row], axis=-2)
