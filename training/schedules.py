"""Learning-rate schedules as Keras objects."""

import math

import keras
import tensorflow as tf


@keras.utils.register_keras_serializable(package='metro_tf')
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from zero to the peak, then half a cosine down to `final_fraction` of it.

    Args:
        peak: Learning rate at the end of the warm-up.
        n_steps: Step at which the end value is reached.
        warmup_steps: Length of the warm-up.
        final_fraction: End value as a fraction of the peak.
    """

    def __init__(self, peak, n_steps, warmup_steps=0, final_fraction=0.01):
        super().__init__()
        if not 0 <= warmup_steps < n_steps:
            raise ValueError(
                '`warmup_steps` must be in [0, n_steps). Received: '
                f'warmup_steps={warmup_steps}, n_steps={n_steps}')
        self.peak = peak
        self.n_steps = n_steps
        self.warmup_steps = warmup_steps
        self.final_fraction = final_fraction

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        progress = (step - self.warmup_steps) / (self.n_steps - self.warmup_steps)
        cosine = 0.5 * (1 + tf.cos(math.pi * tf.clip_by_value(progress, 0.0, 1.0)))
        decayed = self.final_fraction + (1 - self.final_fraction) * cosine
        rising = (step + 1) / max(self.warmup_steps, 1)
        return self.peak * tf.where(step < self.warmup_steps, rising, decayed)

    def get_config(self):
        return {
            'peak': self.peak, 'n_steps': self.n_steps, 'warmup_steps': self.warmup_steps,
            'final_fraction': self.final_fraction}


@keras.utils.register_keras_serializable(package='metro_tf')
class TwoPhaseDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Exponential decay to a third, then, from a thirtieth on, to 0.3 of that (MeTRAbs, R23).

    With the first phase of length P = `first_fraction` T: `b (1/3)^(t / P)` while t < P, then
    `b / 30 * 0.3^((t - P) / (T - P))`, which ends at b / 100.

    Args:
        base: First value b.
        n_steps: Number of steps T.
        first_fraction: Length of the first phase as a fraction of `n_steps`: 0.92 in the main
            training, 0.5 for the heads in fine-tuning.
    """

    def __init__(self, base, n_steps, first_fraction=0.92):
        super().__init__()
        if not 0 < first_fraction < 1:
            raise ValueError(
                '`first_fraction` must be in (0, 1). '
                f'Received: first_fraction={first_fraction}')
        self.base = base
        self.n_steps = n_steps
        self.first_fraction = first_fraction

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        end = self.first_fraction * self.n_steps
        first = self.base * tf.pow(1 / 3, step / end)
        second = self.base / 30 * tf.pow(0.3, (step - end) / (self.n_steps - end))
        return tf.where(step < end, first, second)

    def get_config(self):
        return {
            'base': self.base, 'n_steps': self.n_steps, 'first_fraction': self.first_fraction}


@keras.utils.register_keras_serializable(package='metro_tf')
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """The 1-cycle policy of MargiPose: learning rate up and down again, momentum the other way.

    Linear between these steps, which are counted from 1, and constant outside them:

    ==========  =============  ========
    step        learning rate  momentum
    ==========  =============  ========
    1           peak / 10      0.90
    0.45 T      peak           0.85
    0.90 T      peak / 10      0.90
    T           peak / 10000   0.90
    ==========  =============  ========

    Source: Nibali et al., WACV 2019 (their code; the paper gives no numbers).

    Args:
        peak: The highest learning rate; 1 is published.
        n_steps: Number of steps T, at least 3.

    Call arguments:
        step: Number of finished steps.
    """

    def __init__(self, peak, n_steps):
        super().__init__()
        if n_steps < 3:
            raise ValueError(f'`n_steps` must be at least 3. Received: n_steps={n_steps}')
        self.peak = peak
        self.n_steps = n_steps

    def __call__(self, step):
        return self._interpolate(step, [0.1 * self.peak, self.peak, 0.1 * self.peak,
                                        1e-4 * self.peak])

    def momentum(self, step):
        """Momentum after a number of finished steps, like the learning rate."""
        return self._interpolate(step, [0.9, 0.85, 0.9, 0.9])

    def _interpolate(self, step, values):
        number = tf.cast(step, tf.float32) + 1
        milestones = [1, 0.45 * self.n_steps, 0.9 * self.n_steps, self.n_steps]
        result = tf.constant(values[0], tf.float32)
        for i in range(3):
            progress = (number - milestones[i]) / (milestones[i + 1] - milestones[i])
            result += (values[i + 1] - values[i]) * tf.clip_by_value(progress, 0.0, 1.0)
        return result

    def get_config(self):
        return {'peak': self.peak, 'n_steps': self.n_steps}


def make_schedule(config):
    """The schedule of a training with one optimiser.

    Args:
        config: `TrainConfig` or `DetectorTrainConfig`.
    """
    if config.optimizer.schedule == 'two_phase':
        return TwoPhaseDecay(config.learning_rate, config.n_steps)
    if config.optimizer.schedule == 'one_cycle':
        return OneCycle(config.learning_rate, config.n_steps)
    if config.optimizer.schedule == 'constant_rmsprop':
        # No plain number: a resumed run would take that from its checkpoint.
        return keras.optimizers.schedules.ExponentialDecay(
            config.learning_rate, config.n_steps, decay_rate=1.0)
    return WarmupCosine(config.learning_rate, config.n_steps, config.warmup_steps)


def make_dual_schedules(base, n_steps):
    """The schedules of MeTRAbs' fine-tuning (R23).

    Returns:
        That of the heads, in two phases of half the length, and that of the backbone,
        `base / 30 * 0.3^(t / n_steps)`.
    """
    return (
        TwoPhaseDecay(base, n_steps, first_fraction=0.5),
        keras.optimizers.schedules.ExponentialDecay(base / 30, n_steps, 0.3))
