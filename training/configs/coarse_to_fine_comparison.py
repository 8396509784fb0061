"""Coarse-to-fine prediction and what its paper compares it with, on exactly the same batches.

The published claims that they test (Pavlakos et al., CVPR 2017; MPJPE on Human3.6M in mm): volumes
are better than coordinates (112.4 against 92.2 with 32 and 85.8 with 64 cells in depth), two
hourglasses better than one (80.1), coarse-to-fine better than the finest depth twice (69.8), and
also better than the decoupled architecture (78.1).

As published: losses, RMSprop at a constant rate, and the paper's hourglass, from random weights
(our reading are the second network of the decoupled architecture, the layers of the coordinate
regression and the depths of two stages, see `metro_tf.backbones.hourglass`). Smaller: crops of
96 px and thus 24 cells, a quarter of the width, three levels, 2000 steps of 16 examples, 1 % of the
published number. The rate is 1e-3, with which the losses fall faster than with the published
2.5e-4, and examples are changed little, since they are seen once or twice. Batches of the published
4 would leave batch statistics that are useless after so few steps.

Data: rendered people alone, since only some of the models could learn from 2D labels. So the 2D
network of the decoupled architecture, which is trained first, learns from the same people.

Expected time: an hour and three quarters on one CPU core: 0.2 s a step for coordinates, 0.3 to
0.4 s for one hourglass, 0.4 to 0.8 s for two; then some minutes for the scores.

Command:
    python -m training.compare --configs training/configs/coarse_to_fine_comparison.py \\
        --synth-dir records/train --background-dir backgrounds/no_people \\
        --background-dir backgrounds/with_people --holdout-dir records/holdout \\
        --out-dir runs/coarse_to_fine_comparison
"""

import dataclasses

from metro_tf.config import HeatmapConfig
from training.config import AugmentConfig, ModelConfig, OptimizerConfig, TrainConfig


def config():
    """Returns the settings of coarse-to-fine prediction with two hourglasses."""
    return TrainConfig(
        name='coarse_to_fine_two', n_steps=2000, steps_per_epoch=250, batch_size_3d=16,
        batch_size_2d=0, learning_rate=1e-3, warmup_steps=0, weight_decay=0.0, clip_norm=None,
        model=ModelConfig(
            kind='coarse_to_fine', backbone='hourglass', depths=(1, 64), n_channels=64, n_levels=3,
            heatmap=HeatmapConfig(crop_side_px=96, stride_px=4)),
        augment=AugmentConfig(
            max_zoom_change=0.1, max_rotation_degrees=10.0, max_shift=0.05,
            partial_visibility_probability=0.0, occlusion_probability=0.0, brightness=0.05,
            contrast=0.2, saturation=0.2, hue_degrees=10.0, blur_probability=0.0),
        optimizer=OptimizerConfig(schedule='constant_rmsprop'))


def configs():
    """Returns the settings of all seven trainings."""
    return (
        _variant(
            'coordinate_regression', kind='coordinate_regression', depths=ModelConfig.depths,
            heatmap=HeatmapConfig(crop_side_px=96, stride_px=32)),
        _variant('volume_32', depths=(32,)),
        _variant('volume_64', depths=(64,)),
        _variant('naive_two', depths=(64, 64)),
        config(),
        _variant('heatmaps_two', depths=(1, 1)),
        _variant(
            'decoupled_two', kind='decoupled',
            heatmap_network='heatmaps_two/crop_model.keras'))


def _variant(name, **changes):
    base = config()
    return dataclasses.replace(
        base, name=name, model=dataclasses.replace(base.model, **changes))
