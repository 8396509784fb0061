"""Third stage of the person detector in the default models, with photos of many people.

Goes on from `default_detector_second.py` with three residual blocks more, which start as the
identity, and photos in which everybody has a box: those of the ImageNet samples that show people.
`default_detector.py` goes on from here.

Command:
    python -m training.train_detector training/configs/default_detector_third.py \\
        --synth-dir records/train --lspet-dir lspet --backgrounds-dir backgrounds/no_people \\
        --coco-annotations training/annotations/imagenet_samples.json \\
        --coco-images backgrounds/with_people \\
        --start-from runs/default_detector_second/detector.keras
"""

import dataclasses

from training.configs import default_detector_second


def config():
    """Returns the settings."""
    base = default_detector_second.config()
    return dataclasses.replace(
        base, name='default_detector_third', n_steps=7000, learning_rate=1.2e-3,
        n_blocks=(0, 0, 1, 3, 3), n_head_blocks=1,
        composite=dataclasses.replace(
            base.composite, photo_probability=0.45, scene_probability=0.22))
