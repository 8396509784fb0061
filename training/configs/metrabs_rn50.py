"""MeTRAbs with ResNet-50, generation R20: the recipe of the paper (Sarandi et al., T-BIOM 2021).

Data: as in `metro_rn50.py`. Published scores to aim at, on published data: 68.8 mm MPJPE and 49.7
mm PA-MPJPE on 3DPW, for MeTRAbs without naming the backbone. The later code (R23) lists for
ResNet-50, trained on Human3.6M, MuCo, CMU-Panoptic, SAIL-VOS, SURREAL, AIST-Dance++ and COCO: 48.7
mm on Human3.6M, 66.5 mm on 3DPW, PCK 92.7 on MPI-INF-3DHP and 88.6 (absolute 42.6) on MuPoTS-3D. A
model of other data, as this is, has no published score.

As published: each head has its own loss, of pixels and relative to the pelvis; the absolute loss,
after 5000 steps, without weighting or limits, of the weak-perspective reconstruction with 2D-based
joints inside the field of view; the rest as in `metro_rn50.py`, where the backbone, the weights to
start from, the differences and the expected time are described. The border of the field of view is
one stride in the loss, as published, but 0.75 in inference as in R23.

Command:
    python -m training.train training/configs/metrabs_rn50.py --synth-dir records/train \\
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
        base, name='metrabs_rn50',
        model=dataclasses.replace(
            base.model, kind='metrabs', weak_perspective=True, mix_3d_inside_fov=0.0),
        loss=LossConfig(
            generation='R20', heatmap2d=0.0, heatmap3d=0.0, image=1.0, relative=1.0, absolute=1.0,
            absolute_start_step=5001, image_2d_only=0.1, aligned_2d_only=0.1))
