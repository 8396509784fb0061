"""What happens between epochs: state for resuming, the current model, and a stop on NaN."""

import math
import os
import pathlib

import keras
import tensorflow as tf


class TrainingState(keras.callbacks.Callback):
    """Saves model, optimiser and epoch at the end of every epoch, so that a killed run goes on.

    Args:
        trainer: Compiled `keras.Model`.
        folder: Folder of the checkpoints; the last two are kept.
    """

    def __init__(self, trainer, folder):
        super().__init__()
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        checkpoint = tf.train.Checkpoint(
            model=trainer, optimizer=trainer.optimizer, epoch=self.epoch)
        self.manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2)

    def restore(self):
        """Loads the newest state if there is one.

        The model and its optimiser must have their variables.

        Returns:
            Number of finished epochs.
        """
        status = self.manager.checkpoint.restore(self.manager.latest_checkpoint)
        if self.manager.latest_checkpoint:
            status.assert_existing_objects_matched()
        return int(self.epoch.numpy())

    def on_epoch_end(self, epoch, logs=None):
        """Writes a checkpoint."""
        self.epoch.assign(epoch + 1)
        self.manager.save()


def save_model(model, path):
    """Writes a `.keras` file to a temporary file, then renames it."""
    path = pathlib.Path(path)
    temporary = path.with_name(f'unfinished-{path.name}')
    model.save(str(temporary))
    os.replace(temporary, path)


class SaveModel(keras.callbacks.Callback):
    """Writes a model as a `.keras` file after every epoch, replacing the previous one.

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
        self.saved_model.set_weights(self.trained_model.get_weights())
        save_model(self.saved_model, self.path)


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops training with an error that names the value which is not finite."""

    def on_train_batch_end(self, batch, logs=None):
        """Checks every running mean of the batch."""
        for name, value in (logs or {}).items():
            if not math.isfinite(float(value)):
                raise FloatingPointError(
                    f'Training stopped: {name} became {float(value)} at batch {batch} of the '
                    'epoch. A lower learning rate or a longer warm-up may help.')
