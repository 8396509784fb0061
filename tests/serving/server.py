"""A model server for tests, which follows the rules of TensorFlow Serving.

It runs the signatures of SavedModels in sessions, as the official server does, without any Python
code of the model, and speaks the official gRPC messages and the documented REST interface.
"""

import collections
from concurrent import futures
import contextlib
import http.server
import json
import pathlib
import re
import threading
import time
import urllib.parse

from google.protobuf import json_format
import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2, get_model_status_pb2, model_service_pb2_grpc, predict_pb2,
    prediction_service_pb2_grpc)

from tests.export import sessions
from tests.serving import rest_rules

_PREDICT_PATH = re.compile(r'/v1/models/([^/:]+)(?:/versions/(\d+))?:(predict)')
_MODEL_PATH = re.compile(r'/v1/models/([^/:]+)(?:/versions/(\d+))?(?:/(metadata))?')
_HTTP_STATUS = {
    'INVALID_ARGUMENT': 400, 'FAILED_PRECONDITION': 400, 'OUT_OF_RANGE': 400, 'NOT_FOUND': 404,
    'RESOURCE_EXHAUSTED': 429, 'INTERNAL': 500, 'UNAVAILABLE': 503, 'DEADLINE_EXCEEDED': 504}


class Failure(Exception):
    """A request that fails with the name of a gRPC status."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


class ServedModel:
    """One version of a model in a session."""

    def __init__(self, folder):
        self._session, self.signatures = sessions.open_session(folder)

    def signature(self, name):
        name = name or 'serving_default'
        if name not in self.signatures:
            raise Failure('FAILED_PRECONDITION', f'Serving signature key "{name}" not found.')
        return self.signatures[name]

    def input_types(self, name):
        return {name: np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype)
                for name, info in self.signature(name).inputs.items()}

    def predict(self, name, given):
        """Runs a signature with the arrays of a gRPC request; missing ones take defaults."""
        signature = self.signature(name)
        _check_names(signature, given)
        feed = {}
        for name, info in signature.inputs.items():
            value = given.get(name)
            if value is None:
                value = tf.make_ndarray(signature.defaults[name])
            elif value.dtype != tf.as_dtype(info.dtype).as_numpy_dtype:
                raise Failure('INVALID_ARGUMENT', f'Expects {name} to be another type')
            feed[info.name] = value
        fetches = {name: info.name for name, info in signature.outputs.items()}
        try:
            return self._session.run(fetches, feed)
        except tf.errors.OpError as error:
            # The first one has the words of the C++ session, without what Python adds.
            original = error.__context__ or error
            raise Failure(_grpc_code(error.error_code), original.message) from error
        except ValueError as error:  # a shape that does not fit
            raise Failure('INVALID_ARGUMENT', str(error)) from error

    def close(self):
        self._session.close()


def _check_names(signature, given):
    unknown = set(given) - set(signature.inputs)
    missing = set(signature.inputs) - set(given) - set(signature.defaults)
    if unknown or missing:
        raise Failure(
            'INVALID_ARGUMENT',
            f'input size does not match signature. Sent extra: {{{",".join(sorted(unknown))}}}. '
            f'Missing but required: {{{",".join(sorted(missing))}}}.')


def _grpc_code(number):
    return next(code.name for code in grpc.StatusCode if code.value[0] == number)


class ModelServer:
    """Serves folders of versions by gRPC and REST on this machine.

    Args:
        folders: Dict from the name of a model to its folder, which holds a folder per version.
        grpc_port: Int; 0 takes a free one.
        rest_port: Int; 0 takes a free one.

    Attributes:
        rest_url: Where it answers REST.
        grpc_url: Where it answers gRPC.
        faults: Deque of functions without arguments. Each request for a prediction takes one and
            calls it first; it may wait or raise `Failure`.
        requests: List of pairs of signature name and dict of arrays, as they came in.
        state: What it tells of the state of all models.
    """

    def __init__(self, folders, grpc_port=0, rest_port=0):
        self._models = {
            name: {int(version.name): ServedModel(version)
                   for version in sorted(pathlib.Path(folder).iterdir())}
            for name, folder in folders.items()}
        self.faults, self.requests, self.state = collections.deque(), [], 'AVAILABLE'
        self._grpc = grpc.server(futures.ThreadPoolExecutor(8), options=[
            ('grpc.max_send_message_length', -1), ('grpc.max_receive_message_length', -1),
            ('grpc.so_reuseport', 0)])
        service = _GrpcService(self)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, self._grpc)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, self._grpc)
        grpc_port = self._grpc.add_insecure_port(f'127.0.0.1:{grpc_port}')
        self.grpc_url = f'grpc://127.0.0.1:{grpc_port}'
        self._http = http.server.ThreadingHTTPServer(('127.0.0.1', rest_port), _handler_of(self))
        self.rest_url = f'http://127.0.0.1:{self._http.server_port}'

    def __enter__(self):
        self._grpc.start()
        threading.Thread(target=self._http.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_):
        self._grpc.stop(0).wait()
        self._http.shutdown()
        self._http.server_close()
        for versions in self._models.values():
            for model in versions.values():
                model.close()

    def model(self, name, version):
        """The served version, by default the newest."""
        versions = self._models.get(name, {})
        version = max(versions, default=None) if version is None else version
        if version not in versions:
            raise Failure(
                'NOT_FOUND', f"Servable not found for request: Specific({name}, {version})")
        return versions[version]

    def states(self, name, version):
        """List of pairs of version and state."""
        versions = [number for number in self._models.get(name, {}) if version in (None, number)]
        if not versions:
            raise Failure('NOT_FOUND', f'Could not find any versions of model {name}')
        return [(number, self.state) for number in versions]

    def predict(self, name, version, signature_name, inputs):
        """Answers a request for a prediction, whichever way it came."""
        self.requests.append((signature_name, inputs))
        with contextlib.suppress(IndexError):
            self.faults.popleft()()
        return self.model(name, version).predict(signature_name, inputs)


def failing(code, message='not now'):
    """A fault: the request fails."""
    def fail():
        raise Failure(code, message)
    return fail


def waiting(seconds):
    """A fault: the request takes long."""
    return lambda: time.sleep(seconds)


class _GrpcService:
    def __init__(self, server):
        self._server = server

    def Predict(self, request, context):
        with _aborting(context):
            inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
            outputs = self._server.predict(
                *_spec(request), request.model_spec.signature_name, inputs)
            answer = predict_pb2.PredictResponse()
            for name, value in outputs.items():
                answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return answer

    def GetModelStatus(self, request, context):
        with _aborting(context):
            answer = get_model_status_pb2.GetModelStatusResponse()
            for version, state in self._server.states(*_spec(request)):
                answer.model_version_status.add(
                    version=version,
                    state=get_model_status_pb2.ModelVersionStatus.State.Value(state))
            return answer

    def GetModelMetadata(self, request, context):
        with _aborting(context):
            answer = get_model_metadata_pb2.GetModelMetadataResponse()
            answer.metadata['signature_def'].Pack(_signature_map(self._server, *_spec(request)))
            return answer

    def __getattr__(self, name):
        """The other methods of the official services, which these tests never call."""
        return None


def _spec(request):
    spec = request.model_spec
    return spec.name, spec.version.value if spec.HasField('version') else None


def _signature_map(server, name, version):
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for signature_name, signature in server.model(name, version).signatures.items():
        signatures.signature_def[signature_name].CopyFrom(signature)
    return signatures


@contextlib.contextmanager
def _aborting(context):
    try:
        yield
    except Failure as failure:
        context.abort(getattr(grpc.StatusCode, failure.code), failure.message)


def _handler_of(server):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_GET(self):
            self._answer(_MODEL_PATH, lambda name, version, method: (
                _metadata_body if method else _state_body)(server, name, version))

        def do_POST(self):
            body = self.rfile.read(int(self.headers['Content-Length']))
            self._answer(_PREDICT_PATH, lambda name, version, _: _predict_body(
                server, name, version, body))

        def log_message(self, *_):
            """Says nothing."""

        def _answer(self, path_pattern, make_body):
            status, body = 200, None
            try:
                match = path_pattern.fullmatch(self.path)
                if not match:
                    raise Failure('INVALID_ARGUMENT', f'Malformed request: {self.path}')
                name, version, method = match.groups()
                body = json.dumps(make_body(
                    urllib.parse.unquote(name), version and int(version), method))
            except (Failure, rest_rules.JsonError) as failure:
                code = getattr(failure, 'code', 'INVALID_ARGUMENT')
                status, body = _HTTP_STATUS[code], rest_rules.error_body(str(failure))
            content = body.encode('utf-8')
            self.send_response(status)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


def _predict_body(server, name, version, content):
    try:
        body = json.loads(content)
    except ValueError:
        raise rest_rules.JsonError('JSON Parse error: Invalid value. at offset: 0') from None
    signature_name = body.get('signature_name', '')
    inputs, body_format = rest_rules.inputs_from_body(
        body, server.model(name, version).input_types(signature_name))
    return rest_rules.body_from_outputs(
        {name: np.asarray(value, object if isinstance(value, bytes) else None)
         for name, value in server.predict(name, version, signature_name, inputs).items()},
        body_format)


def _state_body(server, name, version):
    return {'model_version_status': [
        {'version': str(number), 'state': state,
         'status': {'error_code': 'OK', 'error_message': ''}}
        for number, state in server.states(name, version)]}


def _metadata_body(server, name, version):
    return {
        'model_spec': {'name': name, 'signature_name': '', 'version': str(version or '')},
        'metadata': {'signature_def': json_format.MessageToDict(
            _signature_map(server, name, version), preserving_proto_field_name=True)}}
