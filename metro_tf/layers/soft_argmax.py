"""Differentiable maximum of a heatmap."""

import keras
import numpy as np
import tensorflow as tf

from metro_tf.layers import heatmap_variance


@keras.utils.register_keras_serializable(package='metro_tf')
class SoftArgmax(keras.layers.Layer):
    """Expected cell position under the softmax of a heatmap (a differentiable argmax).

    One softmax runs over all heatmap axes jointly. Positions are fractions of the grid: 0 is
    the centre of the first cell, 1 that of the last; along an axis of one cell the position is 0.
    The layer defaults to float32 under any dtype policy, since a float16 sum over thousands of
    cells loses sub-cell precision.

    Source: integral regression (Sun et al., ECCV 2018), as in MeTRAbs.

    Args:
        axes: Sequence of ints, the heatmap axes in the order of the output coordinates,
            e.g. `(2, 1, 3)` gives (x, y, z) for logits `[batch, y, x, z, joints]`.
        **kwargs: Base layer arguments.

    Call arguments:
        logits: Float tensor of rank `len(axes) + 2`: batch first, joints last.

    Returns:
        Float tensor `[batch, joints, len(axes)]` in `[0, 1]`, unitless.
    """

    def __init__(self, axes, **kwargs):
        kwargs.setdefault('dtype', 'float32')
        super().__init__(**kwargs)
        if not axes or sorted(axes) != list(range(1, len(axes) + 1)):
            raise ValueError(f'`axes` must permute 1, ..., n. Received: axes={axes}')
        self.axes = tuple(axes)
        self.input_spec = keras.layers.InputSpec(ndim=len(axes) + 2)

    def call(self, logits):
        # One matrix product gives the sums of position times weight and, last, of the weights.
        sums = tf.matmul(self._cell_positions(logits), _masses(logits))
        return tf.transpose(sums[:, :-1] / sums[:, -1:], [0, 2, 1])

    def variance(self, logits):
        """Variance of the softmax along each of `axes`.

        It is taken from the profiles along the axes; nothing of the size of the heatmap is made
        that `call` does not make as well.

        Args:
            logits: See the class.

        Returns:
            Float32 tensor `[batch, joints, len(axes)]`, squared cells.
        """
        logits = tf.cast(logits, self.compute_dtype)
        masses = tf.reshape(_masses(logits), tf.shape(logits))
        return tf.stack([
            heatmap_variance.profile_variance(
                tf.reduce_sum(masses, [other for other in self.axes if other != axis]))
            for axis in self.axes], axis=-1)

    def _cell_positions(self, logits):
        """Tensor `[coordinates + 1, cells]`: where each cell lies on the grid, and a row of 1."""
        sizes = [logits.shape[axis] for axis in range(1, len(self.axes) + 1)]
        if None in sizes:
            sizes = tf.unstack(tf.shape(logits)[1:-1])
            grids = tf.meshgrid(*[_unit_grid(size) for size in sizes], indexing='ij')
            rows = [tf.reshape(grids[axis - 1], [-1]) for axis in self.axes]
            return tf.cast(tf.stack([*rows, tf.ones_like(rows[0])]), logits.dtype)
        grids = np.meshgrid(*[np.linspace(0, 1, size) for size in sizes], indexing='ij')
        rows = [grids[axis - 1].ravel() for axis in self.axes]
        return tf.constant(np.stack([*rows, np.ones_like(rows[0])]), logits.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[-1], len(self.axes)

    def get_config(self):
        return {**super().get_config(), 'axes': self.axes}


def _masses(logits):
    """Tensor `[batch, cells, joints]`, proportional to the softmax."""
    cells = tf.reshape(logits, [
        tf.shape(logits)[0], logits.shape[1:-1].num_elements() or -1,
        logits.shape[-1] or tf.shape(logits)[-1]])
    peak = tf.stop_gradient(tf.reduce_max(cells, axis=1, keepdims=True))
    return tf.exp(cells - peak)


def _unit_grid(size):
    return tf.range(tf.cast(size, tf.float32)) / tf.cast(tf.maximum(size - 1, 1), tf.float32)
