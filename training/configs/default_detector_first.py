"""First stage of the person detector in the default models: 1.1 million weights, 224 px.

Learns from random weights, from composites of rendered people, photos of LSPET and photos without
people. `default_detector_second.py` goes on from here.

Command:
    python -m training.train_detector training/configs/default_detector_first.py \\
        --synth-dir records/train --lspet-dir lspet --backgrounds-dir backgrounds/no_people
"""

from training.detection.config import CompositeConfig, DetectorTrainConfig


def config():
    """Returns the settings."""
    return DetectorTrainConfig(
        name='default_detector_first', n_steps=8000, mixed_precision='mixed_bfloat16',
        composite=CompositeConfig(max_people=4, photo_probability=0.6))
