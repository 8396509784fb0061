"""Features to heatmap logits by one 1x1 convolution, and logits to coordinates."""

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.layers import heatmap_coords, soft_argmax


class _HeatmapHead(keras.layers.Layer):
    """What all heads share: the settings and the convolution. Subclasses decode.

    The convolution and all after it are float32 under any dtype policy: logits of ten or more
    would be rounded to steps of 0.01 in float16 and of 0.06 in bfloat16.
    """

    def __init__(
            self, n_joints, crop_side_px=256, stride_px=32, n_depth_cells=8, box_size_mm=2200.0,
            *, centered=True, test_stride_px=None, **kwargs):
        super().__init__(**kwargs)
        self.n_joints = checks.positive(n_joints, 'n_joints')
        self.crop_side_px = checks.positive(crop_side_px, 'crop_side_px')
        self.stride_px = checks.positive(stride_px, 'stride_px')
        self.n_depth_cells = checks.positive(n_depth_cells, 'n_depth_cells')
        self.box_size_mm = checks.positive(box_size_mm, 'box_size_mm')
        self.centered = centered
        self.test_stride_px = test_stride_px
        self.conv = keras.layers.Conv2D(
            self._n_channels(), 1, name='conv', dtype='float32')
        self.soft_argmax3d = soft_argmax.SoftArgmax((2, 1, 3), name='soft_argmax3d')

    def build(self, input_shape):
        if not self.conv.built:  # `logits` may have come first
            self.conv.build(input_shape)
        super().build(input_shape)

    def _n_channels(self):
        raise NotImplementedError

    def _cell_settings(self):
        """Which cells the coordinate layers get, as their keyword arguments."""
        return {
            'crop_side_px': self.crop_side_px, 'stride_px': self.stride_px,
            'centered': self.centered, 'test_stride_px': self.test_stride_px}

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
            'box_size_mm': self.box_size_mm, 'centered': self.centered,
            'test_stride_px': self.test_stride_px}


class _VolumeHead(_HeatmapHead):
    """A head of one volume per joint and nothing else. Subclasses define `decode`."""

    def _n_channels(self):
        return self.n_depth_cells * self.n_joints

    def call(self, features, training=False):
        return self.decode(self.logits(features), training)

    def logits(self, features):
        """Features to float32 logits `[batch, y, x, depth, joints]`."""
        return self._split_depth(self.conv(features))

    def decode(self, logits3d, training=False):
        """Logits `[batch, y, x, depth, joints]` to the output of the layer."""
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
        stride_px: Stride of the features in training.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Side of the metric box that the volume stands for.
        centered: Whether the first cell lies at half a stride; else at 0.
        test_stride_px: Stride of the features out of training, if it differs.
        **kwargs: Base layer arguments.

    Call arguments:
        features: Float tensor `[batch, y, x, channels]`.
        training: Boolean, which stride the features have.

    Returns:
        Float32 tensor `[batch, n_joints, 3]`, mm, with an arbitrary origin (a corner of the box).
    """

    def __init__(
            self, n_joints, crop_side_px=256, stride_px=32, n_depth_cells=8, box_size_mm=2200.0,
            *, centered=True, test_stride_px=None, **kwargs):
        super().__init__(
            n_joints, crop_side_px, stride_px, n_depth_cells, box_size_mm, centered=centered,
            test_stride_px=test_stride_px, **kwargs)
        self.to_metric = heatmap_coords.HeatmapToMetric(
            **self._cell_settings(), box_size_mm=box_size_mm, name='to_metric')

    def decode(self, logits3d, training=False):
        """Logits `[batch, y, x, depth, joints]` to coordinates `[batch, joints, 3]` in mm."""
        return self.to_metric(self.soft_argmax3d(logits3d), training=training)


@keras.utils.register_keras_serializable(package='metro_tf')
class Heatmap25DHead(_VolumeHead):
    """The 2.5D head: features to pixels and relative depths through a volumetric heatmap.

    Channel `d * n_joints + j` of the convolution is the logit of joint j in depth plane d.

    Source: the 2.5D baseline of Sarandi et al., FG 2020.

    Args:
        n_joints: Number of joints.
        crop_side_px: Side of the square crop that the features come from.
        stride_px: Stride of the features in training.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Extent in depth that the volume stands for.
        centered: Whether the first cell lies at half a stride; else at 0.
        test_stride_px: Stride of the features out of training, if it differs.
        **kwargs: Base layer arguments.

    Call arguments:
        features: Float tensor `[batch, y, x, channels]`.
        training: Boolean, which stride the features have.

    Returns:
        Float32 tensor `[batch, n_joints, 3]`: x and y in px of the crop, and depth in mm with an
        arbitrary origin (the front of the box).
    """

    def __init__(
            self, n_joints, crop_side_px=256, stride_px=32, n_depth_cells=8, box_size_mm=2200.0,
            *, centered=True, test_stride_px=None, **kwargs):
        super().__init__(
            n_joints, crop_side_px, stride_px, n_depth_cells, box_size_mm, centered=centered,
            test_stride_px=test_stride_px, **kwargs)
        self.to_25d = heatmap_coords.HeatmapTo25D(
            **self._cell_settings(), box_size_mm=box_size_mm, name='to_25d')

    def decode(self, logits3d, training=False):
        """Logits `[batch, y, x, depth, joints]` to `[batch, joints, 3]` in px, px and mm."""
        return self.to_25d(self.soft_argmax3d(logits3d), training=training)


@keras.utils.register_keras_serializable(package='metro_tf')
class MetrabsHeads(_HeatmapHead):
    """The two MeTRAbs heads in one convolution: 2D pixels and relative 3D millimetres.

    The first `n_joints` channels of the convolution are the 2D logits; channel
    `(1 + d) * n_joints + j` is the 3D logit of joint j in depth plane d.

    Source: Sarandi et al., T-BIOM 2021.

    Args:
        n_joints: Number of joints.
        crop_side_px: Side of the square crop that the features come from.
        stride_px: Stride of the features in training.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Side of the metric box that the volume stands for.
        centered: Whether the first cell lies at half a stride; else at 0.
        test_stride_px: Stride of the features out of training, if it differs.
        **kwargs: Base layer arguments.

    Call arguments:
        features: Float tensor `[batch, y, x, channels]`.
        training: Boolean, which stride the features have.

    Returns:
        Tuple of float32 tensors: coords2d `[batch, n_joints, 2]` in px of the crop, and
        coords3d_rel `[batch, n_joints, 3]` in mm with an arbitrary origin.
    """

    def __init__(
            self, n_joints, crop_side_px=256, stride_px=32, n_depth_cells=8, box_size_mm=2200.0,
            *, centered=True, test_stride_px=None, **kwargs):
        super().__init__(
            n_joints, crop_side_px, stride_px, n_depth_cells, box_size_mm, centered=centered,
            test_stride_px=test_stride_px, **kwargs)
        self.soft_argmax2d = soft_argmax.SoftArgmax((2, 1), name='soft_argmax2d')
        self.to_image = heatmap_coords.HeatmapToImage(**self._cell_settings(), name='to_image')
        self.to_metric = heatmap_coords.HeatmapToMetric(
            **self._cell_settings(), box_size_mm=box_size_mm, name='to_metric')

    def _n_channels(self):
        return (1 + self.n_depth_cells) * self.n_joints

    def call(self, features, training=False):
        return self.decode(*self.logits(features), training)

    def logits(self, features):
        """Features to float32 logits `[batch, y, x, joints]` and `[batch, y, x, depth, joints]`."""
        logits = self.conv(features)
        return logits[..., :self.n_joints], self._split_depth(logits[..., self.n_joints:])

    def decode(self, logits2d, logits3d, training=False):
        """Logits to coords2d `[batch, joints, 2]` in px and coords3d_rel `[..., 3]` in mm."""
        coords2d = self.to_image(self.soft_argmax2d(logits2d), training=training)
        return coords2d, self.to_metric(self.soft_argmax3d(logits3d), training=training)

    def variances(self, logits3d):
        """Variances of the volumes out of training, along x, y and z.

        Args:
            logits3d: Float tensor `[batch, y, x, depth, joints]`.

        Returns:
            Float32 tensor `[batch, joints, 3]`, mm^2.
        """
        cell_size_mm = heatmap_coords.metric_cell_size(
            self.crop_side_px, self.test_stride_px or self.stride_px, self.n_depth_cells,
            self.box_size_mm)
        return self.soft_argmax3d.variance(logits3d) * tf.square(cell_size_mm)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.n_joints, 2), (input_shape[0], self.n_joints, 3)
