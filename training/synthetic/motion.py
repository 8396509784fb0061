"""Poses from motion clips and pose files, carried over to the default rig.

A pose is a dict from bone name to the bone's rotation `[3, 3]` relative to its parent, in mesh
axes (+X the body's left, +Y up, +Z forward), on top of the rest pose (an A-pose).

Clips and sampled limbs first become a *stick pose*: a dict from stick joint to its rotation
relative to the parent joint, in mesh axes, where at zero the body stands straight with arms
hanging down. `StickRetargeter` turns it into a pose.
"""

import json
from pathlib import Path

import numpy as np
from scipy.spatial import transform

# DeepMimic (x forward, y up, z right) to mesh axes.
_CLIP_TO_MESH = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
_BVH_TO_MESH = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
_CLIP_QUATERNIONS = {
    'root': 4, 'chest': 8, 'neck': 12, 'rhip': 16, 'rank': 21, 'rsho': 25, 'lhip': 30, 'lank': 35,
    'lsho': 39}
_CLIP_HINGES = {'rkne': 20, 'relb': 29, 'lkne': 34, 'lelb': 43}
_CLIP_FRAME_SIZE = 44
_SPINE_BONES = ('spine05', 'spine04', 'spine03', 'spine02', 'spine01')
_NECK_BONES = ('neck01', 'neck02', 'neck03', 'head')
_LEG_PREFIXES = ('root', 'pelvis', 'upperleg', 'lowerleg', 'foot', 'toe')
_MAX_CLAVICLE_LIFT_DEG = 20.0


def from_rotvec(rotvec):
    """Rotation matrix `[3, 3]` of an axis times angle in radians."""
    return transform.Rotation.from_rotvec(rotvec).as_matrix()


def smallest_rotation(source, target):
    """Rotation matrix that turns direction `source` into direction `target` the shortest way.

    For opposite directions, where the axis is arbitrary, one axis is picked.
    """
    source, target = _unit(source), _unit(target)
    cross, cosine = np.cross(source, target), float(source @ target)
    if cosine < -1 + 1e-9:
        axis = _unit(np.cross(source, np.eye(3)[np.argmin(np.abs(source))]))
        return from_rotvec(np.pi * axis)
    skew = np.array([
        [0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def load_clips(clips_dir):
    """Reads DeepMimic clips.

    Returns:
        Dict from clip name to float array `[frames, 44]`.

    Raises:
        ValueError: If the folder has no clips or frames are of another size.
    """
    clips = {}
    for path in sorted(Path(clips_dir).glob('*.json')):
        content = json.loads(path.read_text())
        if 'Frames' in content:
            clips[path.stem] = np.array(content['Frames'], np.float64)
            if clips[path.stem].ndim != 2 or clips[path.stem].shape[1] != _CLIP_FRAME_SIZE:
                raise ValueError(
                    f'`clips_dir` must hold frames of {_CLIP_FRAME_SIZE} numbers. '
                    f'Received: {clips[path.stem].shape} in {path}')
    if not clips:
        raise ValueError(f'`clips_dir` must hold motion clips. Received: {clips_dir}')
    return clips


def stick_pose_from_clip(frame):
    """Stick pose of one clip frame, an array of 44 numbers."""
    stick = {}
    for name, start in _CLIP_QUATERNIONS.items():
        w, x, y, z = frame[start:start + 4]
        stick[name] = transform.Rotation.from_quat([x, y, z, w]).as_matrix()
    for name, index in _CLIP_HINGES.items():
        stick[name] = from_rotvec([0, 0, frame[index]])
    return {
        name: _CLIP_TO_MESH @ rotation @ _CLIP_TO_MESH.T for name, rotation in stick.items()}


def load_bvh_pose(path, bone_names):
    """Reads the first frame of a `.bvh` file made for the default rig.

    Args:
        path: The file; z-up, rotations relative to the rest pose.
        bone_names: Names of the rig's bones; other joints of the file are ignored.

    Returns:
        A pose.

    Raises:
        ValueError: If the file has no frame or its numbers do not match its channels.
    """
    words_of_lines = [line.split() for line in Path(path).read_text().splitlines()]
    channels, name, numbers = [], None, None
    for words in words_of_lines:
        if words[:1] in (['ROOT'], ['JOINT']):
            name = words[1]
        elif words[:1] == ['CHANNELS']:
            channels += [(name, channel) for channel in words[2:]]
        elif channels and len(words) == len(channels):
            numbers = [float(word) for word in words]
            break
    if numbers is None:
        raise ValueError(f'`path` must have a frame with a number per channel. Received: {path}')
    pose = {}
    for (name, channel), degrees in zip(channels, numbers):
        if channel.endswith('rotation') and name in bone_names:
            axis = np.eye(3)['XYZ'.index(channel[0])]
            rotation = from_rotvec(_BVH_TO_MESH @ axis * np.radians(degrees))
            pose[name] = pose.get(name, np.eye(3)) @ rotation
    return pose


def mix_halves(lower, upper):
    """A pose with the root and legs of `lower` and everything above of `upper`."""
    return {
        **{bone: r for bone, r in lower.items() if bone.startswith(_LEG_PREFIXES)},
        **{bone: r for bone, r in upper.items() if not bone.startswith(_LEG_PREFIXES)}}


class StickRetargeter:
    """Turns stick poses into poses of the rig.

    The rest pose has spread legs and bent arms; the rotations that take it to the straight zero
    of the sticks come from the bone directions of one reference body.

    Args:
        heads: Dict from bone name to the bone's head `[3]` in the rest pose.
    """

    def __init__(self, heads):
        down = np.array([0.0, -1.0, 0.0])
        self._straighten = {}
        for side in 'LR':
            hip, knee, ankle, toe, shoulder, elbow, wrist = (
                heads[f'{bone}.{side}'] for bone in (
                    'upperleg01', 'lowerleg01', 'foot', 'toe2-1', 'upperarm01', 'lowerarm01',
                    'wrist'))
            hinge = np.cross(elbow - shoulder, wrist - elbow)
            arm_zero = _frame(down, np.array([-1.0, 0.0, 0.0]))
            foot = toe - ankle
            yaw = np.arctan2(foot[0], foot[2])
            self._straighten.update({
                f'thigh.{side}': smallest_rotation(knee - hip, down),
                f'calf.{side}': smallest_rotation(ankle - knee, down),
                f'foot.{side}': from_rotvec([0, -yaw, 0]),
                f'upperarm.{side}': arm_zero @ _frame(elbow - shoulder, hinge).T,
                f'forearm.{side}': arm_zero @ _frame(wrist - elbow, hinge).T})

    def __call__(self, stick):
        """Pose of a stick pose with the keys root, chest, neck and l/r hip, kne, ank, sho, elb."""
        pose = {'root': stick['root']}
        for bones, name in ((_SPINE_BONES, 'chest'), (_NECK_BONES, 'neck')):
            rotvec = transform.Rotation.from_matrix(stick[name]).as_rotvec()
            pose.update(dict.fromkeys(bones, from_rotvec(rotvec / len(bones))))
        for side in 'LR':
            pose.update(self._leg(stick, side))
            pose.update(self._arm(stick, side))
        return pose

    def _leg(self, stick, side):
        """Rotations of thigh, calf and foot, each relative to the bone above."""
        prefix = side.lower()
        hip, knee, ankle = (stick[f'{prefix}{joint}'] for joint in ('hip', 'kne', 'ank'))
        thigh = hip @ self._straighten[f'thigh.{side}']
        calf = hip @ knee @ self._straighten[f'calf.{side}']
        foot = hip @ knee @ ankle @ self._straighten[f'foot.{side}']
        return {f'upperleg01.{side}': thigh, f'lowerleg01.{side}': thigh.T @ calf,
                f'foot.{side}': calf.T @ foot}

    def _arm(self, stick, side):
        """Rotations of collar bone, upper arm and forearm, each relative to the bone above."""
        prefix = side.lower()
        shoulder, elbow = stick[f'{prefix}sho'], stick[f'{prefix}elb']
        direction = shoulder @ np.array([0.0, -1.0, 0.0])
        lift = np.radians(_MAX_CLAVICLE_LIFT_DEG) * max(0.0, direction[1])
        clavicle = from_rotvec([0, 0, lift if side == 'L' else -lift])
        upper_arm = shoulder @ self._straighten[f'upperarm.{side}']
        forearm = shoulder @ elbow @ self._straighten[f'forearm.{side}']
        return {f'clavicle.{side}': clavicle, f'upperarm01.{side}': clavicle.T @ upper_arm,
                f'lowerarm01.{side}': upper_arm.T @ forearm}


def _unit(vector):
    """The vector at unit length."""
    return vector / np.linalg.norm(vector)


def _frame(first, second):
    """Orthonormal frame in columns: `first`, the part of `second` across it, their product."""
    first = _unit(first)
    second = _unit(second - first * (first @ second))
    return np.stack([first, second, np.cross(first, second)], axis=1)
