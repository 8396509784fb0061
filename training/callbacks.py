"""What happens between epochs: curves, state for resuming, the model, and a stop on NaN."""

import contextlib
import csv
import io
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from metro_tf.tools import writers
from training import addons, randomness


def make_checkpoint(trainer, **others):
    """`tf.train.Checkpoint` of a compiled trainer and its optimiser, or optimisers.

    Args:
        trainer: Compiled `keras.Model`.
        **others: What else belongs to it.
    """
    parts = addons.optimizer_parts(trainer.optimizer)
    return tf.train.Checkpoint(
        model=trainer, optimizer=trainer.optimizer,
        **{f'optimizer_{i}': part for i, part in enumerate(parts)}, **others)


class TrainingState(keras.callbacks.Callback):
    """Saves model, optimiser and epoch at the end of every epoch, so that a killed run goes on.

    It comes after all callbacks that write files: an epoch counts as finished when everything
    about it is on disk.

    Args:
        trainer: Compiled `keras.Model`.
        folder: Folder of the checkpoints; the last two are kept.
    """

    def __init__(self, trainer, folder):
        super().__init__()
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        checkpoint = make_checkpoint(trainer, epoch=self.epoch)
        self.manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2)

    def restore(self):
        """Loads the newest state if there is one.

        The model and its optimiser must have their variables.

        Returns:
            Number of finished epochs.

        Raises:
            ValueError: If the state is that of another model.
        """
        path = self.manager.latest_checkpoint
        try:
            status = self.manager.checkpoint.restore(path)
            if path:
                status.assert_existing_objects_matched()
        except (AssertionError, ValueError) as error:  # missing variables, or other shapes
            raise ValueError(
                '`folder` must hold checkpoints of the architecture, skeleton and optimiser that '
                'the config describes; another training needs another name. Received: '
                f'{path}, which failed with: {str(error)[:300]}') from error
        return int(self.epoch.numpy())

    def on_epoch_end(self, epoch, logs=None):
        """Writes a checkpoint."""
        self.epoch.assign(epoch + 1)
        self.manager.save()


class Curves(keras.callbacks.Callback):
    """Writes the losses of every epoch as a row of a CSV file with a header.

    It comes before `TrainingState`: what a kill between the two leaves is a row too many, which
    the resumed run drops and writes again.

    Args:
        path: Path of the file.
        n_done: Number of finished epochs; rows of others are dropped.
    """

    def __init__(self, path, n_done):
        super().__init__()
        self.path = pathlib.Path(path)
        self.n_done = n_done
        self.rows = []

    def on_train_begin(self, logs=None):
        """Reads the rows of the finished epochs."""
        if self.path.is_file():
            with self.path.open(newline='', encoding='utf-8') as file:
                self.rows = [row for row in csv.DictReader(file) if int(row['epoch']) < self.n_done]

    def on_epoch_end(self, epoch, logs=None):
        """Adds a row and writes all of them."""
        self.rows.append({'epoch': epoch, **dict(sorted((logs or {}).items()))})
        text = io.StringIO()
        names = dict.fromkeys(name for row in self.rows for name in row)
        writer = csv.DictWriter(text, list(names), restval='NA', lineterminator='\n')
        writer.writeheader()
        writer.writerows(self.rows)
        writers.write_text(self.path, text.getvalue())


class RestartRandomness(keras.callbacks.Callback):
    """Restarts the generators of random layers at every epoch (see `training.randomness`).

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        """Sets every generator."""
        randomness.restart(self.model, self.seed, epoch)


def save_model(model, path):
    """Writes a `.keras` file to a temporary file, then renames it."""
    path = pathlib.Path(path)
    temporary = path.with_name(f'unfinished-{path.name}')
    model.save(str(temporary))
    os.replace(temporary, path)


@contextlib.contextmanager
def averaged_weights(trainer):
    """Inside, the trainable weights are their moving averages, if the optimiser keeps them.

    Running batch statistics, which are averages already, stay as they are.
    """
    optimizer = getattr(trainer.optimizer, 'inner_optimizer', trainer.optimizer)
    if not getattr(optimizer, 'use_ema', False):
        yield
        return
    trained = [variable.numpy() for variable in trainer.trainable_variables]
    trainer.optimizer.finalize_variable_values(trainer.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(trainer.trainable_variables, trained):
            variable.assign(value)


class SaveModel(keras.callbacks.Callback):
    """Writes a model as a `.keras` file after every epoch, replacing the previous one.

    The file holds the moving averages of the weights if there are any (see `averaged_weights`).

    Args:
        trained_model: The model that is in training, maybe in mixed precision.
        saved_model: Model of the same architecture that is saved with its weights; the file of a
            float32 one gives the same results everywhere.
        path: Path of the file.
    """

    def __init__(self, trained_model, saved_model, path):
        super().__init__()
        self.trained_model = trained_model
        self.saved_model = saved_model
        self.path = pathlib.Path(path)

    def on_epoch_end(self, epoch, logs=None):
        """Saves the model."""
        with averaged_weights(self.model):
            weights = self.trained_model.get_weights()
        self.saved_model.set_weights(weights)
        save_model(self.saved_model, self.path)


class FrozenBatchNorm(keras.callbacks.Callback):
    """From an epoch on, trains the network in inference mode (MeTRAbs' final fine-tuning, R23).

    It sets the trainer's attribute `is_batch_norm_frozen`, which the trainer's `call` and losses
    obey, and writes a checkpoint of model and optimiser before the switch.

    Args:
        first_epoch: Number of the epoch, from 0.
        checkpoint_path: Where the checkpoint is written.
    """

    def __init__(self, first_epoch, checkpoint_path):
        super().__init__()
        self.first_epoch = first_epoch
        self.checkpoint_path = str(checkpoint_path)

    def on_epoch_begin(self, epoch, logs=None):
        """Switches, also where a run is resumed after the switch."""
        if epoch < self.first_epoch or self.model.is_batch_norm_frozen:
            return
        if epoch == self.first_epoch > 0:
            make_checkpoint(self.model).write(self.checkpoint_path)
        self.model.is_batch_norm_frozen = True
        self.model.make_train_function(force=True)


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops training with an error that names the value which is not finite.

    It comes before the callbacks that save, so that no file with such values is written.
    """

    def on_train_batch_end(self, batch, logs=None):
        """Checks every running mean of the batch."""
        values = {name: float(value) for name, value in (logs or {}).items()}
        bad = {name: value for name, value in values.items() if not np.isfinite(value)}
        # A sum tells less than its terms.
        terms = {name: bad[name] for name in bad if name not in ('loss', 'total')} or bad
        if terms:
            raise FloatingPointError(
                'Training stopped: ' + ', '.join(
                    f'{name} became {value}' for name, value in terms.items())
                + (' while all of its terms are finite: the predictions are not,'
                   if 'total' in terms else '')
                + f' at batch {batch} of the epoch. A lower learning rate or a longer warm-up '
                'may help.')

    def on_epoch_end(self, epoch, logs=None):
        """Checks the weights and the optimiser's state, which a gradient may have spoilt."""
        own = self.model.optimizer.variables
        own = own() if callable(own) else own  # a list in most optimisers of Keras 2 and 3
        for variable in [*self.model.weights, *own]:
            value = np.asarray(variable)
            if value.dtype.kind == 'f' and not np.isfinite(value).all():
                raise FloatingPointError(
                    f'Training stopped: the values of {getattr(variable, "path", variable.name)} '
                    f'became non-finite in epoch {epoch}. A lower learning rate may help.')
