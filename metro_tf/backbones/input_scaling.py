"""From images in [0, 1] to what a published network was trained on."""

import keras
import tensorflow as tf


@keras.utils.register_keras_serializable(package='metro_tf')
class InputScaling(keras.layers.Layer):
    """Scales and shifts the colour channels: `scale * image - means`.

    The layer defaults to float32 under any dtype policy, and the layer after it rounds. Rounding
    the image before the means are subtracted would lose precision around grey, where the
    difference is small. The same loss in all pixels of an even area does not average out.

    Args:
        scale: Number that multiplies the image.
        means: Three numbers that are subtracted, in the order of the output's channels.
        is_bgr: Whether the output's channels are in the order blue, green, red, as in networks
            that come from Caffe. The means are then those of blue, green, red.
        **kwargs: Base layer arguments.

    Call arguments:
        image: Float tensor `[batch, y, x, 3]`, RGB in `[0, 1]`.

    Returns:
        Tensor of the same shape.
    """

    def __init__(self, scale=2.0, means=(1.0, 1.0, 1.0), is_bgr=False, **kwargs):
        kwargs.setdefault('dtype', 'float32')
        super().__init__(**kwargs)
        if len(means) != 3:
            raise ValueError(f'`means` must be three numbers. Received: means={means}')
        self.scale = scale
        self.means = tuple(means)
        self.is_bgr = is_bgr

    def call(self, image):
        image = image[..., ::-1] if self.is_bgr else image
        return image * self.scale - tf.cast(self.means, image.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(), 'scale': self.scale, 'means': self.means,
            'is_bgr': self.is_bgr}
