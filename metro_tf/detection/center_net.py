"""The detector's network: every cell of a grid says whether a person's centre is here, and where.

After Zhou et al., "Objects as Points" (2019), with boxes predicted around the whole centre region
as in Liu et al., "Training-Time-Friendly Network for Real-Time Object Detection" (AAAI 2020).
"""

import pathlib

import keras
import numpy as np

from metro_tf import releases, weights
from metro_tf.backbones import residual
from metro_tf.detection import trunk

STRIDE_PX = 8
# Every cell begins with the score 0.02, so that the many empty ones do not dominate at first.
_INITIAL_LOGIT = -4.0
# log(64 px / 8 px)
_INITIAL_LOG_SIZE = 2.0


def build_center_net(
        n_channels=64, trunk_channels=trunk.CHANNELS, n_blocks=trunk.N_BLOCKS, n_head_blocks=0,
        bn_momentum=0.98):
    """Builds the network.

    Args:
        n_channels: Channels of the top-down path and of the head.
        trunk_channels: Five integers, channels of the trunk at strides 2, 4, 8, 16 and 32.
        n_blocks: Five integers, residual blocks at these strides.
        n_head_blocks: Residual blocks between trunk and outputs, at stride 8.
        bn_momentum: Momentum of the running batch statistics.

    Returns:
        `keras.Model` from images `[batch, height, width, 3]` in [0, 1], sides multiples of 32, to
        a dict of float32 grids `[batch, height / 8, width / 8, ...]`: `logits` [1], whose sigmoid
        is the score; `offset` [2] and `log_size` [2] (see `decoding`).
    """
    images = keras.Input((None, None, 3), name='images')
    features = trunk.build_trunk(n_channels, trunk_channels, n_blocks, bn_momentum)(images)
    for i_block in range(n_head_blocks):
        features = residual.residual_block(
            features, n_channels, f'head_block{i_block}', {'momentum': bn_momentum})
    outputs = {
        'logits': _output(1, 'logits', _INITIAL_LOGIT)(features),
        'offset': _output(2, 'offset', 0.0)(features),
        'log_size': _output(2, 'log_size', _INITIAL_LOG_SIZE)(features)}
    return keras.Model(images, outputs, name='center_net')


def describe(center_net):
    """What `load` needs to build the like of a network.

    Args:
        center_net: Model of `build_center_net`.

    Returns:
        Dict of JSON types: the arguments of `build_center_net`, under the key `center_net`.
    """
    inner = center_net.get_layer('trunk')
    names = [layer.name for layer in (*inner.layers, *center_net.layers)]
    levels = range(len(trunk.CHANNELS))

    def count_blocks(prefix):
        return sum(name.startswith(prefix) and name.endswith('_first_conv') for name in names)

    return {'center_net': {
        'n_channels': inner.get_layer('refine_conv').filters,
        'trunk_channels': [inner.get_layer(f'down_{i}_conv').filters for i in levels],
        'n_blocks': [count_blocks(f'level_{i}_block') for i in levels],
        'n_head_blocks': count_blocks('head_block'),
        'bn_momentum': inner.get_layer('down_0_norm').momentum}}


def load(name_or_path='default'):
    """Loads a network with its weights.

    Args:
        name_or_path: Name of a model that comes with the package, optionally with a version
            (`default`, `default/6`); the path of an export whose weights lie beside it; that of
            the NPZ file with the weights of a detector, or of its folder; or that of a `.keras`
            file that the same Keras version wrote.

    Returns:
        `keras.Model` as `build_center_net` makes it, not compiled.

    Raises:
        ValueError: If there is no such model, it comes without the weights of a detector, or its
            file is damaged, of another Keras version or holds something else.
    """
    path = releases.find_weights(name_or_path, releases.DETECTOR)
    if pathlib.Path(path).suffix != '.npz':
        return weights.load_keras_file(path)
    description, arrays = weights.read(path)
    try:
        center_net = build_center_net(**description['center_net'])
    except (KeyError, TypeError) as error:
        raise ValueError(
            '`name_or_path` must hold the weights of a detector of this version of the package. '
            f'Received: {path} with {sorted(description)}') from error
    weights.assign(center_net, arrays, path)
    return center_net


def shift_logits(center_net, shift):
    """Adds a constant to all logits, so that a chosen score becomes the default threshold.

    Scores keep their order: this changes which number a score gets, not what is found.

    Args:
        center_net: Model of `build_center_net`; changed in place.
        shift: Float.
    """
    layer = center_net.get_layer('logits')
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + np.float32(shift)])


def _output(n_channels, name, initial_value):
    return keras.layers.Conv2D(
        n_channels, 1, dtype='float32', name=name,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(initial_value))
