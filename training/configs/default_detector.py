"""The person detector in the default models: 1.1 million weights, 224 px.

Second stage after `default_detector_first.py`, with portraits: photos enlarged about a head.
Learns from composites of rendered people, photos of LSPET and photos without people.

Command:
    python -m training.train_detector training/configs/default_detector.py \\
        --synth-dir records/train --lspet-dir lspet --backgrounds-dir backgrounds/no_people \\
        --start-from runs/default_detector_first/detector.keras
"""

import dataclasses

from training.configs import default_detector_first


def config():
    """Returns the settings."""
    base = default_detector_first.config()
    return dataclasses.replace(
        base, name='default_detector', n_steps=7000, learning_rate=1.2e-3,
        composite=dataclasses.replace(base.composite, portrait_probability=0.35))
