"""Test-time augmentation: which views of a person are predicted, and how they become one pose.

An augmented view is the person's virtual camera with another gamma, roll angle, zoom and possibly
mirrored; see `cropping.view`. All values follow from the number of augmentations (MeTRAbs, R23).
"""

import math

import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import rotation

ANGLE_SPREADS = ('narrow', 'circle', 'half_circle')


def parameters(
        num_aug, *, max_angle=math.radians(25), angle_spread='narrow', gamma_range=(0.6, 1.0),
        scale_range=(0.8, 1.1)):
    """Augmentation parameters as a function of their number alone (MeTRAbs).

    Gammas and angles are equally spaced including both ends, or the middle of the range for one
    augmentation. The first `num_aug // 2` scales run from the lower limit towards 1 without
    reaching it, the others from 1 to the upper limit. View i is mirrored if `i - num_aug // 2`
    is odd. One augmentation gives gamma 0.8, angle 0, scale 1.05 and no mirroring; five give
    scales 0.8, 0.9, 1, 1.05, 1.1.

    Args:
        num_aug: Int or int tensor of rank 0, at least 1. A tensor's value is not checked.
        max_angle: Largest roll to either side, radians.
        angle_spread: 'narrow': all angles within `max_angle`. 'circle': all angles equally
            spaced over the full circle, for models trained with 360 degrees. 'half_circle':
            `num_aug // 2` angles within `max_angle`, the others over the circle, sorted.
        gamma_range: Pair of floats, exponents of the display values: below 1 brightens.
        scale_range: Pair of floats around 1, zoom factors relative to the box.

    Returns:
        Dict of tensors `[num_aug]`: 'gamma', 'angle' (radians) and 'scale' in float32,
        'should_flip' in bool.

    Raises:
        ValueError: If `num_aug` (where known) is below 1 or `angle_spread` is unknown.
    """
    checks.one_of(angle_spread, ANGLE_SPREADS, 'angle_spread')
    static_num_aug = tf.get_static_value(num_aug)
    if static_num_aug is not None and static_num_aug < 1:
        raise ValueError(f'`num_aug` must be at least 1. Received: num_aug={static_num_aug}')
    num_aug = tf.cast(num_aug, tf.int32)
    n_first = num_aug // 2
    return {
        'gamma': _spaced(*gamma_range, num_aug),
        'angle': _angles(num_aug, max_angle, angle_spread),
        'scale': tf.concat([
            _spaced(scale_range[0], 1.0, n_first + 1)[:n_first],
            _spaced(1.0, scale_range[1], num_aug - n_first)], axis=0),
        'should_flip': tf.math.floormod(tf.range(num_aug) - n_first, 2) == 1}


def view_matrices(angle, should_flip):
    """Matrices `F Q(angle)` that turn the person's camera into that of an augmented view.

    Convention: +25 degrees gives the rows (0.9063, 0.4226, 0) and (-0.4226, 0.9063, 0); with
    mirroring the first row is negated. Multiply from the left onto the camera's rotation.

    Args:
        angle: Float tensor `[...]`, radians.
        should_flip: Boolean tensor of the same shape.

    Returns:
        Float tensor `[..., 3, 3]`, orthogonal, with determinant -1 where mirrored.
    """
    roll = rotation.around_z(angle)
    sign = tf.where(should_flip, -1.0, 1.0)
    flip = tf.linalg.diag(tf.stack([sign, tf.ones_like(sign), tf.ones_like(sign)], axis=-1))
    return tf.matmul(tf.cast(flip, roll.dtype), roll)


def undo(poses, rotations, should_flip, mirror_mapping):
    """Brings poses predicted in augmented views back to the original camera's frame.

    Args:
        poses: Float tensor `[..., joints, 3]`, crop camera frame, mm.
        rotations: Float tensor `[..., 3, 3]`, original camera to crop camera, orthogonal,
            including the reflection of mirrored views. Leading axes broadcast.
        should_flip: Boolean tensor that broadcasts to the leading axes of `poses`.
        mirror_mapping: Sequence of ints: joint i of the mirrored person is joint
            `mirror_mapping[i]` before (`Skeleton.mirror_mapping`).

    Returns:
        Float tensor `[..., joints, 3]`, original camera frame, mm.

    Raises:
        ValueError: If a static shape does not fit.
    """
    poses = checks.last_axes(poses, (len(mirror_mapping), 3), name='poses')
    rotations = checks.last_axes(rotations, (3, 3), 'rotations', poses.dtype)
    poses = _undo_mirroring(poses, should_flip, mirror_mapping)
    # The inverse of an orthogonal matrix: rows times the matrix itself.
    return tf.einsum('...jp,...pc->...jc', poses, rotations)


def undo_uncertainty(uncertainty, should_flip, mirror_mapping):
    """Brings uncertainties of joints in augmented views back to the joints as they are.

    Args:
        uncertainty: Float tensor `[..., joints]`, standard deviations, mm.
        should_flip: Boolean tensor that broadcasts to the leading axes of `uncertainty`.
        mirror_mapping: See `undo`.

    Returns:
        Float tensor `[..., joints]`, mm.

    Raises:
        ValueError: If a static shape does not fit.
    """
    uncertainty = checks.last_axes(uncertainty, (len(mirror_mapping),), name='uncertainty')
    return _undo_mirroring(uncertainty[..., tf.newaxis], should_flip, mirror_mapping)[..., 0]


def average(poses3d, poses2d):
    """Means over the augmentations; the 2D pose is the mean of projections (MeTRAbs).

    Args:
        poses3d: Float tensor `[..., num_aug, joints, 3]`, mm.
        poses2d: Float tensor `[..., num_aug, joints, 2]`, px.

    Returns:
        Tuple of float tensors `[..., joints, 3]`, mm, and `[..., joints, 2]`, px.

    Raises:
        ValueError: If a static shape does not fit.
    """
    poses3d = checks.last_axes(poses3d, (None, None, 3), name='poses3d')
    poses2d = checks.last_axes(poses2d, (None, None, 2), name='poses2d')
    return tf.reduce_mean(poses3d, axis=-3), tf.reduce_mean(poses2d, axis=-3)


def average_uncertainty(uncertainty):
    """Root of the mean variance over the augmentations.

    Args:
        uncertainty: Float tensor `[..., num_aug, joints]`, standard deviations, mm.

    Returns:
        Float tensor `[..., joints]`, mm.

    Raises:
        ValueError: If a static shape does not fit.
    """
    uncertainty = checks.last_axes(uncertainty, (None, None), name='uncertainty')
    return tf.sqrt(tf.reduce_mean(tf.square(uncertainty), axis=-2))


def _undo_mirroring(values, should_flip, mirror_mapping):
    """Swaps left and right joints of `[..., joints, coords]` where they were mirrored."""
    mirrored = tf.gather(values, mirror_mapping, axis=-2)
    should_flip = tf.convert_to_tensor(should_flip)[..., tf.newaxis, tf.newaxis]
    return tf.where(should_flip, mirrored, values)


def _angles(num_aug, max_angle, angle_spread):
    if angle_spread == 'narrow':
        return _spaced(-max_angle, max_angle, num_aug)
    if angle_spread == 'circle':
        return _spaced_on_circle(num_aug)
    n_narrow = num_aug // 2
    return tf.sort(tf.concat([
        _spaced(-max_angle, max_angle, n_narrow), _spaced_on_circle(num_aug - n_narrow)], axis=0))


def _spaced_on_circle(n):
    limit = math.pi * (1 - 1 / tf.cast(n, tf.float32))
    return _spaced(-limit, limit, n)


def _spaced(start, stop, n):
    """`n` equally spaced values including both ends, or the middle for one."""
    fractions = tf.cast(tf.range(n), tf.float32) / tf.cast(tf.maximum(n - 1, 1), tf.float32)
    fractions = tf.cond(n == 1, lambda: tf.constant([0.5]), lambda: fractions)
    return start + fractions * (stop - start)
