"""Values of MATLAB files (version 5), which are arrays of arrays at every level."""

import pathlib

import numpy as np
import scipy.io

from training.datasets import reader


def load(path, names, report):
    """Reads variables of a file.

    Nothing is squeezed, since a list of one would look like its only entry, see `entries`.

    Args:
        path: Path of the file.
        names: Sequence of the variables' names.
        report: Function that takes a `reader.Problem`.

    Returns:
        List of the variables; None after a report if the file is missing or damaged, or lacks one.
    """
    if not pathlib.Path(path).is_file():
        report(reader.Problem(str(path), '', 'missing'))
        return None
    try:
        content = scipy.io.loadmat(path, struct_as_record=False, variable_names=names)
    except Exception as error:  # SciPy has no type of its own for damaged files
        report(reader.Problem(
            str(path), '', f'damaged, or no MATLAB file of version 5: {error!r}'))
        return None
    missing = [name for name in names if name not in content]
    if missing:
        report(reader.Problem(str(path), '', f'damaged: {", ".join(missing)} missing'))
        return None
    return [content[name] for name in names]


def first(value):
    """The first number, text or struct of an array, such as the content of a cell; or None."""
    flat = np.ravel(value)
    return flat[0] if len(flat) else None


def entries(struct, name):
    """Flat array of a field's numbers, texts or structs, of no entries if there is no such field.

    Args:
        struct: `scipy.io.matlab.mat_struct`, or None.
        name: Name of the field.
    """
    return np.ravel(getattr(struct, name, ()))


def entry(struct, name):
    """The `first` of a field's entries, or None."""
    return first(entries(struct, name))
