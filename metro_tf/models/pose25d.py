"""2.5D: image points and relative depths from one crop, absolute poses by bone lengths."""

from collections.abc import Mapping
import dataclasses

import keras

from metro_tf.layers import heatmap_heads, root_depth_reconstruction
from metro_tf.models import crop_model


@keras.utils.register_keras_serializable(package='metro_tf')
class Pose25D(crop_model.CropModel):
    """Predicts pixels and relative depths of the joints, and their absolute position by scale.

    One volumetric heatmap per joint stands for pixels in x and y and for millimetres in depth. How
    far the person is from the camera follows from the typical lengths of bones, so people of
    another size than theirs come out at a wrong distance and size.

    Source: the 2.5D baseline of Sarandi et al., FG 2020.

    Args:
        backbone: Keras model from images `[batch, side, side, 3]` in `[0, 1]` to features of
            stride `stride_px` (see `backbones.builder`).
        joint_names: Sequence of names out of the vocabulary of `skeleton`.
        edges: Sequence of pairs of joint indices, the bones; at least one.
        crop_side_px: Side of the square crop. It is part of the model and cannot change after
            training: pixels and the field of view are given in it.
        stride_px: Stride of the features. Bones with an end closer than 0.75 strides to the crop's
            border count as outside the field of view.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Extent in depth that the volume stands for.
        centered: Whether the cells of the features are centred (see `config.HeatmapConfig`).
        test_stride_px: Stride of the features out of training, if it differs: the one that the
            backbone was built with (see `backbones.builder`).
        bone_lengths_mm: Sequence of floats, the typical length of each of `edges`, usually the
            mean over the training examples.
        i_root_joint: Index of the joint that a given root depth is the depth of, or None for the
            mean of all joints.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: Dict with 'image' `[batch, side, side, 3]` (RGB, floats in `[0, 1]` or integers in
            `[0, 255]`), 'intrinsics' `[batch, 3, 3]` of the crop in px and, where the true depth
            of the root shall replace the one from bone lengths, 'root_depth_mm' `[batch]`; or a
            tuple of the first two.
        training: Boolean.

    Returns:
        Float32 tensor `[batch, joints, 3]`, camera frame, mm.
    """

    def __init__(
            self, backbone, joint_names, edges, crop_side_px=256, stride_px=32, n_depth_cells=8,
            box_size_mm=2200.0, *, centered=True, test_stride_px=None, bone_lengths_mm,
            i_root_joint=None, **kwargs):
        super().__init__(
            backbone, joint_names, edges, crop_side_px, stride_px, n_depth_cells, box_size_mm,
            centered=centered, test_stride_px=test_stride_px, **kwargs)
        self.heads = heatmap_heads.Heatmap25DHead(
            len(joint_names), **dataclasses.asdict(self.heatmap_config), name='heads')
        self.reconstruction = root_depth_reconstruction.RootDepthReconstruction(
            crop_side_px, stride_px, self.joint_edges, bone_lengths_mm, i_root_joint,
            centered=centered, name='reconstruction')
        self.build()

    @property
    def bone_lengths_mm(self):
        """Tuple of the typical length of each of `joint_edges`."""
        return self.reconstruction.bone_lengths_mm

    def call(self, inputs, training=False):
        return self.predict_heatmaps(inputs, training)['coords3d_cam']

    def predict_heatmaps(self, inputs, training=False):
        """Like `call`, with everything on the way, for losses on heatmaps.

        Args:
            inputs: See the class.
            training: Boolean.

        Returns:
            Dict of float32 tensors: logits3d `[batch, y, x, depth, joints]`, coords25d
            `[batch, joints, 3]` with x and y in px of the crop and z in mm from the front of the
            metric box, and coords3d_cam `[batch, joints, 3]` in mm in the camera frame.

        Raises:
            ValueError: If the intrinsics are missing or a static size does not fit.
        """
        image, intrinsics = crop_model.split_calibrated_inputs(inputs)
        root_depth_mm = inputs.get('root_depth_mm') if isinstance(inputs, Mapping) else None
        logits3d = self.predict_logits(image, training)
        coords25d = self.heads.decode(logits3d, training)
        coords3d_cam = self.reconstruction(coords25d, intrinsics, root_depth_mm)
        return {'logits3d': logits3d, 'coords25d': coords25d, 'coords3d_cam': coords3d_cam}

    def get_config(self):
        return {
            **super().get_config(),
            'bone_lengths_mm': list(self.bone_lengths_mm),
            'i_root_joint': self.reconstruction.i_root_joint}
