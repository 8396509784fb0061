"""Points as affine combinations of other points: latent points of a skeleton, and back."""

import keras
import numpy as np
import tensorflow as tf

from metro_tf import checks


@keras.utils.register_keras_serializable(package='metro_tf')
class AffineCombination(keras.layers.Layer):
    """Every output point is a weighted mean of the input points, with weights that sum to 1.

    Weights may be negative. Since they sum to 1, moving, turning, scaling or shearing the input
    does the same to the output. Results are float32 under any dtype policy.

    With mirror mappings, weights are tied so that the mirrored input gives the mirrored output:
    with points in the order left, right, central, the matrix of the weights has the blocks
    [[s, q, x], [q, s, x], [c, c, z]].

    Source: the encoder and the decoder of Sarandi et al., WACV 2023.

    Args:
        n_inputs, n_outputs: Numbers of points.
        mirror_inputs, mirror_outputs: Mirror mappings of the points (see `skeleton.Skeleton`), or
            None for both, which ties nothing.
        **kwargs: Base layer arguments. `trainable=False` keeps given weights fixed.

    Call arguments:
        points: Float tensor `[..., n_inputs, coords]`, any unit.

    Returns:
        Float32 tensor `[..., n_outputs, coords]`.
    """

    def __init__(self, n_inputs, n_outputs, mirror_inputs=None, mirror_outputs=None, **kwargs):
        kwargs.setdefault('dtype', 'float32')
        super().__init__(**kwargs)
        self.n_inputs = checks.positive(n_inputs, 'n_inputs')
        self.n_outputs = checks.positive(n_outputs, 'n_outputs')
        if (mirror_inputs is None) != (mirror_outputs is None):
            raise ValueError(
                '`mirror_inputs` and `mirror_outputs` must be given together. Received: '
                f'mirror_inputs={mirror_inputs}, mirror_outputs={mirror_outputs}')
        self.mirror_inputs = _checked_mirror(mirror_inputs, n_inputs, 'mirror_inputs')
        self.mirror_outputs = _checked_mirror(mirror_outputs, n_outputs, 'mirror_outputs')
        self._tied = _tied_entries(
            self.mirror_inputs or range(n_inputs), self.mirror_outputs or range(n_outputs))

    def build(self, input_shape=None):
        self.raw_weights = self.add_weight(
            name='raw_weights', shape=(int(self._tied.max()) + 1,),
            initializer=keras.initializers.RandomUniform(-0.1, 1.0))
        super().build(input_shape)

    def matrix(self):
        """Float32 tensor `[n_inputs, n_outputs]` of the weights; columns sum to 1."""
        raw = tf.gather(tf.convert_to_tensor(self.raw_weights), self._tied)
        return raw / tf.reduce_sum(raw, axis=0, keepdims=True)

    def set_matrix(self, matrix):
        """Takes over given weights.

        Args:
            matrix: Float array `[n_inputs, n_outputs]`; columns sum to 1.

        Raises:
            ValueError: If the shape or a sum is wrong, or the matrix lacks the tied symmetry.
        """
        matrix = np.asarray(matrix, np.float32)
        if matrix.shape != self._tied.shape or np.abs(matrix.sum(axis=0) - 1).max() > 1e-3:
            raise ValueError(
                f'`matrix` must have the shape {self._tied.shape} and columns that sum to 1. '
                f'Received: shape {matrix.shape}, sums {matrix.sum(axis=0)}')
        raw = np.zeros(int(self._tied.max()) + 1, np.float32)
        raw[self._tied] = matrix
        if np.abs(raw[self._tied] - matrix).max() > 1e-3:
            raise ValueError(
                '`matrix` must give mirrored outputs for mirrored inputs. Received: entries that '
                f'differ by up to {np.abs(raw[self._tied] - matrix).max():.4g}')
        self.set_weights([raw])

    def call(self, points):
        points = checks.last_axes(points, (self.n_inputs, None), 'points', tf.float32)
        return tf.einsum('...ic,io->...oc', points, self.matrix())

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-2], self.n_outputs, input_shape[-1])

    def get_config(self):
        return {
            **super().get_config(), 'n_inputs': self.n_inputs, 'n_outputs': self.n_outputs,
            'mirror_inputs': self.mirror_inputs, 'mirror_outputs': self.mirror_outputs}


def latent_mirror_mapping(n_pairs, n_central):
    """Mirror mapping of latent points in the order left, right, central.

    Args:
        n_pairs: Number of latent points on each side.
        n_central: Number of latent points in the middle.

    Returns:
        Tuple of `2 * n_pairs + n_central` ints. The published 48 points are 20 pairs and 8.
    """
    left, right = range(n_pairs), range(n_pairs, 2 * n_pairs)
    return (*right, *left, *range(2 * n_pairs, 2 * n_pairs + n_central))


def _checked_mirror(mapping, n_points, name):
    if mapping is None:
        return None
    mapping = tuple(int(i) for i in mapping)
    if len(mapping) != n_points or any(
            not 0 <= j < n_points or mapping[j] != i for i, j in enumerate(mapping)):
        raise ValueError(
            f'`{name}` must map each of {n_points} points to its partner and back. '
            f'Received: {name}={mapping}')
    return mapping


def _tied_entries(mirror_inputs, mirror_outputs):
    """Int array `[n_inputs, n_outputs]`: which free number stands in each place of the matrix."""
    mirror_inputs, mirror_outputs = list(mirror_inputs), list(mirror_outputs)
    places = np.arange(len(mirror_inputs) * len(mirror_outputs)).reshape(
        len(mirror_inputs), len(mirror_outputs))
    mirrored = places[mirror_inputs][:, mirror_outputs]
    _, numbers = np.unique(np.minimum(places, mirrored), return_inverse=True)
    return numbers.reshape(places.shape).astype(np.int32)
