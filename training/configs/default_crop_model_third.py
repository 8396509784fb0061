"""The crop model in `saved_models/default`: a compact ResNet with a top-down path, 128 px.

Third stage after `default_crop_model_second.py`: still more people cut off by the crop, and real
ones of whom only a part is seen: those of the ImageNet samples with joints drawn by eye. Takes half
an hour on two cores with bfloat16 instructions; scores are in saved_models/README.md.

Command:
    python -m training.import_folder backgrounds/with_people \\
        --annotations training/annotations/imagenet_samples_joints.json --out records/samples
    python -m training.train training/configs/default_crop_model.py --synth-dir records/train \\
        --lspet-dir lspet --records-2d-dir records/samples/2d \\
        --background-dir backgrounds/no_people --background-dir backgrounds/with_people \\
        --start-from runs/default_crop_model_second/crop_model.keras
"""

import dataclasses

from training.configs import default_crop_model_second


def config():
    """Returns the settings."""
    base = default_crop_model_second.config()
    return dataclasses.replace(
        base, name='default_crop_model', n_steps=3500, learning_rate=8e-4, own_share=0.15,
        augment=dataclasses.replace(base.augment, partial_visibility_probability=0.3))
