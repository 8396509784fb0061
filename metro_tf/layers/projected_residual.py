"""Residual blocks whose shortcut is always a convolution."""

import keras
import tensorflow as tf

from metro_tf import checks

RESAMPLINGS = ('none', 'down', 'up')
# Those of the published code, in the terms of Keras.
NORM_SETTINGS = {'momentum': 0.9, 'epsilon': 1e-5}


@keras.utils.register_keras_serializable(package='metro_tf')
class ProjectedResidualBlock(keras.layers.Layer):
    """Two 3x3 convolutions plus a 1x1 one as the shortcut, also where the shape does not change.

    The sum of convolution, normalisation, ReLU, convolution, normalisation, ReLU, and of 1x1
    convolution, normalisation. Nothing follows the sum, so the result may be negative through
    the shortcut. There are no biases.

    Strided operations are centred as symmetric padding centres them: output cell i of `down` lies
    on input cell 2 i, and input cell i on output cell 2 i of `up`. The shortcut of `up` is zero in
    between, before its normalisation.

    Source: Nibali et al., WACV 2019; the shortcuts are option C of He et al., CVPR 2016.

    Args:
        n_channels: Number of output channels.
        resampling: 'none', 'down' (half as many rows and columns) or 'up' (twice as many).
        **kwargs: Base layer arguments.

    Call arguments:
        features: Tensor `[batch, y, x, channels]`.
        training: Boolean.

    Returns:
        Tensor `[batch, y, x, n_channels]`, `[batch, y / 2, x / 2, n_channels]` rounded up, or
        `[batch, 2 y, 2 x, n_channels]`.
    """

    def __init__(self, n_channels, resampling='none', **kwargs):
        super().__init__(**kwargs)
        self.n_channels = checks.positive(n_channels, 'n_channels')
        self.resampling = checks.one_of(resampling, RESAMPLINGS, 'resampling')
        self.conv_in = self._make_conv_in()
        self.norm_in = self._make_norm('norm_in')
        self.conv_out = self._make_conv(3, 'conv_out', padding='same')
        self.norm_out = self._make_norm('norm_out')
        # A transposed 1x1 kernel is drawn by its inputs, as its 3x3 companion.
        self.shortcut_conv = self._make_conv(
            1, 'shortcut_conv', kernel_initializer=kaiming_normal(
                'fan_in' if resampling == 'up' else 'fan_out'))
        self.shortcut_norm = self._make_norm('shortcut_norm')

    def build(self, input_shape):
        features = tuple(input_shape)
        inner = (*features[:-1], self.n_channels)
        for layer, shape in (
                (self.conv_in, features), (self.norm_in, inner), (self.conv_out, inner),
                (self.norm_out, inner), (self.shortcut_conv, features),
                (self.shortcut_norm, inner)):
            # The sides matter to none of the weights, and only the first is known.
            layer.build((shape[0], None, None, shape[-1]))
        super().build(input_shape)

    def call(self, features, training=False):
        main = tf.nn.relu(self.norm_in(self._first_conv(features), training=training))
        main = tf.nn.relu(self.norm_out(self.conv_out(main), training=training))
        shortcut = self.shortcut_norm(self._shortcut(features), training=training)
        return main + shortcut

    def _first_conv(self, features):
        if self.resampling == 'down':
            return self.conv_in(tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]]))
        if self.resampling == 'up':
            return self.conv_in(features)[:, 1:, 1:]
        return self.conv_in(features)

    def _shortcut(self, features):
        # Not by strides of the 1x1 convolution: that gradient writes outside its memory in TF 2.15.
        if self.resampling == 'down':
            return self.shortcut_conv(features[:, ::2, ::2])
        projected = self.shortcut_conv(features)
        return spread(projected) if self.resampling == 'up' else projected

    def _make_conv_in(self):
        if self.resampling == 'up':
            return keras.layers.Conv2DTranspose(
                self.n_channels, 3, strides=2, padding='valid', use_bias=False, name='conv_in',
                kernel_initializer=kaiming_normal(), dtype=self.dtype_policy)
        if self.resampling == 'down':
            return self._make_conv(3, 'conv_in', strides=2, padding='valid')
        return self._make_conv(3, 'conv_in', padding='same')

    def _make_conv(self, kernel_size, name, **kwargs):
        kwargs.setdefault('kernel_initializer', kaiming_normal())
        return keras.layers.Conv2D(
            self.n_channels, kernel_size, use_bias=False, name=name, dtype=self.dtype_policy,
            **kwargs)

    def _make_norm(self, name):
        return keras.layers.BatchNormalization(
            name=name, dtype=self.dtype_policy, **NORM_SETTINGS)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = tuple(input_shape)
        return (batch, *(self._output_size(size) for size in (height, width)), self.n_channels)

    def _output_size(self, size):
        if size is None or self.resampling == 'none':
            return size
        return -(-size // 2) if self.resampling == 'down' else 2 * size

    def get_config(self):
        return {
            **super().get_config(), 'n_channels': self.n_channels, 'resampling': self.resampling}


def kaiming_normal(mode='fan_out'):
    """Initialiser of kernels before a ReLU: normal with variance 2 / (channels * kernel cells).

    Args:
        mode: Whose channels: 'fan_out' of the convolution's output, 'fan_in' of its input. For
            transposed convolutions Keras has them the other way round, as the published code.
    """
    return keras.initializers.VarianceScaling(2.0, mode, 'untruncated_normal')


def spread(features):
    """Puts every cell on an even row and column, with zeros on the odd ones.

    Args:
        features: Tensor `[batch, y, x, channels]`.

    Returns:
        Tensor `[batch, 2 y, 2 x, channels]`.
    """
    _, height, width, n_channels = (
        size or tf.shape(features)[i] for i, size in enumerate(features.shape))
    cells = features[:, :, tf.newaxis, :, tf.newaxis]
    padded = tf.pad(cells, [[0, 0], [0, 0], [0, 1], [0, 0], [0, 1], [0, 0]])
    return tf.reshape(padded, [-1, 2 * height, 2 * width, n_channels])
