"""Backbones by name: image crops to a feature map whose cells lie centred in the image."""

import os

from metro_tf import checks
from metro_tf.backbones import compact_resnet, efficientnet_v2, mobilenet_v3, resnet, striding

FAMILIES = {
    'compact_resnet': compact_resnet.COMPACT_RESNET,
    'mobilenet_v3_small': mobilenet_v3.SMALL,
    'mobilenet_v3_large': mobilenet_v3.LARGE,
    'mobilenet_v3_small_1024': mobilenet_v3.SMALL_1024,
    'mobilenet_v3_large_1280': mobilenet_v3.LARGE_1280,
    'resnet50': resnet.RESNET50,
    'resnet50_v2': resnet.RESNET50_V2,
    'efficientnet_v2_s': efficientnet_v2.SMALL,
    'efficientnet_v2_m': efficientnet_v2.MEDIUM,
    'efficientnet_v2_l': efficientnet_v2.LARGE}


def build_backbone(
        name, output_stride=32, weights=None, input_shape=(None, None, 3), *, bn_momentum=None,
        centred_stride=None, test_stride=None):
    """Builds a backbone with a selectable output stride.

    Cell i of the output has the centre of its receptive field at pixel
    `output_stride * i + output_stride / 2` (integer pixel centres), which is what the heatmap
    layers assume; it is one pixel further in MobileNetV3 with the last layer, which was trained
    like that. The same weights fit every stride; smaller strides cost more computation.

    Args:
        name: A key of `FAMILIES`.
        output_stride: 32, 16, 8 or 4.
        weights: None for new weights, or the path of a Keras weights file of this backbone (its
            own, or of the model of `keras.applications` without its top).
        input_shape: Shape of an image, without the batch. Sizes may be None. Sizes should be
            multiples of `output_stride`.
        bn_momentum: If given, replaces the momentum of all batch normalisations. The published
            0.999 of MobileNetV3 is too slow for short trainings; ours use 0.98.
        centred_stride: If given, the stride whose cells are centred instead of the output's
            (see `striding`): the finest one, if features of several strides are combined. With
            0 nothing is shifted, and cell i sees pixel `output_stride * i`.
        test_stride: If given, the output's stride when not in training, with the same weights;
            `output_stride` is that of training. For the ResNets only.

    Returns:
        Functional model from float images `[batch, y, x, 3]`, RGB in `[0, 1]`, to features
        `[batch, y / output_stride, x / output_stride, channels]`.

    Raises:
        ValueError: If the name or stride is unknown, the network does not offer two strides, or
            the weights are missing or do not fit.
    """
    checks.one_of(name, FAMILIES, 'name')
    chosen = FAMILIES[name]
    network = chosen.make_network()
    backbone = striding.restride(
        network, chosen.scaling, input_shape, output_stride=output_stride,
        centred_stride=centred_stride, test_stride=test_stride, bn_momentum=bn_momentum,
        first_padding=chosen.first_padding)
    if weights is not None:
        _load_weights(backbone, network, name, weights)
    return backbone


def _load_weights(backbone, network, name, path):
    """Tries the file as one of the rebuilt backbone, then as one of the published network."""
    if not os.path.isfile(path):
        raise ValueError(
            f'`weights` must be None or the path of a weights file. Received: weights={path}')
    try:
        backbone.load_weights(path)
    except Exception:  # the kind depends on the Keras version and on what does not fit
        try:
            network.load_weights(path)
        except Exception as error:
            raise ValueError(
                f'`weights` must be a Keras weights file that fits {name}. '
                f'Received: weights={path}, which failed with: {error}') from error
        backbone.set_weights(network.get_weights())
