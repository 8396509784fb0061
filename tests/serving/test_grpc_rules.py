"""What a model server does with a gRPC request that names only some inputs."""

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from tests.serving import models


@pytest.fixture
def stub(model_server):
    with grpc.insecure_channel(model_server.grpc_url.removeprefix('grpc://')) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request_of(signature_name, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = 'default'
    request.model_spec.signature_name = signature_name
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def test_options_that_are_left_out_take_their_defaults(stub):
    request = request_of('predict_images', images=models.image(1)[None], num_aug=2)
    outputs = stub.Predict(request, timeout=20).outputs
    assert tf.make_ndarray(outputs['poses3d'])[0, 0, 0].tolist() == [1055, 999, 1002]


def test_the_default_signature_is_the_one_without_a_name(stub):
    outputs = stub.Predict(request_of('', image_bytes=[models.png(2)]), timeout=20).outputs
    assert tf.make_ndarray(outputs['n_people']).tolist() == [2]


@pytest.mark.parametrize('inputs, text', [
    ({}, 'Missing but required: {images}'),
    ({'images': models.image(1)[None], 'odd': 1}, 'Sent extra: {odd}'),
    ({'images': models.image(1)[None].astype('float32')}, 'images to be another type'),
    ({'images': models.image(1)}, 'Cannot feed value of shape')])
def test_refused_requests(stub, inputs, text):
    with pytest.raises(grpc.RpcError) as info:
        stub.Predict(request_of('predict_images', **inputs), timeout=20)
    assert info.value.code() == grpc.StatusCode.INVALID_ARGUMENT and text in info.value.details()


def test_metadata(stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=['signature_def'])
    request.model_spec.name = 'default'
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer = stub.GetModelMetadata(request, timeout=20)
    assert answer.metadata['signature_def'].Unpack(signatures)
    signature = signatures.signature_def['predict_boxes']
    assert set(signature.inputs) - set(signature.defaults) == {'images', 'boxes', 'n_boxes'}
