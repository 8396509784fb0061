"""ResNet-18, -34 and -50 (He et al., CVPR 2016) up to the second stage, which has stride 8.

Layers are named as in torchvision, whose bottlenecks have their stride in the 3x3 convolution and
whose convolutions have no bias, unlike the ResNet-50 of `keras.applications`.
"""

import keras

from metro_tf.backbones import published_layers

# Blocks of the first two stages, and whether they are bottlenecks.
N_BLOCKS = {18: (2, 2), 34: (3, 4), 50: (3, 4)}


def first_stages(x, depth):
    """Symbolic images `[batch, y, x, 3]` to features `[batch, y / 8, x / 8, channels]`.

    Args:
        x: The images.
        depth: A key of `N_BLOCKS`. Channels are 128, and 512 with depth 50.
    """
    block = _bottleneck if depth == 50 else _basic_block
    x = published_layers.conv_norm(x, 64, 7, ('conv1', 'bn1'), stride=2)
    x = published_layers.max_pool(keras.layers.ReLU(name='relu')(x), 'maxpool')
    for i_stage, n_blocks in enumerate(N_BLOCKS[depth]):
        for i_block in range(n_blocks):
            stride = 2 if i_stage > 0 and i_block == 0 else 1
            x = block(x, 64 * 2 ** i_stage, f'layer{i_stage + 1}.{i_block}', stride)
    return x


def _basic_block(x, n_channels, name, stride):
    y = _conv(x, n_channels, 3, name, 1, stride)
    y = keras.layers.ReLU(name=f'{name}.relu1'.replace('.', '_'))(y)
    return _add(x, _conv(y, n_channels, 3, name, 2), name, stride)


def _bottleneck(x, n_channels, name, stride):
    y = _conv(x, n_channels, 1, name, 1)
    y = keras.layers.ReLU(name=f'{name}.relu1'.replace('.', '_'))(y)
    y = _conv(y, n_channels, 3, name, 2, stride)
    y = keras.layers.ReLU(name=f'{name}.relu2'.replace('.', '_'))(y)
    return _add(x, _conv(y, 4 * n_channels, 1, name, 3), name, stride)


def _conv(x, n_channels, kernel_size, name, number, stride=1):
    return published_layers.conv_norm(
        x, n_channels, kernel_size, (f'{name}.conv{number}', f'{name}.bn{number}'), stride=stride)


def _add(shortcut, main, name, stride):
    if stride > 1 or shortcut.shape[-1] != main.shape[-1]:
        shortcut = published_layers.conv_norm(
            shortcut, main.shape[-1], 1, (f'{name}.downsample.0', f'{name}.downsample.1'),
            stride=stride)
    layer_name = name.replace('.', '_')
    total = keras.layers.Add(name=f'{layer_name}_add')([main, shortcut])
    return keras.layers.ReLU(name=f'{layer_name}_relu')(total)
