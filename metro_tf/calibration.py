"""Cameras as callers give them: value checks, unknown intrinsics, one camera for a whole batch.

The checks are graph operations, since an exported model has no Python code to check anything.
"""

import dataclasses

import tensorflow as tf

from metro_tf.geometry import camera, distortion

UNKNOWN_INTRINSICS_ENTRY = -1.0
# Deviation of R R^T from the identity up to which a rotation counts as one.
_ROTATION_TOLERANCE = 1e-2


@dataclasses.dataclass(frozen=True)
class Cameras:
    """The calibration of a batch of images; the first axis is 1 or the number of images.

    Args:
        intrinsics: Float32 tensor `[1 or n_images, 3, 3]`, px.
        distortion_coeffs: Float32 tensor `[1 or n_images, 12]`, see `geometry.distortion`.
        extrinsics: Float32 tensor `[1 or n_images, 4, 4]`, world to camera, mm.
        up: Float32 tensor `[1 or n_images, 3]`, world up direction in the camera frame.
    """
    intrinsics: tf.Tensor
    distortion_coeffs: tf.Tensor
    extrinsics: tf.Tensor
    up: tf.Tensor

    def per_person(self, image_index):
        """The cameras of the images that people are in.

        Args:
            image_index: Int tensor `[n]`, each person's image.

        Returns:
            `Cameras` whose first axis has size n.
        """
        return Cameras(*(
            gather_broadcast(getattr(self, field.name), image_index)
            for field in dataclasses.fields(self)))


def require(condition, message, received=()):
    """Operation that fails with a message at run time unless the condition holds.

    Computations that would fail in their own way must be placed behind it by
    `tf.control_dependencies`, or their message may be the one that the caller sees.

    Args:
        condition: Boolean scalar.
        message: String that names the argument in backticks and states the rule.
        received: Sequence of tensors that are shown behind the message.

    Returns:
        `tf.Operation`.
    """
    return tf.raw_ops.Assert(
        condition=condition, data=[tf.constant(f'{message} Received:'), *received], summarize=64)


def prepare_cameras(
        image_shape, intrinsic_matrix, distortion_coeffs, extrinsic_matrix, world_up_vector,
        default_fov_degrees):
    """Checks the calibration of a batch and fills in unknown intrinsics.

    Each matrix of intrinsics whose entries are all -1 is replaced, whatever the others are, by
    that of a camera with the default field of view.

    Args:
        image_shape: Int tensor `[4]`: n_images, height, width, channels.
        intrinsic_matrix: Float32 tensor `[n_images or 1, 3, 3]`, px.
        distortion_coeffs: Float32 tensor `[n_images or 1, n]`.
        extrinsic_matrix: Float32 tensor `[n_images or 1, 4, 4]`, mm.
        world_up_vector: Float32 tensor `[3]`.
        default_fov_degrees: Float32 scalar, degrees.

    Returns:
        `Cameras`.

    Raises:
        tf.errors.InvalidArgumentError: At run time, if a value breaks the rules.
    """
    checks = [
        check_count('intrinsic_matrix', intrinsic_matrix, image_shape[0]),
        check_count('distortion_coeffs', distortion_coeffs, image_shape[0]),
        check_count('extrinsic_matrix', extrinsic_matrix, image_shape[0]),
        *_check_distortion(distortion_coeffs),
        *_check_extrinsics(extrinsic_matrix, world_up_vector),
        require((default_fov_degrees > 0) & (default_fov_degrees < 180),
                '`default_fov_degrees` must be above 0 and below 180.', [default_fov_degrees])]
    is_unknown = tf.reduce_all(
        tf.equal(intrinsic_matrix, UNKNOWN_INTRINSICS_ENTRY), axis=(1, 2), keepdims=True)
    intrinsics = tf.where(
        is_unknown, camera.intrinsics_from_fov(default_fov_degrees, image_shape[1:3]),
        intrinsic_matrix)
    checks.append(_check_intrinsics(intrinsics))
    up = tf.linalg.matvec(extrinsic_matrix[:, :3, :3], world_up_vector)
    with tf.control_dependencies(checks):
        n_missing = distortion.MAX_COEFFS - tf.shape(distortion_coeffs)[1]
        coeffs = tf.pad(distortion_coeffs, [[0, 0], [0, n_missing]])
        return Cameras(
            tf.identity(intrinsics), tf.ensure_shape(coeffs, [None, distortion.MAX_COEFFS]),
            tf.identity(extrinsic_matrix), tf.identity(up))


def check_count(name, values, n_images):
    """Operation that fails unless `values` `[n, ...]` are given once or for each of the images."""
    count = tf.shape(values)[0]
    return require(tf.equal(count, 1) | tf.equal(count, n_images),
                   f'`{name}` must be given once or once per image.',
                   [count, 'for', n_images, 'images'])


def _check_distortion(distortion_coeffs):
    n_coeffs = tf.shape(distortion_coeffs)[1]
    return (
        require(n_coeffs <= distortion.MAX_COEFFS,
                f'`distortion_coeffs` must have at most {distortion.MAX_COEFFS} coefficients.',
                [n_coeffs]),
        require(tf.reduce_all(tf.math.is_finite(distortion_coeffs)),
                '`distortion_coeffs` must be finite.', [distortion_coeffs]))


def _check_extrinsics(extrinsic_matrix, world_up_vector):
    rotation = extrinsic_matrix[:, :3, :3]
    deviation = tf.abs(tf.matmul(rotation, rotation, transpose_b=True) - tf.eye(3))
    determinant = tf.reduce_sum(
        rotation[:, 0] * tf.linalg.cross(rotation[:, 1], rotation[:, 2]), axis=-1)
    is_rotation = tf.reduce_all(deviation < _ROTATION_TOLERANCE) & tf.reduce_all(determinant > 0)
    # NaN fails every comparison, so only the translation needs a check of its own.
    is_affine = tf.reduce_all(tf.equal(extrinsic_matrix[:, 3], [0.0, 0.0, 0.0, 1.0]))
    is_finite = tf.reduce_all(tf.math.is_finite(extrinsic_matrix))
    squared_up = tf.reduce_sum(tf.square(world_up_vector))
    return (
        require(is_affine & is_finite,
                '`extrinsic_matrix` must be finite with last row (0, 0, 0, 1), world to camera, '
                'for column vectors.', [extrinsic_matrix]),
        require(is_rotation,
                '`extrinsic_matrix` must hold a rotation (orthonormal rows, determinant +1) in '
                'its upper left 3x3 block.', [extrinsic_matrix]),
        require((squared_up > 0) & (squared_up < float('inf')),
                '`world_up_vector` must be finite and not zero.', [world_up_vector]))


def _check_intrinsics(intrinsics):
    is_finite = tf.reduce_all(tf.math.is_finite(intrinsics))
    is_affine = tf.reduce_all(tf.equal(intrinsics[:, 2], [0.0, 0.0, 1.0]))
    focal_product = (
        intrinsics[:, 0, 0] * intrinsics[:, 1, 1] - intrinsics[:, 0, 1] * intrinsics[:, 1, 0])
    return require(
        is_finite & is_affine & tf.reduce_all(focal_product > 0),
        '`intrinsic_matrix` must be finite (no NaN) with last row (0, 0, 1) and positive focal '
        'lengths, or -1 in all entries if unknown.', [intrinsics])


def gather_broadcast(values, image_index):
    """Rows of `[1 or n_images, ...]` for images given by index, such as those of people."""
    is_shared = tf.equal(tf.shape(values)[0], 1)
    return tf.gather(values, tf.where(is_shared, 0, image_index))
