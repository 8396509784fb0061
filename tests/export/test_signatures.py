"""Signatures give dense results, equal to those of the methods, in sessions without Python."""

import concurrent.futures
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from metro_tf import arguments
from metro_tf.export import saved_model, signatures
from tests import fakes
from tests.export import sessions

PHOTOS = [sessions.photo(2), sessions.photo(0), sessions.photo(3, 110, 240), sessions.photo(1),
          sessions.photo(1, 110, 240)]
PNGS = [sessions.png(photo) for photo in PHOTOS]
RESULTS = {'boxes': (5,), 'poses3d': (7, 3), 'poses2d': (7, 2), 'detection_indices': (),
           'uncertainty': (7,)}
OPTIONS = {'num_aug': 2, 'skeleton': 'lsp_14', 'default_fov_degrees': 40.0,
           'suppress_implausible_poses': False, 'detector_threshold': 0.75}
INTRINSICS = np.array([[150, 0, 80], [0, 150, 60], [0, 0, 1]], np.float32)

# Runs where metro_tf cannot be imported.
STRANGER = '''
import sys
sys.modules.update(metro_tf=None, training=None)
import numpy as np
import tensorflow as tf
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    signature = tf.compat.v1.saved_model.loader.load(
        session, ['serve'], sys.argv[1]).signature_def['serving_default']
    [name] = [info.name for info in signature.inputs.values()]
    np.save(sys.argv[3], session.run(
        signature.outputs['poses3d'].name, {name: [open(sys.argv[2], 'rb').read()]}))
'''


@pytest.fixture(scope='module')
def estimator():
    return sessions.make_estimator()


@pytest.fixture(scope='module')
def folder(estimator, tmp_path_factory):
    path = tmp_path_factory.mktemp('signatures') / 'counting' / '1'
    saved_model.save(estimator, path, model_name='counting', model_version='1')
    return path


@pytest.fixture(scope='module')
def session(folder):
    return sessions.SignatureSession(folder)


def assert_image_holds(results, i_image, expected):
    """Row `i_image` of dense results is what a method gave, and zeros behind it."""
    n_people = len(expected['poses3d'])
    assert results['n_people'][i_image] == n_people
    for name, values in expected.items():
        row = results[name][i_image]
        np.testing.assert_allclose(row[:n_people], values, atol=0.05, err_msg=name)
        np.testing.assert_array_equal(row[n_people:], np.zeros_like(row[n_people:]))


def test_inputs_and_outputs_are_named_and_dense(session):
    people = {*RESULTS, 'n_people'}
    detect = {option.name for option in signatures.options_of('detect_poses_batched')}
    estimate = {option.name for option in signatures.options_of('estimate_poses_batched')}
    expected = {
        'serving_default': ({'image_bytes'}, people),
        'predict_encoded': ({'image_bytes', 'ignore_broken_images', *detect}, people),
        'predict_images': ({'images', *detect}, people),
        'predict_boxes': ({'images', 'boxes', 'n_boxes', *estimate}, people - {'boxes'}),
        'model_info': ({'skeleton'}, {'joint_names', 'joint_edges', 'metadata'})}
    assert set(expected) == set(signatures.NAMES)
    for name, (inputs, outputs) in expected.items():
        signature = session.signatures[name]
        assert (set(signature.inputs), set(signature.outputs)) == (inputs, outputs)
        assert not any(info.tensor_shape.unknown_rank for info in signature.outputs.values())
    assert 'average_aug' not in detect | estimate


@pytest.mark.parametrize('signature_name, method_name', [
    ('predict_encoded', 'detect_poses_batched'), ('predict_images', 'detect_poses_batched'),
    ('predict_boxes', 'estimate_poses_batched')])
def test_defaults_are_those_of_the_methods(session, signature_name, method_name):
    signature = session.signatures[signature_name]
    defaults = {name: tf.make_ndarray(proto) for name, proto in signature.defaults.items()}
    if signature_name == 'predict_encoded':
        assert not defaults.pop('ignore_broken_images')
    options = signatures.options_of(method_name)
    assert set(defaults) == {option.name for option in options}
    for option in options:
        expected = tf.constant(option.default_in(method_name), option.dtype).numpy()
        np.testing.assert_array_equal(defaults[option.name], expected)
        assert defaults[option.name].shape == np.shape(expected)


def test_graphs_know_the_defaults_too(session):
    results = session.run_alone('predict_encoded', image_bytes=PNGS[:2])
    expected = session.run('predict_encoded', image_bytes=PNGS[:2])
    for name, values in expected.items():
        np.testing.assert_allclose(results[name], values, atol=0.05, err_msg=name)


@pytest.mark.parametrize('name', ['serving_default', 'predict_encoded'])
def test_encoded_images_of_any_sizes_give_what_each_gives_alone(estimator, session, name):
    results = session.run(name, image_bytes=PNGS)
    for output, shape in RESULTS.items():
        assert results[output].shape == (5, 3, *shape)
    for i, photo in enumerate(PHOTOS):
        assert_image_holds(results, i, estimator.detect_poses(photo))


def test_options_and_cameras_of_encoded_images(estimator, session):
    intrinsics = INTRINSICS * np.linspace(1, 1.5, 5)[:, np.newaxis, np.newaxis]
    intrinsics[:, 2, 2] = 1
    results = session.run(
        'predict_encoded', image_bytes=PNGS, intrinsic_matrix=intrinsics, **OPTIONS)
    for i, photo in enumerate(PHOTOS):
        expected = estimator.detect_poses(photo, intrinsic_matrix=intrinsics[i], **OPTIONS)
        assert_image_holds(results, i, expected)
    assert results['n_people'].tolist() == [2, 0, 2, 1, 1]
    assert results['poses3d'].shape == (5, 2, 6, 3)


def test_broken_images_are_refused_by_index_or_have_nobody(estimator, session):
    contents = [PNGS[0], PNGS[1][:-30], b'', PNGS[2]]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'\[1 2\] .of. .4. .images'):
        session.run('serving_default', image_bytes=contents)
    results = session.run('predict_encoded', image_bytes=contents, ignore_broken_images=True)
    assert results['n_people'].tolist() == [2, 0, 0, 3]
    assert_image_holds(results, 3, estimator.detect_poses(PHOTOS[2]))
    results = session.run('predict_encoded', image_bytes=[b''], ignore_broken_images=True)
    assert results['poses3d'].shape == (1, 0, 7, 3) and results['n_people'].tolist() == [0]


@pytest.mark.parametrize('name, inputs', [
    ('serving_default', {'image_bytes': np.zeros([0], object)}),
    ('predict_encoded', {'image_bytes': np.zeros([0], object)}),
    ('predict_images', {'images': np.zeros([0, 20, 30, 3], np.uint8)}),
    ('predict_boxes', {
        'images': np.zeros([0, 20, 30, 3], np.uint8), 'boxes': np.zeros([0, 2, 4]),
        'n_boxes': np.zeros([0], np.int32)})])
def test_no_images_give_empty_results(session, name, inputs):
    results = session.run(name, **inputs)
    for output in set(results) - {'n_people'}:
        assert results[output].shape == (0, 0, *RESULTS[output])
    assert results['n_people'].shape == (0,)


def test_images(estimator, session):
    images = np.stack([PHOTOS[1], PHOTOS[0], PHOTOS[3]])
    results = session.run('predict_images', images=images, **OPTIONS)
    for i, photo in enumerate(images):
        assert_image_holds(results, i, estimator.detect_poses(photo, **OPTIONS))


def test_boxes(estimator, session):
    boxes = np.array([[(10, 10, 40, 80), (0, 0, 0, 0)], [(50, 10, 40, 80), (90, 20, 40, 80)]])
    images = np.stack([PHOTOS[0], PHOTOS[1]])
    results = session.run(
        'predict_boxes', images=images, boxes=boxes, n_boxes=[1, 2], num_aug=2,
        extrinsic_matrix=np.eye(4)[np.newaxis])
    for i, count in enumerate([1, 2]):
        assert_image_holds(
            results, i, estimator.estimate_poses(images[i], boxes[i, :count], num_aug=2))
    assert np.all(results['uncertainty'][1] > 0)


def test_model_info(session):
    info = session.run('model_info', skeleton='')
    assert [name.decode() for name in info['joint_names']] == list(fakes.JOINT_NAMES)
    np.testing.assert_array_equal(info['joint_edges'], fakes.JOINT_EDGES)
    assert json.loads(info['metadata'])['model_name'] == 'counting'
    names = session.run('model_info', skeleton='lsp_14')['joint_names']
    assert [name.decode() for name in names] == ['rank', 'lank', 'rwri', 'lwri', 'neck', 'htop']


@pytest.mark.parametrize('name, inputs, message', [
    ('model_info', {'skeleton': 'no_such_14'}, '(?s)`skeleton` must be empty or one of .*no_such'),
    ('predict_encoded', {'image_bytes': PNGS[:1], 'skeleton': 'no_such_14'}, '`skeleton` must be'),
    ('predict_encoded', {'image_bytes': [], 'num_aug': 0}, '`num_aug` must be at least 1'),
    ('predict_encoded', {'image_bytes': PNGS[:3], 'intrinsic_matrix': [INTRINSICS] * 2},
     '(?s)`intrinsic_matrix` must be given once or once per image.*2.*for.*3.*images'),
    ('predict_boxes', {'images': [PHOTOS[0]], 'boxes': [[[1, 2, 3, 4]]], 'n_boxes': [2]},
     '`n_boxes` must be between 0 and the number of boxes given'),
    ('predict_boxes', {'images': [PHOTOS[0]], 'boxes': [[[1, 2, 0, 4]]], 'n_boxes': [1]},
     '`boxes` must be finite with positive width')])
def test_bad_values_are_named(session, name, inputs, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        session.run(name, **inputs)


@pytest.mark.parametrize('name, inputs', [
    ('serving_default', {'image_bytes': PNGS[0]}), ('predict_images', {'images': PHOTOS[0]}),
    ('predict_boxes', {'images': [PHOTOS[0]], 'boxes': [[1, 2, 3, 4]], 'n_boxes': [1]})])
def test_wrong_shapes_are_refused(session, name, inputs):
    with pytest.raises(ValueError, match='Cannot feed value of shape'):
        session.run(name, **inputs)


def test_missing_inputs_are_refused(session):
    with pytest.raises(tf.errors.InvalidArgumentError, match='predict_boxes_n_boxes'):
        session.run('predict_boxes', images=[PHOTOS[0]], boxes=[[[1, 2, 3, 4]]])


def test_eight_threads_at_once_get_what_one_gets(session):
    single = [session.run('serving_default', image_bytes=[content]) for content in PNGS]
    jobs = list(range(len(PNGS))) * 5
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(
            lambda i: session.run('serving_default', image_bytes=[PNGS[i]]), jobs))
    for i, results in zip(jobs, together):
        for name, values in single[i].items():
            np.testing.assert_allclose(results[name], values, atol=0.05, err_msg=name)


def test_sessions_need_no_package(folder, estimator, tmp_path):
    (tmp_path / 'photo.png').write_bytes(PNGS[0])
    (tmp_path / 'stranger.py').write_text(STRANGER)
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    subprocess.run(
        [sys.executable, '-I', 'stranger.py', str(folder), 'photo.png', 'poses.npy'],
        cwd=tmp_path, env=environment, check=True, capture_output=True)
    np.testing.assert_allclose(
        np.load(tmp_path / 'poses.npy')[0], estimator.detect_poses(PHOTOS[0])['poses3d'],
        atol=0.05)


def test_python_calls_signatures_too(folder, estimator):
    called = tf.saved_model.load(str(folder)).signatures
    assert_image_holds(
        called['serving_default'](tf.constant(PNGS)), 2, estimator.detect_poses(PHOTOS[2]))
    # TensorFlow's Python interface asks for all inputs of a signature.
    defaults = signatures.defaults_of('detect_poses_batched')
    images = tf.constant(PHOTOS[0][np.newaxis])
    assert_image_holds(
        called['predict_images'](images=images, **defaults), 0, estimator.detect_poses(PHOTOS[0]))
    with pytest.raises(TypeError):
        called['predict_images'](images=images)


def test_options_keep_the_order_of_the_table():
    names = [option.name for option in signatures.options_of('detect_poses_batched')]
    table = [argument.name for argument in arguments.ARGUMENTS]
    assert names == sorted(names, key=table.index) and names[0] == 'intrinsic_matrix'
