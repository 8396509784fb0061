"""Changes the output stride and the sampling grid of a network without touching its weights.

Output stride: strides beyond the wanted one become dilation of the following kernels (MeTRAbs,
R23), so each kernel still meets the pixels that it was trained on and the same weights fit.

Grid: with integer pixel centres, a strided operation with an odd kernel `k` and `k // 2` zeros on
both sides centres output cell i on its input cell 2 i. If all were like that, cell i of total
stride s would see pixel s i, and the grid would hang off the image centre. One operation, the one
that reaches the *centred stride* s, is shifted by one of its input cells to the bottom right
(padding `(k // 2 - 1, k // 2 + 1)`), which puts cell i on pixel `s i + s / 2`. Coarser levels that
follow it share its offset: they sit on `2 s i + s / 2`, `4 s i + s / 2` and so on. Without a
centred stride nothing is shifted.

Two strides: operations whose geometry differs between a training stride and a test stride become
those of `two_strides`, which choose by the `training` argument.
"""

import math

import keras

from metro_tf.backbones import input_scaling, padded, two_strides

OUTPUT_STRIDES = (4, 8, 16, 32)
# Networks are analysed at this input size, where a tensor's size tells its stride.
ANALYSIS_SIDE_PX = 512


def restride(
        network, scaling, input_shape=(None, None, 3), *, output_stride=32, centred_stride=None,
        test_stride=None, bn_momentum=None, first_padding=None):
    """Rebuilds a network of `keras.applications` with another output stride and a centred grid.

    Args:
        network: Functional model on a square image of `ANALYSIS_SIDE_PX`. Its first layer after
            the input must be its own rescaling or padding; the input scaling replaces it.
        scaling: Dict, the arguments of `InputScaling`.
        input_shape: Shape of the new network's images, without the batch.
        output_stride: Stride of the output, one of `OUTPUT_STRIDES`.
        centred_stride: Stride whose cells are centred, at most `output_stride`, which is also
            the default; 0 for none, so that cell i lies at pixel `stride * i`.
        test_stride: If given, the stride of the output when not in training, one of
            `OUTPUT_STRIDES` up to `output_stride`. Centred unless `centred_stride` is 0.
        bn_momentum: If given, the momentum of all batch normalisations.
        first_padding: See `family.Family`.

    Returns:
        New functional model with new weights in the same order and of the same shapes, from
        images `[batch, y, x, 3]` in `[0, 1]` to features.

    Raises:
        ValueError: If a stride is not offered or an operation is of an unknown kind, which for
            two strides depthwise convolutions are, too.
    """
    centred_stride = output_stride if centred_stride is None else centred_stride
    for stride, allowed in (
            (output_stride, OUTPUT_STRIDES), (centred_stride, (0, *OUTPUT_STRIDES))):
        if stride not in allowed or stride > output_stride:
            raise ValueError(
                f'`output_stride` must be one of {OUTPUT_STRIDES} and `centred_stride` at most '
                f'that. Received: output_stride={output_stride}, centred_stride={centred_stride}')
    if test_stride is not None:
        _check_test_stride(test_stride, output_stride, centred_stride)
    first_layer = network.layers[1]
    if not isinstance(first_layer, (keras.layers.Rescaling, keras.layers.ZeroPadding2D)):
        raise ValueError(
            '`network` must begin with a rescaling or a padding, which the input scaling '
            f'replaces. Received: {first_layer.name} of {type(first_layer)}')

    def rebuild(layer):
        """The layer of the new network that replaces one of `network`."""
        if layer is first_layer:
            return input_scaling.InputScaling(**scaling, name='input_scaling')
        rebuilt = _rebuild_layer(layer, output_stride, centred_stride, bn_momentum)
        if first_padding is not None and layer.input is first_layer.output:
            return type(rebuilt).from_config(
                {**rebuilt.get_config(), 'explicit_padding': first_padding})
        if test_stride in (None, output_stride):
            return rebuilt
        return _with_two_strides(rebuilt, _rebuild_layer(
            layer, test_stride, test_stride if centred_stride else 0, bn_momentum))

    return keras.models.clone_model(
        network, input_tensors=keras.Input(input_shape, name='image'), clone_function=rebuild)


def _rebuild_layer(layer, output_stride, centred_stride, bn_momentum):
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return keras.layers.Activation('linear', name=layer.name)  # the next layer pads itself
    if isinstance(layer, keras.layers.DepthwiseConv2D):  # a Conv2D too in some versions
        return _rebuild_conv(
            layer, padded.PaddedDepthwiseConv2D, output_stride, centred_stride)
    if isinstance(layer, keras.layers.Conv2D):
        return _rebuild_conv(layer, padded.PaddedConv2D, output_stride, centred_stride)
    if isinstance(layer, keras.layers.MaxPooling2D):
        return _rebuild_pooling(layer, output_stride, centred_stride)
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization) and bn_momentum is not None:
        config['momentum'] = bn_momentum
    return type(layer).from_config(config)


def _check_test_stride(test_stride, output_stride, centred_stride):
    if test_stride not in OUTPUT_STRIDES or test_stride > output_stride or (
            centred_stride not in (0, output_stride)):
        raise ValueError(
            f'`test_stride` must be one of {OUTPUT_STRIDES}, at most `output_stride`, and goes '
            'with 0 or `output_stride` as `centred_stride`. Received: test_stride='
            f'{test_stride}, output_stride={output_stride}, centred_stride={centred_stride}')


def _with_two_strides(train_layer, test_layer):
    """One layer that is the first in training and the second otherwise."""
    if isinstance(train_layer, keras.layers.DepthwiseConv2D):
        raise ValueError(
            '`test_stride` is offered for networks without depthwise convolutions, the ResNets. '
            f'Received: a network with the layer {train_layer.name}')
    is_pooling = isinstance(train_layer, keras.layers.MaxPooling2D)
    if not is_pooling and not isinstance(train_layer, keras.layers.Conv2D):
        return train_layer
    geometries = {
        'train_geometry': _geometry(train_layer), 'test_geometry': _geometry(test_layer)}
    if geometries['train_geometry'] == geometries['test_geometry']:
        return train_layer
    if is_pooling:
        return two_strides.TwoStrideMaxPooling2D(
            train_layer.pool_size[0], name=train_layer.name, **geometries)
    config = train_layer.get_config()
    for name in ('strides', 'padding', 'dilation_rate', 'explicit_padding', 'input_step'):
        config.pop(name, None)
    return two_strides.TwoStrideConv2D.from_config({**config, **geometries})


def _geometry(layer):
    """What `two_strides` calls the geometry of a rebuilt layer."""
    if not hasattr(layer, 'strides'):  # a dropped pooling of single pixels
        return {'stride': 1, 'dilation': 1, 'padding': (0, 0)}
    dilation = getattr(layer, 'dilation_rate', (1, 1))[0]
    margin = 0 if hasattr(layer, 'pool_size') else dilation * (layer.kernel_size[0] // 2)
    return {
        'stride': layer.strides[0] * getattr(layer, 'input_step', 1), 'dilation': dilation,
        'padding': tuple(getattr(layer, 'explicit_padding', (margin, margin)))}


def _rebuild_conv(layer, padded_class, output_stride, centred_stride):
    config = layer.get_config()
    kernel_size, stride = layer.kernel_size[0], layer.strides[0]
    _check_odd(kernel_size, layer)
    stride_before = _stride_of_input(layer)
    rate = max(1, stride_before // output_stride) if kernel_size > 1 else 1
    if stride == 1:
        return type(layer).from_config(
            {**config, 'padding': 'same', 'dilation_rate': (rate, rate)})
    # The same class whether the stride is kept or not: weight files refer to classes.
    if stride_before * stride > output_stride:
        margin = rate * (kernel_size // 2)
        return padded_class.from_config({
            **config, 'strides': (1, 1), 'padding': 'valid', 'dilation_rate': (rate, rate),
            'explicit_padding': (margin, margin)})
    config['padding'] = 'valid'
    config['explicit_padding'] = _explicit_padding(
        kernel_size, stride_before * stride == centred_stride)
    if padded_class is padded.PaddedConv2D and kernel_size == 1:
        config.update(strides=(1, 1), input_step=stride)
    return padded_class.from_config(config)


def _rebuild_pooling(layer, output_stride, centred_stride):
    kernel_size, stride = layer.pool_size[0], layer.strides[0]
    _check_odd(kernel_size, layer)
    stride_before = _stride_of_input(layer)
    if stride_before * stride <= output_stride:
        padding = _explicit_padding(kernel_size, stride_before * stride == centred_stride)
        return padded.PaddedMaxPooling2D.from_config(
            {**layer.get_config(), 'padding': 'valid', 'explicit_padding': padding})
    if kernel_size > 1:
        raise ValueError(
            '`network` must not pool beyond the output stride, since pooling cannot be dilated. '
            f'Received: {layer.name} at stride {stride_before}')
    return keras.layers.Activation('linear', name=layer.name)


def _explicit_padding(kernel_size, is_shifted):
    margin = kernel_size // 2
    return (margin - 1, margin + 1) if is_shifted else (margin, margin)


def _stride_of_input(layer):
    side = layer.input.shape[1]  # up to three more than a power of two where padding came before
    return 2 ** round(math.log2(ANALYSIS_SIDE_PX / side))


def _check_odd(kernel_size, layer):
    if kernel_size % 2 == 0:
        raise ValueError(
            f'`network` must have odd kernels only. Received: {layer.name} of size {kernel_size}')
