"""The normalised cuboid of MargiPose: a person in [-1, 1] along x, y and z, seen by a camera.

With focal lengths f and principal point (x_0, y_0) of a square crop in px, a point (X, Y, Z) in the
camera frame and the depth z_ref of the root joint,

    k = max(side / f_x, side / f_y)        A = (1 + sqrt(1 + k^2)) / k
    x_n = f_x X / (x_0 Z)      y_n = f_y Y / (y_0 Z)      z_n = A (1 - z_ref / Z)

x_n and y_n are image coordinates, 0 at the principal point and -1 at pixel 0. z_n is 0 at the depth
of the root and grows away from the camera; -1 and 1 are k z_ref apart in depth, the width of the
view at the root, but not symmetric about it. Nothing here tells how large the person is: poses are
proportional to z_ref.

Along each axis, heatmaps divide [-1, 1] into cells; `cell_centers` tells where these lie. There is
one heatmap for each of the `PLANES`.

Source: Nibali et al., WACV 2019.
"""

import tensorflow as tf

from metro_tf import checks

# A plane's name has the axis of its columns first, then that of its rows.
PLANES = ('xy', 'zy', 'xz')
# Index of the coordinate along the columns and along the rows of each plane.
PLANE_AXES = ((0, 1), (2, 1), (0, 2))
# The universal scale of MPI-INF-3DHP: from the knee over hip and pelvis, spine to the neck.
HEIGHT_MM = 920.0
# Added under square roots: far below any length, but gradients at zero stay finite.
_VARIANCE_FLOOR = 1e-12
# The least height that is divided by, in parts of the wanted one.
_MIN_HEIGHT_RATIO = 1e-6


def from_camera_frame(coords3d, intrinsics, root_depth_mm, crop_side_px, min_depth_mm=1.0):
    """Normalises a pose in the camera frame. Inverse of `to_camera_frame`.

    Convention: focal lengths 96, principal point (36, 32) and a side of 72 give k = 0.75 and
    A = 3, so with the root at 1000 the point (300, -200, 1500) is at (8 / 15, -2 / 5, 1).

    Args:
        coords3d: Float tensor `[..., joints, 3]`, camera frame, mm.
        intrinsics: Float tensor `[..., 3, 3]` of the crop, px, without skew.
        root_depth_mm: Float tensor `[...]`, depth of the root joint.
        crop_side_px: Side of the square crop.
        min_depth_mm: Depths below this are raised to it; such joints are not meaningful.

    Returns:
        Float tensor `[..., joints, 3]`, unitless, within [-1, 1] where heatmaps reach.

    Raises:
        ValueError: If a static shape does not fit.
    """
    coords3d = checks.last_axes(coords3d, (None, 3), 'coords3d')
    focal, center, depth_factor = _camera_terms(intrinsics, crop_side_px, coords3d.dtype)
    root_depth = _per_joint(root_depth_mm, coords3d.dtype)
    depth = tf.maximum(coords3d[..., 2:], tf.cast(min_depth_mm, coords3d.dtype))
    xy = focal * coords3d[..., :2] / (center * depth)
    return tf.concat([xy, depth_factor * (depth - root_depth) / depth], axis=-1)


def to_camera_frame(coords, intrinsics, root_depth_mm, crop_side_px):
    """Places a normalised pose, whose root depth is known, in the camera frame.

    Args:
        coords: Float tensor `[..., joints, 3]` in the cuboid. With z at or beyond A, which is
            above 1, a joint would be infinitely far away or behind the camera.
        intrinsics: Float tensor `[..., 3, 3]` of the crop, px, without skew.
        root_depth_mm: Float tensor `[...]`, depth of the root joint: the true one, or that of
            `root_depth_from_height`.
        crop_side_px: Side of the square crop.

    Returns:
        Float tensor `[..., joints, 3]`, camera frame, in the unit of `root_depth_mm`.

    Raises:
        ValueError: If a static shape does not fit.
    """
    coords = checks.last_axes(coords, (None, 3), 'coords')
    focal, center, depth_factor = _camera_terms(intrinsics, crop_side_px, coords.dtype)
    root_depth = _per_joint(root_depth_mm, coords.dtype)
    depth = root_depth / (1 - coords[..., 2:] / depth_factor)
    return tf.concat([coords[..., :2] * center * depth / focal, depth], axis=-1)


def variances_in_camera_frame(variances, coords, coords3d, intrinsics, crop_side_px):
    """Spread around a normalised pose as spread in the camera frame.

    To first order around each joint, with the root's depth as it is: the diagonal of J V J^T, where
    V holds the variances, which are taken as independent, and J is the derivative of
    `to_camera_frame`. In the terms of the module it is

        dX / dx_n = x_0 Z / f_x                 dY / dy_n = y_0 Z / f_y
        d(X, Y, Z) / dz_n = (X, Y, Z) / (A - z_n)

    Args:
        variances: Float tensor `[..., joints, 3]` of the coordinates in the cuboid.
        coords: Float tensor `[..., joints, 3]` in the cuboid.
        coords3d: Float tensor `[..., joints, 3]`, the same pose in the camera frame, mm.
        intrinsics: Float tensor `[..., 3, 3]` of the crop, px, without skew.
        crop_side_px: Side of the square crop.

    Returns:
        Float tensor `[..., joints, 3]` of variances along X, Y and Z, mm^2.

    Raises:
        ValueError: If a static shape does not fit.
    """
    variances = checks.last_axes(variances, (None, 3), 'variances')
    coords, coords3d = (
        checks.last_axes(points, (None, 3), name, variances.dtype)
        for points, name in ((coords, 'coords'), (coords3d, 'coords3d')))
    focal, center, depth_factor = _camera_terms(intrinsics, crop_side_px, variances.dtype)
    sideways = tf.square(center * coords3d[..., 2:] / focal) * variances[..., :2]
    along_ray = tf.square(coords3d / (depth_factor - coords[..., 2:])) * variances[..., 2:]
    return along_ray + tf.concat([sideways, tf.zeros_like(sideways[..., :1])], axis=-1)


def from_pixels(coords2d, intrinsics):
    """Normalises image points of unknown depth, for examples with 2D labels only.

    Args:
        coords2d: Float tensor `[..., joints, 2]`, crop px.
        intrinsics: Float tensor `[..., 3, 3]` of the crop, px.

    Returns:
        Float tensor `[..., joints, 3]` in the cuboid, with all joints at the root's depth, z = 0.

    Raises:
        ValueError: If a static shape does not fit.
    """
    coords2d = checks.last_axes(coords2d, (None, 2), 'coords2d')
    intrinsics = checks.last_axes(intrinsics, (3, 3), 'intrinsics', coords2d.dtype)
    xy = coords2d / _center(intrinsics) - 1
    return tf.concat([xy, tf.zeros_like(xy[..., :1])], axis=-1)


def to_pixels(coords, intrinsics):
    """Where normalised joints lie in the image.

    Args:
        coords: Float tensor `[..., joints, 2 or 3]` in the cuboid.
        intrinsics: Float tensor `[..., 3, 3]` of the crop, px.

    Returns:
        Float tensor `[..., joints, 2]`, crop px.

    Raises:
        ValueError: If a static shape does not fit.
    """
    coords = checks.last_axes(coords, (None, None), 'coords')
    intrinsics = checks.last_axes(intrinsics, (3, 3), 'intrinsics', coords.dtype)
    return (coords[..., :2] + 1) * _center(intrinsics)


def root_depth_from_height(coords, intrinsics, crop_side_px, edges, height_mm=HEIGHT_MM):
    """Root depth at which the person has a known height.

    Poses are proportional to their root depth, so the depth is exact, and a pose that undoes
    augmentations first is as easily scaled: by `height_scale` of the pose at root depth 1.

    Args:
        coords: Float tensor `[..., joints, 3]` in the cuboid.
        intrinsics: Float tensor `[..., 3, 3]` of the crop, px, without skew.
        crop_side_px: Side of the square crop.
        edges: See `height_scale`.
        height_mm: See `height_scale`.

    Returns:
        Float tensor `[...]`, mm, at most a million.

    Raises:
        ValueError: If a static shape or an edge does not fit.
    """
    coords = checks.last_axes(coords, (None, 3), 'coords')
    at_unit_depth = to_camera_frame(
        coords, intrinsics, tf.ones_like(coords[..., 0, 0]), crop_side_px)
    return height_scale(at_unit_depth, edges, height_mm)


def height_scale(coords3d, edges, height_mm=HEIGHT_MM):
    """Factor that gives a pose its wanted height, the summed length of some bones.

    Args:
        coords3d: Float tensor `[..., joints, 3]`, any frame and unit.
        edges: Sequence of pairs of joint indices, the bones; at least one. The published ones are
            left knee to left hip, spine to pelvis and neck to spine.
        height_mm: Wanted height.

    Returns:
        Float tensor `[...]`, mm per unit of `coords3d`. At most a million, where the bones have
        almost no length.

    Raises:
        ValueError: If a static shape or an edge does not fit.
    """
    coords3d = checks.last_axes(coords3d, (None, 3), 'coords3d')
    checks.positive(height_mm, 'height_mm')
    if not len(edges):
        raise ValueError(f'`edges` must contain at least one bone. Received: edges={edges}')
    for index in (index for edge in edges for index in edge):
        checks.joint_index(index, coords3d.shape[-2], 'edges')
    height = tf.add_n([_length(coords3d[..., i, :] - coords3d[..., j, :]) for i, j in edges])
    return height_mm / tf.maximum(height, height_mm * _MIN_HEIGHT_RATIO)


def cell_centers(n_cells, dtype=tf.float32):
    """Coordinates of the cells of a heatmap: `(2 i + 1) / n - 1`.

    The range from -1 to 1 spans the outer edges of the map: four cells lie at -0.75, -0.25, 0.25
    and 0.75.

    Args:
        n_cells: Int or int scalar tensor, the number n of cells.
        dtype: Float type of the result.

    Returns:
        Float tensor `[n_cells]`.
    """
    return (2 * tf.range(tf.cast(n_cells, dtype)) + 1) / tf.cast(n_cells, dtype) - 1


def plane_coords(coords):
    """Position of joints in each of the `PLANES`, along its columns and along its rows.

    Args:
        coords: Float tensor `[batch, joints, 3]` in the cuboid.

    Returns:
        Float tensor `[batch, 3, joints, 2]`: (x, y), (z, y) and (x, z).

    Raises:
        ValueError: If a static shape does not fit.
    """
    coords = checks.last_axes(coords, (None, None, 3), 'coords')
    return tf.stack([tf.gather(coords, axes, axis=-1) for axes in PLANE_AXES], axis=1)


def to_cells(coords, n_cells):
    """Positions in cells, 0 being the centre of the first: `((c + 1) n - 1) / 2`.

    Args:
        coords: Float tensor of any shape, coordinates in the cuboid.
        n_cells: Int or int scalar tensor, the number n of cells along the axis.

    Returns:
        Float tensor of the same shape.
    """
    coords = checks.last_axes(coords, (), 'coords')
    return ((coords + 1) * tf.cast(n_cells, coords.dtype) - 1) / 2


def _camera_terms(intrinsics, crop_side_px, dtype):
    """Focal lengths `[..., 1, 2]`, principal point `[..., 1, 2]` and A `[..., 1, 1]`."""
    checks.positive(crop_side_px, 'crop_side_px')
    intrinsics = checks.last_axes(intrinsics, (3, 3), 'intrinsics', dtype)
    focal = tf.linalg.diag_part(intrinsics[..., :2, :2])[..., tf.newaxis, :]
    k = crop_side_px / tf.reduce_min(focal, axis=-1, keepdims=True)
    return focal, _center(intrinsics), (1 + tf.sqrt(1 + tf.square(k))) / k


def _center(intrinsics):
    return intrinsics[..., tf.newaxis, :2, 2]


def _per_joint(values, dtype):
    return tf.cast(values, dtype)[..., tf.newaxis, tf.newaxis]


def _length(vectors):
    return tf.sqrt(tf.reduce_sum(tf.square(vectors), axis=-1) + _VARIANCE_FLOOR)
