"""Geometry as pure, batched TensorFlow functions, and the conventions of the whole package.

Units: 3D in mm, images in px, angles in radians. Any other unit is a suffix of the name
(`fov_degrees`). The lens model and `normalize` work in normalised image coordinates (unitless):
`K^-1 (u, v, 1)` without its last component.

Camera frame: x right, y down, z forward, seen from behind the camera; right-handed. With focal
length 100 and principal point (50, 40), the point (1, 2, 10) falls on pixel (60, 60).

World and camera: `extrinsics` is 4x4, `[R | t; 0 0 0 1]`, and maps world to camera:
`p_cam = R p_world + t`; the optical centre is `-R^T t`. With identity extrinsics the world is the
camera frame, in which (0, -1, 0) points up.

Matrices act on column vectors from the left; point arrays hold rows `[..., joint, coord]`. So a
matrix is applied by `einsum('...jc,...pc->...jp', points, matrix)`.

Pixels: (x, y) = (column, row); the centre of the top left pixel is (0, 0) in every projection
and warp. Principal points that we choose ourselves are (side / 2, side / 2) of a crop and
(width / 2, height / 2) of an image of an unknown camera (`camera.PRINCIPAL_POINT_FRACTION`).

Boxes: `[x, y, width, height]` in px from the top left corner; a score comes fifth.

Axes: `[batch, joints, coords]`, images `[batch, y, x, channels]`. Missing joints are marked by a
boolean `joint_validity_mask` and hold zeros; no NaN enters these functions' graphs.

Every function takes leading batch axes, works with unknown sizes inside `tf.function`, uses only
core TensorFlow operations and keeps the float type of its first argument.
"""

from metro_tf.geometry import (
    alignment, boxes, camera, cuboid, distortion, masked, reconstruction, root_depth, rotation)

__all__ = [
    'alignment', 'boxes', 'camera', 'cuboid', 'distortion', 'masked', 'reconstruction',
    'root_depth', 'rotation']
