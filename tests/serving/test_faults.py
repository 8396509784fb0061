"""Servers that are dead, slow, broken or no model server at all: bounded time, clear errors."""

import concurrent.futures
import socket
import threading
import time

import pytest

from metro_tf import serving
from metro_tf.serving import attempts
from tests.serving import models, server

IMAGE = models.image(1)

# Far above all timeouts and waits here: a busy machine is slow, but a client that hangs is slower.
BOUND_S = 30


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(attempts, 'FIRST_WAIT_S', 0.02)


@pytest.fixture(params=['http', 'grpc'])
def scheme(request):
    return request.param


class BadServer:
    """Does something with every connection, in a thread of its own."""

    def __init__(self, treat):
        self._socket = socket.create_server(('127.0.0.1', 0))
        self._treat, self._connections = treat, []
        self.address = f'127.0.0.1:{self._socket.getsockname()[1]}'

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._socket.close()
        for connection in self._connections:
            connection.close()

    def _accept(self):
        try:
            while True:
                self._connections.append(self._socket.accept()[0])
                threading.Thread(
                    target=self._serve, args=[self._connections[-1]], daemon=True).start()
        except OSError:
            """Closed."""

    def _serve(self, connection):
        try:
            self._treat(connection)
        except OSError:
            """The other side has gone."""


def stay_silent(connection):
    """Takes everything, answers nothing."""


def answering(content):
    def answer(connection):
        connection.recv(1 << 16)
        connection.sendall(content)
        connection.close()
    return answer


def drip(connection):
    """An answer that never ends, a byte at a time, each in time."""
    connection.recv(1 << 16)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n')
    while True:
        connection.sendall(b' ')
        time.sleep(0.02)


def flood(connection):
    """An answer that never ends, as fast as it can."""
    connection.recv(1 << 16)
    connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
    while True:
        connection.sendall(b' ' * 100_000)


def error_in_time(function):
    """The message of the `ServingError` that a function raises, in bounded time."""
    start = time.monotonic()
    with pytest.raises(serving.ServingError) as info:
        function()
    assert time.monotonic() - start < BOUND_S
    return str(info.value)


def unused_address():
    with socket.create_server(('127.0.0.1', 0)) as unused:
        return f'127.0.0.1:{unused.getsockname()[1]}'


@pytest.mark.usefixtures('_states_asked_once')
def test_dead_server(scheme):
    url = f'{scheme}://{unused_address()}'
    with serving.Client(url, retries=2, timeout_s=20) as client:
        for call in (lambda: client.detect_poses(IMAGE), client.joints, client.metadata):
            message = error_in_time(call)
            assert message.startswith(f"{url}: model 'default': signature ")
            assert 'failed, tried 3 times in ' in message and 'refused' in message
        message = error_in_time(lambda: client.wait_until_ready(timeout_s=20))
    assert 'is not ready after 20 s. Last heard: ' in message and 'refused' in message


def test_server_that_starts_late(scheme, model_folder):
    address = unused_address()
    with serving.Client(f'{scheme}://{address}', retries=50, timeout_s=20) as client:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            ready, people = pool.submit(client.wait_until_ready, 20), pool.submit(
                client.detect_poses, IMAGE)
            time.sleep(0.5)
            port = {'http': 'rest_port', 'grpc': 'grpc_port'}[scheme]
            with server.ModelServer(
                    {'default': model_folder}, **{port: int(address.partition(':')[2])}):
                ready.result()
                assert len(people.result()) == 1


def test_server_that_never_answers(scheme):
    with BadServer(stay_silent) as bad:
        with serving.Client(f'{scheme}://{bad.address}', timeout_s=0.4) as client:
            message = error_in_time(lambda: client.detect_poses(IMAGE))
            assert 'tried once in ' in message and message.endswith('no answer in time')


@pytest.mark.parametrize('treat', [drip, flood])
def test_answer_that_never_ends(treat):
    with BadServer(treat) as bad:
        with serving.Client(f'http://{bad.address}', timeout_s=0.4) as client:
            message = error_in_time(lambda: client.detect_poses(IMAGE))
    assert 'tried once in ' in message and message.endswith('no answer in time')


@pytest.mark.parametrize('content, text', [
    (b'\0\1garbage\r\n\r\n', 'tried 2 times'),
    (b'', 'tried 2 times'),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', "is no JSON object: 'hello'"),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}', 'the answer has no outputs'),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}', 'tried 2 times'),
    (b'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n',
     'HTTP status 302'),
    (b'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\n<h1>\n', 'HTTP status 502: <h1>')])
def test_rest_server_of_something_else(content, text):
    with BadServer(answering(content)) as bad:
        with serving.Client(f'http://{bad.address}', timeout_s=5, retries=1) as client:
            assert text in error_in_time(lambda: client.detect_poses(IMAGE))
            error_in_time(lambda: client.wait_until_ready(timeout_s=0.1))


def test_grpc_server_of_something_else():
    with BadServer(answering(b'HTTP/1.1 400 Bad Request\r\n\r\n')) as bad:
        with serving.Client(f'grpc://{bad.address}', timeout_s=2, retries=1) as client:
            assert bad.address in error_in_time(lambda: client.detect_poses(IMAGE))


@pytest.mark.parametrize('outputs, text', [
    ('{"poses3d": [[]], "poses2d": [[]], "n_people": [0]}', 'lacks detection_indices'),
    ('{"poses3d": [[]], "poses2d": [[]], "n_people": [0, 0], "detection_indices": [[]]}',
     'is for 2 images instead of 1'),
    ('{"poses3d": [[[[1, 2]]]], "poses2d": [[[[1, 2]]]], "n_people": [1], '
     '"detection_indices": [[0]]}', r'poses3d of shape (1, 1, 1, 2) instead of (1, 1, 1, 3)'),
    ('{"poses3d": [[[[1, 2, 3]]]], "poses2d": [[[[1, 2]]]], "n_people": [2], '
     '"detection_indices": [[0]]}', 'tells of [2] people, but holds 1'),
    ('{"poses3d": [[[["a", 2, 3]]]], "poses2d": [[[[1, 2]]]], "n_people": [1], '
     '"detection_indices": [[0]]}', 'no usable poses3d'),
    ('{"poses3d": [[[[1, 2, 3], [1]]]], "poses2d": [[[[1, 2]]]], "n_people": [1], '
     '"detection_indices": [[0]]}', 'no usable poses3d')])
def test_answers_of_another_model(outputs, text):
    body = f'{{"outputs": {outputs}}}'.encode()
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s' % (len(body), body)
    with BadServer(answering(answer)) as bad:
        with serving.Client(f'http://{bad.address}', timeout_s=5) as client:
            message = error_in_time(lambda: client.detect_poses(IMAGE))
    assert text in message and 'tried once' in message


@pytest.mark.parametrize('code', ['UNAVAILABLE', 'RESOURCE_EXHAUSTED'])
def test_busy_for_a_while(make_client, model_server, code):
    model_server.faults.extend([server.failing(code)] * 2)
    assert len(make_client(retries=2).detect_poses(IMAGE)) == 1
    assert len(model_server.requests) == 3


def test_busy_for_too_long(make_client, model_server):
    model_server.faults.extend([server.failing('UNAVAILABLE', 'loading')] * 3)
    client = make_client(retries=2)
    message = error_in_time(lambda: client.detect_poses(IMAGE))
    assert 'tried 3 times' in message and message.endswith('loading')
    assert len(model_server.requests) == 3


@pytest.mark.parametrize('code', ['INTERNAL', 'NOT_FOUND'])
def test_what_does_not_pass_is_not_tried_again(client, model_server, code):
    model_server.faults.extend([server.failing(code, 'broken')] * 2)
    message = error_in_time(lambda: client.detect_poses(IMAGE))
    assert 'tried once' in message and message.endswith('broken')
    assert len(model_server.requests) == 1


@pytest.mark.parametrize('code', ['INVALID_ARGUMENT', 'FAILED_PRECONDITION', 'OUT_OF_RANGE'])
def test_bad_input_is_a_value_error(client, model_server, code):
    model_server.faults.append(server.failing(code, "it's 5 µm\n\t [[{{node x}}]]"))
    with pytest.raises(ValueError, match="the server refused the request: it's 5 µm$"):
        client.detect_poses(IMAGE)
    assert len(model_server.requests) == 1


def test_slow_server(make_client, model_server):
    model_server.faults.extend([server.waiting(0.8)] * 2)
    client = make_client(timeout_s=0.3)
    message = error_in_time(lambda: client.detect_poses(IMAGE))
    assert 'tried once' in message and message.endswith('no answer in time')
    assert len(make_client(timeout_s=BOUND_S).detect_poses(IMAGE)) == 1


def test_no_wait_that_is_longer_than_the_time_left(make_client, model_server, monkeypatch):
    monkeypatch.setattr(attempts, 'FIRST_WAIT_S', 2 * BOUND_S)
    model_server.faults.append(server.failing('UNAVAILABLE'))
    message = error_in_time(make_client(timeout_s=BOUND_S, retries=90).joints)
    assert 'tried once' in message


class Clock:
    """Stands in for the module `time`: it passes in waits only, and they are noted."""

    def __init__(self):
        self.waits = []

    def monotonic(self):
        return sum(self.waits)

    def sleep(self, seconds):
        self.waits.append(seconds)


@pytest.mark.parametrize('timeout_s, retries, waits', [
    (60, 5, [1, 2, 4, 5, 5]), (60, 0, []), (3.5, 90, [1, 2]), (3, 90, [1]), (1, 90, [])])
def test_waits_double_up_to_the_longest(monkeypatch, timeout_s, retries, waits):
    clock, times_left = Clock(), []
    monkeypatch.setattr(attempts, 'time', clock)
    monkeypatch.setattr(attempts, 'FIRST_WAIT_S', 1)

    def fail(left_s):
        times_left.append(left_s)
        raise attempts.PassingFailure('busy')

    with pytest.raises(serving.ServingError) as info:
        attempts.run(fail, 'x', timeout_s, retries)
    times = f'{len(waits) + 1} times' if waits else 'once'
    assert str(info.value) == f'x failed, tried {times} in {sum(waits):.1f} s: busy'
    assert clock.waits == waits
    assert times_left == [timeout_s - sum(waits[:i]) for i in range(len(waits) + 1)]


@pytest.mark.parametrize('text, expected', [
    ('', 'no message'), ('  plain \nmore', 'plain'),
    ('{{function_node f}} {{function_node g}} bad\n\t [[{{node n}}]]', 'bad'),
    ('bad [[{{node n}}]]', 'bad'), ('x' * 501, 'x' * 500 + '...')])
def test_short_messages(text, expected):
    assert attempts.short(text) == expected
