"""Model joints in the conventions of 2D datasets."""

import tensorflow as tf

from metro_tf import checks


def matching_joints(label_names, model_names):
    """Which joints of a model stand for each joint of a 2D dataset.

    They are those whose name starts with the label's name: merged skeletons name the joints of
    their parts `lank_h36m`, `lank_3dhp` and so on.

    Args:
        label_names: Sequence of the dataset's joint names.
        model_names: Sequence of the model's joint names.

    Returns:
        Tuple with a tuple of model joint indices per label, for `group_means`.

    Raises:
        ValueError: If a label has no matching joint.
    """
    groups = tuple(
        tuple(i for i, model_name in enumerate(model_names) if model_name.startswith(name))
        for name in label_names)
    unmatched = [name for name, group in zip(label_names, groups) if not group]
    if unmatched:
        raise ValueError(
            '`label_names` must be beginnings of names in `model_names`, '
            f'{tuple(model_names)}. Received: {unmatched}')
    return groups


def group_means(coords, joint_groups):
    """Averages model joints into the joints of a 2D dataset.

    Args:
        coords: Float tensor `[batch, joints, coords]`, any unit.
        joint_groups: Sequence of non-empty sequences of joint indices (see `matching_joints`).

    Returns:
        Float tensor `[batch, groups, coords]`.

    Raises:
        ValueError: If a group is empty or an index is out of the static range.
    """
    coords = checks.last_axes(coords, (None, None, None), 'coords')
    n_joints = coords.shape[1]
    for group in joint_groups:
        if not group or min(group) < 0 or (n_joints is not None and max(group) >= n_joints):
            raise ValueError(
                f'`joint_groups` must be non-empty groups of indices from 0 and below {n_joints}. '
                f'Received: {joint_groups}')
    return tf.stack(
        [tf.reduce_mean(tf.gather(coords, list(group), axis=1), axis=1) for group in joint_groups],
        axis=1)


def lower_hips(coords, lowered_joints, i_pelvis, i_neck, fraction=0.2 / 1.2):
    """Moves hips and pelvis away from the neck, from the convention of 3DHP to that of MPII (R20).

    Args:
        coords: Float tensor `[batch, joints, coords]`, any unit.
        lowered_joints: Sequence of the joint indices to move: both hips and the pelvis.
        i_pelvis, i_neck: Indices of the ends of the vector that is the measure.
        fraction: The joints move by minus this times the vector from pelvis to neck.

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: If an index is out of the static range.
    """
    coords = checks.last_axes(coords, (None, None, None), 'coords')
    for name, index in (('i_pelvis', i_pelvis), ('i_neck', i_neck)):
        checks.joint_index(index, coords.shape[1], name)
    for index in lowered_joints:
        checks.joint_index(index, coords.shape[1], 'lowered_joints')
    pelvis_to_neck = coords[:, i_neck] - coords[:, i_pelvis]
    n_joints = tf.shape(coords)[1]
    is_lowered = tf.reduce_any(
        tf.range(n_joints) == tf.constant(lowered_joints)[:, tf.newaxis] % n_joints, axis=0)
    moved = coords - fraction * pelvis_to_neck[:, tf.newaxis]
    return tf.where(is_lowered[:, tf.newaxis], moved, coords)
