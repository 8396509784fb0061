import keras
import numpy as np
import tensorflow as tf

from training import callbacks, randomness


def build(seed=1):
    randomness.set_seed(seed)
    image = keras.Input([4])
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(8)(image))
    inner = keras.Model(image, keras.layers.Dropout(0.5)(x))
    outer = keras.Sequential([keras.Input([4]), inner, keras.layers.Dense(1)])
    outer.compile(optimizer=keras.optimizers.Adam(0.1), loss='mse', jit_compile=False)
    outer.optimizer.build(outer.trainable_variables)
    return outer


def fit(model, folder, n_epochs, seed=5):
    x = np.random.default_rng(0).normal(size=[8, 4]).astype(np.float32)
    dataset = tf.data.Dataset.from_tensors((x, x[:, :1])).repeat()
    state = callbacks.TrainingState(model, folder)
    model.fit(
        dataset, initial_epoch=state.restore(), epochs=n_epochs, steps_per_epoch=2, verbose=0,
        callbacks=[callbacks.RestartRandomness(seed), state])
    return model.get_weights()


def test_dropout_of_a_resumed_training_is_that_of_an_unbroken_one(tmp_path):
    unbroken = fit(build(), tmp_path / 'unbroken', 2)
    fit(build(), tmp_path / 'resumed', 1)
    resumed = fit(build(), tmp_path / 'resumed', 2)
    for expected, weight in zip(unbroken, resumed, strict=True):
        np.testing.assert_array_equal(weight, expected)
    other_seed = fit(build(), tmp_path / 'other', 2, seed=6)
    assert np.abs(other_seed[0] - unbroken[0]).max() > 1e-6


def test_layers_and_epochs_drop_different_units():
    model = build()
    inputs = tf.ones([64, 8])
    first, second = [
        layer for layer in model.layers[0].layers if isinstance(layer, keras.layers.Dropout)]

    def dropped(layer, seed, epoch):
        randomness.restart(model, seed, epoch)
        return np.asarray(layer(inputs, training=True)) == 0
    reference = dropped(first, 5, 3)
    np.testing.assert_array_equal(dropped(first, 5, 3), reference)
    for other in (dropped(second, 5, 3), dropped(first, 5, 4), dropped(first, 6, 3)):
        assert 0.3 < np.mean(other != reference) < 0.7


def test_numbers_of_a_step_follow_from_seed_and_step():
    draw = tf.function(randomness.uniform_of_step)
    reference = randomness.uniform_of_step([200, 1, 1], 1, tf.constant(7)).numpy()
    assert 0 <= reference.min() < 0.1 and 0.9 < reference.max() < 1
    np.testing.assert_array_equal(draw([200, 1, 1], 1, tf.constant(7, tf.int64)), reference)
    for seed, step in ((1, 8), (2, 7)):
        other = draw([200, 1, 1], seed, tf.constant(step, tf.int64)).numpy()
        assert np.abs(other - reference).max() > 0.5
