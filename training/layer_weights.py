"""Weights of a finished network for one that is like it but for residual blocks."""

import re

import keras

# The layers with weights of `metro_tf.backbones.residual`.
_BLOCK_LAYER = re.compile(r'(.*block\d+)_(first|second)_(conv|norm)$')


def take_over_layers(new_model, old_model):
    """Sets the weights of the layers that two models have in common, by their names.

    Args:
        new_model: Keras model with new weights, changed in place.
        old_model: Keras model.

    Returns:
        Dict with the names of 'new blocks' and of 'blocks left out'.

    Raises:
        ValueError: If a layer that is in no residual block is missing on one side, or a layer has
            weights of another shape. Nothing is changed then.
    """
    new_layers, old_layers = weighted_layers(new_model), weighted_layers(old_model)
    common = [name for name in new_layers if name in old_layers]
    changes = {
        'new blocks': _blocks(set(new_layers) - set(common), common, 'the finished model'),
        'blocks left out': _blocks(set(old_layers) - set(common), common, 'the new model')}
    for name in common:
        shapes = [[weight.shape for weight in layers[name].get_weights()]
                  for layers in (old_layers, new_layers)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                '`old_model` must have layers of the sizes of the new model. Received: layer '
                f'{name} with the shapes {shapes[0]} instead of {shapes[1]}')
    for name in common:
        new_layers[name].set_weights(old_layers[name].get_weights())
    return changes


def weighted_layers(model):
    """The layers with weights of a model and of the models in it.

    Returns:
        Dict from name to layer.

    Raises:
        ValueError: If two of them have the same name.
    """
    found = {}
    for layer in model.layers:
        nested = weighted_layers(layer) if isinstance(layer, keras.Model) else {layer.name: layer}
        nested = {name: inner for name, inner in nested.items() if inner.get_weights()}
        clashes = sorted(set(found) & set(nested))
        if clashes:
            raise ValueError(
                f'`model` must have layers of distinct names. Received: several {clashes}')
        found.update(nested)
    return found


def _blocks(names, common_names, where):
    """Names of the residual blocks that layers belong to, which must be whole blocks."""
    common_blocks = {_block_of(name) for name in common_names} - {None}
    for name in sorted(names):
        if _block_of(name) is None or _block_of(name) in common_blocks:
            raise ValueError(
                '`old_model` must have all layers of the new model, and no others, but for '
                f'residual blocks. Received: layer {name} is missing in {where}')
    return sorted({_block_of(name) for name in names})


def _block_of(name):
    match = _BLOCK_LAYER.match(name)
    return match.group(1) if match else None
