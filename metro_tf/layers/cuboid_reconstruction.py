"""Normalised coordinates to the camera frame."""

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import cuboid


@keras.utils.register_keras_serializable(package='metro_tf')
class CuboidReconstruction(keras.layers.Layer):
    """Places a normalised pose where its root has a given depth, or the person a given height.

    Float32 under any dtype policy.

    Source: Nibali et al., WACV 2019.

    Args:
        crop_side_px: Side of the square crop.
        height_edges: Sequence of pairs of joint indices, the bones that make up the height.
        height_mm: Their summed length, the universal scale.
        **kwargs: Base layer arguments.

    Call arguments:
        coords: Float tensor `[batch, joints, 3]`, see `cuboid`.
        intrinsics: Float tensor `[batch, 3, 3]` of the crop, px.
        root_depth_mm: Float tensor `[batch]` with the root's true depth, which replaces the one
            from the height. None by default.

    Returns:
        Float32 tensor `[batch, joints, 3]`, camera frame, mm.
    """

    def __init__(self, crop_side_px, height_edges, height_mm=cuboid.HEIGHT_MM, **kwargs):
        kwargs.setdefault('dtype', 'float32')
        super().__init__(**kwargs)
        self.crop_side_px = checks.positive(crop_side_px, 'crop_side_px')
        self.height_edges = tuple(tuple(int(i) for i in edge) for edge in height_edges)
        if not self.height_edges:
            raise ValueError(
                f'`height_edges` must contain at least one bone. Received: {height_edges}')
        self.height_mm = checks.positive(height_mm, 'height_mm')

    def call(self, coords, intrinsics, root_depth_mm=None):
        coords = tf.cast(coords, tf.float32)
        if root_depth_mm is None:
            root_depth_mm = cuboid.root_depth_from_height(
                coords, intrinsics, self.crop_side_px, self.height_edges, self.height_mm)
        return cuboid.to_camera_frame(coords, intrinsics, root_depth_mm, self.crop_side_px)

    def compute_output_shape(self, coords_shape, intrinsics_shape=None, root_depth_mm_shape=None):
        return tuple(coords_shape)

    def get_config(self):
        return {
            **super().get_config(), 'crop_side_px': self.crop_side_px,
            'height_edges': self.height_edges, 'height_mm': self.height_mm}
