"""MeTRo with ResNet-50, generation R20: the recipe of the paper (Sarandi et al., FG 2020).

Data: rendered people with 3D labels and LSPET with 2D labels, in place of Human3.6M or
MPI-INF-3DHP and MPII. Published scores to aim at, on the published data, mean and deviation of
five seeds: 49.3 +- 0.7 mm MPJPE on Human3.6M; PCK 90.6 +- 0.4, AUC 56.2 +- 0.5 and MPJPE 74.9 +-
1.4 mm on MPI-INF-3DHP. A model of other data, as this is, has no published score.

As published: losses without heatmap terms and relative to the pelvis, weight 0.1 of the 2D
examples, the two halves of a batch normalised apart, stride 32 in training and 4 in testing, 27
passes over the 3D examples (here 20,000 of them), AdamW in two phases, float16 with the loss
scaled by 256. The backbone is ResNet-50 V2 (pre-activation) as there; without its ImageNet
weights, a file of `keras.applications.ResNet50V2` without top, such losses hardly learn.

Differs: crops are augmented as in R23 with R20's probability of occlusion, and bilinear.

Expected time: 16,875 steps of 64 images of 256 px, a few hours on one GPU. On two CPU cores three
days, or one and a half with bfloat16 instructions and `mixed_precision='mixed_bfloat16'` without
`loss_scale`; an estimate from the speeds in docs/performance.md.

Command:
    python -m training.train training/configs/metro_rn50.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people \\
        --backbone-weights resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5
"""

import dataclasses

from metro_tf.config import HeatmapConfig
from training import config as config_lib
from training.config import LossConfig, ModelConfig, OptimizerConfig, TrainConfig

LEARNING_RATE = 1e-4
N_STEPS = 27 * 625


def config():
    """Returns the settings."""
    return TrainConfig(
        name='metro_rn50', n_steps=N_STEPS, steps_per_epoch=625, batch_size_3d=32,
        batch_size_2d=32, ghost_batch_sizes=(32, 32), learning_rate=LEARNING_RATE, warmup_steps=0,
        weight_decay=config_lib.metrabs_weight_decay(LEARNING_RATE, N_STEPS), clip_norm=None,
        mixed_precision='mixed_float16',
        optimizer=OptimizerConfig(
            schedule='two_phase', epsilon=1e-8, decay_all_weights=True, loss_scale=256.0),
        model=ModelConfig(
            kind='metro', backbone='resnet50_v2', top_down_channels=0, bn_momentum=0.997,
            heatmap=HeatmapConfig(crop_side_px=256, stride_px=32, test_stride_px=4)),
        augment=dataclasses.replace(config_lib.R23_AUGMENTATION, occlusion_probability=0.7),
        loss=LossConfig(generation='R20', heatmap3d=0.0, relative=1.0, aligned_2d_only=0.1))
