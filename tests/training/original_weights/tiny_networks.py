"""Small networks with the layers of the release, and random weights for them."""

import functools

from keras.src.applications import efficientnet_v2
import numpy as np

from metro_tf import models
from metro_tf.backbones import builder, striding
from training.original_weights import layouts

SIDE, STRIDE, N_DEPTH = 64, 8, 4
STAGES = (('single', 1), ('fused', 2), ('depthwise', 2))
TABLE = layouts.efficientnet_v2(STAGES)
# As in the release: the last strided block is shifted.
BLOCKS = [
    ('single', 1, 1, 1), ('fused', 2, 1, 1), ('fused', 1, 1, 1), ('depthwise', 2, 0, 2),
    ('depthwise', 1, 1, 1)]
UNSHIFTED_BLOCKS = [(kind, stride, 1, 1) for kind, stride, *_ in BLOCKS]
# Names of the layers in PyTorch, written out.
TORCH_NAMES = {
    'stem/conv2d': 'backbone.1.0.0', 'stem/tpu_batch_normalization': 'backbone.1.0.1',
    'blocks_0/conv2d': 'backbone.1.1.0.block.0.0',
    'blocks_0/tpu_batch_normalization': 'backbone.1.1.0.block.0.1',
    'blocks_1/conv2d': 'backbone.1.2.0.block.0.0',
    'blocks_1/tpu_batch_normalization': 'backbone.1.2.0.block.0.1',
    'blocks_1/conv2d_1': 'backbone.1.2.0.block.1.0',
    'blocks_1/tpu_batch_normalization_1': 'backbone.1.2.0.block.1.1',
    'blocks_2/conv2d': 'backbone.1.2.1.block.0.0',
    'blocks_2/tpu_batch_normalization': 'backbone.1.2.1.block.0.1',
    'blocks_2/conv2d_1': 'backbone.1.2.1.block.1.0',
    'blocks_2/tpu_batch_normalization_1': 'backbone.1.2.1.block.1.1',
    'blocks_3/conv2d': 'backbone.1.3.0.block.0.0',
    'blocks_3/tpu_batch_normalization': 'backbone.1.3.0.block.0.1',
    'blocks_3/depthwise_conv2d': 'backbone.1.3.0.block.1.0',
    'blocks_3/tpu_batch_normalization_1': 'backbone.1.3.0.block.1.1',
    'blocks_3/se/conv2d': 'backbone.1.3.0.block.2.fc1',
    'blocks_3/se/conv2d_1': 'backbone.1.3.0.block.2.fc2',
    'blocks_3/conv2d_1': 'backbone.1.3.0.block.3.0',
    'blocks_3/tpu_batch_normalization_2': 'backbone.1.3.0.block.3.1',
    'blocks_4/conv2d': 'backbone.1.3.1.block.0.0',
    'blocks_4/tpu_batch_normalization': 'backbone.1.3.1.block.0.1',
    'blocks_4/depthwise_conv2d': 'backbone.1.3.1.block.1.0',
    'blocks_4/tpu_batch_normalization_1': 'backbone.1.3.1.block.1.1',
    'blocks_4/se/conv2d': 'backbone.1.3.1.block.2.fc1',
    'blocks_4/se/conv2d_1': 'backbone.1.3.1.block.2.fc2',
    'blocks_4/conv2d_1': 'backbone.1.3.1.block.3.0',
    'blocks_4/tpu_batch_normalization_2': 'backbone.1.3.1.block.3.1',
    'head/conv2d': 'backbone.1.4.0', 'head/tpu_batch_normalization': 'backbone.1.4.1',
    'heatmap_heads/conv_final': 'heatmap_heads.conv_final'}
TORCH_PARTS = {
    'kernel': 'weight', 'depthwise_kernel': 'weight', 'bias': 'bias', 'gamma': 'weight',
    'beta': 'bias', 'moving_mean': 'running_mean', 'moving_variance': 'running_var'}


def torch_name(name):
    """Name of a weight in PyTorch."""
    layer, _, part = name.rpartition('/')
    return f'{TORCH_NAMES[layer]}.{TORCH_PARTS[part]}'


@functools.lru_cache(maxsize=None)
def network():
    """A network of `keras.applications` with the stages of `STAGES`."""
    def stage(n_blocks, n_in, n_out, **kwargs):
        return {
            'kernel_size': 3, 'num_repeat': n_blocks, 'input_filters': n_in,
            'output_filters': n_out, 'se_ratio': 0.25, **kwargs}
    blocks = [
        stage(1, 8, 8, expand_ratio=1, strides=1, conv_type=1, se_ratio=0.0),
        stage(2, 8, 16, expand_ratio=4, strides=2, conv_type=1, se_ratio=0.0),
        stage(2, 16, 24, expand_ratio=4, strides=2, conv_type=0)]
    side = striding.ANALYSIS_SIDE_PX
    return efficientnet_v2.EfficientNetV2(
        1.0, 1.0, side, blocks_args=blocks, weights=None, include_top=False,
        input_shape=(side, side, 3))


def metrabs(joint_names, edges, centred_stride=None):
    """A `Metrabs` on the tiny network, with new weights."""
    backbone = striding.restride(
        network(), builder.FAMILIES['efficientnet_v2_s'].scaling, output_stride=STRIDE,
        centred_stride=centred_stride)
    return models.Metrabs(backbone, joint_names, edges, SIDE, STRIDE, N_DEPTH)


def random_weights(backbone, table, n_joints, n_depth=N_DEPTH, seed=0):
    """Weights of the size of a backbone and of heads, under the names of the TensorFlow release.

    Magnitudes are such that activations stay of the order of one. Variances are away from one and
    the variance's epsilon counts.
    """
    rng = np.random.default_rng(seed)
    layers = [layer for layer in backbone.layers if layer.weights]
    shapes = {
        name: tuple(weight.shape) for layer, row in zip(layers, table, strict=True)
        for name, weight in zip(row.source_names(layouts.TENSORFLOW), layer.weights, strict=True)}
    n_features, n_channels = backbone.output_shape[-1], (1 + n_depth) * n_joints
    shapes['heatmap_heads/conv_final/kernel'] = (1, 1, n_features, n_channels)
    shapes['heatmap_heads/conv_final/bias'] = (n_channels,)
    return {name: _random(rng, name, shape) for name, shape in shapes.items()}


def _random(rng, name, shape):
    if name.endswith(('gamma', 'moving_variance')):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    values = rng.standard_normal(shape).astype(np.float32)
    if name.endswith('kernel'):
        fan_in = np.prod(shape[:2]) * (1 if 'depthwise' in name else shape[2])
        return values * np.float32(1 / np.sqrt(fan_in))
    return values * np.float32(0.1)
