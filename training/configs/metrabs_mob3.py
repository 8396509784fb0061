"""MeTRAbs with MobileNetV3-small, generation R23: the published recipe that two CPU cores manage.

Data: rendered people with 3D labels and LSPET with 2D labels. Published scores to aim at, of a
model trained on Human3.6M, MuCo, CMU-Panoptic, SAIL-VOS, SURREAL, AIST-Dance++ and COCO and tested
with five augmentations: 68.3 mm MPJPE on Human3.6M, 86.4 mm on 3DPW, PCK 82.4 on MPI-INF-3DHP and
81.8 (absolute 34.8) on MuPoTS-3D. For `backbone='mobilenet_v3_large'` they are 53.9 mm, 73.1 mm,
89.7 and 86.6 (36.3). A model of other data, as this is, has no published score.

As `metrabs_effv2s.py`, with a tenth of its steps, in float32, without limit of the filters (which
is EfficientNet's) and with our own momentum of the batch statistics. Without ImageNet weights, a
file of `keras.applications.MobileNetV3Small` without top, such losses hardly learn;
`default_crop_model.py` is a recipe of ours for random weights.

Expected time: 40,000 steps of 64 images of 256 px, about a day on two CPU cores: 2.4 s a step,
from 106 images per second measured at 128 px.

Command:
    python -m training.train training/configs/metrabs_mob3.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people \\
        --backbone-weights weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5
"""

import dataclasses

from training import config as config_lib
from training.config import OptimizerConfig
from training.configs import metrabs_effv2s

N_STEPS = 40000


def config():
    """Returns the settings."""
    base = metrabs_effv2s.config()
    return dataclasses.replace(
        base, name='metrabs_mob3', n_steps=N_STEPS, mixed_precision='float32',
        weight_decay=config_lib.metrabs_weight_decay(base.learning_rate, N_STEPS),
        optimizer=OptimizerConfig(schedule='two_phase', epsilon=1e-8, decay_all_weights=True),
        model=dataclasses.replace(base.model, backbone='mobilenet_v3_small', bn_momentum=0.98))
