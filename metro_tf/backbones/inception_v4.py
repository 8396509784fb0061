"""The first seven modules of Inception-v4 (Szegedy et al., AAAI 2017), to stride 8.

Unlike the published network, every convolution is padded by half its kernel, so that sides stay
powers of two (Nibali et al., WACV 2019). Layers are named as in the widespread PyTorch weights.
"""

import keras

from metro_tf.backbones import published_layers

# Epsilon of the published batch normalisations.
EPSILON = 1e-3


def first_modules(x):
    """Symbolic images `[batch, y, x, 3]` to features `[batch, y / 8, x / 8, 384]`."""
    x = _conv(x, 32, 3, 'features.0', stride=2)
    x = _conv(x, 32, 3, 'features.1')
    x = _conv(x, 64, 3, 'features.2')
    x = keras.layers.Concatenate(name='features_3')([
        published_layers.max_pool(x, 'features.3.maxpool'),
        _conv(x, 96, 3, 'features.3.conv', stride=2)])
    x = _mixed_4a(x, 'features.4')
    x = keras.layers.Concatenate(name='features_5')([
        _conv(x, 192, 3, 'features.5.conv', stride=2),
        published_layers.max_pool(x, 'features.5.maxpool')])
    return _inception_a(x, 'features.6')


def _mixed_4a(x, name):
    return keras.layers.Concatenate(name=name.replace('.', '_'))([
        _conv_chain(x, ((64, 1), (96, 3)), f'{name}.branch0'),
        _conv_chain(x, ((64, 1), (64, (1, 7)), (64, (7, 1)), (96, 3)), f'{name}.branch1')])


def _inception_a(x, name):
    # TensorFlow's `same` pooling leaves the padded cells out of the average, as published.
    pooled = keras.layers.AveragePooling2D(
        3, strides=1, padding='same', name=f'{name}.branch3.0'.replace('.', '_'))(x)
    return keras.layers.Concatenate(name=name.replace('.', '_'))([
        _conv(x, 96, 1, f'{name}.branch0'),
        _conv_chain(x, ((64, 1), (96, 3)), f'{name}.branch1'),
        _conv_chain(x, ((64, 1), (96, 3), (96, 3)), f'{name}.branch2'),
        _conv(pooled, 96, 1, f'{name}.branch3.1')])


def _conv_chain(x, settings, name):
    for i, (n_channels, kernel_size) in enumerate(settings):
        x = _conv(x, n_channels, kernel_size, f'{name}.{i}')
    return x


def _conv(x, n_channels, kernel_size, name, stride=1):
    x = published_layers.conv_norm(
        x, n_channels, kernel_size, (f'{name}.conv', f'{name}.bn'), stride=stride, epsilon=EPSILON)
    return keras.layers.ReLU(name=f'{name}.relu'.replace('.', '_'))(x)
