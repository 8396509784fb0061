"""MPI-INF-3DHP: PCK at 150 mm, AUC and MPJPE, per sequence, activity and scene.

Labels have `sequence` (TS1 to TS6), `activity` (1 to 7), `is_valid`, and of the 17 joints of
mpi_inf_3dhp_17 `coords3d_cam` (annot3, the true size of the person) or `coords3d_univ`
(univ_annot3, the universal height); predictions `coords3d_cam`. Errors are relative to the pelvis,
then ("PA") after the best similarity over all 17 joints. Scores are over all valid frames of a
group.

Which labels are compared with, metric or universal, differs between papers, as do the joints:
'official' takes 14 for PCK and AUC and 17 for MPJPE, 'common_14' (MargiPose) and 'all_17' the same
for all. Which release of the labels is used matters, too: give the other as a version. MargiPose is
published with universal labels and common_14, and its PA may reflect; here no alignment does.
"""

import numpy as np

from metro_tf import skeleton
from training.evaluation.protocols import pose_metrics, predictions, published, results

JOINTS = skeleton.CONVENTIONS['mpi_inf_3dhp_17']
LABEL_SCALES = {'universal': 'coords3d_univ', 'metric': 'coords3d_cam'}
# Number of the first joints that count for PCK and AUC, and for MPJPE.
JOINT_SETS = {'official': (14, 17), 'common_14': (14, 14), 'all_17': (17, 17)}
SEQUENCES = ('TS1', 'TS2', 'TS3', 'TS4', 'TS5', 'TS6')
ACTIVITIES = {
    1: 'standing/walking', 2: 'exercising', 3: 'sitting', 4: 'reaching/crouching',
    5: 'on the floor', 6: 'sports', 7: 'miscellaneous'}
SCENES = {
    'TS1': 'green screen', 'TS2': 'green screen', 'TS3': 'no green screen',
    'TS4': 'no green screen', 'TS5': 'outdoor', 'TS6': 'outdoor'}
_ROOT = (JOINTS.index('pelv'),)
_COLUMNS = {
    'n_poses': 'frames', 'pck_150': 'PCK %', 'auc_150': 'AUC %', 'mpjpe_mm': 'MPJPE mm',
    'pa_pck_150': 'PA-PCK %', 'pa_auc_150': 'PA-AUC %', 'pa_mpjpe_mm': 'PA-MPJPE mm'}
OWN_LABELS = 'labels'


def evaluate(predicted, labels, *, label_scale='universal', joints='official', versions=None,
             allow_partial=False):
    """Scores predictions.

    Args:
        predicted, labels: `predictions.PoseTable`; see the module for the columns.
        label_scale: Key of `LABEL_SCALES`.
        joints: Key of `JOINT_SETS`.
        versions: Dict from name to a `PoseTable` of other labels for the same names.
        allow_partial: See `predictions.match`.

    Returns:
        Dict with the settings, `coverage`, and in `scores` for each version of the labels (the
        given ones as `OWN_LABELS`) a dict of `overall` and, by group, of `sequence`, `scene` and
        `activity`.

    Raises:
        ValueError: If a table does not fit.
    """
    column = LABEL_SCALES[label_scale]
    tables_of_labels = {OWN_LABELS: labels, **{
        name: predictions.with_labels(labels, version, column)
        for name, version in (versions or {}).items()}}
    scores = {}
    for name, table in tables_of_labels.items():
        matched, table, coverage = predictions.match(predicted, table, allow_partial)
        scores[name] = _grouped(matched, table, column, joints)
    return {
        'protocol': 'mpi_inf_3dhp', 'label_scale': label_scale, 'joints': joints,
        'coverage': coverage, 'scores': scores}


def tables(scores):
    """Results beside published ones, as Markdown."""
    columns = {name: heading for name, heading in _COLUMNS.items() if name != 'n_poses'}
    overall = {
        f'this model ({version})': groups['overall']
        for version, groups in scores['scores'].items()}
    parts = [
        results.coverage_line(scores['coverage'], 'valid frames')
        + f'; {scores["label_scale"]} labels, joints: {scores["joints"]}',
        results.score_table(columns, overall, published.MPI_INF_3DHP)]
    for version, groups in scores['scores'].items():
        rows = {
            name: {**values, 'n_poses': str(values['n_poses'])}
            for kind in ('sequence', 'scene', 'activity') for name, values in groups[kind].items()}
        parts.append(results.score_table(_COLUMNS, rows, first_heading=version))
    return '\n\n'.join(parts)


def _grouped(predicted, labels, column, joints):
    coords_pred = predicted.predicted('coords3d_cam', JOINTS.joint_names)
    coords_true = labels.coords(column, JOINTS.joint_names)
    sequences = labels.texts('sequence')
    results.check_groups(sequences, SEQUENCES, 'sequence', labels.path)
    results.check_groups(labels.values('activity'), ACTIVITIES, 'activity', labels.path)
    errors = {
        '': pose_metrics.joint_errors(
            coords_true, coords_pred, alignment='root', root_joints=_ROOT),
        'pa_': pose_metrics.joint_errors(coords_true, coords_pred, alignment='procrustes')}
    groups = {
        'sequence': (sequences, SEQUENCES),
        'scene': (_named(SCENES, sequences), dict.fromkeys(SCENES.values())),
        'activity': (_named(ACTIVITIES, labels.values('activity')), ACTIVITIES.values())}
    return {'overall': _scores(errors, slice(None), joints), **{
        kind: results.by_group(values, lambda is_in: _scores(errors, is_in, joints), order)
        for kind, (values, order) in groups.items()}}


def _named(names, values):
    return np.array([names[value] for value in values.tolist()])


def _scores(errors, rows, joints):
    n_pck, n_mpjpe = JOINT_SETS[joints]
    scores = {}
    for prefix, values in errors.items():
        values = values[rows]
        scores.update({
            f'{prefix}pck_150': pose_metrics.pck(values[:, :n_pck]),
            f'{prefix}auc_150': pose_metrics.auc(values[:, :n_pck]),
            f'{prefix}mpjpe_mm': pose_metrics.mean_of_poses(values[:, :n_mpjpe])})
    return {'n_poses': len(values), **results.numbers(scores)}
