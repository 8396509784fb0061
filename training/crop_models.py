"""Crop models of a training: what a config needs to know from the training's data."""

import dataclasses

from metro_tf.models import config as model_config
from training.datasets import bone_lengths


def with_bone_lengths(config, record_dirs):
    """Measures the bone lengths where the model needs them and the config does not give them.

    Args:
        config: `TrainConfig`.
        record_dirs: Folders of the records with 3D labels, each a path or None.

    Returns:
        `TrainConfig`, complete.

    Raises:
        ValueError: If no example has both ends of a bone.
    """
    model = config.model
    is_needed = model.kind in ('pose25d', *model_config.SCORE_KINDS) and model.has_depth
    if not is_needed or model.bone_lengths_mm is not None:
        return config
    lengths = bone_lengths.mean_bone_lengths(
        [folder for folder in record_dirs if folder], model.skeleton)
    return dataclasses.replace(
        config, model=dataclasses.replace(model, bone_lengths_mm=lengths))
