"""KTH Multiview Football II: 3D PCP at half of the limb, strict and loose.

Labels and predictions have `coords3d_cam` of the 14 joints of lsp_14, in any unit and frame that
both share. Poses are compared relative to the mean of the hips, since one view leaves the distance
open. The limbs are upper and lower arms and legs.
"""

from metro_tf import skeleton
from training.evaluation.protocols import limbs, predictions, results

JOINTS = skeleton.CONVENTIONS['lsp_14']
GROUPS = {
    'upper arms': (('lsho', 'lelb'), ('rsho', 'relb')),
    'lower arms': (('lelb', 'lwri'), ('relb', 'rwri')),
    'upper legs': (('lhip', 'lkne'), ('rhip', 'rkne')),
    'lower legs': (('lkne', 'lank'), ('rkne', 'rank'))}


def evaluate(predicted, labels, *, allow_partial=False):
    """Scores predictions.

    Args:
        predicted, labels: `predictions.PoseTable`; see the module for the columns.
        allow_partial: See `predictions.match`.

    Returns:
        Dict with `coverage` and in `pcp` the shares of `limbs.pcp_scores`.

    Raises:
        ValueError: If a table does not fit.
    """
    predicted, labels, coverage = predictions.match(predicted, labels, allow_partial)
    hips = [JOINTS.index(name) for name in ('lhip', 'rhip')]
    coords_true, coords_pred = (
        coords - coords[:, hips].mean(axis=1, keepdims=True)
        for coords in (labels.coords('coords3d_cam', JOINTS.joint_names),
                       predicted.predicted('coords3d_cam', JOINTS.joint_names)))
    return {'protocol': 'kth', 'coverage': coverage,
            'pcp': limbs.pcp_scores(coords_true, coords_pred, JOINTS.joint_names, GROUPS)}


def tables(scores):
    """Results as Markdown."""
    return '\n\n'.join([
        results.coverage_line(scores['coverage'], 'poses'),
        limbs.pcp_table(scores['pcp'], GROUPS)])
