"""Residual blocks of dense 3x3 convolutions (He et al., CVPR 2016), which start as the identity."""

import keras


def residual_block(x, n_channels, name, norm_kwargs=None):
    """Two convolutions beside a shortcut; the last scale starts at 0, the block thus as identity.

    Args:
        x: Symbolic features `[batch, y, x, n_channels]`, not negative.
        n_channels: Number of channels, which stays the same.
        name: Start of the layers' names.
        norm_kwargs: Further arguments of the batch normalisations.
    """
    y = conv_norm(x, n_channels, f'{name}_first', norm_kwargs=norm_kwargs)
    y = keras.layers.ReLU(name=f'{name}_first_relu')(y)
    y = conv_norm(
        y, n_channels, f'{name}_second', gamma_initializer='zeros', norm_kwargs=norm_kwargs)
    return keras.layers.ReLU(name=f'{name}_relu')(keras.layers.Add(name=f'{name}_add')([x, y]))


def conv_norm(x, n_channels, name, stride=1, gamma_initializer='ones', norm_kwargs=None):
    """A 3x3 convolution without bias and a batch normalisation.

    Args:
        x: Symbolic features.
        n_channels: Channels of the result.
        name: Start of the layers' names.
        stride: Stride of the convolution.
        gamma_initializer: Initialiser of the normalisation's scale.
        norm_kwargs: Further arguments of the batch normalisation.
    """
    x = keras.layers.Conv2D(
        n_channels, 3, stride, padding='same', use_bias=False, kernel_initializer='he_normal',
        name=f'{name}_conv')(x)
    return keras.layers.BatchNormalization(
        gamma_initializer=gamma_initializer, name=f'{name}_norm', **(norm_kwargs or {}))(x)
