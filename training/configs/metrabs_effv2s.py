"""MeTRAbs with EfficientNetV2-S, generation R23: the published code of 2023.

Data: rendered people with 3D labels and LSPET with 2D labels. Published scores to aim at, of a
model trained on Human3.6M, MuCo, CMU-Panoptic, SAIL-VOS, SURREAL, AIST-Dance++ and COCO and tested
with five augmentations: 47.4 mm MPJPE on Human3.6M, 64.9 mm on 3DPW, PCK 94.5 on MPI-INF-3DHP and
90.0 (absolute 43.6) on MuPoTS-3D. A model of other data, as this is, has no published score.

As published: losses through the reconstruction alone, without heatmap terms, the absolute one
after 5000 steps; 400,000 steps of 32 + 32 images; AdamW in two phases, float16 with the loss
scaled by 128, filters of norm 20 at most, the last 1000 steps in inference mode. Without ImageNet
weights, a file of `keras.applications.EfficientNetV2S` without top, such losses hardly learn.

Expected time: 400,000 steps of 64 images of 256 px, several days on one GPU; an estimate from
operation counts. Two CPU cores would take months: take `metrabs_mob3.py` there.

Command:
    python -m training.train training/configs/metrabs_effv2s.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people \\
        --backbone-weights efficientnetv2-s_notop.h5
"""

from metro_tf.config import HeatmapConfig
from training import config as config_lib
from training.config import LossConfig, ModelConfig, OptimizerConfig, TrainConfig

LEARNING_RATE = 2.121e-4
N_STEPS = 400000


def config():
    """Returns the settings."""
    return TrainConfig(
        name='metrabs_effv2s', n_steps=N_STEPS, steps_per_epoch=1000, batch_size_3d=32,
        batch_size_2d=32, learning_rate=LEARNING_RATE, warmup_steps=0,
        weight_decay=config_lib.metrabs_weight_decay(LEARNING_RATE, N_STEPS), clip_norm=None,
        mixed_precision='mixed_float16', frozen_batch_norm_steps=1000,
        optimizer=OptimizerConfig(
            schedule='two_phase', epsilon=1e-8, decay_all_weights=True, loss_scale=128.0,
            max_kernel_norm=20.0),
        model=ModelConfig(
            kind='metrabs', backbone='efficientnet_v2_s', top_down_channels=0, bn_momentum=0.9,
            heatmap=HeatmapConfig(crop_side_px=256, stride_px=32)),
        augment=config_lib.R23_AUGMENTATION,
        loss=LossConfig(
            generation='R23', heatmap2d=0.0, heatmap3d=0.0, relative=1.0, projection=1.0,
            absolute=0.1, absolute_start_step=5001, full_perspective_start_step=500,
            projection_2d_only=0.2, aligned_2d_only=0.0))
