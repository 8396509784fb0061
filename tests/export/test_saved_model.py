"""Exports work without the package, agree with the Python object, and are written whole."""

import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import fingerprint_pb2, saved_model_pb2
from tensorflow.python.saved_model.pywrap_saved_model import fingerprinting

import metro_tf
from metro_tf import crop_network
from metro_tf import estimator as estimator_lib
from metro_tf.detection import PersonDetector, center_net
from metro_tf.export import card, saved_model
from tests import fakes, test_estimator
from tests.export import test_card

IMAGE = np.random.default_rng(0).integers(0, 255, [120, 160, 3]).astype(np.uint8)
DETECTIONS = [[(10, 10, 40, 80, 0.9), (90, 20, 40, 80, 0.7)], [(50, 10, 40, 80, 0.8)]]
INTRINSICS = np.array([[150, 0, 80], [0, 150, 60], [0, 0, 1]], np.float32)

# Runs where metro_tf cannot be imported; every call is one of a user with nothing but an image.
STRANGER = '''
import sys
sys.modules.update(metro_tf=None, training=None)  # importing them fails, installed or not
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
image = np.load(sys.argv[2])
results = {
    'numpy': model.detect_poses(image),
    'tensor': model.detect_poses(tf.constant(image)),
    'batched': model.detect_poses_batched(np.stack([image, image])),
    'estimate': model.estimate_poses(image, [[10.0, 10.0, 40.0, 80.0]], num_aug=2),
    'estimate_batched': model.estimate_poses_batched(
        image[np.newaxis], tf.ragged.constant([[[10.0, 10.0, 40.0, 80.0]]], ragged_rank=1))}
for name, result in results.items():
    values = result['poses3d']
    np.save(f'{name}.npy', values.flat_values if isinstance(values, tf.RaggedTensor) else values)
'''


@pytest.fixture(scope='module')
def estimator():
    return estimator_lib.PoseEstimator(
        fakes.FakeCropModel(), fakes.FakeDetector(DETECTIONS), mean_bone_lengths_mm=[300] * 6)


@pytest.fixture(scope='module')
def folder(estimator, tmp_path_factory):
    path = tmp_path_factory.mktemp('export') / 'fake' / '1'
    saved_model.save(
        estimator, path, model_name='fake', model_version='1', details={'score': 0.5},
        card=test_card.CARD)
    return path


@pytest.fixture(scope='module')
def loaded(folder):
    return metro_tf.load(folder)


def test_works_in_an_interpreter_that_cannot_import_the_package(estimator, folder, tmp_path):
    np.save(tmp_path / 'image.npy', IMAGE)
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    script = tmp_path / 'stranger.py'
    script.write_text(STRANGER)
    subprocess.run(
        [sys.executable, '-I', str(script), str(folder), 'image.npy'], cwd=tmp_path,
        env=environment, check=True, capture_output=True)
    detected = estimator.detect_poses(IMAGE)['poses3d']
    assert len(detected) == 2
    batched = estimator.detect_poses_batched(np.stack([IMAGE, IMAGE]))['poses3d'].flat_values
    box = [[10.0, 10.0, 40.0, 80.0]]
    expected = {
        'numpy': detected, 'tensor': detected, 'batched': batched,
        'estimate': estimator.estimate_poses(IMAGE, box, num_aug=2)['poses3d'],
        'estimate_batched': estimator.estimate_poses(IMAGE, box)['poses3d']}
    for name, poses in expected.items():
        np.testing.assert_allclose(
            np.load(tmp_path / f'{name}.npy'), poses, atol=0.05, err_msg=name)


@pytest.mark.parametrize('kwargs', [
    {}, {'num_aug': 1, 'average_aug': False}, {'skeleton': 'lsp_14', 'max_detections': 1},
    {'distortion_coeffs': [-0.2, 0.05], 'intrinsic_matrix': INTRINSICS},
    {'internal_batch_size': 1, 'antialias_factor': 2, 'suppress_implausible_poses': False},
    {'detector_flip_aug': True, 'detector_threshold': 0.72, 'default_fov_degrees': 40}])
def test_agrees_with_the_python_object(estimator, loaded, kwargs):
    expected = estimator.detect_poses(IMAGE, **kwargs)
    test_estimator.assert_same_people(loaded.detect_poses(IMAGE, **kwargs), expected, atol=0.05)


def test_positional_arguments_have_the_same_order(estimator, loaded):
    arguments = (IMAGE, INTRINSICS, [0.0], np.eye(4), [0, -1, 0], 55, 64, 1, 2, True, '', 0.3, 0.7,
                 -1, False, False)
    test_estimator.assert_same_people(
        loaded.detect_poses(*arguments), estimator.detect_poses(*arguments), atol=0.05)


@pytest.mark.parametrize('name, value, message', test_estimator.BAD_CAMERA)
def test_bad_values_are_named_by_the_export_too(loaded, name, value, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loaded.detect_poses(IMAGE, **{name: value})


def test_bad_boxes_are_named_by_the_export_too(loaded):
    with pytest.raises(tf.errors.InvalidArgumentError, match='`boxes` must be finite with pos'):
        loaded.estimate_poses(IMAGE, [[1, 2, 0, 4]])


def test_wrong_image_types_are_refused(loaded):
    with pytest.raises(TypeError, match='uint8'):
        loaded.detect_poses(tf.zeros([8, 8, 3]))
    with pytest.raises(TypeError, match='shape'):
        loaded.detect_poses(IMAGE[0])


def test_image_without_people_gives_empty_results(tmp_path):
    estimator = estimator_lib.PoseEstimator(fakes.FakeCropModel())
    saved_model.save(estimator, tmp_path / 'model')
    people = metro_tf.load(tmp_path / 'model').detect_poses(IMAGE)
    assert people['boxes'].shape == (0, 5)
    assert people['poses3d'].shape == (0, 7, 3)
    assert people['poses2d'].shape == (0, 7, 2)


def test_attributes_are_those_of_the_estimator(estimator, loaded):
    assert loaded.joint_names.numpy().tolist() == estimator.joint_names.numpy().tolist()
    np.testing.assert_array_equal(loaded.joint_edges, estimator.joint_edges)
    assert set(loaded.per_skeleton_joint_names) == set(estimator.per_skeleton_joint_names)
    for attribute in ('joint_names', 'joint_edges', 'indices'):
        attribute = f'per_skeleton_{attribute}'
        np.testing.assert_array_equal(
            getattr(loaded, attribute)['coco_17'].numpy(),
            getattr(estimator, attribute)['coco_17'].numpy())


def test_crop_model_is_there(loaded):
    assert int(loaded.crop_model.input_resolution) == fakes.CROP_SIDE_PX
    assert loaded.crop_model.joint_names.numpy()[0] == b'pelv'
    np.testing.assert_array_equal(loaded.crop_model.joint_edges, fakes.JOINT_EDGES)
    intrinsics = np.array([[[64, 0, 32], [0, 64, 32], [0, 0, 1]]], np.float32)
    for dtype in crop_network.IMAGE_DTYPES:
        value = 51 if dtype == tf.uint8 else 0.2
        image = np.full([1, 64, 64, 3], value, dtype.as_numpy_dtype)
        for argument in (image, tf.constant(image)):
            poses = loaded.crop_model.predict_multi(argument, intrinsics)
            np.testing.assert_allclose(poses[0, 0], [0, 0, 3200], atol=0.2)


def test_metadata_describe_the_model(loaded):
    metadata = json.loads(loaded.metadata.numpy())
    assert metadata['model_name'] == 'fake' and metadata['model_version'] == '1'
    assert metadata['library_version'] == metro_tf.__version__
    assert metadata['joint_names'] == list(fakes.JOINT_NAMES)
    assert metadata['details'] == {'score': 0.5}
    assert metadata['config']['nms_similarity'] == 0.4
    assert metadata['mean_bone_lengths_mm'] == [300.0] * 6
    assert metadata['mirror_mapping'] == list(fakes.MIRROR_MAPPING)
    assert metadata['card'] == test_card.CARD


def test_fingerprint_of_a_model_is_that_of_its_export(estimator, loaded):
    assert json.loads(loaded.metadata.numpy())['fingerprint'] == card.fingerprint(estimator)


def test_fingerprint_of_the_files_is_true(folder):
    contents = (folder / 'fingerprint.pb').read_bytes(), fingerprinting.CreateFingerprintDef(
        str(folder))
    written, expected = map(fingerprint_pb2.FingerprintDef.FromString, contents)
    for name in ('saved_model_checksum', 'graph_def_program_hash', 'signature_def_hash',
                 'saved_object_graph_hash', 'checkpoint_hash'):
        assert getattr(written, name) == getattr(expected, name) != 0


def test_bad_cards_leave_nothing(estimator, tmp_path):
    with pytest.raises(ValueError, match='`card` must be a dict'):
        saved_model.save(estimator, tmp_path / 'models' / 'model', card={'licence': 'MIT'})
    assert not (tmp_path / 'models').exists()


@pytest.fixture(scope='module')
def own_detector_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('export') / 'own_detector' / '1'
    saved_model.save(make_estimator_with_own_detector(), path)
    return path


def make_estimator_with_own_detector():
    keras.utils.set_random_seed(0)
    net = center_net.build_center_net(
        n_channels=32, trunk_channels=(8, 8, 16, 32, 64), n_blocks=(0, 0, 0, 0, 1))
    center_net.shift_logits(net, 3.0)
    return estimator_lib.PoseEstimator(fakes.FakeCropModel(), PersonDetector(net, 64))


def test_network_of_our_detector_stands_alone(own_detector_folder):
    estimator, loaded = make_estimator_with_own_detector(), metro_tf.load(own_detector_folder)
    assert int(loaded.detector.input_side_px) == 64
    image = np.random.default_rng(0).random([2, 64, 96, 3]).astype(np.float32)
    grids = loaded.detector.network(image)
    assert set(grids) == {'logits', 'offset', 'log_size'}
    for name, values in estimator.detector.model(image, training=False).items():
        np.testing.assert_allclose(grids[name], values, atol=1e-4)
    arguments = {'num_aug': 1, 'detector_threshold': 0.0, 'max_detections': 3,
                 'detector_flip_aug': True, 'suppress_implausible_poses': False}
    expected = estimator.detect_poses(IMAGE, **arguments)
    assert len(expected['boxes']) == 3
    test_estimator.assert_same_people(
        loaded.detect_poses(IMAGE, **arguments), expected, atol=0.05)


def test_networks_are_held_once(own_detector_folder):
    n_weights = make_estimator_with_own_detector().detector.model.count_params()
    path = own_detector_folder / 'saved_model.pb'
    graph = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs[0].graph_def
    functions = [node for function in graph.library.function for node in function.node_def]
    largest = max(node.ByteSize() for node in functions if node.op == 'Const')
    constants = sum(node.ByteSize() for node in graph.node if node.op == 'Const')
    assert largest < 10_000  # functions are copied, so they hold no large weights
    assert 0.9 * 4 * n_weights < constants < 1.1 * 4 * n_weights
    assert path.stat().st_size < 4 * n_weights + 1_500_000


@pytest.mark.parametrize('name, content, reason', [
    ('saved_model.pb', b'garbage', 'saved_model.pb'), ('saved_model.pb', 0.5, 'saved_model.pb'),
    ('variables/variables.index', None, 'variables'),
    ('variables/variables.index', b'garbage', '.'),
    ('variables/variables.data-00000-of-00001', None, 'variables'),
    ('variables/variables.data-00000-of-00001', 0.5, '.')])
def test_damaged_exports_are_refused_by_name(folder, tmp_path, name, content, reason):
    damaged = tmp_path / 'damaged'
    shutil.copytree(folder, damaged)
    whole = (damaged / name).read_bytes()
    (damaged / name).unlink()
    for written in [content] if isinstance(content, bytes) else []:
        (damaged / name).write_bytes(written)
    for share in [content] if isinstance(content, float) else []:
        (damaged / name).write_bytes(whole[:int(share * len(whole))])
    with pytest.raises(ValueError, match=(
            '`name_or_path` must be a whole SavedModel; a file in it is damaged or missing. '
            rf'Received: {damaged} \(.*{reason}.*\)')):
        metro_tf.load(damaged)


@pytest.fixture(scope='module')
def unsure_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('export') / 'unsure' / '1'
    saved_model.save(make_unsure_estimator(), path)
    return path


def make_unsure_estimator():
    return estimator_lib.PoseEstimator(
        fakes.FakeUnsureCropModel(), fakes.FakeDetector(DETECTIONS), uncertainty=True)


@pytest.mark.parametrize('kwargs', [{}, {
    'num_aug': 2, 'average_aug': False, 'skeleton': 'lsp_14', 'internal_batch_size': 1}])
def test_uncertainty_is_exported(unsure_folder, kwargs):
    estimator, loaded = make_unsure_estimator(), metro_tf.load(unsure_folder)
    expected = estimator.detect_poses(IMAGE, **kwargs)
    assert len(expected['uncertainty']) > 0
    test_estimator.assert_same_people(loaded.detect_poses(IMAGE, **kwargs), expected, atol=0.05)
    images, boxes = np.stack([IMAGE] * 2), tf.ragged.constant(
        [[[10.0, 10.0, 40.0, 80.0]], []], ragged_rank=1, inner_shape=(4,))
    expected = estimator.estimate_poses_batched(images, boxes, **kwargs)
    actual = loaded.estimate_poses_batched(images, boxes, **kwargs)
    assert actual['uncertainty'].shape == expected['uncertainty'].shape
    np.testing.assert_allclose(
        actual['uncertainty'].flat_values, expected['uncertainty'].flat_values, rtol=1e-3)


def test_uncertainty_in_networks_and_metadata(unsure_folder, loaded):
    unsure = metro_tf.load(unsure_folder)
    inputs = np.full([1, 64, 64, 3], 0.2, np.float32), INTRINSICS[np.newaxis]
    assert set(unsure.crop_model.network(*inputs)) == {'poses', 'uncertainty'}
    np.testing.assert_allclose(
        unsure.crop_model.network(*inputs)['uncertainty'][0], 10 * np.arange(1, 8) + 20, atol=0.01)
    assert set(loaded.crop_model.network(*inputs)) == {'poses'}
    configs = [json.loads(model.metadata.numpy())['config'] for model in (unsure, loaded)]
    assert [config['uncertainty'] for config in configs] == [True, False]
    assert 'uncertainty' not in loaded.detect_poses(IMAGE)


def test_crop_model_gives_poses_alone(unsure_folder):
    crop_model = metro_tf.load(unsure_folder).crop_model
    intrinsics = np.array([[[64, 0, 32], [0, 64, 32], [0, 0, 1]]], np.float32)
    poses = crop_model.predict_multi(np.full([1, 64, 64, 3], 0.2, np.float32), intrinsics)
    np.testing.assert_allclose(poses[0, 0], [0, 0, 3200], atol=0.2)


def test_nothing_of_the_python_objects_is_exported(loaded):
    assert not hasattr(loaded, 'functions')
    assert not hasattr(loaded, 'detector')
    assert not hasattr(loaded.crop_model, 'crop_model')


def test_existing_folder_is_kept_unless_told_otherwise(estimator, tmp_path):
    path = tmp_path / 'model'
    path.mkdir()
    (path / 'note.txt').write_text('mine')
    with pytest.raises(ValueError, match='`path` must not exist unless `overwrite`'):
        saved_model.save(estimator, path)
    assert (path / 'note.txt').read_text() == 'mine'
    saved_model.save(estimator, path, overwrite=True)
    assert (path / 'saved_model.pb').is_file() and not (path / 'note.txt').exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ['model']


def test_a_failed_export_leaves_nothing(estimator, tmp_path, monkeypatch):
    def fail(folder):
        raise OSError('disk full')

    monkeypatch.setattr(saved_model.slimming, 'slim', fail)
    with pytest.raises(OSError, match='disk full'):
        saved_model.save(estimator, tmp_path / 'models' / 'model')
    assert list((tmp_path / 'models').iterdir()) == []
