"""Test-time augmentation in NumPy; see `metro_tf.tta`."""

import math

import numpy as np

# As in `metro_tf.tta`.
_GAMMA_RANGE = (0.6, 1.0)
_SCALE_RANGE = (0.8, 1.1)


def parameters(num_aug, max_angle, angle_spread):
    """Augmentation parameters as a function of their number alone, see `metro_tf.tta.parameters`.

    Args:
        num_aug: Int, at least 1.
        max_angle: Largest roll to either side, radians.
        angle_spread: 'narrow', 'circle' or 'half_circle'.

    Returns:
        Dict of arrays `[num_aug]`: 'gamma', 'angle' (radians) and 'scale' in float32,
        'should_flip' in bool.
    """
    n_first = num_aug // 2
    return {
        'gamma': _spaced(*_GAMMA_RANGE, num_aug),
        'angle': _angles(num_aug, max_angle, angle_spread),
        'scale': np.concatenate([
            _spaced(_SCALE_RANGE[0], 1.0, n_first + 1)[:n_first],
            _spaced(1.0, _SCALE_RANGE[1], num_aug - n_first)]),
        'should_flip': (np.arange(num_aug) - n_first) % 2 == 1}


def view_matrices(angle, should_flip):
    """Matrices `[..., 3, 3]` that turn a person's camera into that of an augmented view.

    Args:
        angle: Float32 array `[...]`, radians.
        should_flip: Boolean array of the same shape.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    sign = np.where(should_flip, np.float32(-1), np.float32(1))
    matrices = np.zeros([*angle.shape, 3, 3], np.float32)
    matrices[..., 0, 0], matrices[..., 0, 1] = sign * cos, sign * sin
    matrices[..., 1, 0], matrices[..., 1, 1] = -sin, cos
    matrices[..., 2, 2] = 1
    return matrices


def undo(poses, rotations, should_flip, mirror_mapping):
    """Brings poses predicted in augmented views back to the original camera's frame.

    Args:
        poses: Float array `[n, num_aug, joints, 3]`, crop camera frame, mm.
        rotations: Float array `[n, num_aug, 3, 3]`, original camera to crop camera.
        should_flip: Boolean array `[num_aug]`.
        mirror_mapping: Sequence of ints, see `metro_tf.tta.undo`.

    Returns:
        Float array `[n, num_aug, joints, 3]`, original camera frame, mm.
    """
    return undo_mirroring(poses, should_flip, mirror_mapping) @ rotations


def undo_mirroring(values, should_flip, mirror_mapping):
    """Swaps left and right joints of `[n, num_aug, joints, coords]` where they were mirrored."""
    return np.where(
        should_flip[:, np.newaxis, np.newaxis], values[..., list(mirror_mapping), :], values)


def average_uncertainty(uncertainty):
    """Root of the mean variance over the augmentations: `[n, num_aug, joints]` to `[n, joints]`."""
    return np.sqrt(np.mean(np.square(uncertainty), axis=1))


def _angles(num_aug, max_angle, angle_spread):
    if angle_spread == 'narrow':
        return _spaced(-max_angle, max_angle, num_aug)
    if angle_spread == 'circle':
        return _spaced_on_circle(num_aug)
    n_narrow = num_aug // 2
    return np.sort(np.concatenate([
        _spaced(-max_angle, max_angle, n_narrow), _spaced_on_circle(num_aug - n_narrow)]))


def _spaced_on_circle(n):
    limit = math.pi * (1 - 1 / n)
    return _spaced(-limit, limit, n)


def _spaced(start, stop, n):
    """`n` equally spaced float32 values including both ends, or the middle for one."""
    if n == 1:
        return np.array([(start + stop) / 2], np.float32)
    return np.linspace(start, stop, n, dtype=np.float32)
