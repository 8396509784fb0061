"""The crop model in `saved_models/default`: a compact ResNet with a top-down path, 128 px.

Learns metric 3D poses from rendered people and 2D poses of real photos from LSPET.

Command:
    python -m training.train training/configs/default_crop_model.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people \\
        --background-dir backgrounds/with_people
"""

from metro_tf.config import HeatmapConfig
from training.config import AugmentConfig, ModelConfig, TrainConfig


def config():
    """Returns the settings."""
    return TrainConfig(
        name='default_crop_model', n_steps=8000, steps_per_epoch=200,
        batch_size_3d=8, batch_size_2d=8, learning_rate=1.2e-3,
        model=ModelConfig(
            backbone='compact_resnet', top_down_channels=128,
            heatmap=HeatmapConfig(crop_side_px=128, stride_px=8)),
        augment=AugmentConfig(
            occlusion_probability=0.25, blur_probability=0.1, hue_degrees=20.0))
