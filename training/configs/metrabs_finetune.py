"""Fine-tuning of a finished MeTRAbs, generation R23: two learning rates, frozen batch statistics.

Goes on from the model of `metrabs_effv2s.py`, usually on other data. No score of a fine-tuning
like this one, on its own, is published; the one to aim at is a lower error on the new data, and
those of the first training, there, on the old.

As published: 40,000 steps; the heads learn at the rate of the first training in two phases of half
the length, the backbone at a thirtieth, falling to 0.3 of that, by two optimisers; weight decay as
in a training of 400,000 steps. All steps run in inference mode, so neither batch statistics nor
dropped layers change. Needs tensorflow-addons, so the reference stack.

Expected time: a tenth of the first training.

Command:
    python -m training.train training/configs/metrabs_finetune.py --records-3d-dir records/own \\
        --lspet-dir lspet --background-dir backgrounds/no_people \\
        --start-from runs/metrabs_effv2s/crop_model.keras
"""

import dataclasses

from training import config as config_lib
from training.configs import metrabs_effv2s

N_STEPS = 40000


def config():
    """Returns the settings."""
    base = metrabs_effv2s.config()
    return dataclasses.replace(
        base, name='metrabs_finetune', n_steps=N_STEPS, frozen_batch_norm_steps=N_STEPS,
        weight_decay=config_lib.metrabs_weight_decay(base.learning_rate, 400000),
        optimizer=dataclasses.replace(base.optimizer, schedule='dual'))
