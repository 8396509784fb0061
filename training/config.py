"""Frozen settings of a training run. One experiment is one file in `training/configs`."""

import dataclasses
from typing import Optional

from metro_tf import checks, losses
from metro_tf.models.config import MARGINAL_KINDS, ModelConfig
from training import proportions

DTYPE_POLICIES = ('float32', 'mixed_bfloat16', 'mixed_float16')
# The published code of 2023, and its first release of 2020, which is that of the papers.
GENERATIONS = ('R23', 'R20')
LOSS_TERMS = (
    'heatmap2d', 'heatmap3d', 'image', 'relative', 'projection', 'absolute', 'pose25d',
    'projection_2d_only', 'image_2d_only', 'aligned_2d_only', 'latent3d', 'latent2d', 'marginal',
    'divergence', 'volumes', 'coordinates')
START_STEPS = ('absolute_start_step', 'full_perspective_start_step')
SCHEDULES = ('warmup_cosine', 'two_phase', 'dual', 'one_cycle', 'constant_rmsprop')
# Those that come with an optimiser other than AdamW, which lacks some of its settings.
_OTHER_OPTIMIZERS = {'one_cycle': 'SGD', 'constant_rmsprop': 'RMSprop'}
PROGRESS_BARS = ('keras', 'tqdm')


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
        background_probability: Probability that an example with alpha gets another background.
            It must be 1 for people that were rendered without one.
        full_rotation_probability: Probability that the roll is uniform over the whole circle.
        upper_clothing_probability, lower_clothing_probability: Probabilities that marked clothes
            get another texture (0.2 and 0.5 in MargiPose). Records may have such masks.
        is_published: Whether parts of boxes, backgrounds, occlusion (by objects or erasing) and
            colour (in HSV, in random order) are drawn as MeTRAbs does, instead of in our own,
            quicker ways. See `R23_AUGMENTATION` for the numbers that belong to it.
        max_label_height_2d: Joints of examples with 2D labels only are discarded below this
            fraction of the photo's height (0.95 in MeTRAbs); None keeps all.
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
    background_probability: float = 1.0
    full_rotation_probability: float = 0.0
    is_published: bool = False
    max_label_height_2d: Optional[float] = None
    upper_clothing_probability: float = 0.0
    lower_clothing_probability: float = 0.0

    def __post_init__(self):
        names = [
            field.name for field in dataclasses.fields(self)
            if field.name.endswith('_probability')]
        if self.max_label_height_2d is not None:
            names.append('max_label_height_2d')
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f'`{name}` must be in [0, 1]. Received: {name}={getattr(self, name)}')


# MeTRAbs of 2023. Where masks come with real photos, it replaces 0.7 of the backgrounds, and 0.2
# of those in renderings that look real.
R23_AUGMENTATION = AugmentConfig(
    partial_visibility_probability=0.0, hue_degrees=72.0, blur_probability=0.0, is_published=True,
    max_label_height_2d=0.95)


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights and start steps of the loss terms; steps are optimiser steps.

    A term that the model or the generation does not have must keep its default or be 0. Terms of
    weight 0 are not computed.

    Args:
        heatmap2d: Cross-entropy of the 2D heatmaps (Metrabs).
        heatmap3d: Cross-entropy of the two marginals of the volume (all models). Both are not
            published: the published recipes set them to 0.
        heatmap_sigma_cells: Standard deviation of the Gaussian targets of both, and of those of
            `divergence`.
        relative: Root-relative loss in metres (Metrabs, Metro, AbsoluteMargiPose): of the absolute
            poses in R23, of the 3D head for Metro and in R20.
        projection: Projection loss in crop pixels, scaled to metres (Metrabs in R23,
            AbsoluteMargiPose).
        absolute: Absolute loss in metres, from step `absolute_start_step` on (Metrabs,
            AbsoluteMargiPose).
        projection_2d_only: Projection loss of examples with 2D labels alone (Metrabs in R23,
            AbsoluteMargiPose).
        aligned_2d_only: MeTRo's scale-and-shift-aligned loss of such examples (Metrabs, Metro).
        full_perspective_start_step: Before it, the weak-perspective reconstruction is used
            (Metrabs, AbsoluteMargiPose).
        generation: 'R23' or 'R20', see `training.trainers`: which terms there are, and whether
            poses are relative to the mean joint (R23) or to the pelvis (R20).
        reduction: 'joints' or 'examples', see `metro_tf.losses`.
        image: Loss of the 2D head's pixels, scaled to metres (Metrabs in R20).
        pose25d: Loss of pixels and relative depths, in metres (Pose25D).
        image_2d_only: Loss of pixels of examples with 2D labels alone (Metrabs in R20, Pose25D).
        latent3d, latent2d: What latent points add for examples with and without 3D labels, see
            `training.trainers.latent` (Metrabs in R23 with `latent_mode`).
        marginal: Euclidean distance in the cuboid, of all stages (MargiPose; published: 1).
        divergence: Jensen-Shannon divergence of the heatmaps from Gaussians, of all stages
            (MargiPose, published: 1, and 0 without regularisation; AbsoluteMargiPose; Metrabs).
        volumes: Squared error of the volumes, of all stages (CoarseToFine and Decoupled;
            published: 1).
        coordinates: Squared distance in m^2 of what the network puts out (CoordinateRegression;
            published: 1).
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
    generation: str = 'R23'
    reduction: str = 'joints'
    image: float = 1.0
    pose25d: float = 1.0
    image_2d_only: float = 0.5
    latent3d: float = 1.0
    latent2d: float = 0.2
    marginal: float = 1.0
    divergence: float = 0.0
    volumes: float = 1.0
    coordinates: float = 1.0

    def __post_init__(self):
        checks.one_of(self.generation, GENERATIONS, 'generation')
        checks.one_of(self.reduction, losses.REDUCTIONS, 'reduction')
        checks.positive(self.heatmap_sigma_cells, 'heatmap_sigma_cells')
        for name in LOSS_TERMS:
            if not 0 <= getattr(self, name) < float('inf'):
                raise ValueError(
                    f'`{name}` must be a finite number from 0 on. '
                    f'Received: {name}={getattr(self, name)}')


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How the weights are updated; the defaults are AdamW as the first recipes use it.

    Args:
        schedule: Learning rate over the steps: 'warmup_cosine'; 'two_phase', the one of MeTRAbs;
            'dual', the two of its fine-tuning, a lower one for the backbone than for the
            heads, by two optimisers (needs tensorflow-addons); 'one_cycle', that of MargiPose,
            with SGD in place of AdamW (see `training.optimizers.OneCycleSGD`); or
            'constant_rmsprop', a constant one with RMSprop, that of coarse-to-fine prediction
            (see `training.run.build_optimizer`).
        epsilon: AdamW's summand in the denominator (1e-8 in MeTRAbs).
        decay_all_weights: Whether weight decay includes biases and normalisations, as in MeTRAbs.
        accumulation_steps: Every batch is split into this many micro-batches, whose gradients
            are averaged before an update. Every step count is one of updates.
        ema_momentum: Momentum of the moving average of the trainable weights, which replaces them
            in saved models; None or 1 is off.
        loss_scale: Under 'mixed_float16' the first factor on the loss, which is halved where a
            gradient overflows, but never grows (128 in MeTRAbs). None adapts it both ways.
        max_kernel_norm: Limit of the norm of each filter of the backbone's convolutions (20 for
            the EfficientNets of MeTRAbs), or None.
    """
    schedule: str = 'warmup_cosine'
    epsilon: float = 1e-7
    decay_all_weights: bool = False
    accumulation_steps: int = 1
    ema_momentum: float = None
    loss_scale: float = None
    max_kernel_norm: float = None

    def __post_init__(self):
        checks.one_of(self.schedule, SCHEDULES, 'schedule')
        checks.positive(self.epsilon, 'epsilon')
        for name in ('loss_scale', 'max_kernel_norm'):
            if getattr(self, name) is not None:
                checks.positive(getattr(self, name), name)
        if not isinstance(self.accumulation_steps, int) or self.accumulation_steps < 1:
            raise ValueError(
                '`accumulation_steps` must be a positive integer. '
                f'Received: accumulation_steps={self.accumulation_steps}')
        if self.ema_momentum is not None and not 0 <= self.ema_momentum <= 1:
            raise ValueError(
                '`ema_momentum` must be None or in [0, 1]. '
                f'Received: ema_momentum={self.ema_momentum}')
        if self.schedule == 'dual' and (self.accumulation_steps > 1 or self.averages_weights):
            raise ValueError(
                "`schedule` 'dual' cannot be combined with `accumulation_steps` or "
                "`ema_momentum`, which tensorflow-addons' MultiOptimizer does not have. Received: "
                f'accumulation_steps={self.accumulation_steps}, ema_momentum={self.ema_momentum}')
        if self.schedule in _OTHER_OPTIMIZERS:
            self._check_other_optimizer()

    def _check_other_optimizer(self):
        """Refuses what only AdamW has."""
        for field in dataclasses.fields(self):
            is_unread = field.name in ('epsilon', 'decay_all_weights', 'accumulation_steps')
            if is_unread and getattr(self, field.name) != field.default:
                raise ValueError(
                    f'`{field.name}` must be left alone with the `schedule` {self.schedule!r}, '
                    f'whose {_OTHER_OPTIMIZERS[self.schedule]} does not take it. '
                    f'Received: {field.name}={getattr(self, field.name)}')

    @property
    def averages_weights(self):
        """Whether a moving average of the weights is kept."""
        return self.ema_momentum is not None and self.ema_momentum < 1


def metrabs_weight_decay(learning_rate, n_steps):
    """Weight decay of MeTRAbs as `TrainConfig.weight_decay`.

    Per step a weight shrinks by `3e-3 / sqrt(n_steps) * lr / learning_rate` of itself.

    Args:
        learning_rate: First value of the schedule.
        n_steps: Number of steps of the training; MeTRAbs' fine-tuning takes 400000 here.
    """
    return 3e-3 / n_steps ** 0.5 / checks.positive(learning_rate, 'learning_rate')


def check_update_settings(config):
    """Checks what `TrainConfig` and `DetectorTrainConfig` say about steps and updates.

    Raises:
        ValueError: If a value is out of range, two of them contradict each other, or one of them
            would not be read.
    """
    for name in ('n_steps', 'steps_per_epoch', 'learning_rate'):
        checks.positive(getattr(config, name), name)
    checks.one_of(config.mixed_precision, DTYPE_POLICIES, 'mixed_precision')
    checks.one_of(config.progress_bar, PROGRESS_BARS, 'progress_bar')
    if config.clip_norm is not None:
        checks.positive(config.clip_norm, 'clip_norm')
    if not 0 <= config.weight_decay < float('inf'):
        raise ValueError(
            '`weight_decay` must be a finite number, not negative. '
            f'Received: weight_decay={config.weight_decay}')
    if config.n_steps % config.steps_per_epoch:
        raise ValueError(
            '`steps_per_epoch` must divide `n_steps`. Received: '
            f'steps_per_epoch={config.steps_per_epoch}, n_steps={config.n_steps}')
    schedule = config.optimizer.schedule
    if config.weight_decay and schedule in _OTHER_OPTIMIZERS:
        raise ValueError(
            f'`weight_decay` must be 0 with the `schedule` {schedule!r}, whose '
            f'{_OTHER_OPTIMIZERS[schedule]} does not take it. '
            f'Received: weight_decay={config.weight_decay}')
    if config.warmup_steps and config.optimizer.schedule != 'warmup_cosine':
        raise ValueError(
            "`warmup_steps` must be 0 unless `schedule` is 'warmup_cosine'. Received: "
            f'warmup_steps={config.warmup_steps}, schedule={config.optimizer.schedule!r}')
    if config.optimizer.loss_scale and config.mixed_precision != 'mixed_float16':
        raise ValueError(
            "`loss_scale` must be None unless `mixed_precision` is 'mixed_float16'. Received: "
            f'loss_scale={config.optimizer.loss_scale}, mixed_precision={config.mixed_precision!r}')


def check_divisible(batch_size, name, accumulation_steps):
    """Checks that a batch splits into micro-batches of equal size.

    Raises:
        ValueError: If it does not.
    """
    if batch_size % accumulation_steps:
        raise ValueError(
            f'`accumulation_steps` must divide `{name}`. Received: '
            f'accumulation_steps={accumulation_steps}, {name}={batch_size}')


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that defines a run besides the places of its data.

    Args:
        name: Name of the experiment; results go into a folder of that name.
        n_steps: Number of optimiser steps.
        batch_size_3d: Examples with 3D labels in every batch.
        batch_size_2d: Examples with 2D labels only in every batch.
        own_share: Share of own records among the examples of a kind, where they come besides
            rendered people or LSPET.
        datasets_3d, datasets_2d: Pairs (name, weight) of the data sets with 3D labels and with 2D
            labels only. Every batch holds the same number of examples of each, in proportion to
            the weights (see `training.proportions`). () for both mixes by `own_share`.
        learning_rate: Peak of the schedule; 1 is published for 'one_cycle'.
        warmup_steps: Length of the linear warm-up of the schedule 'warmup_cosine'.
        weight_decay: Decoupled weight decay per step, in units of the learning rate (see
            `metrabs_weight_decay`).
        clip_norm: Limit of the global gradient norm, or None.
        steps_per_epoch: Steps between checkpoints and rows of the curves.
        seed: Seed of weights, order and augmentation.
        mixed_precision: Keras dtype policy: 'float32', 'mixed_bfloat16' or 'mixed_float16'.
        optimizer: Further settings of the updates.
        ghost_batch_sizes: Sizes of the parts of a (micro-)batch that batch normalisation treats
            separately in training, e.g. (32, 32) for 3D and 2D examples apart; () for one part, as
            MargiPose needs it.
        frozen_batch_norm_steps: In this many last steps the network runs in inference mode:
            batch statistics are frozen, nothing is dropped, and both reconstructions count half
            inside the field of view. `n_steps` means all. Published at the test stride, which is
            not offered here.
        progress_bar: 'keras' for a line per epoch, or 'tqdm' for the bar of tensorflow-addons.
    """
    name: str
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    loss: LossConfig = LossConfig()
    n_steps: int = 10000
    batch_size_3d: int = 32
    batch_size_2d: int = 32
    own_share: float = 0.5
    datasets_3d: tuple = ()
    datasets_2d: tuple = ()
    learning_rate: float = 2e-3
    warmup_steps: int = 300
    weight_decay: float = 0.02
    clip_norm: float = 5.0
    steps_per_epoch: int = 250
    seed: int = 1
    mixed_precision: str = 'float32'
    optimizer: OptimizerConfig = OptimizerConfig()
    ghost_batch_sizes: tuple = ()
    frozen_batch_norm_steps: int = 0
    progress_bar: str = 'keras'

    def __post_init__(self):
        check_update_settings(self)
        if not 0 < self.own_share < 1:
            raise ValueError(
                '`own_share` must be between 0 and 1. '
                f'Received: own_share={self.own_share}')
        proportions.check(self)
        n_parts = self.optimizer.accumulation_steps
        check_divisible(self.batch_size_3d, 'batch_size_3d', n_parts)
        check_divisible(self.batch_size_2d, 'batch_size_2d', n_parts)
        n_examples = (self.batch_size_3d + self.batch_size_2d) // n_parts
        if self.ghost_batch_sizes and (
                min(self.ghost_batch_sizes) < 1 or sum(self.ghost_batch_sizes) != n_examples):
            raise ValueError(
                '`ghost_batch_sizes` must be positive and add up to the size of a (micro-)batch, '
                f'{n_examples}. Received: ghost_batch_sizes={self.ghost_batch_sizes}')
        if self.ghost_batch_sizes and self.model.kind in MARGINAL_KINDS:
            raise ValueError(
                '`ghost_batch_sizes` must be () for MargiPose, whose stages normalise whole '
                f'batches. Received: ghost_batch_sizes={self.ghost_batch_sizes}')
        if (not 0 <= self.frozen_batch_norm_steps <= self.n_steps
                or self.frozen_batch_norm_steps % self.steps_per_epoch):
            raise ValueError(
                '`frozen_batch_norm_steps` must be a multiple of `steps_per_epoch` and at most '
                f'`n_steps`. Received: frozen_batch_norm_steps={self.frozen_batch_norm_steps}, '
                f'steps_per_epoch={self.steps_per_epoch}, n_steps={self.n_steps}')
        test_stride_px = self.model.heatmap.test_stride_px
        if self.frozen_batch_norm_steps and test_stride_px is not None:
            raise ValueError(
                '`frozen_batch_norm_steps` must be 0 with a `test_stride_px`, at which the losses '
                'are not defined. Received: frozen_batch_norm_steps='
                f'{self.frozen_batch_norm_steps}, test_stride_px={test_stride_px}')
