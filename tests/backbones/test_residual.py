import keras
import numpy as np
import pytest

from metro_tf.backbones import residual


def random_features(n_channels=4):
    return np.random.default_rng(0).random((2, 6, 5, n_channels)).astype(np.float32)


def make_block(norm_kwargs=None):
    features = keras.Input((None, None, 4))
    return keras.Model(features, residual.residual_block(features, 4, 'block', norm_kwargs))


def test_a_fresh_block_is_the_identity():
    block = make_block()
    np.testing.assert_array_equal(block(random_features()), random_features())
    np.testing.assert_array_equal(block(random_features(), training=True), random_features())


def test_a_block_adds_its_convolutions_to_the_shortcut():
    """The kernels pass channels on; normalising by the initial statistics changes little."""
    block = make_block()
    kernel = np.zeros((3, 3, 4, 4), np.float32)
    kernel[1, 1] = np.eye(4)
    for name in ('first', 'second'):
        block.get_layer(f'block_{name}_conv').set_weights([kernel])
    norm = block.get_layer('block_second_norm')
    _, *others = norm.get_weights()
    norm.set_weights([np.float32([2, 0, -3, 1]), *others])
    expected = np.maximum(0, random_features() * (1 + np.float32([2, 0, -3, 1])))
    np.testing.assert_allclose(block(random_features()), expected, rtol=3e-3, atol=1e-6)


def test_names_and_settings_of_the_layers():
    names = {layer.name for layer in make_block().layers if layer.get_weights()}
    assert names == {
        'block_first_conv', 'block_first_norm', 'block_second_conv', 'block_second_norm'}
    block = make_block({'momentum': 0.9})
    assert {block.get_layer(f'block_{name}_norm').momentum for name in ('first', 'second')} == {0.9}


@pytest.mark.parametrize('stride, shape', [(1, (2, 6, 5, 3)), (2, (2, 3, 3, 3))])
def test_convolution_and_normalisation(stride, shape):
    features = keras.Input((None, None, 4))
    model = keras.Model(features, residual.conv_norm(features, 3, 'down', stride))
    assert model(random_features()).shape == shape
    assert [layer.name for layer in model.layers[1:]] == ['down_conv', 'down_norm']
    assert len(model.get_layer('down_conv').get_weights()) == 1  # no bias
