import pytest

from metro_tf import serving
from metro_tf.serving import client as client_lib
from tests.serving import models, server


@pytest.fixture(scope='session')
def model_folder(tmp_path_factory):
    """Folder with versions 1 and 3 of the small model; the newer is 1000 mm further away."""
    folder = tmp_path_factory.mktemp('small')
    models.write(folder, v1=0.0, v3=1000.0)
    return folder


@pytest.fixture(scope='session')
def running_server(model_folder):
    with server.ModelServer({'default': model_folder, 'other': model_folder}) as model_server:
        yield model_server


@pytest.fixture(autouse=True, scope='module')
def _graphs_as_written():
    """Users' graphs meet TensorFlow's optimiser, so it stays in."""


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'grpc_proxy'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def _states_asked_once(monkeypatch):
    """Makes `wait_until_ready` give up after its first question, however long that took."""
    monkeypatch.setattr(client_lib, '_POLL_S', 60)


@pytest.fixture
def model_server(running_server):
    running_server.faults.clear()
    running_server.requests.clear()
    running_server.state = 'AVAILABLE'
    return running_server


@pytest.fixture(params=['rest', 'grpc'])
def url(request, model_server):
    return getattr(model_server, f'{request.param}_url')


@pytest.fixture
def make_client(url):
    """Function that makes a client of the server, by REST or gRPC."""
    clients = []

    def make(**arguments):
        clients.append(serving.Client(url, **{'timeout_s': 20, **arguments}))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client):
    return make_client()
