"""COCO keypoints: AP and AR over object keypoint similarity (OKS), by the rules of its evaluation.

Both files have one row per person, `frame_names` with all photos, `frame`, the photo of the
person, and `coords2d` of the 17 joints of coco_17. Labels also have `area` (of the segment, px²),
`box` [x, y, width, height] and `is_crowd`, and are NaN where v is 0; predictions `score`.

Of each photo the 20 predictions with the highest scores count. In the order of their scores they
take the labelled person with the highest OKS of those left. Crowds, people without labelled
joints and those outside the range of areas are ignored: neither they nor predictions that take them
count, and a crowd can be taken many times. AP is the mean over the thresholds 0.50, 0.55, ..., 0.95
and the recalls 0, 0.01, ..., 1.
"""

import numpy as np

from metro_tf import skeleton
from training.evaluation.protocols import pose_metrics, predictions, results

JOINTS = skeleton.CONVENTIONS['coco_17']
SIGMAS = (
    .026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089,
    .089)
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREA_RANGES = {'': (0, 1e10), '_medium': (32**2, 96**2), '_large': (96**2, 1e10)}
MAX_PREDICTIONS = 20
_COLUMNS = {
    'ap': 'AP %', 'ap_50': 'AP50 %', 'ap_75': 'AP75 %', 'ap_medium': 'AP medium %',
    'ap_large': 'AP large %', 'ar': 'AR %', 'ar_50': 'AR50 %', 'ar_75': 'AR75 %',
    'ar_medium': 'AR medium %', 'ar_large': 'AR large %'}


def evaluate(predicted, labels, *, allow_partial=False):
    """Scores predictions.

    Args:
        predicted, labels: `predictions.PoseTable`; see the module for the columns.
        allow_partial: See `predictions.match_frames`.

    Returns:
        Dict with `coverage` of the photos and in `scores` the ten numbers of COCO.

    Raises:
        ValueError: If a table does not fit.
    """
    predicted, labels, frames, coverage = predictions.match_frames(
        predicted, labels, allow_partial)
    people = _Predicted(predicted), _Labelled(labels)
    photos = [
        _photo(*people, of_pred, of_true)
        for of_pred, of_true in zip(predictions.rows_of_frames(predicted, frames),
                                    predictions.rows_of_frames(labels, frames))]
    scores = {}
    for suffix, area_range in AREA_RANGES.items():
        scores.update(_summary(*_precision_and_recall(*people, photos, area_range), suffix))
    return {'protocol': 'coco', 'coverage': coverage,
            'scores': results.numbers({name: scores[name] for name in _COLUMNS})}


def tables(scores):
    """Results as Markdown."""
    return '\n\n'.join([
        results.coverage_line(scores['coverage'], 'photos'),
        results.score_table(_COLUMNS, {'this model': scores['scores']})])


def similarities(coords_pred, coords_true, areas, boxes):
    """OKS of all pairs of predicted and labelled people of a photo.

    People without a labelled joint are compared by how far predicted joints are outside of their
    box doubled in size, so that predictions near them can be ignored.

    Args:
        coords_pred, coords_true: Arrays `[people, 17, 2]`, px; labels NaN where missing.
        areas, boxes: Arrays `[labelled people]` and `[labelled people, 4]`.

    Returns:
        Float array `[predicted people, labelled people]`.
    """
    coords_pred = coords_pred[:, np.newaxis]
    low, high = boxes[:, :2] - boxes[:, 2:], boxes[:, :2] + 2 * boxes[:, 2:]
    inside = np.clip(coords_pred, low[:, np.newaxis], high[:, np.newaxis])
    return np.where(
        _has_joints(coords_true), pose_metrics.oks(coords_true, coords_pred, areas, SIGMAS),
        pose_metrics.oks(inside, coords_pred, areas, SIGMAS))


class _Labelled:
    """Labelled people of all photos, and which of them are ignored."""

    def __init__(self, table):
        self.coords = table.coords('coords2d', JOINTS.joint_names)
        self.areas = table.numbers('area')
        self.boxes = table.column('box').astype(np.float64).reshape(-1, 4)
        self.is_crowd = table.values('is_crowd').astype(bool)
        self.is_ignored = self.is_crowd | ~_has_joints(self.coords)


class _Predicted:
    """Predicted people of all photos."""

    def __init__(self, table):
        self.coords = table.predicted('coords2d', JOINTS.joint_names)
        self.scores = table.numbers('score')
        sides = np.ptp(self.coords, axis=1)
        self.areas = sides[:, 0] * sides[:, 1]


def _photo(predicted, labelled, of_pred, of_true):
    """Rows of the predictions that count, best first, of the labels, and their similarities."""
    order = np.argsort(-predicted.scores[of_pred], kind='stable')[:MAX_PREDICTIONS]
    of_pred = of_pred[order]
    return of_pred, of_true, similarities(
        predicted.coords[of_pred], labelled.coords[of_true], labelled.areas[of_true],
        labelled.boxes[of_true])


def _precision_and_recall(predicted, labelled, photos, area_range):
    """Precision `[thresholds, recalls]` and recall `[thresholds]`; NaN without any label."""
    is_ignored = labelled.is_ignored | _is_outside(labelled.areas, area_range)
    is_small_or_large = _is_outside(predicted.areas, area_range)
    kept, is_true, is_false = [np.zeros(0, int)], [_nothing()], [_nothing()]
    for of_pred, of_true, similarity in photos:
        is_taken, takes_ignored = match_people(
            similarity, is_ignored[of_true], labelled.is_crowd[of_true])
        kept.append(of_pred)
        is_true.append(is_taken & ~takes_ignored)
        is_false.append(~is_taken & ~is_small_or_large[of_pred])
    order = np.argsort(-predicted.scores[np.concatenate(kept)], kind='stable')
    return _curves(np.concatenate(is_true, axis=1)[:, order],
                   np.concatenate(is_false, axis=1)[:, order], np.sum(~is_ignored))


def match_people(similarity, is_ignored, is_crowd):
    """Pairs people of a photo, at each of `THRESHOLDS`.

    Args:
        similarity: Array `[predicted people, labelled people]`, the predictions in order.
        is_ignored, is_crowd: Boolean arrays `[labelled people]`.

    Returns:
        Boolean arrays `[thresholds, predicted people]`: who took a labelled person, and who took
        one that is ignored.
    """
    n_pred, n_true = similarity.shape
    is_taken, takes_ignored = (np.zeros([len(THRESHOLDS), n_pred], bool) for _ in range(2))
    is_free = np.ones([len(THRESHOLDS), n_true], bool)
    for i_pred in range(n_pred if n_true else 0):
        usable = (is_free | is_crowd) & (similarity[i_pred] >= THRESHOLDS[:, np.newaxis])
        has_regular = (usable & ~is_ignored).any(axis=1, keepdims=True)
        usable &= ~(has_regular & is_ignored)
        # Of equals the last one, as in COCO.
        best = n_true - 1 - np.argmax(np.where(usable, similarity[i_pred], -1)[:, ::-1], axis=1)
        is_taken[:, i_pred] = usable.any(axis=1)
        takes_ignored[:, i_pred] = is_taken[:, i_pred] & is_ignored[best]
        is_free[is_taken[:, i_pred], best[is_taken[:, i_pred]]] = False
    return is_taken, takes_ignored


def _curves(is_true, is_false, n_labelled):
    if not n_labelled:
        return np.full([len(THRESHOLDS), len(RECALLS)], np.nan), np.full(len(THRESHOLDS), np.nan)
    n_true, n_false = (np.cumsum(values, axis=1) for values in (is_true, is_false))
    recall = n_true / n_labelled
    precision = n_true / (n_true + n_false + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.concatenate([precision, np.zeros([len(THRESHOLDS), 1])], axis=1)
    at_recalls = np.stack([
        row[np.searchsorted(reached, RECALLS)] for row, reached in zip(padded, recall)])
    return at_recalls, recall[:, -1] if recall.shape[1] else np.zeros(len(THRESHOLDS))


def _summary(precision, recall, suffix):
    scores = {f'ap{suffix}': np.mean(precision), f'ar{suffix}': np.mean(recall)}
    if not suffix:
        for percent in (50, 75):
            i_threshold = np.argmin(np.abs(THRESHOLDS - percent / 100))
            scores[f'ap_{percent}'] = np.mean(precision[i_threshold])
            scores[f'ar_{percent}'] = recall[i_threshold]
    return scores


def _has_joints(coords):
    return np.isfinite(coords).all(axis=-1).any(axis=-1)


def _is_outside(areas, area_range):
    return (areas < area_range[0]) | (areas > area_range[1])


def _nothing():
    return np.zeros([len(THRESHOLDS), 0], bool)
