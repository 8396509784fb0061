"""`metro-tf heatmaps` with a tiny crop model."""

import pytest

from metro_tf import models
from metro_tf.tools import cli, draw
from tests.models import common
from tests.tools import fakes
from tests.tools.test_cli import Session


@pytest.fixture(scope='module')
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('models') / 'tiny.keras'
    common.make_model(models.Metrabs).save(path)
    return path


@pytest.fixture
def session(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Session(tmp_path, capsys)


def is_png(path):
    return path.read_bytes().startswith(b'\x89PNG\r\n\x1a\n')


def test_box_and_output(session, model_file):
    photo, out = session.photo('a.jpg'), session.folder / 'look.PNG'
    arguments = [photo, '--crop-model', model_file, '--box', '10,5.5,40,50', '--out', out]
    assert session.run('heatmaps', *arguments) == 0
    assert is_png(out) and session.errors == '' and session.loaded == []
    assert session.text.startswith(f'{photo}: box 10, 6, 40, 50 (px), mean standard deviation ')
    assert session.text.endswith(f' mm -> {out}\n')
    assert sorted(path.name for path in session.folder.iterdir()) == ['a.jpg', 'look.PNG']


def test_surest_detection_without_a_box(session, model_file):
    photo = session.photo('a.jpg')
    assert session.run(
        'heatmaps', photo, '--crop-model', model_file, '--model', 'other', '--joints',
        'neck, pelv', '--fov', '70') == 0
    assert session.loaded == ['other']
    (image, arguments), = session.model.calls
    assert image.shape == (64, 96, 3)
    assert arguments['max_detections'] == 1 and not arguments['suppress_implausible_poses']
    assert is_png(session.folder / 'a_heatmaps.png')


def test_nobody_found(session, model_file):
    session.model = fakes.FakeModel(n_people=0)
    assert session.run('heatmaps', session.photo('a.jpg'), '--crop-model', model_file) == 2
    assert 'a.jpg: nobody found. Tell where the person is with `--box`.' in session.errors
    assert not (session.folder / 'a_heatmaps.png').exists()


def test_box_that_reaches_beyond_the_photo(session, model_file):
    assert session.run(
        'heatmaps', session.photo('a.jpg'), '--crop-model', model_file,
        '--box=-20,-10,300,200') == 0
    assert is_png(session.folder / 'a_heatmaps.png')


@pytest.mark.parametrize('arguments, complaint', [
    (['--joints', 'neck,nose'], '`--joints` must be joints of the model: pelv, neck, lsho, rsho. '
                                'Received: nose'),
    (['--out', 'look.jpg'], '`--out` must end in .png. Received: look.jpg'),
    (['--out', 'nowhere/look.png'], '`--out` must be a file in an existing folder'),
    (['--crop-model', 'none.keras'], "Received: 'none.keras'")])
def test_bad_arguments(session, model_file, arguments, complaint):
    assert session.run(
        'heatmaps', session.photo('a.jpg'), '--crop-model', model_file, '--box', '1,2,30,40',
        *arguments) == 2
    assert session.errors.startswith('metro-tf: ') and complaint in session.errors
    assert session.errors.count('\n') == 1 and session.text == ''
    assert [path.name for path in session.folder.iterdir()] == ['a.jpg']


def test_bad_photos(session, model_file):
    text = session.folder / 'text.png'
    text.write_text('no image')
    for photo, problem in (('gone.jpg', 'no such file'), (text, 'not an image in a known format')):
        assert session.run('heatmaps', photo, '--crop-model', model_file) == 2
        assert problem in session.errors and session.loaded == []


def test_photo_is_not_overwritten(session, model_file):
    photo = session.photo('a.png')
    before = photo.read_bytes()
    assert session.run(
        'heatmaps', photo, '--crop-model', model_file, '--box', '1,2,30,40', '--out', photo) == 2
    assert '`--out` must not be the photo itself' in session.errors
    assert photo.read_bytes() == before


def test_exported_model_that_cannot_be_loaded(session, model_file):
    session.model = ValueError('unknown name')
    assert session.run(
        'heatmaps', session.photo('a.jpg'), '--crop-model', model_file, '--model', 'x') == 2
    assert session.errors == "metro-tf: the model 'x' cannot be loaded: unknown name\n"


def test_missing_matplotlib_is_told_before_any_work(session, model_file, monkeypatch):
    def fail():
        raise ValueError('Pictures need Matplotlib')
    monkeypatch.setattr(draw, 'check_available', fail)
    assert session.run('heatmaps', session.photo('a.jpg'), '--crop-model', model_file) == 2
    assert 'Pictures need Matplotlib' in session.errors and session.loaded == []


@pytest.mark.parametrize('option, value', [
    ('--box', '1,2,3'), ('--box', '1,2,3,4,5'), ('--box', '1,2,0,4'), ('--box', '1,2,3,-4'),
    ('--box', '1,2,x,4'), ('--box', 'nan,2,3,4'), ('--box', '1,2,inf,4'), ('--joints', ''),
    ('--joints', 'neck,'), ('--fov', '180')])
def test_bad_option_names_itself(session, capsys, option, value):
    with pytest.raises(SystemExit) as exit_info:
        session.run('heatmaps', 'a.jpg', '--crop-model', 'b.keras', f'{option}={value}')
    assert exit_info.value.code == 2
    message = capsys.readouterr().err
    assert f'argument {option}' in message and f'Received: {value!r}' in message


def test_crop_model_is_needed_and_help_teaches(capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(['heatmaps', 'a.jpg'])
    assert exit_info.value.code == 2 and '--crop-model' in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_info:
        cli.main(['heatmaps', '--help'])
    text = capsys.readouterr().out
    assert exit_info.value.code == 0
    assert all(part in text for part in ('LEFT,TOP,WIDTH,HEIGHT', 'How to read it', 'exit code'))
