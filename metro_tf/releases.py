"""Where released models lie: exports in `<name>/<version>/`, weights in `<name>_keras/<version>/`.

Releases lie in `saved_models` inside the installed package or beside it, in a checkout.
"""

import pathlib

CROP_MODEL, DETECTOR = 'crop_model', 'detector'
_PACKAGE_DIR = pathlib.Path(__file__).resolve().parent
_EXPORT_FILE = 'saved_model.pb'
_WEIGHTS_SUFFIX = '_keras'


def find(name_or_path='default'):
    """Path of an export.

    Args:
        name_or_path: Name of a model that comes with the package, optionally with a version
            (`default`, `default/1`); or the path of any export.

    Returns:
        `pathlib.Path` of the folder.

    Raises:
        ValueError: If there is no such model, or the folder holds none.
    """
    named = _with_highest_versions(_exports())
    name = str(name_or_path)
    if name in named:
        return named[name]
    path = pathlib.Path(name_or_path)
    if (path / _EXPORT_FILE).is_file():
        return path
    if path.exists():
        raise ValueError(
            '`name_or_path` must be the folder of a SavedModel, which has a file saved_model.pb. '
            f'Received: {path}')
    raise ValueError(
        f'`name_or_path` must be the path of a SavedModel or one of {sorted(named)}. '
        f'Received: {name!r}')


def find_weights(name_or_path, network):
    """Path of the file with the weights of one network of a release.

    A name without version means the highest version that there is, as an export or as weights.

    Args:
        name_or_path: Name of a model that comes with the package, optionally with a version; the
            path of an export, beside which its weights lie; that of a folder with weights; or
            that of a file, which is returned as it is.
        network: `CROP_MODEL` or `DETECTOR`.

    Returns:
        `pathlib.Path` of the file.

    Raises:
        ValueError: If there is no such model, or it comes without the weights of this network.
    """
    path = pathlib.Path(name_or_path)
    if path.is_file():
        return path
    named = _with_highest_versions({**_weights_of_exports(), **_weights()})
    name = str(name_or_path)
    if name in named:
        folder = named[name]
    elif (path / _EXPORT_FILE).is_file():
        folder = weights_folder(path)
    elif path.is_dir():
        folder = path
    else:
        raise ValueError(
            '`name_or_path` must be an NPZ or .keras file, a folder with one, or one of '
            f'{sorted(named)}. Received: {name!r}')
    file = folder / f'{network}.npz'
    if not file.is_file():
        raise ValueError(
            f'`name_or_path` must be a model that comes with the weights of its {network}, which '
            f'training.export writes beside an export. Received: {name!r} without {file}')
    return file


def weights_folder(export_folder):
    """Path of the folder `<name>_keras/<version>` with the weights of an export.

    Args:
        export_folder: Path of the export, `<name>/<version>`.
    """
    path = pathlib.Path(export_folder).absolute()
    return path.parent.with_name(path.parent.name + _WEIGHTS_SUFFIX) / path.name


def _weights_of_exports():
    """Dict from `name/version` of every export to the folder where its weights should be."""
    return {name: weights_folder(folder) for name, folder in _exports().items()}


def _exports():
    """Dict from `name/version` to the folder of an export."""
    return {f'{folder.parent.name}/{folder.name}': folder for folder in _folders(_EXPORT_FILE)}


def _weights():
    """Dict from `name/version` to a folder with weights."""
    return {
        f'{folder.parent.name.removesuffix(_WEIGHTS_SUFFIX)}/{folder.name}': folder
        for folder in _folders('*.npz') if folder.parent.name.endswith(_WEIGHTS_SUFFIX)}


def _folders(pattern):
    """Folders with certain files; the copies in an installed package behind those in a checkout."""
    return [
        file.parent for root in (_PACKAGE_DIR.parent, _PACKAGE_DIR)
        for file in sorted((root / 'saved_models').glob(f'*/*/{pattern}'))]


def _with_highest_versions(folders):
    """The same dict with every `name` besides, for its highest version."""
    highest = {}
    for key in sorted(folders, key=_version_key):
        highest[key.partition('/')[0]] = folders[key]
    return {**highest, **folders}


def _version_key(key):
    """Sorts `10` behind `9` and `1.10` behind `1.9`."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part)
            for part in key.partition('/')[2].split('.')]
