import numpy as np
import pytest

from tests.training.original_weights import tiny_networks
from training.original_weights import layouts


def source_names(table, naming):
    return [name for layer in table for name in layer.source_names(naming)]


def test_names_of_the_tiny_network_are_those_written_out():
    names = source_names(tiny_networks.TABLE, layouts.TENSORFLOW)
    assert [tiny_networks.torch_name(name) for name in names] == source_names(
        tiny_networks.TABLE, layouts.PYTORCH)


@pytest.mark.parametrize('name, n_layers, n_weights', [
    # Convolutions and normalisations: 2 in the stem, 2 or 4 or 8 in each block, 2 in the head.
    ('efficientnet_v2_s', 4 + 2 * 2 + 8 * 4 + 30 * 8, 5 + 2 * 5 + 8 * 10 + 30 * 19 + 5),
    ('efficientnet_v2_m', 4 + 3 * 2 + 10 * 4 + 44 * 8, 5 + 3 * 5 + 10 * 10 + 44 * 19 + 5),
    ('efficientnet_v2_l', 4 + 4 * 2 + 14 * 4 + 61 * 8, 5 + 4 * 5 + 14 * 10 + 61 * 19 + 5),
    # 6 in each block, but 4 in the first; 2 in each of 9 or 8 excitations; 2 ends and the last.
    ('mobilenet_v3_small_1024', 2 + 4 + 10 * 6 + 9 * 2 + 3, 5 + 10 + 10 * 15 + 9 * 4 + 7),
    ('mobilenet_v3_large_1280', 2 + 4 + 14 * 6 + 8 * 2 + 3, 5 + 10 + 14 * 15 + 8 * 4 + 7)])
def test_sizes_of_tables(name, n_layers, n_weights):
    table = layouts.LAYOUTS[name]
    names = source_names(table, layouts.TENSORFLOW)
    assert len(table) == n_layers and len(names) == n_weights == len(set(names))
    assert len({layer.name for layer in table}) == n_layers
    assert name in layouts.BN_MOMENTUM


def test_names_in_the_middle_of_tables():
    layers = {layer.name: layer for layer in layouts.LAYOUTS['efficientnet_v2_l']}
    # 4 + 7 + 7 + 10 + 19 blocks come before the sixth stage, whose last block is the 25th.
    layer = layers['block6y_se_expand']
    assert layer.source_names(layouts.TENSORFLOW) == [
        'blocks_71/se/conv2d_1/kernel', 'blocks_71/se/conv2d_1/bias']
    assert layer.source_names(layouts.PYTORCH) == [
        'backbone.1.6.24.block.2.fc2.weight', 'backbone.1.6.24.block.2.fc2.bias']
    layers = {layer.name: layer for layer in layouts.LAYOUTS['mobilenet_v3_large_1280']}
    assert layers['expanded_conv_3_squeeze_excite_conv_1'].source_names(layouts.TENSORFLOW) == [
        'expanded_conv_3/squeeze_excite/Conv_1/kernel',
        'expanded_conv_3/squeeze_excite/Conv_1/bias']
    assert layers['expanded_conv_depthwise_bn'].source_names(layouts.TENSORFLOW)[3] == (
        'expanded_conv/depthwise/BatchNorm/moving_variance')
    assert 'expanded_conv_expand' not in layers and 'expanded_conv_6_squeeze_excite_conv' not in (
        layers)


def test_axes():
    kernel = np.zeros([5, 4, 3, 2])  # of PyTorch: out, in, rows, columns
    conv, depthwise = (layouts.Layer('a', kind, 'a', 'a') for kind in ('conv', 'depthwise'))
    assert conv.in_our_axes(kernel, layouts.PYTORCH).shape == (3, 2, 4, 5)
    assert conv.in_our_axes(kernel, layouts.TENSORFLOW).shape == (5, 4, 3, 2)
    assert depthwise.in_our_axes(np.zeros([6, 1, 3, 3]), layouts.PYTORCH).shape == (3, 3, 6, 1)
    bias = layouts.Layer('a', 'biased_conv', 'a', 'a').in_our_axes(np.zeros(7), layouts.PYTORCH)
    assert bias.shape == (7,)


@pytest.mark.parametrize('name', layouts.LAYOUTS)
def test_identifies_all_networks(name):
    names = source_names(layouts.LAYOUTS[name], layouts.TENSORFLOW)
    assert layouts.identify([*names[3:], 'other'], layouts.TENSORFLOW) == name


def test_identifies_networks_of_pytorch():
    for name in ('efficientnet_v2_s', 'efficientnet_v2_m', 'efficientnet_v2_l'):
        names = source_names(layouts.LAYOUTS[name], layouts.PYTORCH)
        assert layouts.identify(names, layouts.PYTORCH) == name


def test_refuses_unknown_networks():
    with pytest.raises(ValueError, match=(
            'must be those of efficientnet_v2_s, efficientnet_v2_m, efficientnet_v2_l in the '
            r"pytorch release. Received: 1 names, first \['layer1.0.conv1.weight'\]")):
        layouts.identify(['layer1.0.conv1.weight'], layouts.PYTORCH)
