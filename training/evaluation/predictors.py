"""Poses from any crop model, absolute or relative, together with the joints to score."""

import dataclasses

import keras
import tensorflow as tf

from metro_tf import checks, models
from training.augment import flip


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """A crop model and a way to get poses from it.

    Args:
        crop_model: `metro_tf.models.Metrabs`, `LatentMetrabs`, `Metro`, `Pose25D`, `MargiPose`,
            `AbsoluteMargiPose`, `CoarseToFine`, `Decoupled` or `CoordinateRegression`.
        is_absolute: Whether poses are in the camera frame, or up to a translation.
        has_true_depth: Whether the model is told the true depth of the root (Pose25D, MargiPose,
            CoarseToFine, Decoupled).
        flip_testing: Whether predictions for crop and mirror image are averaged: their volumes in
            CoarseToFine and Decoupled, as published, and else their poses.

    Call arguments:
        inputs, labels: Dicts of `pipeline.to_model_format`, batched.

    Returns:
        Tuple of the poses, float32 `[batch, joints, 3]` in mm, and of the joints with a 3D label
        to score, boolean `[batch, joints]`: none where the true depth is needed but not known.
    """
    crop_model: keras.Model
    is_absolute: bool
    has_true_depth: bool = False
    flip_testing: bool = False

    def __call__(self, inputs, labels):
        """Predicts a batch."""
        mask, extra_inputs = labels['joint_validity_mask_3d'], {}
        if self.has_true_depth:
            root_depth_mm, is_known = true_root_depth(labels, root_index(self.crop_model))
            extra_inputs['root_depth_mm'] = root_depth_mm
            mask &= is_known[:, tf.newaxis]

        def predict(model_inputs):
            return self.crop_model({**model_inputs, **extra_inputs})

        if not self.flip_testing:
            return predict(inputs), mask
        if isinstance(self.crop_model, (models.CoarseToFine, models.Decoupled)):
            return self.crop_model.predict_with_flip({**inputs, **extra_inputs}), mask
        mirror_mapping = self.crop_model.mirror_mapping
        return flip.predict_with_flip(predict, inputs, mirror_mapping), mask


def make_predictors(crop_model, flip_testing=False):
    """All ways in which poses of a crop model are scored, the model's own first.

    Args:
        crop_model: The crop model.
        flip_testing: See `Predictor`.

    Returns:
        Dict from name to `Predictor`: 'relative' for Metro and CoordinateRegression; 'absolute'
        for Metrabs, LatentMetrabs and AbsoluteMargiPose; 'bone_lengths' and 'true_root_depth' for
        Pose25D, CoarseToFine and Decoupled; 'universal_scale' and 'true_root_depth' for MargiPose.

    Raises:
        ValueError: If the model is of another kind, or puts out 2D heatmaps alone.
    """
    by_bones = {'bone_lengths': (True, False), 'true_root_depth': (True, True)}
    ways = {
        models.Metro: {'relative': (False, False)},
        models.CoordinateRegression: {'relative': (False, False)},
        models.Metrabs: {'absolute': (True, False)},
        models.LatentMetrabs: {'absolute': (True, False)},
        models.AbsoluteMargiPose: {'absolute': (True, False)},
        models.MargiPose: {'universal_scale': (True, False), 'true_root_depth': (True, True)},
        **dict.fromkeys((models.Pose25D, models.CoarseToFine, models.Decoupled), by_bones)}
    checks.one_of(
        type(crop_model).__name__, [model_class.__name__ for model_class in ways], 'crop_model')
    if isinstance(crop_model, models.CoarseToFine) and not crop_model.is_absolute:
        raise ValueError(
            '`crop_model` must predict poses; one without depth has 2D heatmaps alone. '
            f'Received: a CoarseToFine with depths={crop_model.depths}')
    return {
        name: Predictor(crop_model, *flags, flip_testing)
        for name, flags in ways[type(crop_model)].items()}


def root_index(crop_model):
    """Index of the root joint, whose depth a model can be told.

    Args:
        crop_model: The crop model.

    Returns:
        Int, or None for the mean of all joints (see `models.Pose25D`).

    Raises:
        ValueError: If a MargiPose has no pelvis.
    """
    if isinstance(crop_model, models.Pose25D):
        return crop_model.reconstruction.i_root_joint
    if 'pelv' not in crop_model.joint_names:
        raise ValueError(
            '`crop_model` must predict the joint `pelv` to be told its depth. '
            f'Received: joints {crop_model.joint_names}')
    return crop_model.joint_names.index('pelv')


def true_root_depth(labels, i_root_joint=None):
    """Depth of the root in the labels, and in which examples it is known.

    Args:
        labels: Dict of `pipeline.to_model_format`, batched.
        i_root_joint: Index of the root joint, or None for the mean of all joints, which is known
            where all are labelled.

    Returns:
        Tuple of float32 `[batch]`, mm, 0 where unknown, and boolean `[batch]`.
    """
    depth, mask = labels['coords3d_cam'][..., 2], labels['joint_validity_mask_3d']
    if i_root_joint is None:
        root_depth, is_known = tf.reduce_mean(depth, axis=1), tf.reduce_all(mask, axis=1)
    else:
        root_depth, is_known = depth[:, i_root_joint], mask[:, i_root_joint]
    return tf.where(is_known, root_depth, 0.0), is_known
