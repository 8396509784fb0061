"""Finished crop models with other joints; those of known names keep what was learned."""

import numpy as np

from metro_tf import skeleton as skeleton_lib
from metro_tf.models import config
from metro_tf.models.metrabs import Metrabs
from metro_tf.models.metro import Metro
from metro_tf.models.pose25d import Pose25D


def with_skeleton(model, skeleton):
    """Makes a crop model like a finished one for other joints.

    Both share the backbone. The output layer is new; in it, joints that both models have, by name,
    keep their weights, whatever their order.

    Args:
        model: `Metrabs`, `Metro` or `Pose25D`.
        skeleton: `metro_tf.skeleton.Skeleton` or a key of `metro_tf.skeleton.CONVENTIONS`, whose
            joints then get the names that models use (see `skeleton.vocabulary_names`).

    Returns:
        Model of the same class, not compiled.

    Raises:
        ValueError: If the model is of another class, the skeleton is unknown, or a `Pose25D` does
            not know the length of a bone.
    """
    if type(model) not in (Metrabs, Metro, Pose25D):
        raise ValueError(
            '`skeleton` can be changed of a Metrabs, Metro or Pose25D only. '
            f'Received: a {type(model).__name__}')
    skeleton = _named(skeleton)
    config.check_skeleton(skeleton)
    settings = {
        **model.get_config(), 'backbone': model.backbone, 'joint_names': skeleton.joint_names,
        'edges': skeleton.edges}
    if isinstance(model, Pose25D):
        settings.update(_bones(model, skeleton))
    new_model = type(model)(**settings)
    new_model.heads.conv.set_weights(widened(
        model.heads.conv.get_weights(), new_model.heads.conv.get_weights(), model.joint_names,
        skeleton.joint_names))
    return new_model


def widened(old_weights, new_weights, old_names, new_names):
    """Weights of a head's convolution in which joints of known names keep what was learned.

    The channels are blocks of one channel per joint: the 2D heatmaps, if any, then one block for
    each depth slice.

    Args:
        old_weights, new_weights: Lists of the kernel `[1, 1, features, blocks * joints]` and the
            bias, learned and new.
        old_names, new_names: Sequences of the names of the joints.

    Returns:
        List of the kernel and the bias for the new joints.

    Raises:
        ValueError: If the numbers of features or blocks differ.
    """
    indices = [(i, old_names.index(name)) for i, name in enumerate(new_names) if name in old_names]
    result = []
    for old, new in zip(old_weights, new_weights):
        old, new = (
            weight.reshape(*weight.shape[:-1], -1, len(names))
            for weight, names in ((old, old_names), (new, new_names)))
        if old.shape[:-1] != new.shape[:-1]:
            raise ValueError(
                '`old_model` must have the features and depth cells of the new model. Received: '
                f'head weights {old.shape[:-1]} instead of {new.shape[:-1]} for each joint')
        kept = new.copy()
        for i_new, i_old in indices:
            kept[..., i_new] = old[..., i_old]
        result.append(np.reshape(kept, (*kept.shape[:-2], -1)))
    return result


def _named(skeleton):
    if not isinstance(skeleton, str):
        return skeleton
    names = skeleton_lib.vocabulary_names(skeleton)
    return skeleton_lib.Skeleton(names, skeleton_lib.CONVENTIONS[skeleton].edges)


def _bones(model, skeleton):
    """The lengths of the bones and the root of a `Pose25D` with other joints."""
    old, new = (
        [frozenset(joints.joint_names[i] for i in edge) for edge in joints.edges]
        for joints in (model.skeleton, skeleton))
    unknown = ['-'.join(sorted(bone)) for bone in new if bone not in old]
    if unknown:
        raise ValueError(
            '`skeleton` must have bones of the finished model alone, since a Pose25D needs their '
            f'lengths. Received: {unknown}')
    i_root = model.reconstruction.i_root_joint
    return {
        'bone_lengths_mm': [model.bone_lengths_mm[old.index(bone)] for bone in new],
        'i_root_joint': None if i_root is None else skeleton.index(model.joint_names[i_root])}
