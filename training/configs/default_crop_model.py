"""The crop model in `saved_models/default`: a compact ResNet with a top-down path, 128 px.

Fourth stage after `default_crop_model_third.py`: busts among the rendered people (see
`default_detector.py`), and losses of poses that weigh more against those of heatmaps. Takes half an
hour on two cores with bfloat16 instructions; scores are in saved_models/README.md.

Command:
    python -m training.train training/configs/default_crop_model.py \\
        --synth-dir 'records/train*/*.tfrecord' --lspet-dir lspet \\
        --records-2d-dir records/samples/2d \\
        --background-dir backgrounds/no_people --background-dir backgrounds/with_people \\
        --start-from runs/default_crop_model_third/crop_model.keras
"""

import dataclasses

from training.configs import default_crop_model_third


def config():
    """Returns the settings."""
    base = default_crop_model_third.config()
    return dataclasses.replace(
        base, name='default_crop_model', n_steps=3000, learning_rate=1.4e-3,
        augment=dataclasses.replace(base.augment, partial_visibility_probability=0.25),
        loss=dataclasses.replace(
            base.loss, heatmap2d=0.4, heatmap3d=0.4, relative=8.0, projection=4.0, absolute=1.0,
            projection_2d_only=4.0, aligned_2d_only=1.5))
