"""HumanEva's body from points of motion capture, worked out by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from training.datasets import humaneva_body

MEASURES = humaneva_body.BodyMeasures(180.0, {'L': 40.0, 'R': 40.0})
# Origins of the segments of a person who stands upright, faces +x and has the left side at +y.
_ORIGINS = {
    'PEL': (0, 0, 1000), 'HED': (0, 0, 1600), 'LFE': (0, 100, 500), 'LTI': (0, 100, 100),
    'LHU': (0, 200, 1100), 'LRA': (0, 200, 850), 'RFE': (0, -100, 500), 'RTI': (0, -100, 100),
    'RHU': (0, -200, 1100), 'RRA': (0, -200, 850)}
_OTHERS = {
    'TRXO': (0, 0, 1450), 'LCLO': (0, 200, 1400), 'RCLO': (0, -200, 1400), 'LFEP': (0, 100, 950),
    'RFEP': (0, -100, 950), 'LSHO': (0, 187, 1450), 'RSHO': (0, -187, 1450)}


def make_points(n_frames=1):
    """Points `[frames, points, 3]` and labels; all segments have the axes of the world."""
    points = {}
    for segment, origin in _ORIGINS.items():
        # In the order of the files: origin, proximal, anterior, lateral.
        for suffix, axis in zip('OPAL', ([0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0])):
            points[segment + suffix] = np.add(origin, np.multiply(axis, 450))
    points.update({name: np.array(place) for name, place in _OTHERS.items()})
    for marker in humaneva_body.MARKERS:
        name = marker[1] if isinstance(marker, tuple) else marker
        points.setdefault(name, np.array([1.0, 2.0, 3.0]))
    values = np.stack([np.float64(place) for place in points.values()])
    return np.repeat(values[np.newaxis], n_frames, axis=0), list(points)


def joints_of(points, labels, positions=(0.0,)):
    mocap = humaneva_body.MocapPoints(points, labels)
    poses = humaneva_body.body_joints(mocap, np.array(positions), MEASURES)
    return [dict(zip(humaneva_body.JOINT_NAMES, pose)) for pose in poses]


EXPECTED = {
    'pelv': (-50, 0, 1000),
    # The torso leans forward by atan(90 / 450): sine 0.196116, cosine 0.980581.
    'thor': ((-50 + 450 * 0.196116) / 2, 0, (1000 + 450 * 0.980581 + 1450) / 2),
    'head': (0, 0, 1450 + 316.103),
    # The arm swings forward by atan(20 / 300): sine 0.066519, cosine 0.997785; the forearm back.
    'lsho': (0, 200, 1400), 'lelb': (300 * 0.066519, 200, 1400 - 300 * 0.997785),
    'lwri': (50 * 0.066519, 200, 1400 - 550 * 0.997785),
    'lhip': (0, 100, 950), 'lkne': (0, 100, 500), 'lank': (0, 100, 100),
    'rsho': (0, -200, 1400), 'relb': (300 * 0.066519, -200, 1400 - 300 * 0.997785),
    'rwri': (50 * 0.066519, -200, 1400 - 550 * 0.997785),
    'rhip': (0, -100, 950), 'rkne': (0, -100, 500), 'rank': (0, -100, 100)}


def test_joints_by_hand():
    pose, = joints_of(*make_points())
    assert set(pose) == set(EXPECTED)
    for name, place in EXPECTED.items():
        np.testing.assert_allclose(pose[name], place, atol=1e-3, err_msg=name)


def test_joints_move_with_the_person():
    points, labels = make_points()
    turn, shift = Rotation.from_euler('xyz', [0.3, -0.5, 1.2]), np.array([500, -300, 80.0])
    moved = turn.apply(points[0])[np.newaxis] + shift
    pose, = joints_of(moved, labels)
    for name, place in EXPECTED.items():
        np.testing.assert_allclose(
            pose[name], turn.apply(place) + shift, atol=1e-3, err_msg=name)


def test_positions_between_frames():
    points, labels = make_points(3)
    points[1] += [100, 0, 0]
    # In frame 2, the head has turned forward by a right angle about its origin.
    head = [labels.index(f'HED{suffix}') for suffix in 'OPAL']
    turn = Rotation.from_euler('y', 90, degrees=True)
    points[2, head] = turn.apply(points[2, head] - points[2, head[0]]) + points[2, head[0]]
    points[2] += [100, 0, 0]
    at_start, halfway, whole, turned = joints_of(points, labels, [0, 0.25, 1, 1.5])
    np.testing.assert_allclose(at_start['rank'], [0, -100, 100])
    np.testing.assert_allclose(halfway['rank'], [25, -100, 100])
    np.testing.assert_allclose(whole['rank'], [100, -100, 100])
    diagonal = 316.103 / np.sqrt(2)
    np.testing.assert_allclose(
        turned['head'], [100 + diagonal, 0, 1450 + diagonal], atol=1e-6)


@pytest.mark.parametrize('name', ['LTOE', 'LFRA', 'HEDL', 'TRXO'])
def test_frames_with_lost_points_have_no_joints(name):
    points, labels = make_points(4)
    points[2, labels.index(name)] = 0
    poses = joints_of(points, labels, [-0.5, 0, 1, 1.5, 2, 2.5, 3, 3.1])
    is_given = [bool(np.isfinite(np.stack(list(pose.values()))).all()) for pose in poses]
    assert is_given == [False, True, True, False, False, False, True, False]


def test_no_frames_give_no_joints():
    points, labels = make_points()
    points[:, labels.index('LTOE')] = 0
    assert np.isnan(joints_of(points, labels)[0]['pelv']).all()
    assert joints_of(points, labels, []) == []


def test_labels_may_have_prefixes_and_the_forearm_two_names():
    points, labels = make_points()
    labels = [f'S1:{label} '.replace('LFRA', 'LFRM') for label in labels]
    np.testing.assert_allclose(joints_of(points, labels)[0]['head'], EXPECTED['head'])


def test_torso_radius():
    points, labels = make_points(3)
    points[1, labels.index('LSHO')] = [0, 207, 1450]
    points[2, labels.index('RSHO')] = 0
    mocap = humaneva_body.MocapPoints(points, labels)
    assert mocap.torso_radius() == pytest.approx((374 + 394) / 4 - 7)
    points[:, labels.index('LSHO')] = 0
    with pytest.raises(ValueError, match='`points` must show LSHO and RSHO in a frame'):
        humaneva_body.MocapPoints(points, labels).torso_radius()


def test_wrong_points():
    points, labels = make_points()
    with pytest.raises(ValueError, match=r'`points` must have the axes .* shape \(82, 3\)'):
        humaneva_body.MocapPoints(points[0], labels)
    with pytest.raises(ValueError, match='with a label for each point.*83 labels'):
        humaneva_body.MocapPoints(points, labels + ['X'])
    for name, text in (('PELA', 'PELA'), ('RFRA', 'RFRM or RFRA')):
        broken = [label.replace(name, 'none') for label in labels]
        with pytest.raises(ValueError, match=f'`labels` must hold {text}. Received: no such'):
            joints_of(points, broken)
