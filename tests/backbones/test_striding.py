"""The rules, on a small network. The real ones are in `test_calibration`."""

import keras
import numpy as np
import pytest

from metro_tf.backbones import padded, striding

SIDE = striding.ANALYSIS_SIDE_PX
SCALING = {'scale': 2.0, 'means': (1.0, 1.0, 1.0)}


def make_network(kernel_size=3):
    """Stride 32 with a 1x1 and a pooling among the strided operations."""
    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 127.5, -1)(image)
    x = layers.Conv2D(4, kernel_size, strides=2, padding='same', name='to_2')(x)
    x = layers.MaxPooling2D(3, strides=2, padding='same', name='to_4')(x)
    x = layers.Conv2D(4, 1, strides=2, name='to_8')(x)
    x = layers.Conv2D(4, 3, padding='same', name='at_8')(x)
    x = layers.BatchNormalization(momentum=0.9, name='norm')(x)
    x = layers.ZeroPadding2D(((1, 2), (1, 2)), name='pad_16')(x)
    x = layers.DepthwiseConv2D(5, strides=2, name='to_16')(x)
    x = layers.DepthwiseConv2D(3, padding='same', name='at_16')(x)
    x = layers.Conv2D(4, 3, strides=2, padding='same', name='to_32')(x)
    x = layers.Conv2D(4, 3, padding='same', name='at_32')(x)
    return keras.Model(image, x)


def geometry(model, name):
    """(kind, strides, dilation, padding) of a layer."""
    layer = model.get_layer(name)
    return (
        type(layer).__name__, layer.strides[0], layer.dilation_rate[0],
        getattr(layer, 'explicit_padding', layer.padding))


def test_stride_32_shifts_only_the_last_strided_operation():
    model = striding.restride(make_network(), SCALING)
    assert geometry(model, 'to_2') == ('PaddedConv2D', 2, 1, (1, 1))
    assert model.get_layer('to_4').explicit_padding == (1, 1)
    assert geometry(model, 'to_8') == ('PaddedConv2D', 1, 1, (0, 0))
    assert model.get_layer('to_8').input_step == 2
    assert geometry(model, 'at_8') == ('Conv2D', 1, 1, 'same')
    assert geometry(model, 'to_16') == ('PaddedDepthwiseConv2D', 2, 1, (2, 2))
    assert geometry(model, 'to_32') == ('PaddedConv2D', 2, 1, (0, 2))
    assert geometry(model, 'at_32') == ('Conv2D', 1, 1, 'same')


def test_stride_8_dilates_what_follows():
    model = striding.restride(make_network(), SCALING, output_stride=8)
    assert geometry(model, 'to_8') == ('PaddedConv2D', 1, 1, (-1, 1))
    assert geometry(model, 'at_8') == ('Conv2D', 1, 1, 'same')
    # The operation that had the stride still reads its input at the rate before it.
    assert geometry(model, 'to_16') == ('PaddedDepthwiseConv2D', 1, 1, (2, 2))
    assert geometry(model, 'at_16') == ('DepthwiseConv2D', 1, 2, 'same')
    assert geometry(model, 'to_32') == ('PaddedConv2D', 1, 2, (2, 2))
    assert geometry(model, 'at_32') == ('Conv2D', 1, 4, 'same')


def test_stride_4_shifts_the_pooling():
    model = striding.restride(make_network(), SCALING, output_stride=4)
    assert model.get_layer('to_4').explicit_padding == (0, 2)
    assert geometry(model, 'to_8') == ('PaddedConv2D', 1, 1, (0, 0))
    assert model.get_layer('to_8').input_step == 1
    assert geometry(model, 'at_32') == ('Conv2D', 1, 8, 'same')


def test_centred_stride_shifts_an_earlier_operation():
    model = striding.restride(make_network(), SCALING, centred_stride=8)
    assert geometry(model, 'to_8') == ('PaddedConv2D', 1, 1, (-1, 1))
    assert geometry(model, 'to_16') == ('PaddedDepthwiseConv2D', 2, 1, (2, 2))
    assert geometry(model, 'to_32') == ('PaddedConv2D', 2, 1, (1, 1))


@pytest.mark.parametrize('output_stride', striding.OUTPUT_STRIDES)
def test_output_sizes(output_stride):
    model = striding.restride(make_network(), SCALING, output_stride=output_stride)
    features = model(np.zeros((2, 64, 96, 3), np.float32))
    assert features.shape == (2, 64 // output_stride, 96 // output_stride, 4)
    fixed = striding.restride(
        make_network(), SCALING, (64, 96, 3), output_stride=output_stride)
    assert tuple(fixed.output_shape) == (None, *features.shape[1:])


def test_momentum():
    assert striding.restride(make_network(), SCALING).get_layer('norm').momentum == 0.9
    model = striding.restride(make_network(), SCALING, bn_momentum=0.98)
    assert model.get_layer('norm').momentum == 0.98


def test_scaling_takes_the_place_of_the_rescaling():
    model = striding.restride(make_network(), SCALING)
    assert type(model.layers[1]).__name__ == 'InputScaling'
    assert model.layers[1].get_config()['scale'] == 2.0
    assert not any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers)


def test_keras_file_revives(tmp_path):
    model = striding.restride(make_network(), SCALING, output_stride=8)
    model.save(tmp_path / 'model.keras')
    revived = keras.models.load_model(tmp_path / 'model.keras')
    images = np.random.default_rng(0).random((1, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(revived(images), model(images), atol=1e-6)
    assert isinstance(revived.get_layer('to_8'), padded.PaddedConv2D)


@pytest.mark.parametrize('kwargs', [
    {'output_stride': 2}, {'output_stride': 64}, {'output_stride': 8, 'centred_stride': 16},
    {'centred_stride': 3}])
def test_refuses_strides(kwargs):
    with pytest.raises(ValueError, match='`output_stride` must be one of .* Received: output_stri'):
        striding.restride(make_network(), SCALING, **kwargs)


def test_refuses_networks():
    with pytest.raises(ValueError, match='must have odd kernels only. Received: to_2 of size 4'):
        striding.restride(make_network(kernel_size=4), SCALING)
    image = keras.Input((SIDE, SIDE, 3))
    with pytest.raises(ValueError, match='`network` must begin with a rescaling or a padding'):
        striding.restride(keras.Model(image, keras.layers.Conv2D(1, 1)(image)), SCALING)
    x = keras.layers.Conv2D(4, 1, strides=4)(keras.layers.Rescaling(1.)(image))
    late_pooling = keras.Model(image, keras.layers.MaxPooling2D(3, strides=2)(x))
    with pytest.raises(ValueError, match='must not pool beyond the output stride'):
        striding.restride(late_pooling, SCALING, output_stride=4)
