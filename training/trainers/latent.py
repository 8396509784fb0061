"""Fine-tuning of MeTRAbs by latent points, in three ways (Sarandi et al., WACV 2023).

All are of generation R23. What they add to the labels' losses counts for every example, labelled
or not.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from metro_tf import losses
from training.trainers import base, metrabs


class RegularizedTrainer(metrabs.MetrabsTrainer):
    """Output regularisation: predicted joints should hardly change by encoding and decoding.

    Args:
        crop_model: `Metrabs`.
        loss_config: `training.config.LossConfig`.
        autoencoder: `metro_tf.models.AffineAutoencoder` of the same joints. It does not learn.
    """

    TERMS = {'R23': (*metrabs.MetrabsTrainer.TERMS['R23'], 'latent3d', 'latent2d')}

    def __init__(self, crop_model, loss_config, autoencoder, **kwargs):
        super().__init__(crop_model, loss_config, **kwargs)
        self.encode, self.decode = map(_fixed, (autoencoder.encoder, autoencoder.decoder))

    def loss_terms(self, inputs, labels, outputs):
        """See `PoseTrainer`."""
        labels = base.finite_labels(labels)
        poses = self._reconstruct(outputs, inputs['intrinsics'])
        autoencoded = self.decode(self.encode(poses))
        is_3d = _has_3d(labels)

        def consistency(is_chosen):
            """The change by encoding and decoding, in some of the examples."""
            return losses.consistency_loss(
                tf.boolean_mask(poses, is_chosen), tf.boolean_mask(autoencoded, is_chosen))

        return {
            **self._r23_terms(inputs, labels, outputs, poses),
            'latent3d': lambda: consistency(is_3d), 'latent2d': lambda: consistency(~is_3d)}


class LatentTrainer(metrabs.MetrabsTrainer):
    """Direct latent prediction: the usual losses of the joints that are decoded.

    Args:
        crop_model: `LatentMetrabs`, not a hybrid.
        loss_config: `training.config.LossConfig`.
    """

    TERMS = {'R23': ('relative', 'projection', 'absolute', 'projection_2d_only')}

    def loss_terms(self, inputs, labels, outputs):
        """See `PoseTrainer`."""
        latents = self._reconstruct(outputs, inputs['intrinsics'])
        return self._pose_terms(
            inputs['intrinsics'], base.finite_labels(labels), self.crop_model.decoder(latents))

    def _scored_poses(self, outputs, intrinsics):
        latents = _points_within(outputs, slice(self.crop_model.n_latents))
        return self.crop_model.decoder(super()._scored_poses(latents, intrinsics))


class HybridTrainer(LatentTrainer):
    """Hybrid: a student of latent points and its teacher, which predicts all joints.

    The terms of `LatentTrainer` are those of the student's decoded joints. All others of
    `losses.hybrid_loss` are in `latent3d` and, for examples without 3D labels, in `latent2d`. The
    student learns from the teacher from `absolute_start_step` on.

    Args:
        crop_model: `LatentMetrabs`, a hybrid.
        loss_config: `training.config.LossConfig`.
        autoencoder: `metro_tf.models.AffineAutoencoder` that the model's decoder is from.
    """

    TERMS = {'R23': (*LatentTrainer.TERMS['R23'], 'latent3d', 'latent2d')}

    def __init__(self, crop_model, loss_config, autoencoder, **kwargs):
        super().__init__(crop_model, loss_config, **kwargs)
        self.encode = _fixed(autoencoder.encoder)

    def loss_terms(self, inputs, labels, outputs):
        """See `PoseTrainer`."""
        intrinsics, labels = inputs['intrinsics'], base.finite_labels(labels)
        n_latents, is_3d = self.crop_model.n_latents, _has_3d(labels)
        latents, joints = [
            self._reconstruct(_points_within(outputs, part), intrinsics)
            for part in (slice(n_latents), slice(n_latents, None))]

        def loss2d(intrinsics, labels, poses):
            """The loss of poses in examples with 2D labels only."""
            return self._pose_terms(intrinsics, labels, poses)['projection_2d_only']()

        def hybrid(is_chosen, label_loss, weights):
            """The hybrid's loss of some of the examples."""
            return self._hybrid_loss(
                *tf.nest.map_structure(
                    lambda x: tf.boolean_mask(x, is_chosen),
                    (intrinsics, labels, joints, latents)), label_loss, weights)

        return {
            **self._pose_terms(intrinsics, labels, self.crop_model.decoder(latents)),
            'latent3d': lambda: hybrid(is_3d, self._loss3d, losses.HYBRID_3D),
            'latent2d': lambda: hybrid(~is_3d, loss2d, losses.HYBRID_2D)}

    def _hybrid_loss(self, intrinsics, labels, joints, latents, label_loss, weights):
        weights = dataclasses.replace(
            weights, decoded=0.0, teacher_start_step=self.loss_config.absolute_start_step - 1)
        return losses.hybrid_loss(
            joints, latents, encode=self.encode, decode=self.crop_model.decoder,
            label_loss=lambda poses: label_loss(intrinsics, labels, poses),
            teacher_loss=lambda true, predicted: self._loss3d(
                intrinsics, _labels_of(true), predicted),
            step=self.step(), weights=weights)

    def _loss3d(self, intrinsics, labels, poses):
        """The weighted sum of the terms for 3D labels."""
        terms = self._pose_terms(intrinsics, labels, poses)
        return tf.add_n([
            self.weight(name) * terms[name]() for name in ('relative', 'projection', 'absolute')])


def _fixed(layer):
    """The function of an `AffineCombination`, which does not learn any more."""
    matrix = np.asarray(layer.matrix())
    return lambda points: tf.einsum('bic,io->boc', points, matrix)


def _points_within(outputs, part):
    """The outputs of some of the points that the heads predict."""
    return {name: outputs[name][:, part] for name in ('coords2d', 'coords3d_rel')}


def _has_3d(labels):
    """Which examples have 3D labels, boolean `[batch]`."""
    return tf.reduce_any(labels['joint_validity_mask_3d'], axis=1)


def _labels_of(points):
    """Labels that say that points are where they are, without any mask."""
    is_valid = tf.ones_like(points[..., 0], tf.bool)
    return {
        'coords3d_cam': points, 'coords2d': points[..., :2],
        'joint_validity_mask_3d': is_valid, 'joint_validity_mask_2d': is_valid}
