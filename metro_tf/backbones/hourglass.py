"""Stacked hourglasses, each of which ends in the volumes of all joints.

Volumes are channels: `[batch, y, x, joints * depth]`, channel `j * depth + k` for plane k of joint
j. All of it is 2D convolution; from one depth to the next leads a 1x1 convolution.

Convolutions are padded as in Torch, have biases, and start with its first weights; so do the
normalisations.

Source: Pavlakos et al., CVPR 2017, and its released code; Newell et al., ECCV 2016.
"""

import keras

from metro_tf import checks
from metro_tf.backbones import padded

STEM_STRIDE = 4
VARIANTS = ('paper', 'uniform')
# Residual modules in a row, before and after a change of resolution.
_N_MODULES = 3


def build_stacked_hourglass(
        n_joints, depths=(1, 2, 4, 64), crop_side_px=256, *, n_channels=256, n_levels=4,
        variant='paper'):
    """Builds a network from an image to the volumes of every stage.

    In the variant 'paper', hourglasses put out twice `n_channels`, and what one of them gets is
    made of the volumes and features of the one before, without an identity path around it. In
    'uniform', the usual stacked hourglass, all have `n_channels`, and the input of an hourglass is
    added to what the next one gets.

    Args:
        n_joints: Number of joints.
        depths: Sequence with the number of cells in depth of every stage.
        crop_side_px: Side of the square crop, a multiple of `4 * 2 ** n_levels`.
        n_channels: Number of channels inside the hourglasses, a multiple of 4, by which all other
            widths go; 256 is published.
        n_levels: How often an hourglass halves the resolution.
        variant: 'paper' or 'uniform'.

    Returns:
        Functional model from float images `[batch, side, side, 3]`, RGB in `[0, 1]`, to the list
        of the stages' volumes, float32 `[batch, side / 4, side / 4, n_joints * depth]`. Keras 2
        gives a single one without a list.

    Raises:
        ValueError: If an argument is out of its range.
    """
    checks.one_of(variant, VARIANTS, 'variant')
    depths = _checked_depths(depths)
    checks.positive(n_joints, 'n_joints')
    _check_sizes(crop_side_px, STEM_STRIDE, n_channels, n_levels, 'crop_side_px')
    image = keras.Input((crop_side_px, crop_side_px, 3), name='image')
    n_modules = 3 if variant == 'paper' else 2
    features, pooled = _stem(image, n_channels, n_modules)
    if variant == 'paper':
        volumes = _paper_stages(features, pooled, n_joints, depths, n_channels, n_levels)
    else:
        volumes = _uniform_stages(features, n_joints, depths, n_channels, n_levels)
    return keras.Model(image, volumes, name=f'stacked_hourglass_{variant}')


def build_volume_network(n_joints, depths, n_cells=64, *, n_channels=256, n_levels=4):
    """Builds a network from 2D heatmaps to volumes, the second one of the decoupled architecture.

    It is the network of `build_stacked_hourglass` without what reduces the resolution in front.

    Args:
        n_joints: Number of joints, of the heatmaps as well as of the volumes.
        depths: Sequence with the number of cells in depth of every stage.
        n_cells: Number of cells of the heatmaps along x and y, a multiple of `2 ** n_levels`.
        n_channels, n_levels: See `build_stacked_hourglass`.

    Returns:
        Functional model from heatmaps `[batch, n_cells, n_cells, n_joints]` to the list of the
        stages' volumes, as in `build_stacked_hourglass`.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Pavlakos et al., CVPR 2017, and its project page. The layers in front are our choice.
    """
    depths = _checked_depths(depths)
    checks.positive(n_joints, 'n_joints')
    _check_sizes(n_cells, 1, n_channels, n_levels, 'n_cells')
    heatmaps = keras.Input((n_cells, n_cells, n_joints), name='heatmaps')
    first = _residual(heatmaps, n_channels // 2, 'stem_0')
    features = _stem_end(first, n_channels, 3)
    volumes = _paper_stages(features, first, n_joints, depths, n_channels, n_levels)
    return keras.Model(heatmaps, volumes, name='volume_network')


def build_encoder(crop_side_px=256, *, n_channels=256, n_levels=4):
    """Builds the first half of one hourglass, down to the lowest resolution.

    Args:
        crop_side_px, n_channels, n_levels: See `build_stacked_hourglass`.

    Returns:
        Functional model from float images `[batch, side, side, 3]`, RGB in `[0, 1]`, to features
        of the stride `4 * 2 ** n_levels`, with `2 * n_channels` channels.

    Raises:
        ValueError: If an argument is out of its range.
    """
    _check_sizes(crop_side_px, STEM_STRIDE, n_channels, n_levels, 'crop_side_px')
    image = keras.Input((crop_side_px, crop_side_px, 3), name='image')
    x, _ = _stem(image, n_channels, 3)
    for level in range(n_levels):
        x = _pool(x, f'level_{level}_pool')
        x = _residuals(x, [n_channels] * _N_MODULES, f'level_{level}')
    return keras.Model(image, _residual(x, 2 * n_channels, 'lowest'), name='hourglass_encoder')


def settings_of(network):
    """The settings that `build_stacked_hourglass` made a network with.

    Args:
        network: Result of `build_stacked_hourglass`.

    Returns:
        Dict with `variant`, `n_channels`, `n_levels` and `n_stages`.
    """
    names = [layer.name for layer in network.layers]
    inner = max(name.count('_inner') for name in names)
    return {
        'variant': network.name.rpartition('_')[2],
        'n_channels': 4 * network.get_layer('stem_conv').filters, 'n_levels': inner + 1,
        'n_stages': sum(name.endswith('_volumes') and '_merge_' not in name for name in names)}


def _stem(image, n_channels, n_modules):
    """Features of stride 4, and those behind the pooling, with half as many channels."""
    conv = padded.PaddedConv2D(
        n_channels // 4, 7, explicit_padding=(3, 3), strides=2, name='stem_conv',
        **_first_weights(7 * 7 * 3))
    x = _norm_relu(conv(image), 'stem')
    pooled = _pool(_residual(x, n_channels // 2, 'stem_0'), 'stem_pool')
    return _stem_end(pooled, n_channels, n_modules), pooled


def _stem_end(x, n_channels, n_modules):
    widths = [n_channels // 2] * (n_modules - 1) + [n_channels]
    return _residuals(x, widths, 'stem_end')


def _paper_stages(features, pooled, n_joints, depths, n_channels, n_levels):
    """List of the volumes of every stage."""
    volumes, beside = [], pooled
    for i_stage, depth in enumerate(depths):
        name, is_last = f'stage_{i_stage}', i_stage == len(depths) - 1
        features = _paper_hourglass(features, n_levels, n_channels, f'{name}_hourglass')
        features = _conv_norm_relu(features, 2 * n_channels, f'{name}_head_0')
        features = _conv_norm_relu(features, n_channels * (1 + is_last), f'{name}_head_1')
        volumes.append(_volumes(features, n_joints * depth, name))
        if not is_last:
            joined = keras.layers.Concatenate(name=f'{name}_joined')([features, beside])
            beside, features = features, _merge(joined, volumes[-1], [], name)
    return volumes


def _uniform_stages(features, n_joints, depths, n_channels, n_levels):
    """List of the volumes of every stage."""
    volumes = []
    for i_stage, depth in enumerate(depths):
        name = f'stage_{i_stage}'
        x = _uniform_hourglass(features, n_levels, n_channels, f'{name}_hourglass')
        x = _residuals(x, [n_channels] * _N_MODULES, f'{name}_head')
        x = _conv_norm_relu(x, n_channels, f'{name}_head')
        volumes.append(_volumes(x, n_joints * depth, name))
        if i_stage < len(depths) - 1:
            features = _merge(x, volumes[-1], [features], name)
    return volumes


def _paper_hourglass(x, n_levels, n_channels, name):
    widths = [n_channels] * (_N_MODULES - 1)
    upper = _residuals(x, [*widths, 2 * n_channels], f'{name}_upper')
    lower = _residuals(_pool(x, f'{name}_pool'), [*widths, n_channels], f'{name}_lower')
    if n_levels > 1:
        lower = _paper_hourglass(lower, n_levels - 1, n_channels, f'{name}_inner')
    else:
        lower = _residual(lower, 2 * n_channels, f'{name}_lowest')
    return _add_upsampled(upper, _residual(lower, 2 * n_channels, f'{name}_after'), name)


def _uniform_hourglass(x, n_levels, n_channels, name):
    widths = [n_channels] * _N_MODULES
    upper = _residuals(x, widths, f'{name}_upper')
    lower = _residuals(_pool(x, f'{name}_pool'), widths, f'{name}_lower')
    if n_levels > 1:
        lower = _uniform_hourglass(lower, n_levels - 1, n_channels, f'{name}_inner')
    else:
        lower = _residuals(lower, widths, f'{name}_lowest')
    return _add_upsampled(upper, _residuals(lower, widths, f'{name}_after'), name)


def _add_upsampled(upper, lower, name):
    lower = keras.layers.UpSampling2D(2, name=f'{name}_upsampling')(lower)
    return keras.layers.Add(name=f'{name}_add')([upper, lower])


def _volumes(x, n_channels, name):
    """The volumes of a stage. Float32 under any dtype policy, as they are added up and compared."""
    return _conv(x, n_channels, 1, f'{name}_volumes', dtype='float32')


def _merge(x, volumes, others, name):
    """What the next hourglass gets."""
    n_channels = x.shape[-1]
    return keras.layers.Add(name=f'{name}_merge')([
        *others, _conv(x, n_channels, 1, f'{name}_merge_features'),
        _conv(volumes, n_channels, 1, f'{name}_merge_volumes')])


def _residuals(x, widths, name):
    for i, n_channels in enumerate(widths):
        x = _residual(x, n_channels, f'{name}_{i}')
    return x


def _residual(x, n_channels, name):
    """A bottleneck with normalisations in front of its convolutions."""
    inner = n_channels // 2
    y = _conv(_norm_relu(x, f'{name}_1'), inner, 1, f'{name}_conv_1')
    y = _conv(_norm_relu(y, f'{name}_2'), inner, 3, f'{name}_conv_2')
    y = _conv(_norm_relu(y, f'{name}_3'), n_channels, 1, f'{name}_conv_3')
    if x.shape[-1] != n_channels:
        x = _conv(x, n_channels, 1, f'{name}_shortcut')
    return keras.layers.Add(name=f'{name}_add')([y, x])


def _conv_norm_relu(x, n_channels, name):
    return _norm_relu(_conv(x, n_channels, 1, f'{name}_conv'), name)


def _norm_relu(x, name):
    norm = keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, gamma_initializer=keras.initializers.RandomUniform(0.0, 1.0),
        name=f'{name}_norm')
    return keras.layers.ReLU(name=f'{name}_relu')(norm(x))


def _conv(x, n_channels, kernel_size, name, **kwargs):
    return keras.layers.Conv2D(
        n_channels, kernel_size, padding='same', name=name,
        **_first_weights(kernel_size ** 2 * x.shape[-1]), **kwargs)(x)


def _first_weights(fan_in):
    """Those of Torch: uniform, for kernel and bias."""
    limit = fan_in ** -0.5
    return {
        f'{part}_initializer': keras.initializers.RandomUniform(-limit, limit)
        for part in ('kernel', 'bias')}


def _pool(x, name):
    return keras.layers.MaxPooling2D(2, name=name)(x)


def _checked_depths(depths):
    depths = tuple(int(checks.positive(depth, 'depths')) for depth in depths)
    if not depths:
        raise ValueError(f'`depths` must have at least one stage. Received: depths={depths}')
    return depths


def _check_sizes(side, stride, n_channels, n_levels, side_name):
    checks.positive(n_levels, 'n_levels')
    if side < 1 or side % (stride * 2 ** n_levels):
        raise ValueError(
            f'`{side_name}` must be a multiple of {stride * 2 ** n_levels}, so that it can be '
            f'halved `n_levels` times. Received: {side_name}={side}, n_levels={n_levels}')
    if n_channels < 4 or n_channels % 4:
        raise ValueError(
            f'`n_channels` must be a multiple of 4. Received: n_channels={n_channels}')
