"""Pose scores as Keras metrics: sums and counts, so that batches of any size add up exactly.

Poses are `[batch, joints, coords]`, masks boolean `[batch, joints]`. Invalid joints count neither
above nor below the line.
"""

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import alignment as alignment_lib
from metro_tf.geometry import masked

ALIGNMENTS = ('none', 'mean', 'procrustes')


def joint_errors(coords_true, coords_pred, mask, alignment='mean'):
    """Euclidean distance per joint after an alignment.

    Args:
        coords_true, coords_pred: Float tensors `[batch, joints, coords]`.
        mask: Boolean tensor `[batch, joints]`.
        alignment: 'none' (absolute error), 'mean' (the means of the valid joints coincide) or
            'procrustes' (best rotation, translation and scale on the valid joints).

    Returns:
        Float tensor `[batch, joints]`, in the unit of the coordinates; meaningless where masked.

    Raises:
        ValueError: If `alignment` is unknown.
    """
    checks.one_of(alignment, ALIGNMENTS, 'alignment')
    if alignment == 'mean':
        coords_true, coords_pred = [
            coords - masked.mean(coords, mask[..., tf.newaxis], axis=1, keepdims=True)
            for coords in (coords_true, coords_pred)]
    elif alignment == 'procrustes':
        coords_pred = alignment_lib.procrustes(coords_pred, coords_true, mask)
    return tf.norm(coords_true - coords_pred, axis=-1)


class _JointMean(keras.metrics.Mean):
    """Mean of a function of the joint errors over all valid joints."""

    def __init__(self, alignment, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.alignment = checks.one_of(alignment, ALIGNMENTS, 'alignment')

    def update_state(self, coords_true, coords_pred, mask):
        errors = joint_errors(coords_true, coords_pred, mask, self.alignment)
        return super().update_state(self.score(errors), tf.cast(mask, errors.dtype))

    def get_config(self):
        return {**super().get_config(), 'alignment': self.alignment}


@keras.utils.register_keras_serializable(package='metro_tf')
class MPJPE(_JointMean):
    """Mean per-joint position error, in the unit of the coordinates.

    Args:
        alignment: See `joint_errors`: 'mean' for the root-relative error, 'none' for the
            absolute one, 'procrustes' for PA-MPJPE.
        name: Name in logs.
        **kwargs: Base metric arguments.
    """

    def __init__(self, alignment='mean', name='mpjpe', **kwargs):
        super().__init__(alignment, name, **kwargs)

    def score(self, errors):
        """The errors themselves."""
        return errors


@keras.utils.register_keras_serializable(package='metro_tf')
class PCK(_JointMean):
    """Share of joints with an error of at most a threshold.

    Args:
        threshold: In the unit of the coordinates, 150 mm by convention.
        alignment: See `joint_errors`.
        name: Name in logs.
        **kwargs: Base metric arguments.
    """

    def __init__(self, threshold=150.0, alignment='mean', name='pck', **kwargs):
        super().__init__(alignment, name, **kwargs)
        self.threshold = checks.positive(threshold, 'threshold')

    def score(self, errors):
        """1 where the error is small enough, else 0."""
        return tf.cast(errors <= self.threshold, errors.dtype)

    def get_config(self):
        return {**super().get_config(), 'threshold': self.threshold}


@keras.utils.register_keras_serializable(package='metro_tf')
class AUC(_JointMean):
    """Area under the PCK curve up to a threshold: mean of `max(0, 1 - error / threshold)`.

    Args:
        threshold: In the unit of the coordinates, 150 mm by convention.
        alignment: See `joint_errors`.
        name: Name in logs.
        **kwargs: Base metric arguments.
    """

    def __init__(self, threshold=150.0, alignment='mean', name='auc', **kwargs):
        super().__init__(alignment, name, **kwargs)
        self.threshold = checks.positive(threshold, 'threshold')

    def score(self, errors):
        """Linear from 1 at no error to 0 at the threshold."""
        return tf.nn.relu(1 - errors / self.threshold)

    def get_config(self):
        return {**super().get_config(), 'threshold': self.threshold}


@keras.utils.register_keras_serializable(package='metro_tf')
class TorsoPCK(keras.metrics.Mean):
    """Share of joints within a fraction of the torso in the image (PCK of LSP).

    The torso is the distance of the left shoulder and the right hip. Examples where either is
    not labelled do not count.

    Args:
        joint_names: Sequence of names with `lsho` and `rhip`.
        fraction: Threshold in torsos, 0.2 by convention.
        name: Name in logs.
        **kwargs: Base metric arguments.
    """

    def __init__(self, joint_names, fraction=0.2, name='torso_pck', **kwargs):
        super().__init__(name=name, **kwargs)
        for needed in ('lsho', 'rhip'):
            if needed not in joint_names:
                raise ValueError(
                    f'`joint_names` must contain lsho and rhip. Received: {joint_names}')
        self.joint_names = list(joint_names)
        self.fraction = checks.positive(fraction, 'fraction')

    def update_state(self, coords2d_true, coords2d_pred, mask):
        """Adds a batch: px `[batch, joints, 2]` twice, and the mask `[batch, joints]`."""
        ends = [self.joint_names.index(name) for name in ('lsho', 'rhip')]
        torso = tf.norm(coords2d_true[:, ends[0]] - coords2d_true[:, ends[1]], axis=-1)
        has_torso = mask[:, ends[0]] & mask[:, ends[1]]
        errors = tf.norm(coords2d_true - coords2d_pred, axis=-1)
        is_correct = tf.cast(errors <= self.fraction * torso[:, tf.newaxis], tf.float32)
        return super().update_state(
            is_correct, tf.cast(mask & has_torso[:, tf.newaxis], tf.float32))

    def get_config(self):
        return {
            **super().get_config(), 'joint_names': self.joint_names, 'fraction': self.fraction}


@keras.utils.register_keras_serializable(package='metro_tf')
class DistanceError(keras.metrics.Mean):
    """Mean relative error of the distance of the person from the camera.

    The distance is that of the mean of the valid joints.

    Args:
        name: Name in logs.
        **kwargs: Base metric arguments.
    """

    def __init__(self, name='distance_error', **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, coords3d_true, coords3d_pred, mask):
        """Adds a batch: mm in the camera frame `[batch, joints, 3]` twice, and the mask."""
        distance_true, distance_pred = [
            tf.norm(masked.mean(coords, mask[..., tf.newaxis], axis=1), axis=-1)
            for coords in (coords3d_true, coords3d_pred)]
        error = tf.abs(distance_pred - distance_true) / tf.maximum(distance_true, 1.0)
        weight = tf.cast(tf.reduce_any(mask, axis=1), error.dtype)
        return super().update_state(error, weight)
