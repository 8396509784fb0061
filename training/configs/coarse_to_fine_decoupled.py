"""The second network of the decoupled architecture: heatmaps to volumes (CVPR 2017).

Data: the labels of rendered people; their images are not used. The first network is the result of
`coarse_to_fine_heatmaps`, and its file becomes part of this model. Published score to aim at, on
Human3.6M: 78.1 mm MPJPE, against 69.8 mm of coarse-to-fine prediction with as many hourglasses.

As published: the input are 2D heatmaps alone, drawn from the labels. That there are two
hourglasses with depths of 1 and 64 cells is our reading of the paper, which says little about the
training, so everything else is that of `coarse_to_fine`, with a quarter of its steps.

Expected time: not tried at length. By counting, a step takes 0.7 TFLOP.

Command:
    python -m training.train training/configs/coarse_to_fine_decoupled.py \\
        --synth-dir records/train --background-dir backgrounds/no_people
"""

import dataclasses

from training.configs import coarse_to_fine


def config():
    """Returns the settings."""
    base = coarse_to_fine.config()
    return dataclasses.replace(
        base, name='coarse_to_fine_decoupled', n_steps=250000,
        model=dataclasses.replace(
            base.model, kind='decoupled', depths=(1, 64),
            heatmap_network='runs/coarse_to_fine_heatmaps/crop_model.keras'))
