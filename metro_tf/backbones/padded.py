"""Convolutions and pooling with explicit padding, which place the sampling grid exactly.

TensorFlow's `same` pads strided operations unevenly, depending on the size of the input. Here the
zeros (or crops) before and after are given, so that the centre of the first output cell is known.
"""

import keras
import tensorflow as tf


def pad_image(images, padding):
    """Adds zero rows and columns, or removes them.

    Args:
        images: Tensor `[batch, y, x, channels]`.
        padding: Pair (before, after), for both axes alike. A negative number is a crop.

    Returns:
        Tensor `[batch, y + before + after, x + before + after, channels]`.
    """
    crop_before, crop_after = (max(0, -amount) for amount in padding)
    if crop_before or crop_after:
        end = -crop_after or None
        images = images[:, crop_before:end, crop_before:end]
    amounts = [max(0, amount) for amount in padding]
    return tf.pad(images, [[0, 0], amounts, amounts, [0, 0]]) if any(amounts) else images


def _padded_shape(input_shape, padding):
    batch, height, width, channels = tuple(input_shape)
    height, width = (None if size is None else size + sum(padding) for size in (height, width))
    return batch, height, width, channels


@keras.utils.register_keras_serializable(package='metro_tf')
class PaddedConv2D(keras.layers.Conv2D):
    """`Conv2D` on an explicitly padded input.

    Args:
        filters: See `keras.layers.Conv2D`.
        kernel_size: See `keras.layers.Conv2D`.
        explicit_padding: Pair (before, after) as in `pad_image`. The convolution itself is
            `valid`.
        input_step: The convolution takes every so-manieth row and column of the padded input.
            For a 1x1 kernel this equals a stride, whose gradient writes outside its memory in
            TF 2.15 with oneDNN.
        **kwargs: Arguments of `keras.layers.Conv2D`.

    Call arguments:
        inputs: Tensor `[batch, y, x, channels]`.
    """

    def __init__(self, filters, kernel_size, explicit_padding=(0, 0), input_step=1, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        self.explicit_padding = tuple(explicit_padding)
        self.input_step = input_step

    def convolution_op(self, inputs, kernel):
        """Pads and thins out the image, then convolves; a hook of both Keras versions."""
        # Not in `call`, where some Keras versions compare the output with the input's shape.
        inputs = pad_image(inputs, self.explicit_padding)
        if self.input_step > 1:
            inputs = inputs[:, ::self.input_step, ::self.input_step]
        return super().convolution_op(inputs, kernel)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = _padded_shape(input_shape, self.explicit_padding)
        height, width = (
            None if size is None else -(-size // self.input_step) for size in (height, width))
        return super().compute_output_shape((batch, height, width, channels))

    def get_config(self):
        return {
            **super().get_config(), 'explicit_padding': self.explicit_padding,
            'input_step': self.input_step}


@keras.utils.register_keras_serializable(package='metro_tf')
class PaddedDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`DepthwiseConv2D` on an explicitly padded input.

    Args:
        kernel_size: See `keras.layers.DepthwiseConv2D`.
        explicit_padding: Pair (before, after) as in `pad_image`. The convolution itself is
            `valid`.
        **kwargs: Arguments of `keras.layers.DepthwiseConv2D`.

    Call arguments:
        inputs: Tensor `[batch, y, x, channels]`.
    """

    def __init__(self, kernel_size, explicit_padding=(0, 0), **kwargs):
        super().__init__(kernel_size, **kwargs)
        self.explicit_padding = tuple(explicit_padding)

    def call(self, inputs):
        return super().call(pad_image(inputs, self.explicit_padding))

    def compute_output_shape(self, input_shape):
        return super().compute_output_shape(_padded_shape(input_shape, self.explicit_padding))

    def get_config(self):
        return {**super().get_config(), 'explicit_padding': self.explicit_padding}


@keras.utils.register_keras_serializable(package='metro_tf')
class PaddedMaxPooling2D(keras.layers.MaxPooling2D):
    """`MaxPooling2D` on an input padded with explicit zeros.

    The padding is zero and not minus infinity, since the published ResNets were trained so.

    Args:
        pool_size: See `keras.layers.MaxPooling2D`.
        explicit_padding: Pair (before, after) as in `pad_image`. The pooling itself is `valid`.
        **kwargs: Arguments of `keras.layers.MaxPooling2D`.

    Call arguments:
        inputs: Tensor `[batch, y, x, channels]`.
    """

    def __init__(self, pool_size, explicit_padding=(0, 0), **kwargs):
        super().__init__(pool_size, **kwargs)
        self.explicit_padding = tuple(explicit_padding)

    def call(self, inputs):
        return super().call(pad_image(inputs, self.explicit_padding))

    def compute_output_shape(self, input_shape):
        return super().compute_output_shape(_padded_shape(input_shape, self.explicit_padding))

    def get_config(self):
        return {**super().get_config(), 'explicit_padding': self.explicit_padding}
