"""Examples that can be read in any order, so that a training can begin at any of its examples."""

import dataclasses
from typing import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A fixed number of examples, each found by its index.

    Args:
        n_examples: Number of examples, at least 1.
        load: Function from an index (int64 scalar tensor) to an example dict, for use in tf.data.
    """
    n_examples: int
    load: Callable

    def in_order(self, first=None):
        """Dataset of every example once, or of the `first` ones, in the order of the indices."""
        indices = tf.data.Dataset.range(self.n_examples).take(-1 if first is None else first)
        return indices.map(self.load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def shuffled(self, seed, first=0):
        """Dataset without end; each time round, all examples come in another order.

        Which example comes i-th depends on `seed` and i alone, and to begin late costs nothing.

        Args:
            seed: Pair of integers.
            first: How many examples of the endless sequence are left out at its start.
        """
        first_round, first_in_round = divmod(first, self.n_examples)

        def order(i_round):
            round_seed = tf.random.experimental.stateless_fold_in(
                tf.constant(seed, tf.int64), i_round)
            return tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(
                tf.range(self.n_examples, dtype=tf.int64), round_seed))
        rounds = tf.data.Dataset.range(first_round, tf.int64.max)
        indices = rounds.flat_map(order).skip(first_in_round)
        return indices.map(self.load, num_parallel_calls=2, deterministic=True)


def attempt(function, args, message):
    """Result of reading a file, or an error that tells which file.

    TensorFlow's errors about damaged files do not name them.

    Args:
        function: Function from `args` to a non-empty string scalar or image, which may fail.
        args: Tuple of tensors.
        message: List of texts and scalar tensors for the error.

    Raises:
        InvalidArgumentError: If the function fails.
    """
    result = tf.data.Dataset.from_tensors(args).map(function)
    spec = result.element_spec
    nothing = tf.data.Dataset.from_tensors(
        tf.zeros([size or 0 for size in spec.shape], spec.dtype))
    found = result.ignore_errors().concatenate(nothing).take(1).get_single_element()
    is_found = tf.size(found) > 0 if spec.shape.rank else tf.strings.length(found) > 0
    with tf.control_dependencies([tf.debugging.Assert(is_found, message)]):
        return tf.identity(found)
