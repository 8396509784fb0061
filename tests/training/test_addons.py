"""Parts of tensorflow-addons; the tests that need it are skipped where it is not installed."""

import builtins
import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf

from training import addons, callbacks, run
from training.config import OptimizerConfig, TrainConfig

needs_addons = pytest.mark.skipif(
    importlib.util.find_spec('tensorflow_addons') is None,
    reason='tensorflow-addons is not installed (it exists for Keras 2 only)')


def make_config(loss_scale=None, **kwargs):
    return TrainConfig(
        name='tiny', n_steps=4, steps_per_epoch=2, warmup_steps=0, learning_rate=0.3,
        optimizer=OptimizerConfig(schedule='dual', loss_scale=loss_scale), **kwargs)


def make_model(config):
    keras.utils.set_random_seed(3)
    backbone = keras.Sequential([keras.Input([2]), keras.layers.Dense(3, name='body')])
    heads = keras.layers.Dense(1, name='head')
    model = keras.Sequential([keras.Input([2]), backbone, heads])
    model.compile(
        optimizer=run.build_optimizer(config, backbone, [heads]), loss='mse', jit_compile=False)
    return model


def make_batches(n_batches):
    x = np.random.default_rng(0).normal(size=[n_batches * 4, 2]).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((x, 5 + x[:, :1])).batch(4)


@needs_addons
@pytest.mark.parametrize('precision, loss_scale', [('float32', None), ('mixed_float16', 128.0)])
def test_backbone_and_heads_move_at_their_own_rates(dtype_policy, precision, loss_scale):
    dtype_policy(precision)
    model = make_model(make_config(
        loss_scale, weight_decay=0.0, clip_norm=None, mixed_precision=precision))
    before = model.get_weights()
    model.fit(make_batches(1), verbose=0)
    steps = [np.abs(a - b) for a, b in zip(before, model.get_weights())]
    # Adam's first step is the learning rate: 0.3 for heads, a thirtieth for the backbone.
    for step, expected in zip(steps, [0.01, 0.01, 0.3, 0.3], strict=True):
        np.testing.assert_allclose(step, expected, rtol=1e-3)
    assert int(model.optimizer.iterations) == 1


@needs_addons
def test_both_optimisers_survive_a_resume(tmp_path):
    expected, first, second = (make_model(make_config()) for _ in range(3))
    batches = make_batches(4)
    expected.fit(batches, verbose=0, shuffle=False)
    first.fit(batches.take(2), verbose=0, shuffle=False, callbacks=[
        callbacks.StopOnNonFinite(), callbacks.TrainingState(first, tmp_path)])
    assert callbacks.TrainingState(second, tmp_path).restore() == 1
    assert int(second.optimizer.iterations) == 2
    second.fit(batches.skip(2), verbose=0, shuffle=False)
    for a, b in zip(expected.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@needs_addons
def test_weights_of_equal_names_are_refused():
    layers = [keras.layers.Dense(1, name='same') for _ in range(2)]
    for layer in layers:
        layer.build([None, 2])
    pairs = [(keras.optimizers.AdamW(), [layer]) for layer in layers]
    with pytest.raises(ValueError, match='must have different names. Received .*: .*kernel'):
        addons.make_multi_optimizer(pairs)


@needs_addons
def test_progress_bar_shows_the_epochs(capsys):
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.compile(optimizer='sgd', loss='mse')
    model.fit(make_batches(2), epochs=2, verbose=0, callbacks=[addons.make_progress_bar()])
    shown = capsys.readouterr()
    assert 'Epoch 2/2' in shown.out and 'loss: ' in shown.err


def test_missing_package_is_explained(monkeypatch):
    real_import = builtins.__import__

    def failing_import(name, *args, **kwargs):
        if name == 'tensorflow_addons':
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', failing_import)
    with pytest.raises(ImportError, match="MultiOptimizer is a part of.*0.23.*other than 'dual'"):
        make_model(make_config())
    with pytest.raises(ImportError, match="TQDMProgressBar.*the `progress_bar` 'keras'"):
        addons.make_progress_bar()
