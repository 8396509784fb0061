import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from metro_tf.tools import cli, draw
from tests.tools import fakes


class Session:
    """Runs the command line in an own folder with a fake model."""

    def __init__(self, folder, capsys):
        self.folder, self.out, self._capsys = folder, folder / 'out', capsys
        self.model, self.loaded = fakes.FakeModel(), []

    def run(self, command, *arguments):
        self.code = cli.main([command, *map(str, arguments)], load_model=self._load)
        self.text, self.errors = self._capsys.readouterr()
        return self.code

    def detect(self, *arguments):
        return self.run('detect', *arguments, '--out', self.out)

    def photo(self, name, **options):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        return fakes.write_photo(path, **options)

    def results(self):
        return sorted(path.name for path in self.out.iterdir())

    def document(self, name):
        return json.loads((self.out / name).read_text(encoding='utf-8'))

    def _load(self, name_or_path):
        self.loaded.append(name_or_path)
        if isinstance(self.model, Exception):
            raise self.model
        return self.model


@pytest.fixture
def session(tmp_path, capsys):
    return Session(tmp_path, capsys)


def test_detect_writes_result_and_picture(session):
    assert session.detect(session.photo('a.jpg')) == 0
    assert session.results() == ['a.json', 'a_poses.png']
    assert (session.out / 'a_poses.png').read_bytes().startswith(b'\x89PNG\r\n\x1a\n')
    assert session.errors == ''


def test_result_file_holds_everything(session):
    session.detect(session.photo('a.jpg'), '--fov', '90', '--no-pictures')
    document = session.document('a.json')
    assert document['schema_version'] == 1
    assert document['model'] == {'name': 'fake', 'version': '7'}
    assert document['image'] == {'file': 'a.jpg', 'width': 96, 'height': 64}
    # At 90 degrees the focal length is half the larger side.
    np.testing.assert_allclose(
        document['camera']['intrinsic_matrix'], [[48, 0, 48], [0, 48, 32], [0, 0, 1]], atol=1e-3)
    assert document['camera']['fov_degrees'] == 90
    person, = document['people']
    assert person['joints3d_mm']['lwri'] == pytest.approx([420, -40, 2970])
    # 420 / 2970 * 48 + 48, -40 / 2970 * 48 + 32
    assert person['joints2d_px']['lwri'] == pytest.approx([54.7879, 31.3535], abs=1e-3)
    assert len(person['box_px']) == 4 and person['score'] == pytest.approx(0.9)
    assert document['skeleton']['joint_names'] == list(person['joints3d_mm'])


def test_uncertainties_of_a_model_that_tells_them(session):
    session.model = fakes.FakeModel(n_people=2, is_unsure=True)
    session.detect(session.photo('a.jpg'), '--no-pictures')
    people = session.document('a.json')['people']
    assert [person['uncertainty_mm']['pelv'] for person in people] == [0, 10]
    assert list(people[1]['uncertainty_mm']) == list(people[1]['joints3d_mm'])
    assert people[1]['uncertainty_mm']['rtoe'] == 33
    session.model = fakes.FakeModel()
    session.detect(session.photo('a.jpg'), '--no-pictures')
    assert 'uncertainty_mm' not in session.document('a.json')['people'][0]


def test_options_reach_the_model(session):
    session.detect(
        session.photo('a.png', mode='L'), '--fov', '70', '--num-aug', '3', '--threshold', '0.2',
        '--skeleton', 'lsp_14', '--model', 'other', '--no-pictures')
    (image, arguments), = session.model.calls
    assert session.loaded == ['other']
    assert image.shape == (64, 96, 3) and image.dtype == np.uint8
    assert arguments == {
        'default_fov_degrees': 70.0, 'num_aug': 3, 'skeleton': 'lsp_14',
        'detector_threshold': 0.2}
    document = session.document('a.json')
    assert len(document['people'][0]['joints2d_px']) == 14
    assert document['settings'] == {
        'num_aug': 3, 'detector_threshold': 0.2, 'skeleton': 'lsp_14'}


def test_table_has_one_row_per_person_and_one_line_per_photo(session):
    session.model = fakes.FakeModel(n_people=2)
    session.detect(session.photo('a.jpg'), session.photo('b.jpg'), '--no-pictures')
    lines = session.text.splitlines()
    assert lines[0].startswith('[1/2] ') and 'a.jpg: 2 people' in lines[0]
    assert lines[5].startswith('[2/2] ') and 'b.jpg: 2 people' in lines[5]
    # The joints of the first person average (2.9, -119.6, 2962.5) mm, 2964.9 mm away.
    assert lines[2].split()[:2] == ['1', '0.90'] and ' 2.96 m ' in lines[2]
    assert lines[2].endswith('0.75 x 1.66 x 0.23 m')
    assert lines[3].split()[0] == '2'


def test_nobody_found_is_a_result(session):
    session.model = fakes.FakeModel(n_people=0)
    assert session.detect(session.photo('a.jpg')) == 0
    assert 'nobody found' in session.text
    assert session.document('a.json')['people'] == []
    assert session.results() == ['a.json', 'a_poses.png']


def test_one_pixel_image(session):
    session.model = fakes.FakeModel(n_people=0)
    assert session.detect(session.photo('dot.png', width=1, height=1)) == 0
    assert session.document('dot.json')['image'] == {'file': 'dot.png', 'width': 1, 'height': 1}


def test_bad_files_do_not_stop_the_others(session):
    empty = session.folder / 'empty.jpg'
    empty.touch()
    text = session.folder / 'text.png'
    text.write_text('no image')
    cut = session.photo('cut.jpg')
    cut.write_bytes(cut.read_bytes()[:700])
    code = session.detect(
        session.photo('a.jpg'), session.folder / 'missing.jpg', empty, text, session.folder, cut,
        session.photo('b.jpg'))
    assert code == 2
    assert session.results() == ['a.json', 'a_poses.png', 'b.json', 'b_poses.png']
    complaints = session.errors.splitlines()
    expected = {
        'missing.jpg': 'no such file', 'empty.jpg': 'empty (0 bytes)',
        'text.png': 'not an image in a known format', 'cut.jpg': 'cannot be decoded',
        session.folder.name: 'this is a folder'}
    for name, problem in expected.items():
        assert any(f'{name}: ' in line and problem in line for line in complaints), name
    assert complaints[-1] == 'metro-tf: 5 of 7 photos could not be processed'
    assert 'Traceback' not in session.errors


def test_no_model_is_loaded_without_a_usable_photo(session):
    assert session.detect(session.folder / 'missing.jpg') == 2
    assert session.loaded == []


def test_photos_of_the_same_name_do_not_overwrite_each_other(session):
    session.detect(
        session.photo('x/a.jpg'), session.photo('y/a.jpg', width=50), '--no-pictures')
    assert session.results() == ['a.json', 'a_2.json']
    assert session.document('a.json')['image']['width'] == 96
    assert session.document('a_2.json')['image']['width'] == 50


@pytest.mark.parametrize('error', [
    ValueError('`image` is odd'), tf.errors.InvalidArgumentError(None, None, '`image` is odd')])
def test_a_refusal_of_the_model_is_told_in_one_line(session, error):
    session.model = fakes.FakeModel(error=error)
    assert session.detect(session.photo('a.jpg'), session.photo('b.jpg')) == 2
    lines = session.errors.splitlines()
    assert len(lines) == 3
    assert lines[0].endswith('a.jpg: the model refused this photo: `image` is odd')
    assert session.results() == []


def test_a_defect_is_not_hidden(session):
    session.model = fakes.FakeModel(error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        session.detect(session.photo('a.jpg'))


@pytest.mark.parametrize('command', ['detect', 'info'])
@pytest.mark.parametrize('error', [ValueError('unknown name'), OSError('unknown name')])
def test_model_that_cannot_be_loaded(session, command, error):
    session.model = error
    arguments = {'detect': [session.photo('a.jpg'), '--model', 'nope'], 'info': ['nope']}
    assert session.run(command, *arguments[command]) == 2
    assert session.errors == "metro-tf: the model 'nope' cannot be loaded: unknown name\n"


def test_unknown_skeleton_lists_the_known_ones(session):
    assert session.detect(session.photo('a.jpg'), '--skeleton', 'lsp') == 2
    assert "`--skeleton` must be one of lsp_14. Received: 'lsp'" in session.errors
    assert session.results() == []


def test_output_folder_that_is_a_file(session):
    photo = session.photo('a.jpg')
    assert session.run('detect', photo, '--out', photo) == 2
    assert 'cannot be used as folder for the results' in session.errors
    assert session.loaded == []


@pytest.mark.parametrize('option, value', [
    ('--fov', '0'), ('--fov', '180'), ('--fov', 'nan'), ('--fov', 'wide'), ('--num-aug', '0'),
    ('--num-aug', '2.5'), ('--num-aug', '-1'), ('--threshold', '1'), ('--threshold', '-0.1')])
def test_bad_option_names_itself(session, capsys, option, value):
    with pytest.raises(SystemExit) as exit_info:
        session.detect('a.jpg', f'{option}={value}')
    assert exit_info.value.code == 2
    message = capsys.readouterr().err
    assert f'argument {option}' in message and f'Received: {value!r}' in message


@pytest.mark.parametrize('arguments', [[], ['detect'], ['draw'], ['detect', 'a.jpg', '--odd']])
def test_unusable_command_line(arguments):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(arguments)
    assert exit_info.value.code == 2


def test_missing_matplotlib_is_told_before_any_work(session, monkeypatch):
    def fail(alternative):
        raise ValueError(f'Pictures need Matplotlib{alternative}')
    monkeypatch.setattr(draw, 'check_available', fail)
    assert session.detect(session.photo('a.jpg')) == 2
    assert 'Pictures need Matplotlib, or leave them out with `--no-pictures`' in session.errors
    assert session.loaded == []
    assert session.detect(session.photo('a.jpg'), '--no-pictures') == 0


def test_interrupt_ends_without_traceback(session):
    session.model = fakes.FakeModel(error=KeyboardInterrupt())
    assert session.detect(session.photo('a.jpg')) == 130
    assert 'interrupted' in session.errors and session.results() == []


def test_info_describes_the_model(session):
    assert session.run('info') == 0
    assert session.loaded == ['default']
    words = ' '.join(session.text.split())
    assert 'model fake, version 7' in words
    assert 'joints 24, with 23 bones: pelv spin neck' in words
    assert 'lsp_14 14 joints' in words
    assert 'input_resolution 160' in words
    assert 'mean_bone_lengths_mm 100 0.33333' in words
    assert 'details scores lspet_pck 0.5' in words
    assert 'not repeated' not in words


@pytest.mark.parametrize('metadata', [
    None, {'model_version': 7}, '{"model_version": 7}', b'{"model_version": 7}'])
def test_metadata_may_come_in_several_forms_or_not_at_all(session, metadata):
    session.model.metadata = metadata
    assert session.run('info', 'mine') == 0
    version = 'unknown' if metadata is None else '7'
    assert f'model      mine, version {version}\n' in session.text


def test_help_is_fast_because_tensorflow_is_not_imported():
    code = (
        'import sys; from metro_tf.tools import cli\n'
        'try: cli.main(["detect", "--help"])\n'
        'except SystemExit as error: assert error.code == 0\n'
        'heavy = {"tensorflow", "keras", "matplotlib", "PIL", "cv2"} & set(sys.modules)\n'
        'sys.exit(f"imported: {heavy}" if heavy else 0)')
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))})
    assert done.returncode == 0, done.stderr
    assert '--num-aug N' in done.stdout and 'exit code' in done.stdout


def test_a_closed_pipe_ends_the_program_quietly():
    code = (
        'import sys\n'
        'from metro_tf.tools import cli\n'
        'from tests.tools import fakes\n'
        'sys.exit(cli.main(["info"], lambda name: fakes.FakeModel()))')
    with subprocess.Popen(
            [sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}) as program:
        program.stdout.close()
        errors = program.stderr.read().decode()
    # TensorFlow may say something of its own.
    assert 'metro-tf' not in errors and 'BrokenPipeError' not in errors
    assert program.returncode == cli.EXIT_INTERRUPTED
