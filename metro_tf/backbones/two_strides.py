"""Operations that sample coarsely in training and finely otherwise, with the same weights.

MeTRAbs trains its ResNets at stride 32 and tests them at stride 4. A geometry is a dict: 'stride'
and 'dilation', integers, and 'padding', a pair (before, after) as in `padded.pad_image`.
"""

import keras
import tensorflow as tf

from metro_tf.backbones import padded


@keras.utils.register_keras_serializable(package='metro_tf')
class TwoStrideConv2D(keras.layers.Conv2D):
    """`Conv2D` with one geometry in training and another one otherwise.

    Args:
        filters: See `keras.layers.Conv2D`.
        kernel_size: See `keras.layers.Conv2D`.
        train_geometry, test_geometry: Dicts, see the module.
        **kwargs: Further arguments of `keras.layers.Conv2D`, without those of the geometry.

    Call arguments:
        inputs: Tensor `[batch, y, x, channels]`.
        training: Boolean.
    """

    def __init__(self, filters, kernel_size, train_geometry, test_geometry, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        self.train_geometry = dict(train_geometry)
        self.test_geometry = dict(test_geometry)

    def call(self, inputs, training=False):
        geometry = self.train_geometry if is_training(training) else self.test_geometry
        images, stride = _sampled(inputs, geometry, self.kernel_size[0])
        outputs = tf.nn.convolution(
            images, tf.convert_to_tensor(self.kernel), strides=stride, padding='VALID',
            dilations=geometry['dilation'])
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias))
        return self.activation(outputs)

    def compute_output_shape(self, input_shape):
        return input_shape[0], None, None, self.filters

    def get_config(self):
        return {
            **super().get_config(), 'train_geometry': _plain(self.train_geometry),
            'test_geometry': _plain(self.test_geometry)}


@keras.utils.register_keras_serializable(package='metro_tf')
class TwoStrideMaxPooling2D(keras.layers.Layer):
    """Maximum pooling with one geometry in training and another one otherwise, without dilation.

    As in `padded.PaddedMaxPooling2D`, the padding is zero.

    Args:
        pool_size: Integer, side of the window.
        train_geometry, test_geometry: Dicts, see the module.
        **kwargs: Base layer arguments.

    Call arguments:
        inputs: Tensor `[batch, y, x, channels]`.
        training: Boolean.
    """

    def __init__(self, pool_size, train_geometry, test_geometry, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = pool_size
        self.train_geometry = dict(train_geometry)
        self.test_geometry = dict(test_geometry)

    def call(self, inputs, training=False):
        geometry = self.train_geometry if is_training(training) else self.test_geometry
        images, stride = _sampled(inputs, geometry, self.pool_size)
        if self.pool_size == 1:
            return images
        return tf.nn.max_pool2d(images, self.pool_size, stride, 'VALID')

    def compute_output_shape(self, input_shape):
        return input_shape[0], None, None, input_shape[3]

    def get_config(self):
        return {
            **super().get_config(), 'pool_size': self.pool_size,
            'train_geometry': _plain(self.train_geometry),
            'test_geometry': _plain(self.test_geometry)}


def is_training(training):
    """Whether a `training` argument is true; Keras 2 gives a tensor while a model is defined."""
    return isinstance(training, (bool, int)) and bool(training)


def _plain(geometry):
    """Without the wrappers that Keras puts around attributes."""
    return {**geometry, 'padding': list(geometry['padding'])}


def _sampled(inputs, geometry, kernel_size):
    """The padded images, and the stride that is left for the operation itself.

    Windows of one pixel are strided by slicing (see `padded.PaddedConv2D`).
    """
    images, stride = padded.pad_image(inputs, geometry['padding']), geometry['stride']
    if kernel_size == 1 and stride > 1:
        images, stride = images[:, ::stride, ::stride], 1
    return images, stride
