"""Random virtual camera per example, and the warp of the photo into it."""

import dataclasses
import math

import tensorflow as tf

from metro_tf.cropping import view
from metro_tf.geometry import boxes as boxlib
from metro_tf.geometry import camera, rotation


@dataclasses.dataclass(frozen=True)
class RandomCropView:
    """Policy: a jittered virtual camera that looks at the person.

    The same virtual camera as in inference (`metro_tf.cropping.view`), with random zoom, roll,
    shift and mirroring on top, and sometimes only a part of the box in view.

    Args:
        crop_side_px: Side of the crop.
        mirror_mapping: Joint i of the mirrored person is joint `mirror_mapping[i]` before.
        max_zoom_change, max_rotation_degrees, max_shift, mirror_probability,
        partial_visibility_probability, full_rotation_probability: See
            `training.config.AugmentConfig`. All zero for evaluation.
        is_published: Whether the side of a part of the box is drawn as in MeTRAbs (see
            `published_part_side`), or uniformly in [0.5, 1] of the whole.
    """
    crop_side_px: int
    mirror_mapping: tuple
    max_zoom_change: float = 0.0
    max_rotation_degrees: float = 0.0
    max_shift: float = 0.0
    mirror_probability: float = 0.0
    partial_visibility_probability: float = 0.0
    full_rotation_probability: float = 0.0
    is_published: bool = False

    def __call__(self, example, seed):
        """Adds `crop_*` entries: see `crop_view`."""
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 8))
        box = self._part_of_box(example['box'], seeds[0])
        box = self._shifted(box, seeds[1])
        zoom = 1 + self.max_zoom_change * _uniform(seeds[2], -1, 1)
        angle = math.radians(self.max_rotation_degrees) * _uniform(seeds[3], -1, 1)
        is_turned = _uniform(seeds[5], 0, 1) < self.full_rotation_probability
        angle = tf.where(is_turned, _uniform(seeds[6], -math.pi, math.pi), angle)
        is_mirrored = _uniform(seeds[4], 0, 1) < self.mirror_probability
        return crop_view(
            example, box, zoom, angle, is_mirrored, self.crop_side_px, self.mirror_mapping)

    def _part_of_box(self, box, seed):
        """A random square part of the box's square hull."""
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
        side = tf.reduce_max(box[2:])
        fraction = _uniform(seeds[0], 0, 1)
        part_side = published_part_side(fraction) if self.is_published else 0.5 + 0.5 * fraction
        left, top = [_uniform(s, 0, 1) * (1 - part_side) for s in seeds[1:3]]
        corner = boxlib.center(box) - side / 2 + side * tf.stack([left, top])
        part = tf.concat([corner, tf.fill([2], side * part_side)], axis=0)
        return tf.where(_uniform(seeds[3], 0, 1) < self.partial_visibility_probability, part, box)

    def _shifted(self, box, seed):
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        radius = self.max_shift * tf.sqrt(_uniform(seeds[0], 0, 1)) * tf.reduce_max(box[2:])
        angle = _uniform(seeds[1], -math.pi, math.pi)
        shift = radius * tf.stack([tf.cos(angle), tf.sin(angle)])
        return tf.concat([box[:2] + shift, box[2:]], axis=0)


def published_part_side(fraction):
    """Side of the square part that MeTRAbs shows of a square box, as a fraction of the box's.

    MeTRAbs draws x1 ~ U(0, 0.5) and x2, y2 ~ U(0.5, 1) until side = x2 - x1 is above 0.5 and
    below y2, and shows the square [x1, y2 - side, side, side]. Its side s then has the density
    24 (1 - s)^2 on (0.5, 1), and its corner is uniform where the part fits. This inverts the
    distribution function 1 - 8 (1 - s)^3; a fraction of 0 gives 0.5, 0.875 gives 0.75.

    Args:
        fraction: Float tensor, uniform in [0, 1).

    Returns:
        Float tensor of the same shape.
    """
    return 1 - 0.5 * tf.pow(1 - fraction, 1 / 3)


def crop_view(example, box, zoom, angle, is_mirrored, crop_side_px, mirror_mapping):
    """Transform: moves an example into the virtual camera of a box.

    Args:
        example: Dict of a parsed record.
        box: Float tensor `[4]`, px in the stored image.
        zoom: Scalar; 1 lets the box fill the crop.
        angle: Scalar, roll in radians (see `metro_tf.geometry.rotation.around_z`).
        is_mirrored: Boolean scalar.
        crop_side_px: Side of the crop.
        mirror_mapping: Joint permutation of a mirrored person.

    Returns:
        The example with the labels `coords3d_cam` (mm, frame of the virtual camera), `coords2d`
        (px in the crop), `intrinsics` (of the crop) and the masks replaced, and with
        `crop_to_image` `[3, 3]`, the homography from crop pixels to pixels of the stored image,
        and `camera_to_crop` `[3, 3]`, the rotation (and mirroring, if so) from the frame of the
        stored image's camera to that of the virtual one.
    """
    rotations, box_scales = view.virtual_cameras(
        box[tf.newaxis], example['intrinsics'][tf.newaxis], tf.zeros([1, 5]),
        example['camera_up'][tf.newaxis], crop_side_px)
    flip = tf.linalg.diag(tf.stack([tf.where(is_mirrored, -1.0, 1.0), 1.0, 1.0]))
    turn = flip @ rotation.around_z(angle) @ rotations[0]
    intrinsics = view.crop_intrinsics(
        example['intrinsics'][tf.newaxis], box_scales * zoom, crop_side_px)[0]
    image_to_crop = intrinsics @ turn @ tf.linalg.inv(example['intrinsics'])
    order = tf.where(is_mirrored, tf.constant(mirror_mapping), tf.range(len(mirror_mapping)))
    coords3d = tf.gather(example['coords3d_cam'] @ tf.transpose(turn), order)
    mask_3d = tf.gather(example['joint_validity_mask_3d'], order)
    warped2d = _apply_homography(tf.gather(example['coords2d'], order), image_to_crop)
    mask_2d = tf.gather(example['joint_validity_mask_2d'], order)
    coords2d = tf.where(
        mask_3d[:, tf.newaxis], camera.project(coords3d, intrinsics), warped2d)
    return {
        **example,
        'coords3d_cam': tf.where(mask_3d[:, tf.newaxis], coords3d, 0.0),
        'coords2d': tf.where(mask_2d[:, tf.newaxis], coords2d, 0.0),
        'joint_validity_mask_3d': mask_3d,
        'joint_validity_mask_2d': mask_2d,
        'visibility': tf.gather(example['visibility'], order),
        'intrinsics': intrinsics,
        'crop_to_image': tf.linalg.inv(image_to_crop),
        'camera_to_crop': turn}


@dataclasses.dataclass(frozen=True)
class WarpToCrop:
    """Transform: resamples image, alpha and frame into the crop.

    Bilinear in display space (the stored images have about the resolution of the crop, where
    this differs from sampling in linear light by less than the noise of the photos). Outside the
    full photo the crop is black.

    Args:
        crop_side_px: Side of the crop.

    The example's `image` becomes float32 `[S, S, 3]` in [0, 1], `alpha` `[S, S, 1]` in [0, 1];
    `frame` becomes a mask `[S, S, 1]`, 1 inside the full photo.
    """
    crop_side_px: int

    def __call__(self, example, seed):
        """Returns the example with its pixels in the crop; takes no random decision."""
        side = self.crop_side_px
        layers = tf.concat([example['image'], example['alpha']], axis=-1)
        homography = example['crop_to_image'] / example['crop_to_image'][2, 2]
        warped = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(layers, tf.float32)[tf.newaxis],
            transforms=tf.reshape(homography, [1, 9])[:, :8],
            output_shape=[side, side], interpolation='BILINEAR', fill_mode='CONSTANT',
            fill_value=0.0)[0] / 255.0
        in_frame = self._in_frame(homography, example['frame'])
        return {
            **example,
            'image': tf.ensure_shape(warped[..., :3], [side, side, 3]),
            'alpha': warped[..., 3:],
            'frame': in_frame}

    def _in_frame(self, homography, frame):
        axis = tf.range(self.crop_side_px, dtype=tf.float32)
        x, y = tf.meshgrid(axis, axis)
        source = [row[0] * x + row[1] * y + row[2] for row in tf.unstack(homography)]
        source_x, source_y = source[0] / source[2], source[1] / source[2]
        left, top, width, height = tf.unstack(frame)
        is_inside = (
            (source_x > left - 0.5) & (source_x < left + width - 0.5)
            & (source_y > top - 0.5) & (source_y < top + height - 0.5))
        return tf.cast(is_inside, tf.float32)[..., tf.newaxis]


def _apply_homography(points, homography):
    ones = tf.ones_like(points[..., :1])
    moved = tf.concat([points, ones], axis=-1) @ tf.transpose(homography)
    return moved[..., :2] / moved[..., 2:]


def _uniform(seed, low, high):
    return tf.random.stateless_uniform([], seed, low, high)
