"""Random poses: joint limits, self-piercing limbs, seeding."""

import json

import numpy as np
import pytest
from scipy.spatial import transform

from training.synthetic import body, motion, poses

DOWN = np.array([0.0, -1.0, 0.0])
N_SAMPLES = 200
UNIT = [1.0, 0.0, 0.0, 0.0]
# Numbers of a clip frame after duration and position: rotations, knees and elbows.
STANDING = 4 * UNIT + [-0.1] + 2 * UNIT + [0.3] + UNIT + [-0.1] + 2 * UNIT + [0.3]


@pytest.fixture(scope='module')
def sticks():
    rng = np.random.default_rng(0)
    return [poses.sample_stick_pose(rng) for _ in range(N_SAMPLES)]


@pytest.fixture(scope='module')
def sampler(body_model, full_data_dir, tmp_path_factory):
    """A sampler with one short clip, which is read faster than all of them."""
    clips_dir = tmp_path_factory.mktemp('clips')
    (clips_dir / 'stand.json').write_text(json.dumps({'Frames': [[0.0] * 4 + STANDING]}))
    return poses.PoseSampler(
        clips_dir, full_data_dir / 'makehuman/poses', body_model,
        body_model.morph(body.BodyShape()))


def test_sampled_joints_are_rotations(sticks):
    for stick in sticks:
        assert set(stick) == {
            'root', 'chest', 'neck',
            *(side + joint for side in 'lr' for joint in ('hip', 'kne', 'ank', 'sho', 'elb'))}
        matrices = np.stack(list(stick.values()))
        np.testing.assert_allclose(
            matrices @ np.swapaxes(matrices, 1, 2), np.broadcast_to(np.eye(3), matrices.shape),
            atol=1e-9)
        np.testing.assert_allclose(np.linalg.det(matrices), 1)


@pytest.mark.parametrize('joint, sign, limit_deg', [('kne', 1, 145), ('elb', -1, 140)])
def test_hinges_bend_one_way_within_limits(sticks, joint, sign, limit_deg):
    rotvecs = np.degrees([
        transform.Rotation.from_matrix(stick[side + joint]).as_rotvec()
        for stick in sticks for side in 'lr'])
    np.testing.assert_allclose(rotvecs[:, 1:], 0, atol=1e-6)
    angles = sign * rotvecs[:, 0]
    assert angles.min() >= -1e-6 and angles.max() <= limit_deg + 1e-6
    assert angles.max() > 100  # the range is used
    lower_limb = sticks[0]['l' + joint] @ DOWN
    assert sign * lower_limb[2] <= 0  # knees bend backwards, elbows forwards


def test_limbs_stay_in_reach(sticks):
    thighs, arms = (
        np.array([stick[side + joint] @ DOWN * [1 if side == 'l' else -1, 1, 1]
                  for stick in sticks for side in 'lr']) for joint in ('hip', 'sho'))
    # Thighs: never far behind the trunk, rarely across the other leg (x is outwards).
    assert thighs[:, 2].min() > -np.sin(np.radians(50))
    assert thighs[:, 0].min() > -np.sin(np.radians(35))
    assert thighs[:, 2].max() > 0.9
    # Arms: the whole front and side, but not straight backwards.
    assert arms[:, 1].max() > 0.9 and arms[:, 1].min() < -0.9 and arms[:, 2].max() > 0.9
    assert arms[:, 2].min() > -0.9


def test_stick_poses_are_seeded():
    first, again, other = (
        poses.sample_stick_pose(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first['lhip'], other['lhip'])


def test_distance_to_segment():
    points = np.array([[0.0, 3, 0], [1, 0, 0], [4, 3, 4], [-3, 4, 0]])
    distances = poses.distance_to_segment(points, np.zeros(3), np.array([2.0, 0, 0]))
    np.testing.assert_allclose(distances, [3, 0, np.sqrt(29), 5])


def test_poses_of_the_rig(sampler, body_model):
    heads, _ = body_model.joints(body_model.morph(body.BodyShape()))
    index, rng, n_piercing = body_model.bone_index, np.random.default_rng(1), 0
    for _ in range(60):
        pose = sampler.sample(rng)
        assert set(pose) <= set(body_model.bone_names)
        matrices = np.stack(list(pose.values()))
        np.testing.assert_allclose(np.linalg.det(matrices), 1)
        transforms = body_model.bone_transforms(heads, pose)
        posed = np.einsum('bij,bj->bi', transforms[..., :3], heads) + transforms[..., 3]
        pelvis = (posed[index['upperleg01.L']] + posed[index['upperleg01.R']]) / 2
        limbs = posed[[index[f'{bone}.{side}'] for bone in ('wrist', 'foot') for side in 'LR']]
        distances = poses.distance_to_segment(limbs, pelvis, posed[index['neck01']])
        n_piercing += distances.min() < 1.05
    assert n_piercing <= 3  # a pose is drawn anew only a few times


def test_pose_sampler_is_seeded(sampler):
    first, again, other = (sampler.sample(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[bone], again[bone]) for bone in first)
    assert not np.array_equal(first['upperleg01.L'], other['upperleg01.L'])


def test_fingers_curl_towards_the_palm(sampler, body_model):
    heads, tails = body_model.joints(body_model.morph(body.BodyShape()))
    pose = sampler.sample(np.random.default_rng(2))
    fingers = {bone for bone in pose if bone.startswith('finger')}
    assert fingers == {
        f'finger{k}-{j}.{side}' for side in 'LR' for k in range(2, 6) for j in range(1, 4)}
    for side in 'LR':
        i_bone = body_model.bone_index[f'finger3-1.{side}']
        finger = tails[i_bone] - heads[i_bone]
        axis = transform.Rotation.from_matrix(pose[f'finger3-1.{side}']).as_rotvec()
        curled = motion.from_rotvec(axis / np.linalg.norm(axis)) @ finger
        thumb = heads[body_model.bone_index[f'finger1-3.{side}']] - heads[i_bone]
        # The thumb lies on the palm's side of the fingers.
        assert (curled - finger) @ thumb > 0
