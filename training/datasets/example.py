"""The example: one person in an image, as every dataset delivers it and every record stores it."""

import dataclasses
from typing import Optional

import numpy as np

from metro_tf import checks, skeleton

N_JOINTS = skeleton.METRO_24.n_joints
# What `to_model_joints` understands: the model's own joints, and the conventions.
SKELETONS = {'metro_24': skeleton.METRO_24, **skeleton.CONVENTIONS}
# Photos with labels in 2D come without calibration. They are learned through a camera with so
# narrow a field of view that it is almost orthographic, as in MeTRAbs.
PSEUDO_FOV_DEGREES = 8.0


@dataclasses.dataclass(frozen=True)
class Example:
    """One person in an image window. Joints are in the order of `skeleton.METRO_24`.

    The stored image is a window cut from a full photo. Pixel centres are integers, in the window
    and in the photo: pixel (0, 0) of the photo lies at (`frame[0]`, `frame[1]`) of the window, and
    outside the frame there is nothing to be seen.

    Args:
        image: uint8 array `[height, width, 3]`, RGB.
        name: Text that tells where the example is from, distinct within its dataset.
        box: float32 array `[4]`: left, top, width, height of the visible part of the person, px.
            Edges lie between pixels: one pixel at (3, 5) has the box (2.5, 4.5, 1, 1).
        frame: float32 array `[4]`: left, top, width, height of the full photo in window px.
        coords2d: float32 array `[24, 2]`: joints in the window, px. NaN where missing.
        visibility: float32 array `[24]`: 1 for visible, 0 for occluded or outside the photo.
        alpha: uint8 array `[height, width]`, how much of each pixel the person covers, or None.
        intrinsics: float32 array `[3, 3]` of the window's camera, px, or None.
        camera_up: float32 array `[3]`, the world's up direction in the camera frame, or None.
        coords3d_cam: float32 array `[24, 3]`, camera frame, mm, NaN where missing; or None.
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


def check(example):
    """Checks an example's types, shapes and values and returns it.

    Raises:
        ValueError: If something does not fit; the message names the field and the example.
    """
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


def to_model_joints(coords, skeleton_name):
    """Puts joints into the order of the model, NaN where the skeleton has no such joint.

    Args:
        coords: Float array `[..., joints, coords]`, in the order of the skeleton. Joints that the
            model lacks are left out.
        skeleton_name: A key of `SKELETONS`.

    Returns:
        Float array `[..., 24, coords]` of the same type, in the order of `skeleton.METRO_24`.

    Raises:
        ValueError: If the skeleton is unknown or has another number of joints.
    """
    source = SKELETONS[checks.one_of(skeleton_name, SKELETONS, 'skeleton_name')]
    if coords.shape[-2] != source.n_joints:
        raise ValueError(
            f'`coords` must have the {source.n_joints} joints of {skeleton_name!r}. '
            f'Received: {coords.shape[-2]} joints')
    if source is skeleton.METRO_24:
        return coords.copy()
    kept, indices = skeleton.convention_selection(skeleton.METRO_24.joint_names, skeleton_name)
    result = np.full((*coords.shape[:-2], N_JOINTS, coords.shape[-1]), np.nan, coords.dtype)
    result[..., indices, :] = coords[..., [source.index(name) for name in kept.joint_names], :]
    return result


def _fields(example):
    """Triples of field name, type and shape that `check` enforces on the fields present."""
    if not isinstance(example.image, np.ndarray) or example.image.ndim != 3:
        raise ValueError(
            '`image` must be an array [height, width, 3]. '
            f'Received: {getattr(example.image, "shape", type(example.image).__name__)} '
            f'in example {example.name!r}')
    size = example.image.shape[:2]
    fields = [
        ('image', np.uint8, (*size, 3)), ('box', np.float32, (4,)), ('frame', np.float32, (4,)),
        ('coords2d', np.float32, (N_JOINTS, 2)), ('visibility', np.float32, (N_JOINTS,))]
    optional = [
        ('alpha', np.uint8, size), ('intrinsics', np.float32, (3, 3)),
        ('camera_up', np.float32, (3,)), ('coords3d_cam', np.float32, (N_JOINTS, 3))]
    return fields + [field for field in optional if getattr(example, field[0]) is not None]
