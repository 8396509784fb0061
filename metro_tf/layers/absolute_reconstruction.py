"""Pixels and relative millimetres to the camera frame."""

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import camera, reconstruction


@keras.utils.register_keras_serializable(package='metro_tf')
class AbsoluteReconstruction(keras.layers.Layer):
    """Finds where the relative pose lies in the camera frame so that it projects to the 2D pose.

    Joints whose 2D point lies closer than 0.75 strides to the crop's border do not count, since a
    heatmap cannot tell how far beyond the border a joint is. Inside, the result is a mix of the
    translated 3D pose and of the back-projected 2D pose. Always computed in float32.

    Source: Sarandi et al., T-BIOM 2021 (full and weak perspective); MeTRAbs for the mix.

    Args:
        crop_side_px: Side of the square crop.
        stride_px: Distance of neighbouring heatmap cells in training.
        weak_perspective: Whether to use the weak-perspective solution, which is rougher but safe
            for the inconsistent heads of an untrained model.
        mix_3d_inside_fov: Weight in `[0, 1]` of the translated 3D pose against the back-projected
            2D pose, inside the field of view. In training it is drawn uniformly per example, so
            that both heads learn.
        centered: Whether heatmap cells are centred, see `camera.is_within_fov`.
        **kwargs: Base layer arguments.

    Call arguments:
        coords2d: Float tensor `[batch, joints, 2]`, px in the crop.
        coords3d_rel: Float tensor `[batch, joints, 3]`, mm, up to a translation.
        intrinsics: Float tensor `[batch, 3, 3]` of the crop, px.
        training: Boolean.

    Returns:
        Float32 tensor `[batch, joints, 3]`, camera frame, mm.
    """

    def __init__(
            self, crop_side_px, stride_px, weak_perspective=False, mix_3d_inside_fov=0.5, *,
            centered=True, **kwargs):
        kwargs.setdefault('dtype', 'float32')
        super().__init__(**kwargs)
        self.crop_side_px = checks.positive(crop_side_px, 'crop_side_px')
        self.stride_px = checks.positive(stride_px, 'stride_px')
        self.centered = centered
        self.weak_perspective = weak_perspective
        if not 0 <= mix_3d_inside_fov <= 1:
            raise ValueError(
                '`mix_3d_inside_fov` must be between 0 and 1. '
                f'Received: mix_3d_inside_fov={mix_3d_inside_fov}')
        self.mix_3d_inside_fov = mix_3d_inside_fov

    def call(self, coords2d, coords3d_rel, intrinsics, training=False):
        coords2d, coords3d_rel, intrinsics = (
            tf.cast(tensor, tf.float32) for tensor in (coords2d, coords3d_rel, intrinsics))
        is_in_fov = camera.is_within_fov(
            coords2d, self.crop_side_px, self.stride_px, centered=self.centered)
        mix = self.mix_3d_inside_fov
        if training:
            mix = tf.random.uniform([tf.shape(coords2d)[0], 1, 1])
        return reconstruction.reconstruct_absolute(
            coords2d, coords3d_rel, intrinsics, is_in_fov, mix_3d_inside_fov=mix,
            weak_perspective=self.weak_perspective)

    def compute_output_shape(self, coords2d_shape, coords3d_rel_shape, intrinsics_shape):
        return tuple(coords3d_rel_shape)

    def get_config(self):
        return {
            **super().get_config(), 'crop_side_px': self.crop_side_px,
            'stride_px': self.stride_px, 'weak_perspective': self.weak_perspective,
            'mix_3d_inside_fov': self.mix_3d_inside_fov, 'centered': self.centered}
