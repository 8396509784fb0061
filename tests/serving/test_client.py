"""The client's methods against a server that runs a small model."""

import concurrent.futures
import inspect
import os
import subprocess
import sys

import numpy as np
import pytest

from metro_tf import arguments as arguments_lib
from metro_tf import serving
from tests.serving import models, server

INTRINSICS = [[500.0, 0.0, 3.0], [0.0, 500.0, 2.0], [0.0, 0.0, 1.0]]


def test_one_image(client):
    people = client.detect_poses(models.image(2))
    assert isinstance(people, serving.People) and len(people) == 2
    # Version 3 adds 1000 to the field of view plus the person's number, the focal length and
    # the number of augmentations.
    np.testing.assert_array_equal(people.poses3d[:, 0], [[1055, 999, 1005], [1056, 999, 1005]])
    np.testing.assert_array_equal(people.boxes[1], [1, 6, 4, -1, np.float32(0.3)])
    np.testing.assert_array_equal(people.detection_indices, [0, 1])
    assert people.poses3d.shape == (2, 3, 3) and people.poses2d.shape == (2, 3, 2)
    assert people.uncertainty.shape == (2, 3)
    assert {name: str(value.dtype) for name, value in vars(people).items()} == {
        'poses3d': 'float32', 'poses2d': 'float32', 'detection_indices': 'int32',
        'boxes': 'float32', 'uncertainty': 'float32'}


def test_arguments_reach_the_model(client):
    people = client.detect_poses(
        models.image(1), INTRINSICS, [0.25], np.diag([1.0, 1, 1, 1]) + np.eye(4, k=1) * 8,
        default_fov_degrees=70, num_aug=2, skeleton='pair', detector_threshold=0.5,
        max_detections=9, suppress_implausible_poses=False)
    np.testing.assert_array_equal(people.poses3d, [[[1070, 1500, 1002]] * 2])
    np.testing.assert_array_equal(people.poses2d, [[[0, 0.25]] * 2])
    np.testing.assert_array_equal(people.uncertainty, [[8, 8]])
    np.testing.assert_array_equal(people.boxes, [[0, 6, 4, 9, 0.5]])


def test_all_options_are_sent(client, model_server):
    client.detect_poses(models.image(1))
    client.estimate_poses(models.image(1), [[1, 2, 3, 4]])
    (_, detect), (_, estimate) = model_server.requests
    names = {argument.name_in('detect_poses_batched')
             for argument in arguments_lib.arguments_of('detect_poses_batched')}
    names -= {'images', 'average_aug'}
    assert names < set(detect) and names - set(estimate) == {
        'detector_threshold', 'detector_nms_iou_threshold', 'max_detections', 'detector_flip_aug'}


def test_the_signature_that_costs_least_is_used(client, model_server, url):
    client.detect_poses(models.image(1))
    signature_name, inputs = model_server.requests[0]
    is_rest = url.startswith('http')
    assert signature_name == ('predict_encoded' if is_rest else 'predict_images')
    assert ('image_bytes' in inputs) == is_rest


def test_several_images(client):
    counts = [1, 0, 3]
    batch = client.detect_poses_batched(
        np.stack([models.image(count) for count in counts]), intrinsic_matrix=[INTRINSICS])
    assert [len(people) for people in batch] == counts
    assert batch[1].poses3d.shape == (0, 3, 3) and batch[1].boxes.shape == (0, 5)
    np.testing.assert_array_equal(batch[2].poses3d[2, 0], [1057, 1500, 1005])


@pytest.mark.parametrize('skeleton, n_joints', [('', 3), ('pair', 2)])
def test_nobody_in_any_image(client, skeleton, n_joints):
    for _ in range(2):
        first, second = client.detect_poses_batched(
            np.stack([models.image(0)] * 2), skeleton=skeleton)
        assert first.poses3d.shape == second.poses3d.shape == (0, n_joints, 3)
        assert first.poses2d.shape == (0, n_joints, 2) and first.boxes.shape == (0, 5)
        assert first.uncertainty.shape == (0, n_joints)
        assert first.detection_indices.shape == (0,)
        assert first.poses3d.dtype == np.float32 and first.detection_indices.dtype == np.int32


def test_no_image_asks_nobody(client, model_server):
    assert client.detect_poses_batched(np.zeros([0, 4, 6, 3], np.uint8)) == []
    assert client.estimate_poses_batched(np.zeros([0, 4, 6, 3], np.uint8), []) == []
    assert client.detect_poses_encoded([]) == []
    assert model_server.requests == []


def test_given_boxes(client):
    boxes = [[1, 2, 3, 4], [5, 6, 7, 8]]
    people = client.estimate_poses(models.image(0), boxes, num_aug=4)
    assert people.boxes is None
    np.testing.assert_array_equal(people.poses2d[:, 1], [[1, 2], [5, 6]])
    np.testing.assert_array_equal(people.poses3d[1, 1], [1056, 999, 1004])
    batch = client.estimate_poses_batched(
        np.stack([models.image(0)] * 3), [boxes[:1], [], boxes])
    assert [len(people) for people in batch] == [1, 0, 2]
    np.testing.assert_array_equal(batch[2].poses2d[:, 0], [[1, 2], [5, 6]])


def test_no_box_at_all(client):
    people = client.estimate_poses(models.image(0), np.zeros([0, 4], np.float32))
    assert people.poses3d.shape == (0, 3, 3) and people.boxes is None


def test_coefficients_of_size_zero(client):
    people = client.detect_poses(models.image(1), distortion_coeffs=[])
    np.testing.assert_array_equal(people.poses2d, [[[1, 0]] * 3])


def test_encoded_images_of_different_sizes(client):
    batch = client.detect_poses_encoded(
        [models.png(1), models.png(2, height=9, width=5)], default_fov_degrees=40)
    assert [len(people) for people in batch] == [1, 2]
    np.testing.assert_array_equal(batch[1].boxes[0, 1:3], [5, 9])
    np.testing.assert_array_equal(batch[1].poses3d[:, 0, 0], [1040, 1041])


def test_broken_encoded_image(client):
    with pytest.raises(ValueError, match='the server refused the request: .*Unknown image file'):
        client.detect_poses_encoded([models.png(1), b'no image'])
    batch = client.detect_poses_encoded([models.png(1), b''], ignore_broken_images=True)
    assert [len(people) for people in batch] == [1, 0]


def test_joints_and_metadata(client):
    assert client.joints() == (models.JOINT_NAMES, models.JOINT_EDGES)
    assert client.joints('pair') == (('pelv', 'neck'), ((0, 1),))
    assert client.metadata() == models.METADATA


def test_unknown_skeleton_is_refused_with_the_models_own_words(client):
    message = "^[^\n]*the server refused the request: [^\n]*`skeleton` is unknown:[^\n]*$"
    with pytest.raises(ValueError, match=message):
        client.detect_poses(models.image(1), skeleton='none')
    with pytest.raises(ValueError, match=message):
        client.joints('none')


def test_versions(make_client):
    image = models.image(1)
    assert make_client(version=1).detect_poses(image).poses3d[0, 0, 0] == 55
    assert make_client(version=3).detect_poses(image).poses3d[0, 0, 0] == 1055
    assert make_client(model='other').detect_poses(image).poses3d[0, 0, 0] == 1055


@pytest.mark.parametrize('chosen, text', [
    ({'version': 2}, "model 'default', version 2"), ({'model': 'nope'}, "model 'nope'")])
@pytest.mark.usefixtures('_states_asked_once')
def test_unknown_model_or_version(make_client, chosen, text):
    with pytest.raises(
            serving.ServingError, match=f"{text}: .*, tried once in .*Servable not found"):
        make_client(**chosen).detect_poses(models.image(1))
    with pytest.raises(
            serving.ServingError, match=f'{text} is not ready after 20 s. Last heard: .*not find'):
        make_client(**chosen).wait_until_ready(timeout_s=20)


def test_from_several_threads(client):
    def ask(n_people):
        return len(client.detect_poses(models.image(n_people)))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(24))) == list(range(24))


def test_large_image(client):
    people = client.detect_poses(models.image(200, height=800, width=1000))
    assert len(people) == 200
    np.testing.assert_array_equal(people.boxes[199, :3], [199, 1000, 800])


def test_grpc_messages_above_the_default_limit(model_server):
    n_images = 250
    with serving.Client(model_server.grpc_url) as client:
        batch = client.detect_poses_batched(np.stack([models.image(255)] * n_images))
    assert [len(people) for people in batch] == [255] * n_images
    assert sum(value.nbytes for people in batch for value in vars(people).values()) > 4 << 20


@pytest.mark.usefixtures('_states_asked_once')
def test_not_ready(client, model_server):
    client.wait_until_ready(timeout_s=20)
    model_server.state = 'LOADING'
    with pytest.raises(
            serving.ServingError, match='is not ready after 20 s. Last heard: version 1: LOADING'):
        client.wait_until_ready(timeout_s=20)


def test_wait_until_ready(client, model_server):
    model_server.state = 'LOADING'
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait_until_ready, timeout_s=20)
        model_server.state = 'AVAILABLE'
        waiting.result()


@pytest.mark.parametrize('call, message', [
    (lambda client: client.detect_poses(np.zeros([4, 6, 3])),
     r'`image` must be uint8 with shape \(None, None, 3\). Received: float64'),
    (lambda client: client.detect_poses(models.image(1), average_aug=False),
     '`average_aug` must be True, .* Received: average_aug=False'),
    (lambda client: client.detect_poses(models.image(1), n_aug=3), "'n_aug'"),
    (lambda client: client.detect_poses(np.zeros([0, 6, 3], np.uint8)),
     r'Images must have at least one pixel. Received: shape=\(0, 6, 3\)'),
    (lambda client: client.estimate_poses_batched(models.image(1)[None], [[], []]),
     '`boxes` must have one entry per image. Received: 2 entries for 1 images'),
    (lambda client: client.detect_poses_encoded(models.png(1)),
     '`image_bytes` must be a list of bytes, .* Received: bytes'),
    (lambda client: client.detect_poses_encoded([models.png(1)], ignore_broken_images=1),
     '`ignore_broken_images` must be True or False. Received: ignore_broken_images=1'),
    (lambda client: client.joints(None), '`skeleton` must be a string. Received: skeleton=None')])
def test_bad_arguments_are_not_sent(client, model_server, call, message):
    with pytest.raises(ValueError, match=message):
        call(client)
    assert model_server.requests == []


@pytest.mark.parametrize('arguments, message', [
    ({'url': 'host:8501'}, "`url` must be like http://host:8501.* Received: url='host:8501'"),
    ({'url': 'ftp://host'}, '`url` must be like'), ({'url': 'http://'}, '`url` must be like'),
    ({'url': 'grpc://host:8500/path'}, '`url` must be like'),
    ({'url': 'http://host:port'}, '`url` must be like'), ({'url': None}, '`url` must be like'),
    ({'model': 'default/3'}, "`model` must be the name .* Received: model='default/3'"),
    ({'model': ''}, '`model` must be the name'),
    ({'version': '3'}, "`version` must be a whole number or None. Received: version='3'"),
    ({'retries': -1}, '`retries` must be a whole number from 0. Received: retries=-1'),
    ({'timeout_s': 0}, '`timeout_s` must be a positive number. Received: timeout_s=0'),
    ({'timeout_s': float('inf')}, '`timeout_s` must be a positive number')])
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        serving.Client(**{'url': 'http://localhost:1', **arguments})


def test_signatures_of_the_methods_are_the_estimators():
    for name in arguments_lib.METHOD_NAMES:
        signature = inspect.signature(getattr(serving.Client, name))
        assert list(signature.parameters)[1:] == [
            argument.name_in(name) for argument in arguments_lib.arguments_of(name)]


def test_rest_needs_no_tensorflow(model_server):
    code = (
        'import sys; import numpy as np; from metro_tf import serving\n'
        f'with serving.Client({model_server.rest_url!r}) as client:\n'
        '    print(len(client.detect_poses(np.full([4, 6, 3], 2, np.uint8))))\n'
        'heavy = {"tensorflow", "keras", "grpc", "cv2"} & set(sys.modules)\n'
        'sys.exit(f"imported: {heavy}" if heavy else 0)')
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))})
    assert done.returncode == 0, done.stderr
    assert done.stdout == '2\n'


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'requests', None)
    with pytest.raises(ValueError, match=r'needs a package .* `pip install "metro-tf\[serving\]"`'):
        serving.Client('http://localhost:8501')


def test_a_request_that_is_tried_again_gives_the_same(client, model_server):
    model_server.faults.extend([server.failing('UNAVAILABLE')])
    assert len(client.detect_poses(models.image(3))) == 3
    assert len(model_server.requests) == 2
