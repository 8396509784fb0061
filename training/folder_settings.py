"""Settings that are kept beside the data made with them, so that one folder never mixes two kinds.

The file is `settings.json`. It is written before the data, so that a killed program that runs again
continues only what was begun in the same way.
"""

import json
import pathlib

from metro_tf.tools import writers

FILE_NAME = 'settings.json'


def keep(folder, settings, argument_name):
    """Writes the settings into a folder, or compares them with those that it was made with.

    Args:
        folder: Path of an existing folder.
        settings: Dict of JSON types, maybe nested; tuples count as lists.
        argument_name: What the caller calls the folder, for the error.

    Raises:
        ValueError: If the folder was made with other settings or its file is damaged.
    """
    path = pathlib.Path(folder) / FILE_NAME
    text = json.dumps(settings, indent=2) + '\n'
    if not path.exists():
        writers.write_text(path, text)
        return
    rule = f'`{argument_name}` must be new or made with the same settings. Received: {folder}'
    try:
        found = changes(json.loads(path.read_text(encoding='utf-8')), json.loads(text))
    except (ValueError, AttributeError) as error:  # not JSON, or no dict
        raise ValueError(f'{rule}, whose {FILE_NAME} is damaged') from error
    if found:
        raise ValueError(f'{rule}, where ' + '; '.join(
            f'{name} was {before} and is {after}' for name, before, after in found))


def changes(earlier, now):
    """What differs between two versions of settings.

    Args:
        earlier, now: Dicts of JSON types, maybe nested.

    Returns:
        List of triples of a name, with dots for nested ones, and its values before and after, None
        where it is missing; by name.
    """
    earlier, now = _flat(earlier), _flat(now)
    return [
        (name, earlier.get(name), now.get(name)) for name in sorted({*earlier, *now})
        if earlier.get(name) != now.get(name)]


def _flat(settings):
    """The same dict with the names of nested ones joined by dots."""
    flat = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat.update({f'{name}.{inner}': item for inner, item in _flat(value).items()})
        else:
            flat[name] = value
    return flat
