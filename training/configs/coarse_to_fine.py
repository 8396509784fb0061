"""Coarse-to-fine prediction with four hourglasses: the recipe of the paper (CVPR 2017).

Data: rendered people with 3D labels, in place of Human3.6M. Published scores to aim at, on
Human3.6M: 64.8 mm MPJPE in the study of the components and 71.9 mm in the comparison with others,
51.9 mm after Procrustes. A model of other data, as this is, has no published score.

As published (Pavlakos et al. and their released code): depths of 1, 2, 4 and 64 cells, crops of
256 px, 4 examples in a batch, RMSprop at a constant 2.5e-4 without weight decay and clipping, a
million steps from random weights. People are mirrored at random and scaled by up to 25 %, without
a change of their depths.

Differs: published scales and turns follow cut-off normal distributions, and 60 % of the people are
not turned. Here both are uniform, and turns reach as far as to spread as much. Each example is
mirrored or not, instead of the whole batch. Targets are drawn around the turned joints, not turned
themselves. The colour channels are not scaled one by one, by 0.8 to 1.2; instead brightness,
contrast, saturation and hue change, about as much. Rendered people always get a background.
Crops are the views of a turned camera, not turned and cropped photos. The joints are our 24.

Expected time: not tried at length. By counting, a step takes 1.3 TFLOP: some days on one GPU,
months on two CPU cores.

Command:
    python -m training.train training/configs/coarse_to_fine.py --synth-dir records/train \\
        --background-dir backgrounds/no_people
"""

from metro_tf.config import HeatmapConfig
from training.config import AugmentConfig, ModelConfig, OptimizerConfig, TrainConfig


def config():
    """Returns the settings."""
    return TrainConfig(
        name='coarse_to_fine', n_steps=1000000, steps_per_epoch=1000, batch_size_3d=4,
        batch_size_2d=0, learning_rate=2.5e-4, warmup_steps=0, weight_decay=0.0, clip_norm=None,
        optimizer=OptimizerConfig(schedule='constant_rmsprop'),
        model=ModelConfig(
            kind='coarse_to_fine', backbone='hourglass', depths=(1, 2, 4, 64),
            heatmap=HeatmapConfig(crop_side_px=256, stride_px=4)),
        augment=AugmentConfig(
            max_zoom_change=0.25, max_rotation_degrees=30.0, max_shift=0.0,
            partial_visibility_probability=0.0, occlusion_probability=0.0, brightness=0.05,
            contrast=0.2, saturation=0.2, hue_degrees=10.0, blur_probability=0.0))
