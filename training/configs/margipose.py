"""MargiPose with Inception-v4: the recipe of the paper (Nibali et al., WACV 2019).

Data: rendered people with 3D labels and LSPET with 2D labels, in place of Human3.6M or
MPI-INF-3DHP and MPII. Published scores to aim at, on the published data: 57.0 mm MPJPE and 40.4 mm
PA-MPJPE on Human3.6M with the true depth of the root; PCK 87.6, AUC 48.8 and MPJPE 87.6 mm on
MPI-INF-3DHP at the universal scale. A model of other data, as this is, has no published score.

As published: four stages with axis permutation, both losses of all stages with weight 1, 16
examples of each kind in a batch, SGD in one cycle with a learning rate of up to 1, without weight
decay and clipping, 150,000 steps (the 4.8 million "iterations" of the paper are examples). People
are mirrored at random, turned by up to 30 degrees and scaled by up to 10 %; contrast and
saturation change by up to 20 % and the hue by up to 36 degrees; where records mark clothes, these
are textured anew. The published backbone starts from ImageNet's weights; `backbones.truncated`
tells what the file must hold.

Differs: all turns are equally likely and colours always change, where published ones do in 0.4 and
0.3 of the cases; brightness is a summand of up to 0.1 instead of a factor of up to 1.2; boxes shift
by up to 3 % of their side, instead of 16 px of the photo; examples with 2D labels are augmented
like the others; rendered people always get a background; and crops are the views of a turned
camera, not sheared photos.

Expected time: not tried at length. By counting, a step takes 5 TFLOP: a day or two on one GPU,
three months on two CPU cores.

Command:
    python -m training.train training/configs/margipose.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people \\
        --backbone-weights inceptionv4.npz
"""

from metro_tf.config import HeatmapConfig
from training.config import AugmentConfig, LossConfig, ModelConfig, OptimizerConfig, TrainConfig


def config():
    """Returns the settings."""
    return TrainConfig(
        name='margipose', n_steps=150000, steps_per_epoch=1000, batch_size_3d=16,
        batch_size_2d=16, learning_rate=1.0, warmup_steps=0, weight_decay=0.0, clip_norm=None,
        optimizer=OptimizerConfig(schedule='one_cycle'),
        model=ModelConfig(
            kind='margipose', backbone='inception_v4', top_down_channels=0,
            heatmap=HeatmapConfig(crop_side_px=256, stride_px=8)),
        augment=AugmentConfig(
            max_zoom_change=0.1, max_rotation_degrees=30.0, max_shift=0.03,
            partial_visibility_probability=0.0, occlusion_probability=0.0, brightness=0.1,
            contrast=0.2, saturation=0.2, hue_degrees=36.0, blur_probability=0.0,
            upper_clothing_probability=0.2, lower_clothing_probability=0.5),
        loss=LossConfig(marginal=1.0, divergence=1.0))
