"""Losses of latent points: of their autoencoder, and of fine-tuning a pose network by them.

`encode` and `decode` in the descriptions are functions from points to points, `[batch, joints, 3]`
to `[batch, latents, 3]` and back, such as `layers.affine_combination.AffineCombination`.

Source: Sarandi et al., WACV 2023 (affine-combining autoencoder).
"""

import dataclasses

import tensorflow as tf

from metro_tf import checks
from metro_tf.losses import pose

# Depths below are raised to it, so that a loss on points beside the camera stays finite.
MIN_DEPTH_MM = 1.0


@dataclasses.dataclass(frozen=True)
class HybridWeights:
    """Weights of the terms of `hybrid_loss`; terms of weight 0 are not computed.

    Args:
        joints: Labels against the directly predicted joints.
        decoded: Labels against the joints that are decoded from predicted latent points.
        autoencoded: Labels against the predicted joints after encoding and decoding.
        regularization: Predicted joints against themselves after encoding and decoding.
        teacher: Predicted latent points against the encoded predicted joints.
        teacher_start_step: The last term counts after this optimiser step.
    """
    joints: float = 1.0
    decoded: float = 1.0
    autoencoded: float = 1.0
    regularization: float = 1.0
    teacher: float = 1.0
    teacher_start_step: int = 5000


# Published weights for examples with 3D labels, and for those with 2D labels only; the whole loss
# of the latter counts 0.2 times.
HYBRID_3D = HybridWeights()
HYBRID_2D = HybridWeights(regularization=0.5, teacher=0.5)


def perspective_loss(coords3d_true, coords3d_pred):
    """L1 of image points, each pose scaled by the mean depth of the true one.

    Args:
        coords3d_true, coords3d_pred: Float tensors `[batch, joints, 3]`, camera frame, mm.

    Returns:
        Float tensor `[batch]`, metres.

    Raises:
        ValueError: If a static shape does not fit.
    """
    coords3d_true = checks.last_axes(coords3d_true, (None, None, 3), 'coords3d_true')
    coords3d_pred = checks.last_axes(
        coords3d_pred, coords3d_true.shape, 'coords3d_pred', coords3d_true.dtype)
    mean_depth = tf.reduce_mean(coords3d_true[..., 2:], axis=1, keepdims=True)
    image_true, image_pred = (
        coords3d[..., :2] / tf.maximum(coords3d[..., 2:], MIN_DEPTH_MM)
        for coords3d in (coords3d_true, coords3d_pred))
    difference = mean_depth * tf.abs(image_true - image_pred)
    return tf.reduce_mean(difference, axis=[1, 2]) / pose.MM_PER_M


def consistency_loss(coords3d_pred, coords3d_autoencoded):
    """L1 between predicted joints and the same after encoding and decoding, over all joints.

    This is the term of output regularisation: with weight 1 for examples with 3D labels, and for
    those with 2D labels only likewise, whose whole loss counts 0.2 times.

    Args:
        coords3d_pred, coords3d_autoencoded: Float tensors `[batch, joints, 3]`, mm.

    Returns:
        Scalar, metres; 0 for no examples.

    Raises:
        ValueError: If a static shape does not fit.
    """
    coords3d_pred = checks.last_axes(coords3d_pred, (None, None, 3), 'coords3d_pred')
    coords3d_autoencoded = checks.last_axes(
        coords3d_autoencoded, coords3d_pred.shape, 'coords3d_autoencoded', coords3d_pred.dtype)
    # Not the mean of an empty tensor, which is NaN.
    mean = tf.math.divide_no_nan(
        tf.reduce_sum(tf.abs(coords3d_pred - coords3d_autoencoded)),
        tf.cast(tf.size(coords3d_pred), coords3d_pred.dtype))
    return mean / pose.MM_PER_M


def hybrid_loss(joints, latents, *, encode, decode, label_loss, teacher_loss, step,
                weights=HYBRID_3D):
    """Loss of a network that predicts joints (the teacher) and latent points (the student).

    Args:
        joints: Float tensor `[batch, joints, 3]`, camera frame, mm, predicted.
        latents: Float tensor `[batch, latents, 3]`, camera frame, mm, predicted on their own.
        encode, decode: See the module.
        label_loss: Function from joints to a scalar, their loss against the labels: the usual sum
            of terms for 3D or for 2D labels.
        teacher_loss: Function of true and predicted points to a scalar, the usual sum of terms
            for 3D labels without any mask, in both kinds of examples.
        step: Number of finished optimiser steps, a scalar.
        weights: `HybridWeights`.

    Returns:
        Scalar, metres.
    """
    autoencoded = decode(encode(joints))
    has_teacher = tf.cast(
        tf.cast(step, tf.int64) > weights.teacher_start_step, autoencoded.dtype)
    terms = (
        (weights.joints, lambda: label_loss(joints)),
        (weights.decoded, lambda: label_loss(decode(latents))),
        (weights.autoencoded, lambda: label_loss(autoencoded)),
        (weights.regularization, lambda: consistency_loss(joints, autoencoded)),
        (weights.teacher, lambda: has_teacher * teacher_loss(
            encode(tf.stop_gradient(joints)), latents)))
    return sum((weight * term() for weight, term in terms if weight), start=tf.zeros([]))
