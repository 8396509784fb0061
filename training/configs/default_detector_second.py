"""Second stage of the person detector in the default models, with portraits.

Goes on from `default_detector_first.py` with photos enlarged about a head.
`default_detector_third.py` goes on from here.

Command:
    python -m training.train_detector training/configs/default_detector_second.py \\
        --synth-dir records/train --lspet-dir lspet --backgrounds-dir backgrounds/no_people \\
        --start-from runs/default_detector_first/detector.keras
"""

import dataclasses

from training.configs import default_detector_first


def config():
    """Returns the settings."""
    base = default_detector_first.config()
    return dataclasses.replace(
        base, name='default_detector_second', n_steps=7000, learning_rate=1.2e-3,
        composite=dataclasses.replace(base.composite, portrait_probability=0.35))
