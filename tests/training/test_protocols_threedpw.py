"""3DPW by the rules of the challenge and on 14 joints."""

import math

import numpy as np
import pytest

from tests.training import protocol_tables
from training.evaluation.protocols import pose_metrics, threedpw

MAJOR = [1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21]


def evaluate(pred, true, joint_names=threedpw.JOINTS.joint_names, rules='challenge', **columns):
    return threedpw.evaluate(
        protocol_tables.make_table(joint_names, {'coords3d_cam': pred}),
        protocol_tables.make_table(joint_names, {'coords3d_cam': true}, **columns), rules=rules)


def test_challenge_by_hand():
    true = np.zeros([1, 24, 3])
    pred = true + [0, 0, 100]
    pred[0, 4, 0] = 50
    pred[0, 5, 0] = 50.01
    pred[0, 23, 0] = 1000  # a hand is no major joint
    scores = evaluate(pred, true)['scores']
    assert scores['pck_50'] == pytest.approx(11 / 12)
    assert scores['mpjpe_mm'] == pytest.approx(1100.01 / 24)
    assert scores['absolute_pck_150'] == 1
    # Ten joints count 0.99; 50 and 50.01 are past twelve of fifty steps of 3.98.
    assert scores['auc'] == pytest.approx((10 * 0.99 + 2 * (1 - 12.5 / 50)) / 12)


def test_absolute_pck_includes_its_threshold():
    true = np.zeros([2, 24, 3])
    pred = true + [[[0, 150, 0]], [[0, 150.01, 0]]]
    assert evaluate(pred, true)['scores']['absolute_pck_150'] == 0.5


def test_challenge_agrees_with_loops():
    true = protocol_tables.random_poses(0, 15, 24)
    pred = true + 45 * np.random.default_rng(1).normal(size=true.shape)
    scores = evaluate(pred, true)['scores']
    aligned = pose_metrics.procrustes(true, pred)
    n_near = n_good_poses = 0
    area, errors, aligned_errors = [], [], []
    for pose in range(15):
        worst = 0
        for joint in range(24):
            error = math.dist(
                pred[pose, joint] - pred[pose, 0], true[pose, joint] - true[pose, 0])
            aligned_error = math.dist(aligned[pose, joint], true[pose, joint])
            errors.append(error)
            aligned_errors.append(aligned_error)
            if joint in MAJOR:
                n_near += error <= 50
                area.append(max(0, 1 - (error * 50 // 199 + 0.5) / 50))
                worst = max(worst, aligned_error)
        n_good_poses += worst <= 125
    assert scores['pck_50'] == pytest.approx(n_near / 180)
    assert scores['auc'] == pytest.approx(sum(area) / 180)
    assert scores['ncps_125'] == pytest.approx(n_good_poses / 15) and 3 < n_good_poses < 12
    assert scores['mpjpe_mm'] == pytest.approx(sum(errors) / 360)
    assert scores['pa_mpjpe_mm'] == pytest.approx(sum(aligned_errors) / 360)


def test_fourteen_joints_are_relative_to_the_middle_of_the_hips():
    names = threedpw.JOINTS_14.joint_names
    true = protocol_tables.random_poses(0, 3, 14)
    pred = true + 5000
    pred[:, names.index('lhip'), 0] += 28
    scores = evaluate(pred, true, names, rules='joints_14')['scores']
    # The middle moves by 14: one hip is 14 off, and so are the other joints.
    assert scores['mpjpe_mm'] == pytest.approx(14)
    assert 0 < scores['pa_mpjpe_mm'] < 14 and list(scores) == ['mpjpe_mm', 'pa_mpjpe_mm']


def test_invalid_frames_and_wrong_joints():
    true = np.zeros([2, 24, 3])
    pred = true + [[[0, 0, 0]], [[0, 0, 500]]]
    result = evaluate(pred, true, is_valid=[1, 0])
    assert result['scores']['absolute_pck_150'] == 1 and result['coverage']['n_labelled'] == 1
    with pytest.raises(ValueError, match='joints without htop in poses.npz'):
        evaluate(true, true, rules='joints_14')


def test_tables():
    true = np.zeros([1, 24, 3])
    text = threedpw.tables(evaluate(true, true))
    assert 'rules: challenge' in text and 'PCK@50 %' in text
    [line] = [line for line in text.splitlines() if line.startswith('| MeTRAbs  ')]
    assert [cell.strip() for cell in line.split('|')[2:4]] == ['68.8', '49.7']
    # What is published is by the rules of the challenge.
    true = np.zeros([1, 14, 3])
    text = threedpw.tables(
        evaluate(true, true, threedpw.JOINTS_14.joint_names, rules='joints_14'))
    assert 'rules: joints_14' in text and 'MeTRAbs' not in text
