"""Errors of Human3.6M per action, by hand and against loops."""

import numpy as np
import pytest

from tests.training import protocol_tables
from training.evaluation.protocols import human36m, pose_metrics

NAMES = human36m.JOINTS.joint_names
JOINTS_17 = list(range(17))
# Pelvis, spine and head do not count: indices into h36m_17.
JOINTS_14 = [3, 2, 1, 4, 5, 6, 16, 15, 14, 11, 12, 13, 8, 10]


def make_table(coords, **columns):
    return protocol_tables.make_table(NAMES, {'coords3d_cam': coords}, **columns)


def shifted_by(errors):
    """Predictions where all joints but the pelvis are off by an error per pose."""
    coords = np.zeros([len(errors), 17, 3])
    coords[:, 1:, 0] = np.array(errors)[:, np.newaxis] * 17 / 16
    return coords


def test_both_averages_by_hand():
    true = np.zeros([5, 17, 3]) + [0, 0, 3000]
    pred = true + shifted_by([10, 30, 20, 40, 60]) + 500
    actions = ['Sitting', 'Sitting', 'SittingDown', 'WalkingDog', 'Sitting']
    scores = human36m.evaluate(make_table(pred), make_table(true, action=actions))
    mpjpe = scores['mpjpe_mm']
    assert mpjpe['per_action'] == pytest.approx(
        {'Sitting': 100 / 3, 'SittingDown': 20, 'WalkDog': 40})
    assert list(mpjpe['per_action']) == ['Sitting', 'SittingDown', 'WalkDog']
    assert mpjpe['mean_of_actions'] == pytest.approx((100 / 3 + 20 + 40) / 3)
    assert mpjpe['mean_of_poses'] == pytest.approx(32)
    assert scores['mrpe_mm']['mean_of_poses'] == pytest.approx(500 * 3**0.5)
    assert scores['coverage']['share'] == 1


def test_all_protocols_agree_with_loops():
    true = protocol_tables.random_poses(0, 12, 17)
    pred = true + protocol_tables.random_poses(1, 12, 17) / 10
    actions = np.array(['Eating', 'Walking', 'Photo'] * 4)
    scores = human36m.evaluate(make_table(pred), make_table(true, action=actions))
    slow = {'mpjpe_mm': [], 'pa_mpjpe_mm': [], 'pa_mpjpe_14_joints_mm': [], 'n_mpjpe_mm': []}
    for y, p in zip(true, pred):
        relative_y, relative_p = y - y[0], p - p[0]
        scale = (relative_y * relative_p).sum() / (relative_p**2).sum()
        slow['mpjpe_mm'].append(mean_distance(relative_y, relative_p))
        slow['n_mpjpe_mm'].append(mean_distance(relative_y, scale * relative_p))
        for name, joints in (('pa_mpjpe_mm', JOINTS_17), ('pa_mpjpe_14_joints_mm', JOINTS_14)):
            moved = pose_metrics.procrustes(y[np.newaxis, joints], p[np.newaxis, joints])[0]
            slow[name].append(mean_distance(y[joints], moved))
    for name, errors in slow.items():
        for action in ('Eating', 'Walking', 'Photo'):
            own = [error for error, other in zip(errors, actions) if other == action]
            assert scores[name]['per_action'][action] == pytest.approx(sum(own) / 4)
        assert scores[name]['mean_of_poses'] == pytest.approx(sum(errors) / 12)


def mean_distance(a, b):
    return sum(float(np.sqrt(((p - q)**2).sum())) for p, q in zip(a, b)) / len(a)


def test_predictions_in_another_order_and_with_other_joints():
    true = protocol_tables.random_poses(0, 4, 17)
    pred = true + shifted_by([10, 20, 30, 40])
    expected = human36m.evaluate(make_table(pred), make_table(true, action=['Eating'] * 4))
    order = np.random.default_rng(0).permutation(17)
    others = protocol_tables.make_table(
        [*np.array(NAMES)[order], 'nose'], names=['3', '2', '1', '0'],
        coords={'coords3d_cam': np.concatenate([pred[::-1, order], np.zeros([4, 1, 3])], axis=1)})
    assert human36m.evaluate(others, make_table(true, action=['Eating'] * 4)) == expected


def test_velocities_follow_the_frame_numbers():
    true = np.zeros([4, 17, 3])
    pred = shifted_by([17, 0, 34, 0])
    columns = {'action': ['Eating'] * 4, 'sequence': ['a', 'a', 'a', 'b']}
    scores = human36m.evaluate(
        make_table(pred), make_table(true, frame_number=[9, 1, 10, 2], **columns))
    # In order: 0, 17, 34 in one sequence, steps of 17, and a single frame in another.
    assert scores['mpjve_mm'] == pytest.approx(17)
    assert 'mpjve_mm' not in human36m.evaluate(make_table(pred), make_table(true, **columns))


def test_frames_that_do_not_count_and_missing_labels():
    true = np.zeros([3, 17, 3])
    true[1, 5] = np.nan
    true[2, 0] = np.nan
    pred = shifted_by([16, 16, 16])
    scores = human36m.evaluate(make_table(pred), make_table(true, action=['Eating'] * 3))
    # 16 joints 17 off, of 17 or 16 with a label; without a pelvis there is no error.
    assert scores['mpjpe_mm']['mean_of_poses'] == pytest.approx((16 + 17 * 15 / 16) / 2)
    labels = make_table(true, action=['Eating'] * 3, is_valid=[False, False, True])
    scores = human36m.evaluate(make_table(pred), labels)
    assert scores['mpjpe_mm'] == {
        'per_action': {'Eating': None}, 'mean_of_actions': None, 'mean_of_poses': None}
    assert '| mean of poses ' in human36m.tables(scores)


def test_what_does_not_fit_is_refused():
    true = np.zeros([2, 17, 3])
    with pytest.raises(ValueError, match="`action` must be among Directions, .*: 'Walk' in poses"):
        human36m.evaluate(make_table(true), make_table(true, action=['Eating', 'Walk']))
    with pytest.raises(ValueError, match='This protocol needs `action`'):
        human36m.evaluate(make_table(true), make_table(true))
    with pytest.raises(ValueError, match="`coords3d_cam` must be finite. .* others in '1' in pos"):
        human36m.evaluate(
            make_table(true * [[[1]], [[np.nan]]]), make_table(true, action=['Eating'] * 2))
    with pytest.raises(ValueError, match='joints without htop in poses.npz'):
        human36m.evaluate(
            protocol_tables.make_table(
                [name if name != 'htop' else 'nose' for name in NAMES], {'coords3d_cam': true}),
            make_table(true, action=['Eating'] * 2))


def test_tables_have_ours_beside_published_scores():
    true = np.zeros([2, 17, 3])
    scores = human36m.evaluate(
        make_table(shifted_by([10, 20])), make_table(true, action=['Photo', 'Eating']))
    text = human36m.tables(scores)
    assert text.startswith('2 of 2 poses scored (100.0%); errors in mm\n\n| method ')
    lines = {line.split('|')[1].strip(): [cell.strip() for cell in line.split('|')[2:-1]]
             for line in text.splitlines() if line.startswith('| ')}
    assert lines['mean of poses'][0] == '15.0' and lines['mean of poses'][-1] == 'here'
    assert lines['MargiPose'][:2] == ['57.0', '40.4'] and lines['MargiPose'][-1] == 'table 4'
    per_action = lines['protocol 1, MPJPE']
    assert per_action[2] == '20.0' and per_action[10] == '10.0' and per_action[0] == '-'
    assert lines['coarse-to-fine'][10] == '77.0'
