import keras
import numpy as np

from metro_tf.backbones import compact_resnet, striding


def test_levels_have_their_strides_and_channels():
    network = compact_resnet.make_network((4, 5, 6, 7, 8), (0, 1, 0, 2, 0))
    sides = {2: 256, 4: 128, 8: 64, 16: 32, 32: 16}
    for (stride, side), n_channels in zip(sides.items(), (4, 5, 6, 7, 8), strict=True):
        level = network.get_layer(f'level_{stride}')
        assert tuple(level.output.shape) == (None, side, side, n_channels)
    n_convs = sum(isinstance(layer, keras.layers.Conv2D) for layer in network.layers)
    assert n_convs == 5 + 2 * 3


def test_blocks_begin_as_the_identity():
    network = striding.restride(compact_resnet.make_network((4,) * 5), {'scale': 1.0})
    before = network.get_layer('level_4_down_relu').output
    after = network.get_layer('level_4').output
    values = keras.Model(network.input, [before, after])(
        np.random.default_rng(0).random((1, 64, 64, 3)).astype(np.float32))
    assert np.std(values[0]) > 0
    np.testing.assert_array_equal(values[0], values[1])
