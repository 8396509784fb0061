"""MPII Human Pose: PCKh at half of the head's size, per group of joints, and its AUC.

Labels have `coords2d` of the 16 joints of mpii_16 and `head_size_px`, 0.6 of the diagonal of the
box of the head; predictions `coords2d`. A joint is correct with an error of at most half of that.
The mean is over all labelled joints but pelvis and thorax; AUC is its mean over the thresholds 0,
0.01, ..., 0.5. The group 'head' is the top of the head.
"""

import numpy as np

from metro_tf import skeleton
from training.evaluation.protocols import joint_groups, pose_metrics, predictions, results

JOINTS = skeleton.CONVENTIONS['mpii_16']
THRESHOLD = 0.5
AUC_THRESHOLDS = np.arange(51) / 100
_NOT_IN_MEAN = ('pelv', 'thor')
_COLUMNS = {
    'head': 'head %', 'shoulder': 'shoulder %', 'elbow': 'elbow %', 'wrist': 'wrist %',
    'hip': 'hip %', 'knee': 'knee %', 'ankle': 'ankle %', 'mean': 'mean %', 'auc': 'AUC %'}


def evaluate(predicted, labels, *, allow_partial=False):
    """Scores predictions.

    Args:
        predicted, labels: `predictions.PoseTable`; see the module for the columns.
        allow_partial: See `predictions.match`.

    Returns:
        Dict with `coverage` and in `pckh` the shares by group, `mean` and `auc`.

    Raises:
        ValueError: If a table does not fit.
    """
    predicted, labels, coverage = predictions.match(predicted, labels, allow_partial)
    sizes = _head_sizes(labels)
    errors = pose_metrics.joint_errors(
        labels.coords('coords2d', JOINTS.joint_names),
        predicted.predicted('coords2d', JOINTS.joint_names))
    is_correct = np.where(
        np.isnan(errors), np.nan, errors <= THRESHOLD * sizes[:, np.newaxis])
    in_mean = errors[:, [name not in _NOT_IN_MEAN for name in JOINTS.joint_names]]
    return {'protocol': 'mpii', 'coverage': coverage, 'pckh': {
        **joint_groups.group_scores(is_correct, JOINTS.joint_names, head=('htop',)),
        **results.numbers({
            'mean': pose_metrics.pckh(in_mean, sizes, THRESHOLD),
            'auc': pose_metrics.auc(
                in_mean / sizes[:, np.newaxis], AUC_THRESHOLDS, is_strict=False)})}}


def tables(scores):
    """Results as Markdown."""
    return '\n\n'.join([
        results.coverage_line(scores['coverage'], 'people'),
        results.score_table(_COLUMNS, {'PCKh@0.5': scores['pckh']}, first_heading='score')])


def _head_sizes(labels):
    sizes = labels.numbers('head_size_px')
    labels.check_rows('head_size_px', sizes > 0, 'positive')
    return sizes
