"""AP and AR of COCO keypoints, by hand and against a slow implementation of its rules."""

import math

import numpy as np
import pytest

from tests.training import protocol_tables
from training.evaluation.protocols import coco

NAMES = coco.JOINTS.joint_names
NAN = float('nan')
SIDE = 100.0
PERSON = protocol_tables.random_poses(0, 1, 17, 2)[0] / 10


def make_labels(coords, frames, *, frame_names=None, area=SIDE**2, is_crowd=0, box=None):
    n = len(frames)
    coords = np.reshape(coords, [-1, 17, 2])
    box = [0, 0, SIDE, SIDE] if box is None else box
    return protocol_tables.make_table(
        NAMES, {'coords2d': coords}, frame=np.array(frames, str),
        frame_names=frame_names or sorted(set(frames)), area=np.broadcast_to(area, [n]),
        is_crowd=np.broadcast_to(is_crowd, [n]), box=np.broadcast_to(box, [n, 4]))


def make_predictions(coords, frames, scores, frame_names=None):
    return protocol_tables.make_table(
        NAMES, {'coords2d': np.reshape(coords, [-1, 17, 2])}, frame=np.array(frames, str),
        frame_names=frame_names or sorted(set(frames)), score=np.array(scores))


def test_deviations_of_the_labels():
    of_kind = {
        'nose': .026, 'eye': .025, 'ear': .035, 'sho': .079, 'elb': .072, 'wri': .062, 'hip': .107,
        'kne': .087, 'ank': .089}
    assert coco.SIGMAS == tuple(of_kind.get(name) or of_kind[name[1:]] for name in NAMES)


def evaluate(predicted, labels):
    return coco.evaluate(predicted, labels)['scores']


def with_oks(oks, area=SIDE**2):
    """The person, moved so that all joints have this similarity."""
    offsets = np.sqrt(-2 * math.log(oks) * area) * 2 * np.array(coco.SIGMAS)
    return PERSON + np.stack([offsets, np.zeros(17)], axis=-1)


def test_a_perfect_person():
    scores = evaluate(make_predictions(PERSON, ['a'], [0.5]), make_labels(PERSON, ['a']))
    assert scores['ap'] == pytest.approx(1) and scores['ar'] == 1
    assert scores['ap_large'] == pytest.approx(1) and scores['ap_medium'] is None
    assert scores['ar_medium'] is None


@pytest.mark.parametrize('oks, n_thresholds', [
    (0.501, 1), (0.499, 0), (0.649, 3), (0.651, 4), (0.949, 9), (0.951, 10)])
def test_similarity_decides_at_how_many_thresholds_a_person_is_found(oks, n_thresholds):
    scores = evaluate(make_predictions(with_oks(oks), ['a'], [1]), make_labels(PERSON, ['a']))
    assert scores['ap'] == pytest.approx(n_thresholds / 10)
    assert scores['ar'] == pytest.approx(n_thresholds / 10)
    assert scores['ap_75'] == pytest.approx(float(oks > 0.75))
    assert scores['ar_50'] == float(oks > 0.5)


def test_precision_over_recall_by_hand():
    # In the order of scores: found, false, found. Precision is 1 up to half, then 2/3.
    predicted = make_predictions(
        [PERSON, PERSON + 500, PERSON], ['a', 'a', 'b'], [0.9, 0.8, 0.7])
    scores = evaluate(predicted, make_labels([PERSON, PERSON], ['a', 'b']))
    assert scores['ap'] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert scores['ar'] == 1


def test_false_people_after_the_last_one_cost_nothing_before_a_lot():
    labels = make_labels([PERSON], ['a'])
    for score, ap in ((0.1, 1), (0.9, 0.5)):
        predicted = make_predictions([PERSON, PERSON + 500], ['a', 'a'], [0.5, score])
        assert evaluate(predicted, labels)['ap'] == pytest.approx(ap)


def test_people_in_photos_without_labels_are_false():
    labels = make_labels([PERSON], ['a'], frame_names=['a', 'b'])
    predicted = make_predictions([PERSON, PERSON], ['a', 'b'], [0.5, 0.9])
    assert evaluate(predicted, labels)['ap'] == pytest.approx(0.5)


def test_a_person_is_found_once():
    predicted = make_predictions([PERSON, PERSON], ['a', 'a'], [0.5, 0.9])
    scores = evaluate(predicted, make_labels([PERSON, PERSON + 500], ['a', 'a']))
    assert scores['ar'] == 0.5 and scores['ap'] == pytest.approx(51 / 101)


def test_at_most_twenty_predictions_of_a_photo_count():
    coords = [PERSON + 500] * 20 + [PERSON]
    labels = make_labels([PERSON], ['a'])
    for score, ar in ((0.1, 0), (0.9, 1)):
        predicted = make_predictions(coords, ['a'] * 21, [0.5] * 20 + [score])
        assert evaluate(predicted, labels)['ar'] == ar


def test_crowds_and_people_without_joints_excuse_predictions():
    unlabelled = np.full([17, 2], NAN)
    labels = make_labels(
        [PERSON, unlabelled, unlabelled], ['a'] * 3, is_crowd=[0, 1, 0],
        box=[[0] * 4, [500, 500, 200, 200], [900, 900, 200, 200]])
    predicted = make_predictions(
        [PERSON, PERSON + 550, PERSON + 560, PERSON + 900, PERSON + 5000], ['a'] * 5,
        [0.1, 0.9, 0.8, 0.7, 0.05])
    scores = evaluate(predicted, labels)
    assert scores['ap'] == pytest.approx(1) and scores['ar'] == 1
    # Without the crowd, three of them are wrong before the person is found.
    alone = evaluate(predicted, make_labels([PERSON], ['a']))
    assert alone['ap'] == pytest.approx(1 / 4)
    # Nor need they be found.
    assert evaluate(make_predictions([PERSON], ['a'], [1]), labels)['ar'] == 1


def test_a_crowd_can_be_taken_often_and_a_person_once():
    similarity = np.full([3, 1], 0.99)
    for is_crowd in (True, False):
        is_taken, takes_ignored = coco.match_people(
            similarity, np.array([True]), np.array([is_crowd]))
        np.testing.assert_array_equal(is_taken[0], [True, is_crowd, is_crowd])
        np.testing.assert_array_equal(takes_ignored, is_taken)


def test_people_who_count_go_before_nearer_ones_who_do_not():
    is_taken, takes_ignored = coco.match_people(
        np.array([[0.99, 0.6]]), np.array([True, False]), np.array([False, False]))
    np.testing.assert_array_equal(is_taken.sum(axis=1), [1] * 10)
    # Up to 0.60 the second one is near enough.
    np.testing.assert_array_equal(takes_ignored[:, 0], [False] * 3 + [True] * 7)


def test_areas_choose_who_counts():
    # A medium person is missed; a large one is found.
    small = PERSON / 20
    labels = make_labels([PERSON, small + 500], ['a', 'a'], area=[SIDE**2, 40**2])
    scores = evaluate(make_predictions([PERSON], ['a'], [1]), labels)
    assert scores['ap_large'] == pytest.approx(1) and scores['ap_medium'] == 0
    assert scores['ar'] == 0.5
    # A tiny wrong person is out of both ranges, but counts in all.
    predicted = make_predictions([PERSON, small + 2000], ['a', 'a'], [0.5, 0.9])
    scores = evaluate(predicted, make_labels([PERSON], ['a']))
    assert scores['ap'] == pytest.approx(0.5) and scores['ap_large'] == pytest.approx(1)


def test_nobody():
    labels = make_labels([PERSON], ['a'])
    scores = evaluate(make_predictions([], [], [], ['a']), labels)
    assert scores['ap'] == 0 and scores['ar'] == 0 and scores['ap_medium'] is None
    nobody = make_labels([], [], frame_names=['a'])
    assert evaluate(make_predictions([PERSON], ['a'], [1]), nobody)['ap'] is None


def test_similarity_to_people_without_joints_is_the_distance_from_the_double_box():
    [[inside, outside]] = coco.similarities(
        PERSON[np.newaxis] * 0 + 150, np.full([2, 17, 2], NAN), np.array([SIDE**2] * 2),
        np.array([[0, 0, 100, 100], [0, 0, 70, 100]]))
    assert inside == 1
    # 150 is 10 px right of 2 * 70.
    assert outside == pytest.approx(
        np.mean([math.exp(-10**2 / (2 * SIDE**2 * (2 * sigma)**2)) for sigma in coco.SIGMAS]))


def slow_average_precision(predicted, labels, threshold):
    """AP at one threshold, of all areas, without crowds and with all joints labelled."""
    judged = []
    for frame in labels.frame_names:
        true = [labels.columns['coords2d'][i] for i in range(len(labels.names))
                if labels.columns['frame'][i] == frame]
        rows = [i for i in range(len(predicted.names)) if predicted.columns['frame'][i] == frame]
        free = [True] * len(true)
        for row in sorted(rows, key=lambda i: -predicted.columns['score'][i])[:20]:
            best, best_oks = None, threshold
            for i, person in enumerate(true):
                terms = [
                    math.exp(-math.dist(p, q)**2 / (2 * SIDE**2 * (2 * sigma)**2))
                    for p, q, sigma in zip(predicted.columns['coords2d'][row], person, coco.SIGMAS)]
                if free[i] and sum(terms) / 17 >= best_oks:
                    best, best_oks = i, sum(terms) / 17
            if best is not None:
                free[best] = False
            judged.append((-predicted.columns['score'][row], best is not None))
    judged.sort()
    points = []
    for n in range(1, len(judged) + 1):
        n_true = sum(is_true for _, is_true in judged[:n])
        points.append((n_true / len(labels.names), n_true / n))
    at_recalls = [
        max([precision for recall, precision in points if recall >= wanted], default=0)
        for wanted in np.linspace(0, 1, 101)]
    return sum(at_recalls) / 101


def test_agrees_with_the_slow_implementation():
    rng = np.random.default_rng(3)
    n = 40
    frames = np.sort(rng.choice([f'{i:02}' for i in range(12)], n))
    coords = PERSON + 60 * rng.normal(size=[n, 1, 2])
    labels = make_labels(coords, frames)
    order = np.concatenate([rng.permutation(n)[:34], rng.choice(n, 12)])
    predicted = make_predictions(
        coords[order] + rng.choice([3, 9, 15], [46, 1, 1]) * rng.normal(size=[46, 17, 2]),
        frames[order], rng.permutation(46) / 46, labels.frame_names)
    scores = evaluate(predicted, labels)
    expected = [
        slow_average_precision(predicted, labels, 0.5 + 0.05 * i) for i in range(10)]
    assert 0.1 < scores['ap'] < 0.9
    assert scores['ap_50'] == pytest.approx(expected[0])
    assert scores['ap_75'] == pytest.approx(expected[5])
    assert scores['ap'] == pytest.approx(sum(expected) / 10)


def test_table():
    result = coco.evaluate(make_predictions(PERSON, ['a'], [0.5]), make_labels(PERSON, ['a']))
    text = coco.tables(result)
    assert '1 of 1 photos scored' in text
    assert [cell.strip() for cell in text.splitlines()[-1].split('|')[1:6]] == [
        'this model', '100.0', '100.0', '100.0', '-']
