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
