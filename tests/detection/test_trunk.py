import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.detection import trunk

SMALL = {'n_output_channels': 4, 'channels': (3, 3, 4, 4, 4), 'n_blocks': (0, 0, 1, 0, 1)}


def small_trunk():
    keras.utils.set_random_seed(0)
    model = trunk.build_trunk(**SMALL)
    for name in ('level_2_block0_second_norm', 'level_4_block0_second_norm'):
        # New blocks are the identity; these do something.
        layer = model.get_layer(name)
        layer.set_weights([np.ones_like(layer.get_weights()[0]), *layer.get_weights()[1:]])
    return model


def test_new_blocks_are_the_identity():
    image = np.random.default_rng(1).random((1, 64, 64, 3)).astype(np.float32)
    plain = trunk.build_trunk(**{**SMALL, 'n_blocks': (0, 0, 0, 0, 0)})
    larger = trunk.build_trunk(**SMALL)
    larger_layers = {layer.name: layer for layer in larger.layers}
    for layer in plain.layers:
        larger_layers[layer.name].set_weights(layer.get_weights())
    np.testing.assert_allclose(larger(image), plain(image), atol=1e-6)


def gradient_of_cell(model, row, column, side_px=256):
    # Positive weights and a bright image, lest a ReLU that is off hides a part of the field.
    model.set_weights([np.abs(weight) for weight in model.get_weights()])
    image = tf.ones([1, side_px, side_px, 3])
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = tf.reduce_sum(model(image, training=False)[0, row, column])
    return tf.reduce_sum(tf.abs(tape.gradient(value, image)), axis=(0, 3)).numpy()


def test_receptive_field_is_centred_on_the_cell():
    # Only the finest level: the coarser ones are repeated for two or four cells.
    weights = {'lateral_3_norm', 'lateral_4_norm'}
    model = small_trunk()
    for name in weights:
        layer = model.get_layer(name)
        layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    gradient = gradient_of_cell(model, 15, 17)
    rows, columns = [np.flatnonzero(gradient.sum(axis) > 0) for axis in (1, 0)]
    assert (rows[0] + rows[-1]) / 2 == 8 * 15 + 3.5
    assert (columns[0] + columns[-1]) / 2 == 8 * 17 + 3.5


def test_context_reaches_far():
    gradient = gradient_of_cell(small_trunk(), 16, 16)
    assert (gradient.sum(axis=0) > 0).sum() > 128


@pytest.mark.parametrize('shape', [(32, 32), (64, 96)])
def test_output_shape_and_shift(shape):
    model = small_trunk()
    output = model(np.zeros((2, *shape, 3), np.float32))
    assert output.shape == (2, shape[0] // 8, shape[1] // 8, 4)
    rng = np.random.default_rng(0)
    wide = rng.random((1, 64, 704, 3)).astype(np.float32)
    whole, shifted = model(wide), model(wide[:, :, 32:])
    np.testing.assert_allclose(whole[:, :, 44:60], shifted[:, :, 40:56], atol=1e-4)


def test_errors():
    with pytest.raises(ValueError, match='`channels` must have 5 values'):
        trunk.build_trunk(channels=(8, 8))
    with pytest.raises(ValueError, match='`n_blocks` must have 5 values'):
        trunk.build_trunk(n_blocks=(1,))
    with pytest.raises(ValueError, match='`n_output_channels` must be a positive'):
        trunk.build_trunk(n_output_channels=0)
