"""EfficientNetV2-S, -M and -L (Tan and Le, ICML 2021)."""

import functools

import keras

from metro_tf.backbones import family, striding

_SCALING = {'scale': 2.0, 'means': (1.0, 1.0, 1.0)}


def _make(application):
    side = striding.ANALYSIS_SIDE_PX
    return application(
        input_shape=(side, side, 3), include_top=False, weights=None, include_preprocessing=True)


SMALL = family.Family(
    functools.partial(_make, keras.applications.EfficientNetV2S), scaling=_SCALING,
    taps={4: 'block2d_add', 8: 'block3d_add', 16: 'block5i_add'})

MEDIUM = family.Family(
    functools.partial(_make, keras.applications.EfficientNetV2M), scaling=_SCALING,
    taps={4: 'block2e_add', 8: 'block3e_add', 16: 'block5n_add'})

LARGE = family.Family(
    functools.partial(_make, keras.applications.EfficientNetV2L), scaling=_SCALING,
    taps={4: 'block2g_add', 8: 'block3g_add', 16: 'block5s_add'})
