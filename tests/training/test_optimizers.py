"""What the updates do to the weights, through plain `compile` and `fit`."""

import dataclasses
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from training import callbacks, optimizers, run, schedules
from training.config import OptimizerConfig, TrainConfig, metrabs_weight_decay

CONFIG = TrainConfig(
    name='tiny', n_steps=4, steps_per_epoch=2, warmup_steps=0, batch_size_3d=4, batch_size_2d=2,
    learning_rate=0.1, weight_decay=0.3)


def make_config(config=CONFIG, **optimizer_kwargs):
    fields = {
        name: optimizer_kwargs.pop(name) for name in list(optimizer_kwargs)
        if name in {field.name for field in dataclasses.fields(TrainConfig)}}
    return dataclasses.replace(config, optimizer=OptimizerConfig(**optimizer_kwargs), **fields)


def make_model(config, weight=None):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([
        keras.Input([2]), keras.layers.Dense(3, activation='tanh'),
        keras.layers.Dense(1, dtype='float32')])
    if weight is not None:
        model.set_weights([np.full(value.shape, weight) for value in model.get_weights()])
    model.compile(optimizer=run.build_optimizer(config), loss='mse', jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def make_batches(n_batches=4, batch_size=6):
    rng = np.random.default_rng(0)
    x = rng.normal(size=[n_batches * batch_size, 2]).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((x, x[:, :1] - x[:, 1:])).batch(batch_size)


def fit(model, dataset, **kwargs):
    return model.fit(dataset, verbose=0, shuffle=False, **kwargs)


def assert_weights_close(model, other, atol=1e-6):
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def first_weight_after_zero_gradient(config):
    """What is left of a kernel of ones and of a bias of ones after a step without gradient."""
    model = make_model(config, weight=1.0)
    variables = model.trainable_variables
    model.optimizer.apply_gradients([(tf.zeros(v.shape), v) for v in variables])
    return [float(np.asarray(v).flat[0]) for v in variables[:2]]


@pytest.mark.parametrize('n_parts, schedule', [(2, 'two_phase'), (3, 'warmup_cosine')])
def test_micro_batches_act_like_one_batch(n_parts, schedule):
    config = make_config(schedule=schedule)
    whole = make_model(config)
    fit(whole, make_batches())
    config = make_config(schedule=schedule, accumulation_steps=n_parts, batch_size_3d=6,
                         batch_size_2d=0)
    parts = make_model(config)
    fit(parts, run.split_batches(make_batches(), n_parts))
    assert int(whole.optimizer.iterations) == int(parts.optimizer.iterations) == 4
    assert_weights_close(whole, parts)


def test_nothing_happens_before_the_last_micro_batch():
    model = make_model(make_config(accumulation_steps=2))
    before = model.get_weights()
    fit(model, make_batches(1))
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert int(model.optimizer.iterations) == 0
    fit(model, make_batches(1))
    assert int(model.optimizer.iterations) == 1
    assert np.abs(before[0] - model.get_weights()[0]).min() > 0.01


def test_accumulated_gradients_survive_a_resume(tmp_path):
    config = make_config(accumulation_steps=2)
    expected, first, second = (make_model(config) for _ in range(3))
    batches = make_batches(4)
    fit(expected, batches)
    fit(first, batches.take(3), callbacks=[callbacks.TrainingState(first, tmp_path)])
    assert callbacks.TrainingState(second, tmp_path).restore() == 1
    fit(second, batches.skip(3))
    assert int(second.optimizer.iterations) == 2
    assert_weights_close(expected, second, atol=1e-7)


def test_variables_without_gradient_are_left_alone():
    used, unused = tf.Variable([1.0]), tf.Variable([1.0])
    optimizer = optimizers.AccumulatingAdamW(0.1, 2, weight_decay=0.0)
    optimizer.build([unused, used])
    for gradient in (1.0, 3.0):
        optimizer.apply_gradients([(None, unused), (tf.constant([gradient]), used)])
    np.testing.assert_allclose(used, [0.9], atol=1e-5)  # Adam's first step is the learning rate
    np.testing.assert_array_equal(unused, [1.0])


def test_accumulation_refuses_bad_counts_and_several_replicas(monkeypatch):
    with pytest.raises(ValueError, match='`accumulation_steps` must be at least 1. Received: .*0'):
        optimizers.AccumulatingAdamW(0.1, 0)
    optimizer = optimizers.AccumulatingAdamW(0.1, 2)
    assert optimizers.AccumulatingAdamW.from_config(optimizer.get_config()).accumulation_steps == 2
    assert optimizer.get_config()['accumulation_steps'] == 2
    monkeypatch.setattr(
        tf.distribute, 'get_strategy', lambda: types.SimpleNamespace(num_replicas_in_sync=2))
    with pytest.raises(ValueError, match='must run on one replica. Received: 2 replicas'):
        optimizer.build([tf.Variable([1.0])])


def test_split_batches_keep_composition_and_order():
    batch = {'kind': np.array([3, 3, 3, 3, 2, 2]), 'i': np.arange(12).reshape(6, 2)}
    parts = list(run.split_batches(tf.data.Dataset.from_tensors((batch, np.arange(6))), 2))
    np.testing.assert_array_equal([part[0]['kind'] for part in parts], [[3, 3, 2], [3, 3, 2]])
    np.testing.assert_array_equal([part[1] for part in parts], [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(parts[1][0]['i'], [[2, 3], [6, 7], [10, 11]])


def test_weight_decay_spares_biases_unless_asked():
    # lr 0.1 at the first step of the cosine, decay 0.3: 1 - 0.03.
    np.testing.assert_allclose(
        first_weight_after_zero_gradient(CONFIG), [0.97, 1.0], atol=1e-6)
    np.testing.assert_allclose(
        first_weight_after_zero_gradient(make_config(decay_all_weights=True)), [0.97, 0.97],
        atol=1e-6)


def test_weight_decay_of_metrabs():
    # 3e-3 / sqrt(10000) = 3e-5 of itself per step while the learning rate is at its base.
    config = make_config(
        schedule='two_phase', decay_all_weights=True, n_steps=10000,
        weight_decay=metrabs_weight_decay(0.1, 10000))
    np.testing.assert_allclose(
        first_weight_after_zero_gradient(config), [1 - 3e-5, 1 - 3e-5], atol=1e-7)
    assert metrabs_weight_decay(2.121e-4, 400000) == pytest.approx(0.022364, abs=1e-5)


def test_epsilon_and_clip_norm_reach_the_optimiser():
    optimizer = run.build_optimizer(make_config(epsilon=1e-3, clip_norm=None))
    assert optimizer.epsilon == 1e-3 and optimizer.global_clipnorm is None
    assert run.build_optimizer(make_config(clip_norm=2.0)).global_clipnorm == 2.0


@pytest.mark.parametrize('accumulation_steps', [1, 2])
def test_moving_average_replaces_the_weights_at_the_end(accumulation_steps):
    n_updates = 3
    plain = make_model(CONFIG)
    values = [plain.get_weights()]
    for batch in make_batches(n_updates):
        fit(plain, tf.data.Dataset.from_tensors(batch))
        values.append(plain.get_weights())
    averaged = make_model(make_config(
        ema_momentum=0.75, accumulation_steps=accumulation_steps))
    fit(averaged, run.split_batches(make_batches(n_updates), accumulation_steps))
    # Keras 2 begins with the first values, Keras 3 with those after the first update.
    is_keras2 = keras.__version__.startswith('2')
    first = 0.75 * values[0][0] + 0.25 * values[1][0] if is_keras2 else values[1][0]
    expected = 0.75 * (0.75 * first + 0.25 * values[2][0]) + 0.25 * values[3][0]
    np.testing.assert_allclose(averaged.get_weights()[0], expected, atol=1e-5)


@pytest.mark.parametrize('momentum', [None, 1.0])
def test_no_average_without_momentum(momentum):
    assert not run.build_optimizer(make_config(ema_momentum=momentum)).use_ema


def test_saved_weights_are_averaged_and_training_goes_on_without(tmp_path):
    config = make_config(ema_momentum=0.5)
    model, twin = make_model(config), make_model(config)
    seen = []

    class Recorder(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(self.model.get_weights())

    save = callbacks.SaveModel(model, twin, tmp_path / 'model.keras')
    fit(model, make_batches(), epochs=2, callbacks=[Recorder(), save, Recorder()])
    for before, after in zip(seen[2], seen[3]):
        np.testing.assert_array_equal(before, after)
    saved = keras.models.load_model(str(tmp_path / 'model.keras'), compile=False)
    assert_weights_close(saved, model, atol=0)  # `fit` ends with the averages
    assert np.abs(seen[3][0] - saved.get_weights()[0]).max() > 1e-3


def test_averages_survive_a_resume(tmp_path):
    config = make_config(ema_momentum=0.5)
    expected, first, second = (make_model(config) for _ in range(3))
    batches = make_batches(4)
    fit(expected, batches)
    fit(first, batches.take(2), callbacks=[callbacks.TrainingState(first, tmp_path)])
    callbacks.TrainingState(second, tmp_path).restore()
    fit(second, batches.skip(2))
    assert_weights_close(expected, second)


def test_batch_statistics_are_not_averaged(tmp_path):
    def make():
        keras.utils.set_random_seed(3)
        model = keras.Sequential([
            keras.Input([2]), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
        model.compile(
            optimizer=run.build_optimizer(make_config(ema_momentum=0.5)), loss='mse',
            jit_compile=False)
        return model
    model, twin = make(), make()
    fit(model, make_batches(), callbacks=[
        callbacks.SaveModel(model, twin, tmp_path / 'model.keras')])
    statistics = [np.asarray(v) for v in model.non_trainable_variables[:2]]
    assert np.abs(statistics[0]).min() > 1e-4
    for saved, trained in zip(twin.non_trainable_variables[:2], statistics):
        np.testing.assert_array_equal(saved, trained)


@pytest.mark.parametrize('loss_scale, accumulation_steps', [(None, 1), (128.0, 2)])
def test_overflow_skips_a_step(dtype_policy, loss_scale, accumulation_steps):
    dtype_policy('mixed_float16')
    model = make_model(make_config(
        mixed_precision='mixed_float16', loss_scale=loss_scale,
        accumulation_steps=accumulation_steps))
    assert isinstance(model.optimizer, keras.mixed_precision.LossScaleOptimizer)
    good = run.split_batches(make_batches(1), accumulation_steps)
    fit(model, good)
    before, n_before = model.get_weights(), int(model.optimizer.iterations)
    assert n_before == 1 and all(np.isfinite(value).all() for value in before)
    overflowing = tf.data.Dataset.from_tensors(
        (np.full([6, 2], 6e4, np.float32), np.full([6, 1], 1e30, np.float32)))
    fit(model, overflowing)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    fit(model, good)
    assert all(np.isfinite(value).all() for value in model.get_weights())
    assert np.abs(before[0] - model.get_weights()[0]).max() > 1e-4


def loss_scale_of(optimizer):
    scale = getattr(optimizer, 'loss_scale', None)
    return float(optimizer.dynamic_scale if scale is None else scale)


def test_static_loss_scale_never_grows_and_a_resume_keeps_it(dtype_policy, tmp_path):
    dtype_policy('mixed_float16')
    config = make_config(mixed_precision='mixed_float16', loss_scale=128.0)
    model = make_model(config)
    fit(model, make_batches())
    assert loss_scale_of(model.optimizer) == 128
    overflowing = tf.data.Dataset.from_tensors(
        (np.ones([6, 2], np.float32), np.full([6, 1], 1e38, np.float32)))
    fit(model, overflowing, callbacks=[callbacks.TrainingState(model, tmp_path)])
    assert loss_scale_of(model.optimizer) == 64
    resumed = make_model(config)
    callbacks.TrainingState(resumed, tmp_path).restore()
    assert loss_scale_of(resumed.optimizer) == 64


ONE_CYCLE = {'schedule': 'one_cycle', 'weight_decay': 0.0, 'clip_norm': None}


def one_cycle_settings(step, n_steps, peak):
    """Learning rate and momentum of a step, counted from 1, by the published table."""
    milestones = [1, 0.45 * n_steps, 0.9 * n_steps, n_steps]
    return (
        np.interp(step, milestones, peak * np.array([0.1, 1, 0.1, 1e-4])),
        np.interp(step, milestones, [0.9, 0.85, 0.9, 0.9]))


@pytest.mark.parametrize('in_graph', [False, True])
def test_one_cycle_follows_the_rule_of_pytorch(in_graph):
    """Ten steps down w^2 / 2 from 1 with a peak of 0.5, against both rules by hand."""
    variable = tf.Variable([1.0, 2.0])
    optimizer = optimizers.OneCycleSGD(schedules.OneCycle(0.5, 10))
    optimizer.build([variable])

    def update():
        optimizer.apply_gradients([(tf.identity(variable), variable)])

    update = tf.function(update) if in_graph else update
    (w, v), (w_keras, v_keras), found, rules = (1.0, 0.0), (1.0, 0.0), [], []
    for step in range(1, 11):
        rate, momentum = one_cycle_settings(step, 10, 0.5)
        v = momentum * v + w
        w -= rate * v
        v_keras = momentum * v_keras - rate * w_keras
        w_keras += v_keras
        update()
        found.append(variable.numpy().copy())
        rules.append((w, w_keras))
    rules = np.array(rules)
    np.testing.assert_allclose(found, rules[:, :1] * [1, 2], rtol=1e-4, atol=1e-6)
    # The second step by hand: rate 0.05 + 0.45 / 3.5, momentum 0.9 - 0.05 / 3.5.
    np.testing.assert_allclose(rules[:2], [[0.95, 0.95], [0.622194, 0.736071]], atol=1e-6)
    assert np.abs(rules[1:, 0] - rules[1:, 1]).min() > 0.01  # they never meet again


def test_one_cycle_of_a_config():
    config = make_config(learning_rate=0.7, n_steps=20, steps_per_epoch=20, **ONE_CYCLE)
    optimizer = run.build_optimizer(config)
    assert isinstance(optimizer, optimizers.OneCycleSGD) and optimizer.global_clipnorm is None
    assert (optimizer.schedule.peak, optimizer.schedule.n_steps) == (0.7, 20)
    averaged = run.build_optimizer(make_config(
        **{**ONE_CYCLE, 'clip_norm': 2.0}, ema_momentum=0.9))
    assert averaged.global_clipnorm == 2.0 and averaged.use_ema


def test_one_cycle_revives_and_resumes(tmp_path):
    config = make_config(**ONE_CYCLE)
    expected, first, second = (make_model(config) for _ in range(3))
    fit(expected, make_batches(4))
    fit(first, make_batches(4).take(2), callbacks=[callbacks.TrainingState(first, tmp_path)])
    callbacks.TrainingState(second, tmp_path).restore()
    fit(second, make_batches(4).skip(2))
    assert_weights_close(expected, second, atol=0)
    settings = keras.saving.serialize_keras_object(expected.optimizer)
    revived = keras.saving.deserialize_keras_object(settings)
    assert isinstance(revived, optimizers.OneCycleSGD)
    assert revived.get_config() == expected.optimizer.get_config()
    assert revived.schedule.get_config() == {'peak': 0.1, 'n_steps': 4}


def test_one_cycle_leaves_variables_without_gradient_alone():
    used, unused = tf.Variable([1.0]), tf.Variable([1.0])
    optimizer = optimizers.OneCycleSGD(schedules.OneCycle(1.0, 10))
    optimizer.build([unused, used])
    optimizer.apply_gradients([(None, unused), (tf.constant([2.0]), used)])
    np.testing.assert_allclose(used, [0.8], rtol=1e-6)
    np.testing.assert_array_equal(unused, [1.0])


def test_one_cycle_needs_its_schedule():
    with pytest.raises(ValueError, match='`learning_rate` must be a OneCycle .*learning_rate=0.1'):
        optimizers.OneCycleSGD(0.1)


RMSPROP = {'schedule': 'constant_rmsprop', 'weight_decay': 0.0, 'clip_norm': None}


def torch_rmsprop(gradients, rate):
    """How far a weight moves by Torch's rule, which adds 1e-8 outside the root."""
    mean_square, moved = 0.0, []
    for gradient in gradients:
        mean_square = 0.99 * mean_square + 0.01 * gradient ** 2
        moved.append(-rate * gradient / (mean_square ** 0.5 + 1e-8))
    return np.cumsum(moved)


@pytest.mark.parametrize('in_graph', [False, True])
@pytest.mark.parametrize('size', [1.0, 1e-3, 1e-5])
def test_rmsprop_follows_the_rule_of_torch(in_graph, size):
    optimizer = run.build_optimizer(make_config(learning_rate=2.5e-4, **RMSPROP))
    variable, gradients = tf.Variable([0.0]), size * np.array([3.0, -1.0, 0.5, 2.0, 0.0, -4.0])
    optimizer.build([variable])

    def update(gradient):
        optimizer.apply_gradients([(gradient, variable)])

    update = tf.function(update) if in_graph else update
    found = []
    for gradient in gradients:
        update(tf.constant([gradient], tf.float32))
        found.append(float(variable[0]))
    expected = torch_rmsprop(gradients, 2.5e-4)
    np.testing.assert_allclose(found, expected, rtol=0.01 if size == 1e-5 else 1e-4)
    # By hand, whatever the size: mean squares of 0.09 and 0.0891 + 0.01.
    np.testing.assert_allclose(
        expected[:2] / 2.5e-4, [-10, -10 + 1 / 0.0991 ** 0.5], rtol=0.01)


def test_rmsprop_moves_weights_of_tiny_gradients():
    """Where the summands matter, the steps differ by a factor of up to the root of 2."""
    optimizer = run.build_optimizer(make_config(**RMSPROP))
    tiny = keras.optimizers.RMSprop(0.1)
    variables = [tf.Variable([0.0]), tf.Variable([0.0])]
    for rule, variable in zip((optimizer, tiny), variables):
        rule.build([variable])
        rule.apply_gradients([(tf.constant([1e-8]), variable)])
    moved, by_default = (float(variable[0]) for variable in variables)
    # 1e-8 / sqrt(1e-18 + 1e-16), and 1e-8 / (1e-9 + 1e-8) in Torch.
    assert moved == pytest.approx(-0.1 * 0.995037, rel=1e-4)
    assert 1 < moved / torch_rmsprop([1e-8], 0.1)[0] < 2 ** 0.5
    assert abs(by_default) < 1e-5


def test_rmsprop_of_a_config_and_its_constant_rate():
    config = make_config(learning_rate=0.3, **{**RMSPROP, 'clip_norm': 2.0}, ema_momentum=0.9)
    optimizer = run.build_optimizer(config)
    assert isinstance(optimizer, keras.optimizers.RMSprop)
    assert (optimizer.rho, optimizer.epsilon, optimizer.momentum) == (0.99, 1e-16, 0)
    assert optimizer.global_clipnorm == 2.0 and optimizer.use_ema
    schedule = schedules.make_schedule(config)
    np.testing.assert_allclose([schedule(step) for step in (0, 3, 10 ** 7)], 0.3, rtol=1e-6)


def test_rmsprop_resumes_and_takes_another_rate(tmp_path):
    config = make_config(**RMSPROP)
    expected, first, second = (make_model(config) for _ in range(3))
    faster = make_model(dataclasses.replace(config, learning_rate=0.2))
    fit(expected, make_batches(4))
    fit(first, make_batches(4).take(2), callbacks=[callbacks.TrainingState(first, tmp_path)])
    before = first.get_weights()
    for model in (second, faster):
        callbacks.TrainingState(model, tmp_path).restore()
    fit(second, make_batches(4).skip(2))
    assert_weights_close(expected, second, atol=0)
    for model in (first, faster):
        fit(model, make_batches(4).skip(2).take(1))
    steps = [model.get_weights()[0] - before[0] for model in (first, faster)]
    np.testing.assert_allclose(steps[1], 2 * steps[0], rtol=1e-3)
