"""Volumes of scores, one per joint, as coarse-to-fine prediction lays them out.

The volumes of a pose are one tensor `[batch, y, x, joints * depth]`, in which channel `j * d + k`
is plane k of joint j. Along x and y there are n cells over the crop: cell i stands for the pixels
`[i, i + 1) * stride`, so its centre is `(i + 0.5) * stride`. In depth there are d cells over a
range in mm relative to the root joint, the pelvis. d divides 64, the finest depth; 64 / d of the
finest cells make one.

Source: Pavlakos et al., CVPR 2017, and its released code.
"""

import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import camera

# Depths relative to the pelvis that the published volume covers; it is not centred.
DEPTH_RANGE_MM = (-1005.1859029814, 980.8598618317)
N_FINEST_DEPTH_CELLS = 64
DEPTHS = (1, 2, 4, 8, 16, 32, 64)
# Published: keeps pixels that are a whole number of cells, but for rounding, in their cell.
_CELL_TOLERANCE = 1e-4


def window_cells(n_cells):
    """Width of the blobs along an axis of `n_cells` cells: 13 of 64, and 1 up to 5.

    The standard deviation is a quarter of it; beyond it, targets are 0. The published rule for
    depth; that for x and y, which is 13 of 64, is extended to other numbers of cells by it.
    """
    return 2 * ((12 * n_cells + 64) // 128) + 1


def split_joints(volumes, n_depth_cells):
    """Volumes `[batch, y, x, joints * depth]` to `[batch, y, x, joints, depth]`.

    Raises:
        ValueError: If the channels are no multiple of `n_depth_cells`.
    """
    n_channels = volumes.shape[-1]
    if n_channels is not None and n_channels % n_depth_cells:
        raise ValueError(
            f'`volumes` must have a multiple of {n_depth_cells} channels, the cells in depth. '
            f'Received: shape={volumes.shape}')
    n_joints = -1 if n_channels is None else n_channels // n_depth_cells
    dynamic = tf.shape(volumes)
    sizes = [dynamic[i] if size is None else size for i, size in enumerate(volumes.shape[:3])]
    return tf.reshape(volumes, [*sizes, n_joints, n_depth_cells])


def outer_product(profiles):
    """Volumes `[batch, y, x, joints, depth]` from their profiles."""
    along_x, along_y, along_z = profiles
    along_x, along_y = (tf.transpose(profile, [0, 2, 1]) for profile in (along_x, along_y))
    plane = along_y[:, :, tf.newaxis] * along_x[:, tf.newaxis]
    return plane[..., tf.newaxis] * along_z[:, tf.newaxis, tf.newaxis]


def to_voxels(coords25d, crop_side_px, n_cells, depth_range_mm=DEPTH_RANGE_MM):
    """The voxel that a joint lies in, at the finest depth.

    Published are the rounding error that is forgiven, 1e-4 cells, and that depths beyond the range
    go to the first or last cell. Voxels beyond the crop are kept as they are; there the published
    code takes the cell before the first one for the first.

    Args:
        coords25d: Float tensor `[..., joints, 3]`: x and y in px of the crop, depth in mm relative
            to the root.
        crop_side_px: Side of the square crop.
        n_cells: Number of cells along x and y.
        depth_range_mm: Pair of floats, the depths that the volume covers.

    Returns:
        Int32 tensor `[..., joints, 3]`: x and y, 0 to `n_cells - 1` inside the crop, and z, 0
        to 63.

    Raises:
        ValueError: If a static shape does not fit.
    """
    coords25d = checks.last_axes(coords25d, (None, 3), 'coords25d')
    near, far = depth_range_mm
    xy = coords25d[..., :2] * (n_cells / crop_side_px) + _CELL_TOLERANCE
    z = (coords25d[..., 2:] - near) * (N_FINEST_DEPTH_CELLS / (far - near))
    cells = tf.floor(tf.concat([
        tf.clip_by_value(xy, -2.0 * n_cells, 3.0 * n_cells),  # far away, but within integers
        tf.clip_by_value(z, 0.0, N_FINEST_DEPTH_CELLS - 1.0)], axis=-1))
    return tf.cast(cells, tf.int32)


def to_planes(finest_cells, n_depth_cells):
    """The plane of a volume of `n_depth_cells` cells in depth that a finest cell lies in.

    Args:
        finest_cells: Int tensor, z of `to_voxels`.
        n_depth_cells: One of `DEPTHS`.

    Returns:
        Int tensor of the same shape, 0 to `n_depth_cells - 1`.
    """
    return finest_cells * n_depth_cells // N_FINEST_DEPTH_CELLS


def to_camera_frame(coords25d, intrinsics, root_depth_mm):
    """Joints of a decoded pose with the depth of the root: `x_j (z_j + Z)`.

    As published, z_j is what was decoded, also for the root itself, which thus need not come out
    at the depth Z. `geometry.root_depth.to_camera_frame` puts it there.

    Convention: with focal length 100, principal point (50, 40) and Z = 8, pixel (60, 60) with
    z = 2 lies at (1, 2, 10).

    Args:
        coords25d: Float tensor `[..., joints, 3]`: x and y in px, free of lens distortion, and
            depth in mm relative to the root.
        intrinsics: Float tensor `[..., 3, 3]`, px. Leading axes broadcast.
        root_depth_mm: Float tensor `[...]`, depth of the root in the camera frame.

    Returns:
        Float tensor `[..., joints, 3]`, camera frame, mm.

    Raises:
        ValueError: If a static shape does not fit.
    """
    coords25d = checks.last_axes(coords25d, (None, 3), 'coords25d')
    root_depth_mm = checks.last_axes(root_depth_mm, (), 'root_depth_mm', coords25d.dtype)
    return camera.back_project(
        camera.normalize(coords25d[..., :2], intrinsics),
        coords25d[..., 2] + root_depth_mm[..., tf.newaxis])


def checked_depth_range(depth_range_mm):
    """Tuple of two floats, the depths that a volume covers.

    Raises:
        ValueError: If they are not in rising order.
    """
    near, far = (float(depth) for depth in depth_range_mm)
    if not float('-inf') < near < far < float('inf'):
        raise ValueError(
            '`depth_range_mm` must be two finite depths, the smaller one first. '
            f'Received: depth_range_mm={depth_range_mm}')
    return near, far
