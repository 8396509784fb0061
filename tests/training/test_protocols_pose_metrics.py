"""Scores in NumPy against values worked out by hand and loops over single joints."""

import math

import numpy as np
import pytest

from tests.training import protocol_tables
from training.evaluation.protocols import pose_metrics

NAN = float('nan')
# Two joints; the second is 3 and 4 off in x and y.
TRUE = np.array([[[0, 0, 0], [10, 0, 0]]], float)
PRED = np.array([[[0, 0, 0], [13, 4, 0]]], float)


@pytest.fixture(scope='module')
def poses():
    """Labels, some missing, predictions, and the mask of the labels that are there."""
    rng = np.random.default_rng(1)
    coords_true = protocol_tables.random_poses(0, 20, 6)
    coords_pred = coords_true + rng.normal(scale=80, size=coords_true.shape)
    mask = rng.random([20, 6]) > 0.2
    mask[:, 0] = True
    return np.where(mask[..., np.newaxis], coords_true, NAN), coords_pred, mask


def distance(a, b):
    return math.sqrt(sum((x - y)**2 for x, y in zip(a, b)))


def slow_kabsch(points_true, points_pred, with_scale):
    """Predicted points moved onto the true ones; the rotation from a search over quaternions.

    The best rotation is the eigenvector of the largest eigenvalue of Horn's matrix, which no
    reflection can come from.
    """
    mean_true, mean_pred = np.mean(points_true, axis=0), np.mean(points_pred, axis=0)
    a, b = points_pred - mean_pred, points_true - mean_true
    s = np.zeros([3, 3])
    for p, q in zip(a, b):
        s += np.outer(p, q)
    delta = [s[1, 2] - s[2, 1], s[2, 0] - s[0, 2], s[0, 1] - s[1, 0]]
    horn = np.zeros([4, 4])
    horn[0, 0] = np.trace(s)
    horn[0, 1:] = horn[1:, 0] = delta
    horn[1:, 1:] = s + s.T - np.trace(s) * np.eye(3)
    w, x, y, z = np.linalg.eigh(horn)[1][:, -1]
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])
    rotated = [rotation @ p for p in a]
    scale = 1.0
    if with_scale:
        scale = sum(r @ q for r, q in zip(rotated, b)) / sum(p @ p for p in a)
    return np.array([scale * r + mean_true for r in rotated])


def slow_mpjpe(coords_true, coords_pred, mask, align):
    """Loops over poses and joints."""
    per_pose = []
    for pose_true, pose_pred, joints in zip(coords_true, coords_pred, mask):
        valid = [j for j, is_there in enumerate(joints) if is_there]
        moved_true, moved_pred = align(pose_true[valid], pose_pred[valid])
        per_pose.append(
            sum(distance(p, q) for p, q in zip(moved_true, moved_pred)) / len(valid))
    return sum(per_pose) / len(per_pose)


def at_first(points_true, points_pred):
    return points_true - points_true[0], points_pred - points_pred[0]


def at_first_scaled(points_true, points_pred):
    points_true, points_pred = at_first(points_true, points_pred)
    return points_true, points_pred * (points_true * points_pred).sum() / (points_pred**2).sum()


def test_errors_by_hand():
    np.testing.assert_allclose(pose_metrics.joint_errors(TRUE, PRED), [[0, 5]])
    moved = PRED + [100, 0, 0]
    assert pose_metrics.absolute_mpjpe(TRUE, moved) == pytest.approx(
        (100 + math.hypot(103, 4)) / 2)
    assert pose_metrics.mpjpe(TRUE, moved, root_joints=[0]) == pytest.approx(2.5)
    assert pose_metrics.mrpe(TRUE, moved, root_joints=[0]) == pytest.approx(100)
    # The middle of both joints is 1.5 and 2 off, and so is then each of them.
    assert pose_metrics.mpjpe(TRUE, moved, root_joints=[0, 1]) == pytest.approx(2.5)
    assert pose_metrics.mrpe(TRUE, moved, root_joints=[0, 1]) == pytest.approx(
        math.hypot(101.5, 2))


def test_means_are_over_the_joints_of_a_pose_and_then_over_poses():
    errors = np.array([[1, 3, NAN], [10, NAN, NAN], [NAN, NAN, NAN]])
    assert pose_metrics.mean_of_poses(errors) == pytest.approx(6)
    assert np.isnan(pose_metrics.mean_of_poses(errors[2:]))
    assert np.isnan(pose_metrics.mean_of_poses(np.zeros([0, 3])))


@pytest.mark.parametrize('score, align', [
    (lambda *args: pose_metrics.mpjpe(*args, root_joints=[0]), at_first),
    (lambda *args: pose_metrics.n_mpjpe(*args, root_joints=[0]), at_first_scaled),
    (pose_metrics.absolute_mpjpe, lambda *points: points),
    (pose_metrics.pa_mpjpe, lambda a, b: (a, slow_kabsch(a, b, with_scale=True))),
    (lambda a, b: pose_metrics.mean_of_poses(pose_metrics.joint_errors(a, b, None, 'rigid')),
     lambda a, b: (a, slow_kabsch(a, b, with_scale=False)))])
def test_errors_agree_with_loops_over_joints(poses, score, align):
    coords_true, coords_pred, mask = poses
    assert score(coords_true, coords_pred) == pytest.approx(
        slow_mpjpe(coords_true, coords_pred, mask, align), rel=1e-9)


def test_a_mask_is_the_same_as_missing_labels(poses):
    coords_true, coords_pred, mask = poses
    filled = np.where(mask[..., np.newaxis], coords_true, 7e7)
    for alignment in pose_metrics.ALIGNMENTS:
        np.testing.assert_allclose(
            pose_metrics.joint_errors(filled, coords_pred, mask, alignment, [0]),
            pose_metrics.joint_errors(coords_true, coords_pred, None, alignment, [0]))


def test_procrustes_recovers_a_similarity_but_no_reflection():
    rng = np.random.default_rng(2)
    coords_true = protocol_tables.random_poses(3, 8, 5)
    turned = np.stack([
        0.3 * pose @ protocol_tables.random_rotation(rng).T + 50 for pose in coords_true])
    assert pose_metrics.pa_mpjpe(coords_true, turned) < 1e-9
    mirrored = turned * [-1, 1, 1]
    assert pose_metrics.pa_mpjpe(coords_true, mirrored) > 50
    np.testing.assert_allclose(
        pose_metrics.procrustes(coords_true, mirrored)[0],
        slow_kabsch(coords_true[0], mirrored[0], with_scale=True))


def test_procrustes_of_flat_poses_and_of_few_joints():
    flat = protocol_tables.random_poses(4, 3, 6) * [1, 1, 0]
    rotation = protocol_tables.random_rotation(np.random.default_rng(5))
    assert pose_metrics.pa_mpjpe(flat, flat @ rotation.T) < 1e-9
    one_joint = np.where(np.arange(6)[:, np.newaxis] == 2, flat, NAN)
    errors = pose_metrics.joint_errors(one_joint, flat + 9, None, 'procrustes')
    np.testing.assert_allclose(errors[:, 2], 0, atol=1e-9)
    assert np.isnan(errors[:, [0, 1, 3, 4, 5]]).all()
    assert np.isnan(pose_metrics.pa_mpjpe(np.full([2, 6, 3], NAN), flat[:2]))


def test_no_poses():
    nothing = np.zeros([0, 4, 3])
    for alignment in pose_metrics.ALIGNMENTS:
        errors = pose_metrics.joint_errors(nothing, nothing, None, alignment, [0])
        assert errors.shape == (0, 4)
        assert np.isnan(pose_metrics.pck(errors)) and np.isnan(pose_metrics.auc(errors))
        assert np.isnan(pose_metrics.cps(errors, 100))


def test_poses_without_root_do_not_count():
    coords_true = np.concatenate([TRUE, TRUE])
    coords_true[1, 0] = NAN
    errors = pose_metrics.joint_errors(
        coords_true, np.concatenate([PRED, PRED]), None, 'root', [0])
    np.testing.assert_allclose(errors, [[0, 5], [NAN, NAN]])


def test_velocity_is_within_a_sequence():
    # A point runs by 1 per frame beside a root at rest; predicted by 3 per frame.
    coords_true = np.array([[[0, 0, 0], [i, 0, 0]] for i in (0, 1, 2, 50, 51)], float)
    coords_pred = np.array([[[9, 9, 9], [9 + 3 * i, 9, 9]] for i in (0, 1, 2, 50, 51)], float)
    # Three steps, each with the errors 0 of the root and 2 of the point.
    assert pose_metrics.mpjve(
        coords_true, coords_pred, list('aaabb'), root_joints=[0]) == pytest.approx(1)
    coords_true[1, 1] = NAN
    assert pose_metrics.mpjve(
        coords_true, coords_pred, list('aaabb'), root_joints=[0]) == pytest.approx(
            (0 + 0 + 1) / 3)
    assert np.isnan(pose_metrics.mpjve(
        coords_true, coords_pred, list('abcde'), root_joints=[0]))


def test_pck_is_strict_unless_told():
    errors = np.array([[0, 149.999, 150, 150.001, NAN]])
    assert pose_metrics.pck(errors) == 0.5
    assert pose_metrics.pck(errors, is_strict=False) == 0.75
    assert np.isnan(pose_metrics.pck([[NAN]]))


@pytest.mark.parametrize('error, thresholds_above', [
    (0, 30), (4.9, 30), (5, 29), (149.9, 1), (150, 0), (1e5, 0), (np.inf, 0)])
def test_auc_counts_thresholds_above_the_error(error, thresholds_above):
    assert pose_metrics.auc([[error]]) == pytest.approx(thresholds_above / 31)
    assert pose_metrics.auc([[error]]) == pytest.approx(
        max(0, 1 - (min(error, 1e6) // 5 + 1) / 31))


def test_auc_agrees_with_a_loop(poses):
    errors = pose_metrics.joint_errors(poses[0], poses[1])
    valid = [error for error in errors.ravel() if not math.isnan(error)]
    shares = [
        sum(error < threshold for error in valid) / len(valid) for threshold in range(0, 151, 5)]
    assert pose_metrics.auc(errors) == pytest.approx(sum(shares) / 31)


def test_trapezoids():
    # One interval is 3.98 wide: 0 counts 1 - 0.5 / 50, 4 one step less, 199 and more nothing.
    for error, score in ((0, 0.99), (4, 0.97), (198.9, 0.01), (199, 0), (500, 0)):
        assert pose_metrics.trapezoid_auc([[error, NAN]]) == pytest.approx(score)


def test_cps_takes_the_largest_error():
    errors = np.array([[1, 100], [1, 100.1], [50, NAN], [NAN, NAN]])
    assert pose_metrics.cps(errors, 100) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(pose_metrics.largest_errors(errors), [100, 100.1, 50, NAN])


def test_pckh_and_torso_pck_include_their_threshold():
    errors = np.array([[5, 5.1], [20, NAN], [0, 0]])
    assert pose_metrics.pckh(errors, [10, 40, 1]) == 4 / 5
    assert pose_metrics.torso_pck(errors, [25, 101, NAN]) == 2 / 3
    with pytest.raises(ValueError, match='`head_sizes` must be 3 positive numbers. Received: .*0'):
        pose_metrics.pckh(errors, [10, 0, 1])


@pytest.mark.parametrize('offsets, strict, loose', [
    ((0, 0), 1, 1), ((5, 5), 1, 1), ((5.1, 5.1), 0, 0), ((0, 9), 0, 1), ((0, 10), 0, 1),
    ((0, 10.1), 0, 0)])
def test_pcp_of_a_limb_of_length_ten(offsets, strict, loose):
    coords_pred = TRUE + [[[0, 0, offsets[0]], [0, 0, offsets[1]]]]
    assert pose_metrics.pcp(TRUE, coords_pred, [(0, 1)]) == strict
    assert pose_metrics.pcp(TRUE, coords_pred, [(0, 1)], is_strict=False) == loose


def test_limbs_with_a_missing_end_do_not_count():
    coords_true = np.concatenate([TRUE, TRUE], axis=1)
    coords_true[0, 3] = NAN
    np.testing.assert_array_equal(
        pose_metrics.correct_limbs(coords_true, np.zeros([1, 4, 3]), [(0, 1), (2, 3), (0, 2)]),
        [[0, NAN, 1]])


def test_oks_by_hand():
    coords_true = np.array([[0, 0], [10, 0], [NAN, NAN]])
    coords_pred = np.array([[0, 0], [10, 6], [99, 99]])
    # Area 400 and sigma 0.15: the variance is 400 * 0.09 = 36, the second joint is 6 px off.
    assert pose_metrics.oks(coords_true, coords_pred, 400, [0.1, 0.15, 0.1]) == pytest.approx(
        (1 + math.exp(-0.5)) / 2)
    assert np.isnan(pose_metrics.oks(coords_true[2:], coords_pred[2:], 400, [0.1]))


@pytest.mark.parametrize('changes, message', [
    ({'coords_pred': PRED[:, :1]}, r'one shape \[poses, joints, coords\]. Received: \(1, 2, 3\) '),
    ({'coords_pred': PRED * NAN}, '`coords_pred` must be finite where there are labels'),
    ({'mask': [True, True]}, r'`mask` must have shape \(1, 2\). Received: \(2,\)'),
    ({'alignment': 'sim'}, "`alignment` must be one of .*Received: alignment='sim'"),
    ({'alignment': 'root'}, '`root_joints` must be given')])
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        pose_metrics.joint_errors(**{'coords_true': TRUE, 'coords_pred': PRED, **changes})
