"""The crop model in `saved_models/default`: a compact ResNet with a top-down path, 128 px.

Second stage after `default_crop_model_first.py`: two residual blocks more at the end of the
top-down path, which start as identity, and more people cut off by the crop. Takes about an hour on
two cores with bfloat16 instructions; scores are in saved_models/README.md.

Command:
    python -m training.extend --start-from runs/default_crop_model_first/crop_model.keras \\
        --config training/configs/default_crop_model.py --out runs/extended.keras
    python -m training.train training/configs/default_crop_model.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people \\
        --background-dir backgrounds/with_people --start-from runs/extended.keras
"""

from metro_tf.config import HeatmapConfig
from training.config import AugmentConfig, LossConfig, ModelConfig, TrainConfig


def config():
    """Returns the settings."""
    return TrainConfig(
        name='default_crop_model', n_steps=9000, steps_per_epoch=250,
        batch_size_3d=16, batch_size_2d=16, learning_rate=1e-3,
        mixed_precision='mixed_bfloat16',
        model=ModelConfig(
            backbone='compact_resnet', top_down_channels=128, top_down_blocks=2,
            heatmap=HeatmapConfig(crop_side_px=128, stride_px=8)),
        augment=AugmentConfig(
            partial_visibility_probability=0.2, occlusion_probability=0.15,
            blur_probability=0.1, hue_degrees=20.0),
        loss=LossConfig(
            relative=3.0, projection=1.5, absolute=0.3, projection_2d_only=1.5,
            aligned_2d_only=0.5))
