import numpy as np
import pytest
import tensorflow as tf

from tests.training.original_weights import released_files
from training.original_weights import layouts, tensorflow_release

TENSORS = {
    'stem/conv2d/kernel': np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2),
    'blocks_0/tpu_batch_normalization/gamma': np.ones(2, np.float32),
    'heatmap_heads/conv_final/kernel': np.full([1, 1, 2, 6], 3, np.float32),
    'heatmap_heads/conv_final/bias': np.full(6, 4, np.float32)}
NAMES, EDGES = ['lhip_h36m', 'rhip_h36m'], [[0, 1]]
SKELETONS = {'h36m_2': (['lhip', 'rhip'], [0, 1]), 'turned': (['rhip', 'lhip'], [1, 0])}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'model'
    released_files.write_saved_model(
        path, TENSORS, NAMES, EDGES, 384, SKELETONS, network='efficientnetv2-s/')
    return path


def assert_complete(found):
    assert found.naming == layouts.TENSORFLOW
    assert sorted(found.tensors) == sorted(TENSORS)
    for name, value in found.tensors.items():
        np.testing.assert_array_equal(value, TENSORS[name])
    assert found.joint_names == ('lhip_h36m', 'rhip_h36m') and found.joint_edges == ((0, 1),)
    assert found.crop_side_px == 384 and len(found.others) == 3
    assert found.skeletons == {
        'h36m_2': (('lhip', 'rhip'), (0, 1)), 'turned': (('rhip', 'lhip'), (1, 0))}


def test_everything_is_read_and_the_detector_is_left(folder):
    assert_complete(tensorflow_release.read(folder))


def test_names_survive_that_the_model_was_loaded_and_saved_again(folder, tmp_path):
    """The release was made so: its crop model had been a SavedModel before."""
    again = tmp_path / 'again'
    tf.saved_model.save(tf.saved_model.load(str(folder)), str(again))
    assert_complete(tensorflow_release.read(again))


def test_a_crop_model_alone(folder, tmp_path):
    path = tmp_path / 'crop_model'
    tf.saved_model.save(tf.saved_model.load(str(folder)).crop_model, str(path))
    found = tensorflow_release.read(path)
    assert sorted(found.tensors) == sorted(TENSORS)
    assert found.joint_names == tuple(NAMES) and found.skeletons == {}


@pytest.mark.parametrize('network', ['', 'efficientnetv2-l/', 'metrabs/efficientnetv2-m_1/'])
def test_names_of_networks_are_left_out(network, tmp_path):
    path = tmp_path / 'model'
    released_files.write_saved_model(path, TENSORS, NAMES, EDGES, 256, network=network)
    assert sorted(tensorflow_release.read(path).tensors) == sorted(TENSORS)


def test_models_without_joints(tmp_path):
    module = tf.Module()
    module.kernel = tf.Variable([1.0], name='Conv/kernel')
    tf.saved_model.save(module, str(tmp_path / 'model'))
    found = tensorflow_release.read(tmp_path / 'model')
    assert list(found.tensors) == ['Conv/kernel']
    assert found.joint_names is None and found.joint_edges is None
    assert found.crop_side_px is None and found.skeletons == {}


def test_refuses_two_variables_of_one_name(tmp_path):
    module = tf.Module()
    module.kernels = [tf.Variable([1.0], name=f'efficientnetv2-{size}/a') for size in 'sm']
    tf.saved_model.save(module, str(tmp_path / 'model'))
    with pytest.raises(ValueError, match="must hold variables of distinct names. Received: 'a'"):
        tensorflow_release.read(tmp_path / 'model')


def test_refuses_other_folders(tmp_path):
    with pytest.raises(ValueError, match=f'must be a SavedModel with .* Received: {tmp_path}'):
        tensorflow_release.read(tmp_path)


@pytest.mark.parametrize('pattern, n_bytes', [
    ('*.index', 0), ('*.index', 200), ('*.data*', 0), ('*.data*', 50)])
def test_refuses_damaged_folders(folder, pattern, n_bytes):
    path, = (folder / 'variables').glob(pattern)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=f'must be an undamaged SavedModel. Received: {folder}: .'):
        tensorflow_release.read(folder)
