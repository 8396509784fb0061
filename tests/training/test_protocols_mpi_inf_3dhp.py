"""PCK, AUC and MPJPE of MPI-INF-3DHP in all groups, by hand and against loops."""

import math

import numpy as np
import pytest

from tests.training import protocol_tables
from training.evaluation.protocols import mpi_inf_3dhp

NAMES = mpi_inf_3dhp.JOINTS.joint_names


def make_table(coords, column='coords3d_cam', **columns):
    return protocol_tables.make_table(NAMES, {column: coords}, **columns)


def make_labels(univ, n_poses, **changes):
    columns = {'sequence': ['TS1'] * n_poses, 'activity': [1] * n_poses,
               'is_valid': np.ones(n_poses, bool)}
    return make_table(univ, 'coords3d_univ', **{**columns, **changes})


def off(joint_errors):
    """A pose where joints are off by a distance, by index."""
    coords = np.zeros([17, 3])
    for joint, error in joint_errors.items():
        coords[joint, 1] = error
    return coords


def test_threshold_is_strict_and_joint_sets_differ():
    # Of the 14 joints one is just below, one at the threshold; the head, no. 16, is far off.
    pred = np.array([off({0: 149.99, 1: 150, 16: 1000})])
    labels = make_labels(np.zeros([1, 17, 3]), 1)
    scores = {
        joints: mpi_inf_3dhp.evaluate(make_table(pred), labels, joints=joints)
        ['scores']['labels']['overall'] for joints in mpi_inf_3dhp.JOINT_SETS}
    assert scores['official']['pck_150'] == pytest.approx(13 / 14)
    assert scores['official']['mpjpe_mm'] == pytest.approx(1299.99 / 17)
    assert scores['common_14']['mpjpe_mm'] == pytest.approx(299.99 / 14)
    assert scores['all_17']['pck_150'] == pytest.approx(15 / 17)
    # Twelve joints without error count 30 thresholds of 31, the first one only that of 150.
    assert scores['official']['auc_150'] == pytest.approx((12 * 30 + 1) / 31 / 14)


def test_scores_are_relative_to_the_pelvis_and_to_the_chosen_labels():
    metric, universal = np.zeros([1, 17, 3]), np.zeros([1, 17, 3])
    metric[0, 14], universal[0, 14] = [0, 0, 0], [0, 60, 0]
    labels = make_labels(universal + 3000, 1, coords3d_cam=metric + 5000)
    predicted = make_table(metric - 800)
    for scale, error in (('metric', 0), ('universal', 60 * 16 / 17)):
        scores = mpi_inf_3dhp.evaluate(predicted, labels, label_scale=scale)
        assert scores['scores']['labels']['overall']['mpjpe_mm'] == pytest.approx(error)
    with pytest.raises(ValueError, match='This protocol needs `coords3d_cam`'):
        mpi_inf_3dhp.evaluate(
            predicted, make_labels(universal, 1), label_scale='metric')


def test_groups_weigh_by_valid_frames_and_agree_with_loops():
    rng = np.random.default_rng(0)
    true = protocol_tables.random_poses(0, 60, 17)
    pred = true + 120 * rng.normal(size=true.shape)
    sequences = rng.choice(['TS1', 'TS2', 'TS3', 'TS4', 'TS5', 'TS6'], 60)
    activities, is_valid = rng.choice([1, 3, 7], 60), rng.random(60) > 0.3
    labels = make_labels(
        true, 60, sequence=sequences, activity=activities, is_valid=is_valid)
    groups = mpi_inf_3dhp.evaluate(make_table(pred), labels)['scores']['labels']
    assert list(groups['scene']) == ['green screen', 'no green screen', 'outdoor']
    assert list(groups['sequence']) == ['TS1', 'TS2', 'TS3', 'TS4', 'TS5', 'TS6']
    members = {
        ('scene', 'green screen'): np.isin(sequences, ['TS1', 'TS2']),
        ('scene', 'no green screen'): np.isin(sequences, ['TS3', 'TS4']),
        ('scene', 'outdoor'): np.isin(sequences, ['TS5', 'TS6']),
        ('sequence', 'TS2'): sequences == 'TS2',
        ('activity', 'sitting'): activities == 3, ('activity', 'miscellaneous'): activities == 7}
    for (kind, name), is_in in members.items():
        check_scores(groups[kind][name], true, pred, np.flatnonzero(is_in & is_valid))
    check_scores(groups['overall'], true, pred, np.flatnonzero(is_valid))


def check_scores(scores, true, pred, frames):
    """Compares with counts over single joints."""
    n_correct = n_thresholds = n_joints = 0
    per_frame = []
    for frame in frames:
        errors = []
        for joint in range(17):
            difference = (pred[frame, joint] - pred[frame, 14]) - (
                true[frame, joint] - true[frame, 14])
            errors.append(math.sqrt(sum(difference**2)))
        for error in errors[:14]:
            n_joints += 1
            n_correct += error < 150
            n_thresholds += max(0, 31 - (int(error // 5) + 1))
        per_frame.append(sum(errors) / 17)
    assert scores['n_poses'] == len(frames)
    assert scores['pck_150'] == pytest.approx(n_correct / n_joints)
    assert scores['auc_150'] == pytest.approx(n_thresholds / n_joints / 31)
    assert scores['mpjpe_mm'] == pytest.approx(sum(per_frame) / len(frames))


def test_procrustes_takes_all_joints_and_no_reflection():
    rng = np.random.default_rng(1)
    true = protocol_tables.random_poses(0, 2, 17)
    turned = true @ protocol_tables.random_rotation(rng) * 0.7 + 90
    overall = mpi_inf_3dhp.evaluate(
        make_table(turned), make_labels(true, 2))['scores']['labels']['overall']
    assert overall['pa_mpjpe_mm'] < 1e-6 and overall['pa_pck_150'] == 1
    assert overall['pa_auc_150'] == pytest.approx(30 / 31) and overall['mpjpe_mm'] > 100
    mirrored = mpi_inf_3dhp.evaluate(
        make_table(true * [-1, 1, 1]), make_labels(true, 2))['scores']['labels']['overall']
    assert mirrored['pa_mpjpe_mm'] > 50


def test_versions_of_the_labels_differ_in_their_joints():
    true = np.zeros([2, 17, 3])
    old = true.copy()
    old[1, 10] = [0, 0, 170]  # an ankle that was labelled elsewhere
    labels = make_labels(true, 2, sequence=['TS1', 'TS6'])
    version = make_table(old[::-1], 'coords3d_univ', names=['1', '0'], path='old.npz')
    scores = mpi_inf_3dhp.evaluate(
        make_table(true), labels, versions={'first': version})['scores']
    assert scores['labels']['overall']['pck_150'] == 1
    assert scores['first']['sequence']['TS1']['pck_150'] == 1
    assert scores['first']['sequence']['TS6']['pck_150'] == pytest.approx(13 / 14)
    with pytest.raises(ValueError, match="'0' missing in old.npz"):
        mpi_inf_3dhp.evaluate(
            make_table(true), labels, versions={'first': version.take([0])})


def test_invalid_frames_need_no_prediction():
    true = np.zeros([3, 17, 3])
    labels = make_labels(true, 3, is_valid=[True, False, True])
    scores = mpi_inf_3dhp.evaluate(make_table(true[:2], names=['0', '2']), labels)
    assert scores['coverage'] == {'n_labelled': 2, 'n_scored': 2, 'share': 1.0, 'n_unknown': 0}
    scores = mpi_inf_3dhp.evaluate(
        make_table(true[:1], names=['2']), labels, allow_partial=True)
    assert scores['coverage']['share'] == 0.5
    assert '1 of 2 valid frames scored (50.0%)' in mpi_inf_3dhp.tables(scores)


@pytest.mark.parametrize('changes, message', [
    ({'sequence': ['TS1', 'TS7']}, "`sequence` must be among TS1, .*Received: 'TS7' in poses.npz"),
    ({'activity': [1, 8]}, '`activity` must be among 1, 2, .*Received: 8 in poses.npz')])
def test_unknown_groups_are_refused(changes, message):
    true = np.zeros([2, 17, 3])
    with pytest.raises(ValueError, match=message):
        mpi_inf_3dhp.evaluate(make_table(true), make_labels(true, 2, **changes))


def test_tables_have_percent_and_published_scores():
    true = np.zeros([1, 17, 3])
    text = mpi_inf_3dhp.tables(mpi_inf_3dhp.evaluate(
        make_table(true), make_labels(true, 1, activity=[5]),
        versions={'first': make_table(true, 'coords3d_univ')}))
    cells = {line.split('|')[1].strip(): [cell.strip() for cell in line.split('|')[2:-1]]
             for line in text.splitlines() if line.startswith('| ')}
    assert cells['this model (labels)'] == ['100.0', '96.8', '0.0'] * 2 + ['here']
    assert cells['MeTRo'] == ['90.6', '56.2', '74.9', '-', '-', '-', 'abstract page']
    assert cells['on the floor'][0] == '1' and 'this model (first)' in cells
    assert cells['MargiPose, corrected labels'][:3] == ['87.6', '48.8', '87.6']
