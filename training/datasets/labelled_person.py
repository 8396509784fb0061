"""From a whole photo and labels of a person in it to the example of a window."""

import numpy as np

from metro_tf.geometry import camera as camera_lib
from training.datasets import example as example_lib
from training.datasets import photo_camera, window


def to_example(
        photo, name, joint_names, *, box=None, coords3d_cam=None, coords2d=None, camera=None,
        camera_up=None, alpha=None, clothing_masks=None, visibility=None):
    """Cuts the window around a person out of a photo, which is freed of lens distortion before.

    Args:
        photo: uint8 array `[height, width, 3]`, RGB.
        name: Text, distinct within the data set.
        joint_names: Sequence of the joints' names, see `example.check_joint_names`.
        box: Float array `[4]`: left, top, width, height in px of the photo; None for
            `box_of_joints`. It is cut off at the photo's borders.
        coords3d_cam: Float array `[joints, 3]`, camera frame, mm, NaN where missing, or None.
        coords2d: Float array `[joints, 2]`, px of the photo, NaN where missing. None projects
            `coords3d_cam`.
        camera: `photo_camera.PhotoCamera`; None with 2D labels alone stands for an almost
            orthographic one.
        camera_up: Float array `[3]`, up in the camera frame; None for up in the photo.
        alpha: uint8 array `[height, width]`, what the person covers, or None.
        clothing_masks: uint8 array `[height, width, 2]`, see `Example`, or None.
        visibility: Float array `[joints]`, 1 for visible, or None for all inside the photo. Joints
            outside the photo are never visible.

    Returns:
        `Example`, or None if the box does not reach into the photo, or no joint has a label.

    Raises:
        ValueError: If there are neither 3D labels with a camera nor 2D labels.
    """
    if coords2d is None and (coords3d_cam is None or camera is None):
        raise ValueError(
            '`coords2d` must be given without `coords3d_cam` and `camera`. '
            f'Received: None, coords3d_cam={coords3d_cam is not None}, camera={camera}')
    if camera is None:
        camera = photo_camera.PhotoCamera(pseudo_intrinsics(photo.shape[:2]))
    if coords2d is None:
        coords2d = camera.project_undistorted(coords3d_cam)
    else:
        coords2d = camera.undistort_points(coords2d)
    photo, alpha, clothing_masks = (
        layer if layer is None else camera.undistort_photo(layer)
        for layer in (photo, alpha, clothing_masks))
    box = box_of_joints(coords2d) if box is None else camera.undistort_box(box)
    box = within_photo(box, photo.shape[:2])
    if box is None:
        return None
    return cut_out(
        photo, name, joint_names, box, coords2d, camera.intrinsics, coords3d_cam=coords3d_cam,
        camera_up=[0, -1, 0] if camera_up is None else camera_up, alpha=alpha,
        clothing_masks=clothing_masks, visibility=visibility)


def cut_out(
        photo, name, joint_names, box, coords2d, intrinsics, *, coords3d_cam=None, camera_up=None,
        alpha=None, clothing_masks=None, visibility=None):
    """Like `to_example`, for a photo without lens distortion and a box inside it.

    Args:
        photo, name, joint_names, coords3d_cam, alpha, clothing_masks, visibility: See
            `to_example`.
        box: Float array `[4]`: left, top, width, height in px of the photo.
        coords2d: Float array `[joints, 2]`, px of the photo, NaN where missing.
        intrinsics: Float array `[3, 3]` of the photo, px.
        camera_up: Float array `[3]`, up in the camera frame, or None for not known.

    Returns:
        `Example`.
    """
    image, photo_to_window, frame = window.cut_photo(photo, box)
    scale, shift = np.diag(photo_to_window)[:2], photo_to_window[:2, 2]
    coords2d = coords2d * scale + shift
    is_visible = is_within_frame(coords2d, frame)
    if visibility is not None:
        is_visible &= np.asarray(visibility) > 0
    alpha, clothing_masks = (
        layer if layer is None else window.cut_photo(layer, box)[0]
        for layer in (alpha, clothing_masks))
    camera_up, coords3d_cam = (
        value if value is None else np.float32(value) for value in (camera_up, coords3d_cam))
    return example_lib.Example(
        image=np.ascontiguousarray(image), name=name,
        box=np.float32([*(box[:2] * scale + shift), *(box[2:] * scale)]), frame=frame,
        coords2d=np.float32(coords2d), visibility=np.float32(is_visible), alpha=alpha,
        intrinsics=np.float32(photo_to_window @ intrinsics), camera_up=camera_up,
        coords3d_cam=coords3d_cam, joint_names=tuple(joint_names), clothing_masks=clothing_masks)


def is_within_frame(coords2d, frame):
    """Boolean array `[joints]`: which points `[joints, 2]` are inside the `frame` of an example."""
    return np.all(
        (coords2d > frame[:2] - 0.5) & (coords2d < frame[:2] + frame[2:] - 0.5), axis=1)


def box_of_joints(coords2d, enlargement=1.2):
    """Box around the labelled joints, enlarged about its centre, as data sets without boxes get.

    Args:
        coords2d: Float array `[joints, 2]`, px, NaN where missing.
        enlargement: Factor on width and height.

    Returns:
        Float array `[4]`: left, top, width, height, at least 1 px wide and high; NaN without any
        label.
    """
    if not np.any(np.isfinite(coords2d)):
        return np.full(4, np.nan)
    first, last = np.nanmin(coords2d, axis=0), np.nanmax(coords2d, axis=0)
    size = np.maximum((last - first) * enlargement, 1.0)
    return np.concatenate([(first + last) / 2 - size / 2, size])


def box_of_mask(mask):
    """Box around what is not zero in a mask.

    Args:
        mask: Array `[height, width]`.

    Returns:
        Float array `[4]`: left, top, width, height, px, with edges between pixels; None if the mask
        is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    first, last = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]])
    return np.concatenate([first - 0.5, last - first + 1.0])


def within_photo(box, photo_shape):
    """The part of a box inside a photo, whose pixels have their centres at integers.

    Args:
        box: Float array `[4]`: left, top, width, height, px.
        photo_shape: Pair of the photo's height and width.

    Returns:
        Float array `[4]`, or None if less than a pixel of it lies inside, or it is NaN.
    """
    box = np.asarray(box, np.float64)
    first = np.maximum(box[:2], -0.5)
    last = np.minimum(box[:2] + box[2:], np.array(photo_shape[::-1]) - 0.5)
    return np.concatenate([first, last - first]) if np.all(last - first >= 1) else None


def pseudo_intrinsics(photo_shape):
    """Intrinsics `[3, 3]` for photos without calibration, see `example.PSEUDO_FOV_DEGREES`."""
    return camera_lib.intrinsics_from_fov(
        example_lib.PSEUDO_FOV_DEGREES, photo_shape).numpy().astype(np.float64)
