"""3DPW: the rules of the challenge, or the 14 joints of most papers.

Labels have `coords3d_cam` in mm (the files of 3DPW are in metres) and, where frames are left out,
`is_valid` (a valid camera pose and 2D labels); predictions `coords3d_cam`, of the same person by
`name`. 'challenge' takes the 24 joints of smpl_24: MPJPE relative to the pelvis and PA-MPJPE over
all of them; over the 12 major joints PCK at 50 mm (an error of 50 mm counts), AUC up to 199 mm by
the trapezoidal rule, absolute PCK at 150 mm, and NCPS at 125 mm, the share of poses whose largest
error after Procrustes is at most that. 'joints_14' takes those of lsp_14, regressed from the mesh
as on Human3.6M, relative to the mean of the hips: MPJPE and PA-MPJPE.
"""

from metro_tf import skeleton
from training.evaluation.protocols import pose_metrics, predictions, published, results

JOINTS = skeleton.CONVENTIONS['smpl_24']
JOINTS_14 = skeleton.CONVENTIONS['lsp_14']
MAJOR_JOINTS = (1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21)
RULES = ('challenge', 'joints_14')
_COLUMNS = {
    'mpjpe_mm': 'MPJPE mm', 'pa_mpjpe_mm': 'PA-MPJPE mm', 'pck_50': 'PCK@50 %', 'auc': 'AUC %',
    'absolute_pck_150': 'absolute PCK@150 %', 'ncps_125': 'NCPS@125 %'}


def evaluate(predicted, labels, *, rules='challenge', allow_partial=False):
    """Scores predictions.

    Args:
        predicted, labels: `predictions.PoseTable`; see the module for the columns.
        rules: One of `RULES`.
        allow_partial: See `predictions.match`.

    Returns:
        Dict with `rules`, `coverage` and in `scores` the scores.

    Raises:
        ValueError: If a table does not fit.
    """
    predicted, labels, coverage = predictions.match(predicted, labels, allow_partial)
    score = {'challenge': _challenge, 'joints_14': _joints_14}[rules]
    names = (JOINTS if rules == 'challenge' else JOINTS_14).joint_names
    scores = score(
        labels.coords('coords3d_cam', names), predicted.predicted('coords3d_cam', names))
    return {'protocol': 'threedpw', 'rules': rules, 'coverage': coverage,
            'scores': results.numbers(scores)}


def tables(scores):
    """Results beside published ones, as Markdown."""
    columns = {name: heading for name, heading in _COLUMNS.items() if name in scores['scores']}
    return '\n\n'.join([
        results.coverage_line(scores['coverage'], 'poses') + f'; rules: {scores["rules"]}',
        results.score_table(
            columns, {'this model': scores['scores']},
            published.THREEDPW if scores['rules'] == 'challenge' else ())])


def _challenge(coords_true, coords_pred):
    relative = pose_metrics.joint_errors(
        coords_true, coords_pred, alignment='root', root_joints=(JOINTS.index('pelv'),))
    aligned = pose_metrics.joint_errors(coords_true, coords_pred, alignment='procrustes')
    absolute = pose_metrics.joint_errors(coords_true, coords_pred)
    relative_major, aligned_major, absolute_major = (
        errors[:, MAJOR_JOINTS] for errors in (relative, aligned, absolute))
    return {
        'mpjpe_mm': pose_metrics.mean_of_poses(relative),
        'pa_mpjpe_mm': pose_metrics.mean_of_poses(aligned),
        'pck_50': pose_metrics.pck(relative_major, 50.0, is_strict=False),
        'auc': pose_metrics.trapezoid_auc(relative_major),
        'absolute_pck_150': pose_metrics.pck(absolute_major, 150.0, is_strict=False),
        'ncps_125': pose_metrics.cps(aligned_major, 125.0)}


def _joints_14(coords_true, coords_pred):
    hips = [JOINTS_14.index(name) for name in ('lhip', 'rhip')]
    return {
        'mpjpe_mm': pose_metrics.mpjpe(coords_true, coords_pred, root_joints=hips),
        'pa_mpjpe_mm': pose_metrics.pa_mpjpe(coords_true, coords_pred)}
