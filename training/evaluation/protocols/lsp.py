"""Leeds Sports Pose: PCK at 0.2 of the torso, per group of joints, and PCP, strict and loose.

Labels and predictions have `coords2d` of the 14 joints of lsp_14. The torso is the distance of the
left shoulder and the right hip; people without both labels do not count for PCK. The total is over
all labelled joints. For PCP the torso is the limb from the middle of the shoulders to that of the
hips. Say whether left and right are the person's or the observer's.
"""

import numpy as np

from metro_tf import skeleton
from training.evaluation.protocols import joint_groups, limbs, pose_metrics, predictions, results

JOINTS = skeleton.CONVENTIONS['lsp_14']
THRESHOLD = 0.2
# The ends of the torso in PCP, which are no joints of the skeleton.
_MIDDLES = {'mid_shoulders': ('lsho', 'rsho'), 'mid_hips': ('lhip', 'rhip')}
LIMBS = {
    'torso': (('mid_shoulders', 'mid_hips'),),
    'upper legs': (('lhip', 'lkne'), ('rhip', 'rkne')),
    'lower legs': (('lkne', 'lank'), ('rkne', 'rank')),
    'upper arms': (('lsho', 'lelb'), ('rsho', 'relb')),
    'lower arms': (('lelb', 'lwri'), ('relb', 'rwri')),
    'head': (('neck', 'htop'),)}
_COLUMNS = {
    'head': 'head %', 'shoulder': 'shoulder %', 'elbow': 'elbow %', 'wrist': 'wrist %',
    'hip': 'hip %', 'knee': 'knee %', 'ankle': 'ankle %', 'total': 'total %'}


def evaluate(predicted, labels, *, allow_partial=False):
    """Scores predictions.

    Args:
        predicted, labels: `predictions.PoseTable`; see the module for the columns.
        allow_partial: See `predictions.match`.

    Returns:
        Dict with `coverage`, in `pck` the shares by group and in `total`, and in `pcp` those of
        `limbs.pcp_scores`.

    Raises:
        ValueError: If a table does not fit.
    """
    predicted, labels, coverage = predictions.match(predicted, labels, allow_partial)
    coords_true = labels.coords('coords2d', JOINTS.joint_names)
    coords_pred = predicted.predicted('coords2d', JOINTS.joint_names)
    errors = pose_metrics.joint_errors(coords_true, coords_pred)
    torso = np.linalg.norm(
        coords_true[:, JOINTS.index('lsho')] - coords_true[:, JOINTS.index('rhip')], axis=-1)
    torso = np.where(torso > 0, torso, np.nan)
    relative = errors / torso[:, np.newaxis]
    is_correct = np.where(np.isnan(relative), np.nan, relative <= THRESHOLD)
    pck = {
        **joint_groups.group_scores(is_correct, JOINTS.joint_names, head=('neck', 'htop')),
        **results.numbers({'total': pose_metrics.torso_pck(errors, torso, THRESHOLD)})}
    return {'protocol': 'lsp', 'coverage': coverage, 'pck': pck,
            'pcp': limbs.pcp_scores(
                _with_middles(coords_true), _with_middles(coords_pred),
                (*JOINTS.joint_names, *_MIDDLES), LIMBS)}


def tables(scores):
    """Results as Markdown."""
    return '\n\n'.join([
        results.coverage_line(scores['coverage'], 'people'),
        results.score_table(_COLUMNS, {'PCK@0.2': scores['pck']}, first_heading='score'),
        limbs.pcp_table(scores['pcp'], LIMBS)])


def _with_middles(coords):
    middles = [
        coords[:, [JOINTS.index(name) for name in names]].mean(axis=1, keepdims=True)
        for names in _MIDDLES.values()]
    return np.concatenate([coords, *middles], axis=1)
