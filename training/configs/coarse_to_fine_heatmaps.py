"""The first network of the decoupled architecture: 2D heatmaps (Pavlakos et al., CVPR 2017).

Data: LSPET and the 2D labels of rendered people, in place of MPII. `coarse_to_fine_decoupled`
trains the second network and needs the file that this one writes.

As published: a usual stacked hourglass with two stages. The paper says little about its training,
so crops, optimiser, augmentation and what differs are those of `coarse_to_fine`, with as many
photos as rendered people in a batch of four, and a quarter of its steps.

Expected time: not tried at length. By counting, a step takes 0.5 TFLOP.

Command:
    python -m training.train training/configs/coarse_to_fine_heatmaps.py \\
        --synth-dir records/train --lspet-dir lspet --background-dir backgrounds/no_people
"""

import dataclasses

from training.configs import coarse_to_fine


def config():
    """Returns the settings."""
    base = coarse_to_fine.config()
    return dataclasses.replace(
        base, name='coarse_to_fine_heatmaps', n_steps=250000, batch_size_3d=2, batch_size_2d=2,
        model=dataclasses.replace(base.model, depths=(1, 1), hourglass_variant='uniform'))
