"""EfficientNetV2-S (Tan and Le, ICML 2021)."""

import keras

from metro_tf.backbones import family, striding


def _make():
    side = striding.ANALYSIS_SIDE_PX
    return keras.applications.EfficientNetV2S(
        input_shape=(side, side, 3), include_top=False, weights=None, include_preprocessing=True)


SMALL = family.Family(
    _make,
    scaling={'scale': 2.0, 'means': (1.0, 1.0, 1.0)},
    taps={4: 'block2d_add', 8: 'block3d_add', 16: 'block5i_add'})
