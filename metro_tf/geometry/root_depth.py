"""Depth of a person from image points, relative depths and known bone lengths (2.5D poses).

Joint j has the image point x_j = (n_j, 1), n_j in normalised coordinates, and lies δ_j behind the
root, which is the mean of the joints or one of them. With the root at depth Z the joints are
`P_j = x_j (δ_j + Z)`, so the bone between i and k is the vector `a Z + b` with `a = x_i - x_k` and
`b = x_i δ_i - x_k δ_k`. Z is sought such that the bones have the lengths that are known.

Source: the 2.5D baseline of MeTRo (Sárándi et al., FG 2020).
"""

import dataclasses

import numpy as np
import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import camera

# The published weight of bones that leave the field of view; it enters squared.
WEIGHT_FLOOR = 1e-8
# Published start: the depth at which the larger extent of the pose is 1500 mm.
START_EXTENT_MM = 1500.0
# Root depths are kept within these.
MIN_DEPTH_MM = 1.0
MAX_DEPTH_MM = 1e6
# Added under square roots: far below any bone, but gradients at zero stay finite.
_MM_VARIANCE_FLOOR = 1e-6
# The least curvature that steps and gradients are divided by, in parts of the Gauss-Newton term.
_CURVATURE_FLOOR = 0.1


def from_bone_lengths(
        coords25d, intrinsics, edges, bone_lengths_mm, is_in_fov, *, i_root_joint=None,
        n_iterations=10):
    """Root depth Z at which the bones come closest to given lengths.

    Minimises `sum_b w_b^2 (|a_b Z + b_b| - L_b)^2` over Z between `MIN_DEPTH_MM` and
    `MAX_DEPTH_MM`, where w_b is `1 + 1e-8` if both ends of the bone are in the field of view, else
    `1e-8`. So without any such bone all bones count alike.

    The solver is Levenberg-Marquardt with the exact curvature, from the depth at which the pose
    extends over 1500 mm. A step that would raise the objective is not taken; the example's next
    one is damped more. Objective, decision and damping are each example's own, whereas the
    published solver shares them in the batch, which makes a person's depth depend on who else is
    there. It also lacks the curvature of the residuals, so that ten iterations do not always
    suffice if the person is close to the camera or the lengths contradict each other. The first
    published code (2020) misses the optimum, by up to a centimetre, because its derivative of the
    length has 2 a.b where a.b belongs: it is `(Z |a|^2 + a.b) / length`.

    Gradients are those of the minimum itself (implicit function theorem), not of the iterations;
    at either limit of the depth they are zero. Where the minimum is very flat they are damped, and
    second derivatives do not exist.

    If the lengths contradict each other badly, there may be several minima; the result is then the
    one that the steps lead to. Any finite input gives a finite result. If no bone changes its
    length with Z, because all image points coincide, the result is the start: `MAX_DEPTH_MM` with
    zero gradient.

    Args:
        coords25d: Float tensor `[..., joints, 3]`: x and y in px, free of lens distortion, and
            depth in mm from an arbitrary origin per example.
        intrinsics: Float tensor `[..., 3, 3]`, px. Leading axes broadcast.
        edges: Int array `[bones, 2]`, pairs of joint indices, at least one.
        bone_lengths_mm: Float tensor `[..., bones]`. Leading axes broadcast.
        is_in_fov: Boolean tensor `[..., joints]`: whether the image point can be relied upon, see
            `camera.is_within_fov`. Leading axes broadcast.
        i_root_joint: Index of the root joint, from the end if negative, or None for the mean of
            all joints.
        n_iterations: Number of steps that are tried.

    Returns:
        Float tensor `[...]`, mm, depth of the root in the camera frame. Computed in float64.

    Raises:
        ValueError: If a static shape, an index or the number of iterations does not fit.
    """
    coords25d = checks.last_axes(coords25d, (None, 3), name='coords25d')
    edges = _checked_edges(edges, _n_joints(coords25d))
    bone_lengths_mm = checks.last_axes(
        bone_lengths_mm, (len(edges),), 'bone_lengths_mm', tf.float64)
    is_in_fov = checks.last_axes(
        tf.cast(is_in_fov, tf.bool), (_n_joints(coords25d),), 'is_in_fov', tf.float64)
    checks.positive(n_iterations, 'n_iterations')
    rays, depths = _rays_and_depths(coords25d, intrinsics, i_root_joint)
    objective = _objective(rays, depths, edges, bone_lengths_mm, is_in_fov)
    start = _start_depth(rays)
    optimum = tf.stop_gradient(_minimize(objective, start, n_iterations))
    return tf.cast(_with_gradient(objective, optimum), coords25d.dtype)


def to_camera_frame(coords25d, intrinsics, root_depth_mm, *, i_root_joint=None):
    """Joints of a 2.5D pose whose root depth is known: `x_j (δ_j + Z)`.

    Convention: with focal length 100, principal point (50, 40) and the first joint as the root,
    10 deep, a first joint on pixel (60, 60) lies at (1, 2, 10).

    Args:
        coords25d: Float tensor `[..., joints, 3]`: x and y in px, free of lens distortion, and
            depth in mm from an arbitrary origin per example.
        intrinsics: Float tensor `[..., 3, 3]`, px. Leading axes broadcast.
        root_depth_mm: Float tensor `[...]`, depth of the root in the camera frame: from
            `from_bone_lengths`, or the true one. Leading axes broadcast.
        i_root_joint: Index of the root joint, from the end if negative, or None for the mean of
            all joints.

    Returns:
        Float tensor `[..., joints, 3]`, camera frame, mm. Joints may come to lie behind the camera
        if the root is nearer than they are deep.

    Raises:
        ValueError: If a static shape or the index does not fit.
    """
    coords25d = checks.last_axes(coords25d, (None, 3), name='coords25d')
    root_depth_mm = checks.last_axes(root_depth_mm, (), 'root_depth_mm', tf.float64)
    rays, depths = _rays_and_depths(coords25d, intrinsics, i_root_joint)
    coords3d = rays * (depths + root_depth_mm[..., tf.newaxis])[..., tf.newaxis]
    return tf.cast(coords3d, coords25d.dtype)


@dataclasses.dataclass(frozen=True)
class _BoneObjective:
    """Half the weighted squared deviations of bones from their lengths, as a function of depth.

    Args: a, b `[..., bones, 3]`, see the module; lengths_mm, squared_weights `[..., bones]`.
    """
    a: tf.Tensor
    b: tf.Tensor
    lengths_mm: tf.Tensor
    squared_weights: tf.Tensor

    def evaluate(self, depth):
        """Value, first and second derivative at depths `[...]`: a tuple of tensors `[...]`.

        The second derivative is raised where it is small in relation to its first term, that of
        Gauss and Newton, which is zero only if no bone depends on the depth.
        """
        vectors = self.a * depth[..., tf.newaxis, tf.newaxis] + self.b
        lengths = tf.sqrt(tf.reduce_sum(tf.square(vectors), axis=-1) + _MM_VARIANCE_FLOOR)
        residuals = lengths - self.lengths_mm
        slopes = tf.reduce_sum(self.a * vectors, axis=-1) / lengths  # (Z |a|^2 + a.b) / length
        bends = (tf.reduce_sum(tf.square(self.a), axis=-1) - tf.square(slopes)) / lengths
        gauss_newton = self._weighted_sum(tf.square(slopes))
        curvature = gauss_newton + self._weighted_sum(residuals * bends)
        return (
            self._weighted_sum(tf.square(residuals)) / 2, self._weighted_sum(residuals * slopes),
            tf.maximum(curvature, _CURVATURE_FLOOR * gauss_newton))

    def _weighted_sum(self, values):
        return tf.reduce_sum(self.squared_weights * values, axis=-1)


def _objective(rays, depths, edges, bone_lengths_mm, is_in_fov):
    def ends(tensor, axis):
        """A tensor's values at both ends of all bones."""
        return tf.gather(tensor, edges[:, 0], axis=axis), tf.gather(tensor, edges[:, 1], axis=axis)

    rays0, rays1 = ends(rays, -2)
    points0, points1 = ends(rays * depths[..., tf.newaxis], -2)
    is_in_fov0, is_in_fov1 = ends(is_in_fov, -1)
    weights = is_in_fov0 * is_in_fov1 + WEIGHT_FLOOR
    return _BoneObjective(rays0 - rays1, points0 - points1, bone_lengths_mm, tf.square(weights))


def _minimize(objective, depth, n_iterations):
    """Levenberg-Marquardt: an unrolled loop, in which every example decides for itself."""
    value, slope, curvature = objective.evaluate(depth)
    damping = tf.zeros_like(value)
    for _ in range(n_iterations):
        # The damping is relative to the curvature and so independent of scale.
        step = tf.math.divide_no_nan(slope, (1 + damping) * curvature)
        candidate = tf.clip_by_value(depth - step, MIN_DEPTH_MM, MAX_DEPTH_MM)
        now, then = (depth, value, slope, curvature), (candidate, *objective.evaluate(candidate))
        is_better = then[1] <= value
        depth, value, slope, curvature = (
            tf.where(is_better, better, kept) for better, kept in zip(then, now))
        damping = tf.where(is_better, damping / 10, tf.maximum(damping * 10, 1))
    return depth


def _with_gradient(objective, depth):
    """Gives a constant minimum its derivative `-(d slope / d input) / curvature`, by plain ops."""
    is_free = (depth > MIN_DEPTH_MM) & (depth < MAX_DEPTH_MM)
    _, slope, curvature = objective.evaluate(depth)
    rate = tf.math.divide_no_nan(tf.cast(is_free, depth.dtype), tf.stop_gradient(curvature))
    return depth - rate * (slope - tf.stop_gradient(slope))


def _start_depth(rays):
    extent = tf.reduce_max(rays, axis=-2) - tf.reduce_min(rays, axis=-2)
    # The third component of the rays is constant.
    extent = tf.maximum(tf.reduce_max(extent, axis=-1), START_EXTENT_MM / MAX_DEPTH_MM)
    return tf.maximum(START_EXTENT_MM / extent, MIN_DEPTH_MM)


def _rays_and_depths(coords25d, intrinsics, i_root_joint):
    """Rays x_j `[..., joints, 3]` and depths δ_j `[..., joints]` behind the root, in float64."""
    coords25d = tf.cast(coords25d, tf.float64)
    coords2d_norm = camera.normalize(coords25d[..., :2], intrinsics)
    rays = tf.concat([coords2d_norm, tf.ones_like(coords2d_norm[..., :1])], axis=-1)
    depths = coords25d[..., 2]
    return rays, depths - _root_of(depths, i_root_joint)


def _root_of(depths, i_root_joint):
    if i_root_joint is None:
        return tf.reduce_mean(depths, axis=-1, keepdims=True)
    n_joints = depths.shape[-1]
    if n_joints is not None and not -n_joints <= i_root_joint < n_joints:
        raise ValueError(
            f'`i_root_joint` must be None or the index of one of {n_joints} joints. '
            f'Received: i_root_joint={i_root_joint}')
    return depths[..., i_root_joint, tf.newaxis]


def _n_joints(coords):
    return coords.shape[-2] if coords.shape.rank is not None else None


def _checked_edges(edges, n_joints):
    array = np.asarray(edges)
    fits = array.ndim == 2 and array.shape[1] == 2 and len(array) and np.all(array >= 0)
    if not fits or (n_joints is not None and np.any(array >= n_joints)):
        raise ValueError(
            '`edges` must hold at least one pair of joint indices, below '
            f'{n_joints or "the number of joints"}. Received: edges={edges}')
    return array.astype(np.int32)
