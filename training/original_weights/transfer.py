"""From the weights of a release to those of a `Metrabs`."""

import numpy as np

from training.original_weights import layouts


def n_depth_cells(found, n_joints):
    """Number of heatmap planes along the viewing direction.

    Args:
        found: `release.Release`.
        n_joints: Number of joints of the heads.

    Raises:
        ValueError: If there are no heads, or their channels are not those of so many joints.
    """
    name = layouts.HEADS.source_names(found.naming)[1]
    if name not in found.tensors:
        raise ValueError(
            f'`found` must have the weights of the heads. Received: no {name} among '
            f'{len(found.tensors)} weights')
    n_channels = found.tensors[name].size
    if n_channels % n_joints or n_channels // n_joints < 3:
        raise ValueError(
            '`found` must have one channel of the heads for every joint in 2D and one for each of '
            f'its depths. Received: {n_channels} channels for {n_joints} joints (a model of latent '
            'points has others)')
    return n_channels // n_joints - 1


def take_over(model, table, found, selection):
    """Sets all weights of a crop model to those of a release.

    Args:
        model: `metro_tf.models.Metrabs` with the joints of the selection, changed in place.
        table: List of `layouts.Layer`, the backbone's in their order.
        found: `release.Release`.
        selection: `joints.Selection`.

    Returns:
        Number of the weights that were taken over.

    Raises:
        ValueError: If weights are missing, left over or of another shape; the message lists them
            all. Nothing is changed then.
    """
    targets = [*zip(_weighted_layers(model.backbone, table), table)]
    wanted = {**_wanted(targets, found.naming), **_wanted_heads(model, found.naming, selection)}
    arrays = _in_our_axes([*table, layouts.HEADS], found)
    _check(wanted, arrays)
    for layer, row in targets:
        layer.set_weights([arrays[name] for name in row.source_names(found.naming)])
    model.heads.conv.set_weights([
        _selected(arrays[name], selection)
        for name in layouts.HEADS.source_names(found.naming)])
    return len(wanted)


def _weighted_layers(backbone, table):
    layers = [layer for layer in backbone.layers if layer.weights]
    names = [layouts.recent_name(layer.name) for layer in layers]
    if names != [row.name for row in table]:
        raise ValueError(
            '`table` must have the layers of the backbone in their order. Received: '
            f'{[row.name for row in table]} for {names}')
    return layers


def _wanted(targets, naming):
    """Dict from the names of weights in the release to the shapes that we need."""
    return {
        name: tuple(weight.shape) for layer, row in targets
        for name, weight in zip(row.source_names(naming), layer.weights, strict=True)}


def _wanted_heads(model, naming, selection):
    n_channels = (1 + model.heatmap_config.n_depth_cells) * selection.n_all
    return {
        name: (*weight.shape[:-1], n_channels) for name, weight in zip(
            layouts.HEADS.source_names(naming), model.heads.conv.weights, strict=True)}


def _in_our_axes(table, found):
    rows = {name: row for row in table for name in row.source_names(found.naming)}
    return {
        name: rows[name].in_our_axes(array, found.naming) if name in rows else array
        for name, array in found.tensors.items()}


def _check(wanted, arrays):
    problems = {
        'missing': sorted(set(wanted) - set(arrays)),
        'left over': sorted(set(arrays) - set(wanted)),
        'of another shape': [
            f'{name} {arrays[name].shape} instead of {shape}' for name, shape in wanted.items()
            if name in arrays and arrays[name].shape != shape]}
    if any(problems.values()):
        n_fitting = sum(name in arrays and arrays[name].shape == shape
                        for name, shape in wanted.items())
        raise ValueError(
            '`found` must have the weights of the network and no others. Received: '
            f'{n_fitting} of {len(wanted)} fit; ' + '; '.join(
                f'{len(names)} {what}: {", ".join(names)}'
                for what, names in problems.items() if names))


def _selected(array, selection):
    """The channels of the selected joints, out of `[..., (1 + depth) * joints]`."""
    blocks = array.reshape(*array.shape[:-1], -1, selection.n_all)[..., selection.indices]
    return np.reshape(blocks, (*array.shape[:-1], -1))
