"""Shares of correct limbs (PCP), strict and loose, in groups of limbs."""

from training.evaluation.protocols import pose_metrics, results


def pcp_scores(coords_true, coords_pred, joint_names, groups):
    """PCP of each group of limbs and of all limbs.

    Args:
        coords_true, coords_pred: See `pose_metrics.joint_errors`.
        joint_names: Sequence of names.
        groups: Dict from the name of a group to pairs of joint names.

    Returns:
        Dict of 'strict' and 'loose', each a dict from group to share, with 'all' in the end: the
        mean over all limbs.
    """
    limbs = [tuple(map(joint_names.index, limb)) for group in groups.values() for limb in group]
    of_group = [name for name, group in groups.items() for _ in group]
    scores = {}
    for form in ('strict', 'loose'):
        is_correct = pose_metrics.correct_limbs(
            coords_true, coords_pred, limbs, is_strict=form == 'strict')
        scores[form] = results.numbers({**{
            name: pose_metrics.mean(is_correct[:, [other == name for other in of_group]])
            for name in groups}, 'all': pose_metrics.mean(is_correct)})
    return scores


def pcp_table(scores, groups):
    """The result of `pcp_scores` as a Markdown table."""
    columns = {name: f'{name} %' for name in (*groups, 'all')}
    return results.score_table(columns, scores, first_heading='PCP')
