"""A run that is killed anywhere between two epochs and resumed ends like one that was not."""

import csv
import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from training import callbacks, run
from training.config import TrainConfig

CONFIG = TrainConfig(
    name='tiny', n_steps=6, steps_per_epoch=2, warmup_steps=0, batch_size_3d=4, batch_size_2d=4)
WRITERS = (callbacks.Curves, callbacks.SaveModel, callbacks.TrainingState)


class Killed(Exception):
    """Ends a run where a kill would."""


def make_batches(first_step):
    x = np.random.default_rng(0).normal(size=[6, 4, 2]).astype(np.float32)
    y = np.ones([6, 4, 1], np.float32)
    return tf.data.Dataset.from_tensor_slices((x, y)).repeat().skip(first_step)


def make_model():
    return keras.Sequential([keras.Input([2]), keras.layers.Dense(1, kernel_initializer='ones')])


def fit(run_dir, config=CONFIG):
    """Runs or resumes the training and returns its weights."""
    trainer = make_model()
    trainer.compile(optimizer=keras.optimizers.AdamW(0.01), loss='mse', jit_compile=False)
    trainer.optimizer.build(trainer.trainable_variables)
    run.fit(trainer, trainer, make_model(), config, make_batches, run_dir, 'model.keras')
    return trainer.get_weights()


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    """The folder and the weights of a run that nobody kills."""
    run_dir = tmp_path_factory.mktemp('unbroken')
    return run_dir, fit(run_dir)


def kill(monkeypatch, callback_class, i_epoch, is_late):
    """Makes a run end before or after a callback's work at the end of an epoch."""
    work = callback_class.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        if epoch != i_epoch:
            return work(self, epoch, logs)
        if is_late:
            work(self, epoch, logs)
        raise Killed
    monkeypatch.setattr(callback_class, 'on_epoch_end', on_epoch_end)


def test_curves_have_a_row_for_every_epoch(unbroken):
    with (unbroken[0] / 'curves.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row['epoch']) for row in rows] == [0, 1, 2]
    losses = [float(row['loss']) for row in rows]
    assert losses[0] > losses[1] > losses[2] > 0


def test_a_resumed_run_tells_which_settings_change(tmp_path, capsys):
    fit(tmp_path, dataclasses.replace(CONFIG, n_steps=4))
    assert 'another setting' not in capsys.readouterr().out
    changed = dataclasses.replace(CONFIG.loss, relative=2.0)
    fit(tmp_path, dataclasses.replace(CONFIG, loss=changed))
    lines = [line for line in capsys.readouterr().out.splitlines() if 'another setting' in line]
    assert lines == [
        'Resumed with another setting after 2 epochs: loss.relative is 2.0, it was 1.0',
        'Resumed with another setting after 2 epochs: n_steps is 6, it was 4']
    assert json.loads((tmp_path / 'config.json').read_text())['n_steps'] == 6


@pytest.mark.parametrize('i_epoch', [0, 1, 2])
@pytest.mark.parametrize('is_late', [False, True])
@pytest.mark.parametrize('callback_class', WRITERS)
def test_a_kill_loses_and_doubles_nothing(
        unbroken, tmp_path, monkeypatch, callback_class, is_late, i_epoch):
    with monkeypatch.context() as patches, pytest.raises(Killed):
        kill(patches, callback_class, i_epoch, is_late)
        fit(tmp_path)
    weights = fit(tmp_path)
    run_dir, expected = unbroken
    saved = keras.models.load_model(str(tmp_path / 'model.keras'), compile=False).get_weights()
    for actual, wanted in ((weights, expected), (saved, expected)):
        for value, other in zip(actual, wanted, strict=True):
            np.testing.assert_allclose(value, other, rtol=1e-6)
    assert read_curves(tmp_path) == pytest.approx(read_curves(run_dir), rel=1e-5)


def read_curves(run_dir):
    """Dict from (epoch, name) to value; a doubled epoch would change the number of lines."""
    lines = (run_dir / 'curves.csv').read_text().splitlines()
    rows = list(csv.DictReader(lines))
    values = {(row['epoch'], name): float(row[name]) for row in rows for name in row}
    return {**values, 'n_lines': len(lines)}
