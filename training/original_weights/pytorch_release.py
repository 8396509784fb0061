"""The folders and state dicts of the PyTorch release.

Beside the state dict `ckpt.pt` lie `joint_info.npz`, with the joints of the heads, and
`skeleton_infos.pkl`, with the joints of every convention.
"""

import pathlib
import re

import numpy as np

from training.datasets import restricted_pickle
from training.original_weights import layouts, release, torch_file

STATE_DICT = 'ckpt.pt'
# What comes before the names where more than the crop model was saved.
_OUTER_NAME = re.compile(r'^(module\.)?(crop_model\.)?')


def read(path):
    """Reads the crop model of a release.

    Args:
        path: Folder with `ckpt.pt`, or path of a file that `torch_file.read` knows. The files of
            the joints are looked for beside it.

    Returns:
        `release.Release`.

    Raises:
        ValueError: If the state dict is missing, or a file is damaged or holds something else.
    """
    path = pathlib.Path(path)
    path = path / STATE_DICT if path.is_dir() else path
    tensors = {_OUTER_NAME.sub('', name): value for name, value in torch_file.read(path).items()}
    names, edges = _joints(path.with_name('joint_info.npz'))
    return release.Release(
        layouts.PYTORCH,
        {name: value for name, value in tensors.items() if value.dtype.kind == 'f'},
        tuple(name for name, value in tensors.items() if value.dtype.kind != 'f'), names, edges,
        _skeletons(path.with_name('skeleton_infos.pkl')))


def read_joint_info(path):
    """Reads names and bones of joints.

    Args:
        path: Path of an `.npz` file with `joint_names` and `joint_edges`.

    Returns:
        Tuple of a tuple of names and a tuple of pairs of indices.

    Raises:
        ValueError: If the file is missing or damaged or lacks one of them.
    """
    content = restricted_pickle.load_npz(path)
    if not {'joint_names', 'joint_edges'} <= set(content):
        raise ValueError(
            '`path` must be a file with joint_names and joint_edges. '
            f'Received: {path} with {sorted(content)}')
    return release.texts(content['joint_names']), release.edges(content['joint_edges'])


def _joints(path):
    return read_joint_info(path) if path.is_file() else (None, None)


def _skeletons(path):
    if not path.is_file():
        return {}
    infos = restricted_pickle.load(path)
    try:
        return {name: (release.texts(info['names']), release.indices(np.asarray(info['indices'])))
                for name, info in infos.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'`path` must be a dict of skeletons with names and indices. Received: {path}: '
            f'{type(error).__name__} {error}') from error
