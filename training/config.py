"""Frozen settings of a training run. One experiment is one file in `training/configs`."""

import dataclasses

from metro_tf import checks
from metro_tf.config import HeatmapConfig

DTYPE_POLICIES = ('float32', 'mixed_bfloat16', 'mixed_float16')


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The crop model.

    Args:
        backbone: Name of a backbone in `metro_tf.backbones`.
        top_down_channels: Channels of the top-down path to `heatmap.stride_px`; 0 takes the
            dilated backbone without such a path.
        heatmap: Input crop and output volume.
        backbone_weights: Path of a weights file to start from, or None.
        bn_momentum: Momentum of the running batch statistics.
    """
    backbone: str = 'mobilenet_v3_small'
    top_down_channels: int = 128
    heatmap: HeatmapConfig = HeatmapConfig(crop_side_px=160, stride_px=8)
    backbone_weights: str = None
    bn_momentum: float = 0.98


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Random changes of a training example.

    Args:
        max_zoom_change: The zoom factor is uniform in [1 - this, 1 + this].
        max_rotation_degrees: Limit of the roll of the virtual camera.
        max_shift: Radius of the disc of random shifts, as a fraction of the box's longer side.
        mirror_probability: Probability of mirroring.
        partial_visibility_probability: Probability that a random part of the box is taken for
            the whole.
        occlusion_probability: Probability that shapes or noise cover a part of the crop.
        brightness, contrast, saturation: Limits of the colour changes (1 is full range).
        hue_degrees: Limit of the turn of the hue.
        blur_probability: Probability of a Gaussian blur, and likewise of sensor noise.
    """
    max_zoom_change: float = 0.25
    max_rotation_degrees: float = 20.0
    max_shift: float = 0.1
    mirror_probability: float = 0.5
    partial_visibility_probability: float = 0.1
    occlusion_probability: float = 0.5
    brightness: float = 0.125
    contrast: float = 0.5
    saturation: float = 0.5
    hue_degrees: float = 36.0
    blur_probability: float = 0.2


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights and start steps of the loss terms; steps are optimiser steps.

    Args:
        heatmap2d: Cross-entropy of the 2D heatmaps.
        heatmap3d: Cross-entropy of the two marginals of the metric volume.
        heatmap_sigma_cells: Standard deviation of the Gaussian targets.
        relative: Root-relative loss in metres.
        projection: Projection loss in crop pixels, scaled to metres.
        absolute: Absolute loss in metres, from step `absolute_start_step` on.
        projection_2d_only: Projection loss of examples with 2D labels alone.
        aligned_2d_only: MeTRo's scale-and-shift-aligned loss of such examples.
        full_perspective_start_step: Before it, the weak-perspective reconstruction is used.
    """
    heatmap2d: float = 1.0
    heatmap3d: float = 1.0
    heatmap_sigma_cells: float = 1.0
    relative: float = 1.0
    projection: float = 0.5
    absolute: float = 0.1
    absolute_start_step: int = 1000
    projection_2d_only: float = 0.5
    aligned_2d_only: float = 0.25
    full_perspective_start_step: int = 500


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that defines a run besides the places of its data.

    Args:
        name: Name of the experiment; results go into a folder of that name.
        n_steps: Number of optimiser steps.
        batch_size_3d: Examples with 3D labels in every batch.
        batch_size_2d: Examples with 2D labels only in every batch.
        learning_rate: Peak of the schedule (linear warm-up, then half a cosine).
        warmup_steps: Length of the warm-up.
        weight_decay: Decoupled weight decay per step, in units of the learning rate.
        clip_norm: Limit of the global gradient norm.
        steps_per_epoch: Steps between checkpoints and rows of the curves.
        seed: Seed of weights, order and augmentation.
        mixed_precision: Keras dtype policy: 'float32', 'mixed_bfloat16' or 'mixed_float16'.
    """
    name: str
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    loss: LossConfig = LossConfig()
    n_steps: int = 10000
    batch_size_3d: int = 32
    batch_size_2d: int = 32
    learning_rate: float = 2e-3
    warmup_steps: int = 300
    weight_decay: float = 0.02
    clip_norm: float = 5.0
    steps_per_epoch: int = 250
    seed: int = 1
    mixed_precision: str = 'float32'

    def __post_init__(self):
        checks.positive(self.n_steps, 'n_steps')
        checks.positive(self.steps_per_epoch, 'steps_per_epoch')
        checks.positive(self.learning_rate, 'learning_rate')
        checks.one_of(self.mixed_precision, DTYPE_POLICIES, 'mixed_precision')
        if self.n_steps % self.steps_per_epoch:
            raise ValueError(
                '`steps_per_epoch` must divide `n_steps`. Received: '
                f'steps_per_epoch={self.steps_per_epoch}, n_steps={self.n_steps}')
