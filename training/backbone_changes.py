"""Changes of a backbone for its training only: ghost batch normalisation, limits of kernels."""

import keras
import tensorflow as tf


@keras.utils.register_keras_serializable(package='metro_tf')
class GhostBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation that treats parts of a training batch separately.

    All parts move the same running statistics, one after the other. The weights are those of
    `BatchNormalization`, which it equals in inference. MeTRAbs calls it ghost batch norm (R23);
    its first version ran examples with 3D and with 2D labels apart (R20).

    Args:
        group_sizes: Sequence of ints, how many successive examples form each part.
        **kwargs: Arguments of `keras.layers.BatchNormalization`.

    Call arguments:
        inputs: Float tensor `[batch, ..., channels]`; in training, `batch` is the sum of
            `group_sizes`.
        training: Boolean.

    Returns:
        Float tensor of the same shape.
    """

    def __init__(self, group_sizes, **kwargs):
        super().__init__(**kwargs)
        if not group_sizes or min(group_sizes) < 1:
            raise ValueError(
                f'`group_sizes` must be positive integers. Received: group_sizes={group_sizes}')
        self.group_sizes = tuple(group_sizes)

    def call(self, inputs, training=None, mask=None):
        # Keras 2 gives a tensor while a model is defined; what is traced then never runs.
        if not (isinstance(training, (bool, int)) and training):
            return super().call(inputs, training=training, mask=mask)
        if inputs.shape[0] not in (None, sum(self.group_sizes)):
            raise ValueError(
                '`inputs` must have as many examples as `group_sizes` together. Received: '
                f'inputs.shape={inputs.shape}, group_sizes={self.group_sizes}')
        normalize = super().call
        parts = [
            normalize(part, training=training)
            for part in tf.split(inputs, self.group_sizes, axis=0)]
        return tf.concat(parts, axis=0)

    def get_config(self):
        return {**super().get_config(), 'group_sizes': self.group_sizes}


def adapt_backbone(backbone, ghost_batch_sizes=(), max_kernel_norm=None):
    """Rebuilds a backbone for training; the weights and their order stay.

    A model with the original backbone takes over the trained weights with `set_weights`, so that
    saved models need not know of these changes.

    Args:
        backbone: Functional model.
        ghost_batch_sizes: `group_sizes` of `GhostBatchNormalization`; () leaves batch
            normalisation as it is.
        max_kernel_norm: Limit of the norm of each filter of a convolution, or None.

    Returns:
        `backbone` itself if nothing is to be changed, else a new model with equal weights.
    """
    if not ghost_batch_sizes and max_kernel_norm is None:
        return backbone

    def rebuild(layer):
        """The changed layer that replaces one of `backbone`."""
        config = layer.get_config()
        if max_kernel_norm is not None:
            config.update(_kernel_constraint(layer, max_kernel_norm))
        if ghost_batch_sizes and isinstance(layer, keras.layers.BatchNormalization):
            return GhostBatchNormalization.from_config(
                {**config, 'group_sizes': ghost_batch_sizes})
        return type(layer).from_config(config)

    adapted = keras.models.clone_model(backbone, clone_function=rebuild)
    adapted.set_weights(backbone.get_weights())
    return adapted


def _kernel_constraint(layer, max_norm):
    if isinstance(layer, keras.layers.DepthwiseConv2D):  # a Conv2D too in some versions
        return {'depthwise_constraint': keras.constraints.MaxNorm(max_norm, axis=[0, 1])}
    if isinstance(layer, keras.layers.Conv2D):
        return {'kernel_constraint': keras.constraints.MaxNorm(max_norm, axis=[0, 1, 2])}
    return {}
