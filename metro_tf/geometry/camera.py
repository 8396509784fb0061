"""Pinhole cameras: projection and its inverse, field of view, world and camera frames.

A camera is an intrinsic matrix `[[fx, skew, cx], [0, fy, cy], [0, 0, 1]]` in px (any invertible
upper left 2x2 block is accepted) and an extrinsic matrix `[R | t; 0 0 0 1]`, world to camera in
mm. Normalised image coordinates are those at intrinsics = identity.
"""

import math

import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import rotation

# Where we choose the principal point ourselves, as the published MeTRAbs does: at (side / 2,
# side / 2) of a crop and (width / 2, height / 2) of an image from an unknown camera. With
# integer pixel centres this lies half a pixel right of and below the middle of the image.
PRINCIPAL_POINT_FRACTION = 0.5


def project(points, intrinsics, min_depth_mm=1.0):
    """Projects camera-frame points to pixels.

    Convention: `intrinsics` acts on column vectors from the left. With focal length 100 and
    principal point (50, 40), the point (1, 2, 10) falls on pixel (60, 60).

    Args:
        points: Float tensor `[..., joints, 3]`, camera frame, mm.
        intrinsics: Float tensor `[..., 3, 3]`, px, last row (0, 0, 1). Leading axes broadcast.
        min_depth_mm: Depths below this are raised to it, so that a loss on points beside or
            behind the camera stays finite. Such pixels are not meaningful; mask them.

    Returns:
        Float tensor `[..., joints, 2]`: (x, y) in px.

    Raises:
        ValueError: If a static shape does not fit.
    """
    points = checks.last_axes(points, (None, 3), name='points')
    depth = tf.maximum(points[..., 2:], tf.cast(min_depth_mm, points.dtype))
    return to_pixels(points[..., :2] / depth, intrinsics)


def to_pixels(points_norm, intrinsics):
    """Applies intrinsics to normalised image coordinates.

    Args:
        points_norm: Float tensor `[..., joints, 2]`, normalised image coordinates.
        intrinsics: Float tensor `[..., 3, 3]`, px, last row (0, 0, 1). Leading axes broadcast.

    Returns:
        Float tensor `[..., joints, 2]`: (x, y) in px.

    Raises:
        ValueError: If a static shape does not fit.
    """
    points_norm = checks.last_axes(points_norm, (None, 2), name='points_norm')
    intrinsics = checks.last_axes(intrinsics, (3, 3), 'intrinsics', points_norm.dtype)
    # As a product of matrices with a third column: broadcasts over leading axes of either side.
    rays = tf.concat([points_norm, tf.ones_like(points_norm[..., :1])], axis=-1)
    return tf.einsum('...jc,...pc->...jp', rays, intrinsics[..., :2, :])


def normalize(points_px, intrinsics):
    """Removes intrinsics: `K^-1 (u, v, 1)` without the last component. Inverse of `to_pixels`.

    Args:
        points_px: Float tensor `[..., joints, 2]`, px.
        intrinsics: Float tensor `[..., 3, 3]`, px, invertible, last row (0, 0, 1). Leading axes
            broadcast.

    Returns:
        Float tensor `[..., joints, 2]`, normalised image coordinates (lens distortion remains).

    Raises:
        ValueError: If a static shape does not fit.
    """
    points_px = checks.last_axes(points_px, (None, 2), name='points_px')
    intrinsics = checks.last_axes(intrinsics, (3, 3), 'intrinsics', points_px.dtype)
    # Closed form: exact, differentiable, and without the abort of a general matrix inverse.
    fx, skew_x = intrinsics[..., 0, 0, tf.newaxis], intrinsics[..., 0, 1, tf.newaxis]
    skew_y, fy = intrinsics[..., 1, 0, tf.newaxis], intrinsics[..., 1, 1, tf.newaxis]
    determinant = fx * fy - skew_x * skew_y
    x = points_px[..., 0] - intrinsics[..., 0, 2, tf.newaxis]
    y = points_px[..., 1] - intrinsics[..., 1, 2, tf.newaxis]
    return tf.stack(
        [(fy * x - skew_x * y) / determinant, (fx * y - skew_y * x) / determinant], axis=-1)


def back_project(points_norm, depth):
    """Lifts normalised image points to given depths: `(x, y, 1) * depth`.

    Args:
        points_norm: Float tensor `[..., joints, 2]`, undistorted normalised image coordinates.
        depth: Float tensor `[..., joints]`, z coordinates in mm.

    Returns:
        Float tensor `[..., joints, 3]`, camera frame, mm.

    Raises:
        ValueError: If a static shape does not fit.
    """
    points_norm = checks.last_axes(points_norm, (None, 2), name='points_norm')
    depth = checks.last_axes(depth, (points_norm.shape[-2] if points_norm.shape.rank else None,),
                             name='depth', dtype=points_norm.dtype)[..., tf.newaxis]
    xy = points_norm * depth
    return tf.concat([xy, tf.broadcast_to(depth, tf.shape(xy[..., :1]))], axis=-1)


def intrinsics_from_fov(fov_degrees, image_shape):
    """Intrinsics of an unknown camera with a given field of view along the larger image side.

    `f = max(H, W) / (2 tan(fov / 2))`, principal point (W / 2, H / 2). 55 degrees and 640x480
    give f = 614.7 and (320, 240).

    Args:
        fov_degrees: Float or float tensor `[...]`, degrees, above 0 and below 180.
        image_shape: (height, width) or (height, width, channels): ints, an int tensor or a
            fully defined `tf.TensorShape`.

    Returns:
        Float32 tensor `[..., 3, 3]`, px.

    Raises:
        ValueError: If the field of view (as a Python number) or the size is out of range.
    """
    if isinstance(fov_degrees, (int, float)) and not 0 < fov_degrees < 180:
        raise ValueError(
            '`fov_degrees` must be above 0 and below 180. '
            f'Received: fov_degrees={fov_degrees}')
    height, width = image_shape[0], image_shape[1]
    for size in (height, width):
        if size is None or (isinstance(size, int) and size < 1):
            raise ValueError(
                '`image_shape` must start with positive height and width. '
                f'Received: image_shape={image_shape}')
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    half_angle = tf.cast(fov_degrees, tf.float32) * (math.pi / 360)
    focal = tf.maximum(height, width) / (2 * tf.tan(half_angle))
    zero, one = tf.zeros_like(focal), tf.ones_like(focal)
    return tf.stack([
        tf.stack([focal, zero, one * width * PRINCIPAL_POINT_FRACTION], axis=-1),
        tf.stack([zero, focal, one * height * PRINCIPAL_POINT_FRACTION], axis=-1),
        tf.stack([zero, zero, one], axis=-1)], axis=-2)


def is_within_fov(points_px, crop_side_px, stride_px, border_factor=0.75, centered=True):
    """Tells which 2D points lie inside the part of a crop that a heatmap can represent.

    Inside means `f s + o <= u <= S - f s + o` for both coordinates, bounds included, with crop
    side S, stride s, border factor f and offset o = 0 for centred heatmap cells, else -s / 2
    (MeTRAbs). Side 256 and stride 32 give 24 to 232 px, or 8 to 216 px if not centred.

    Args:
        points_px: Float tensor `[..., joints, 2]`, crop px.
        crop_side_px: Side of the square crop, a number or a scalar tensor.
        stride_px: The stride at which the model was trained, likewise.
        border_factor: Width of the excluded border in strides; negative values extend the crop.
        centered: Whether cell i of the heatmap lies at pixel `stride * i + stride / 2`.

    Returns:
        Boolean tensor `[..., joints]`. NaN is never inside.

    Raises:
        ValueError: If a static shape does not fit.
    """
    points_px = checks.last_axes(points_px, (None, 2), name='points_px')
    stride = tf.cast(stride_px, points_px.dtype)
    offset = 0.0 if centered else -stride / 2
    lower = border_factor * stride + offset
    upper = tf.cast(crop_side_px, points_px.dtype) - border_factor * stride + offset
    return tf.reduce_all((points_px >= lower) & (points_px <= upper), axis=-1)


def is_within_image(points_px, image_size):
    """Tells which 2D points lie on an image, whose edges are half a pixel beyond pixel centres.

    Args:
        points_px: Float tensor `[..., 2]`, px.
        image_size: Width and height in px, float tensor `[2]`, or a number for a square image.

    Returns:
        Boolean tensor `[...]`. NaN is never inside.
    """
    points_px = tf.convert_to_tensor(points_px)
    upper = tf.cast(image_size, points_px.dtype) - 0.5
    return tf.reduce_all((points_px > -0.5) & (points_px < upper), axis=-1)


def transform_points(points, matrix):
    """Applies affine maps given as 4x4 matrices with last row (0, 0, 0, 1).

    Args:
        points: Float tensor `[..., joints, 3]`, mm.
        matrix: Float tensor `[..., 4, 4]`, acting on homogeneous column vectors, mm. Leading
            axes broadcast.

    Returns:
        Float tensor `[..., joints, 3]`, mm.

    Raises:
        ValueError: If a static shape does not fit.
    """
    points = checks.last_axes(points, (None, 3), name='points')
    matrix = checks.last_axes(matrix, (4, 4), name='matrix', dtype=points.dtype)
    return rotation.rotate(points, matrix[..., :3, :3]) + matrix[..., tf.newaxis, :3, 3]


def world_to_camera(points, extrinsics):
    """World points in the camera frame: `R p + t`.

    Args:
        points: Float tensor `[..., joints, 3]`, world frame, mm.
        extrinsics: Float tensor `[..., 4, 4]`, world to camera, `[R | t; 0 0 0 1]` with t in mm;
            the optical centre lies at `-R^T t` in the world.

    Returns:
        Float tensor `[..., joints, 3]`, camera frame, mm.

    Raises:
        ValueError: If a static shape does not fit.
    """
    extrinsics = checks.last_axes(extrinsics, (4, 4), name='extrinsics')
    return transform_points(points, extrinsics)


def camera_to_world(points, extrinsics):
    """Camera points in the world frame: `R^-1 (p - t)`. Inverse of `world_to_camera`.

    Args:
        points: Float tensor `[..., joints, 3]`, camera frame, mm.
        extrinsics: Float tensor `[..., 4, 4]`, world to camera, mm. R is inverted as a general
            matrix, so slightly non-orthogonal calibrations round-trip too; it must be regular.

    Returns:
        Float tensor `[..., joints, 3]`, world frame, mm.

    Raises:
        ValueError: If a static shape does not fit.
    """
    points = checks.last_axes(points, (None, 3), name='points')
    extrinsics = checks.last_axes(extrinsics, (4, 4), name='extrinsics', dtype=points.dtype)
    row0, row1, row2 = tf.unstack(extrinsics[..., :3, :3], num=3, axis=-2)
    # The columns of the inverse are cross products of the rows over the determinant.
    columns = tf.stack([
        tf.linalg.cross(row1, row2), tf.linalg.cross(row2, row0), tf.linalg.cross(row0, row1)],
        axis=-2)
    determinant = tf.reduce_sum(row0 * columns[..., 0, :], axis=-1)[..., tf.newaxis, tf.newaxis]
    offsets = points - extrinsics[..., tf.newaxis, :3, 3]
    return tf.einsum('...jp,...pc->...jc', offsets, columns / determinant)
