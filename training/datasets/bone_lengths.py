"""Mean bone lengths of the people in record files."""

import numpy as np
import tensorflow as tf

from training.datasets import example as example_lib
from training.datasets import records

_BATCH_SIZE = 1024


def mean_bone_lengths(record_dirs, skeleton):
    """Measures the mean length of each bone over all examples, without invalid joints.

    Args:
        record_dirs: Sequence of folders of records (see `records.read_serialized`). Examples
            without 3D labels count nowhere.
        skeleton: `metro_tf.skeleton.Skeleton` with the joints of the records.

    Returns:
        Tuple of floats, mm, in the order of `skeleton.edges`.

    Raises:
        ValueError: If no example has both ends of a bone.
    """
    first, second = np.array(skeleton.edges).T
    sums, counts = np.zeros(len(first)), np.zeros(len(first))
    for folder in record_dirs:
        for batch in records.read_serialized(folder).batch(_BATCH_SIZE):
            coords3d = _parse_coords3d(batch).numpy().astype(np.float64)
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


def _parse_coords3d(serialized):
    """Float tensor `[batch, joints, 3]`, mm, NaN where missing; images are not decoded."""
    stored = tf.io.parse_example(serialized, {'coords3d_cam': tf.io.RaggedFeature(tf.float32)})
    n_joints = example_lib.N_JOINTS
    flat = stored['coords3d_cam'].to_tensor(float('nan'), shape=[None, 3 * n_joints])
    return tf.reshape(flat, [-1, n_joints, 3])
