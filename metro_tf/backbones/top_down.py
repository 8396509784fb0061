"""Fine features with wide context: coarse levels of a backbone are merged into finer ones."""

import keras

from metro_tf import checks
from metro_tf.backbones import builder, residual


def build_top_down(
        name, output_stride=8, n_channels=128, weights=None, input_shape=(None, None, 3), *,
        n_refinements=1, n_blocks=0, bn_momentum=None, centered=True):
    """Builds a backbone of stride 32 with a top-down path to a finer stride.

    The idea is that of feature pyramids (Lin et al., CVPR 2017), with one output: every level is
    brought to the same number of channels, the coarser is interpolated and added to the finer.
    This costs far less than dilation, since the late stages stay at stride 32.

    All levels share one grid offset: cell i of stride s sees pixel `s * i + output_stride / 2`,
    so of the twice as fine level, cell 2 i lies exactly on cell i and cell 2 i + 1 halfway to
    cell i + 1. The output is thus centred as the heatmap layers assume. Without centring, the
    offset is 0 at all levels.

    Args:
        name: A key of `builder.FAMILIES`.
        output_stride: 4, 8 or 16.
        n_channels: Channels of the merged features and of the output.
        weights: None or the path of a weights file of the backbone, without the top-down path.
        input_shape: Shape of an image, without the batch. Sizes may be None; they must be
            multiples of 32.
        n_refinements: Number of depthwise-separable 3x3 convolutions after the last merge.
        n_blocks: Number of residual blocks of dense 3x3 convolutions after these.
        bn_momentum: If given, the momentum of all batch normalisations.
        centered: Whether the output's cells are centred.

    Returns:
        Functional model from float images `[batch, y, x, 3]`, RGB in `[0, 1]`, to features
        `[batch, y / output_stride, x / output_stride, n_channels]`.

    Raises:
        ValueError: If the name or stride is unknown, or the weights are missing or do not fit.
    """
    checks.one_of(output_stride, (4, 8, 16), 'output_stride')
    checks.positive(n_channels, 'n_channels')
    backbone = builder.build_backbone(
        name, 32, weights, input_shape, bn_momentum=bn_momentum,
        centred_stride=output_stride if centered else 0)
    norm_kwargs = {} if bn_momentum is None else {'momentum': bn_momentum}
    features = _lateral(backbone.output, n_channels, 32, norm_kwargs)
    stride = 32
    while stride > output_stride:
        stride //= 2
        tap = find_layer(backbone, builder.FAMILIES[name].taps[stride]).output
        lateral = _lateral(tap, n_channels, stride, norm_kwargs)
        merged = keras.layers.Add(name=f'merge_{stride}')([lateral, _upsample(features, stride)])
        features = keras.layers.ReLU(name=f'merge_{stride}_relu')(merged)
    for i_refinement in range(n_refinements):
        features = _refine(features, n_channels, i_refinement, norm_kwargs)
    for i_block in range(n_blocks):
        features = residual.residual_block(
            features, n_channels, f'top_down_block{i_block}', norm_kwargs)
    return keras.Model(backbone.input, features, name=f'{name}_top_down')


def find_layer(backbone, name):
    """Finds a layer by the name that recent Keras versions give it.

    Raises:
        ValueError: If there is none.
    """
    for layer in backbone.layers:
        if layer.name.lower().replace('/', '_').replace('batchnorm', 'bn') == name:
            return layer
    raise ValueError(f'`name` must be a layer of the backbone. Received: name={name}')


def _lateral(features, n_channels, stride, norm_kwargs):
    features = keras.layers.Conv2D(
        n_channels, 1, use_bias=False, name=f'lateral_{stride}')(features)
    return keras.layers.BatchNormalization(name=f'lateral_{stride}_bn', **norm_kwargs)(features)


def _upsample(features, stride):
    # Averaging two repeated cells: 0, 1, 2 becomes 0, 0.5, 1, 1.5, 2, 2, with cell 2 i on cell i.
    features = keras.layers.UpSampling2D(2, name=f'upsample_{stride}')(features)
    return keras.layers.AveragePooling2D(
        2, strides=1, padding='same', name=f'interpolate_{stride}')(features)


def _refine(features, n_channels, i_refinement, norm_kwargs):
    prefix = f'refine_{i_refinement}'
    features = keras.layers.DepthwiseConv2D(
        3, padding='same', use_bias=False, name=f'{prefix}_depthwise')(features)
    features = keras.layers.BatchNormalization(
        name=f'{prefix}_depthwise_bn', **norm_kwargs)(features)
    features = keras.layers.ReLU(name=f'{prefix}_depthwise_relu')(features)
    features = keras.layers.Conv2D(
        n_channels, 1, use_bias=False, name=f'{prefix}_pointwise')(features)
    features = keras.layers.BatchNormalization(
        name=f'{prefix}_pointwise_bn', **norm_kwargs)(features)
    return keras.layers.ReLU(name=f'{prefix}_relu')(features)
