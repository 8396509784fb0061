"""Features to marginal heatmaps in several stages, each of which corrects the one before."""

import keras
import tensorflow as tf

from metro_tf import checks
from metro_tf.geometry import cuboid
from metro_tf.layers import axis_permutation as axis_permutation_lib
from metro_tf.layers import marginal_heatmaps, projected_residual

# Residual blocks of a column: whether they have the inner number of channels, and resampling.
_DOWN_BLOCKS = (
    (False, 'none'), (False, 'none'), (True, 'down'), (True, 'none'), (True, 'none'))
_UP_BLOCKS = ((True, 'none'), (True, 'none'), (False, 'up'), (False, 'none'))


@keras.utils.register_keras_serializable(package='metro_tf')
class HeatmapColumn(keras.layers.Layer):
    """Image features to the logits of one plane, by ten residual blocks.

    Five blocks down to half the resolution, the axis permutation of the plane, five blocks up
    again. The last block is float32 under any dtype policy: logits of ten or more would be
    rounded to steps of 0.01 in float16 and of 0.06 in bfloat16.

    Source: Nibali et al., WACV 2019 (figure 6).

    Args:
        n_joints: Number of joints.
        plane: One of `cuboid.PLANES`.
        n_channels: Number of channels of the blocks at full resolution.
        n_inner_channels: Number of channels of the blocks at half resolution. Except in the plane
            xy, half the side of the features must divide it.
        **kwargs: Base layer arguments.

    Call arguments:
        features: Tensor `[batch, side, side, channels]`, with an even side.
        training: Boolean.

    Returns:
        Float32 tensor `[batch, side, side, n_joints]`.
    """

    def __init__(self, n_joints, plane, n_channels=128, n_inner_channels=192, **kwargs):
        super().__init__(**kwargs)
        self.n_joints = checks.positive(n_joints, 'n_joints')
        self.plane = plane
        self.n_channels = checks.positive(n_channels, 'n_channels')
        self.n_inner_channels = checks.positive(n_inner_channels, 'n_inner_channels')
        self.down_blocks = self._make_blocks(_DOWN_BLOCKS, 'down')
        self.permutation = axis_permutation_lib.AxisPermutation(
            plane, name='permutation', dtype=self.dtype_policy)
        self.up_blocks = self._make_blocks(_UP_BLOCKS, 'up')
        self.last_block = projected_residual.ProjectedResidualBlock(
            n_joints, name='last_block', dtype='float32')

    def _make_blocks(self, blocks, name):
        return [
            projected_residual.ProjectedResidualBlock(
                self.n_inner_channels if is_inner else self.n_channels, resampling,
                name=f'{name}_{i}', dtype=self.dtype_policy)
            for i, (is_inner, resampling) in enumerate(blocks)]

    def build(self, input_shape):
        shape = tuple(input_shape)
        for layer in (*self.down_blocks, *self.up_blocks, self.last_block):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        super().build(input_shape)

    def call(self, features, training=False):
        _check_even(features.shape)
        for block in self.down_blocks:
            features = block(features, training=training)
        features = self.permutation(features)
        for block in self.up_blocks:
            features = block(features, training=training)
        return self.last_block(features, training=training)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.n_joints)

    def get_config(self):
        return {
            **super().get_config(), 'n_joints': self.n_joints, 'plane': self.plane,
            'n_channels': self.n_channels, 'n_inner_channels': self.n_inner_channels}


@keras.utils.register_keras_serializable(package='metro_tf')
class HeatmapStage(keras.layers.Layer):
    """Features to the logits of all planes, each by a column of its own.

    Source: Nibali et al., WACV 2019 (figure 6).

    Args:
        n_joints: Number of joints.
        axis_permutation: Whether the columns of zy and xz permute axes. Else all three work in
            the plane of the image, which is the published baseline.
        n_channels, n_inner_channels: See `HeatmapColumn`.
        **kwargs: Base layer arguments.

    Call arguments:
        features: Tensor `[batch, side, side, channels]`, with an even side.
        training: Boolean.

    Returns:
        Float32 tensor `[batch, side, side, 3, n_joints]`, planes in the order of `cuboid.PLANES`.
    """

    def __init__(
            self, n_joints, axis_permutation=True, n_channels=128, n_inner_channels=192, **kwargs):
        super().__init__(**kwargs)
        self.n_joints = checks.positive(n_joints, 'n_joints')
        self.axis_permutation = axis_permutation
        self.n_channels = checks.positive(n_channels, 'n_channels')
        self.n_inner_channels = checks.positive(n_inner_channels, 'n_inner_channels')
        self.columns = [
            HeatmapColumn(
                n_joints, plane if axis_permutation else 'xy', n_channels, n_inner_channels,
                name=f'column_{plane}', dtype=self.dtype_policy)
            for plane in cuboid.PLANES]

    def build(self, input_shape):
        for column in self.columns:
            column.build(input_shape)
        super().build(input_shape)

    def call(self, features, training=False):
        return tf.stack([column(features, training=training) for column in self.columns], axis=3)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], len(cuboid.PLANES), self.n_joints)

    def get_config(self):
        return {
            **super().get_config(), 'n_joints': self.n_joints,
            'axis_permutation': self.axis_permutation, 'n_channels': self.n_channels,
            'n_inner_channels': self.n_inner_channels}


@keras.utils.register_keras_serializable(package='metro_tf')
class StageAdapter(keras.layers.Layer):
    """The heatmaps of a stage as features for the next, by a 1x1 convolution without bias.

    Source: Nibali et al., WACV 2019 (figure 4).

    Args:
        n_channels: Number of channels of the features.
        **kwargs: Base layer arguments.

    Call arguments:
        heatmaps: Float tensor `[batch, rows, columns, 3, joints]`, after the softmax.

    Returns:
        Tensor `[batch, rows, columns, n_channels]`.
    """

    def __init__(self, n_channels, **kwargs):
        super().__init__(**kwargs)
        self.n_channels = checks.positive(n_channels, 'n_channels')
        self.conv = keras.layers.Conv2D(
            n_channels, 1, use_bias=False, name='conv', dtype=self.dtype_policy,
            kernel_initializer=projected_residual.kaiming_normal())

    def build(self, input_shape):
        batch, height, width, n_planes, n_joints = tuple(input_shape)
        self.conv.build((batch, height, width, n_planes * n_joints))
        super().build(input_shape)

    def call(self, heatmaps):
        planes = tf.unstack(heatmaps, num=len(cuboid.PLANES), axis=3)
        return self.conv(tf.concat(planes, axis=-1))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-2], self.n_channels)

    def get_config(self):
        return {**super().get_config(), 'n_channels': self.n_channels}


@keras.utils.register_keras_serializable(package='metro_tf')
class MarginalHeads(keras.layers.Layer):
    """Features to marginal heatmaps in stages; the heatmaps of each stage help the next.

    A stage reads the features of the stage before, to which its heatmaps have been added through
    an adapter. Nothing is shared between stages.

    Source: Nibali et al., WACV 2019 (figure 4).

    Args:
        n_joints: Number of joints.
        n_stages: Number of stages.
        axis_permutation: See `HeatmapStage`.
        n_channels: Number of channels of the features, and of the blocks at full resolution.
        n_inner_channels: See `HeatmapColumn`.
        **kwargs: Base layer arguments.

    Call arguments:
        features: Tensor `[batch, side, side, n_channels]`, with an even side.
        training: Boolean.

    Returns:
        Tuple with the dict of `MarginalHeatmaps` of every stage. The last one is the prediction.
    """

    def __init__(
            self, n_joints, n_stages=4, axis_permutation=True, n_channels=128,
            n_inner_channels=192, **kwargs):
        super().__init__(**kwargs)
        self.n_joints = checks.positive(n_joints, 'n_joints')
        self.n_stages = checks.positive(n_stages, 'n_stages')
        self.axis_permutation = axis_permutation
        self.n_channels = checks.positive(n_channels, 'n_channels')
        self.n_inner_channels = checks.positive(n_inner_channels, 'n_inner_channels')
        self.stages = [
            HeatmapStage(
                n_joints, axis_permutation, n_channels, n_inner_channels, name=f'stage_{i}',
                dtype=self.dtype_policy)
            for i in range(n_stages)]
        self.adapters = [
            StageAdapter(n_channels, name=f'adapter_{i}', dtype=self.dtype_policy)
            for i in range(n_stages - 1)]
        self.marginal_heatmaps = marginal_heatmaps.MarginalHeatmaps(name='marginal_heatmaps')

    def build(self, input_shape):
        if self.stages[0].built:  # `logits` may have come first
            return
        if input_shape[-1] != self.n_channels:
            raise ValueError(
                f'`features` must have {self.n_channels} channels. Received: {input_shape}')
        for stage in self.stages:
            stage.build(input_shape)
        for adapter in self.adapters:
            adapter.build(self.stages[0].compute_output_shape(input_shape))
        super().build(input_shape)

    def call(self, features, training=False):
        return self.decode(self.logits(features, training))

    def logits(self, features, training=False):
        """Features to a tuple of logits `[batch, side, side, 3, joints]`, one of every stage."""
        features = tf.cast(features, self.compute_dtype)
        logits = [self.stages[0](features, training=training)]
        for stage, adapter in zip(self.stages[1:], self.adapters):
            features += adapter(self.marginal_heatmaps(logits[-1])['heatmaps'])
            logits.append(stage(features, training=training))
        return tuple(logits)

    def decode(self, logits):
        """Logits of every stage to a tuple with the dict of `MarginalHeatmaps` of each."""
        return tuple(self.marginal_heatmaps(stage_logits) for stage_logits in logits)

    def get_config(self):
        return {
            **super().get_config(), 'n_joints': self.n_joints, 'n_stages': self.n_stages,
            'axis_permutation': self.axis_permutation, 'n_channels': self.n_channels,
            'n_inner_channels': self.n_inner_channels}


def _check_even(shape):
    if any(size and size % 2 for size in shape[1:3]):
        raise ValueError(
            f'`features` must have an even number of rows and columns. Received: shape={shape}')
