"""MeTRAbs: absolute poses from one crop."""

import dataclasses

import keras

from metro_tf.layers import absolute_reconstruction, heatmap_heads
from metro_tf.models import crop_model


@keras.utils.register_keras_serializable(package='metro_tf')
class Metrabs(crop_model.CropModel):
    """Predicts the joints in the camera frame from a crop and its intrinsics.

    A 2D and a metric 3D heatmap head share one backbone; the absolute position follows from the
    agreement of both (Sarandi et al., T-BIOM 2021).

    Args:
        backbone: Keras model from images `[batch, side, side, 3]` in `[0, 1]` to features of
            stride `stride_px` (see `backbones.builder`).
        joint_names: Sequence of names out of the vocabulary of `skeleton`.
        edges: Sequence of pairs of joint indices, the bones.
        crop_side_px: Side of the square crop. It is part of the model and cannot change after
            training: the metric volume and the field of view are given in these pixels.
        stride_px: Stride of the features. Joints closer than 0.75 strides to the crop's border
            count as outside the field of view.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Side of the metric box that the volume stands for.
        centered: Whether the cells of the features are centred (see `config.HeatmapConfig`).
        test_stride_px: Stride of the features out of training, if it differs: the one that the
            backbone was built with (see `backbones.builder`).
        weak_perspective: See `AbsoluteReconstruction`.
        mix_3d_inside_fov: See `AbsoluteReconstruction`.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: Dict with 'image' `[batch, side, side, 3]` (RGB, floats in `[0, 1]` or integers in
            `[0, 255]`) and 'intrinsics' `[batch, 3, 3]` of the crop in px; or a tuple of both.
        training: Boolean.

    Returns:
        Float32 tensor `[batch, joints, 3]`, camera frame, mm.
    """

    has_uncertainty = True

    def __init__(
            self, backbone, joint_names, edges, crop_side_px=256, stride_px=32, n_depth_cells=8,
            box_size_mm=2200.0, *, centered=True, test_stride_px=None, weak_perspective=False,
            mix_3d_inside_fov=0.5, **kwargs):
        super().__init__(
            backbone, joint_names, edges, crop_side_px, stride_px, n_depth_cells, box_size_mm,
            centered=centered, test_stride_px=test_stride_px, **kwargs)
        self.heads = heatmap_heads.MetrabsHeads(
            len(joint_names), **dataclasses.asdict(self.heatmap_config), name='heads')
        self.reconstruction = absolute_reconstruction.AbsoluteReconstruction(
            crop_side_px, stride_px, weak_perspective, mix_3d_inside_fov, centered=centered,
            name='reconstruction')
        self.build()

    def call(self, inputs, training=False):
        return self.predict_heatmaps(inputs, training)['coords3d_cam']

    def predict_heatmaps(self, inputs, training=False):
        """Like `call`, with everything on the way, for losses on heatmaps.

        Args:
            inputs: See the class.
            training: Boolean.

        Returns:
            Dict of float32 tensors: logits2d `[batch, y, x, joints]`, logits3d
            `[batch, y, x, depth, joints]`, coords2d `[batch, joints, 2]` in px of the crop,
            coords3d_rel `[batch, joints, 3]` in mm from a corner of the metric box, and
            coords3d_cam `[batch, joints, 3]` in mm in the camera frame.

        Raises:
            ValueError: If the intrinsics are missing or a static size does not fit.
        """
        image, intrinsics = crop_model.split_calibrated_inputs(inputs)
        logits2d, logits3d = self.predict_logits(image, training)
        coords2d, coords3d_rel = self.heads.decode(logits2d, logits3d, training)
        coords3d_cam = self.reconstruction(
            coords2d, coords3d_rel, intrinsics, training=training)
        return {
            'logits2d': logits2d, 'logits3d': logits3d, 'coords2d': coords2d,
            'coords3d_rel': coords3d_rel, 'coords3d_cam': coords3d_cam}

    def _joint_variances(self, outputs, inputs):
        return self.heads.variances(outputs['logits3d'])

    def get_config(self):
        return {
            **super().get_config(),
            'weak_perspective': self.reconstruction.weak_perspective,
            'mix_3d_inside_fov': self.reconstruction.mix_3d_inside_fov}
