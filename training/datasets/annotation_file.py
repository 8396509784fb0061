"""The file of labels in a folder of photos: JSON or Parquet, see docs/retraining.md."""

import json
import pathlib

_FILE_NAMES = ('annotations.json', 'annotations.parquet')


def locate(folder, annotations=None):
    """Path of the labels of a folder.

    Args:
        folder: Path of the folder.
        annotations: Path of the file, if it is not in the folder under its usual name.

    Raises:
        ValueError: If there is no such file, or there are two.
    """
    return _in_folder(folder) if annotations is None else _existing(annotations)


def read(path):
    """What an annotation file holds.

    Args:
        path: Result of `locate`.

    Returns:
        Dict with a list of `people`, which are not checked, and whatever else a JSON file has.

    Raises:
        ValueError: If the file is not of its format, which the message names.
    """
    return _read_parquet(path) if path.suffix == '.parquet' else _read_json(path)


def short(value):
    """A value for an error message, cut to a readable length."""
    text = repr(value)
    return text if len(text) < 80 else f'{text[:76]} ...'


def _in_folder(folder):
    """The one annotation file of a folder."""
    paths = [folder / name for name in _FILE_NAMES if (folder / name).is_file()]
    if len(paths) != 1:
        found = ' and '.join(path.name for path in paths) or 'neither'
        raise ValueError(
            f'`folder` must hold {" or ".join(_FILE_NAMES)}. Received: {folder} with {found}')
    return paths[0]


def _existing(path):
    """The path of an annotation file that is given."""
    path = pathlib.Path(path)
    if not path.is_file() or path.suffix not in ('.json', '.parquet'):
        raise ValueError(
            '`annotations` must be a .json or .parquet file. '
            f'Received: annotations={path}')
    return path


def _read_json(path):
    """The object at the top of a JSON file; it has a list of `people`."""
    try:
        top = json.loads(path.read_text(encoding='utf-8-sig'))
    except json.JSONDecodeError as error:
        raise ValueError(
            f'{path.name}, line {error.lineno}, column {error.colno}: not valid JSON: '
            f'{error.msg}') from None
    except UnicodeDecodeError as error:
        raise ValueError(f'{path.name}: the file must be UTF-8 text. Received: {error}') from None
    if not isinstance(top, dict) or not isinstance(top.get('people'), list):
        raise ValueError(
            f'{path.name}: the file must hold an object with a list `people`. '
            f'Received: {short(top)}')
    return top


def _read_parquet(path):
    """The rows of a Parquet file in the form of the JSON file."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(
            f"{path.name}: Parquet files need pyarrow: pip install 'metro-tf[parquet]'. "
            f'Received: {error}') from None
    try:
        return {'people': parquet.read_table(path).to_pylist()}
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these
        raise ValueError(f'{path.name}: not a readable Parquet file: {error}') from None
