"""Requests to a model server by its REST interface, as TensorFlow Serving documents it."""

import base64
import contextlib
import json
import queue
import re
import threading
import time
import urllib.parse

import numpy as np

from metro_tf.serving import attempts

_BAD_REQUEST, _TOO_MANY_REQUESTS, _UNAVAILABLE, _OK = 400, 429, 503, 200
_CHUNK_BYTES = 1 << 16
# JSON does not tell the type of a number; floats are the rest.
_INT_OUTPUTS = ('n_people', 'detection_indices', 'joint_edges')
_STRING_OUTPUTS = ('joint_names', 'metadata')


class RestTransport:
    """Connections to one server. May be used by several threads.

    Args:
        url: String such as `http://localhost:8501`, also with a path.

    Attributes:
        should_encode: True: arrays would be sent as text, a number for each pixel and channel.
    """
    should_encode = True

    def __init__(self, url):
        import requests
        self._session = requests.Session()
        self._url = url.rstrip('/')

    def predict(self, signature_name, inputs, model, version, timeout_s):
        """Runs a signature.

        Args:
            signature_name: Name of the signature.
            inputs: Dict from input names to arrays; all inputs of the signature.
            model: Name of the model.
            version: Int, or None for the newest.
            timeout_s: Float, seconds until an answer must have come.

        Returns:
            Dict from output names to arrays.

        Raises:
            ValueError: If the server refuses the inputs; with its message.
            attempts.PassingFailure: If another attempt may succeed.
            attempts.FinalFailure: If not.
        """
        body = json.dumps({
            'signature_name': signature_name,
            'inputs': {name: _to_json(value) for name, value in inputs.items()}},
            separators=(',', ':'))
        answer = self._ask('POST', _path(model, version) + ':predict', timeout_s, body)
        outputs = answer.get('outputs')
        if not isinstance(outputs, dict):
            raise attempts.FinalFailure('the answer has no outputs of a model')
        return {name: _to_array(name, value) for name, value in outputs.items()}

    def model_states(self, model, version, timeout_s):
        """States of the versions of a model; arguments and errors are those of `predict`.

        Returns:
            Dict from version to string, `'AVAILABLE'` if it answers requests.
        """
        answer = self._ask('GET', _path(model, version), timeout_s)
        try:
            return {
                int(status['version']): status['state']
                for status in answer['model_version_status']}
        except (KeyError, TypeError, ValueError):
            raise attempts.FinalFailure('the answer is no state of a model') from None

    def close(self):
        """Closes the connections."""
        self._session.close()

    def _ask(self, method, path, timeout_s, body=None):
        deadline = time.monotonic() + timeout_s
        status, content = _in_time(
            lambda: self._request(method, self._url + path, body, deadline), timeout_s)
        if status == _OK:
            return _parse(content)
        message = f'HTTP status {status}: {attempts.short(error_text(content))}'
        if status == _BAD_REQUEST:
            raise ValueError(
                f'{self._url}: the server refused the request: '
                f'{attempts.short(error_text(content))}')
        if status in (_TOO_MANY_REQUESTS, _UNAVAILABLE):
            raise attempts.PassingFailure(message)
        raise attempts.FinalFailure(message)

    def _request(self, method, url, body, deadline):
        with _explained():
            with self._session.request(
                    method, url, data=body, timeout=max(deadline - time.monotonic(), 1e-3),
                    headers={'Content-Type': 'application/json'}, stream=True,
                    allow_redirects=False) as response:
                content = bytearray()
                for chunk in response.iter_content(_CHUNK_BYTES):
                    content += chunk
                    if time.monotonic() > deadline:  # else an endless answer is read for ever
                        break
                return response.status_code, bytes(content)


def error_text(content):
    """The message in the body of an error.

    Args:
        content: bytes. A server of TensorFlow Serving escapes them as C does, which JSON does not
            always understand: `\\'` or octal numbers.

    Returns:
        String.
    """
    text = content.decode('utf-8', 'replace')
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return str(json.loads(text)['error'])
    match = re.fullmatch(r'\s*\{\s*"error"\s*:\s*"(.*)"\s*\}\s*', text, re.DOTALL)
    if not match:
        return text
    unescaped = match[1].encode('ascii', 'backslashreplace').decode('unicode_escape')
    return unescaped.encode('latin-1', 'replace').decode('utf-8', 'replace')


def _path(model, version):
    path = f'/v1/models/{urllib.parse.quote(model, safe="")}'
    return path if version is None else f'{path}/versions/{version}'


def _in_time(function, timeout_s):
    """Calls a function in a thread of its own, and leaves it alone when the time is up.

    Neither looking up a name nor an answer that comes byte by byte heeds the timeout of a request.
    """
    results = queue.SimpleQueue()

    def run():
        try:
            results.put((function(), None))
        except Exception as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = results.get(timeout=max(timeout_s, 0))
    except queue.Empty:
        raise attempts.FinalFailure('no answer in time') from None
    if error is not None:
        raise error
    return result


@contextlib.contextmanager
def _explained():
    """Sorts the errors of requests."""
    import requests
    try:
        yield
    except requests.Timeout:
        raise attempts.FinalFailure('no answer in time') from None
    except (requests.exceptions.SSLError, requests.exceptions.ProxyError) as error:
        raise attempts.FinalFailure(attempts.short(error)) from error
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise attempts.PassingFailure(attempts.short(error)) from error
    except requests.RequestException as error:
        raise attempts.FinalFailure(attempts.short(error)) from error


def _parse(content):
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        start = attempts.short(content[:80].decode('utf-8', 'replace'))
        raise attempts.FinalFailure(f'the answer is no JSON object: {start!r}')
    return answer


def _to_json(array):
    if array.dtype == object:
        return [{'b64': base64.b64encode(content).decode('ascii')} for content in array]
    return array.tolist()


def _to_array(name, value):
    dtype = str if name in _STRING_OUTPUTS else np.int32 if name in _INT_OUTPUTS else np.float32
    try:
        return np.asarray(value, dtype)
    except (TypeError, ValueError):
        raise attempts.FinalFailure(f'the answer has no usable {name}') from None
