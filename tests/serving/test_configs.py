"""The files of examples/serving: fields that the official server knows, paths that exist."""

import pathlib
import re
import subprocess

from google.protobuf import text_format
import pytest
from tensorflow_serving.config import model_server_config_pb2

FOLDER = pathlib.Path(__file__).parent.parent.parent / 'examples' / 'serving'
# Fields of messages that tensorflow-serving-api does not hold: BatchingParameters and
# MonitoringConfig, with the types of their values.
BATCHING_FIELDS = {
    'max_batch_size', 'batch_timeout_micros', 'max_enqueued_batches', 'num_batch_threads'}


def without_comments(name):
    return re.sub(r'#.*', '', (FOLDER / name).read_text())


def compose_lines():
    text = (FOLDER / 'compose.yaml').read_text()
    return [line.split('#')[0].rstrip() for line in text.split('\n')]


def items_of(key):
    """The items of the list under a key of the compose file."""
    lines = compose_lines()
    start = next(i for i, line in enumerate(lines) if line.strip() == f'{key}:')
    indent = len(lines[start]) - len(lines[start].lstrip())
    items = []
    for line in lines[start + 1:]:
        if line and len(line) - len(line.lstrip()) <= indent:
            break
        if line.strip().startswith('- '):
            items.append(line.strip()[2:].strip('"'))
        elif line.strip() and items:
            items[-1] += ' ' + line.strip()
    return items


def test_models():
    config = text_format.Parse(
        (FOLDER / 'models.config').read_text(), model_server_config_pb2.ModelServerConfig())
    model, = config.model_config_list.config
    assert (model.name, model.model_platform) == ('default', 'tensorflow')
    assert model.base_path == '/models/default'


def test_the_policy_in_the_comment():
    policy, = re.findall(r'# (model_version_policy .*)', (FOLDER / 'models.config').read_text())
    config = text_format.Parse(policy, model_server_config_pb2.ModelConfig())
    assert list(config.model_version_policy.specific.versions) == [5]


def test_batching():
    fields = re.fullmatch(r'\s*(\w+ \{ value: \d+ \}\s*)+', without_comments('batching.config'))
    assert fields
    names = re.findall(r'(\w+) \{', fields[0])
    assert len(names) == len(set(names)) and set(names) <= BATCHING_FIELDS


def test_monitoring():
    assert without_comments('monitoring.config').split() == [
        'prometheus_config', '{', 'enable:', 'true', 'path:', '"/monitoring/prometheus/metrics"',
        '}']


def test_compose_mounts_what_the_configuration_names():
    mounts = dict(reversed(item.removesuffix(':ro').rsplit(':', 1)) for item in items_of('volumes'))
    assert set(mounts) == {'/models', '/config'}
    assert (FOLDER / mounts['/models'] / 'default').is_dir()
    files = [item.partition('=')[2] for item in items_of('command') if '/config/' in item]
    assert len(files) == 2
    assert all((FOLDER / mounts['/config'] / pathlib.Path(file).name).is_file() for file in files)


def test_compose_opens_both_ports():
    assert items_of('ports') == ['8500:8500', '8501:8501']


def test_compose_is_indented_evenly():
    lines = [line for line in compose_lines() if line]
    assert all((len(line) - len(line.lstrip())) % 2 == 0 and '\t' not in line for line in lines)
    assert [line for line in lines if not line.startswith(' ')] == ['services:']


@pytest.mark.parametrize('state, code', [('AVAILABLE', 0), ('LOADING', 1)])
def test_health_check(model_server, state, code):
    model_server.state = state
    kind, *command = items_of('test')
    assert kind == 'CMD' and command[:2] == ['bash', '-c']
    port = model_server.rest_url.rpartition(':')[2]
    script = command[2].removeprefix('>-').strip().replace('8501', port)
    assert subprocess.run(['bash', '-c', script], timeout=20).returncode == code


def test_health_check_of_a_dead_server():
    script = items_of('test')[3].removeprefix('>-').strip().replace('8501', '1')
    done = subprocess.run(['bash', '-c', script], timeout=20, capture_output=True)
    assert done.returncode != 0
