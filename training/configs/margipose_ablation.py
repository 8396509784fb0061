"""The four models of MargiPose's ablation, on exactly the same batches, at a quarter of the width.

The published claims that they test (Nibali et al., WACV 2019, table 3; MPI-INF-3DHP, after
Procrustes alignment): MPJPE 74.9 mm for the minimal model with one stage and no regularisation,
74.5 with axis permutation, 68.5 with the divergence from Gaussians besides, 62.7 with four stages.

As published: losses, both kinds of examples in a batch of 16 + 16, SGD in one cycle with a learning
rate of up to 1 (it does not diverge at this width, and no smaller one was tried). Smaller: crops
of 96 px and thus 12 cells, a MobileNetV3-small with a top-down path, 32 and 48 channels in the
stages, 2500 steps (80,000 examples for each model, 2.5 % of the published number). All start from
random weights. Data: rendered people and LSPET.

Expected time: an hour and a half on one CPU core for all four: 0.3 s a step with one stage, 0.9 s
with four, and 0.2 s for each of the batches, which are made once; then some minutes for the scores.

Command:
    python -m training.compare --configs training/configs/margipose_ablation.py \\
        --synth-dir records/train --lspet-dir lspet --background-dir backgrounds/no_people \\
        --background-dir backgrounds/with_people --holdout-dir records/holdout \\
        --out-dir runs/margipose_ablation
"""

import dataclasses

from metro_tf.config import HeatmapConfig
from training.config import AugmentConfig, LossConfig, ModelConfig, OptimizerConfig, TrainConfig


def config():
    """Returns the settings of the minimal model."""
    return TrainConfig(
        name='minimal', n_steps=2500, steps_per_epoch=250, batch_size_3d=16, batch_size_2d=16,
        learning_rate=1.0, warmup_steps=0, weight_decay=0.0, clip_norm=None,
        model=ModelConfig(
            kind='margipose', backbone='mobilenet_v3_small', top_down_channels=32,
            heatmap=HeatmapConfig(crop_side_px=96, stride_px=8), n_stages=1,
            axis_permutation=False, n_inner_channels=48),
        augment=AugmentConfig(
            partial_visibility_probability=0.0, occlusion_probability=0.25, blur_probability=0.1,
            hue_degrees=20.0),
        loss=LossConfig(marginal=1.0, divergence=0.0),
        optimizer=OptimizerConfig(schedule='one_cycle'))


def configs():
    """Returns the settings of all four trainings, each with one thing more."""
    minimal = config()
    permuted = _with_model(minimal, 'permuted', axis_permutation=True)
    regularized = dataclasses.replace(
        permuted, name='regularized', loss=dataclasses.replace(permuted.loss, divergence=1.0))
    return minimal, permuted, regularized, _with_model(regularized, 'four_stages', n_stages=4)


def _with_model(config, name, **changes):
    return dataclasses.replace(
        config, name=name, model=dataclasses.replace(config.model, **changes))
