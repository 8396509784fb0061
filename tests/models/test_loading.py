import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import metro_tf
from metro_tf import losses, models, skeleton, weights
from metro_tf.backbones import top_down
from metro_tf.config import HeatmapConfig
from metro_tf.detection import PersonDetector
from metro_tf.models import Metrabs, builder
from metro_tf.models.config import ModelConfig
from tests.models import common

DATA_DIR = pathlib.Path(__file__).parents[1] / 'data'

LOAD = '''
import sys
from metro_tf import models
model = models.load_crop_model(sys.argv[1])
print(float(abs(model.get_weights()[0]).sum()))
'''


def test_a_program_that_imports_nothing_else_loads_a_saved_model(tmp_path):
    """The layers inside the backbone come with the module of the models."""
    backbone = top_down.build_top_down('compact_resnet', 8, 16)
    joints = skeleton.METRO_24
    model = Metrabs(
        backbone, joints.joint_names, joints.edges, crop_side_px=64, stride_px=8)
    model({'image': tf.zeros([1, 64, 64, 3]), 'intrinsics': tf.eye(3, batch_shape=[1])})
    path = tmp_path / 'model.keras'
    model.save(str(path))
    output = subprocess.run(
        [sys.executable, '-c', LOAD, str(path)], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(
        float(output.stdout.split()[-1]), np.abs(model.get_weights()[0]).sum(), rtol=1e-5)


JOINTS = skeleton.from_paths('neck lsho rsho pelv', 'pelv-neck-lsho neck-rsho')
CONFIG = ModelConfig(
    'compact_resnet', 8, heatmap=HeatmapConfig(64, 8, n_depth_cells=4), skeleton=JOINTS)
I_LSHO = JOINTS.index('lsho')


def stored_value(name, shape):
    """What the stored files hold: numbers that repeat, other ones for every name."""
    period = np.arange(5 + len(name) % 7)
    return np.resize(np.float32(0.01 + 0.02 * period * (-1.0) ** (period % 2 * (
        not name.endswith('variance')))), shape)


@pytest.mark.parametrize('keras_version', [2, 3])
def test_files_of_either_keras(keras_version):
    path = DATA_DIR / f'crop_model_keras{keras_version}.npz'
    model = models.load_crop_model(path)
    assert type(model) is Metrabs and model.skeleton == JOINTS
    for name, variable in weights.variables(model).items():
        np.testing.assert_array_equal(
            variable.numpy(), stored_value(name, variable.shape), err_msg=name)


@pytest.fixture(scope='module')
def arrays():
    """What the file of a tiny model holds."""
    model = builder.build_crop_model(CONFIG)
    return weights.to_arrays(model, builder.describe(model, CONFIG))


@pytest.fixture
def folder(arrays, tmp_path):
    """Folder of the weights of a tiny model."""
    np.savez(tmp_path / 'crop_model.npz', **arrays)
    return tmp_path


def relative_loss(poses_true, poses_pred):
    return losses.root_relative_loss(
        poses_true, poses_pred, tf.ones(tf.shape(poses_true)[:2], tf.bool))


@pytest.mark.parametrize('joints', [None, 'coco_17'])
def test_a_loaded_model_is_ready_to_fit(folder, joints):
    model = models.load_crop_model(folder, skeleton=joints)
    inputs = common.make_inputs(8)
    labels = np.random.default_rng(1).normal(
        [0, 0, 3000], 300, (8, len(model.joint_names), 3)).astype(np.float32)
    model.compile(keras.optimizers.Adam(1e-2), loss=relative_loss)
    first = model.fit(inputs, labels, batch_size=4, epochs=1, verbose=0)
    assert len(first.history['loss']) == 1 and model.optimizer.iterations == 2
    last = model.fit(inputs, labels, batch_size=4, epochs=10, verbose=0)
    assert last.history['loss'][-1] < 0.9 * first.history['loss'][0]


def test_new_joints_of_a_file(folder):
    old = models.load_crop_model(folder / 'crop_model.npz')
    new = models.load_crop_model(folder / 'crop_model.npz', 'coco_17')
    assert new.joint_names == skeleton.CONVENTIONS['coco_17'].joint_names
    image = common.make_inputs()['image']
    for before, after in zip(old.predict_logits(image), new.predict_logits(image)):
        np.testing.assert_allclose(
            after[..., new.skeleton.index('lsho')], before[..., I_LSHO], atol=1e-5)


def test_a_release_agrees_with_its_export():
    """The network of the released weights is that of the default export."""
    model = models.load_crop_model('default')
    assert type(model) is Metrabs and model.skeleton == skeleton.METRO_24
    images = np.random.default_rng(0).random((2, 128, 128, 3)).astype(np.float32)
    intrinsics = np.tile(np.float32([[150, 0, 64], [0, 150, 64], [0, 0, 1]]), (2, 1, 1))
    exported = metro_tf.load('default')
    np.testing.assert_allclose(
        model((images, intrinsics)), exported.crop_model.predict_multi(images, intrinsics),
        atol=0.1)


def test_the_detector_of_a_release():
    detector = PersonDetector.load('default', 64)
    assert detector.input_side_px == 64
    boxes = detector.predict_multi_image(
        np.zeros([1, 48, 64, 3], np.uint8), 0.3, 0.7, False, False)
    assert boxes.shape[0] == 1 and boxes.row_lengths().numpy().tolist() == [0]


def test_errors(folder):
    with pytest.raises(ValueError, match="one of .*'default'.* Received: 'huge'"):
        models.load_crop_model('huge')
    with pytest.raises(ValueError, match='weights of its detector, which training.export writes'):
        PersonDetector.load(folder)
    content = (folder / 'crop_model.npz').read_bytes()
    (folder / 'crop_model.npz').write_bytes(content[:len(content) // 2])
    with pytest.raises(ValueError, match='an NPZ file of .* complete and undamaged'):
        models.load_crop_model(folder)


def test_arrays_that_do_not_fit_are_named(arrays, folder):
    np.savez(folder / 'crop_model.npz', **{
        name: array for name, array in arrays.items() if name != 'heads/conv/bias'})
    with pytest.raises(ValueError, match="crop_model.npz, which lacks 'heads/conv/bias'"):
        models.load_crop_model(folder)
