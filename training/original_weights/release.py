"""What is read from a release, whatever the form of its files."""

import dataclasses
from typing import Optional

import numpy as np


@dataclasses.dataclass(frozen=True)
class Release:
    """Weights of a crop model, and what the files tell about it.

    Args:
        naming: `layouts.TENSORFLOW` or `layouts.PYTORCH`.
        tensors: Dict from the names of the weights, as in `layouts`, to float arrays.
        others: Tuple of the names of what is no weight: joint names, counters, random states.
        joint_names: Tuple of the names of the joints of the heads, or None.
        joint_edges: Tuple of pairs of joint indices, or None.
        skeletons: Dict from the name of a joint convention to a pair: the names of its joints and
            their indices among all joints.
        crop_side_px: Side of the crop, or None.
    """
    naming: str
    tensors: dict
    others: tuple = ()
    joint_names: Optional[tuple] = None
    joint_edges: Optional[tuple] = None
    skeletons: dict = dataclasses.field(default_factory=dict)
    crop_side_px: Optional[int] = None


def texts(values):
    """Tuple of texts from an array or sequence of texts or bytes."""
    return tuple(
        value.decode() if isinstance(value, bytes) else str(value)
        for value in np.ravel(np.asarray(values)).tolist())


def edges(values):
    """Tuple of pairs of ints from an array `[edges, 2]`."""
    return tuple((int(start), int(end)) for start, end in np.reshape(values, [-1, 2]))


def indices(values):
    """Tuple of ints from an array or sequence."""
    return tuple(int(value) for value in np.ravel(values))
