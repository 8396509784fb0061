"""MuPoTS-3D: PCK at 150 mm and AUC of several people per photo, per sequence and their mean.

Both files have one row per person, `frame_names` with all photos, and `frame`, the photo of the
person. Labels have `sequence`, `coords2d`, `coords3d_cam` (annot3) and, if wanted, `coords3d_univ`
(univ_annot3) of the 17 joints of mpi_inf_3dhp_17, and `is_valid` (isValidFrame); predictions
`coords2d` and `coords3d_cam`. The order of the labelled people of a photo matters.

Matching: each labelled person in turn takes, of the predictions that are left, that with most of
the joints 1 to 13 less than 40 px off in x and in y, if any. Predicted joints at (0, 0) do not
count. Scores are against 'universal' or 'metric' labels, of poses as they are or 'rescaled':
predicted directions of bones with the true lengths, from the predicted pelvis on. 'all' counts
people without a match as wrong, 'matched' leaves them out. Papers give universal_rescaled,
root-relative and absolute.
"""

import numpy as np

from metro_tf import skeleton
from training.evaluation.protocols import pose_metrics, predictions, published, results

JOINTS = skeleton.CONVENTIONS['mpi_inf_3dhp_17']
LABEL_SCALES = {'universal': 'coords3d_univ', 'metric': 'coords3d_cam'}
MATCH_DISTANCE_PX = 40.0
_MATCHED_JOINTS = slice(1, 14)
_SCORED_JOINTS = slice(0, 14)
_I_ROOT = JOINTS.index('pelv')
# (child, parent) from the pelvis on; head and top of the head both hang on the neck.
BONES = (
    (15, 14), (1, 15), (0, 1), (16, 1), (2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 6), (8, 14),
    (9, 8), (10, 9), (11, 14), (12, 11), (13, 12))
_COLUMNS = {
    'pck_150_all': 'PCK all %', 'pck_150_matched': 'PCK matched %', 'auc_150_all': 'AUC all %',
    'auc_150_matched': 'AUC matched %', 'mpjpe_mm_matched': 'MPJPE matched mm'}


def evaluate(predicted, labels, *, allow_partial=False):
    """Scores predictions.

    Args:
        predicted, labels: `predictions.PoseTable`; see the module for the columns.
        allow_partial: See `predictions.match_frames`.

    Returns:
        Dict with `coverage` of the photos, the numbers of valid people `n_annotated` and
        `n_matched` and `recall`, and in `variants` for each ('universal', 'metric', with
        '_rescaled' or not), and there for 'root_relative' and 'absolute', the `mean` over
        sequences and `per_sequence`.

    Raises:
        ValueError: If a table does not fit, or no person is labelled.
    """
    predicted, labels, frames, coverage = predictions.match_frames(
        predicted, labels, allow_partial)
    if not labels.names:
        raise ValueError(f'`labels` must have valid people. Received: none in {labels.path}')
    rows = match_people(
        predicted.predicted('coords2d', JOINTS.joint_names),
        labels.coords('coords2d', JOINTS.joint_names),
        predictions.rows_of_frames(predicted, frames), predictions.rows_of_frames(labels, frames))
    coords_pred = predicted.predicted('coords3d_cam', JOINTS.joint_names)
    n_matched = int(np.sum(rows >= 0))
    return {
        'protocol': 'mupots', 'coverage': coverage, 'n_annotated': len(rows),
        'n_matched': n_matched, 'recall': n_matched / len(rows),
        'variants': _variants(coords_pred, labels, rows)}


def tables(scores):
    """Results beside published ones, as Markdown."""
    parts = [
        results.coverage_line(scores['coverage'], 'photos') + f'; {scores["n_matched"]} of '
        f'{scores["n_annotated"]} people matched ({scores["recall"]:.1%}). Whether published '
        'scores are of all or of matched people is not known.']
    for frame, others in (('root_relative', published.MUPOTS_RELATIVE),
                          ('absolute', published.MUPOTS_ABSOLUTE)):
        rows = {
            variant.replace('_', ', '): values[frame]['mean']
            for variant, values in scores['variants'].items()}
        heading = frame.replace('_', '-')
        parts.append(results.score_table(_COLUMNS, rows, others, first_heading=heading))
    variant, values = next(iter(scores['variants'].items()))
    parts.append(results.score_table(
        _COLUMNS, values['root_relative']['per_sequence'],
        first_heading=f'root-relative, {variant.replace("_", ", ")}'))
    return '\n\n'.join(parts)


def match_people(coords2d_pred, coords2d_true, rows_pred, rows_true):
    """Pairs labelled and predicted people of the same photo.

    Args:
        coords2d_pred, coords2d_true: Arrays `[people, 17, 2]`, px; labels may be NaN.
        rows_pred, rows_true: Lists with an index array per photo, the people in it.

    Returns:
        Int array `[labelled people]`: the predicted person, or -1.
    """
    matched = np.full(len(coords2d_true), -1)
    for of_pred, of_true in zip(rows_pred, rows_true):
        if not of_pred.size or not of_true.size:
            continue
        counts = _near_joints(coords2d_pred[of_pred], coords2d_true[of_true])
        for row, person in enumerate(of_true):
            best = counts[row].argmax()
            if counts[row, best] > 0:
                matched[person] = of_pred[best]
                counts[:, best] = 0
    return matched


def rescale_bones(coords_pred, coords_true):
    """Gives the bones of predictions the true lengths.

    Args:
        coords_pred, coords_true: Arrays `[people, 17, 3]`, mm.

    Returns:
        Float array `[people, 17, 3]`. A bone of no predicted length stays so, and one without
        label keeps its length.
    """
    rescaled = np.array(coords_pred, np.float64)
    for child, parent in BONES:
        bone = coords_pred[:, child] - coords_pred[:, parent]
        length = np.linalg.norm(bone, axis=-1, keepdims=True)
        wanted = np.linalg.norm(
            coords_true[:, child] - coords_true[:, parent], axis=-1, keepdims=True)
        wanted = np.where(np.isnan(wanted), length, wanted)
        factor = np.divide(wanted, length, out=np.zeros_like(length), where=length > 0)
        rescaled[:, child] = rescaled[:, parent] + factor * bone
    return rescaled


def _near_joints(coords2d_pred, coords2d_true):
    """Number of joints that agree, `[labelled people, predicted people]`."""
    pred, true = coords2d_pred[:, _MATCHED_JOINTS], coords2d_true[:, _MATCHED_JOINTS]
    offsets = np.abs(true[:, np.newaxis] - pred[np.newaxis])
    is_near = (offsets < MATCH_DISTANCE_PX).all(axis=-1) & (pred != 0).any(axis=-1)
    return is_near.sum(axis=-1)


def _variants(coords_pred, labels, rows):
    """Scores against all labels that there are, of rescaled poses first."""
    is_matched = rows >= 0
    sequences = labels.texts('sequence')
    variants = {}
    for scale, column in LABEL_SCALES.items():
        if column not in labels.columns and scale == 'universal':
            continue
        coords_true = labels.coords(column, JOINTS.joint_names)
        poses = coords_pred[rows[is_matched]]
        for suffix, values in (
                ('_rescaled', rescale_bones(poses, coords_true[is_matched])), ('', poses)):
            variants[scale + suffix] = {
                frame: _per_sequence(
                    _errors(values, coords_true, is_matched, frame == 'root_relative'),
                    is_matched, sequences)
                for frame in ('root_relative', 'absolute')}
    return variants


def _errors(matched_poses, coords_true, is_matched, is_relative):
    """Errors of all labelled people, `[people, 17]`; infinite where nobody was found."""
    errors = np.where(np.isfinite(coords_true).all(axis=-1), np.inf, np.nan)
    errors[is_matched] = pose_metrics.joint_errors(
        coords_true[is_matched], matched_poses, alignment='root' if is_relative else 'none',
        root_joints=(_I_ROOT,))
    return errors


def _per_sequence(errors, is_matched, sequences):
    def score(is_in):
        scored, matched = errors[is_in][:, _SCORED_JOINTS], errors[is_in & is_matched]
        return {'n_annotated': len(scored), 'n_matched': len(matched), **results.numbers({
            'pck_150_all': pose_metrics.pck(scored),
            'pck_150_matched': pose_metrics.pck(matched[:, _SCORED_JOINTS]),
            'auc_150_all': pose_metrics.auc(scored),
            'auc_150_matched': pose_metrics.auc(matched[:, _SCORED_JOINTS]),
            'mpjpe_mm_matched': pose_metrics.mean_of_poses(matched)})}
    per_sequence = results.by_group(sequences, score)
    means = results.mean_over(
        {name: values[name] for name in _COLUMNS} for values in per_sequence.values())
    return {'mean': means, 'per_sequence': per_sequence}
