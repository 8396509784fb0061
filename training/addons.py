"""What is taken from tensorflow-addons, which exists for Keras 2 only and is not required."""

_ADVICE = (
    '{name} is a part of tensorflow-addons, which works with Keras 2 only. On Python 3.10 or 3.11 '
    'install it with: pip install tensorflow-addons==0.23.0. Otherwise choose {alternative}.')


def make_multi_optimizer(optimizers_and_layers):
    """One optimiser that updates the weights of different layers by optimisers of their own.

    The parts are built, so that a checkpoint can be restored (see `optimizer_parts`).

    Args:
        optimizers_and_layers: List of pairs of a Keras optimiser and a list of built layers.

    Raises:
        ImportError: If tensorflow-addons is not installed.
        ValueError: If two weights share a name, by which tensorflow-addons tells them apart.
    """
    addons = _import_addons('MultiOptimizer', "a `schedule` other than 'dual'")
    names = [
        variable.name for _, layers in optimizers_and_layers for layer in layers
        for variable in layer.trainable_variables]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            'With `schedule` \'dual\' all weights must have different names. '
            f'Received several of: {repeated[:5]}')
    for optimizer, layers in optimizers_and_layers:
        optimizer.build([
            variable for layer in layers for variable in layer.trainable_variables])
    optimizer = addons.optimizers.MultiOptimizer(optimizers_and_layers)
    _ = optimizer.iterations  # creates the variable, which no branch of a graph could
    return optimizer


def optimizer_parts(optimizer):
    """List of the optimisers inside a `MultiOptimizer`, whose checkpoints lack them; else []."""
    inner = getattr(optimizer, 'inner_optimizer', optimizer)  # inside the loss scaling
    return [spec['optimizer'] for spec in getattr(inner, 'optimizer_specs', [])]


def make_progress_bar():
    """A tqdm bar over epochs and steps, as a callback.

    Raises:
        ImportError: If tensorflow-addons is not installed.
    """
    addons = _import_addons('TQDMProgressBar', "the `progress_bar` 'keras'")
    return addons.callbacks.TQDMProgressBar()


def _import_addons(name, alternative):
    try:
        import tensorflow_addons
    except ImportError as error:
        raise ImportError(_ADVICE.format(name=name, alternative=alternative)) from error
    return tensorflow_addons
