"""Crop models with their losses, for Keras' own `compile` and `fit`."""

from training.trainers.base import PoseTrainer, finite_labels, label_masks
from training.trainers.latent import HybridTrainer, LatentTrainer, RegularizedTrainer
from training.trainers.margipose import AbsoluteMargiPoseTrainer, MargiPoseTrainer
from training.trainers.metrabs import MetrabsTrainer
from training.trainers.metro import MetroTrainer
from training.trainers.pose25d import Pose25DTrainer
from training.trainers.volume_targets import place_in_volume
from training.trainers.volumetric import (
    CoarseToFineTrainer, CoordinateRegressionTrainer, DecoupledTrainer)

__all__ = [
    'AbsoluteMargiPoseTrainer', 'CoarseToFineTrainer', 'CoordinateRegressionTrainer',
    'DecoupledTrainer', 'HybridTrainer', 'LatentTrainer', 'MargiPoseTrainer', 'MetrabsTrainer',
    'MetroTrainer', 'Pose25DTrainer', 'PoseTrainer', 'RegularizedTrainer', 'build',
    'finite_labels', 'label_masks', 'place_in_volume']

_TRAINERS = {
    'AbsoluteMargiPose': AbsoluteMargiPoseTrainer, 'CoarseToFine': CoarseToFineTrainer,
    'CoordinateRegression': CoordinateRegressionTrainer, 'Decoupled': DecoupledTrainer,
    'MargiPose': MargiPoseTrainer, 'Metrabs': MetrabsTrainer, 'Metro': MetroTrainer,
    'Pose25D': Pose25DTrainer}


def build(crop_model, loss_config, seed=1, autoencoder=None):
    """Wraps a crop model in the trainer of its kind.

    Args:
        crop_model: `metro_tf.models.Metrabs`, `Metro`, `Pose25D`, `MargiPose`,
            `AbsoluteMargiPose`, `CoarseToFine`, `Decoupled`, `CoordinateRegression` or
            `LatentMetrabs`.
        loss_config: `training.config.LossConfig`.
        seed: Seed of the numbers that losses draw.
        autoencoder: `metro_tf.models.AffineAutoencoder` for training with latent points, or None.

    Returns:
        `PoseTrainer`, not compiled.

    Raises:
        ValueError: If there is no trainer for the model or the losses do not fit it.
    """
    kind = type(crop_model).__name__
    is_latent = kind == 'LatentMetrabs'
    if kind not in _TRAINERS and not is_latent:
        raise ValueError(
            f"`crop_model` must be one of {sorted([*_TRAINERS, 'LatentMetrabs'])}. "
            f'Received: {kind}')
    if autoencoder is None and not is_latent:
        return _TRAINERS[kind](crop_model, loss_config, seed=seed)
    if autoencoder is None or kind not in ('Metrabs', 'LatentMetrabs'):
        raise ValueError(
            '`autoencoder` must be given for a LatentMetrabs, may be for a Metrabs, and for no '
            f'other model. Received: autoencoder={autoencoder}, a {kind}')
    if is_latent and not crop_model.is_hybrid:
        return LatentTrainer(crop_model, loss_config, seed=seed)
    trainer_class = HybridTrainer if is_latent else RegularizedTrainer
    return trainer_class(crop_model, loss_config, autoencoder, seed=seed)
