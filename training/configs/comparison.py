"""MeTRo, MeTRAbs with and without the absolute loss, and 2.5D on exactly the same batches.

The published claims that they test: metric heatmaps need no recovery of scale, they survive
truncation where 2.5D fails, and the absolute loss matters for absolute accuracy. Same backbone,
crops, augmentation and number of steps: 200,000 examples each, half of them rendered people, half
photos with 2D labels.

All start from random weights, with which soft-argmax alone hardly learns, so all get
cross-entropies of their heatmaps besides. Next to these the published losses (R23), with their
relative weights, count threefold. Absolute and full-perspective terms start earlier, as the
trainings are shorter.

Command:
    python -m training.compare --synth-dir records/train --lspet-dir lspet \\
        --background-dir backgrounds/no_people --background-dir backgrounds/with_people \\
        --holdout-dir records/holdout --out-dir runs/comparison --plot comparison.png
"""

import dataclasses

from metro_tf.config import HeatmapConfig
from training.config import AugmentConfig, LossConfig, ModelConfig, TrainConfig


def config():
    """Returns the settings of MeTRAbs."""
    return TrainConfig(
        name='metrabs', n_steps=6250, steps_per_epoch=250, batch_size_3d=16, batch_size_2d=16,
        learning_rate=1.5e-3,
        model=ModelConfig(
            kind='metrabs', backbone='mobilenet_v3_small', top_down_channels=128,
            heatmap=HeatmapConfig(crop_side_px=96, stride_px=8)),
        augment=AugmentConfig(
            partial_visibility_probability=0.2, occlusion_probability=0.25, blur_probability=0.1,
            hue_degrees=20.0),
        loss=LossConfig(
            relative=3.0, projection=3.0, absolute=0.3, projection_2d_only=0.6,
            aligned_2d_only=0.0))


def configs():
    """Returns the settings of all four trainings."""
    metrabs = config()
    return (
        _variant('metro', 'metro', LossConfig(relative=3.0, aligned_2d_only=0.6)),
        metrabs,
        _variant('metrabs_without_absolute_loss', 'metrabs', dataclasses.replace(
            metrabs.loss, absolute=0.0)),
        _variant('pose25d', 'pose25d', LossConfig(pose25d=3.0, image_2d_only=0.6)))


def _variant(name, kind, loss):
    base = config()
    return dataclasses.replace(
        base, name=name, model=dataclasses.replace(base.model, kind=kind), loss=loss)
