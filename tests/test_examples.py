"""The examples run as a user would run them, with a small stand-in for the model."""

import pathlib
import runpy
import sys

import pytest

import metro_tf
from metro_tf import estimator, export
from metro_tf.export import saved_model
from tests import fakes

EXAMPLES = pathlib.Path(__file__).parents[1] / 'examples'
PHOTOS = sorted(str(path) for path in (EXAMPLES / 'photos').glob('*.[jp][pn]g'))


@pytest.fixture(scope='module')
def model_path(tmp_path_factory):
    path = tmp_path_factory.mktemp('model') / '1'
    # Slim as the fake person, and small, so that its augmentations agree.
    detector = fakes.FakeDetector([[[150.0, 50.0, 100.0, 300.0, 0.9]]])
    export.save(estimator.PoseEstimator(fakes.FakeCropModel(), detector), path)
    return str(path)


@pytest.fixture
def run(capsys, monkeypatch):
    # The examples load by name or path through the public function.
    monkeypatch.setattr(metro_tf, 'load', saved_model.load, raising=False)

    def run_example(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name='__main__')
        return capsys.readouterr().out.splitlines()
    return run_example


def test_photos_and_their_credits_are_there():
    assert [pathlib.Path(path).name for path in PHOTOS] == [
        'astronaut.jpg', 'camera.png', 'grace_hopper.jpg']
    credits_text = (EXAMPLES / 'photos' / 'CREDITS.md').read_text(encoding='utf-8')
    assert all(pathlib.Path(path).name in credits_text for path in PHOTOS)


def test_ten_lines(run, model_path):
    lines = run('ten_lines.py', PHOTOS[0], model_path)
    assert lines[0].startswith('person with score 0.90 in the box')
    assert [line.split()[0] for line in lines[1:]] == list(fakes.JOINT_NAMES)
    assert all('mm in front' in line for line in lines[1:])


def test_batch_of_photos(run, model_path):
    lines = run('batch_of_photos.py', *PHOTOS, '--model', model_path)
    # The fake detector knows a person in the first image of a batch only.
    assert lines[0].startswith('astronaut.jpg: 1 found; distance ')
    assert lines[1:] == ['camera.png: 0 found; distance -', 'grace_hopper.jpg: 0 found; distance -']
    metres = float(lines[0].split()[-2])
    assert 3 < metres < 4.5


def test_own_boxes(run, model_path):
    lines = run('own_boxes.py', PHOTOS[0], 50, 50, 300, 400, '--model', model_path)
    heights = {line.split()[0]: float(line.split()[-3]) for line in lines}
    assert set(heights) == {'lwri', 'rwri', 'lank', 'rank'}
    assert max(heights['lank'], heights['rank']) < min(heights['lwri'], heights['rwri'])
