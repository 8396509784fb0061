"""A small plain residual trunk for detection, quicker on CPUs than depthwise-separable ones.

Dense 3x3 convolutions with ReLU (He et al., CVPR 2016) and a top-down path (Lin et al., CVPR
2017). Residual blocks start as the identity, so that a finished network can be given more.
"""

import keras

from metro_tf import checks
from metro_tf.backbones import residual

# Channels and residual blocks at strides 2, 4, 8, 16, 32.
CHANNELS = (16, 24, 40, 80, 128)
N_BLOCKS = (0, 0, 1, 2, 2)
# Index of stride 8 in them, that of the output.
_I_OUTPUT = 2


def build_trunk(n_output_channels=64, channels=CHANNELS, n_blocks=N_BLOCKS, bn_momentum=0.98):
    """Builds the trunk with its top-down path to stride 8.

    Strided kernels are 4 px wide with one pixel of padding on each side, so the grid is symmetric:
    cell i has the centre of its receptive field at pixel `8 i + 3.5`, the middle of its 8 pixels.

    Args:
        n_output_channels: Channels of the output.
        channels: Five integers, channels at strides 2, 4, 8, 16 and 32.
        n_blocks: Five integers, residual blocks at these strides.
        bn_momentum: Momentum of the running batch statistics.

    Returns:
        `keras.Model` from images `[batch, height, width, 3]` in [0, 1], sides multiples of 32, to
        features `[batch, height / 8, width / 8, n_output_channels]`.

    Raises:
        ValueError: If there are not five `channels` and `n_blocks`.
    """
    for name, value in (('channels', channels), ('n_blocks', n_blocks)):
        if len(value) != len(CHANNELS):
            raise ValueError(
                f'`{name}` must have {len(CHANNELS)} values. Received: {name}={value}')
    checks.positive(n_output_channels, 'n_output_channels')
    images = keras.Input((None, None, 3), name='images')
    x = keras.layers.Rescaling(2.0, offset=-1.0, name='scale_input')(images)
    levels = []
    for i_level, (n_channels, n) in enumerate(zip(channels, n_blocks)):
        x = conv_norm_relu(x, n_channels, f'down_{i_level}', 4, 2, bn_momentum)
        for i_block in range(n):
            x = residual.residual_block(
                x, n_channels, f'level_{i_level}_block{i_block}', {'momentum': bn_momentum})
        levels.append(x)
    x = _lateral(levels[-1], n_output_channels, len(levels) - 1, bn_momentum)
    for i_level in range(len(levels) - 2, _I_OUTPUT - 1, -1):
        x = keras.layers.UpSampling2D(2, name=f'up_{i_level}')(x)
        lateral = _lateral(levels[i_level], n_output_channels, i_level, bn_momentum)
        x = keras.layers.Add(name=f'merge_{i_level}')([x, lateral])
    x = keras.layers.ReLU(name='merged')(x)
    x = conv_norm_relu(x, n_output_channels, 'refine', 3, 1, bn_momentum)
    return keras.Model(images, x, name='trunk')


def conv_norm_relu(x, n_channels, name, kernel_size, stride, bn_momentum, has_relu=True):
    """Convolution without bias, batch normalisation and, if wanted, ReLU."""
    x = keras.layers.Conv2D(
        n_channels, kernel_size, stride, padding='same', use_bias=False, name=f'{name}_conv')(x)
    x = keras.layers.BatchNormalization(momentum=bn_momentum, name=f'{name}_norm')(x)
    return keras.layers.ReLU(name=f'{name}_relu')(x) if has_relu else x


def _lateral(x, n_channels, i_level, bn_momentum):
    return conv_norm_relu(x, n_channels, f'lateral_{i_level}', 1, 1, bn_momentum, has_relu=False)
