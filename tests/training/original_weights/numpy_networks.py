"""The networks of the release in NumPy, under the names of its variables.

Nothing here comes from the package: paddings, activations and the order of operations are written
down as the release has them, in double precision.
"""

import numpy as np

EPSILON = 1e-3


def pad(x, before, after):
    return np.pad(x, [(0, 0), (before, after), (before, after), (0, 0)])


def windows(x, size, stride):
    """`[batch, y, x, channels, size, size]`."""
    return np.lib.stride_tricks.sliding_window_view(
        x, (size, size), axis=(1, 2))[:, ::stride, ::stride]


def conv(x, kernel, stride=1, padding=(0, 0)):
    patches = windows(pad(x, *padding), kernel.shape[0], stride)
    return np.tensordot(patches, kernel, [[3, 4, 5], [2, 0, 1]])


def depthwise(x, kernel, stride, padding):
    patches = windows(pad(x, *padding), kernel.shape[0], stride)
    return np.einsum('byxcij,ijc->byxc', patches, kernel[..., 0], optimize=True)


def norm(x, weights, name):
    gamma, beta, mean, variance = (
        weights[f'{name}/{part}'] for part in ('gamma', 'beta', 'moving_mean', 'moving_variance'))
    return (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def swish(x):
    return x * sigmoid(x)


def hard_sigmoid(x):
    return np.clip(x + 3, 0, 6) / 6


def hard_swish(x):
    return x * hard_sigmoid(x)


def relu(x):
    return np.maximum(x, 0)


def excite(x, weights, names, inner, outer):
    mean = x.mean((1, 2), keepdims=True)
    for name, activation in zip(names, (inner, outer)):
        mean = activation(mean @ weights[f'{name}/kernel'][0, 0] + weights[f'{name}/bias'])
    return x * mean


def efficientnet_v2(weights, images, blocks):
    """Features of an EfficientNetV2.

    Args:
        weights: Dict from names such as `blocks_0/conv2d/kernel` to arrays.
        images: `[batch, y, x, 3]` in `[0, 1]`.
        blocks: List of (kind, stride, padding before, padding after); the padding is that of the
            3x3 kernel of the block.
    """
    x = 2 * images.astype(np.float64) - 1
    x = conv(x, weights['stem/conv2d/kernel'], 2, (1, 1))
    x = swish(norm(x, weights, 'stem/tpu_batch_normalization'))
    for i, (kind, stride, *padding) in enumerate(blocks):
        y = EFFICIENTNET_BLOCKS[kind](x, weights, f'blocks_{i}/', stride, padding)
        x = x + y if stride == 1 and x.shape == y.shape else y
    x = conv(x, weights['head/conv2d/kernel'])
    return swish(norm(x, weights, 'head/tpu_batch_normalization'))


def single_block(x, weights, name, stride, padding):
    x = conv(x, weights[f'{name}conv2d/kernel'], stride, padding)
    return swish(norm(x, weights, f'{name}tpu_batch_normalization'))


def fused_block(x, weights, name, stride, padding):
    x = conv(x, weights[f'{name}conv2d/kernel'], stride, padding)
    x = swish(norm(x, weights, f'{name}tpu_batch_normalization'))
    x = conv(x, weights[f'{name}conv2d_1/kernel'])
    return norm(x, weights, f'{name}tpu_batch_normalization_1')


def depthwise_block(x, weights, name, stride, padding):
    x = conv(x, weights[f'{name}conv2d/kernel'])
    x = swish(norm(x, weights, f'{name}tpu_batch_normalization'))
    x = depthwise(x, weights[f'{name}depthwise_conv2d/depthwise_kernel'], stride, padding)
    x = swish(norm(x, weights, f'{name}tpu_batch_normalization_1'))
    x = excite(x, weights, [f'{name}se/conv2d', f'{name}se/conv2d_1'], swish, sigmoid)
    x = conv(x, weights[f'{name}conv2d_1/kernel'])
    return norm(x, weights, f'{name}tpu_batch_normalization_2')


EFFICIENTNET_BLOCKS = {
    'single': single_block, 'fused': fused_block, 'depthwise': depthwise_block}


def efficientnet_v2_s_blocks():
    """The blocks of EfficientNetV2-S at stride 32; the last strided one is shifted."""
    blocks = []
    for kind, n_blocks, stride, padding in (
            ('single', 2, 1, (1, 1)), ('fused', 4, 2, (1, 1)), ('fused', 4, 2, (1, 1)),
            ('depthwise', 6, 2, (1, 1)), ('depthwise', 9, 1, (1, 1)), ('depthwise', 15, 2, (0, 2))):
        blocks.append((kind, stride, *padding))
        blocks += [(kind, 1, 1, 1)] * (n_blocks - 1)
    return blocks


# Kernel size, stride, squeeze-and-excitation and activation of the blocks.
MOBILENET_V3_SMALL = (
    (3, 2, True, relu), (3, 2, False, relu), (3, 1, False, relu), (5, 2, True, hard_swish),
    *[(5, 1, True, hard_swish)] * 4, (5, 2, True, hard_swish), *[(5, 1, True, hard_swish)] * 2)


def mobilenet_v3_small(weights, images):
    """Features of a MobileNetV3 small, whose block 8 has the last stride and is shifted."""
    x = 255 * images.astype(np.float64) / 127.5 - 1
    # TensorFlow's `same` pads an even side at its end alone.
    x = hard_swish(norm(conv(x, weights['Conv/kernel'], 2, (0, 1)), weights, 'Conv/BatchNorm'))
    for i, (size, stride, is_excited, activation) in enumerate(MOBILENET_V3_SMALL):
        y = x
        name = f'expanded_conv_{i}/' if i else 'expanded_conv/'
        if i:
            y = conv(y, weights[f'{name}expand/kernel'])
            y = activation(norm(y, weights, f'{name}expand/BatchNorm'))
        margin, shift = size // 2, int(i == 8)
        y = depthwise(
            y, weights[f'{name}depthwise/depthwise_kernel'], stride,
            (margin - shift, margin + shift))
        y = activation(norm(y, weights, f'{name}depthwise/BatchNorm'))
        if is_excited:
            y = excite(y, weights, [
                f'{name}squeeze_excite/Conv', f'{name}squeeze_excite/Conv_1'], relu, hard_sigmoid)
        y = norm(conv(y, weights[f'{name}project/kernel']), weights, f'{name}project/BatchNorm')
        x = x + y if stride == 1 and x.shape == y.shape else y
    x = hard_swish(norm(conv(x, weights['Conv_1/kernel']), weights, 'Conv_1/BatchNorm'))
    return hard_swish(conv(x, weights['Conv_2/kernel']) + weights['Conv_2/bias'])
