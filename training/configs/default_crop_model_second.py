"""Second stage of the crop model in `saved_models/default`.

Goes on from `default_crop_model_first.py` with two residual blocks more at the end of the top-down
path, which start as identity, and more people cut off by the crop. Takes about an hour on two cores
with bfloat16 instructions. `default_crop_model_third.py` goes on
from here.

Command:
    python -m training.extend --start-from runs/default_crop_model_first/crop_model.keras \\
        --config training/configs/default_crop_model_second.py --out runs/extended.keras
    python -m training.train training/configs/default_crop_model_second.py \\
        --synth-dir records/train --lspet-dir lspet --background-dir backgrounds/no_people \\
        --background-dir backgrounds/with_people --start-from runs/extended.keras
"""

import dataclasses

from training.configs import default_crop_model_first


def config():
    """Returns the settings."""
    base = default_crop_model_first.config()
    return dataclasses.replace(
        base, name='default_crop_model_second', n_steps=9000, learning_rate=1e-3,
        model=dataclasses.replace(base.model, top_down_blocks=2),
        augment=dataclasses.replace(
            base.augment, partial_visibility_probability=0.2, occlusion_probability=0.15))
