"""MeTRAbs through latent points, from which the joints are decoded."""

import dataclasses

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.layers import absolute_reconstruction, affine_combination, heatmap_heads
from metro_tf.models import crop_model


@keras.utils.register_keras_serializable(package='metro_tf')
class LatentMetrabs(crop_model.CropModel):
    """Predicts latent points in 2D and 3D, places them in the camera frame, decodes the joints.

    The decoder is fixed: that of an `AffineAutoencoder`, see `set_decoder`. The hybrid predicts
    all joints besides, as the teacher of the latent points in training; in inference they do not
    count.

    For its uncertainty, the latent points are taken as independent of each other.

    Source: direct latent prediction and the hybrid of Sarandi et al., WACV 2023.

    Args:
        backbone: Keras model from images `[batch, side, side, 3]` in `[0, 1]` to features of
            stride `stride_px` (see `backbones.builder`).
        joint_names: Sequence of names of the decoded joints, out of the vocabulary of `skeleton`.
        edges: Sequence of pairs of joint indices, the bones.
        crop_side_px: Side of the square crop, see `Metrabs`.
        stride_px: Stride of the features, see `Metrabs`.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Side of the metric box that the volume stands for.
        centered, test_stride_px: See `Metrabs`.
        weak_perspective, mix_3d_inside_fov: See `AbsoluteReconstruction`.
        n_latents: Number of latent points.
        is_hybrid: Whether the head predicts the latent points and then all joints.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: See `Metrabs`.
        training: Boolean.

    Returns:
        Float32 tensor `[batch, joints, 3]`, camera frame, mm: the decoded joints.
    """

    has_uncertainty = True

    def __init__(
            self, backbone, joint_names, edges, crop_side_px=256, stride_px=32, n_depth_cells=8,
            box_size_mm=2200.0, *, centered=True, test_stride_px=None, weak_perspective=False,
            mix_3d_inside_fov=0.5, n_latents, is_hybrid=False, **kwargs):
        super().__init__(
            backbone, joint_names, edges, crop_side_px, stride_px, n_depth_cells, box_size_mm,
            centered=centered, test_stride_px=test_stride_px, **kwargs)
        self.n_latents = checks.positive(n_latents, 'n_latents')
        self.is_hybrid = is_hybrid
        self.heads = heatmap_heads.MetrabsHeads(
            n_latents + (len(joint_names) if is_hybrid else 0),
            **dataclasses.asdict(self.heatmap_config), name='heads')
        self.reconstruction = absolute_reconstruction.AbsoluteReconstruction(
            crop_side_px, stride_px, weak_perspective, mix_3d_inside_fov, centered=centered,
            name='reconstruction')
        self.decoder = affine_combination.AffineCombination(
            n_latents, len(joint_names), trainable=False, name='decoder')
        self.build()

    def build(self, input_shape=None):
        self.decoder.build((None, self.n_latents, 3))
        super().build(input_shape)

    def set_decoder(self, autoencoder):
        """Takes over the decoder of an `AffineAutoencoder` of the same joints.

        Raises:
            ValueError: If the joints or the number of latent points differ.
        """
        if autoencoder.joint_names != self.joint_names or autoencoder.n_latents != self.n_latents:
            raise ValueError(
                f'`autoencoder` must have {self.n_latents} latent points and the joints '
                f'{self.joint_names}. Received: {autoencoder.n_latents} and '
                f'{autoencoder.joint_names}')
        self.decoder.set_matrix(autoencoder.decoder.matrix())

    def call(self, inputs, training=False):
        return self.predict_heatmaps(inputs, training)['coords3d_cam']

    def predict_heatmaps(self, inputs, training=False):
        """Like `call`, with everything on the way, for losses on points.

        Args:
            inputs: See the class.
            training: Boolean.

        Returns:
            Dict of float32 tensors. Of all points that the head predicts, latent ones first:
            logits2d `[batch, y, x, points]`, logits3d `[batch, y, x, depth, points]`, coords2d
            `[batch, points, 2]` in px of the crop and coords3d_rel `[batch, points, 3]` in mm
            from a corner of the metric box. In the camera frame in mm: latents3d_cam
            `[batch, latents, 3]`, coords3d_cam `[batch, joints, 3]`, decoded from them, and of
            the hybrid joints3d_cam `[batch, joints, 3]`, predicted and placed on their own.

        Raises:
            ValueError: If the intrinsics are missing or a static size does not fit.
        """
        image, intrinsics = crop_model.split_calibrated_inputs(inputs)
        logits2d, logits3d = self.predict_logits(image, training)
        coords2d, coords3d_rel = self.heads.decode(logits2d, logits3d, training)
        latents, joints = slice(self.n_latents), slice(self.n_latents, None)
        latents3d_cam = self.reconstruction(
            coords2d[:, latents], coords3d_rel[:, latents], intrinsics, training=training)
        outputs = {
            'logits2d': logits2d, 'logits3d': logits3d, 'coords2d': coords2d,
            'coords3d_rel': coords3d_rel, 'latents3d_cam': latents3d_cam,
            'coords3d_cam': self.decoder(latents3d_cam)}
        if self.is_hybrid:
            outputs['joints3d_cam'] = self.reconstruction(
                coords2d[:, joints], coords3d_rel[:, joints], intrinsics, training=training)
        return outputs

    def _joint_variances(self, outputs, inputs):
        latents = self.heads.variances(outputs['logits3d'][..., :self.n_latents])
        return tf.einsum('blc,lj->bjc', latents, tf.square(self.decoder.matrix()))

    def get_config(self):
        return {
            **super().get_config(),
            'weak_perspective': self.reconstruction.weak_perspective,
            'mix_3d_inside_fov': self.reconstruction.mix_3d_inside_fov,
            'n_latents': self.n_latents, 'is_hybrid': self.is_hybrid}
