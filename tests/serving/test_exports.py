"""The client gives from an export on a server what the export's own methods give."""

import io

from PIL import Image
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import estimator as estimator_lib
from metro_tf import serving
from metro_tf.export import saved_model
from tests import fakes
from tests.serving import server

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, [3, 120, 160, 3]).astype(np.uint8)
OTHER_SIZE = RNG.integers(0, 255, [90, 70, 3]).astype(np.uint8)
DETECTIONS = [
    [(10, 10, 40, 80, 0.9), (90, 20, 40, 80, 0.7), (60, 20, 40, 80, 0.2)], [],
    [(50, 10, 40, 80, 0.8)]]
CAMERAS = {
    'intrinsic_matrix': [[[150, 0, 80], [0, 150, 60], [0, 0, 1]]],
    'extrinsic_matrix': [[[0, -1, 0, 100], [1, 0, 0, 20], [0, 0, 1, 3], [0, 0, 0, 1]]],
    'distortion_coeffs': [[-0.1, 0.02]], 'world_up_vector': [-1, 0, 0]}
OPTIONS = {**CAMERAS, 'num_aug': 3, 'skeleton': '', 'detector_threshold': 0.1,
           'suppress_implausible_poses': False}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    estimator = estimator_lib.PoseEstimator(
        fakes.FakeUnsureCropModel(), fakes.FakeDetector(DETECTIONS),
        mean_bone_lengths_mm=[300] * 6, uncertainty=True)
    folder = tmp_path_factory.mktemp('served')
    saved_model.save(estimator, folder / '1', model_name='fake', model_version='1')
    return folder


@pytest.fixture(scope='module')
def model(folder):
    return saved_model.load(folder / '1')


@pytest.fixture(scope='module')
def exported_server(folder):
    with server.ModelServer({'fake': folder}) as model_server:
        yield model_server


@pytest.fixture(params=['rest_url', 'grpc_url'])
def client(request, exported_server):
    with serving.Client(
            getattr(exported_server, request.param), 'fake', timeout_s=120) as client:
        yield client


def check_people(people, expected):
    """Compares `People` with a dict of rows, one per person."""
    given = {name: value for name, value in vars(people).items() if value is not None}
    assert set(given) == set(expected)
    for name, value in expected.items():
        assert given[name].dtype == value.dtype.as_numpy_dtype
        np.testing.assert_allclose(given[name], value, rtol=1e-5, atol=0.02)


def check_batch(batch, expected, n_people):
    assert [len(people) for people in batch] == n_people
    for i, people in enumerate(batch):
        check_people(people, {name: value[i] for name, value in expected.items()})


@pytest.mark.parametrize('options', [{}, OPTIONS])
def test_detect_batched(client, model, options):
    batch = client.detect_poses_batched(IMAGES, **options)
    expected = model.detect_poses_batched(IMAGES, **options)
    assert set(expected) == {
        'boxes', 'poses3d', 'poses2d', 'detection_indices', 'uncertainty'}
    n_people = expected['poses3d'].row_lengths().numpy().tolist()
    assert sum(n_people) > 0
    check_batch(batch, expected, n_people)


def test_detect_one(client, model):
    options = {name: value[0] if name in list(CAMERAS)[:3] else value
               for name, value in OPTIONS.items()}
    people = client.detect_poses(IMAGES[0], **options)
    assert len(people) == 3
    check_people(people, model.detect_poses(IMAGES[0], **options))


def test_estimate(client, model):
    boxes = [np.float32([[10, 10, 40, 80], [90, 20, 40, 80]]), [], [[50, 10, 40, 80]]]
    batch = client.estimate_poses_batched(IMAGES, boxes, num_aug=2, **CAMERAS)
    ragged = tf.RaggedTensor.from_row_lengths(tf.concat([boxes[0], boxes[2]], axis=0), [2, 0, 1])
    check_batch(
        batch, model.estimate_poses_batched(IMAGES, ragged, num_aug=2, **CAMERAS), [2, 0, 1])
    people = client.estimate_poses(IMAGES[0], boxes[0], num_aug=2)
    check_people(people, model.estimate_poses(IMAGES[0], boxes[0], num_aug=2))


def test_encoded_images_of_different_sizes(client, model):
    files = [png(IMAGES[0]), b'broken', png(OTHER_SIZE)]
    batch = client.detect_poses_encoded(
        files, ignore_broken_images=True, suppress_implausible_poses=False)
    assert [len(people) for people in batch] == [2, 0, 2]
    for people, image in ((batch[0], IMAGES[0]), (batch[2], OTHER_SIZE)):
        check_people(people, model.detect_poses(image, suppress_implausible_poses=False))
    with pytest.raises(ValueError, match=r'the server refused the request: .*\[1\]'):
        client.detect_poses_encoded(files)


def test_nobody(client):
    people, = client.detect_poses_encoded([b'broken'], ignore_broken_images=True)
    assert people.poses3d.shape == (0, len(fakes.JOINT_NAMES), 3) and people.boxes.shape == (0, 5)


def test_joints_and_metadata(client):
    assert client.joints() == (fakes.JOINT_NAMES, fakes.JOINT_EDGES)
    assert client.metadata()['model_name'] == 'fake'
    client.wait_until_ready(timeout_s=5)


@pytest.mark.parametrize('options, text', [
    ({'num_aug': 0}, '`num_aug`'), ({'skeleton': 'none'}, '`skeleton`'),
    ({'intrinsic_matrix': np.zeros([3, 3])}, '`intrinsic_matrix`')])
def test_refusals_name_the_argument(client, options, text):
    with pytest.raises(ValueError, match=f'^[^\n]*the server refused the request: [^\n]*{text}'):
        client.detect_poses(IMAGES[0], **options)


def test_which_signatures_a_server_can_batch(exported_server):
    signatures = exported_server.model('fake', 1).signatures
    batchable = {
        name for name, signature in signatures.items() if all(
            info.tensor_shape.dim and info.tensor_shape.dim[0].size == -1
            for info in signature.inputs.values())}
    assert batchable - {'__saved_model_init_op'} == {'serving_default'}


def png(image):
    content = io.BytesIO()
    Image.fromarray(image).save(content, 'PNG')
    return content.getvalue()
