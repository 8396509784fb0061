"""Requests to a model server by gRPC, with the official messages of TensorFlow Serving."""

import contextlib

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc)

from metro_tf.serving import attempts

# Results of large batches exceed the 4 MB that are the default, and a server of TensorFlow Serving
# has no limit of its own. Before it connects again, a channel would wait longer than we do.
_CHANNEL_OPTIONS = [
    ('grpc.max_send_message_length', -1), ('grpc.max_receive_message_length', -1),
    ('grpc.initial_reconnect_backoff_ms', 100), ('grpc.max_reconnect_backoff_ms', 1000)]
# Those that the REST interface gives as a bad request.
_REFUSALS = (
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE)
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class GrpcTransport:
    """A channel to one server, not encrypted. May be used by several threads.

    Args:
        address: String such as `localhost:8500`.

    Attributes:
        should_encode: False: arrays are sent as they are.
    """
    should_encode = False

    def __init__(self, address):
        self._address = address
        self._channel = grpc.insecure_channel(address, _CHANNEL_OPTIONS)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(self, signature_name, inputs, model, version, timeout_s):
        """Runs a signature; see `rest_transport.RestTransport.predict`."""
        request = predict_pb2.PredictRequest()
        _fill_spec(request.model_spec, model, version)
        request.model_spec.signature_name = signature_name
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(_to_proto(value))
        with self._explained():
            answer = self._prediction.Predict(request, timeout=max(timeout_s, 0))
        try:
            return {name: _to_array(proto) for name, proto in answer.outputs.items()}
        except (TypeError, ValueError) as error:
            raise attempts.FinalFailure(
                f'the answer holds no usable arrays: {attempts.short(error)}') from error

    def model_states(self, model, version, timeout_s):
        """States of the versions of a model; see `rest_transport.RestTransport.model_states`."""
        request = get_model_status_pb2.GetModelStatusRequest()
        _fill_spec(request.model_spec, model, version)
        with self._explained():
            answer = self._models.GetModelStatus(request, timeout=max(timeout_s, 0))
        names = get_model_status_pb2.ModelVersionStatus.State.Name
        return {status.version: names(status.state) for status in answer.model_version_status}

    def close(self):
        """Closes the channel."""
        self._channel.close()

    @contextlib.contextmanager
    def _explained(self):
        """Sorts the errors of gRPC."""
        try:
            yield
        except grpc.RpcError as error:
            code, details = error.code(), attempts.short(error.details())
            if code in _REFUSALS:
                raise ValueError(
                    f'{self._address}: the server refused the request: {details}') from error
            # The same status tells of a message above the limit of a proxy, which does not pass.
            if code in _PASSING and 'larger than max' not in details:
                raise attempts.PassingFailure(f'{code.name}: {details}') from error
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise attempts.FinalFailure('no answer in time') from error
            raise attempts.FinalFailure(f'{code.name}: {details}') from error


def _fill_spec(spec, model, version):
    spec.name = model
    if version is not None:
        spec.version.value = version


def _to_proto(array):
    is_text = array.dtype.kind == 'U'
    return tf.make_tensor_proto(np.char.encode(array, 'utf-8') if is_text else array)


def _to_array(proto):
    array = tf.make_ndarray(proto)
    if array.dtype != object:
        return array
    return np.array([text.decode('utf-8') for text in array.ravel()], str).reshape(array.shape)
