"""Matching, rescaling and scores of MuPoTS-3D, by hand and against a slow implementation."""

import math

import numpy as np
import pytest

from tests.training import protocol_tables
from training.evaluation.protocols import mupots

NAMES = mupots.JOINTS.joint_names
POSE = protocol_tables.random_poses(7, 1, 17)[0]
PIXELS = protocol_tables.random_poses(8, 1, 17, 2)[0]


def make_table(coords3d, coords2d, frames, frame_names=None, **columns):
    return protocol_tables.make_table(
        NAMES, {'coords3d_cam': np.reshape(coords3d, [-1, 17, 3]),
                'coords2d': np.reshape(coords2d, [-1, 17, 2])},
        frame=np.array(frames, str),
        frame_names=frame_names or list(dict.fromkeys(frames)), **columns)


def make_labels(coords3d, coords2d, frames, **columns):
    return make_table(coords3d, coords2d, frames, **{
        'sequence': ['TS1'] * len(frames), **columns})


def relative(scores, variant='metric'):
    return scores['variants'][variant]['root_relative']['mean']


def slow_scores(predicted, labels, column, is_rescaled, is_relative):
    """The rules, person by person and joint by joint, from the text of the protocol."""
    per_sequence = {}
    taken = set()
    for i_true in range(len(labels.names)):
        if not labels.is_valid[i_true]:
            continue
        best, best_count = None, 0
        for i_pred in range(len(predicted.names)):
            if predicted.column('frame')[i_pred] != labels.column('frame')[i_true]:
                continue
            count = 0
            for joint in range(1, 14):
                x, y = predicted.column('coords2d')[i_pred, joint]
                x_true, y_true = labels.column('coords2d')[i_true, joint]
                is_there = not (x == 0 and y == 0)
                count += is_there and abs(x - x_true) < 40 and abs(y - y_true) < 40
            if i_pred not in taken and count > best_count:
                best, best_count = i_pred, count
        results = per_sequence.setdefault(labels.column('sequence')[i_true], [])
        if best is None:
            results.append(None)
            continue
        taken.add(best)
        true = labels.column(column)[i_true]
        pose = slow_pose(predicted.column('coords3d_cam')[best], true, is_rescaled)
        if is_relative:
            pose, true = pose - pose[14], true - true[14]
        results.append([math.dist(pose[joint], true[joint]) for joint in range(17)])
    return slow_means(per_sequence)


def slow_pose(pose, true, is_rescaled):
    if not is_rescaled:
        return pose
    parents = {15: 14, 1: 15, 0: 1, 16: 1, 2: 1, 3: 2, 4: 3, 5: 1, 6: 5, 7: 6, 8: 14, 9: 8,
               10: 9, 11: 14, 12: 11, 13: 12}
    moved = {14: pose[14]}
    for child, parent in parents.items():
        direction = (pose[child] - pose[parent]) / math.dist(pose[child], pose[parent])
        moved[child] = moved[parent] + math.dist(true[child], true[parent]) * direction
    return np.array([moved[joint] for joint in range(17)])


def slow_means(per_sequence):
    sums = {'pck_150_all': [], 'pck_150_matched': [], 'auc_150_all': [], 'auc_150_matched': [],
            'mpjpe_mm_matched': []}
    for people in per_sequence.values():
        found = [errors for errors in people if errors is not None]
        share = len(found) / len(people)
        joints = [error for errors in found for error in errors[:14]]
        pck = sum(error < 150 for error in joints) / len(joints)
        auc = sum(sum(error < t for t in range(0, 151, 5)) / 31 for error in joints) / len(joints)
        sums['pck_150_all'].append(pck * share)
        sums['pck_150_matched'].append(pck)
        sums['auc_150_all'].append(auc * share)
        sums['auc_150_matched'].append(auc)
        sums['mpjpe_mm_matched'].append(
            sum(sum(errors) / 17 for errors in found) / len(found))
    return {name: sum(values) / len(values) for name, values in sums.items()}


def make_crowd(n_frames=20, n_people=3, seed=0):
    """Photos of two sequences with people, of whom some are invalid, missed or only predicted."""
    rng = np.random.default_rng(seed)
    n = n_frames * n_people
    frames = np.repeat([f'{i:03}' for i in range(n_frames)], n_people)
    true = protocol_tables.random_poses(seed + 1, n, 17) + [0, 0, 3000]
    pixels = protocol_tables.random_poses(seed + 2, n, 17, 2) / 5
    labels = make_labels(
        true, pixels, frames, coords3d_univ=true * rng.uniform(0.8, 1.2, [n, 1, 1]),
        sequence=np.where(frames < '012', 'TS1', 'TS2'), is_valid=rng.random(n) > 0.1)
    order = rng.permutation(n)[:n - n_frames // 2]
    pred2d = pixels[order] + rng.normal(scale=25, size=[len(order), 17, 2])
    pred2d[::4, 3] = 0
    pred3d = true[order] + rng.normal(scale=60, size=[len(order), 17, 3])
    return make_table(pred3d, pred2d, frames[order], sorted(set(frames))), labels


def test_twenty_frames_of_three_people_agree_with_the_slow_implementation():
    predicted, labels = make_crowd()
    scores = mupots.evaluate(predicted, labels)
    assert 0.5 < scores['recall'] < 1
    for variant, column, is_rescaled in (
            ('universal_rescaled', 'coords3d_univ', True), ('universal', 'coords3d_univ', False),
            ('metric_rescaled', 'coords3d_cam', True), ('metric', 'coords3d_cam', False)):
        for frame in ('root_relative', 'absolute'):
            expected = slow_scores(
                predicted, labels, column, is_rescaled, frame == 'root_relative')
            assert scores['variants'][variant][frame]['mean'] == pytest.approx(expected)
    assert list(scores['variants']) == [
        'universal_rescaled', 'universal', 'metric_rescaled', 'metric']


def test_first_labelled_person_chooses_first():
    # Both labelled people are nearest to the first prediction; the second one gets the other.
    pixels = np.stack([PIXELS, PIXELS])
    predicted2d = np.stack([PIXELS, PIXELS])
    predicted2d[1, :9] += 50
    rows = mupots.match_people(
        predicted2d, pixels, [np.array([0, 1])], [np.array([0, 1])])
    np.testing.assert_array_equal(rows, [0, 1])
    rows = mupots.match_people(
        predicted2d[::-1], pixels, [np.array([0, 1])], [np.array([0, 1])])
    np.testing.assert_array_equal(rows, [1, 0])


@pytest.mark.parametrize('offset, is_matched', [
    ((39.9, 39.9), True), ((40, 0), False), ((0, -40), False), ((0, 41), False)])
def test_match_distance_is_strict_in_both_directions(offset, is_matched):
    rows = mupots.match_people(
        np.array([np.round(PIXELS) + offset]), np.array([np.round(PIXELS)]), [np.array([0])],
        [np.array([0])])
    assert (rows[0] == 0) == is_matched


def test_one_joint_of_the_thirteen_makes_a_match():
    for joint, expected in ((0, -1), (1, 0), (13, 0), (14, -1), (16, -1)):
        pred = PIXELS + 1000
        pred[joint] = PIXELS[joint]
        rows = mupots.match_people(
            np.array([pred]), np.array([PIXELS]), [np.array([0])], [np.array([0])])
        assert rows[0] == expected


def test_joints_at_the_origin_are_absent():
    true = np.full([1, 17, 2], 10.0)
    rows = mupots.match_people(
        np.zeros([1, 17, 2]), true, [np.array([0])], [np.array([0])])
    assert rows[0] == -1
    pred = np.zeros([1, 17, 2])
    pred[0, 5] = [0, 1]
    rows = mupots.match_people(pred, true, [np.array([0])], [np.array([0])])
    assert rows[0] == 0


def test_people_of_other_photos_are_not_taken():
    predicted = make_table(POSE, PIXELS, ['b'], ['a', 'b'])
    scores = mupots.evaluate(predicted, make_labels(POSE, PIXELS, ['a'], frame_names=['a', 'b']))
    assert scores['n_matched'] == 0


def test_unmatched_people_are_wrong_or_left_out():
    labels = make_labels([POSE, POSE], [PIXELS, PIXELS + 2000], ['a', 'a'])
    scores = mupots.evaluate(make_table(POSE + 9, PIXELS, ['a']), labels)
    assert scores['recall'] == 0.5
    mean = relative(scores)
    assert mean['pck_150_matched'] == 1 and mean['pck_150_all'] == 0.5
    assert mean['auc_150_matched'] == pytest.approx(30 / 31)
    assert mean['auc_150_all'] == pytest.approx(15 / 31)
    assert mean['mpjpe_mm_matched'] == pytest.approx(0)
    absolute = scores['variants']['metric']['absolute']['mean']
    assert absolute['mpjpe_mm_matched'] == pytest.approx(9 * 3**0.5)


def test_a_photo_without_people_and_no_predictions_at_all():
    labels = make_labels([POSE], [PIXELS], ['a'], frame_names=['a', 'b'])
    scores = mupots.evaluate(make_table([], [], [], ['a', 'b']), labels)
    assert scores['n_matched'] == 0 and relative(scores)['pck_150_all'] == 0
    assert relative(scores)['pck_150_matched'] is None
    assert relative(scores)['mpjpe_mm_matched'] is None
    assert '0 of 1 people matched (0.0%)' in mupots.tables(scores)


def test_invalid_people_are_removed_before_matching():
    labels = make_labels(
        [POSE, POSE], [PIXELS, PIXELS], ['a', 'a'], is_valid=[False, True])
    scores = mupots.evaluate(make_table(POSE, PIXELS, ['a']), labels)
    assert scores['n_annotated'] == scores['n_matched'] == 1
    nobody = make_labels([POSE], [PIXELS], ['a'], is_valid=[False])
    with pytest.raises(ValueError, match='`labels` must have valid people. Received: none in'):
        mupots.evaluate(make_table(POSE, PIXELS, ['a']), nobody)


def test_mean_is_over_sequences():
    labels = make_labels(
        [POSE] * 3, [PIXELS] * 3, ['a', 'b', 'c'], sequence=['TS1', 'TS1', 'TS2'])
    predicted = make_table(
        [POSE, POSE, POSE + 400 * (np.arange(17) < 14)[:, np.newaxis]], [PIXELS] * 3,
        ['a', 'b', 'c'])
    scores = mupots.evaluate(predicted, labels)
    per_sequence = scores['variants']['metric']['root_relative']['per_sequence']
    assert per_sequence['TS1']['pck_150_all'] == 1 and per_sequence['TS2']['pck_150_all'] == 0
    assert per_sequence['TS1']['n_annotated'] == 2
    assert relative(scores)['pck_150_all'] == 0.5


def test_rescaling_keeps_directions_from_the_pelvis_on():
    pred, true = protocol_tables.random_poses(3, 2, 17), protocol_tables.random_poses(4, 2, 17)
    rescaled = mupots.rescale_bones(pred, true)
    np.testing.assert_array_equal(rescaled[:, 14], pred[:, 14])
    for child, parent in mupots.BONES:
        bone, before, wanted = (
            coords[:, child] - coords[:, parent] for coords in (rescaled, pred, true))
        np.testing.assert_allclose(
            np.linalg.norm(bone, axis=-1), np.linalg.norm(wanted, axis=-1))
        np.testing.assert_allclose(
            bone / np.linalg.norm(bone, axis=-1, keepdims=True),
            before / np.linalg.norm(before, axis=-1, keepdims=True))
    assert sorted(child for child, _ in mupots.BONES) == [
        joint for joint in range(17) if joint != 14]


def test_bones_without_length_or_label():
    pred = protocol_tables.random_poses(3, 1, 17)
    true = pred * 2
    pred[0, 4] = pred[0, 3]
    true[0, 7] = np.nan
    rescaled = mupots.rescale_bones(pred, true)
    np.testing.assert_allclose(rescaled[0, 4], rescaled[0, 3])
    np.testing.assert_allclose(rescaled[0, 7] - rescaled[0, 6], pred[0, 7] - pred[0, 6])


def test_universal_scores_need_universal_labels():
    scores = mupots.evaluate(
        make_table(POSE, PIXELS, ['a']), make_labels(POSE, PIXELS, ['a']))
    assert list(scores['variants']) == ['metric_rescaled', 'metric']


def test_tables_have_published_scores():
    text = mupots.tables(mupots.evaluate(*make_crowd()))
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines()]
    assert ['MeTRAbs, EfficientNetV2-L', '90.6', '-', '-', '-', '-', 'MeTRAbs repository'] in cells
    assert ['MeTRAbs, EfficientNetV2-L', '42.5', '-', '-', '-', '-', 'MeTRAbs repository'] in cells
    assert [row[0] for row in cells[-2:]] == ['TS1', 'TS2']
