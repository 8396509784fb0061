"""Weights of networks in NPZ files, which Keras 2 and Keras 3 read alike.

A file holds one array per variable, under the names of its layers and its own, and a description of
the network as JSON under the key `config`. `.keras` files can be read by the Keras version that
wrote them alone.
"""

import json
import zipfile
import zlib

import keras
import numpy as np

CONFIG_KEY = 'config'
# One kind of layer has another name for the same variable in Keras 3.
_VARIABLE_NAMES = {'depthwise_kernel': 'kernel'}


def variables(network):
    """The variables of a network by names that do not depend on the Keras version.

    Args:
        network: Built Keras model or layer.

    Returns:
        Dict from names such as `backbone_name/layer_name/kernel` to variables.

    Raises:
        ValueError: If two variables have the same name.
    """
    found = {}
    for name, variable in _walk(network, ()):
        if name in found:
            raise ValueError(
                f'`network` must have variables of distinct names. Received: several {name}')
        found[name] = variable
    return found


def to_arrays(network, config):
    """What a file of weights holds.

    Args:
        network: Built Keras model.
        config: Dict of JSON types that describes it.

    Returns:
        Dict from names to NumPy arrays, for `numpy.savez_compressed`.
    """
    arrays = {name: variable.numpy() for name, variable in variables(network).items()}
    return {**arrays, CONFIG_KEY: np.array(json.dumps(config, sort_keys=True))}


def read(path):
    """Reads a file of weights.

    Args:
        path: Path of the NPZ file.

    Returns:
        Tuple of the description of the network, a dict, and of the dict from names to arrays.

    Raises:
        ValueError: If the file is damaged or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        config = json.loads(str(arrays.pop(CONFIG_KEY)))
        if not isinstance(config, dict):
            raise TypeError(f'its {CONFIG_KEY} is no dict')
    except (ValueError, TypeError, KeyError, AttributeError, OSError, EOFError,
            zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            '`name_or_path` must be an NPZ file of training.export, complete and undamaged. '
            f'Received: {path} ({str(error)[:200] or type(error).__name__})') from error
    return config, arrays


def assign(network, arrays, source):
    """Sets all variables of a network; none if something does not fit.

    Args:
        network: Built Keras model.
        arrays: Dict like that of `read`.
        source: Where they are from, for the error message.

    Raises:
        ValueError: If an array is missing, too many or of another shape; the message names it.
    """
    targets = variables(network)
    check_fit(
        {name: tuple(variable.shape) for name, variable in targets.items()},
        {name: array.shape for name, array in arrays.items()}, source)
    for name, variable in targets.items():
        variable.assign(arrays[name])


def check_fit(wanted, found, source):
    """Checks that arrays are those of a network.

    Args:
        wanted: Dict from the names of the network's variables to their shapes.
        found: Dict from the names of the arrays to their shapes.
        source: Where they are from, for the error message.

    Raises:
        ValueError: If one is missing, too many or of another shape.
    """
    for what, names in (
            ('lacks', set(wanted) - set(found)), ('has in addition', set(found) - set(wanted))):
        if names:
            raise ValueError(
                f'`arrays` must be those of the network that is described. Received: {source}, '
                f'which {what} {sorted(names)[0]!r} (and {len(names) - 1} more)')
    for name, shape in wanted.items():
        if found[name] != shape:
            raise ValueError(
                f'`arrays` must have the shapes of the network that is described. Received: '
                f'{source}, with {name!r} of shape {found[name]} instead of {shape}')


def load_keras_file(path):
    """Loads the model in a `.keras` file.

    Args:
        path: Path of the file.

    Returns:
        Keras model, not compiled.

    Raises:
        ValueError: If another Keras version wrote it, it is damaged, or holds something that this
            program does not know.
    """
    written_by = _keras_version(path)
    if written_by.partition('.')[0] != keras.__version__.partition('.')[0]:
        raise ValueError(
            f'`name_or_path` must be a .keras file of Keras {keras.__version__.partition(".")[0]} '
            '(or an NPZ file of training.export, which every version reads). '
            f'Received: {path}, written by Keras {written_by}')
    try:
        return keras.models.load_model(str(path), compile=False)
    except Exception as error:  # Keras answers unusable files with nearly any type of error.
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise ValueError(
            '`name_or_path` must be a .keras file of a model of this package. '
            f'Received: {path} ({reason[:200]})') from error


def _keras_version(path):
    try:
        with zipfile.ZipFile(path) as file:
            return str(json.loads(file.read('metadata.json'))['keras_version'])
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile,
            zlib.error) as error:
        raise ValueError(
            '`name_or_path` must be a .keras or NPZ file, complete and undamaged. '
            f'Received: {path} ({str(error)[:200] or type(error).__name__})') from error


def _walk(layer, path):
    """Pairs of name and variable of a layer and of those in it, whose names are `path`."""
    inner = layer._flatten_layers(recursive=False, include_self=False)
    found = [pair for child in inner for pair in _walk(child, (*path, _neutral(child.name)))]
    known = {id(variable) for _, variable in found}
    for variable in layer.weights:
        if id(variable) not in known:
            name = variable.name.partition(':')[0].rpartition('/')[2]
            found.append(('/'.join((*path, _VARIABLE_NAMES.get(name, name))), variable))
    return found


def _neutral(layer_name):
    """The name that every Keras version's published networks have for a layer."""
    return layer_name.lower().replace('/', '_').replace('batchnorm', 'bn')
