import subprocess
import sys

import numpy as np
import pytest

from metro_tf import skeleton, skeleton_maps
from tests.test_skeleton import read_reference

CANONICAL = skeleton.CONVENTIONS['margipose_17'].joint_names
# Of the reference: for each joint of the target, the index of the source's joint.
INDICES = {
    ('h36m_32', 'h36m_17'): (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27),
    ('h36m_32', 'margipose_17'): (15, 13, 25, 26, 27, 17, 18, 19, 1, 2, 3, 6, 7, 8, 0, 12, 14),
    ('h36m_17', 'margipose_17'): (10, 8, 14, 15, 16, 11, 12, 13, 1, 2, 3, 4, 5, 6, 0, 7, 9),
    ('margipose_17', 'h36m_17'): (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4),
    ('mpi_inf_3dhp_28', 'margipose_17'): (
        7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6),
    ('mpi_inf_3dhp_28', 'mpi_inf_3dhp_17'): (
        7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6),
    ('mpi_inf_3dhp_28', 'muco_21'): (
        7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6, 17, 12, 27, 22)}
WITHOUT_TOP = ('coco_17', 'coco_19', 'openpose_18', 'smpl_24')


def pose_of(convention, **joints):
    """Pose `[joints, coords]` with the given joints, others NaN."""
    n_coords = len(next(iter(joints.values())))
    pose = np.full([skeleton.CONVENTIONS[convention].n_joints, n_coords], np.nan)
    for name, position in joints.items():
        pose[skeleton.CONVENTIONS[convention].index(name)] = position
    return pose


def random_poses(convention, shape=(), n_coords=3):
    n_joints = skeleton.CONVENTIONS[convention].n_joints
    return np.random.default_rng(n_joints).normal(size=[*shape, n_joints, n_coords])


@pytest.mark.parametrize('source', sorted(skeleton.CONVENTIONS))
def test_weights_are_those_of_the_reference(source):
    names = skeleton.CONVENTIONS[source].joint_names
    found = {
        joint: {name: weight for name, weight in zip(names, row) if weight} or None
        for joint, row in zip(CANONICAL, skeleton_maps.weights(source))}
    assert found == read_reference('skeleton_maps.json')[source]


@pytest.mark.parametrize('source, target', INDICES)
def test_conversion_between_3d_conventions_selects_joints(source, target):
    poses = random_poses(source, (2, 3)).astype(np.float32)
    converted = skeleton_maps.convert(poses, source, target)
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted, poses[:, :, list(INDICES[source, target])])


def test_there_and_back_is_nothing():
    poses = random_poses('h36m_17')
    canonical = skeleton_maps.convert(poses, 'h36m_17')
    np.testing.assert_array_equal(
        skeleton_maps.convert(canonical, 'margipose_17', 'h36m_17'), poses)


@pytest.mark.parametrize('source, joints, target_joint, expected', [
    # Weights 0.53 and 0.47.
    ('mpii_16', {'thor': [100, -200, 0], 'pelv': [0, 100, 1000]}, 'spin', [53, -59, 470]),
    ('mpii_16', {'neck': [10, 20], 'htop': [30, -20]}, 'head', [20, 0]),
    ('coco_17', {'lsho': [10, 0], 'rsho': [-30, 4]}, 'neck', [-10, 2]),
    ('coco_17', {'lsho': [4, 0], 'rsho': [0, 0], 'lhip': [4, 8], 'rhip': [0, 16]}, 'spin', [2, 6]),
    ('coco_19', {'pelv': [0, 100], 'neck': [20, 0]}, 'spin', [10, 50]),
    ('openpose_18', {'lear': [6, 1], 'rear': [-2, 3]}, 'head', [2, 2]),
    ('openpose_18', {'lhip': [6, 1], 'rhip': [-2, 3]}, 'pelv', [2, 2]),
    ('lsp_14', {'neck': [8, 0], 'lhip': [4, 40], 'rhip': [0, 80]}, 'spin', [5, 30]),
    ('lsp_14', {'neck': [8, 0], 'htop': [4, -10]}, 'head', [6, -5]),
    ('smpl_24', {'spi2': [1, 2, 3]}, 'spin', [1, 2, 3]),
    ('humaneva_15', {'head': [0, -300, 8]}, 'htop', [0, -300, 8]),
    ('humaneva_15', {'head': [0, -300, 8], 'thor': [4, 0, 0]}, 'head', [2, -150, 4])])
def test_combinations_by_hand(source, joints, target_joint, expected):
    converted = skeleton_maps.convert(pose_of(source, **joints), source)
    np.testing.assert_allclose(converted[CANONICAL.index(target_joint)], expected, rtol=1e-12)


def test_only_what_has_all_its_parts_is_there():
    pose = pose_of('mpii_16', thor=[0, 0], neck=[1, 1], rkne=[2, 2])
    pose[skeleton.CONVENTIONS['mpii_16'].index('lkne')] = [np.nan, 3]
    pose[skeleton.CONVENTIONS['mpii_16'].index('lank')] = [np.inf, 3]
    converted = skeleton_maps.convert(pose, 'mpii_16')
    is_there = np.isfinite(converted).all(axis=1)
    assert [name for name, there in zip(CANONICAL, is_there) if there] == ['neck', 'rkne']
    assert np.isnan(converted[~is_there]).all()
    np.testing.assert_array_equal(converted[is_there], [[1, 1], [2, 2]])


@pytest.mark.parametrize('source', sorted(skeleton.CONVENTIONS))
def test_whole_poses_lack_at_most_the_top_of_the_head(source):
    converted = skeleton_maps.convert(random_poses(source, (5,), 2), source)
    expected = np.zeros([5, 17], bool)
    expected[:, 0] = source in WITHOUT_TOP
    np.testing.assert_array_equal(np.isnan(converted), np.stack([expected, expected], axis=-1))


def test_joints_of_one_pose_do_not_reach_another():
    poses = random_poses('lsp_14', (2,))
    poses[0, 12] = np.nan  # the neck
    converted = skeleton_maps.convert(poses, 'lsp_14')
    lost = np.flatnonzero(np.isnan(converted[0]).any(axis=1))
    assert [CANONICAL[i] for i in lost] == ['neck', 'spin', 'head']
    np.testing.assert_array_equal(converted[1], skeleton_maps.convert(poses[1], 'lsp_14'))


@pytest.mark.parametrize('source', sorted(skeleton.CONVENTIONS))
@pytest.mark.parametrize('target', skeleton_maps.TARGETS)
def test_mirroring_before_or_after_is_the_same(source, target):
    def mirror(pose, convention):
        return pose[list(skeleton.CONVENTIONS[convention].mirror_mapping)] * [-1, 1, 1]
    pose = random_poses(source)
    np.testing.assert_allclose(
        skeleton_maps.convert(mirror(pose, source), source, target),
        mirror(skeleton_maps.convert(pose, source, target), target), rtol=1e-12)


@pytest.mark.parametrize('target', skeleton_maps.TARGETS)
def test_a_moved_person_stays_the_same_person(target):
    for source in skeleton.CONVENTIONS:
        pose, shift = random_poses(source), np.float64([5000, -300, 20])
        np.testing.assert_allclose(
            skeleton_maps.convert(pose + shift, source, target),
            skeleton_maps.convert(pose, source, target) + shift, atol=1e-9)


def test_no_poses():
    empty = np.zeros([0, 17, 2], np.float32)
    assert skeleton_maps.convert(empty, 'coco_17', 'muco_21').shape == (0, 21, 2)


def test_error_texts():
    with pytest.raises(ValueError, match="`source` must be one of .*coco_17.*: source='coco'"):
        skeleton_maps.convert(np.zeros([17, 2]), 'coco')
    with pytest.raises(ValueError, match="`target` must be one of .*h36m_17.*target='lsp_14'"):
        skeleton_maps.weights('coco_17', 'lsp_14')
    for coords, received in (
            (np.zeros([16, 2]), r'float64 \(16, 2\)'), (np.zeros([17]), r'float64 \(17,\)'),
            (np.zeros([17, 2], int), r'int64 \(17, 2\)')):
        with pytest.raises(
                ValueError, match=f'`coords` must be floats with the 17 joints of coco_17 on the '
                                  f'axis before the last. Received: {received}'):
            skeleton_maps.convert(coords, 'coco_17')


def test_tensorflow_is_not_needed():
    script = 'import sys; from metro_tf import skeleton_maps; print("tensorflow" in sys.modules)'
    output = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == 'False'
