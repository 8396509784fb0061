"""Squared error of volumes of scores, the loss of coarse-to-fine prediction."""

import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import voxels
from metro_tf.losses import selection


def volumetric_loss(volumes, profiles, mask, *, reduction='joints'):
    """Mean squared error per voxel of the volumes of one stage.

    The published loss is the mean over all voxels of all joints of the batch, and is summed over
    the stages. Its joints always have labels; here those without one do not count.

    The targets are drawn from their profiles when they are needed, in the forward and again in the
    backward pass, and errors and gradients are worked out in their place. So a step keeps, besides
    the predicted volumes, one tensor of their size. Everything is float32, also where the volumes
    are not. The gradient of a single voxel, about 1e-7 with 64 planes, does not fit into float16:
    scale the loss there, and leave the layer that makes the volumes in float32.

    Source: Pavlakos et al., CVPR 2017, section 3.1, and its released code.

    Args:
        volumes: Float tensor `[batch, y, x, joints * depth]`, predicted.
        profiles: Tuple of float32 tensors, of `layers.volumetric_heatmaps.VolumetricTargets`.
            Joints that are in the mask but not in the volume have the target 0.
        mask: Boolean tensor `[batch, joints]`, the joints that count.
        reduction: See `losses`.

    Returns:
        Scalar, squared score.

    Raises:
        ValueError: If a static shape does not fit or the reduction is unknown.
    """
    mask = tf.cast(checks.last_axes(mask, (None, None), 'mask'), tf.bool)
    volumes = tf.cast(volumes, tf.float32)
    along_x, along_y, along_z = profiles
    split = voxels.split_joints(volumes, along_z.shape[-1])
    _check_fits(split, (along_x, along_y, along_z))
    errors = _joint_errors(split, along_x, along_y, along_z)
    return selection.joint_mean(errors, mask, reduction)


@tf.custom_gradient
def _joint_errors(volumes, along_x, along_y, along_z):
    """Mean squared error `[batch, joints]` of volumes `[batch, y, x, joints, depth]`."""

    def deviations():
        """Predicted minus true scores, written over the latter."""
        return volumes - voxels.outer_product((along_x, along_y, along_z))

    shape = tf.shape(volumes)
    n_voxels = tf.cast(shape[1] * shape[2] * shape[4], volumes.dtype)

    def gradients(upstream):
        scale = (2 / n_voxels) * upstream[:, tf.newaxis, tf.newaxis, :, tf.newaxis]
        return scale * deviations(), None, None, None

    return tf.reduce_sum(tf.square(deviations()), axis=[1, 2, 4]) / n_voxels, gradients


def _check_fits(volumes, profiles):
    along_x, along_y, along_z = (profile.shape for profile in profiles)
    wanted = (along_y[0], along_y[-1], along_x[-1], along_z[1], along_z[-1])
    if not volumes.shape.is_compatible_with(wanted):
        raise ValueError(
            '`volumes` must have the sizes of the targets, [batch, y, x, joints, depth] = '
            f'{list(wanted)}. Received: {volumes.shape}')
