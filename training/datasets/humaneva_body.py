"""HumanEva's body: from the points of the motion capture to the 15 joints of its evaluation.

The files hold, besides the markers on the body, points that the capture software placed: for each
segment an origin (e.g. LFEO for the left femur), and points above (LFEP), in front (LFEA) and to
the left (LFEL) of it. The data set's own software makes limbs of them and moves pelvis and upper
arms by measures of the body. This module computes the same as Sigal's release code 1.1 does, in
which limbs are frames of axes with a length; a limb's end is the average of two where they differ.
"""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from metro_tf import skeleton

JOINT_NAMES = skeleton.CONVENTIONS['humaneva_15'].joint_names
# On the body. A frame in which one of them was lost is not used. The forearm has one of two names.
MARKERS = (
    'RASI', 'LASI', 'LPSI', 'RPSI', 'RELB', 'LELB', 'STRN', 'CLAV', 'C7', 'T10', 'RBAK', 'RSHO',
    'LSHO', 'RUPA', 'LUPA', ('RFRM', 'RFRA'), ('LFRM', 'LFRA'), 'RWRA', 'LWRA', 'RWRB', 'LWRB',
    'RFIN', 'LFIN', 'RTHI', 'LTHI', 'RKNE', 'LKNE', 'RTIB', 'LTIB', 'RANK', 'LANK', 'RHEE', 'LHEE',
    'RTOE', 'LTOE', 'RFHD', 'LFHD', 'RBHD', 'LBHD')
_SEGMENTS = ('PEL', 'HED', *(side + name for side in 'LR' for name in ('FE', 'TI', 'HU', 'RA')))
_POINTS = ('TRXO', 'LCLO', 'RCLO', *(
    segment + suffix for segment in _SEGMENTS for suffix in 'OPAL'))
_HEAD_LENGTH_MM = 316.103
_PELVIS_SHIFT_MM = -50.0
_MARKER_RADIUS_MM = 7.0


@dataclasses.dataclass(frozen=True)
class BodyMeasures:
    """Measures that move pelvis and upper arms.

    Args:
        torso_radius: Half the distance of the shoulder markers less a marker's radius, mm.
        shoulder_offsets: Dict from 'L' and 'R' to the shoulder offset of the `.mp` file, mm.
    """
    torso_radius: float
    shoulder_offsets: dict


class MocapPoints:
    """Named points over time.

    Args:
        points: Float array `[frames, points, 3]`, world frame, mm, zeros where lost.
        labels: Sequence of the points' labels. A prefix that ends with a colon does not count.

    Raises:
        ValueError: If there are more labels than points, or the points have other axes.
    """

    def __init__(self, points, labels):
        if np.ndim(points) != 3 or np.shape(points)[2] != 3 or len(labels) > points.shape[1]:
            raise ValueError(
                '`points` must have the axes frames, points, coordinates, with a label for each '
                f'point. Received: shape {np.shape(points)}, {len(labels)} labels')
        names = [label.split(':')[-1].strip() for label in labels]
        self._index = {name: i for i, name in reversed(list(enumerate(names)))}
        self._points = np.asarray(points, np.float64)

    def __len__(self):
        return len(self._points)

    def at(self, name, frames):
        """Float array `[n, 3]`: a point in the given frames, zeros where lost.

        Args:
            name: Label, or a tuple of labels of which one must exist.
            frames: Int array or slice.

        Raises:
            ValueError: If there is no such point.
        """
        names = name if isinstance(name, tuple) else (name,)
        columns = [self._index[name] for name in names if name in self._index]
        if not columns:
            raise ValueError(f'`labels` must hold {" or ".join(names)}. Received: no such label')
        return self._points[frames, columns[0]]

    def is_complete(self, frames):
        """Bool array `[n]`: whether nothing that joints need was lost in the given frames.

        Raises:
            ValueError: If a point that joints need has no label at all.
        """
        is_seen = [np.any(self.at(name, frames) != 0, axis=1) for name in (*MARKERS, *_POINTS)]
        return np.all(is_seen, axis=0)

    def torso_radius(self):
        """See `BodyMeasures`, on average over all frames that show both shoulder markers.

        Raises:
            ValueError: If no frame does.
        """
        left, right = (self.at(name, slice(None)) for name in ('LSHO', 'RSHO'))
        is_seen = np.any(left != 0, axis=1) & np.any(right != 0, axis=1)
        if not is_seen.any():
            raise ValueError('`points` must show LSHO and RSHO in a frame. Received: none')
        distances = np.linalg.norm(left[is_seen] - right[is_seen], axis=1)
        return np.mean(distances) / 2 - _MARKER_RADIUS_MM


def body_joints(mocap, positions, measures):
    """The 15 joints at moments between the frames of the capture.

    Args:
        mocap: `MocapPoints`.
        positions: Float array `[n]`: moments as frame numbers, from 0.
        measures: `BodyMeasures`.

    Returns:
        Float array `[n, 15, 3]`, world frame, mm, in the order of `JOINT_NAMES`; NaN where a
        neighbouring frame does not exist or lacks a point.

    Raises:
        ValueError: If a point that joints need has no label.
    """
    positions = np.asarray(positions, np.float64)
    result = np.full([len(positions), len(JOINT_NAMES), 3], np.nan)
    is_inside = (positions >= 0) & (positions <= len(mocap) - 1)
    rows = np.flatnonzero(is_inside)
    first, last = (
        rounded(positions[rows]).astype(int) for rounded in (np.floor, np.ceil))
    is_complete = mocap.is_complete(first) & mocap.is_complete(last)
    rows, moments = rows[is_complete], _Moments(
        mocap, first[is_complete], last[is_complete], positions[rows[is_complete]])
    if len(rows):
        joints = _joints(moments, measures)
        result[rows] = np.stack([joints[name] for name in JOINT_NAMES], axis=1)
    return result


def _joints(moments, measures):
    """Dict from joint names to float arrays `[n, 3]`."""
    joints = {}
    joints['pelv'], torso_top = _torso(moments, measures.torso_radius)
    neck = moments.point('TRXO')
    joints['thor'] = (torso_top + neck) / 2
    joints['head'] = neck + _along_z(moments.axes('HED'), _HEAD_LENGTH_MM)
    for side in 'LR':
        ends = {
            **_arm(moments, side, measures.shoulder_offsets[side]), **_leg(moments, side)}
        joints.update({side.lower() + name: value for name, value in ends.items()})
    return joints


def _torso(moments, radius):
    """Lower and upper end of the torso, which starts behind the pelvis and leans forward."""
    axes, length = moments.axes('PEL'), moments.distance('TRXO', 'PELO')
    low = moments.point('PELO') + axes.apply([_PELVIS_SHIFT_MM, 0, 0])
    return low, low + _along_z(axes * _turn_about_y(np.arctan2(radius / 2, length)), length)


def _arm(moments, side, shoulder_offset):
    """Shoulder, elbow and wrist. The arm swings about the shoulder, and the forearm back."""
    shoulder, elbow, wrist = f'{side}CLO', f'{side}HUO', f'{side}RAO'
    length = moments.distance(shoulder, elbow)
    angles = np.arctan2(shoulder_offset / 2, length)
    upper, lower = moments.axes(f'{side}HU'), moments.axes(f'{side}RA')
    start = moments.point(shoulder)
    swung = start - _along_z(upper * _turn_about_y(-angles), length)
    lower_start = moments.point(elbow) + swung - (start - _along_z(upper, length))
    end = lower_start - _along_z(
        lower * _turn_about_y(angles), moments.distance(elbow, wrist))
    return {'sho': start, 'elb': (swung + lower_start) / 2, 'wri': end}


def _leg(moments, side):
    """Hip, knee and ankle."""
    hip, knee, ankle = f'{side}FEP', f'{side}FEO', f'{side}TIO'
    start, middle = moments.point(hip), moments.point(knee)
    upper_end = start - _along_z(moments.axes(f'{side}FE'), moments.distance(hip, knee))
    end = middle - _along_z(moments.axes(f'{side}TI'), moments.distance(knee, ankle))
    return {'hip': start, 'kne': (upper_end + middle) / 2, 'ank': end}


class _Moments:
    """Moments between two frames each, `first` and `last`, which are the same at whole numbers."""

    def __init__(self, mocap, first, last, positions):
        self._mocap, self._first, self._last = mocap, first, last
        self._shares = positions - first

    def point(self, name):
        """Float array `[n, 3]`, on the way from frame to frame."""
        first, last = (self._mocap.at(name, frames) for frames in (self._first, self._last))
        return first + self._shares[:, np.newaxis] * (last - first)

    def distance(self, name, other_name):
        """Float array `[n]`, mean distance of two points in the two frames, mm."""
        offsets = np.stack([
            self._mocap.at(name, frames) - self._mocap.at(other_name, frames)
            for frames in (self._first, self._last)])
        return np.mean(np.linalg.norm(offsets, axis=2), axis=0)

    def axes(self, segment):
        """`Rotation`s whose columns are a segment's axes forward, left and up."""
        first, last = (self._frame_axes(segment, frames) for frames in (self._first, self._last))
        turn = (first.inv() * last).as_rotvec()
        return first * Rotation.from_rotvec(turn * self._shares[:, np.newaxis])

    def _frame_axes(self, segment, frames):
        origin = self._mocap.at(f'{segment}O', frames)
        axes = np.stack(
            [self._mocap.at(segment + suffix, frames) - origin for suffix in 'ALP'], axis=2)
        return Rotation.from_matrix(axes / np.linalg.norm(axes, axis=1, keepdims=True))


def _along_z(axes, lengths):
    """Float array `[n, 3]` from each segment's origin along its z axis."""
    return axes.apply([0, 0, 1]) * np.reshape(lengths, [-1, 1])


def _turn_about_y(angles):
    """`Rotation`s about the y axis, angles in radians; a positive one leans z towards x."""
    return Rotation.from_euler('y', np.reshape(angles, [-1, 1]))
