"""Features to heatmap logits by one 1x1 convolution, and logits to coordinates."""

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.layers import heatmap_coords, soft_argmax


class _HeatmapHead(keras.layers.Layer):
    """What all heads share: the settings and the convolution. Subclasses decode.

    The convolution follows the dtype policy; from the logits on everything is float32.
    """

    def __init__(
            self, n_joints, crop_side_px=256, stride_px=32, n_depth_cells=8, box_size_mm=2200.0,
            **kwargs):
        super().__init__(**kwargs)
        self.n_joints = checks.positive(n_joints, 'n_joints')
        self.crop_side_px = checks.positive(crop_side_px, 'crop_side_px')
        self.stride_px = checks.positive(stride_px, 'stride_px')
        self.n_depth_cells = checks.positive(n_depth_cells, 'n_depth_cells')
        self.box_size_mm = checks.positive(box_size_mm, 'box_size_mm')
        self.conv = keras.layers.Conv2D(
            self._n_channels(), 1, name='conv', dtype=kwargs.get('dtype'))
        self.soft_argmax3d = soft_argmax.SoftArgmax((2, 1, 3), name='soft_argmax3d')

    def build(self, input_shape):
        if not self.conv.built:  # `logits` may have come first
            self.conv.build(input_shape)
        super().build(input_shape)

    def _n_channels(self):
        raise NotImplementedError

    def _conv_logits(self, features):
        return tf.cast(self.conv(features), tf.float32)

    def _split_depth(self, logits):
        """`[batch, y, x, depth * joints]`, depth the slow index, to `[..., depth, joints]`."""
        static = logits.shape[:-1]
        dynamic = tf.shape(logits)
        sizes = [dynamic[i] if size is None else size for i, size in enumerate(static)]
        return tf.reshape(logits, [*sizes, self.n_depth_cells, self.n_joints])

    def get_config(self):
        return {
            **super().get_config(), 'n_joints': self.n_joints, 'crop_side_px': self.crop_side_px,
            'stride_px': self.stride_px, 'n_depth_cells': self.n_depth_cells,
            'box_size_mm': self.box_size_mm}


class _VolumeHead(_HeatmapHead):
    """A head of one volume per joint and nothing else. Subclasses define `decode`."""

    def _n_channels(self):
        return self.n_depth_cells * self.n_joints

    def call(self, features):
        return self.decode(self.logits(features))

    def logits(self, features):
        """Features to float32 logits `[batch, y, x, depth, joints]`."""
        return self._split_depth(self._conv_logits(features))

    def decode(self, logits3d):
        raise NotImplementedError

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.n_joints, 3


@keras.utils.register_keras_serializable(package='metro_tf')
class MetricHeatmapHead(_VolumeHead):
    """The MeTRo head: features to metric coordinates through a volumetric heatmap.

    Channel `d * n_joints + j` of the convolution is the logit of joint j in depth plane d.

    Source: Sarandi et al., FG 2020.

    Args:
        n_joints: Number of joints.
        crop_side_px: Side of the square crop that the features come from.
        stride_px: Stride of the features.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Side of the metric box that the volume stands for.
        **kwargs: Base layer arguments.

    Call arguments:
        features: Float tensor `[batch, y, x, channels]`.

    Returns:
        Float32 tensor `[batch, n_joints, 3]`, mm, with an arbitrary origin (a corner of the box).
    """

    def __init__(
            self, n_joints, crop_side_px=256, stride_px=32, n_depth_cells=8, box_size_mm=2200.0,
            **kwargs):
        super().__init__(
            n_joints, crop_side_px, stride_px, n_depth_cells, box_size_mm, **kwargs)
        self.to_metric = heatmap_coords.HeatmapToMetric(
            crop_side_px, stride_px, box_size_mm, name='to_metric')

    def decode(self, logits3d):
        """Logits `[batch, y, x, depth, joints]` to coordinates `[batch, joints, 3]` in mm."""
        return self.to_metric(self.soft_argmax3d(logits3d))


@keras.utils.register_keras_serializable(package='metro_tf')
class Heatmap25DHead(_VolumeHead):
    """The 2.5D head: features to pixels and relative depths through a volumetric heatmap.

    Channel `d * n_joints + j` of the convolution is the logit of joint j in depth plane d.

    Source: the 2.5D baseline of Sarandi et al., FG 2020.

    Args:
        n_joints: Number of joints.
        crop_side_px: Side of the square crop that the features come from.
        stride_px: Stride of the features.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Extent in depth that the volume stands for.
        **kwargs: Base layer arguments.

    Call arguments:
        features: Float tensor `[batch, y, x, channels]`.

    Returns:
        Float32 tensor `[batch, n_joints, 3]`: x and y in px of the crop, and depth in mm with an
        arbitrary origin (the front of the box).
    """

    def __init__(
            self, n_joints, crop_side_px=256, stride_px=32, n_depth_cells=8, box_size_mm=2200.0,
            **kwargs):
        super().__init__(
            n_joints, crop_side_px, stride_px, n_depth_cells, box_size_mm, **kwargs)
        self.to_25d = heatmap_coords.HeatmapTo25D(
            crop_side_px, stride_px, box_size_mm, name='to_25d')

    def decode(self, logits3d):
        """Logits `[batch, y, x, depth, joints]` to `[batch, joints, 3]` in px, px and mm."""
        return self.to_25d(self.soft_argmax3d(logits3d))


@keras.utils.register_keras_serializable(package='metro_tf')
class MetrabsHeads(_HeatmapHead):
    """The two MeTRAbs heads in one convolution: 2D pixels and relative 3D millimetres.

    The first `n_joints` channels of the convolution are the 2D logits; channel
    `(1 + d) * n_joints + j` is the 3D logit of joint j in depth plane d.

    Source: Sarandi et al., T-BIOM 2021.

    Args:
        n_joints: Number of joints.
        crop_side_px: Side of the square crop that the features come from.
        stride_px: Stride of the features.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Side of the metric box that the volume stands for.
        **kwargs: Base layer arguments.

    Call arguments:
        features: Float tensor `[batch, y, x, channels]`.

    Returns:
        Tuple of float32 tensors: coords2d `[batch, n_joints, 2]` in px of the crop, and
        coords3d_rel `[batch, n_joints, 3]` in mm with an arbitrary origin.
    """

    def __init__(
            self, n_joints, crop_side_px=256, stride_px=32, n_depth_cells=8, box_size_mm=2200.0,
            **kwargs):
        super().__init__(
            n_joints, crop_side_px, stride_px, n_depth_cells, box_size_mm, **kwargs)
        self.soft_argmax2d = soft_argmax.SoftArgmax((2, 1), name='soft_argmax2d')
        self.to_image = heatmap_coords.HeatmapToImage(crop_side_px, stride_px, name='to_image')
        self.to_metric = heatmap_coords.HeatmapToMetric(
            crop_side_px, stride_px, box_size_mm, name='to_metric')

    def _n_channels(self):
        return (1 + self.n_depth_cells) * self.n_joints

    def call(self, features):
        return self.decode(*self.logits(features))

    def logits(self, features):
        """Features to float32 logits `[batch, y, x, joints]` and `[batch, y, x, depth, joints]`."""
        logits = self._conv_logits(features)
        return logits[..., :self.n_joints], self._split_depth(logits[..., self.n_joints:])

    def decode(self, logits2d, logits3d):
        """Logits to coords2d `[batch, joints, 2]` in px and coords3d_rel `[..., 3]` in mm."""
        coords3d_rel = self.to_metric(self.soft_argmax3d(logits3d))
        return self.to_image(self.soft_argmax2d(logits2d)), coords3d_rel

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.n_joints, 2), (input_shape[0], self.n_joints, 3)
