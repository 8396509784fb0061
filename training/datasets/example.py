"""The example: one person in an image, as every dataset delivers it and every record stores it."""

import dataclasses
from typing import Optional

import numpy as np

from metro_tf import skeleton

N_JOINTS = skeleton.METRO_24.n_joints
# Joints of skeletons that data sets name: those of the default model, and the conventions.
SKELETONS = {
    'metro_24': skeleton.METRO_24.joint_names,
    **{name: skeleton.vocabulary_names(name) for name in skeleton.CONVENTIONS}}
# Photos with labels in 2D come without calibration. They are learned through a camera with so
# narrow a field of view that it is almost orthographic, as in MeTRAbs.
PSEUDO_FOV_DEGREES = 8.0


@dataclasses.dataclass(frozen=True)
class Example:
    """One person in an image window. Joints are in the order of `joint_names`.

    The stored image is a window cut from a full photo. Pixel centres are integers, in the window
    and in the photo: pixel (0, 0) of the photo lies at (`frame[0]`, `frame[1]`) of the window, and
    outside the frame there is nothing to be seen.

    Args:
        image: uint8 array `[height, width, 3]`, RGB.
        name: Text that tells where the example is from, distinct within its dataset.
        box: float32 array `[4]`: left, top, width, height of the visible part of the person, px.
            Edges lie between pixels: one pixel at (3, 5) has the box (2.5, 4.5, 1, 1).
        frame: float32 array `[4]`: left, top, width, height of the full photo in window px.
        coords2d: float32 array `[joints, 2]`: joints in the window, px. NaN where missing.
        visibility: float32 array `[joints]`: 1 for visible, 0 for occluded or outside the photo.
        alpha: uint8 array `[height, width]`, how much of each pixel the person covers, or None.
        intrinsics: float32 array `[3, 3]` of the window's camera, px, or None.
        camera_up: float32 array `[3]`, the world's up direction in the camera frame, or None.
        coords3d_cam: float32 array `[joints, 3]`, camera frame, mm, NaN where missing; or None.
        joint_names: Tuple of the joints' names, see `check_joint_names`.
        clothing_masks: uint8 array `[height, width, 2]`, how much of each pixel is upper and
            lower clothing of the person, or None.
    """
    image: np.ndarray
    name: str
    box: np.ndarray
    frame: np.ndarray
    coords2d: np.ndarray
    visibility: np.ndarray
    alpha: Optional[np.ndarray] = None
    intrinsics: Optional[np.ndarray] = None
    camera_up: Optional[np.ndarray] = None
    coords3d_cam: Optional[np.ndarray] = None
    joint_names: tuple = skeleton.METRO_24.joint_names
    clothing_masks: Optional[np.ndarray] = None


def check(example):
    """Checks an example's types, shapes and values and returns it.

    Raises:
        ValueError: If something does not fit; the message names the field and the example.
    """
    try:
        check_joint_names(example.joint_names)
    except ValueError as error:
        raise ValueError(f'{error} in example {example.name!r}') from None
    for name, dtype, shape in _fields(example):
        value = getattr(example, name)
        if not isinstance(value, np.ndarray) or value.dtype != dtype or value.shape != shape:
            received = (f'{value.dtype} {value.shape}' if isinstance(value, np.ndarray)
                        else type(value).__name__)
            raise ValueError(
                f'`{name}` must be an array of type {np.dtype(dtype)} and shape {shape}. '
                f'Received: {received} in example {example.name!r}')
    for name in ('box', 'frame', 'visibility', 'intrinsics', 'camera_up'):
        value = getattr(example, name)
        if value is not None and not np.all(np.isfinite(value)):
            raise ValueError(
                f'`{name}` must be finite. Received: {value} in example {example.name!r}')
    for name in ('box', 'frame'):
        if not np.all(getattr(example, name)[2:] > 0):
            raise ValueError(
                f'`{name}` must have positive width and height. '
                f'Received: {getattr(example, name)} in example {example.name!r}')
    if not np.all(np.isin(example.visibility, (0, 1))):
        raise ValueError(
            '`visibility` must be 0 or 1. '
            f'Received: {example.visibility} in example {example.name!r}')
    return example


def check_joint_names(joint_names):
    """Checks the names of the joints that an example holds and returns them as a tuple.

    Args:
        joint_names: Sequence of distinct names out of the vocabulary of `metro_tf.skeleton`.

    Raises:
        ValueError: If it is something else, or empty.
    """
    if not isinstance(joint_names, (list, tuple)) or not joint_names:
        raise ValueError(
            '`joint_names` must be a list of names, not empty. '
            f'Received: joint_names={joint_names!r}')
    unknown = [name for name in joint_names if name not in skeleton.VOCABULARY]
    if unknown:
        raise ValueError(
            f'`joint_names` must be among {list(skeleton.VOCABULARY)}. Received: {unknown}')
    doubles = sorted({name for name in joint_names if joint_names.count(name) > 1})
    if doubles:
        raise ValueError(f'`joint_names` must be distinct. Received: {doubles} more than once')
    return tuple(joint_names)


def select_joints(coords, joint_names, wanted_names):
    """Puts joints into another order, by name.

    Args:
        coords: Float array `[..., joints, coords]`. Joints that are not wanted are left out.
        joint_names: Sequence of the names of the joints in `coords`.
        wanted_names: Sequence of the names of the joints of the result.

    Returns:
        Float array `[..., wanted joints, coords]` of the same type, NaN where a joint is not in
        `coords`.

    Raises:
        ValueError: If `coords` has another number of joints than names.
    """
    if coords.shape[-2] != len(joint_names):
        raise ValueError(
            f'`coords` must have the {len(joint_names)} joints {tuple(joint_names)}. '
            f'Received: {coords.shape[-2]} joints')
    pairs = [
        (i, list(joint_names).index(name)) for i, name in enumerate(wanted_names)
        if name in joint_names]
    new, old = np.array(pairs, int).reshape(-1, 2).T
    result = np.full(
        (*coords.shape[:-2], len(wanted_names), coords.shape[-1]), np.nan, coords.dtype)
    result[..., new, :] = coords[..., old, :]
    return result


def _fields(example):
    """Triples of field name, type and shape that `check` enforces on the fields present."""
    if not isinstance(example.image, np.ndarray) or example.image.ndim != 3:
        raise ValueError(
            '`image` must be an array [height, width, 3]. '
            f'Received: {getattr(example.image, "shape", type(example.image).__name__)} '
            f'in example {example.name!r}')
    size, n_joints = example.image.shape[:2], len(example.joint_names)
    fields = [
        ('image', np.uint8, (*size, 3)), ('box', np.float32, (4,)), ('frame', np.float32, (4,)),
        ('coords2d', np.float32, (n_joints, 2)), ('visibility', np.float32, (n_joints,))]
    optional = [
        ('alpha', np.uint8, size), ('clothing_masks', np.uint8, (*size, 2)),
        ('intrinsics', np.float32, (3, 3)), ('camera_up', np.float32, (3,)),
        ('coords3d_cam', np.float32, (n_joints, 3))]
    return fields + [field for field in optional if getattr(example, field[0]) is not None]
