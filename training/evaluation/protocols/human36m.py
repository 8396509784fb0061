"""Human3.6M: errors per action, in the three protocols in use.

Labels have `coords3d_cam` of the 17 joints of h36m_17 and `action`; predictions `coords3d_cam`. The
subjects and frames that a protocol asks for are those that are labelled:

    protocol 1         S9, S11; every 64th frame, or all; MPJPE of 17 joints relative to the pelvis
    protocol 2         the same after the best similarity (PA-MPJPE)
    older protocol 2   S11; every 64th frame; PA-MPJPE of 14 joints (also S9, S11 in one camera)

All of them are computed. Both averages in use are given: the mean of the actions' means, and the
mean over poses, which is MeTRAbs' and MargiPose's. Say whether the labels of S9 are corrected.

With the columns `sequence` and `frame_number` (every frame, in any order), the error of the
velocity (MPJVE, mm per frame) is added.
"""

import numpy as np

from metro_tf import skeleton
from training.evaluation.protocols import pose_metrics, predictions, published, results

JOINTS = skeleton.CONVENTIONS['h36m_17']
JOINTS_14 = skeleton.CONVENTIONS['lsp_14'].joint_names
ACTIONS = (
    'Directions', 'Discussion', 'Eating', 'Greeting', 'Phoning', 'Posing', 'Purchases', 'Sitting',
    'SittingDown', 'Smoking', 'Photo', 'Waiting', 'Walking', 'WalkDog', 'WalkTogether')
PROTOCOLS = {
    'mpjpe_mm': 'protocol 1, MPJPE', 'pa_mpjpe_mm': 'protocol 2, PA-MPJPE',
    'pa_mpjpe_14_joints_mm': 'older protocol 2, PA-MPJPE of 14 joints', 'n_mpjpe_mm': 'N-MPJPE',
    'absolute_mpjpe_mm': 'absolute MPJPE', 'mrpe_mm': 'MRPE'}
# Names of the files of S1.
_SYNONYMS = {
    'TakingPhoto': 'Photo', 'WalkingDog': 'WalkDog', 'WalkingTogether': 'WalkTogether'}
_ROOT = (JOINTS.index('pelv'),)


def evaluate(predicted, labels, *, allow_partial=False):
    """Scores predictions.

    Args:
        predicted, labels: `predictions.PoseTable`; see the module for the columns.
        allow_partial: See `predictions.match`.

    Returns:
        Dict with `coverage`, and for each of `PROTOCOLS` a dict of `per_action`, errors in mm by
        action, `mean_of_actions` and `mean_of_poses`; and `mpjve_mm` where it is defined.

    Raises:
        ValueError: If a table does not fit.
    """
    predicted, labels, coverage = predictions.match(predicted, labels, allow_partial)
    coords_pred = predicted.predicted('coords3d_cam', JOINTS.joint_names)
    coords_true = labels.coords('coords3d_cam', JOINTS.joint_names)
    actions = np.array([_SYNONYMS.get(name, name) for name in labels.texts('action')])
    results.check_groups(actions, ACTIONS, 'action', labels.path)
    scores = {
        name: _summary(errors, actions)
        for name, errors in _pose_errors(coords_true, coords_pred).items()}
    if {'sequence', 'frame_number'} <= labels.columns.keys():
        order = np.lexsort((labels.values('frame_number'), labels.texts('sequence')))
        scores.update(results.numbers({'mpjve_mm': pose_metrics.mpjve(
            coords_true[order], coords_pred[order], labels.texts('sequence')[order],
            root_joints=_ROOT)}))
    return {'protocol': 'human36m', 'coverage': coverage, **scores}


def tables(scores):
    """Results beside published ones, as Markdown."""
    averages = {
        average.replace('_', ' '): {
            name: scores[name][average] for name in PROTOCOLS}
        for average in ('mean_of_actions', 'mean_of_poses')}
    columns = {action: action for action in ACTIONS}
    per_action = {
        PROTOCOLS[name]: {
            **scores[name]['per_action'], 'mean_of_actions': scores[name]['mean_of_actions']}
        for name in ('mpjpe_mm', 'pa_mpjpe_mm', 'pa_mpjpe_14_joints_mm')}
    return '\n\n'.join([
        results.coverage_line(scores['coverage'], 'poses') + '; errors in mm',
        results.score_table(PROTOCOLS, averages, published.HUMAN36M),
        results.score_table(
            {**columns, 'mean_of_actions': 'mean'}, per_action, published.HUMAN36M_ACTIONS)])


def _pose_errors(coords_true, coords_pred):
    """Mean error of each pose, `[poses]`, for each of `PROTOCOLS`."""
    columns = [JOINTS.index(name) for name in JOINTS_14]
    absolute = pose_metrics.joint_errors(coords_true, coords_pred)
    errors = {
        'mpjpe_mm': pose_metrics.joint_errors(
            coords_true, coords_pred, alignment='root', root_joints=_ROOT),
        'pa_mpjpe_mm': pose_metrics.joint_errors(
            coords_true, coords_pred, alignment='procrustes'),
        'pa_mpjpe_14_joints_mm': pose_metrics.joint_errors(
            coords_true[:, columns], coords_pred[:, columns], alignment='procrustes'),
        'n_mpjpe_mm': pose_metrics.joint_errors(
            coords_true, coords_pred, alignment='scale', root_joints=_ROOT),
        'absolute_mpjpe_mm': absolute, 'mrpe_mm': absolute[:, _ROOT]}
    return {name: pose_metrics.mean(values, axis=1) for name, values in errors.items()}


def _summary(errors, actions):
    per_action = results.numbers(results.by_group(
        actions, lambda is_in: pose_metrics.mean(errors[is_in]), ACTIONS))
    return {
        'per_action': per_action,
        **results.numbers({
            'mean_of_actions': pose_metrics.mean([
                np.nan if error is None else error for error in per_action.values()]),
            'mean_of_poses': pose_metrics.mean(errors)})}
