"""What the trainers of all crop models share: weighted terms, running means, label masks."""

import dataclasses

import keras
import tensorflow as tf

from metro_tf import losses, metrics
from metro_tf.geometry import camera
from training import config as config_lib

# Joints nearer to the image plane, or behind it, have no image.
MIN_DEPTH_MM = 1.0


class PoseTrainer(keras.Model):
    """Base of the trainers, which wrap a crop model for training on mixed batches.

    Batches hold examples with 3D labels and examples with 2D labels only (see
    `training.pipeline.to_model_format`); which is which follows from the masks. Labels that are
    not finite count as missing. A term over nothing is 0 with zero gradient.

    The terms are those of one of two published generations: R23, the MeTRAbs code of 2023, or
    R20, its first release of 2020, which is that of the papers. Heatmap cross-entropies are our
    addition, without which a network that starts from random weights hardly learns. Terms of
    weight 0 are not computed.

    Subclasses set `TERMS` and `POSE_OUTPUT` and define `loss_terms`.

    Args:
        crop_model: The crop model.
        loss_config: `training.config.LossConfig`.
        seed: Seed of the numbers that losses draw.

    Raises:
        ValueError: If the trainer does not have the generation, a term has a weight that the model
            and the generation do not have, another setting would not be read, all weights are 0,
            or the skeleton lacks the pelvis that R20 needs.
    """

    # Generation to the names of its terms, fields of `LossConfig`.
    TERMS = {}
    # Fields of `LossConfig` about start steps that it reads.
    START_STEPS = ()
    # Which of the crop model's outputs is the pose that is scored.
    POSE_OUTPUT = 'coords3d_cam'

    def __init__(self, crop_model, loss_config, seed=1, **kwargs):
        # No casting of inputs: intrinsics would lose digits in mixed precision.
        super().__init__(autocast=False, **kwargs)
        self.crop_model = crop_model
        self.loss_config = loss_config
        self.seed = seed
        self.is_batch_norm_frozen = False  # see `callbacks.FrozenBatchNorm`
        self.heatmap = crop_model.heatmap_config
        self.meters_per_px = self.heatmap.meters_per_px
        self.is_r20 = loss_config.generation == 'R20'
        # Poses are compared relative to the mean joint, in R20 to the pelvis.
        self.i_root = _pelvis_index(crop_model.joint_names) if self.is_r20 else None
        self.term_names = self._weighted_terms()
        self.trackers = {name: keras.metrics.Mean(name=name) for name in self.term_names}
        self.mpjpe = metrics.MPJPE(
            'root' if self.is_r20 else 'mean', name='mpjpe_mm', i_root=self.i_root)
        self.total = keras.metrics.Mean(name='total')

    def _weighted_terms(self):
        config, kind = self.loss_config, type(self.crop_model).__name__
        if config.generation not in self.TERMS:
            raise ValueError(
                f'`generation` must be one of {list(self.TERMS)} for the {type(self).__name__}. '
                f'Received: generation={config.generation!r}')
        names = self.TERMS[config.generation]
        for field in dataclasses.fields(config):
            is_foreign = field.name in config_lib.LOSS_TERMS and field.name not in names
            if is_foreign and getattr(config, field.name) not in (0, field.default):
                raise ValueError(
                    f'`loss_config` must leave terms alone that {kind} does not have in '
                    f'{config.generation}; it has {names}. '
                    f'Received: {field.name}={getattr(config, field.name)}')
        weighted = tuple(name for name in names if getattr(config, name))
        if not weighted:
            raise ValueError(
                f'`loss_config` must give a weight to a term of {kind}: {names}. Received: all 0')
        self._check_unread(weighted)
        return weighted

    def _check_unread(self, weighted):
        """Refuses settings that nothing reads, given the terms that have a weight."""
        config = self.loss_config
        unread = [name for name in config_lib.START_STEPS if name not in self.START_STEPS]
        if not {'heatmap2d', 'heatmap3d', 'divergence'} & set(weighted):
            unread.append('heatmap_sigma_cells')
        defaults = {field.name: field.default for field in dataclasses.fields(config)}
        for name in unread:
            if getattr(config, name) != defaults[name]:
                raise ValueError(
                    f'`{name}` must be left alone where no term of the {type(self).__name__} '
                    f'depends on it. Received: {name}={getattr(config, name)}, terms {weighted}')

    @property
    def metrics(self):
        """All running means; `fit` resets them at the start of every epoch."""
        return [self.total, *self.trackers.values(), *self.scores]

    @property
    def scores(self):
        """The running means that are no losses."""
        return [self.mpjpe]

    def call(self, inputs, training=False):
        return self.crop_model.predict_heatmaps(
            inputs, training=training and not self.is_batch_norm_frozen)

    def step(self):
        """Number of finished optimiser steps, int64. All start steps of losses refer to it."""
        return tf.cast(self.optimizer.iterations, tf.int64)

    def loss_terms(self, inputs, labels, outputs):
        """The terms of the loss.

        Args:
            inputs: Dict of the batch's inputs.
            labels: Dict of the batch's labels, not yet cleaned by `finite_labels`.
            outputs: Dict of the crop model's outputs.

        Returns:
            Dict from each name in `TERMS` to a function without arguments that returns a scalar.
        """
        raise NotImplementedError

    def weight(self, name):
        """Weight of a term at the current step."""
        return getattr(self.loss_config, name)

    def aligned_2d_only_loss(self, labels, outputs):
        """Scaled L1 of metric x and y, moved and scaled onto 2D labels; scalar, metres."""
        return losses.aligned_image_loss(
            labels['coords2d'], outputs['coords3d_rel'][..., :2], label_masks(labels)[1],
            self.meters_per_px, reduction=self.loss_config.reduction)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted sum of all terms; a hook of both Keras versions."""
        terms = self.loss_terms(x, y, y_pred)
        values = {name: terms[name]() for name in self.term_names}
        # Masks drop joints whose prediction is NaN, so the terms alone would not show it.
        nan_of_predictions = 0.0 * tf.add_n([
            tf.reduce_sum(value) for name, value in y_pred.items() if name.startswith('coords')])
        total = tf.add_n([
            *(self.weight(name) * value for name, value in values.items()), *self.losses,
            nan_of_predictions])
        for name, value in values.items():
            self.trackers[name].update_state(value)
        self.total.update_state(total)
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates the scores and returns all running means; a hook of both Keras versions."""
        labels = finite_labels(y)
        self.update_scores(x, labels, y_pred[self.POSE_OUTPUT])
        return {metric.name: metric.result() for metric in self.metrics}

    def update_scores(self, inputs, labels, poses):
        """Adds a batch to the scores.

        Args:
            inputs: Dict of the batch's inputs.
            labels: Dict of the batch's labels, finite.
            poses: Float tensor `[batch, joints, 3]`, mm.
        """
        self.mpjpe.update_state(
            labels['coords3d_cam'], poses, labels['joint_validity_mask_3d'])


class AbsolutePoseTrainer(PoseTrainer):
    """Base of the trainers whose models know where the person is in the camera frame.

    The score of 2D labels needs a torso; where the skeleton has none, it is left out.

    Args:
        crop_model: The crop model.
        loss_config: `training.config.LossConfig`.
    """

    def __init__(self, crop_model, loss_config, **kwargs):
        super().__init__(crop_model, loss_config, **kwargs)
        self.distance_error = metrics.DistanceError()
        has_torso = metrics.has_torso(crop_model.joint_names)
        self.torso_pck = metrics.TorsoPCK(
            crop_model.joint_names, name='pck_2d_only') if has_torso else None

    @property
    def scores(self):
        """The running means that are no losses."""
        torso_pck = [] if self.torso_pck is None else [self.torso_pck]
        return [self.mpjpe, self.distance_error, *torso_pck]

    def update_scores(self, inputs, labels, poses):
        """Adds a batch to the scores, the distance's and the torso's included."""
        super().update_scores(inputs, labels, poses)
        mask3d, mask2d = label_masks(labels)
        self.distance_error.update_state(labels['coords3d_cam'], poses, mask3d)
        if self.torso_pck is not None:
            projected = camera.project(poses, inputs['intrinsics'])
            self.torso_pck.update_state(labels['coords2d'], projected, mask2d)

    def image_2d_only_loss(self, labels, coords2d):
        """Scaled L1 of predicted pixels in examples with 2D labels only; scalar, metres."""
        return losses.image_loss(
            labels['coords2d'], coords2d, label_masks(labels)[1], self.meters_per_px,
            reduction=self.loss_config.reduction)


def _pelvis_index(joint_names):
    if 'pelv' not in joint_names:
        raise ValueError(
            "`generation` must be 'R23' where the skeleton has no `pelv`, to which poses are "
            f"relative in 'R20'. Received: generation='R20', joints {tuple(joint_names)}")
    return joint_names.index('pelv')


def finite_labels(labels):
    """Takes labels that are not finite for missing ones, with zeros in their place.

    Args:
        labels: Dict of `training.pipeline.to_model_format`, batched.

    Returns:
        Dict of the same entries.
    """
    result = dict(labels)
    for coords_name, mask_name in (
            ('coords3d_cam', 'joint_validity_mask_3d'), ('coords2d', 'joint_validity_mask_2d')):
        is_finite = tf.math.is_finite(labels[coords_name])
        result[coords_name] = tf.where(
            is_finite, labels[coords_name], tf.zeros_like(labels[coords_name]))
        result[mask_name] = labels[mask_name] & tf.reduce_all(is_finite, axis=-1)
    return result


def label_masks(labels):
    """Joints with 3D labels, and joints of the examples with 2D labels only.

    Args:
        labels: Dict of `training.pipeline.to_model_format`, batched.

    Returns:
        Two boolean tensors `[batch, joints]`.
    """
    mask3d = labels['joint_validity_mask_3d']
    is_2d_only = ~tf.reduce_any(mask3d, axis=1, keepdims=True)
    return mask3d, labels['joint_validity_mask_2d'] & is_2d_only
