"""MobileNetV3 small and large (Howard et al., ICCV 2019)."""

import functools

import keras

from metro_tf.backbones import family, striding


def _make(application):
    side = striding.ANALYSIS_SIDE_PX
    return application(
        input_shape=(side, side, 3), include_top=False, weights=None, include_preprocessing=True)


SMALL = family.Family(
    functools.partial(_make, keras.applications.MobileNetV3Small),
    scaling={'scale': 2.0, 'means': (1.0, 1.0, 1.0)},
    taps={4: 'expanded_conv_project_bn', 8: 'expanded_conv_2_add', 16: 'expanded_conv_7_add'})

LARGE = family.Family(
    functools.partial(_make, keras.applications.MobileNetV3Large),
    scaling={'scale': 2.0, 'means': (1.0, 1.0, 1.0)},
    taps={4: 'expanded_conv_2_add', 8: 'expanded_conv_5_add', 16: 'expanded_conv_11_add'})
