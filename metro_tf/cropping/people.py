"""Crops of people for use with a bare crop network, and the way back.

A crop network expects the picture of a virtual camera that looks at the person. An ordinary
cut-out shows the person under a different perspective and gives worse poses, increasingly so
towards the image border. These two functions do the right thing on both sides of the network.
"""

from typing import NamedTuple

import tensorflow as tf

from metro_tf import checks
from metro_tf.cropping import view, warp
from metro_tf.geometry import rotation


class PeopleCrops(NamedTuple):
    """What a crop network needs, and what leads back to the image; one entry per person.

    Args:
        crops: Float32 tensor `[n, S, S, 3]` in [0, 1], gamma-encoded RGB.
        intrinsics: Float32 tensor `[n, 3, 3]`, px, of the crop cameras.
        rotations: Float32 tensor `[n, 3, 3]`, original camera frame to crop camera frame.
        image_index: Int32 tensor `[n]`, the image that each crop shows.
    """
    crops: tf.Tensor
    intrinsics: tf.Tensor
    rotations: tf.Tensor
    image_index: tf.Tensor


def crop_people(
        images, boxes, intrinsics, *, crop_side_px, distortion_coeffs=None,
        camera_up=(0.0, -1.0, 0.0), zoom=1.0, gamma=1.0, antialias_factor=1):
    """Crops the person in each box as seen by a virtual camera turned towards it.

    Args:
        images: uint8 tensor `[H, W, 3]` or `[N, H, W, 3]`.
        boxes: Float tensor `[n, 4 or 5]` for one image, or ragged `[N, (n_i), 4 or 5]`, px.
        intrinsics: Float tensor `[3, 3]`, or `[N, 3, 3]` with one per image, px.
        crop_side_px: Int, input side of the crop network.
        distortion_coeffs: Float tensor `[k]` or `[N, k]`, OpenCV's order, k at most 12. None
            means none.
        camera_up: Float tensor `[3]` or `[N, 3]`, the world's up direction in camera coordinates.
        zoom: Float, magnification beyond the box just filling the crop.
        gamma: Positive float, exponent of the display values: 1 keeps the brightness.
        antialias_factor: Int, supersampling per axis.

    Returns:
        `PeopleCrops`, people of image 0 first, in the order of the boxes.

    Raises:
        ValueError: If a static shape does not fit, or the boxes are not ragged for a batch of
            images (or ragged for a single one).
    """
    images, boxes, image_index = _flat_people(images, boxes)
    n_images = tf.shape(images)[0]
    coeffs = tf.zeros([1]) if distortion_coeffs is None else distortion_coeffs

    def per_person(values, sizes, name):
        """One row per person of values that are given per image or once for all."""
        values = checks.last_axes(values, sizes, name, tf.float32)
        shape = tf.concat([[n_images], tf.shape(values)[-len(sizes):]], axis=0)
        return tf.gather(tf.broadcast_to(values, shape), image_index)

    intrinsics = per_person(intrinsics, (3, 3), 'intrinsics')
    coeffs = per_person(coeffs, (None,), 'distortion_coeffs')
    up = per_person(camera_up, (3,), 'camera_up')
    rotations, scales = view.virtual_cameras(boxes, intrinsics, coeffs, up, crop_side_px)
    scales = scales * zoom
    crop_intrinsics = view.crop_intrinsics(intrinsics, scales, crop_side_px)
    crops = warp.sample_crops(
        images, image_index, intrinsics, coeffs, crop_intrinsics, rotations=rotations,
        scales=scales, gamma=tf.ones_like(scales) * gamma, crop_side_px=crop_side_px,
        antialias_factor=antialias_factor)
    return PeopleCrops(crops, crop_intrinsics, rotations, image_index)


def uncrop_poses(poses, rotations):
    """Turns poses from the crop cameras' frames back to the original camera's frame.

    The virtual camera stands where the real one stands, so distances do not change.

    Args:
        poses: Float tensor `[n, ..., joints, 3]`, crop camera frame, mm.
        rotations: Float tensor `[n, ..., 3, 3]`, original to crop camera (`crop_people`).

    Returns:
        Float tensor `[n, ..., joints, 3]`, original camera frame, mm.

    Raises:
        ValueError: If a static shape does not fit.
    """
    rotations = checks.last_axes(rotations, (3, 3), 'rotations')
    return rotation.rotate(poses, tf.linalg.matrix_transpose(rotations))


def _flat_people(images, boxes):
    """Images `[N, H, W, 3]`, boxes `[n, 4 or 5]` and the image index of each box."""
    images = tf.convert_to_tensor(images)
    is_ragged = isinstance(boxes, tf.RaggedTensor)
    if images.shape.rank != (4 if is_ragged else 3):
        raise ValueError(
            '`images` must have the shape [H, W, 3] with dense `boxes` [n, 4] or '
            '[N, H, W, 3] with ragged `boxes` [N, (n_i), 4]. Received: '
            f'images.shape={images.shape}, boxes.shape={getattr(boxes, "shape", None)}')
    if is_ragged:
        return images, boxes.flat_values, tf.cast(boxes.value_rowids(), tf.int32)
    boxes = checks.last_axes(boxes, (None, None), 'boxes', tf.float32)
    return images[tf.newaxis], boxes, tf.zeros([tf.shape(boxes)[0]], tf.int32)
