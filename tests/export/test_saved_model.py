"""Exports work without the package, agree with the Python object, and are written whole."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import metro_tf
from metro_tf import crop_network
from metro_tf import estimator as estimator_lib
from metro_tf.export import saved_model
from tests import fakes, test_estimator

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
        estimator, path, model_name='fake', model_version='1', details={'score': 0.5})
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


def test_uncertainty_in_signatures_and_metadata(unsure_folder, loaded):
    unsure = metro_tf.load(unsure_folder)
    result = unsure.signatures['serving_default'](images=tf.constant(np.stack([IMAGE] * 3)))
    np.testing.assert_array_equal(result['n_people'], [2, 1, 0])
    assert result['uncertainty'].shape == (3, 2, 7)
    assert np.all(result['uncertainty'][0] > 0)
    np.testing.assert_array_equal(result['uncertainty'][1, 1:], np.zeros([1, 7]))
    given = unsure.signatures['estimate_poses'](
        images=tf.constant(IMAGE[None]), boxes=tf.constant([[[10.0, 10.0, 40.0, 80.0]]]),
        n_boxes=tf.constant([1]))
    assert given['uncertainty'].shape == (1, 1, 7)
    configs = [json.loads(model.metadata.numpy())['config'] for model in (unsure, loaded)]
    assert [config['uncertainty'] for config in configs] == [True, False]
    assert 'uncertainty' not in loaded.detect_poses(IMAGE)


def test_crop_model_gives_poses_alone(unsure_folder):
    crop_model = metro_tf.load(unsure_folder).crop_model
    intrinsics = np.array([[[64, 0, 32], [0, 64, 32], [0, 0, 1]]], np.float32)
    poses = crop_model.predict_multi(np.full([1, 64, 64, 3], 0.2, np.float32), intrinsics)
    np.testing.assert_allclose(poses[0, 0], [0, 0, 3200], atol=0.2)


def test_default_signature_is_dense(estimator, loaded):
    images = np.stack([IMAGE] * 3)
    result = loaded.signatures['serving_default'](images=tf.constant(images))
    np.testing.assert_array_equal(result['n_people'], [2, 1, 0])
    assert result['poses3d'].shape == (3, 2, 7, 3)
    expected = estimator.detect_poses_batched(images)
    np.testing.assert_allclose(result['poses3d'][1, :1], expected['poses3d'][1], atol=0.05)
    np.testing.assert_array_equal(result['poses3d'][1, 1:], np.zeros([1, 7, 3]))
    np.testing.assert_array_equal(result['boxes'][2], np.zeros([2, 5]))


def test_estimate_signature_takes_padded_boxes(estimator, loaded):
    boxes = np.array([[(10, 10, 40, 80), (0, 0, 0, 0)], [(50, 10, 40, 80), (90, 20, 40, 80)]])
    result = loaded.signatures['estimate_poses'](
        images=tf.constant(np.stack([IMAGE] * 2)), boxes=tf.constant(boxes, tf.float32),
        n_boxes=tf.constant([1, 2]))
    expected = estimator.estimate_poses(IMAGE, boxes[1])
    np.testing.assert_allclose(result['poses3d'][1], expected['poses3d'], atol=0.05)
    np.testing.assert_array_equal(result['n_people'], [1, 2])


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


def fake_models(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / 'saved_model.pb').touch()


def test_names_mean_the_highest_version(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, '_PACKAGE_DIR', tmp_path / 'metro_tf')
    fake_models(tmp_path / 'saved_models', 'default/2', 'default/10', 'default/9', 'small/1.9',
                'small/1.10')
    (tmp_path / 'saved_models' / 'default' / '11').mkdir()  # without a model
    assert saved_model.find('default').name == '10'
    assert saved_model.find('default/9').name == '9'
    assert saved_model.find('small').name == '1.10'


def test_installed_models_go_before_those_of_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, '_PACKAGE_DIR', tmp_path / 'metro_tf')
    fake_models(tmp_path, 'saved_models/default/1', 'metro_tf/saved_models/default/1')
    assert saved_model.find() == tmp_path / 'metro_tf' / 'saved_models' / 'default' / '1'


def test_wrong_names_and_folders_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, '_PACKAGE_DIR', tmp_path / 'metro_tf')
    fake_models(tmp_path / 'saved_models', 'default/1')
    with pytest.raises(ValueError, match="(?s)one of .*'default'.*Received: 'huge'"):
        metro_tf.load('huge')
    with pytest.raises(ValueError, match='`name_or_path` must be the folder of a SavedModel'):
        metro_tf.load(pathlib.Path(tmp_path))
