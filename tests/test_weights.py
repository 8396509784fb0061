import json
import zipfile

import keras
import numpy as np
import pytest

from metro_tf import weights
from metro_tf.backbones import builder
from metro_tf.detection import center_net

N_OTHER_KERAS = 2 if keras.__version__.startswith('3') else 3


def make_network():
    """A convolution in a model in a model, a depthwise convolution and a normalisation."""
    image = keras.Input((4, 4, 2))
    inner = keras.Model(image, keras.layers.Conv2D(3, 1, name='conv')(image), name='inner')
    outer_image = keras.Input((4, 4, 2))
    x = keras.layers.DepthwiseConv2D(1, name='depth')(inner(outer_image))
    return keras.Model(outer_image, keras.layers.BatchNormalization(name='norm')(x), name='outer')


def write(path, network=None, description=None, **changes):
    """Writes a file of weights; a change to None leaves an array out."""
    arrays = weights.to_arrays(network or make_network(), description or {'size': 3})
    arrays.update(changes)
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_names_of_variables():
    shapes = {
        name: tuple(variable.shape) for name, variable in weights.variables(make_network()).items()}
    assert shapes == {
        'inner/conv/kernel': (1, 1, 2, 3), 'inner/conv/bias': (3,), 'depth/kernel': (1, 1, 3, 1),
        'depth/bias': (3,), 'norm/gamma': (3,), 'norm/beta': (3,), 'norm/moving_mean': (3,),
        'norm/moving_variance': (3,)}


def test_published_networks_have_the_same_names_in_every_keras():
    """Keras 2 names layers `Conv/BatchNorm` and their kernels `depthwise_kernel`."""
    names = weights.variables(builder.build_backbone('mobilenet_v3_small'))
    assert len(names) == 206
    assert {'conv/kernel', 'conv_bn/gamma', 'expanded_conv_depthwise/kernel',
            'expanded_conv_squeeze_excite_conv_1/bias', 'conv_1_bn/moving_mean'} <= set(names)


def test_equal_names_are_refused():
    image = keras.Input((4, 4, 2))
    inner = keras.Model(image, keras.layers.Conv2D(2, 1, name='Conv')(image), name='A')
    other = keras.Model(image, keras.layers.Conv2D(2, 1, name='conv')(image), name='a')
    outer = keras.Input((4, 4, 2))
    with pytest.raises(ValueError, match='distinct names. Received: several a/conv/'):
        weights.variables(keras.Model(outer, other(inner(outer))))


def test_there_and_back(tmp_path):
    first, second = make_network(), make_network()
    config, arrays = weights.read(write(tmp_path / 'a.npz', first))
    assert config == {'size': 3}
    weights.assign(second, arrays, 'a.npz')
    for actual, expected in zip(second.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize('changes, message', [
    ({'norm/beta': None}, "Received: a.npz, which lacks 'norm/beta' .and 0 more."),
    ({'extra': np.zeros(2)}, "which has in addition 'extra' .and 0 more."),
    ({'inner/conv/bias': np.zeros(4, np.float32)},
     r"a.npz, with 'inner/conv/bias' of shape \(4,\) instead of \(3,\)")])
def test_arrays_that_do_not_fit_change_nothing(tmp_path, changes, message):
    network = make_network()
    before = network.get_weights()
    _, arrays = weights.read(write(tmp_path / 'a.npz', **changes))
    with pytest.raises(ValueError, match=message):
        weights.assign(network, arrays, 'a.npz')
    for actual, expected in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(actual, expected)


def check_unreadable(path):
    with pytest.raises(ValueError, match=f'an NPZ file of training.export, .*Received: {path} '):
        weights.read(path)


@pytest.mark.parametrize('content', [b'', b'nothing', b'PK'])
def test_files_that_are_none(tmp_path, content):
    (tmp_path / 'a.npz').write_bytes(content)
    check_unreadable(tmp_path / 'a.npz')
    check_unreadable(tmp_path / 'missing.npz')


@pytest.mark.parametrize('share', [0.1, 0.5, 0.99])
def test_cut_off_files(tmp_path, share):
    content = write(tmp_path / 'a.npz').read_bytes()
    (tmp_path / 'a.npz').write_bytes(content[:int(share * len(content))])
    check_unreadable(tmp_path / 'a.npz')


def test_a_flipped_bit(tmp_path):
    marked = np.full(3, 1234.5, np.float32)
    content = write(tmp_path / 'a.npz', **{'norm/beta': marked}).read_bytes()
    assert content.count(marked.tobytes()) == 1
    (tmp_path / 'a.npz').write_bytes(
        content.replace(marked.tobytes(), np.full(3, 1234.0, np.float32).tobytes()))
    check_unreadable(tmp_path / 'a.npz')


@pytest.mark.parametrize('config', [
    None, np.array('{'), np.array('3'), np.zeros(2), np.array({'size': 3}, object)])
def test_files_without_a_description(tmp_path, config):
    check_unreadable(write(tmp_path / 'a.npz', **{'config': config}))


def test_keras_files_of_the_other_version_say_so(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.keras', 'w') as file:
        file.writestr('metadata.json', json.dumps({'keras_version': f'{N_OTHER_KERAS}.1.0'}))
    with pytest.raises(ValueError, match=f'.keras file of Keras {5 - N_OTHER_KERAS} .or an NPZ.*'
                                         f'a.keras, written by Keras {N_OTHER_KERAS}.1.0'):
        weights.load_keras_file(tmp_path / 'a.keras')


def test_keras_files_that_are_none(tmp_path):
    (tmp_path / 'a.keras').write_bytes(b'nothing')
    with pytest.raises(ValueError, match='complete and undamaged. Received: .*a.keras'):
        weights.load_keras_file(tmp_path / 'a.keras')
    with zipfile.ZipFile(tmp_path / 'a.keras', 'w') as file:
        file.writestr('metadata.json', json.dumps({'keras_version': keras.__version__}))
    with pytest.raises(ValueError, match='a model of this package. Received: .*a.keras'):
        weights.load_keras_file(tmp_path / 'a.keras')


def test_detectors_there_and_back(tmp_path):
    sizes = {
        'n_channels': 6, 'trunk_channels': [3, 4, 5, 6, 7], 'n_blocks': [0, 1, 0, 2, 1],
        'n_head_blocks': 2, 'bn_momentum': 0.9}
    network = center_net.build_center_net(**sizes)
    assert center_net.describe(network) == {'center_net': sizes}
    write(tmp_path / 'detector.npz', network, center_net.describe(network))
    loaded = center_net.load(tmp_path / 'detector.npz')
    images = np.random.default_rng(0).random((1, 64, 64, 3)).astype(np.float32)
    for name, value in network(images).items():
        np.testing.assert_array_equal(loaded(images)[name], value)
    write(tmp_path / 'detector.npz', network, {'model': {}})
    with pytest.raises(ValueError, match='weights of a detector of this version.*model'):
        center_net.load(tmp_path / 'detector.npz')
