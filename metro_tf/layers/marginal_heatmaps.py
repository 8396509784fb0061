"""Three 2D heatmaps per joint instead of one in 3D, and the coordinates that they stand for."""

import keras
import tensorflow as tf

from metro_tf.geometry import cuboid


@keras.utils.register_keras_serializable(package='metro_tf')
class MarginalHeatmaps(keras.layers.Layer):
    """Logits of the planes xy, zy and xz to probability maps and coordinates in [-1, 1].

    Each plane of each joint has a softmax over all of its cells. From the mean position in every
    plane, x and y are those of the xy plane; z is the average of the zy and the xz plane. The
    planes are predicted independently, so the x of the xz plane and the y of the zy plane need not
    agree with these. Float32 under any dtype policy.

    Source: Nibali et al., WACV 2019 (equation 3).

    Args:
        **kwargs: Base layer arguments.

    Call arguments:
        logits: Float tensor `[batch, rows, columns, 3, joints]`, planes in the order of
            `cuboid.PLANES`. Columns are x, z and x, rows are y, y and z.

    Returns:
        Dict of float tensors: `heatmaps`, of the shape of the logits, which sum to 1 in each plane;
        `coords` `[batch, joints, 3]`; `plane_coords` `[batch, 3, joints, 2]`, the mean position
        along the columns and along the rows, thus (x, y), (z, y) and (x, z); and `disagreement`
        `[batch, joints, 3]`, the distance of the two means that there are for each of x, y and z.
    """

    def __init__(self, **kwargs):
        kwargs.setdefault('dtype', 'float32')
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=5, axes={3: len(cuboid.PLANES)})

    def call(self, logits):
        peak = tf.stop_gradient(tf.reduce_max(logits, axis=[1, 2], keepdims=True))
        masses = tf.exp(logits - peak)
        heatmaps = masses / tf.reduce_sum(masses, axis=[1, 2], keepdims=True)
        plane_coords = tf.stack(
            [_mean_position(heatmaps, axis=2), _mean_position(heatmaps, axis=1)], axis=-1)
        (x, y), (z, y_beside), (x_above, z_above) = (
            tf.unstack(plane_coords[:, i_plane], num=2, axis=-1)
            for i_plane in range(len(cuboid.PLANES)))
        return {
            'heatmaps': heatmaps, 'plane_coords': plane_coords,
            'coords': tf.stack([x, y, (z + z_above) / 2], axis=-1),
            'disagreement': tf.abs(tf.stack(
                [x - x_above, y - y_beside, z - z_above], axis=-1))}


def _mean_position(heatmaps, axis):
    """Mean along the rows' axis 1 or the columns' axis 2: `[batch, planes, joints]`."""
    profile = tf.reduce_sum(heatmaps, axis=3 - axis)
    n_cells = profile.shape[1] or tf.shape(profile)[1]
    return tf.einsum('bcpj,c->bpj', profile, cuboid.cell_centers(n_cells, profile.dtype))
