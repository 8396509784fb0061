"""Randomness inside the training step, which a resumed training must draw as an unbroken one.

Order and augmentation of the examples follow from their numbers (see `training.pipeline`). Here
are the rest: numbers that losses draw follow from seed and step, and the generators of layers such
as dropout begin anew with every epoch, since checkpoints do not hold their state.
"""

import keras
import numpy as np
import tensorflow as tf


def set_seed(seed):
    """Seeds Python, NumPy and TensorFlow, before a model that `restart` can act on is built."""
    keras.utils.set_random_seed(seed)
    if hasattr(keras.backend, 'experimental'):  # Keras 2, whose layers else keep hidden counters
        keras.backend.experimental.enable_tf_random_generator()


def uniform_of_step(shape, seed, step):
    """Numbers in [0, 1) that follow from the seed of the run and the optimiser step.

    Args:
        shape: Shape of the result.
        seed: Integer.
        step: Integer scalar tensor, number of finished optimiser steps.

    Returns:
        Float32 tensor of the given shape.
    """
    return tf.random.stateless_uniform(
        shape, tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)]))


def restart(model, seed, epoch):
    """Sets the generators of a model's random layers to a state that follows from the numbers.

    Args:
        model: Model that was built after `set_seed`.
        seed: Integer, not negative.
        epoch: Integer, not negative.
    """
    for i_layer, layer in enumerate(_layers_within(model)):
        state = np.random.SeedSequence([seed, epoch, i_layer]).generate_state(2)
        if hasattr(layer, 'seed_generator'):  # Keras 3
            layer.seed_generator.state.assign(state)
        elif getattr(getattr(layer, '_random_generator', None), '_generator', None):  # Keras 2
            layer._random_generator._generator.reset_from_seed(int(state[0]))


def _layers_within(layer):
    """All layers in a model and its parts, depth first."""
    for part in getattr(layer, 'layers', ()):
        yield part
        yield from _layers_within(part)
