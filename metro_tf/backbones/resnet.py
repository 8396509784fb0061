"""ResNet-50, as first published (He et al., CVPR 2016) and with pre-activation (ECCV 2016)."""

import functools

import keras

from metro_tf.backbones import family, striding


def _make(application):
    side = striding.ANALYSIS_SIDE_PX
    return application(input_shape=(side, side, 3), include_top=False, weights=None)


# The published weights come from Caffe: channels blue, green, red in [0, 255] minus their means.
RESNET50 = family.Family(
    functools.partial(_make, keras.applications.ResNet50),
    scaling={'scale': 255.0, 'means': (103.939, 116.779, 123.68), 'is_bgr': True},
    taps={4: 'conv2_block3_out', 8: 'conv3_block4_out', 16: 'conv4_block6_out'})

# The last unit of each stage has the stride here, so the taps lie one unit earlier.
RESNET50_V2 = family.Family(
    functools.partial(_make, keras.applications.ResNet50V2),
    scaling={'scale': 2.0, 'means': (1.0, 1.0, 1.0)},
    taps={4: 'conv2_block2_out', 8: 'conv3_block3_out', 16: 'conv4_block5_out'})
