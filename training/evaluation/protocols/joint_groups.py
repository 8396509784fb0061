"""Shares of correct joints in the groups that the tables of 2D benchmarks have."""

from training.evaluation.protocols import pose_metrics, results

_PAIRS = {
    'shoulder': 'sho', 'elbow': 'elb', 'wrist': 'wri', 'hip': 'hip', 'knee': 'kne', 'ankle': 'ank'}


def group_scores(is_correct, joint_names, head):
    """Mean share of the joints of each group, each joint's share counting the same.

    Args:
        is_correct: Float array `[poses, joints]`: 1 correct, 0 wrong, NaN missing.
        joint_names: Sequence of names.
        head: Names of the joints of the group 'head'.

    Returns:
        Dict from group to share.
    """
    shares = dict(zip(joint_names, pose_metrics.mean(is_correct, axis=0)))
    groups = {'head': head, **{
        group: (f'l{name}', f'r{name}') for group, name in _PAIRS.items()}}
    return results.numbers({
        group: pose_metrics.mean([shares[name] for name in names])
        for group, names in groups.items()})
