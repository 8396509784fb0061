"""`metro-tf detect --server`."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from metro_tf.geometry import camera
from metro_tf.tools import cli, loading
from tests.serving import models, server


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(models.png(2))
    return path


def detect(photo, url, *options):
    return cli.main(['detect', str(photo), '--server', url, '--no-pictures',
                     '--out', str(photo.parent / 'out'), *options])


def test_result_file(photo, url, capsys):
    assert detect(photo, url, '--fov', '90', '--skeleton', 'pair', '--num-aug', '2') == 0
    document = json.loads((photo.parent / 'out' / 'a.json').read_text())
    assert document['model'] == {'name': 'small', 'version': '3'}
    assert document['skeleton'] == {'joint_names': ['pelv', 'neck'], 'joint_edges': [[0, 1]]}
    first, second = document['people']
    assert second['joints3d_mm'] == {'pelv': [1091, 999, 1002], 'neck': [1091, 999, 1002]}
    assert first['box_px'] == [0, 6, 4, -1] and first['uncertainty_mm']['neck'] == 0
    assert document['camera']['intrinsic_matrix'] == [[3, 0, 3], [0, 3, 2], [0, 0, 1]]
    assert 'a.png: 2 people' in capsys.readouterr().out


def test_pictures_of_nobody(tmp_path, url):
    path = tmp_path / 'b.png'
    path.write_bytes(models.png(0))
    assert cli.main(['detect', str(path), '--server', url, '--out', str(tmp_path)]) == 0
    assert json.loads((tmp_path / 'b.json').read_text())['people'] == []
    assert (tmp_path / 'b_poses.png').is_file()


@pytest.mark.parametrize('options, text', [
    (['--skeleton', 'none'], "`--skeleton` must be one of pair. Received: 'none'"),
    (['--model', 'nope'], "model 'nope': signature 'model_info' failed, tried once"),
    (['--model', 'default/3'], '`model` must be the name of a model on the server')])
def test_bad_options(photo, url, capsys, options, text):
    assert detect(photo, url, *options) == 2
    assert text in capsys.readouterr().err


def test_bad_address(photo, capsys):
    assert detect(photo, 'localhost:8501') == 2
    assert '`url` must be like http://host:8501' in capsys.readouterr().err


def test_photo_that_the_server_refuses(photo, url, model_server, capsys):
    model_server.faults.extend([lambda: None, server.failing('INVALID_ARGUMENT', 'too odd')])
    assert detect(photo, url) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and 'Traceback' not in lines[0]
    assert 'a.png: the model refused this photo: ' in lines[0] and lines[0].endswith('too odd')


def test_rest_needs_no_tensorflow(photo, model_server):
    code = (
        'import sys\n'
        'from metro_tf.tools import cli\n'
        f'code = cli.main(["detect", {str(photo)!r}, "--server", {model_server.rest_url!r}, '
        f'"--no-pictures", "--out", {str(photo.parent)!r}])\n'
        'heavy = {"tensorflow", "keras", "grpc"} & set(sys.modules)\n'
        'sys.exit(f"imported: {heavy}" if heavy else code)')
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('fov_degrees, shape', [(55.0, (480, 640, 3)), (90.0, (50, 20))])
def test_the_camera_is_the_one_that_the_estimator_assumes(fov_degrees, shape):
    np.testing.assert_allclose(
        loading.assumed_intrinsics(fov_degrees, shape),
        camera.intrinsics_from_fov(fov_degrees, shape), rtol=1e-6)
