"""What every training run does: read its config, fit, write curves, go on after a kill."""

import dataclasses
import importlib.util
import json
import pathlib

import keras
import tensorflow as tf

from metro_tf.tools import writers
from training import addons, callbacks, folder_settings, optimizers, schedules

# Steps after which a loss scale would grow.
_NEVER = 2 ** 31 - 1
# The numbers of Torch's RMSprop. It adds 1e-8 outside the root, Keras adds a summand inside: of
# 1e-16 the root is the same, so that steps are the same where gradients are not of this size.
_RMSPROP = {'rho': 0.99, 'epsilon': 1e-16}


def load_config(path, config_class):
    """Loads what the function `config` of a Python file returns.

    Args:
        path: A file like those in `training/configs`.
        config_class: The class that the result must have.

    Raises:
        ValueError: If the file or its function is missing or returns something else.
    """
    config = _call_function(path, 'config')
    if not isinstance(config, config_class):
        raise ValueError(
            f'{path} must define a function `config` that returns a {config_class.__name__}. '
            f'Received: {config!r}')
    return config


def load_configs(path, config_class):
    """Loads what the function `configs` of a Python file returns.

    Args:
        path: A file like `training/configs/comparison.py`.
        config_class: The class that each of them must have.

    Returns:
        Tuple of configs with different names.

    Raises:
        ValueError: If the file or its function is missing or returns something else.
    """
    configs = _call_function(path, 'configs')
    configs = tuple(configs) if isinstance(configs, (list, tuple)) else ()
    names = [config.name for config in configs if isinstance(config, config_class)]
    if not names or len(set(names)) < len(configs):
        raise ValueError(
            f'{path} must define a function `configs` that returns a sequence of '
            f'{config_class.__name__}s with different names. Received: {configs!r}')
    return configs


def _call_function(path, name):
    """Result of a function without arguments in a Python file, None if there is none."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f'`config` must be a Python file. Received: {path} does not exist')
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    return None if function is None else function()


def build_optimizer(config, backbone=None, heads=()):
    """AdamW, SGD or RMSprop, with what the config says about the updates.

    SGD comes with the schedule 'one_cycle'. RMSprop comes with 'constant_rmsprop': with gradient g,
    the mean square becomes `m = 0.99 m + 0.01 g^2`, from 0 on, and then the weight
    `w = w - lr g / sqrt(m + 1e-16)`. The gradients of volumes of scores are so small that the
    epsilon of Keras, 1e-7, would outweigh them.

    Args:
        config: `TrainConfig` or `DetectorTrainConfig`.
        backbone: Built model that learns at a rate of its own with the schedule 'dual'.
        heads: The built layers besides.

    Returns:
        Keras optimiser, under 'mixed_float16' with loss scaling.

    Raises:
        ImportError: If tensorflow-addons is asked for and missing.
    """
    if config.optimizer.schedule == 'dual':
        for_heads, for_backbone = schedules.make_dual_schedules(
            config.learning_rate, config.n_steps)
        optimizer = addons.make_multi_optimizer([
            (_adamw(config, for_heads), list(heads)), (_adamw(config, for_backbone), [backbone])])
    else:
        optimizer = _single(config, schedules.make_schedule(config))
    if config.mixed_precision != 'mixed_float16':
        return optimizer
    if config.optimizer.loss_scale is None:
        return keras.mixed_precision.LossScaleOptimizer(optimizer)
    return keras.mixed_precision.LossScaleOptimizer(
        optimizer, initial_scale=config.optimizer.loss_scale, dynamic_growth_steps=_NEVER)


def _single(config, schedule):
    if config.optimizer.schedule == 'one_cycle':
        return optimizers.OneCycleSGD(schedule, **_common_kwargs(config))
    if config.optimizer.schedule == 'constant_rmsprop':
        return keras.optimizers.RMSprop(schedule, **_RMSPROP, **_common_kwargs(config))
    return _adamw(config, schedule)


def _common_kwargs(config):
    """Arguments that all optimisers of Keras have."""
    kwargs = {'global_clipnorm': config.clip_norm}
    if config.optimizer.averages_weights:
        kwargs.update(use_ema=True, ema_momentum=config.optimizer.ema_momentum)
    return kwargs


def _adamw(config, schedule):
    settings = config.optimizer
    kwargs = {
        **_common_kwargs(config), 'weight_decay': config.weight_decay,
        'epsilon': settings.epsilon}
    if settings.accumulation_steps == 1:
        optimizer = keras.optimizers.AdamW(schedule, **kwargs)
    else:
        optimizer = optimizers.AccumulatingAdamW(
            schedule, settings.accumulation_steps, **kwargs)
    if not settings.decay_all_weights:
        optimizer.exclude_from_weight_decay(var_names=['bias', 'gamma', 'beta'])
    return optimizer


def compile_trainer(trainer, config, backbone=None, heads=()):
    """Compiles a trainer and creates all variables of its optimiser, ready for `fit`.

    Moving averages of the weights may begin with their present values.

    Args:
        trainer: `keras.Model` with all variables.
        config, backbone, heads: See `build_optimizer`.
    """
    trainer.compile(optimizer=build_optimizer(config, backbone, heads), jit_compile=False)
    if not addons.optimizer_parts(trainer.optimizer):
        trainer.optimizer.build(trainer.trainable_variables)


def in_float32(build, *args):
    """Calls `build(*args)`, which makes a model, under the dtype policy of float32."""
    keras.mixed_precision.set_global_policy('float32')
    return build(*args)


def start_from(model, finished, source):
    """Takes over the weights of a finished model, for a training that continues where it ended.

    Args:
        model: New model.
        finished: Model of the same architecture.
        source: Where it is from, for the error message.

    Raises:
        ValueError: If it is of another class or architecture.
    """
    if type(finished) is not type(model):
        raise ValueError(
            f'`start_from` must hold a {type(model).__name__}, which the config describes. '
            f'Received: {source} with a {type(finished).__name__}')
    weights = finished.get_weights()
    shapes = [weight.shape for weight in weights]
    wanted = [weight.shape for weight in model.get_weights()]
    if shapes != wanted:
        differing = [pair for pair in zip(shapes, wanted) if pair[0] != pair[1]]
        raise ValueError(
            '`start_from` must hold a model of the architecture that the config describes. '
            f'Received: {source} with {len(shapes)} weights instead of {len(wanted)}, shapes '
            f'(file, config) that differ: {differing[:3]}')
    model.set_weights(weights)


def load_first_model(load, name_or_path):
    """Loads the finished model that a training starts from.

    Args:
        load: Function that does so.
        name_or_path: Its argument, a release or file.

    Raises:
        ValueError: If `load` raises one.
    """
    try:
        return load(name_or_path)
    except ValueError as error:
        raise ValueError(f'`start_from` must be a model that can be loaded. {error}') from error


def _write_settings(config, path, n_done):
    """Writes the settings of a run and tells which ones a resumed run changes."""
    text = json.dumps(dataclasses.asdict(config), indent=2) + '\n'
    if n_done and path.is_file():
        found = folder_settings.changes(json.loads(path.read_text()), json.loads(text))
        for name, before, after in found:
            print(f'Resumed with another setting after {n_done} epochs: {name} is {after}, '
                  f'it was {before}')
    writers.write_text(path, text)


def split_batches(dataset, n_parts):
    """Splits every batch into micro-batches of equal size.

    Every so-manieth example goes to the same micro-batch, so that each has the composition and
    the order of the whole.

    Args:
        dataset: Batches of any structure of tensors, of a size that `n_parts` divides.
        n_parts: Number of micro-batches per batch.
    """
    if n_parts == 1:
        return dataset

    def split(*batch):
        """One batch to a dataset of micro-batches."""
        return tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(
            lambda x: tf.stack([x[i::n_parts] for i in range(n_parts)]), batch))
    return dataset.flat_map(split)


def fit(trainer, model, saved_model, config, make_batches, run_dir, model_name, *,
        extra_callbacks=()):
    """Runs or resumes a training.

    Writes `config.json`, `curves.csv`, TensorBoard files, the model after every epoch and the
    checkpoints for resuming.

    Args:
        trainer: Compiled `keras.Model` with all variables, its optimiser's included.
        model: The part of it to save.
        saved_model: Its float32 twin, which is saved with its weights (see `in_float32`).
        config: `TrainConfig` or `DetectorTrainConfig`.
        make_batches: Function from the number of finished steps to an endless dataset.
        run_dir: Folder of the run.
        model_name: Name of the `.keras` file in it.
        extra_callbacks: Further callbacks.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    state = callbacks.TrainingState(trainer, run_dir / 'state')
    n_done = state.restore()
    _write_settings(config, run_dir / 'config.json', n_done)
    n_parts = config.optimizer.accumulation_steps
    has_tqdm = config.progress_bar == 'tqdm'
    trainer.fit(
        split_batches(make_batches(n_done * config.steps_per_epoch), n_parts),
        initial_epoch=n_done, epochs=config.n_steps // config.steps_per_epoch,
        steps_per_epoch=config.steps_per_epoch * n_parts, verbose=0 if has_tqdm else 2, callbacks=[
            callbacks.StopOnNonFinite(), callbacks.RestartRandomness(config.seed),
            *extra_callbacks, callbacks.Curves(run_dir / 'curves.csv', n_done),
            callbacks.SaveModel(model, saved_model, run_dir / model_name),
            keras.callbacks.TensorBoard(str(run_dir / 'tensorboard'), write_graph=False), state,
            *([addons.make_progress_bar()] if has_tqdm else [])])
