"""Which joints of a release are taken over, and what they are called here.

The release has all joints of all data sets that it was trained on, under names such as `lank_h36m`;
those of SMPL have no suffix. The models here have each joint of the vocabulary at most once.
"""

import dataclasses
import json
import pathlib

from metro_tf import skeleton as skeleton_lib
from training.original_weights import pytorch_release, release

# Joints that have another name in the release: the spine of Human3.6M, and of SMPL and MuCo.
_OUR_NAMES = {'tors': 'spin', 'bell': 'spi1', 'thor': 'spi3'}


@dataclasses.dataclass(frozen=True)
class Selection:
    """Joints of a release.

    Args:
        skeleton: `metro_tf.skeleton.Skeleton` of our names.
        indices: Tuple of the index of each joint among those of the release.
        n_all: Number of joints of the release.
    """
    skeleton: skeleton_lib.Skeleton
    indices: tuple
    n_all: int


def our_name(name):
    """Name of a joint here: without the data set, and with our word for it."""
    plain = name.split('_')[0]
    return _OUR_NAMES.get(plain, plain)


def select(found, joints_file=None, convention=None):
    """Decides on the joints to take over.

    Args:
        found: `release.Release`.
        joints_file: Path of a file that tells the joints of the heads in their order: `.npz` of a
            PyTorch release, or JSON with `joint_names`, in our names, null for a joint to leave
            out, and `joint_edges`, pairs of indices. None for what the release tells.
        convention: Name of a joint convention to select, or None for all joints. It is one of
            the release, or of `metro_tf.skeleton.CONVENTIONS`.

    Returns:
        `Selection`.

    Raises:
        ValueError: If nothing tells the joints, or they are not distinct joints of the vocabulary
            with both of every left-right pair; the message names them.
    """
    names, edges = _all_joints(found, joints_file)
    if convention is not None:
        kept_names, indices = _of_convention(found, names, convention)
    else:
        indices = tuple(i for i, name in enumerate(names) if name is not None)
        kept_names = tuple(names[i] for i in indices)
    _check(kept_names, found)
    place = {index: i for i, index in enumerate(indices)}
    kept_edges = tuple(
        (place[start], place[end]) for start, end in edges if start in place and end in place)
    return Selection(skeleton_lib.Skeleton(kept_names, kept_edges), indices, len(names))


def _all_joints(found, joints_file):
    """Our names and the edges of all joints of the release."""
    if joints_file is None:
        if found.joint_names is None:
            raise ValueError(
                '`joints_file` must be given for a release without names of joints. '
                'Received: joints_file=None')
        return tuple(map(our_name, found.joint_names)), found.joint_edges or ()
    if pathlib.Path(joints_file).suffix == '.npz':
        names, edges = pytorch_release.read_joint_info(joints_file)
        return tuple(map(our_name, names)), edges
    return _read_json(joints_file)


def _read_json(path):
    try:
        content = json.loads(pathlib.Path(path).read_text())
        names = tuple(None if name is None else str(name) for name in content['joint_names'])
        return names, release.edges(content['joint_edges'])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            '`joints_file` must be a JSON file with joint_names and joint_edges. '
            f'Received: {path}: {type(error).__name__} {error}') from error


def _of_convention(found, names, convention):
    """Our names and the indices of the joints of a convention."""
    if convention in found.skeletons:
        own_names, indices = found.skeletons[convention]
        if max(indices, default=0) >= len(names):
            raise ValueError(
                '`convention` must be made of joints of the heads. Received: '
                f'convention={convention!r}, which has joints that are computed from others')
        return tuple(map(our_name, own_names)), indices
    choices = sorted({*found.skeletons, *skeleton_lib.CONVENTIONS})
    if convention not in choices:
        raise ValueError(
            f'`convention` must be one of {choices}. Received: convention={convention!r}')
    wanted = skeleton_lib.vocabulary_names(convention)
    missing = [name for name in wanted if names.count(name) != 1]
    if missing:
        raise ValueError(
            '`convention` must have joints that the release has once. Received: '
            f'convention={convention!r}, with {missing} missing or several times; the release '
            f'tells the joints of {sorted(found.skeletons)}')
    return wanted, tuple(map(names.index, wanted))


def _check(names, found):
    unknown = sorted({name for name in names if name not in skeleton_lib.VOCABULARY})
    doubled = sorted({name for name in names if names.count(name) > 1})
    if unknown or doubled or not names:
        raise ValueError(
            '`joints` must be distinct joints of the vocabulary. Received: '
            f'unknown {unknown}, several times {doubled}; select a convention, of which the '
            f'release tells {sorted(found.skeletons)}, or give a file of joints')
    lonely = sorted(name for name in names if skeleton_lib.mirror_name(name) not in names)
    if lonely:
        raise ValueError(
            f'`joints` must have both of every left-right pair. Received: only {lonely}')
