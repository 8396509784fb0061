import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.layers import projected_residual
from tests import helpers


def random_features(side=6, n_channels=3):
    return np.random.default_rng(0).normal(size=(2, side, side, n_channels)).astype(np.float32)


def make_block(resampling, n_channels=4, side=6):
    """A block with random weights and statistics."""
    block = projected_residual.ProjectedResidualBlock(n_channels, resampling)
    block.build((None, side, side, 3))
    rng = np.random.default_rng(1)
    block.set_weights([rng.uniform(0.2, 1.0, weight.shape) - 0.4 * (weight.ndim == 4)
                       for weight in block.get_weights()])
    return block


def convolve(images, kernel, stride=1):
    """Definition of a convolution that is padded by half its kernel."""
    margin = kernel.shape[0] // 2
    padded = np.pad(images, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
    height, width = (-(-size // stride) for size in images.shape[1:3])
    result = np.zeros([len(images), height, width, kernel.shape[3]])
    for y, x, u, v in np.ndindex(height, width, *kernel.shape[:2]):
        result[:, y, x] += padded[:, stride * y + u, stride * x + v] @ kernel[u, v]
    return result


def convolve_transposed(images, kernel):
    """Definition of its transpose with stride 2: output cell 2 i lies on input cell i."""
    margin = kernel.shape[0] // 2
    n, height, width, _ = images.shape
    result = np.zeros([n, 2 * height + 2 * margin, 2 * width + 2 * margin, kernel.shape[2]])
    for y, x, u, v in np.ndindex(height, width, *kernel.shape[:2]):
        result[:, 2 * y + u, 2 * x + v] += images[:, y, x] @ kernel[u, v].T
    return result[:, margin:margin + 2 * height, margin:margin + 2 * width]


def normalize(features, norm):
    scale, shift, mean, variance = norm.get_weights()
    return scale * (features - mean) / np.sqrt(variance + 1e-5) + shift


def expected_output(block, features):
    kernel_in, kernel_out, kernel_shortcut = (
        conv.get_weights()[0] for conv in (block.conv_in, block.conv_out, block.shortcut_conv))
    if block.resampling == 'up':
        main = convolve_transposed(features, kernel_in)
        shortcut = convolve_transposed(features, np.swapaxes(kernel_shortcut, 2, 3))
    else:
        stride = 2 if block.resampling == 'down' else 1
        main, shortcut = [
            convolve(features, kernel, stride) for kernel in (kernel_in, kernel_shortcut)]
    main = np.maximum(normalize(main, block.norm_in), 0)
    main = np.maximum(normalize(convolve(main, kernel_out), block.norm_out), 0)
    return main + normalize(shortcut, block.shortcut_norm)


@pytest.mark.parametrize('resampling, side', [
    ('none', 6), ('down', 6), ('down', 5), ('up', 3), ('up', 6)])
def test_agrees_with_the_definition(resampling, side):
    block, features = make_block(resampling, side=side), random_features(side)
    output = block(features)
    np.testing.assert_allclose(output, expected_output(block, features), atol=1e-4)
    assert tuple(output.shape) == tuple(block.compute_output_shape(features.shape))


def test_one_cell_by_hand():
    """Kernels of ones on a single 1: the upsampled main branch reaches its neighbours."""
    block = projected_residual.ProjectedResidualBlock(1, 'up')
    block.build((None, 2, 2, 1))
    for layer in (block.conv_in, block.conv_out, block.shortcut_conv):
        layer.set_weights([np.ones(layer.get_weights()[0].shape)])
    block.conv_out.set_weights([np.float32([0, 0, 0, 0, 1, 0, 0, 0, 0]).reshape(3, 3, 1, 1)])
    image = np.float32([[1, 0], [0, 0]]).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(
        block(image)[0, ..., 0],
        [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], atol=1e-4)


def test_the_result_is_negative_through_the_shortcut_only():
    block, features = make_block('none'), random_features()
    main_kernels = [block.conv_in, block.conv_out, block.norm_in, block.norm_out]
    for layer in main_kernels:
        layer.set_weights([0 * weight for weight in layer.get_weights()])
    assert np.min(block(features)) < 0
    for layer in (block.shortcut_conv, block.shortcut_norm):
        layer.set_weights([0 * weight for weight in layer.get_weights()])
    np.testing.assert_allclose(block(features), 0, atol=1e-6)


@pytest.mark.parametrize('resampling', projected_residual.RESAMPLINGS)
def test_layer(resampling):
    helpers.check_layer(
        projected_residual.ProjectedResidualBlock, {'n_channels': 4, 'resampling': resampling},
        random_features(), atol=1e-4)


@pytest.mark.parametrize('resampling', projected_residual.RESAMPLINGS)
def test_gradients_and_statistics(resampling):
    block, features = make_block(resampling), random_features()
    mean_before = block.shortcut_norm.get_weights()[2]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(block(features, training=True)))
    variables = [variable if isinstance(variable, tf.Variable) else variable.value
                 for variable in block.trainable_weights]
    for gradient in tape.gradient(loss, variables):
        assert np.all(np.isfinite(gradient)) and np.any(gradient != 0)
    assert np.any(block.shortcut_norm.get_weights()[2] != mean_before)


def test_numbers_of_weights_and_their_order():
    block = projected_residual.ProjectedResidualBlock(4, 'down')
    block.build((None, None, None, 3))
    kernels = [layer.get_weights()[0].shape for layer in (
        block.conv_in, block.conv_out, block.shortcut_conv)]
    assert kernels == [(3, 3, 3, 4), (3, 3, 4, 4), (1, 1, 3, 4)]
    # Kernels, and scale and shift of three normalisations.
    assert sum(np.prod(weight.shape) for weight in block.trainable_weights) == (
        108 + 144 + 12 + 3 * 8)


@pytest.mark.parametrize('resampling, fan', [('none', 9 * 48), ('up', 9 * 64)])
def test_initial_spread(resampling, fan):
    """The variance is 2 over the published fan: of the outputs, and of the inputs of `up`."""
    block = projected_residual.ProjectedResidualBlock(48, resampling)
    block.build((None, 4, 4, 64))
    np.testing.assert_allclose(
        np.std(block.conv_in.get_weights()[0]), np.sqrt(2 / fan), rtol=0.03)
    np.testing.assert_allclose(
        np.std(block.shortcut_conv.get_weights()[0]), np.sqrt(2 / (fan / 9)), rtol=0.06)
    norm = block.norm_in
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)


def test_half_precision(dtype_policy):
    dtype_policy('mixed_bfloat16')
    block = projected_residual.ProjectedResidualBlock(4, 'up')
    assert block(random_features()).dtype == tf.bfloat16
    full = projected_residual.ProjectedResidualBlock(4, dtype='float32')
    assert full(random_features()).dtype == tf.float32


def test_spread():
    image = np.float32([[1, 2], [3, 4]]).reshape(1, 2, 2, 1)
    expected = [[1, 0, 2, 0], [0] * 4, [3, 0, 4, 0], [0] * 4]
    np.testing.assert_array_equal(projected_residual.spread(tf.constant(image))[0, ..., 0],
                                  expected)
    np.testing.assert_array_equal(
        helpers.run_in_graph(projected_residual.spread, image)[0, ..., 0], expected)


def test_symbolic_shape():
    for resampling, side in (('none', 8), ('down', 4), ('up', 16)):
        output = projected_residual.ProjectedResidualBlock(5, resampling)(keras.Input((8, 8, 3)))
        assert tuple(output.shape) == (None, side, side, 5)


def test_refusals():
    with pytest.raises(ValueError, match="`resampling` must be one of .* Received: resampling='x'"):
        projected_residual.ProjectedResidualBlock(4, 'x')
    with pytest.raises(ValueError, match='`n_channels` must be a positive finite number'):
        projected_residual.ProjectedResidualBlock(0)
