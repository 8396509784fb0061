"""Frozen settings of a detector's training. One experiment is one file in `training/configs`."""

import dataclasses

from metro_tf import checks
from metro_tf.detection import center_net, trunk
from training import config as train_config


@dataclasses.dataclass(frozen=True)
class CompositeConfig:
    """Random composites: people cut out and whole photos, pasted onto photos without people.

    Args:
        side_px: Side of the square composite; a multiple of 32.
        max_people: Most people pasted onto one composite.
        photo_probability: Probability that photos with one annotated person each are pasted.
        max_photos: Most photos pasted onto one composite.
        portrait_probability: Probability that a photo which is pasted alone is enlarged about the
            person's head, so that only the upper body or less is left on the composite.
        scene_probability: Probability of a photo in which everybody has a box (`coco.Scenes`).
        negative_probability: Probability of a composite without people.
        person_size: Smallest and largest size of a person (larger side of the box) as a fraction
            of `side_px`.
        person_enlargement: Factor of the box around the annotated joints of a photo, since the
            joints reach neither the fingertips nor the soles.
        unlabelled_weight: Weight of "nobody is here" in a photo away from its annotated person,
            because others may stand there.
    """
    side_px: int = 224
    max_people: int = 6
    photo_probability: float = 0.45
    max_photos: int = 4
    portrait_probability: float = 0.0
    scene_probability: float = 0.0
    negative_probability: float = 0.15
    person_size: tuple = (0.1, 1.3)
    person_enlargement: float = 1.15
    unlabelled_weight: float = 0.1

    def __post_init__(self):
        checks.positive(self.side_px, 'side_px')
        if self.side_px % 32:
            raise ValueError(
                f'`side_px` must be a multiple of 32. Received: side_px={self.side_px}')
        if not 0 < self.person_size[0] <= self.person_size[1]:
            raise ValueError(
                '`person_size` must be positive and ascending. '
                f'Received: person_size={self.person_size}')
        for name in ('photo_probability', 'scene_probability', 'negative_probability',
                     'portrait_probability', 'unlabelled_weight'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f'`{name}` must be in [0, 1]. Received: {name}={getattr(self, name)}')
        total = self.negative_probability + self.photo_probability + self.scene_probability
        if total > 1:
            raise ValueError(
                '`negative_probability`, `photo_probability` and `scene_probability` must add up '
                f'to at most 1. Received: {total}')

    @property
    def n_cells(self):
        """Cells along one side of the network's output grid."""
        return self.side_px // center_net.STRIDE_PX


@dataclasses.dataclass(frozen=True)
class DetectorTrainConfig:
    """Everything that defines a run besides the places of its data.

    Args:
        name: Name of the experiment; results go into a folder of that name.
        composite: The training images.
        n_channels, trunk_channels, n_blocks, n_head_blocks, bn_momentum: See
            `center_net.build_center_net`.
        input_side_px: Input of the finished detector, used in its evaluation.
        n_steps: Number of optimiser steps.
        batch_size: Composites per step.
        learning_rate, warmup_steps, weight_decay, clip_norm: See `training.config.TrainConfig`.
        box_loss: Weight of the box loss against that of the heatmap.
        first_weights_share: Share of the weights that a training starts from in the finished
            network; the rest are those after the last step. The mean keeps what the first ones
            are good at while it learns from other data (Wortsman et al., "Robust fine-tuning of
            zero-shot models", CVPR 2022).
        max_false_boxes: The score is shifted so that the default threshold gives this many
            boxes per photo without people, measured on photos left out of the training.
        steps_per_epoch: Steps between checkpoints and rows of the curves.
        seed: Seed of weights, order and composites.
        mixed_precision: Keras dtype policy: 'float32', 'mixed_bfloat16' or 'mixed_float16'.
        optimizer, progress_bar: See `training.config.TrainConfig`.
    """
    name: str
    composite: CompositeConfig = CompositeConfig()
    n_channels: int = 64
    trunk_channels: tuple = trunk.CHANNELS
    n_blocks: tuple = trunk.N_BLOCKS
    n_head_blocks: int = 0
    bn_momentum: float = 0.98
    input_side_px: int = 224
    n_steps: int = 4400
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup_steps: int = 200
    weight_decay: float = 0.02
    clip_norm: float = 10.0
    box_loss: float = 2.0
    first_weights_share: float = 0.0
    max_false_boxes: float = 0.22
    steps_per_epoch: int = 200
    seed: int = 1
    mixed_precision: str = 'float32'
    optimizer: train_config.OptimizerConfig = train_config.OptimizerConfig()
    progress_bar: str = 'keras'

    def __post_init__(self):
        train_config.check_update_settings(self)
        checks.positive(self.batch_size, 'batch_size')
        checks.positive(self.max_false_boxes, 'max_false_boxes')
        if not 0 <= self.first_weights_share < 1:
            raise ValueError(
                '`first_weights_share` must be in [0, 1). '
                f'Received: first_weights_share={self.first_weights_share}')
        train_config.check_divisible(
            self.batch_size, 'batch_size', self.optimizer.accumulation_steps)
        if self.optimizer.max_kernel_norm is not None:
            raise ValueError(
                '`max_kernel_norm` must be None for a detector. '
                f'Received: max_kernel_norm={self.optimizer.max_kernel_norm}')
        if self.optimizer.schedule == 'dual':
            raise ValueError("`schedule` of a detector must not be 'dual', since it has no heads")
