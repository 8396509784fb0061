"""Small tables of predictions and labels, and poses for them."""

import numpy as np

from training.evaluation.protocols import predictions


def make_table(joint_names, coords, *, names=None, frame_names=None, path='poses.npz', **columns):
    """A table.

    Args:
        joint_names: Sequence of names.
        coords: Dict from the name of a column of coordinates to nested lists.
        names: Sequence of names, or None for '0', '1', ...
        frame_names: See `predictions.PoseTable`.
        path: See `predictions.PoseTable`.
        **columns: Further columns.
    """
    arrays = {name: np.asarray(values) for name, values in {**coords, **columns}.items()}
    n_rows = len(next(iter(arrays.values())))
    return predictions.PoseTable(
        path, tuple(names or map(str, range(n_rows))), tuple(joint_names), arrays,
        None if frame_names is None else tuple(frame_names))


def random_poses(seed, n_poses, n_joints, n_coords=3):
    """Poses with a spread of about 300, centred 1000 away on all axes."""
    return 1000 + 300 * np.random.default_rng(seed).normal(size=[n_poses, n_joints, n_coords])


def random_rotation(rng):
    """A proper rotation matrix `[3, 3]`."""
    q, _ = np.linalg.qr(rng.normal(size=[3, 3]))
    return q * np.sign(np.linalg.det(q))
