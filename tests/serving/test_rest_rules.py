"""The REST interface as TensorFlow Serving documents it, and its errors."""

import base64
import json

import numpy as np
import pytest
import requests

from metro_tf.serving import rest_transport
from tests.serving import models, rest_rules


def post(model_server, body, model='default'):
    answer = requests.post(
        f'{model_server.rest_url}/v1/models/{model}:predict', data=json.dumps(body), timeout=20)
    return answer.status_code, answer.content


def b64(content):
    return {'b64': base64.b64encode(content).decode('ascii')}


def test_rows_and_columns_of_the_default_signature(model_server):
    files = [b64(models.png(1)), b64(models.png(2, height=9))]
    status, content = post(model_server, {'instances': files})
    assert status == 200
    rows = json.loads(content)['predictions']
    named = post(model_server, {'instances': [{'image_bytes': file} for file in files]})
    assert json.loads(named[1])['predictions'] == rows
    plain = post(model_server, {'inputs': files})
    columns = json.loads(plain[1])['outputs']
    assert plain == post(model_server, {
        'signature_name': 'serving_default', 'inputs': {'image_bytes': files}})
    assert columns['n_people'] == [row['n_people'] for row in rows] == [1, 2]
    assert columns['poses3d'] == [row['poses3d'] for row in rows]
    assert np.shape(columns['boxes']) == (2, 2, 5) and rows[1]['boxes'][1][2] == 9


@pytest.mark.parametrize('body, text', [
    ({'inputs': {'image_bytes': []}}, "Missing named input: "),
    ({'inputs': []}, 'inputs is a plain value/list'),
    ({'instances': [b64(b'')]}, 'instances is a plain list'),
    ({'instances': [{'image_bytes': b64(b'')}]}, 'keys must be equal to: '),
    ({'instances': []}, "No values in 'instances' array"),
    ({}, "Missing 'inputs' or 'instances' key")])
def test_all_inputs_are_asked_for(model_server, body, text):
    status, content = post(model_server, {'signature_name': 'predict_encoded', **body})
    assert status == 400 and text in rest_transport.error_text(content)


def test_unknown_names_in_a_request(model_server):
    status, content = post(model_server, {'signature_name': 'nope', 'inputs': []})
    assert status == 400 and b'Serving signature key \\"nope\\" not found' in content
    status, content = post(model_server, {'inputs': []}, model='nope')
    assert status == 404 and b'Servable not found' in content
    answer = requests.get(f'{model_server.rest_url}/v2/models', timeout=20)
    assert answer.status_code == 400 and 'Malformed request: /v2/models' in answer.text


def test_state_and_metadata(model_server):
    base = f'{model_server.rest_url}/v1/models/default'
    states = requests.get(f'{base}/versions/3', timeout=20).json()['model_version_status']
    assert [(state['version'], state['state']) for state in states] == [('3', 'AVAILABLE')]
    answer = requests.get(f'{base}/metadata', timeout=20).json()
    signatures = answer['metadata']['signature_def']['signature_def']
    assert set(signatures) >= {
        'serving_default', 'predict_encoded', 'predict_images', 'predict_boxes', 'model_info'}
    assert signatures['predict_boxes']['inputs']['boxes']['dtype'] == 'DT_FLOAT'
    assert signatures['predict_images']['defaults']['num_aug']['int_val'] == [5]


@pytest.mark.parametrize('value, dtype, expected', [
    (3, 'int32', np.int32(3)), ([1, 2.5], 'float32', np.float32([1, 2.5])),
    ([[1], [2]], 'uint8', np.uint8([[1], [2]])), (True, 'bool', np.bool_(True)),
    ([], 'float32', np.zeros([0])), ([[], []], 'float32', np.zeros([2, 0]))])
def test_tensors_from_json(value, dtype, expected):
    array = rest_rules.tensor_from_json(value, np.dtype(dtype))
    assert array.dtype == dtype and array.shape == expected.shape
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize('value, dtype', [
    (1.5, 'int32'), (True, 'float32'), (1, 'bool'), ('1', 'float32'), ([1, [2]], 'float32'),
    ([[1], 2], 'float32'), ([[1], [2, 3]], 'float32'), ({'b64': ''}, 'float32')])
def test_json_that_fits_no_tensor(value, dtype):
    with pytest.raises(rest_rules.JsonError):
        rest_rules.tensor_from_json(value, np.dtype(dtype))


def test_strings_from_json():
    array = rest_rules.tensor_from_json(['ä', {'b64': 'AAE='}], np.dtype(object))
    assert array.tolist() == ['ä'.encode(), b'\0\1']


@pytest.mark.parametrize('message', [
    "the name isn't known", 'a "quoted" word\nand a line', 'back\\slash', 'größer als 5 µm', ''])
def test_messages_of_errors_survive_the_escapes(message):
    assert rest_transport.error_text(rest_rules.error_body(message).encode()) == message


def test_escapes_that_are_no_json():
    body = rest_rules.error_body("isn't ä")
    assert body == r'{ "error": "isn\'t \303\244" }'
    with pytest.raises(ValueError, match='escape'):
        json.loads(body)


@pytest.mark.parametrize('content, text', [
    (b'<h1>Bad Gateway</h1>', '<h1>Bad Gateway</h1>'), (b'', ''), (b'[1]', '[1]'),
    (b'{"error": 5}', '5'), (b'\xff', '\ufffd')])
def test_bodies_that_are_no_error_of_a_model_server(content, text):
    assert rest_transport.error_text(content) == text
