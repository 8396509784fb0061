"""Crop models with their losses, for Keras' own `compile` and `fit`."""

from training.trainers.base import PoseTrainer, finite_labels, label_masks
from training.trainers.metrabs import MetrabsTrainer
from training.trainers.metro import MetroTrainer
from training.trainers.pose25d import Pose25DTrainer
from training.trainers.volume_targets import place_in_volume

__all__ = [
    'MetrabsTrainer', 'MetroTrainer', 'Pose25DTrainer', 'PoseTrainer', 'build', 'finite_labels',
    'label_masks', 'place_in_volume']

_TRAINERS = {
    'Metrabs': MetrabsTrainer, 'Metro': MetroTrainer, 'Pose25D': Pose25DTrainer}


def build(crop_model, loss_config, seed=1):
    """Wraps a crop model in the trainer of its kind.

    Args:
        crop_model: `metro_tf.models.Metrabs`, `Metro` or `Pose25D`.
        loss_config: `training.config.LossConfig`.
        seed: Seed of the numbers that losses draw.

    Returns:
        `PoseTrainer`, not compiled.

    Raises:
        ValueError: If there is no trainer for the model or the losses do not fit it.
    """
    kind = type(crop_model).__name__
    if kind not in _TRAINERS:
        raise ValueError(
            f'`crop_model` must be one of {sorted(_TRAINERS)}. Received: {kind}')
    return _TRAINERS[kind](crop_model, loss_config, seed=seed)
