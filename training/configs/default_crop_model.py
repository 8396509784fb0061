"""The crop model in `saved_models/default`: MobileNetV3-small with a top-down path, 160 px.

Learns metric 3D poses from rendered people and 2D poses of real photos from LSPET.

Command:
    python -m training.train training/configs/default_crop_model.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people \\
        --background-dir backgrounds/with_people
"""

from training.config import TrainConfig


def config():
    """Returns the settings."""
    return TrainConfig(name='default_crop_model', n_steps=5000, steps_per_epoch=200)
