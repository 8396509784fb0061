"""Mean bone lengths of the people in record files."""

import numpy as np

from training.datasets import records


def mean_bone_lengths(record_dirs, skeleton):
    """Measures the mean length of each bone over all examples, without invalid joints.

    Args:
        record_dirs: Sequence of folders of records (see `records.read_serialized`). Examples
            without 3D labels count nowhere.
        skeleton: `metro_tf.skeleton.Skeleton` whose bones are measured. Records may lack joints.

    Returns:
        Tuple of floats, mm, in the order of `skeleton.edges`.

    Raises:
        ValueError: If no example has both ends of a bone.
    """
    first, second = np.array(skeleton.edges, int).reshape(-1, 2).T
    sums, counts = np.zeros(len(first)), np.zeros(len(first))
    for folder in record_dirs:
        coords3d = records.read_coords3d(folder, skeleton.joint_names).astype(np.float64)
        lengths = np.linalg.norm(coords3d[:, first] - coords3d[:, second], axis=-1)
        sums += np.nansum(lengths, axis=0)
        counts += np.sum(np.isfinite(lengths), axis=0)
    missing = ['-'.join(skeleton.joint_names[i] for i in edge)
               for edge, count in zip(skeleton.edges, counts) if not count]
    if missing:
        raise ValueError(
            '`record_dirs` must hold each bone in an example with 3D labels. Received: '
            f'{[str(folder) for folder in record_dirs]} without {missing}')
    return tuple(float(length) for length in sums / counts)
