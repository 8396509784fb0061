import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

from training import callbacks


class NormTrainer(keras.Model):
    """A batch normalisation and a dense layer, with the hook of the pose trainers."""

    def __init__(self):
        super().__init__()
        self.is_batch_norm_frozen = False
        self.norm = keras.layers.BatchNormalization(momentum=0.5)
        self.dense = keras.layers.Dense(1, kernel_initializer='ones')

    def call(self, inputs, training=False):
        training = training and not self.is_batch_norm_frozen
        return self.dense(self.norm(inputs, training=training))


def make_trainer():
    model = NormTrainer()
    model(np.ones([1, 2], np.float32))
    model.compile(optimizer=keras.optimizers.AdamW(0.01), loss='mse', jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def make_batches(n_batches=6, bad_batch=None):
    x = np.random.default_rng(0).normal(3, 1, size=[n_batches, 4, 2]).astype(np.float32)
    y = np.ones([n_batches, 4, 1], np.float32)
    if bad_batch is not None:
        y[bad_batch] = np.nan
    return tf.data.Dataset.from_tensor_slices((x, y)).repeat()


class Means(keras.callbacks.Callback):
    """Records the running mean after every epoch."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_epoch_end(self, epoch, logs=None):
        self.values.append(np.asarray(self.model.norm.moving_mean))


def fit(model, extra, first_epoch=0, n_epochs=3, **kwargs):
    model.fit(
        make_batches(**kwargs), initial_epoch=first_epoch, epochs=n_epochs, steps_per_epoch=2,
        verbose=0, callbacks=extra)


def test_statistics_freeze_at_the_given_epoch_and_weights_go_on(tmp_path):
    model, means = make_trainer(), Means()
    weights = []
    fit(model, [
        callbacks.FrozenBatchNorm(1, tmp_path / 'before'), means,
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: weights.append(model.dense.get_weights()[0]))])
    assert np.abs(means.values[0]).min() > 0.5
    np.testing.assert_array_equal(means.values[0], means.values[2])
    assert np.abs(weights[1] - weights[0]).min() > 1e-3
    before = make_trainer()
    tf.train.Checkpoint(model=before, optimizer=before.optimizer).read(
        str(tmp_path / 'before')).assert_existing_objects_matched()
    np.testing.assert_array_equal(before.dense.get_weights()[0], weights[0])
    assert int(before.optimizer.iterations) == 2


def test_checkpoints_hold_the_parts_of_a_multiple_optimiser(monkeypatch, tmp_path):
    part = tf.Variable(3.0)
    monkeypatch.setattr(callbacks.addons, 'optimizer_parts', lambda optimizer: [part])
    callbacks.make_checkpoint(make_trainer()).write(str(tmp_path / 'before'))
    stored = tf.train.load_checkpoint(str(tmp_path / 'before'))
    assert stored.get_tensor('optimizer_0/.ATTRIBUTES/VARIABLE_VALUE') == 3.0


@pytest.mark.parametrize('first_epoch', [0, 2])
def test_statistics_stay_frozen_in_a_resumed_or_wholly_frozen_run(tmp_path, first_epoch):
    model, means = make_trainer(), Means()
    start = {0: 0, 2: 1}[first_epoch]
    fit(model, [callbacks.FrozenBatchNorm(start, tmp_path / 'before'), means], first_epoch)
    np.testing.assert_array_equal(means.values[-1], [0, 0])
    assert not list(tmp_path.iterdir())


def test_the_sum_is_not_named_where_a_term_is_to_blame():
    stop = callbacks.StopOnNonFinite()
    with pytest.raises(FloatingPointError, match='stopped: relative became inf at batch 3'):
        stop.on_train_batch_end(3, {'total': float('nan'), 'relative': float('inf'), 'a': 1.0})
    with pytest.raises(FloatingPointError, match='total became nan while .* predictions are not,'):
        stop.on_train_batch_end(3, {'total': float('nan'), 'relative': 1.0})
    with pytest.raises(FloatingPointError, match='stopped: loss became nan at batch 3'):
        stop.on_train_batch_end(3, {'loss': float('nan')})
    stop.on_train_batch_end(3, {'loss': 1.0})


def run_with(folder, extra=(), **kwargs):
    model = make_trainer()
    saved = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    state = callbacks.TrainingState(model, folder / 'state')
    n_done = state.restore()
    fit(model, [
        callbacks.StopOnNonFinite(), *extra, state,
        callbacks.SaveModel(model.dense, saved, folder / 'model.keras')], n_done, **kwargs)
    return model


@pytest.mark.parametrize('bad_batch', [2, 3])  # within the second epoch, and its last batch
def test_after_nan_the_last_files_are_finite_and_resumable(tmp_path, bad_batch):
    with pytest.raises(FloatingPointError, match='loss became nan'):
        run_with(tmp_path, bad_batch=bad_batch)
    saved = keras.models.load_model(str(tmp_path / 'model.keras'), compile=False)
    assert all(np.isfinite(value).all() for value in saved.get_weights())
    model = run_with(tmp_path)
    assert int(model.optimizer.iterations) == 6
    assert all(np.isfinite(value).all() for value in model.get_weights())


class SpoilLastStep(keras.callbacks.Callback):
    """What a gradient that is not finite does under a finite loss, after the last batch."""

    def __init__(self, spoil):
        super().__init__()
        self.spoil = spoil

    def on_train_batch_end(self, batch, logs=None):
        self.spoil(self.model)


def spoil_weight(model):
    model.dense.set_weights([np.full([2, 1], np.nan), np.zeros([1])])


def spoil_momentum(model):
    variables = model.optimizer.variables
    variables = variables() if callable(variables) else variables
    momentum = next(v for v in variables if len(v.shape) == 2)
    momentum.assign(np.full([2, 1], np.inf))


@pytest.mark.parametrize('spoil, name', [(spoil_weight, 'kernel'), (spoil_momentum, 'm')])
def test_spoilt_weights_and_optimiser_states_are_never_saved(tmp_path, spoil, name):
    model = make_trainer()
    folder = tmp_path / 'state'
    with pytest.raises(FloatingPointError, match=f'the values of .*{name}.* became non-finite in'):
        model.fit(
            make_batches(), epochs=1, steps_per_epoch=1, verbose=0, callbacks=[
                SpoilLastStep(spoil), callbacks.StopOnNonFinite(),
                callbacks.TrainingState(model, folder)])
    assert not list(tmp_path.glob('state/*'))


def read_rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_rows_of_epochs_that_do_not_count_are_dropped(tmp_path):
    path = tmp_path / 'curves.csv'
    path.write_text('epoch,loss,val_loss\n0,3.0,NA\n1,2.0,NA\n2,1.0,NA\n')
    curves = callbacks.Curves(path, n_done=2)
    curves.on_train_begin()
    curves.on_epoch_end(2, {'loss': 0.5, 'absolute': 7.0})
    assert path.read_text() == (
        'epoch,loss,val_loss,absolute\n0,3.0,NA,NA\n1,2.0,NA,NA\n2,0.5,NA,7.0\n')


def test_a_run_from_the_start_begins_new_curves(tmp_path):
    path = tmp_path / 'curves.csv'
    path.write_text('epoch,loss\n0,3.0\n')
    model = make_trainer()
    fit(model, [callbacks.Curves(path, n_done=0)], n_epochs=2)
    rows = read_rows(path)
    assert [row['epoch'] for row in rows] == ['0', '1']
    assert all(0 < float(row['loss']) != 3 for row in rows)
    assert [file.name for file in tmp_path.iterdir()] == ['curves.csv']
