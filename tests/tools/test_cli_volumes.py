"""`metro-tf volumes` with a tiny crop model."""

import numpy as np
import pytest

from metro_tf import models
from metro_tf.tools import cli, draw, volumes
from tests.models import common
from tests.tools import fakes, volume_models
from tests.tools.test_cli import Session

BOX = ['--box', '10,5.5,40,50']


@pytest.fixture(scope='module')
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('models') / 'tiny.keras'
    volume_models.make_coarse_to_fine().save(path)
    return path


@pytest.fixture
def session(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Session(tmp_path, capsys)


def files_of(session):
    return sorted(path.name for path in session.folder.iterdir())


def test_file_and_picture(session, model_file):
    photo, out, picture = (
        session.photo('a.jpg'), session.folder / 'p.NPZ', session.folder / 'p.png')
    assert session.run(
        'volumes', photo, '--crop-model', model_file, *BOX, '--out', out, '--picture', picture
    ) == 0
    assert session.errors == '' and session.loaded == []
    assert session.text == (
        f'{photo}: box 10, 6, 40, 50 (px), 4 joints, 16 x 16 x 8 voxels of scores -> '
        f'{out}, {picture}\n')
    assert files_of(session) == ['a.jpg', 'p.NPZ', 'p.png']
    assert picture.read_bytes().startswith(b'\x89PNG\r\n\x1a\n')
    person = volumes.read(out)
    np.testing.assert_allclose(
        person.to_camera(person.coords25d), person.coords3d_cam, rtol=1e-4, atol=0.5)


def test_surest_detection_and_the_default_name(session, model_file, monkeypatch):
    monkeypatch.setattr(draw, 'check_available', lambda: pytest.fail('nothing is to be drawn'))
    assert session.run(
        'volumes', session.photo('a.jpg'), '--crop-model', model_file, '--model', 'other',
        '--joints', 'rsho,pelv', '--fov', '70') == 0
    assert session.loaded == ['other'] and files_of(session) == ['a.jpg', 'a_volumes.npz']
    person = volumes.read(session.folder / 'a_volumes.npz')
    assert person.joint_names.tolist() == ['rsho', 'pelv']


def test_field_of_view_sets_the_camera(session, model_file):
    focal_lengths = []
    for fov in (90, 53.130102):  # half angles with tangents 1 and 0.5
        session.run(
            'volumes', session.photo('a.jpg'), '--crop-model', model_file, *BOX, '--fov', fov)
        focal_lengths.append(
            volumes.read(session.folder / 'a_volumes.npz').intrinsics[0, 0])
    assert focal_lengths[1] == pytest.approx(2 * focal_lengths[0], rel=0.2)


def test_model_with_probabilities(session):
    path = session.folder / 'pose25d.keras'
    common.make_model(models.Pose25D).save(path)
    assert session.run('volumes', session.photo('a.jpg'), '--crop-model', path, *BOX) == 0
    assert '4 x 4 x 5 voxels of probabilities' in session.text


def test_heatmaps_of_the_same_model(session, model_file):
    photo = session.photo('a.jpg')
    assert session.run('heatmaps', photo, '--crop-model', model_file, *BOX) == 0
    assert session.text == f'{photo}: box 10, 6, 40, 50 (px) -> a_heatmaps.png\n'
    assert files_of(session) == ['a.jpg', 'a_heatmaps.png']


def test_nobody_found(session, model_file):
    session.model = fakes.FakeModel(n_people=0)
    assert session.run('volumes', session.photo('a.jpg'), '--crop-model', model_file) == 2
    assert 'a.jpg: nobody found. Tell where the person is with `--box`.' in session.errors
    assert files_of(session) == ['a.jpg']


@pytest.mark.parametrize('arguments, complaint', [
    (['--joints', 'neck,nose'], '`--joints` must be joints of the model: pelv, neck, lsho, rsho. '
                                'Received: nose'),
    (['--joints', 'neck,neck'], '`--joints` must name every joint once. Received: neck, neck'),
    (['--out', 'p.png'], '`--out` must end in .npz. Received: p.png'),
    (['--out', 'nowhere/p.npz'], '`--out` must be a file in an existing folder'),
    (['--picture', 'p.jpg'], '`--picture` must end in .png. Received: p.jpg'),
    (['--picture', 'nowhere/p.png'], '`--picture` must be a file in an existing folder'),
    (['--crop-model', 'none.keras'], "Received: 'none.keras'")])
def test_bad_arguments(session, model_file, arguments, complaint):
    assert session.run(
        'volumes', session.photo('a.jpg'), '--crop-model', model_file, *BOX, *arguments) == 2
    assert session.errors.startswith('metro-tf: ') and complaint in session.errors
    assert session.errors.count('\n') == 1 and session.text == ''
    assert files_of(session) == ['a.jpg']


def test_photo_is_not_overwritten(session, model_file):
    photo = session.photo('a.png')
    before = photo.read_bytes()
    assert session.run(
        'volumes', photo, '--crop-model', model_file, *BOX, '--picture', photo) == 2
    assert '`--picture` must not be the photo itself' in session.errors
    assert photo.read_bytes() == before


def test_missing_matplotlib_is_told_before_any_work(session, model_file, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'matplotlib', None)
    assert session.run(
        'volumes', session.photo('a.jpg'), '--crop-model', model_file, '--picture', 'p.png') == 2
    assert session.errors.endswith('`pip install "metro-tf[viz]"`, or leave out `--picture`.\n')
    assert session.loaded == []


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(['volumes', '--help'])
    text = capsys.readouterr().out
    assert exit_info.value.code == 0
    assert all(part in text for part in ('LEFT,TOP,WIDTH,HEIGHT', 'docs/api.md', 'exit code'))
