"""Pixels and relative depths to the camera frame."""

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import camera, root_depth


@keras.utils.register_keras_serializable(package='metro_tf')
class RootDepthReconstruction(keras.layers.Layer):
    """Finds how deep the person stands so that the bones get their typical lengths.

    Bones with an end closer than 0.75 strides to the crop's border do not count, since a heatmap
    cannot tell how far beyond the border a joint is. Without any other bone all count. Results are
    float32 under any dtype policy.

    Source: the 2.5D baseline of Sarandi et al., FG 2020.

    Args:
        crop_side_px: Side of the square crop.
        stride_px: Distance of neighbouring heatmap cells in training.
        edges: Sequence of pairs of joint indices, the bones; at least one.
        bone_lengths_mm: Sequence of floats, the length of each bone.
        i_root_joint: Index of the joint that relative depths refer to, or None for the mean of
            all joints. It matters for `root_depth_mm` only.
        centered: Whether heatmap cells are centred, see `camera.is_within_fov`.
        **kwargs: Base layer arguments.

    Call arguments:
        coords25d: Float tensor `[batch, joints, 3]`: x and y in px of the crop, depth in mm from
            an arbitrary origin.
        intrinsics: Float tensor `[batch, 3, 3]` of the crop, px.
        root_depth_mm: Float tensor `[batch]` with the root's true depth, which replaces the one
            from bone lengths. None by default.

    Returns:
        Float32 tensor `[batch, joints, 3]`, camera frame, mm.
    """

    def __init__(
            self, crop_side_px, stride_px, edges, bone_lengths_mm, i_root_joint=None, *,
            centered=True, **kwargs):
        kwargs.setdefault('dtype', 'float32')
        super().__init__(**kwargs)
        self.crop_side_px = checks.positive(crop_side_px, 'crop_side_px')
        self.stride_px = checks.positive(stride_px, 'stride_px')
        self.edges = tuple(tuple(int(i) for i in edge) for edge in edges)
        self.bone_lengths_mm = tuple(
            checks.positive(float(length), 'bone_lengths_mm') for length in bone_lengths_mm)
        if not self.edges or len(self.bone_lengths_mm) != len(self.edges):
            raise ValueError(
                '`bone_lengths_mm` must have one length for each of at least one edge. Received: '
                f'{len(self.bone_lengths_mm)} lengths for {len(self.edges)} edges')
        self.i_root_joint = i_root_joint
        self.centered = centered

    def call(self, coords25d, intrinsics, root_depth_mm=None):
        coords25d = tf.cast(coords25d, tf.float32)
        if root_depth_mm is None:
            is_in_fov = camera.is_within_fov(
                coords25d[..., :2], self.crop_side_px, self.stride_px, centered=self.centered)
            root_depth_mm = root_depth.from_bone_lengths(
                coords25d, intrinsics, self.edges, self.bone_lengths_mm, is_in_fov,
                i_root_joint=self.i_root_joint)
        return root_depth.to_camera_frame(
            coords25d, intrinsics, root_depth_mm, i_root_joint=self.i_root_joint)

    def compute_output_shape(
            self, coords25d_shape, intrinsics_shape=None, root_depth_mm_shape=None):
        return tuple(coords25d_shape)

    def get_config(self):
        return {
            **super().get_config(), 'crop_side_px': self.crop_side_px,
            'stride_px': self.stride_px, 'edges': self.edges,
            'bone_lengths_mm': self.bone_lengths_mm, 'i_root_joint': self.i_root_joint,
            'centered': self.centered}
