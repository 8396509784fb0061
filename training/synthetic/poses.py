"""Random poses: motion clips and pose files, procedurally sampled limbs, mixtures of both."""

from pathlib import Path

import numpy as np
from scipy.spatial import transform

from training.synthetic import motion

PROCEDURAL_PROBABILITY = 0.35
MIX_PROBABILITY = 0.5
TUMBLE_PROBABILITY = 0.13
_FILE_POSE_PROBABILITY = 0.06
_PERTURBATION_DEG = {
    'spine': 3.0, 'neck': 5.0, 'head': 5.0, 'clavicle': 5.0, 'upperarm01': 14.0,
    'lowerarm01': 10.0, 'wrist': 14.0, 'upperleg01': 9.0, 'lowerleg01': 6.0, 'foot': 8.0}
_MAX_SAMPLINGS = 6
# Distances in mesh units (100 mm) below which limbs count as inside the body.
_MIN_DISTANCE = {'torso': 1.1, 'head': 1.1, 'limbs': 0.75}


class PoseSampler:
    """Draws poses of the rig at random.

    Args:
        clips_dir: Folder of motion clips.
        poses_dir: Folder of `.bvh` pose files of the default rig.
        body: `BodyModel`.
        reference_positions: Vertices of an average unposed body.
    """

    def __init__(self, clips_dir, poses_dir, body, reference_positions):
        self._body = body
        self._clips = list(motion.load_clips(clips_dir).values())
        self._file_poses = [
            motion.load_bvh_pose(path, body.bone_index)
            for path in sorted(Path(poses_dir).glob('*.bvh'))]
        heads, tails = body.joints(reference_positions)
        self._heads = heads
        self._retarget = motion.StickRetargeter(dict(zip(body.bone_names, heads)))
        self._points = {
            name: body.bone_index[bone] for name, bone in (
                ('neck', 'neck01'), ('head', 'head'),
                *((f'{side}{joint}', f'{bone}.{side}') for side in 'LR' for joint, bone in (
                    ('hip', 'upperleg01'), ('knee', 'lowerleg01'), ('ankle', 'foot'),
                    ('elbow', 'lowerarm01'), ('wrist', 'wrist'))))}
        self._finger_curls = _finger_axes(body, heads)

    def sample(self, rng):
        """A pose; one whose limbs pierce the body is drawn again, a few times at most."""
        for _ in range(_MAX_SAMPLINGS):
            pose = self._sample_once(rng)
            if not self._is_self_piercing(pose):
                break
        if rng.random() < TUMBLE_PROBABILITY:
            pose['root'] = transform.Rotation.random(random_state=rng).as_matrix()
        return {**pose, **self._sample_fingers(rng)}

    def _sample_once(self, rng):
        """A pose from one or two sources, perturbed."""
        pose = self._sample_source(rng)
        if rng.random() < MIX_PROBABILITY:
            pose = motion.mix_halves(pose, self._sample_source(rng))
        return {bone: rotation @ _random_rotation(rng, _perturbation_deg(bone))
                for bone, rotation in pose.items()}

    def _sample_source(self, rng):
        """A pose from a clip, a pose file or the limb sampler."""
        choice = rng.random()
        if choice < PROCEDURAL_PROBABILITY:
            return self._retarget(sample_stick_pose(rng))
        if choice < PROCEDURAL_PROBABILITY + _FILE_POSE_PROBABILITY and self._file_poses:
            return dict(self._file_poses[rng.integers(len(self._file_poses))])
        clip = self._clips[rng.integers(len(self._clips))]
        return self._retarget(motion.stick_pose_from_clip(clip[rng.integers(len(clip))]))

    def _sample_fingers(self, rng):
        """Finger rotations: each hand between open and a fist."""
        pose = {}
        for side in 'LR':
            curl = rng.choice([rng.uniform(-0.1, 0.4), rng.uniform(0.4, 1.3)])
            for bone, axis in self._finger_curls[side].items():
                pose[bone] = motion.from_rotvec(axis * curl * rng.uniform(0.7, 1.3))
        return pose

    def _is_self_piercing(self, pose):
        """Whether hands, elbows, knees or ankles lie inside trunk, head or each other."""
        transforms = self._body.bone_transforms(self._heads, pose)
        joints = {
            name: transforms[i, :, :3] @ self._heads[i] + transforms[i, :, 3]
            for name, i in self._points.items()}
        pelvis = (joints['Lhip'] + joints['Rhip']) / 2
        limbs = np.array([
            joints[f'{side}{name}'] for side in 'LR' for name in ('elbow', 'wrist', 'ankle')])
        head = joints['head'] + 0.7 * _unit(joints['head'] - joints['neck'])
        pairs = np.array([
            joints['Lwrist'] - joints['Rwrist'], joints['Lankle'] - joints['Rankle'],
            joints['Lknee'] - joints['Rknee'], joints['Lelbow'] - joints['Relbow']])
        return (
            distance_to_segment(limbs, pelvis, joints['neck']).min() < _MIN_DISTANCE['torso']
            or np.linalg.norm(limbs - head, axis=-1).min() < _MIN_DISTANCE['head']
            or np.linalg.norm(pairs, axis=-1).min() < _MIN_DISTANCE['limbs'])


def sample_stick_pose(rng):
    """A procedural stick pose within joint limits (see `motion` for stick poses)."""
    stick = {
        'root': _sample_root(rng),
        'chest': _euler(rng.normal(12, 18), rng.normal(0, 16), rng.normal(0, 10)),
        'neck': _euler(rng.normal(0, 14), rng.normal(0, 25), rng.normal(0, 9))}
    stick.update(_sample_legs(rng))
    stick.update(_sample_arms(rng))
    return stick


def distance_to_segment(points, start, stop):
    """Distances of points `[n, 3]` to the straight line between two points."""
    axis = stop - start
    position = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
    return np.linalg.norm(points - start - position[:, np.newaxis] * axis, axis=-1)


def _sample_root(rng):
    """Upright with some tilt, lying, or anything."""
    kind = rng.choice(['upright', 'lying', 'any'], p=[0.72, 0.16, 0.12])
    if kind == 'any':
        return transform.Rotation.random(random_state=rng).as_matrix()
    if kind == 'upright':
        return _euler(rng.normal(0, 15), 0, rng.normal(0, 10))
    turn = motion.from_rotvec([0, rng.uniform(-np.pi, np.pi), 0])
    return _euler(rng.choice([-90, 90]) + rng.normal(0, 12), 0, 0) @ turn


def _sample_legs(rng):
    """Hips, knees and ankles: flexion and abduction in degrees from one of several templates."""
    kind = rng.choice(
        ['stand', 'squat', 'sit', 'split', 'kick', 'straddle', 'tuck', 'any'],
        p=[0.2, 0.14, 0.14, 0.12, 0.1, 0.06, 0.08, 0.16])
    both = rng.uniform(0, 1)
    legs = {}
    sides = 'lr' if rng.random() < 0.5 else 'rl'
    for i, side in enumerate(sides):
        flexion, abduction, knee = {
            'stand': lambda: (rng.normal(5, 12), rng.normal(6, 6), abs(rng.normal(0, 15))),
            'squat': lambda: (60 + 65 * both, rng.uniform(0, 40), 60 + 80 * both),
            'sit': lambda: (rng.normal(85, 10), rng.uniform(-3, 30), rng.uniform(0, 110)),
            'split': lambda: (
                (rng.uniform(30, 100), rng.normal(5, 8), rng.uniform(0, 100)) if i == 0
                else (rng.uniform(-30, 10), rng.normal(5, 8), rng.uniform(0, 100))),
            'kick': lambda: (
                (rng.uniform(40, 125), rng.uniform(-5, 50), rng.uniform(0, 60)) if i == 0
                else (rng.normal(5, 10), rng.normal(5, 5), abs(rng.normal(5, 12)))),
            'straddle': lambda: (
                rng.uniform(0, 90), 25 + 40 * both, abs(rng.normal(5, 10))),
            'tuck': lambda: (rng.normal(110, 12), rng.uniform(0, 20), rng.normal(115, 15)),
            'any': lambda: (
                rng.uniform(-25, 120), rng.uniform(-10, 50), rng.uniform(0, 130))}[kind]()
        sign = 1 if side == 'l' else -1
        twist = rng.normal(8, 14) + (15 if kind in ('squat', 'straddle') else 0)
        legs[f'{side}hip'] = (
            _euler(-flexion, 0, 0) @ _euler(0, 0, sign * abduction) @ _euler(0, sign * twist, 0))
        legs[f'{side}kne'] = _euler(np.clip(knee + rng.normal(0, 6), 0, 145), 0, 0)
        legs[f'{side}ank'] = _euler(rng.uniform(-15, 45), 0, rng.normal(0, 6))
    return legs


def _sample_arms(rng):
    """Shoulders and elbows: direction, twist and flexion from one of several templates."""
    kind = rng.choice(
        ['hang', 'up', 'side', 'front', 'crossed', 'hips', 'back', 'any'],
        p=[0.12, 0.16, 0.14, 0.14, 0.07, 0.07, 0.07, 0.23])
    arms = {}
    for side in 'lr':
        # Elevation from hanging down, azimuth from the side (0) to the front (90), degrees.
        low, high = {
            'hang': ((0, 0, -20, 0), (30, 90, 30, 60)),
            'up': ((120, 0, -40, 0), (178, 100, 40, 100)),
            'side': ((50, -15, -60, 0), (120, 30, 60, 110)),
            'front': ((40, 50, -40, 0), (120, 110, 40, 130)),
            'crossed': ((15, 50, 40, 80), (60, 95, 75, 115)),
            'hips': ((25, -30, 30, 70), (55, 20, 70, 110)),
            'back': ((15, -100, -20, 0), (55, -50, 60, 70)),
            'any': ((0, -30, -60, 0), (165, 110, 60, 140))}[kind]
        elevation, azimuth, inward, elbow = np.radians(rng.uniform(low, high))
        sign = 1 if side == 'l' else -1
        direction = np.array([
            sign * np.sin(elevation) * np.cos(azimuth), -np.cos(elevation),
            np.sin(elevation) * np.sin(azimuth)])
        swing = motion.smallest_rotation(np.array([0.0, -1.0, 0.0]), direction)
        # Around the hanging arm, a negative turn about +Y brings the left forearm inwards.
        arms[f'{side}sho'] = swing @ motion.from_rotvec([0, -sign * inward, 0])
        arms[f'{side}elb'] = motion.from_rotvec([-elbow, 0, 0])
    return arms


def _perturbation_deg(bone):
    """Standard deviation of the random rotation of a bone."""
    stem = bone.split('.')[0]
    return next((deg for key, deg in _PERTURBATION_DEG.items() if stem.startswith(key)), 0.0)


def _random_rotation(rng, deviation_deg):
    """A rotation about a random axis; the rotation vector's components are normal."""
    return motion.from_rotvec(rng.normal(0, np.radians(deviation_deg) / np.sqrt(3), 3))


def _finger_axes(body, heads):
    """For each hand, the axis about which each finger bone curls towards the palm."""
    axes = {}
    for side in 'LR':
        index, little = (
            heads[body.bone_index[f'finger{k}-1.{side}']] for k in (2, 5))
        across = _unit(index - little) * (-1 if side == 'L' else 1)
        axes[side] = {f'finger{k}-{j}.{side}': across for k in range(2, 6) for j in range(1, 4)}
    return axes


def _euler(x_deg, y_deg, z_deg):
    """Rotation matrix Rx Ry Rz of angles in degrees."""
    return transform.Rotation.from_euler('XYZ', [x_deg, y_deg, z_deg], degrees=True).as_matrix()


def _unit(vector):
    """The vector at unit length."""
    return vector / np.linalg.norm(vector)
