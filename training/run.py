"""What every training run does: read its config, fit, write curves, go on after a kill."""

import dataclasses
import importlib.util
import json
import pathlib

import keras

from training import callbacks


def load_config(path, config_class):
    """Loads what the function `config` of a Python file returns.

    Args:
        path: A file like those in `training/configs`.
        config_class: The class that the result must have.

    Raises:
        ValueError: If the file or its function is missing or returns something else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f'`config` must be a Python file. Received: {path} does not exist')
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.config() if hasattr(module, 'config') else None
    if not isinstance(config, config_class):
        raise ValueError(
            f'{path} must define a function `config` that returns a {config_class.__name__}. '
            f'Received: {config!r}')
    return config


def build_optimizer(config, schedule):
    """AdamW without weight decay of biases and normalisations, with a limit on the gradient.

    Args:
        config: Has the fields `weight_decay` and `clip_norm`.
        schedule: Learning rate or its schedule.
    """
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=config.weight_decay, global_clipnorm=config.clip_norm)
    optimizer.exclude_from_weight_decay(var_names=['bias', 'gamma', 'beta'])
    return optimizer


def in_float32(build, *args):
    """Calls `build(*args)`, which makes a model, under the dtype policy of float32."""
    keras.mixed_precision.set_global_policy('float32')
    return build(*args)


def start_from(model, path):
    """Takes over the weights of a finished model, for a training that continues where it ended.

    Args:
        model: New model.
        path: `.keras` file of a model of the same architecture, or None to leave `model` as it is.

    Raises:
        ValueError: If the file is missing, does not open or holds another architecture.
    """
    if path is None:
        return
    if not pathlib.Path(path).is_file():
        raise ValueError(f'`start_from` must be a .keras file. Received: {path} does not exist')
    try:
        weights = keras.models.load_model(str(path), compile=False).get_weights()
    except Exception as error:  # the kind depends on the Keras version and on what is wrong
        raise ValueError(
            '`start_from` must be a .keras file that this Keras version opens (files of Keras 2 '
            f'and 3 differ). Received: {path}, which failed with: {str(error)[:200]}') from error
    shapes = [weight.shape for weight in weights]
    wanted = [weight.shape for weight in model.get_weights()]
    if shapes != wanted:
        differing = [pair for pair in zip(shapes, wanted) if pair[0] != pair[1]]
        raise ValueError(
            '`start_from` must hold a model of the architecture that the config describes. '
            f'Received: {path} with {len(shapes)} weights instead of {len(wanted)}, shapes '
            f'(file, config) that differ: {differing[:3]}')
    model.set_weights(weights)


def fit(trainer, model, saved_model, config, make_batches, run_dir, model_name):
    """Runs or resumes a training.

    Writes `config.json`, `curves.csv`, TensorBoard files, the model after every epoch and the
    checkpoints for resuming.

    Args:
        trainer: Compiled `keras.Model` with all variables, its optimiser's included.
        model: The part of it to save.
        saved_model: Its float32 twin, which is saved with its weights (see `in_float32`).
        config: Frozen dataclass with the fields `n_steps` and `steps_per_epoch`.
        make_batches: Function from the number of finished steps to an endless dataset.
        run_dir: Folder of the run.
        model_name: Name of the `.keras` file in it.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / 'config.json').write_text(json.dumps(dataclasses.asdict(config), indent=2) + '\n')
    state = callbacks.TrainingState(trainer, run_dir / 'state')
    n_done = state.restore()
    trainer.fit(
        make_batches(n_done * config.steps_per_epoch), initial_epoch=n_done,
        epochs=config.n_steps // config.steps_per_epoch, steps_per_epoch=config.steps_per_epoch,
        verbose=2, callbacks=[
            callbacks.StopOnNonFinite(), state,
            callbacks.SaveModel(model, saved_model, run_dir / model_name),
            keras.callbacks.CSVLogger(str(run_dir / 'curves.csv'), append=n_done > 0),
            keras.callbacks.TensorBoard(str(run_dir / 'tensorboard'), write_graph=False)])
