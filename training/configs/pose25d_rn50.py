"""The 2.5D baseline with ResNet-50, generation R20, that MeTRo is compared with (FG 2020).

Data: as in `metro_rn50.py`. We have no published score of this baseline to quote; the one to beat
it is MeTRo's, there. The root depth comes from the mean bone lengths of the 3D records, which the
program measures before it trains and stores with the model; `training.evaluate` scores it with the
true root depth as well.

As published: pixels and depths relative to the pelvis, 2 to 1, and 0.1 of the pixels of 2D
examples; the rest as in `metro_rn50.py`, where the backbone, the weights to start from, the
differences and the expected time are described. The published solver of the root depth has a wrong
derivative, which ours does not repeat.

Command:
    python -m training.train training/configs/pose25d_rn50.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people \\
        --backbone-weights resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5
"""

import dataclasses

from training.config import LossConfig
from training.configs import metro_rn50


def config():
    """Returns the settings."""
    base = metro_rn50.config()
    return dataclasses.replace(
        base, name='pose25d_rn50', model=dataclasses.replace(base.model, kind='pose25d'),
        loss=LossConfig(generation='R20', heatmap3d=0.0, pose25d=1.0, image_2d_only=0.1))
