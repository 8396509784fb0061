"""Poses of one joint convention in another, by explicit tables.

The canonical convention is `margipose_17`. Most of its joints are a joint of the other convention;
where that has none, a weighted mean of its joints may come close. Of these combinations, those of
`mpii_16` are the ones that MargiPose trains with. The others are approximations that may be off by
some centimetres: good for 2D labels and for pictures, not for reporting 3D errors.
"""

import numpy as np

from metro_tf import skeleton

# Conventions that a pose can be converted to. They have canonical joints, and `muco_21` hands and
# toes besides.
TARGETS = ('margipose_17', 'mpi_inf_3dhp_17', 'h36m_17', 'muco_21')

_HEAD_BETWEEN_EARS = {'lear': 0.5, 'rear': 0.5}
_HEAD_BELOW_TOP = {'htop': 0.5, 'neck': 0.5}
_PELVIS_BETWEEN_HIPS = {'lhip': 0.5, 'rhip': 0.5}
_SPINE_FROM_NECK_AND_HIPS = {'neck': 0.5, 'lhip': 0.25, 'rhip': 0.25}
# {convention: {canonical joint: {its joint: weight}}}. What is not here is the joint of the same
# name, or missing.
_COMBINATIONS = {
    'mpii_16': {'spin': {'thor': 0.53, 'pelv': 0.47}, 'head': _HEAD_BELOW_TOP},
    'coco_17': {
        'neck': {'lsho': 0.5, 'rsho': 0.5}, 'pelv': _PELVIS_BETWEEN_HIPS,
        'spin': {'lhip': 0.25, 'rhip': 0.25, 'lsho': 0.25, 'rsho': 0.25},
        'head': _HEAD_BETWEEN_EARS},
    'coco_19': {'spin': {'pelv': 0.5, 'neck': 0.5}, 'head': _HEAD_BETWEEN_EARS},
    'openpose_18': {
        'pelv': _PELVIS_BETWEEN_HIPS, 'spin': _SPINE_FROM_NECK_AND_HIPS,
        'head': _HEAD_BETWEEN_EARS},
    'lsp_14': {
        'pelv': _PELVIS_BETWEEN_HIPS, 'spin': _SPINE_FROM_NECK_AND_HIPS, 'head': _HEAD_BELOW_TOP},
    'smpl_24': {'spin': {'spi2': 1.0}},
    'humaneva_15': {
        'htop': {'head': 1.0}, 'neck': {'thor': 1.0}, 'spin': {'pelv': 0.5, 'thor': 0.5},
        'head': {'head': 0.5, 'thor': 0.5}}}


def weights(source, target='margipose_17'):
    """How each joint of a convention is made of those of another.

    Args:
        source: A key of `skeleton.CONVENTIONS`.
        target: One of `TARGETS`.

    Returns:
        Float64 array `[target joints, source joints]`. Rows add up to 1; the row of a joint for
        which the source has nothing is 0.

    Raises:
        ValueError: If a name is another one.
    """
    for name, value, choices in (
            ('source', source, skeleton.CONVENTIONS), ('target', target, TARGETS)):
        if value not in choices:
            raise ValueError(
                f'`{name}` must be one of {sorted(choices)}. Received: {name}={value!r}')
    source_names = skeleton.CONVENTIONS[source].joint_names
    combinations = _COMBINATIONS.get(source, {})
    return np.array([
        [combinations.get(joint, {joint: 1.0}).get(name, 0.0) for name in source_names]
        for joint in skeleton.CONVENTIONS[target].joint_names])


def convert(coords, source, target='margipose_17'):
    """Converts poses to another convention.

    Args:
        coords: Float array `[..., source joints, coords]`, in 2D or 3D. A joint that is not
            finite is missing.
        source, target: See `weights`.

    Returns:
        Array of the same type, `[..., target joints, coords]`, NaN where the source has nothing
        for a joint or one of the joints that it is made of is missing.

    Raises:
        ValueError: If a name is unknown, or `coords` has other than floats or the source's joints.
    """
    mixing = weights(source, target)
    coords = np.asarray(coords)
    if coords.ndim < 2 or coords.shape[-2] != mixing.shape[1] or coords.dtype.kind != 'f':
        raise ValueError(
            f'`coords` must be floats with the {mixing.shape[1]} joints of {source} on the axis '
            f'before the last. Received: {coords.dtype} {coords.shape}')
    is_missing = ~np.isfinite(coords).all(axis=-1)
    known = np.where(is_missing[..., np.newaxis], 0, coords)
    result = mixing.astype(coords.dtype) @ known
    has_gap = np.any(is_missing[..., np.newaxis, :] & (mixing > 0), axis=-1)
    result[has_gap | ~mixing.any(axis=1)] = np.nan
    return result
