"""Volumes of scores: targets drawn around true joints, and joints found in volumes.

Scores are no probabilities: they are trained to be 1 at the joint, to fall off like a Gaussian
around it, and to be 0 elsewhere. See `geometry.voxels` for how volumes are laid out.

Source: Pavlakos et al., CVPR 2017, and its released code.
"""

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import voxels

METHODS = ('argmax', 'refined', 'soft_argmax')


class _VolumeLayer(keras.layers.Layer):
    """What drawing and decoding share: the sizes of the volume."""

    def __init__(self, crop_side_px, n_depth_cells, depth_range_mm, **kwargs):
        kwargs.setdefault('dtype', 'float32')
        super().__init__(**kwargs)
        self.crop_side_px = checks.positive(crop_side_px, 'crop_side_px')
        self.n_depth_cells = checks.one_of(n_depth_cells, voxels.DEPTHS, 'n_depth_cells')
        self.depth_range_mm = voxels.checked_depth_range(depth_range_mm)

    def get_config(self):
        return {
            **super().get_config(), 'crop_side_px': self.crop_side_px,
            'n_depth_cells': self.n_depth_cells, 'depth_range_mm': self.depth_range_mm}


@keras.utils.register_keras_serializable(package='metro_tf')
class VolumetricTargets(_VolumeLayer):
    """Draws a blob at every joint, as target of its volume.

    The blob is a product of three profiles, Gaussians of the distance in cells that are cut off
    beyond `window_cells`, with the peak 1 at the voxel of the joint. What lies beyond the volume is
    cut off too. Nothing but the volume itself has its size, and the profiles alone, which
    `profiles` gives, make up all of it.

    As in the released code and unlike the paper, the peak is 1, the standard deviation 3.25 of 64
    cells, and along an axis of up to 5 cells only the joint's own cell differs from 0. The code
    draws blobs that reach beyond the left or upper border one or two cells too far to the right or
    down; these are right here.

    Source: Pavlakos et al., CVPR 2017, section 3.1, and its released code.

    Args:
        crop_side_px: Side of the square crop.
        n_cells: Number of cells along x and y.
        n_depth_cells: Number of cells in depth, one of `voxels.DEPTHS`.
        depth_range_mm: Pair of floats, the depths relative to the root that the volume covers.
        **kwargs: Base layer arguments.

    Call arguments:
        coords25d: Float tensor `[batch, joints, 3]`: x and y in px of the crop, depth in mm
            relative to the root.
        joint_mask: Boolean tensor `[batch, joints]`, or None for all: joints to draw. The others
            may be anything, and get zeros.

    Returns:
        Float32 tensor `[batch, n_cells, n_cells, joints * n_depth_cells]` in [0, 1].
    """

    def __init__(
            self, crop_side_px, n_cells, n_depth_cells, depth_range_mm=voxels.DEPTH_RANGE_MM,
            **kwargs):
        super().__init__(crop_side_px, n_depth_cells, depth_range_mm, **kwargs)
        self.n_cells = checks.positive(n_cells, 'n_cells')

    def call(self, coords25d, joint_mask=None):
        volumes = voxels.outer_product(self.profiles(coords25d, joint_mask))
        shape = tf.shape(volumes)
        n_joints = volumes.shape[3] or shape[3]
        return tf.reshape(
            volumes, [-1, self.n_cells, self.n_cells, n_joints * self.n_depth_cells])

    def profiles(self, coords25d, joint_mask=None):
        """The profiles whose outer product the volume is.

        Args:
            coords25d, joint_mask: See the class.

        Returns:
            Tuple of float32 tensors: along x and along y `[batch, joints, n_cells]`, along z
            `[batch, joints, n_depth_cells]`. That along z is 0 for joints that are not drawn.
        """
        coords25d = checks.last_axes(coords25d, (None, 3), 'coords25d', tf.float32)
        if joint_mask is not None:
            coords25d = tf.where(joint_mask[..., tf.newaxis], coords25d, tf.zeros_like(coords25d))
        x, y, z = tf.unstack(voxels.to_voxels(
            coords25d, self.crop_side_px, self.n_cells, self.depth_range_mm), axis=-1)
        along_z = _profile(voxels.to_planes(z, self.n_depth_cells), self.n_depth_cells)
        if joint_mask is not None:
            along_z *= tf.cast(joint_mask, along_z.dtype)[..., tf.newaxis]
        return _profile(x, self.n_cells), _profile(y, self.n_cells), along_z

    def compute_output_shape(self, coords25d_shape, joint_mask_shape=None):
        return (
            coords25d_shape[0], self.n_cells, self.n_cells,
            coords25d_shape[1] * self.n_depth_cells)

    def get_config(self):
        return {**super().get_config(), 'n_cells': self.n_cells}


@keras.utils.register_keras_serializable(package='metro_tf')
class VolumeDecoding(_VolumeLayer):
    """Finds every joint in its volume.

    'argmax', as published, takes the centre of the voxel with the highest score. 'refined' moves
    from there to the peak of the parabola through the scores of the voxel and its two neighbours
    along each axis, by half a voxel at most, and not at all along an axis at whose end it lies.
    'soft_argmax' takes the mean position under the softmax of `sharpness` times the score: it has
    gradients, and mixes in whatever is elsewhere in the volume.

    Source: Pavlakos et al., CVPR 2017, and its released code for 'argmax'.

    Args:
        crop_side_px: Side of the square crop.
        n_depth_cells: Number of cells in depth, one of `voxels.DEPTHS`.
        depth_range_mm: Pair of floats, the depths relative to the root that the volume covers.
        method: 'argmax', 'refined' or 'soft_argmax'.
        sharpness: Factor on the scores for 'soft_argmax'.
        **kwargs: Base layer arguments.

    Call arguments:
        volumes: Float tensor `[batch, cells, cells, joints * n_depth_cells]`.

    Returns:
        Float32 tensor `[batch, joints, 3]`: x and y in px of the crop, depth in mm relative to the
        root.
    """

    def __init__(
            self, crop_side_px, n_depth_cells, depth_range_mm=voxels.DEPTH_RANGE_MM,
            method='argmax', sharpness=20.0, **kwargs):
        super().__init__(crop_side_px, n_depth_cells, depth_range_mm, **kwargs)
        self.method = checks.one_of(method, METHODS, 'method')
        self.sharpness = checks.positive(sharpness, 'sharpness')
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, volumes):
        volumes = voxels.split_joints(tf.cast(volumes, tf.float32), self.n_depth_cells)
        if self.method == 'soft_argmax':
            cells = self._mean_cells(volumes)
        else:
            highest = _highest(volumes)
            cells = tf.cast(highest, tf.float32)
            if self.method == 'refined':
                cells += _peak_offsets(volumes, highest)
        return self._to_coords25d(cells, tf.cast(tf.shape(volumes)[1], tf.float32))

    def _mean_cells(self, volumes):
        peak = tf.stop_gradient(tf.reduce_max(volumes, axis=[1, 2, 4], keepdims=True))
        masses = tf.exp(self.sharpness * (volumes - peak))
        plane = tf.reduce_sum(masses, axis=4)
        profiles = (
            tf.reduce_sum(plane, axis=1), tf.reduce_sum(plane, axis=2),
            tf.transpose(tf.reduce_sum(masses, axis=[1, 2]), [0, 2, 1]))
        return tf.stack([_mean_cell(profile) for profile in profiles], axis=-1)

    def _to_coords25d(self, cells, n_cells):
        near, far = self.depth_range_mm
        return tf.concat([
            (cells[..., :2] + 0.5) * (self.crop_side_px / n_cells),
            near + (cells[..., 2:] + 0.5) * ((far - near) / self.n_depth_cells)], axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[-1] // self.n_depth_cells, 3

    def get_config(self):
        return {**super().get_config(), 'method': self.method, 'sharpness': self.sharpness}


def _profile(cells, n_cells):
    """Gaussians `[..., n_cells]` around the cells `[...]`, cut off beyond the window."""
    window = voxels.window_cells(n_cells)
    distances = tf.range(n_cells) - cells[..., tf.newaxis]
    heights = tf.exp(tf.cast(-tf.square(distances), tf.float32) / (2 * (window / 4) ** 2))
    return tf.where(tf.abs(distances) <= window // 2, heights, 0.0)


def _highest(volumes):
    """Voxels `[batch, joints, 3]` (x, y, z), int32, of the highest scores."""
    shape = tf.shape(volumes)
    # The highest score of each column first: this is quick, and finds the column to look at.
    column_peaks = tf.reshape(
        tf.reduce_max(volumes, axis=-1), [shape[0], shape[1] * shape[2], shape[3]])
    columns = tf.argmax(column_peaks, axis=1, output_type=tf.int32)
    x, y = columns % shape[2], columns // shape[2]
    depth_scores = tf.gather_nd(volumes, _indices(x, y))
    return tf.stack([x, y, tf.argmax(depth_scores, axis=-1, output_type=tf.int32)], axis=-1)


def _indices(x, y, *z):
    """Indices into `[batch, y, x, joints, depth]` for `[batch, joints]` cells."""
    shape = tf.shape(x)
    examples = tf.repeat(tf.range(shape[0])[:, tf.newaxis], shape[1], axis=1)
    joints = tf.repeat(tf.range(shape[1])[tf.newaxis], shape[0], axis=0)
    return tf.stack([examples, y, x, joints, *z], axis=-1)


def _peak_offsets(volumes, cells):
    """Where parabolas through the scores peak, `[batch, joints, 3]`, in voxels from the centre."""
    shape = tf.shape(volumes)
    last = tf.stack([shape[2], shape[1], shape[4]]) - 1
    middle = _scores(volumes, cells)
    offsets = []
    for axis in range(3):
        step = tf.one_hot(axis, 3, dtype=tf.int32)
        before, after = (
            _scores(volumes, tf.clip_by_value(cells + move, 0, last)) for move in (-step, step))
        offset = tf.math.divide_no_nan(after - before, 2 * (2 * middle - before - after))
        is_inside = (cells[..., axis] > 0) & (cells[..., axis] < last[axis])
        offsets.append(tf.where(is_inside, offset, 0.0))
    return tf.stack(offsets, axis=-1)


def _scores(volumes, cells):
    return tf.gather_nd(volumes, _indices(*tf.unstack(cells, axis=-1)))


def _mean_cell(masses):
    """Mean position `[batch, joints]` of masses `[batch, cells, joints]`."""
    cells = tf.cast(tf.range(tf.shape(masses)[1]), masses.dtype)
    return tf.einsum('bcj,c->bj', masses, cells) / tf.reduce_sum(masses, axis=1)
