"""Motion files and their transfer to the rig, against forward kinematics worked out here."""

import json

import numpy as np
import pytest

from training.synthetic import body, motion

DOWN = np.array([0.0, -1.0, 0.0])
REST = np.zeros(44)
REST[[4, 8, 12, 16, 21, 25, 30, 35, 39]] = 1
BVH = """HIERARCHY
ROOT root
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Xrotation Yrotation Zrotation
  JOINT extra
  {
    OFFSET 0 0 1
    CHANNELS 3 Xrotation Yrotation Zrotation
    JOINT tip
    {
      OFFSET 0 0 1
      CHANNELS 3 Xrotation Yrotation Zrotation
      End Site
      {
        OFFSET 0 0 1
      }
    }
  }
}
MOTION
Frames: 1
Frame Time: 0.041667
1 2 3 0 0 90 11 12 13 90 0 90
"""
# Limbs: (stick joint whose rotation they share, rig bones at start and end).
LIMBS = {
    f'{side}_{limb}': (joint, (f'{start}.{side[0].upper()}', f'{stop}.{side[0].upper()}'))
    for side in ('left', 'right') for limb, joint, start, stop in (
        ('thigh', 'hip', 'upperleg01', 'lowerleg01'), ('calf', 'knee', 'lowerleg01', 'foot'),
        ('upper_arm', 'shoulder', 'upperarm01', 'lowerarm01'),
        ('forearm', 'elbow', 'lowerarm01', 'wrist'))}


def test_smallest_rotation():
    rng = np.random.default_rng(0)
    for source, target in [*rng.normal(size=[20, 2, 3]), (DOWN, DOWN), (DOWN, -2 * DOWN)]:
        rotation = motion.smallest_rotation(source, target)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1)
        np.testing.assert_allclose(
            rotation @ source / np.linalg.norm(source), target / np.linalg.norm(target), atol=1e-9)
    # The axis is across both, so what lies on it stays.
    np.testing.assert_allclose(
        motion.smallest_rotation(np.eye(3)[0], np.eye(3)[1]) @ [0, 0, 1], [0, 0, 1], atol=1e-9)


def test_bvh_pose_is_converted(tmp_path):
    (tmp_path / 'pose.bvh').write_text(BVH)
    pose = motion.load_bvh_pose(tmp_path / 'pose.bvh', ['root', 'tip'])
    assert set(pose) == {'root', 'tip'}
    # A quarter turn about the file's z (up) is one about the mesh's y: x becomes -z.
    np.testing.assert_allclose(pose['root'] @ [1, 0, 0], [0, 0, -1], atol=1e-9)
    # Rx Rz in the file: its x goes to y, then to z, which is the mesh's up.
    np.testing.assert_allclose(pose['tip'] @ [1, 0, 0], [0, 1, 0], atol=1e-9)


def test_bvh_without_a_matching_frame_is_an_error(tmp_path):
    (tmp_path / 'pose.bvh').write_text(BVH.replace('1 2 3 0', '1 2'))
    with pytest.raises(ValueError, match='`path` must have a frame with a number per channel'):
        motion.load_bvh_pose(tmp_path / 'pose.bvh', ['root'])


def test_clips_are_read(tmp_path):
    (tmp_path / 'walk.json').write_text(json.dumps({'Loop': 'wrap', 'Frames': [[0.5] * 44] * 3}))
    (tmp_path / 'character.json').write_text(json.dumps({'Skeleton': {}}))
    clips = motion.load_clips(tmp_path)
    assert list(clips) == ['walk'] and clips['walk'].shape == (3, 44)


def test_wrong_or_missing_clips_are_errors(tmp_path):
    with pytest.raises(ValueError, match='`clips_dir` must hold motion clips'):
        motion.load_clips(tmp_path / 'missing')
    (tmp_path / 'dog.json').write_text(json.dumps({'Frames': [[0.5] * 61]}))
    with pytest.raises(ValueError, match=r'`clips_dir` must hold frames of 44.*\(1, 61\).*dog'):
        motion.load_clips(tmp_path)


def test_clip_rotations_change_axes():
    frame = REST.copy()
    frame[20] = -np.pi / 2  # a bent right knee: the calf goes backwards, which is -z
    frame[43] = np.pi / 2  # a bent left elbow: the forearm goes forwards
    frame[16:20] = 2 * np.array([np.sqrt(0.5), np.sqrt(0.5), 0, 0])  # not of unit length
    stick = motion.stick_pose_from_clip(frame)
    np.testing.assert_allclose(stick['rkne'] @ DOWN, [0, 0, -1], atol=1e-9)
    np.testing.assert_allclose(stick['lelb'] @ DOWN, [0, 0, 1], atol=1e-9)
    # A quarter turn about the clip's x (forward) takes down to its -z, the body's left: +x.
    np.testing.assert_allclose(stick['rhip'] @ DOWN, [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(stick['chest'], np.eye(3), atol=1e-9)


def test_mixed_halves():
    lower = dict.fromkeys(('root', 'upperleg01.L', 'foot.R', 'spine01', 'wrist.L'), 'low')
    upper = dict.fromkeys(('root', 'upperleg01.L', 'spine01', 'upperarm01.R'), 'up')
    assert motion.mix_halves(lower, upper) == {
        'root': 'low', 'upperleg01.L': 'low', 'foot.R': 'low', 'spine01': 'up',
        'upperarm01.R': 'up'}


@pytest.fixture(scope='module')
def pose_heads(body_model):
    """Function from a clip frame to the posed bone heads of an average body, by name."""
    heads, _ = body_model.joints(body_model.morph(body.BodyShape()))
    retarget = motion.StickRetargeter(dict(zip(body_model.bone_names, heads)))

    def pose(frame):
        transforms = body_model.bone_transforms(
            heads, retarget(motion.stick_pose_from_clip(frame)))
        posed = np.einsum('bij,bj->bi', transforms[..., :3], heads) + transforms[..., 3]
        return dict(zip(body_model.bone_names, posed))
    return pose


def _direction(heads, bones):
    offset = heads[bones[1]] - heads[bones[0]]
    return offset / np.linalg.norm(offset)


def test_zero_pose_stands_straight_with_hanging_arms(pose_heads):
    heads = pose_heads(REST)
    for name, (_, bones) in LIMBS.items():
        np.testing.assert_allclose(_direction(heads, bones), DOWN, atol=1e-4, err_msg=name)
    for side in 'LR':
        foot = _direction(heads, (f'foot.{side}', f'toe2-1.{side}'))
        assert foot[2] > 0.5 and abs(foot[0]) < 1e-4  # forwards, not outwards
    assert heads['upperarm01.L'][0] > 1 and heads['upperarm01.R'][0] < -1
    assert heads['head'][1] > heads['spine03'][1] + 2


@pytest.mark.parametrize('clip, i_frame', [
    ('walk', 10), ('cartwheel', 40), ('kick', 25), ('getup_faceup', 5), ('dance_a', 60)])
def test_limbs_agree_with_forward_kinematics(pose_heads, full_data_dir, clip, i_frame):
    clips_dir = full_data_dir / 'motions/deepmimic'
    frame = np.array(json.loads((clips_dir / f'{clip}.json').read_text())['Frames'][i_frame])
    joints = _forward_kinematics(clips_dir, frame)
    heads = pose_heads(frame)
    ends = {'thigh': 'knee', 'calf': 'ankle', 'upper_arm': 'elbow', 'forearm': 'wrist'}
    for name, (start, bones) in LIMBS.items():
        side, limb = name.split('_', 1)
        expected = joints[f'{side}_{ends[limb]}'] - joints[f'{side}_{start}']
        np.testing.assert_allclose(
            _direction(heads, bones), expected / np.linalg.norm(expected), atol=1e-3,
            err_msg=name)
    hips = _direction(heads, ('upperleg01.R', 'upperleg01.L'))
    expected = joints['left_hip'] - joints['right_hip']
    np.testing.assert_allclose(hips, expected / np.linalg.norm(expected), atol=0.02)
    trunk = joints['neck'] - joints['root']
    hip_center = (heads['upperleg01.L'] + heads['upperleg01.R']) / 2
    spine = _direction({'a': hip_center, 'b': heads['neck01']}, 'ab')
    assert spine @ trunk / np.linalg.norm(trunk) > np.cos(np.radians(12))


def _forward_kinematics(clips_dir, frame):
    """Joint positions of the clip's own stick figure, turned to mesh axes."""
    joints = json.loads((clips_dir / 'humanoid3d_character.json').read_text())['Skeleton']['Joints']
    rotations, positions, place = [], [], 4
    for joint in joints:
        size = {'none': 4, 'spherical': 4, 'revolute': 1, 'fixed': 0}[joint['Type']]
        local = _local_rotation(frame[place:place + size])
        place += size
        offset = np.array([joint[f'Attach{axis}'] for axis in 'XYZ'])
        parent = joint['Parent']
        if parent < 0:
            rotations.append(local)
            positions.append(np.zeros(3))
        else:
            rotations.append(rotations[parent] @ local)
            positions.append(positions[parent] + rotations[parent] @ offset)
    assert place == len(frame)
    return {joint['Name']: np.array([-z, y, x]) for joint, (x, y, z) in zip(joints, positions)}


def _local_rotation(numbers):
    """Matrix of a quaternion (w first), of an angle about z, or the identity."""
    if len(numbers) == 0:
        return np.eye(3)
    if len(numbers) == 1:
        c, s = np.cos(numbers[0]), np.sin(numbers[0])
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    w, x, y, z = numbers / np.linalg.norm(numbers)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])
