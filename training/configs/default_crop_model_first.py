"""First stage of the crop model in `saved_models/default`: the network without its last blocks.

Learns metric 3D poses from rendered people and 2D poses of real photos from LSPET, from random
weights, in about an hour and a half on two cores with bfloat16 instructions.
`default_crop_model_second.py` goes on from here.

Command:
    python -m training.train training/configs/default_crop_model_first.py \\
        --synth-dir records/train --lspet-dir lspet --background-dir backgrounds/no_people \\
        --background-dir backgrounds/with_people
"""

from metro_tf.config import HeatmapConfig
from training.config import AugmentConfig, LossConfig, ModelConfig, TrainConfig


def config():
    """Returns the settings."""
    return TrainConfig(
        name='default_crop_model_first', n_steps=14000, steps_per_epoch=250,
        batch_size_3d=16, batch_size_2d=16, learning_rate=1.5e-3,
        mixed_precision='mixed_bfloat16',
        model=ModelConfig(
            backbone='compact_resnet', top_down_channels=128,
            heatmap=HeatmapConfig(crop_side_px=128, stride_px=8)),
        augment=AugmentConfig(
            occlusion_probability=0.25, blur_probability=0.1, hue_degrees=20.0),
        loss=LossConfig(
            relative=3.0, projection=1.5, absolute=0.3, projection_2d_only=1.5,
            aligned_2d_only=0.5))
