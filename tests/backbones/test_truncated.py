import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.backbones import truncated
from tests.backbones import probes

# Published numbers of trainable weights, with 128 channels.
N_WEIGHTS = {
    'inception_v4': 972_896, 'resnet18': 683_072, 'resnet34': 1_347_904, 'resnet50': 1_510_848}
# The modules of the truncated Inception-v4 at 256 px: output, and channels and side.
INCEPTION_MODULES = {
    'features_0_relu': (128, 32), 'features_1_relu': (128, 32), 'features_2_relu': (128, 64),
    'features_3': (64, 160), 'features_4': (64, 192), 'features_5': (32, 384),
    'features_6': (32, 384), 'reduction_relu': (32, 128)}
INCEPTION_MODULE_WEIGHTS = (928, 9_280, 18_560, 55_488, 189_312, 332_160, 317_632)


def n_weights(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


@pytest.fixture(scope='module')
def inception():
    return truncated.build_truncated('inception_v4', input_shape=(256, 256, 3))


@pytest.fixture(scope='module')
def resnet():
    return truncated.build_truncated('resnet18')


@pytest.mark.parametrize('name', N_WEIGHTS)
def test_published_numbers_of_weights(name):
    backbone = truncated.build_truncated(name)
    assert n_weights(backbone.trainable_weights) == N_WEIGHTS[name]
    assert tuple(backbone.output_shape) == (None, None, None, 128)


def test_modules_of_inception(inception):
    for name, (side, n_channels) in INCEPTION_MODULES.items():
        output = inception.get_layer(name).output
        assert tuple(output.shape) == (None, side, side, n_channels)
    for i_module, n_published in enumerate(INCEPTION_MODULE_WEIGHTS):
        layers = [layer for layer in inception.layers
                  if layer.name.startswith(f'features_{i_module}_')]
        assert sum(n_weights(layer.trainable_weights) for layer in layers) == n_published
    assert n_weights(inception.get_layer('reduction_conv').weights) == 384 * 128 + 128


def test_order_of_concatenations(inception):
    """Pooling comes first in module 3 and last in module 5."""
    names = {name: [tensor_name(tensor) for tensor in inception.get_layer(name).input]
             for name in ('features_3', 'features_5')}
    assert names['features_3'] == ['features_3_maxpool', 'features_3_conv_relu']
    assert names['features_5'] == ['features_5_conv_relu', 'features_5_maxpool']


def tensor_name(tensor):
    """Name of the layer that a symbolic tensor comes from, in all Keras versions."""
    history = getattr(tensor, '_keras_history')
    return (getattr(history, 'operation', None) or history.layer).name


def test_settings_of_normalisations(inception, resnet):
    for backbone, epsilon in ((inception, 1e-3), (resnet, 1e-5)):
        norms = [layer for layer in backbone.layers
                 if isinstance(layer, keras.layers.BatchNormalization)
                 and layer.name != 'reduction_norm']
        assert {(norm.epsilon, norm.momentum) for norm in norms} == {(epsilon, 0.9)}
    reduction = inception.get_layer('reduction_norm')
    assert (reduction.epsilon, reduction.momentum) == (1e-5, 0.9)


def test_colours_are_normalised_as_in_imagenet(inception):
    layer = inception.get_layer('normalization')
    image = np.float32([0.485, 0.456, 0.406]).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(layer(image), np.zeros([1, 1, 1, 3]), atol=1e-6)
    brighter = image + np.float32([0.229, 0.224, 0.225])
    np.testing.assert_allclose(layer(brighter), np.ones([1, 1, 1, 3]), atol=1e-5)


@pytest.mark.parametrize('name', ['inception_v4', 'resnet50'])
def test_cells_lie_on_multiples_of_the_stride(name):
    probe = probes.linear_probe(truncated.build_truncated(name))
    centroid, _, cells = probes.receptive_centroid(probe, (192, 192), (12, 13))
    assert tuple(cells) == (24, 24)
    np.testing.assert_allclose(centroid, (8 * 12, 8 * 13), atol=1e-3)


def test_reduction_where_the_channels_differ(resnet):
    assert not any(layer.name == 'reduction_conv' for layer in resnet.layers)
    narrow = truncated.build_truncated('resnet18', n_channels=32, input_shape=(64, 64, 3))
    assert tuple(narrow.output_shape) == (None, 8, 8, 32)
    assert narrow.get_layer('reduction_conv').use_bias
    kernel, bias = narrow.get_layer('reduction_conv').get_weights()
    limit = 128 ** -0.5
    assert 0.9 * limit < np.abs(kernel).max() <= limit and 0 < np.abs(bias).max() <= limit


def test_features_and_gradients(resnet):
    images = np.random.default_rng(0).random((2, 64, 48, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        features = resnet(images, training=True)
        loss = tf.reduce_mean(tf.square(features))
    assert features.shape == (2, 8, 6, 128) and np.min(features) >= 0
    for gradient in tape.gradient(loss, [
            variable if isinstance(variable, tf.Variable) else variable.value
            for variable in resnet.trainable_weights]):
        assert np.all(np.isfinite(gradient))


def test_half_precision(dtype_policy):
    dtype_policy('mixed_bfloat16')
    backbone = truncated.build_truncated('resnet18')
    images = np.random.default_rng(0).random((1, 32, 32, 3)).astype(np.float32)
    assert backbone.get_layer('normalization')(images).dtype == tf.float32
    assert backbone(images).dtype == tf.bfloat16


def published_tensors(backbone):
    """Random weights under the published names, by way of the shapes of PyTorch."""
    rng = np.random.default_rng(0)
    tensors = {'fc.weight': np.zeros([3, 3])}
    for layer in backbone.layers:
        prefix = published_name(layer.name)
        if isinstance(layer, keras.layers.BatchNormalization):
            for part in ('weight', 'bias', 'running_mean', 'running_var'):
                tensors[f'{prefix}.{part}'] = rng.random(layer.gamma.shape)
            tensors[f'{prefix}.num_batches_tracked'] = np.array(7)
        elif isinstance(layer, keras.layers.Conv2D):
            rows, columns, n_inputs, n_outputs = layer.kernel.shape
            tensors[f'{prefix}.weight'] = rng.random((n_outputs, n_inputs, rows, columns))
    return tensors


def published_name(name):
    """`layer1_0_downsample_0` to `layer1.0.downsample.0`."""
    return name.replace('_', '.')


def test_published_weights(resnet, tmp_path):
    tensors = published_tensors(resnet)
    path = tmp_path / 'resnet18.npz'
    np.savez(path, **tensors)
    backbone = truncated.build_truncated('resnet18', weights=str(path))
    np.testing.assert_allclose(
        backbone.get_layer('layer2_0_downsample_0').get_weights()[0][0, 0],
        tensors['layer2.0.downsample.0.weight'][:, :, 0, 0].T, rtol=1e-6)
    kernel = backbone.get_layer('conv1').get_weights()[0]
    assert kernel[2, 5, 1, 7] == pytest.approx(tensors['conv1.weight'][7, 1, 2, 5])
    for part, value in zip(
            ('weight', 'bias', 'running_mean', 'running_var'),
            backbone.get_layer('layer1_1_bn2').get_weights(), strict=True):
        np.testing.assert_allclose(value, tensors[f'layer1.1.bn2.{part}'], rtol=1e-6)


def test_published_names_of_inception(inception):
    names = {layer.name for layer in inception.layers if layer.weights}
    expected = {
        'features.0.conv', 'features.3.conv.conv', 'features.4.branch0.1.conv',
        'features.4.branch1.3.bn', 'features.5.conv.bn', 'features.6.branch0.conv',
        'features.6.branch2.2.conv', 'features.6.branch3.1.bn'}
    assert {name.replace('.', '_') for name in expected} <= names


def test_own_weights_file(resnet, tmp_path):
    path = str(tmp_path / 'own.weights.h5')
    resnet.save_weights(path)
    loaded = truncated.build_truncated('resnet18', weights=path)
    for actual, expected in zip(loaded.get_weights(), resnet.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_refuses_weights_that_do_not_fit(resnet, tmp_path):
    with pytest.raises(ValueError, match='`weights` must be None or the path of a weights file'):
        truncated.build_truncated('resnet18', weights=str(tmp_path / 'none.npz'))
    tensors = published_tensors(resnet)
    path = str(tmp_path / 'other.npz')
    np.savez(path, **{name: tensors[name] for name in tensors if name != 'bn1.bias'})
    with pytest.raises(ValueError, match=re.escape('for bn1. Received: ') + '.*running_mean'):
        truncated.build_truncated('resnet18', weights=path)
    np.savez(path, **{**tensors, 'conv1.weight': np.zeros([64, 3, 3, 3])})
    with pytest.raises(ValueError, match='fits resnet18_truncated.*must have the shapes'):
        truncated.build_truncated('resnet18', weights=path)


def test_refuses_names():
    with pytest.raises(ValueError, match="`name` must be one of .* Received: name='resnet101'"):
        truncated.build_truncated('resnet101')
