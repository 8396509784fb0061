"""MeTRo: metric poses of unknown position from one crop."""

import dataclasses

import keras

from metro_tf.layers import heatmap_heads
from metro_tf.models import crop_model


@keras.utils.register_keras_serializable(package='metro_tf')
class Metro(crop_model.CropModel):
    """Predicts the metric pose up to a translation from a crop alone.

    Source: Sarandi et al., FG 2020.

    Args:
        backbone: Keras model from images `[batch, side, side, 3]` in `[0, 1]` to features of
            stride `stride_px` (see `backbones.builder`).
        joint_names: Sequence of names out of the vocabulary of `skeleton`.
        edges: Sequence of pairs of joint indices, the bones.
        crop_side_px: Side of the square crop. It is part of the model and cannot change after
            training, because the metric volume stands for the whole crop.
        stride_px: Stride of the features.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Side of the metric box that the volume stands for.
        centered: Whether the cells of the features are centred (see `config.HeatmapConfig`).
        test_stride_px: Stride of the features out of training, if it differs: the one that the
            backbone was built with (see `backbones.builder`).
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: The image `[batch, side, side, 3]` (RGB, floats in `[0, 1]` or integers in
            `[0, 255]`); or the inputs of `Metrabs`, of which the intrinsics are ignored.
        training: Boolean.

    Returns:
        Float32 tensor `[batch, joints, 3]`, mm, axes as in the camera frame. The origin is a
        corner of the metric box: only differences between joints are meaningful.
    """

    is_absolute = False

    def __init__(
            self, backbone, joint_names, edges, crop_side_px=256, stride_px=32, n_depth_cells=8,
            box_size_mm=2200.0, *, centered=True, test_stride_px=None, **kwargs):
        super().__init__(
            backbone, joint_names, edges, crop_side_px, stride_px, n_depth_cells, box_size_mm,
            centered=centered, test_stride_px=test_stride_px, **kwargs)
        self.heads = heatmap_heads.MetricHeatmapHead(
            len(joint_names), **dataclasses.asdict(self.heatmap_config), name='heads')
        self.build()

    def call(self, inputs, training=False):
        return self.predict_heatmaps(inputs, training)['coords3d_rel']

    def predict_heatmaps(self, inputs, training=False):
        """Like `call`, with the logits, for losses on heatmaps.

        Args:
            inputs: See the class.
            training: Boolean.

        Returns:
            Dict of float32 tensors: logits3d `[batch, y, x, depth, joints]` and coords3d_rel
            `[batch, joints, 3]` in mm from a corner of the metric box.

        Raises:
            ValueError: If a static size does not fit.
        """
        image, _ = crop_model.split_inputs(inputs)
        logits3d = self.predict_logits(image, training)
        return {'logits3d': logits3d, 'coords3d_rel': self.heads.decode(logits3d, training)}
