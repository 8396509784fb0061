"""HumanEva-I: mean joint errors per subject and action.

Labels have `coords3d_cam` of the 15 joints of humaneva_15 (NaN where a marker is lost), `subject`
(S1 to S4) and `action` (Walking, Jog, ThrowCatch, Gestures, Box, Combo); predictions
`coords3d_cam`. Errors are absolute, relative to the pelvis, after the best rotation and translation
("rigid", as coarse-to-fine prediction is reported), and after the best similarity (PA).
"""

import numpy as np

from metro_tf import skeleton
from training.evaluation.protocols import pose_metrics, predictions, published, results

JOINTS = skeleton.CONVENTIONS['humaneva_15']
ACTIONS = ('Walking', 'Jog', 'ThrowCatch', 'Gestures', 'Box', 'Combo')
SCORES = {
    'absolute_mpjpe_mm': 'none', 'mpjpe_mm': 'root', 'rigid_mpjpe_mm': 'rigid',
    'pa_mpjpe_mm': 'procrustes'}
_ROOT = (JOINTS.index('pelv'),)


def evaluate(predicted, labels, *, allow_partial=False):
    """Scores predictions.

    Args:
        predicted, labels: `predictions.PoseTable`; see the module for the columns.
        allow_partial: See `predictions.match`.

    Returns:
        Dict with `coverage` and for each of `SCORES` a dict of `per_sequence`, errors in mm by
        subject and action, `mean_of_sequences` and `mean_of_poses`.

    Raises:
        ValueError: If a table does not fit.
    """
    predicted, labels, coverage = predictions.match(predicted, labels, allow_partial)
    coords_pred = predicted.predicted('coords3d_cam', JOINTS.joint_names)
    coords_true = labels.coords('coords3d_cam', JOINTS.joint_names)
    results.check_groups(labels.texts('action'), ACTIONS, 'action', labels.path)
    sequences = np.array([
        f'{subject} {action}'
        for subject, action in zip(labels.texts('subject'), labels.texts('action'))])
    return {'protocol': 'humaneva', 'coverage': coverage, **{
        name: _summary(pose_metrics.mean(pose_metrics.joint_errors(
            coords_true, coords_pred, alignment=alignment, root_joints=_ROOT), axis=1), sequences)
        for name, alignment in SCORES.items()}}


def tables(scores):
    """Results beside published ones, as Markdown."""
    sequences = sorted(scores['mpjpe_mm']['per_sequence'], key=_table_order)
    columns = {
        **{name: name for name in sequences}, 'mean_of_sequences': 'mean of sequences',
        'mean_of_poses': 'mean of poses'}
    rows = {
        name.removesuffix('_mm').replace('_', ' '): {
            **scores[name], **scores[name]['per_sequence']} for name in SCORES}
    return '\n\n'.join([
        results.coverage_line(scores['coverage'], 'poses') + '; errors in mm',
        results.score_table(columns, rows, published.HUMANEVA)])


def _summary(errors, sequences):
    per_sequence = results.by_group(sequences, lambda is_in: pose_metrics.mean(errors[is_in]))
    return {
        'per_sequence': results.numbers(per_sequence),
        **results.numbers({
            'mean_of_sequences': pose_metrics.mean(list(per_sequence.values())),
            'mean_of_poses': pose_metrics.mean(errors)})}


def _table_order(sequence):
    subject, action = sequence.rsplit(' ', 1)
    return ACTIONS.index(action), subject
