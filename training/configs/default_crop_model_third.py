"""Third stage of the crop model in `saved_models/default`, with people of whom little is seen.

Goes on from `default_crop_model_second.py` with still more people cut off by the crop, and real
ones of whom only a part is seen: those of the ImageNet samples with joints drawn by eye. Takes half
an hour on two cores with bfloat16 instructions. `default_crop_model.py` goes on from here.

Command:
    python -m training.import_folder backgrounds/with_people \\
        --annotations training/annotations/imagenet_samples_joints.json --out records/samples
    python -m training.train training/configs/default_crop_model_third.py \\
        --synth-dir records/train --lspet-dir lspet --records-2d-dir records/samples/2d \\
        --background-dir backgrounds/no_people --background-dir backgrounds/with_people \\
        --start-from runs/default_crop_model_second/crop_model.keras
"""

import dataclasses

from training.configs import default_crop_model_second


def config():
    """Returns the settings."""
    base = default_crop_model_second.config()
    return dataclasses.replace(
        base, name='default_crop_model_third', n_steps=3500, learning_rate=8e-4, own_share=0.15,
        augment=dataclasses.replace(base.augment, partial_visibility_probability=0.3))
