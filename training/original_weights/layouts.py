"""Where each weight of a backbone lies in the releases of MeTRAbs, as tables.

A row is a layer with weights: its name here, its kind, and its names in the TensorFlow and in the
PyTorch release. Names of the TensorFlow release are those of its variables, without the name of the
network that comes first; those of the PyTorch release are the keys of its state dict.

Tables are in the order of the layers of the backbones in `metro_tf.backbones`.
"""

import dataclasses
import string

TENSORFLOW, PYTORCH = 'tensorflow', 'pytorch'
# Kind of layer to its weights in our order: their names in TensorFlow and in PyTorch.
_WEIGHTS = {
    'conv': (('kernel', 'weight'),),
    'biased_conv': (('kernel', 'weight'), ('bias', 'bias')),
    'depthwise': (('depthwise_kernel', 'weight'),),
    'norm': (
        ('gamma', 'weight'), ('beta', 'bias'), ('moving_mean', 'running_mean'),
        ('moving_variance', 'running_var'))}
# Axes of a kernel of PyTorch, in the order of Keras. Both have one more channel axis than needed
# where they are depthwise, but not the same one.
_KERNEL_AXES = {'conv': (2, 3, 1, 0), 'biased_conv': (2, 3, 1, 0), 'depthwise': (2, 3, 0, 1)}

# Blocks of EfficientNetV2: rows of our name, kind, and names in TensorFlow and PyTorch.
_EFFICIENTNET_BLOCKS = {
    'single': (
        ('project_conv', 'conv', 'conv2d', '0.0'),
        ('project_bn', 'norm', 'tpu_batch_normalization', '0.1')),
    'fused': (
        ('expand_conv', 'conv', 'conv2d', '0.0'),
        ('expand_bn', 'norm', 'tpu_batch_normalization', '0.1'),
        ('project_conv', 'conv', 'conv2d_1', '1.0'),
        ('project_bn', 'norm', 'tpu_batch_normalization_1', '1.1')),
    'depthwise': (
        ('expand_conv', 'conv', 'conv2d', '0.0'),
        ('expand_bn', 'norm', 'tpu_batch_normalization', '0.1'),
        ('dwconv2', 'depthwise', 'depthwise_conv2d', '1.0'),
        ('bn', 'norm', 'tpu_batch_normalization_1', '1.1'),
        ('se_reduce', 'biased_conv', 'se/conv2d', '2.fc1'),
        ('se_expand', 'biased_conv', 'se/conv2d_1', '2.fc2'),
        ('project_conv', 'conv', 'conv2d_1', '3.0'),
        ('project_bn', 'norm', 'tpu_batch_normalization_2', '3.1'))}
# Kind and number of blocks of each stage.
_EFFICIENTNET_STAGES = {
    'efficientnet_v2_s': (
        ('single', 2), ('fused', 4), ('fused', 4), ('depthwise', 6), ('depthwise', 9),
        ('depthwise', 15)),
    'efficientnet_v2_m': (
        ('single', 3), ('fused', 5), ('fused', 5), ('depthwise', 7), ('depthwise', 14),
        ('depthwise', 18), ('depthwise', 5)),
    'efficientnet_v2_l': (
        ('single', 4), ('fused', 7), ('fused', 7), ('depthwise', 10), ('depthwise', 19),
        ('depthwise', 25), ('depthwise', 7))}

# Blocks of MobileNetV3 with squeeze-and-excitation, and the number of all blocks.
_MOBILENET_BLOCKS = {
    'mobilenet_v3_small_1024': ((0, *range(3, 11)), 11),
    'mobilenet_v3_large_1280': ((3, 4, 5, *range(10, 15)), 15)}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Args:
        name: Name of our layer as recent versions of Keras give it.
        kind: 'conv' (without bias), 'biased_conv', 'depthwise' or 'norm'.
        tensorflow: Name in the TensorFlow release.
        pytorch: Name in the PyTorch release, None if the network is not in it.
    """
    name: str
    kind: str
    tensorflow: str
    pytorch: str = None

    def source_names(self, naming):
        """Names of the layer's weights in a release, in our order.

        Args:
            naming: `TENSORFLOW` or `PYTORCH`.
        """
        if naming == TENSORFLOW:
            return [f'{self.tensorflow}/{names[0]}' for names in _WEIGHTS[self.kind]]
        return [f'{self.pytorch}.{names[1]}' for names in _WEIGHTS[self.kind]]

    def in_our_axes(self, array, naming):
        """An array of a release with the order of axes of Keras.

        Args:
            array: Array of one of the weights of this layer.
            naming: `TENSORFLOW` or `PYTORCH`.
        """
        axes = _KERNEL_AXES.get(self.kind)
        is_turned = naming == PYTORCH and axes is not None and array.ndim == len(axes)
        return array.transpose(axes) if is_turned else array


# The heads are one convolution whose channels are in our order: joints in 2D, then one block of
# joints for each depth.
HEADS = Layer('conv', 'biased_conv', 'heatmap_heads/conv_final', 'heatmap_heads.conv_final')


def efficientnet_v2(stages):
    """Table of an EfficientNetV2.

    Args:
        stages: Sequence of pairs: 'single', 'fused' or 'depthwise', and a number of blocks.

    Returns:
        List of `Layer`.
    """
    layers = _conv_norm(('stem_conv', 'stem_bn'), 'stem', 0)
    i_block = 0
    for i_stage, (kind, n_blocks) in enumerate(stages, start=1):
        for i_in_stage in range(n_blocks):
            prefixes = (
                f'block{i_stage}{string.ascii_lowercase[i_in_stage]}_', f'blocks_{i_block}/',
                f'backbone.1.{i_stage}.{i_in_stage}.block.')
            layers += [
                Layer(prefixes[0] + name, layer_kind, prefixes[1] + tensorflow, prefixes[2] + torch)
                for name, layer_kind, tensorflow, torch in _EFFICIENTNET_BLOCKS[kind]]
            i_block += 1
    return layers + _conv_norm(('top_conv', 'top_bn'), 'head', len(stages) + 1)


def _conv_norm(names, tensorflow, i_stage):
    return [
        Layer(names[0], 'conv', f'{tensorflow}/conv2d', f'backbone.1.{i_stage}.0'),
        Layer(names[1], 'norm', f'{tensorflow}/tpu_batch_normalization',
              f'backbone.1.{i_stage}.1')]


def mobilenet_v3(excited_blocks, n_blocks):
    """Table of a MobileNetV3, whose layers are called as in old versions of `keras.applications`.

    Args:
        excited_blocks: Indices of the blocks with squeeze-and-excitation.
        n_blocks: Number of blocks.

    Returns:
        List of `Layer`.
    """
    layers = _normalised('Conv')
    for i_block in range(n_blocks):
        prefix = f'expanded_conv_{i_block}/' if i_block else 'expanded_conv/'
        layers += _normalised(f'{prefix}expand') if i_block else []
        layers += _normalised(f'{prefix}depthwise', 'depthwise')
        if i_block in excited_blocks:
            layers += [
                _of_keras(f'{prefix}squeeze_excite/{name}', 'biased_conv')
                for name in ('Conv', 'Conv_1')]
        layers += _normalised(f'{prefix}project')
    return [*layers, *_normalised('Conv_1'), _of_keras('Conv_2', 'biased_conv')]


def _normalised(name, kind='conv'):
    return [_of_keras(name, kind), _of_keras(f'{name}/BatchNorm', 'norm')]


def _of_keras(name, kind):
    return Layer(recent_name(name), kind, name)


def recent_name(name):
    """Name of a layer as recent versions of Keras write it, the same under all versions."""
    return name.lower().replace('/', '_').replace('batchnorm', 'bn')


# Name of a backbone in `metro_tf.backbones.builder` to its table.
LAYOUTS = {
    **{name: efficientnet_v2(stages) for name, stages in _EFFICIENTNET_STAGES.items()},
    **{name: mobilenet_v3(*blocks) for name, blocks in _MOBILENET_BLOCKS.items()}}
# Momentum of the running batch statistics in the original training.
BN_MOMENTUM = {
    **dict.fromkeys(_EFFICIENTNET_STAGES, 0.9), **dict.fromkeys(_MOBILENET_BLOCKS, 0.999)}


def identify(names, naming):
    """Finds the backbone that weights are of.

    Args:
        names: Collection of the names in a release.
        naming: `TENSORFLOW` or `PYTORCH`.

    Returns:
        The key of `LAYOUTS` whose names differ least.

    Raises:
        ValueError: If no name is one of a known backbone.
    """
    tables = {key: _names(table, naming) for key, table in LAYOUTS.items()
              if naming == TENSORFLOW or table[0].pytorch is not None}
    if not any(table & set(names) for table in tables.values()):
        raise ValueError(
            f'`names` must be those of {", ".join(tables)} in the {naming} release. '
            f'Received: {len(names)} names, first {sorted(names)[:5]}')
    return min(tables, key=lambda key: len(tables[key] ^ set(names)))


def _names(table, naming):
    return {name for layer in table for name in layer.source_names(naming)}
