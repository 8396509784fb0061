"""Exchange of an image axis with channels, which turns image features into those of a plane."""

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import cuboid


@keras.utils.register_keras_serializable(package='metro_tf')
class AxisPermutation(keras.layers.Layer):
    """Exchanges channels with columns or rows, so that convolutions work in another plane.

    The channels are cut into consecutive groups of as many as the square features have rows. In
    each group, for the plane zy, channels and columns change places: what was at (row h, column w,
    channel c) comes to (row h, column c, channel w). For the plane xz channels and rows do: it
    comes to (row c, column w, channel h). For xy nothing changes. Doing it twice undoes it.

    Source: Nibali et al., WACV 2019 (figure 5).

    Args:
        plane: One of `cuboid.PLANES`.
        **kwargs: Base layer arguments.

    Call arguments:
        features: Tensor `[batch, side, side, channels]`; `side` divides `channels`.

    Returns:
        Tensor of the same shape.
    """

    def __init__(self, plane, **kwargs):
        super().__init__(**kwargs)
        self.plane = checks.one_of(plane, cuboid.PLANES, 'plane')
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, features):
        if self.plane == 'xy':
            return features
        _check_groups(features.shape)
        side = features.shape[1] or features.shape[2] or tf.shape(features)[1]
        n_channels = features.shape[3] or tf.shape(features)[3]
        grouped = tf.reshape(features, [-1, side, side, n_channels // side, side])
        order = (0, 1, 4, 3, 2) if self.plane == 'zy' else (0, 4, 2, 3, 1)
        return tf.ensure_shape(
            tf.reshape(tf.transpose(grouped, order), [-1, side, side, n_channels]),
            features.shape)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), 'plane': self.plane}


def _check_groups(shape):
    height, width, n_channels = shape[1:]
    is_square = None in (height, width) or height == width
    side = height or width
    if not is_square or (side and n_channels and n_channels % side):
        raise ValueError(
            '`features` must be [batch, side, side, channels] where side divides channels. '
            f'Received: shape={shape}')
