"""MobileNetV3 small and large (Howard et al., ICCV 2019).

Those with a number of channels in the name have the published last layer besides, a 1x1
convolution to that many channels, on all cells. Old versions of `keras.applications` counted it to
the network, newer ones count it to the top. MeTRAbs has it.
"""

import functools

import keras

from metro_tf.backbones import family, striding

_SCALING = {'scale': 2.0, 'means': (1.0, 1.0, 1.0)}
_SMALL_TAPS = {4: 'expanded_conv_project_bn', 8: 'expanded_conv_2_add', 16: 'expanded_conv_7_add'}
_LARGE_TAPS = {4: 'expanded_conv_2_add', 8: 'expanded_conv_5_add', 16: 'expanded_conv_11_add'}
# TensorFlow's `same` at even sizes, with which the first convolution of MeTRAbs was trained.
_SAME = (0, 1)


def _make(application):
    side = striding.ANALYSIS_SIDE_PX
    return application(
        input_shape=(side, side, 3), include_top=False, weights=None, include_preprocessing=True)


def _make_with_last_layer(application, n_channels):
    network = _make(application)
    features = keras.layers.Conv2D(n_channels, 1, name='Conv_2')(network.output)
    gate = keras.layers.Rescaling(1.0, 3.0, name='Conv_2_shift')(features)
    gate = keras.layers.Rescaling(1 / 6, name='Conv_2_scale')(
        keras.layers.ReLU(6.0, name='Conv_2_relu')(gate))
    features = keras.layers.Multiply(name='Conv_2_hard_swish')([features, gate])
    return keras.Model(network.input, features, name=f'{network.name}_{n_channels}')


SMALL = family.Family(
    functools.partial(_make, keras.applications.MobileNetV3Small), scaling=_SCALING,
    taps=_SMALL_TAPS)

LARGE = family.Family(
    functools.partial(_make, keras.applications.MobileNetV3Large), scaling=_SCALING,
    taps=_LARGE_TAPS)

SMALL_1024 = family.Family(
    functools.partial(_make_with_last_layer, keras.applications.MobileNetV3Small, 1024),
    scaling=_SCALING, taps=_SMALL_TAPS, first_padding=_SAME)

LARGE_1280 = family.Family(
    functools.partial(_make_with_last_layer, keras.applications.MobileNetV3Large, 1280),
    scaling=_SCALING, taps=_LARGE_TAPS, first_padding=_SAME)
