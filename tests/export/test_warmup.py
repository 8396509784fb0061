"""Warm-up requests are those that TensorFlow Serving reads, and run."""

import numpy as np
import pytest
import tensorflow as tf

from metro_tf.export import saved_model, signatures, warmup
from tests.export import sessions

prediction_log_pb2 = pytest.importorskip('tensorflow_serving.apis.prediction_log_pb2')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('warmup') / 'counting' / '1'
    saved_model.save(sessions.make_estimator(), path, model_name='counting')
    return path


@pytest.fixture(scope='module')
def logged(folder):
    """Dict from signature to `PredictRequest`."""
    records = tf.data.TFRecordDataset(str(folder / warmup.PATH))
    logs = [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in records]
    return {log.predict_log.request.model_spec.signature_name: log.predict_log.request
            for log in logs}


def test_every_signature_has_a_request(folder, logged):
    assert folder.joinpath('assets.extra', 'tf_serving_warmup_requests').stat().st_size < 50_000
    assert tuple(logged) == signatures.NAMES
    assert {request.model_spec.name for request in logged.values()} == {'counting'}


def test_requests_give_all_inputs_and_run(folder, logged):
    session = sessions.SignatureSession(folder)
    for name, request in logged.items():
        inputs = {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()}
        assert set(inputs) == set(session.signatures[name].inputs)
        results = session.run(name, **inputs)
        assert set(results) == set(session.signatures[name].outputs)


def test_requests_ask_for_what_the_signatures_take():
    requests = warmup.requests()
    assert requests['predict_images']['detector_threshold'].numpy() == 0
    assert requests['predict_images']['images'].shape == (1, 48, 64, 3)
    [content] = requests['serving_default']['image_bytes'].numpy()
    assert tf.io.decode_image(content).shape == (48, 64, 3)
    np.testing.assert_array_equal(requests['predict_boxes']['boxes'], [[[0, 0, 64, 48]]])


@pytest.mark.parametrize('value, expected', [
    (0, b'\x00'), (1, b'\x01'), (127, b'\x7f'), (128, b'\x80\x01'), (300, b'\xac\x02')])
def test_numbers_are_encoded_as_in_protocol_buffers(value, expected):
    assert warmup._varint(value) == expected
