"""The conversion program: options from readers, going on after a kill, reports and exit codes."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest

from training import convert, worker_processes
from training.datasets import conversion
from training.datasets import example as example_lib
from training.datasets import reader as reader_lib
from training.datasets import records

JOINTS = ('pelv', 'neck')


@dataclasses.dataclass(frozen=True)
class FakeReader(reader_lib.DatasetReader):
    """Text files of numbers: each number becomes an example, 100 % made up.

    Args:
        source_dir: Folder of
            text files.
        factor: Factor of the
            numbers, 100 % sure.
        first, last: Limits.
        is_loud: Whether.
        names: Names of files.
    """
    source_dir: str
    factor: int = 1
    first: float = 0.0
    last: float = 50.0
    is_loud: bool = False
    names: tuple = ('all',)

    NAME = 'fake'

    def __post_init__(self):
        if self.factor < 1:
            raise ValueError(f'`factor` must be positive. Received: factor={self.factor}')

    def items(self, report):
        paths = sorted(reader_lib.existing_dir(self.source_dir, ['a.txt']).glob('*.txt'))
        if not pathlib.Path(self.source_dir, 'b.txt').exists():
            report(reader_lib.Problem('b.txt', '', 'missing'))
        return tuple(reader_lib.Item(f'fake/{path.stem} 1', 3, str(path)) for path in paths)

    def examples(self, item, report):
        for word in pathlib.Path(item.content).read_text().split():
            if word == 'kill':
                os._exit(7)
            if word == 'quirk':
                report(reader_lib.Problem(item.content, 'here', 'left out', is_expected=True))
            elif word == 'blank':
                report(reader_lib.Problem(pathlib.Path(item.content), 'blank', 'damaged'))
            else:
                yield make_example(f'{item.name}/{word}', int(word) * self.factor)

    def expected_counts(self):
        return {'examples': 3, 'lines': 9}


def make_example(name, value):
    return example_lib.Example(
        image=np.full([8, 8, 3], value, np.uint8), name=name, box=np.float32([1, 1, 4, 4]),
        frame=np.float32([0, 0, 8, 8]), coords2d=np.full([2, 2], value, np.float32),
        visibility=np.ones(2, np.float32), joint_names=JOINTS)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / 'source'
    folder.mkdir()
    (folder / 'a.txt').write_text('1 quirk 2')
    (folder / 'b.txt').write_text('3')
    return folder


@pytest.fixture
def in_this_process(monkeypatch):
    """Saves the start of a process, which takes seconds."""
    def run_tasks(function, tasks, n_processes):
        for task in tasks:
            yield worker_processes.Event(task, 'done', function(task, lambda news: None))
    monkeypatch.setattr(worker_processes, 'run_tasks', run_tasks)


def read_values(out):
    return [int(example['coords2d'][0, 0]) for example in records.read_dataset(
        out, JOINTS).as_numpy_iterator()]


def run(monkeypatch, *argv):
    monkeypatch.setattr(convert, 'READERS', {'fake': FakeReader})
    return convert.main(['fake', *map(str, argv)])


@pytest.mark.usefixtures('in_this_process')
def test_every_item_becomes_a_record_file(monkeypatch, source, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run(monkeypatch, '--source', source, '--out', out, '--factor', 10) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        'fake_a_1.tfrecord', 'fake_b_1.tfrecord', 'items', 'report.json', 'settings.json']
    assert read_values(out) == [10, 20, 30]
    report = json.loads((out / 'report.json').read_text())
    assert report == {
        'dataset': 'fake', 'is_complete': True, 'counts': {'items': 2, 'examples': 3},
        'expected_counts': {'examples': 3, 'lines': 9}, 'problems': [{
            'path': str(source / 'a.txt'), 'item': 'here', 'text': 'left out',
            'is_expected': True}]}
    assert capsys.readouterr().out == (
        'items: 2\nexamples: 3, expected: 3\nlines: not counted, expected: 9\n'
        f'{source}/a.txt: here: left out\n1 problems are listed in {out}/report.json\n')


@pytest.mark.slow  # starts a process, which imports TensorFlow
def test_trouble_with_one_item_leaves_the_others(source, tmp_path):
    (source / 'c.txt').write_text('4 nonsense')
    (source / 'd.txt').write_text('6')
    (source / 'e.txt').write_text('5 kill')
    report = convert.convert(FakeReader(str(source)), tmp_path / 'out')
    assert read_values(tmp_path / 'out') == [1, 2, 3, 6]
    assert not report['is_complete']
    assert report['counts'] == {'items': 3, 'examples': 4}
    assert [(problem['item'], problem['text']) for problem in report['problems']] == [
        ('here', 'left out'),
        ('fake/c 1', "ValueError: invalid literal for int() with base 10: 'nonsense'; the whole "
         'item is left out'),
        ('fake/e 1', 'the process ended with exit code 7, perhaps for lack of memory; the whole '
         'item is left out')]


@pytest.mark.usefixtures('in_this_process')
def test_later_run_reads_only_what_was_not_complete(source, tmp_path):
    out = tmp_path / 'out'
    (source / 'c.txt').write_text('4 blank')
    reader = FakeReader(str(source))
    assert not convert.convert(reader, out)['is_complete']
    (source / 'a.txt').write_text('7')
    (source / 'b.txt').write_text('8')
    (source / 'c.txt').write_text('9')
    (out / 'fake_b_1.tfrecord').unlink()
    (out / 'items' / 'fake_a_1.json').write_text('{')
    leftover = out / 'fake_b_1.tfrecord.123.partial'
    leftover.touch()
    with pytest.raises(ValueError, match='fake_a_1.json is damaged; delete it'):
        convert.convert(reader, out)
    (out / 'items' / 'fake_a_1.json').write_text(
        '{"name": "fake/a 1", "n_examples": 2, "problems": []}')
    report = convert.convert(reader, out)
    assert read_values(out) == [1, 2, 8, 9]
    assert report['counts'] == {'items': 3, 'examples': 4}
    assert not leftover.exists()


@pytest.mark.usefixtures('in_this_process')
def test_item_that_lost_its_examples_loses_its_file(source, tmp_path):
    out = tmp_path / 'out'
    (source / 'b.txt').write_text('3 blank')
    convert.convert(FakeReader(str(source)), out)
    assert (out / 'fake_b_1.tfrecord').exists()
    (source / 'b.txt').write_text('blank')
    assert convert.convert(FakeReader(str(source)), out)['counts'] == {'items': 1, 'examples': 2}
    assert not (out / 'fake_b_1.tfrecord').exists()


@pytest.mark.usefixtures('in_this_process')
def test_files_of_vanished_items_are_reported(source, tmp_path):
    out = tmp_path / 'out'
    convert.convert(FakeReader(str(source)), out)
    (source / 'b.txt').unlink()
    report = convert.convert(FakeReader(str(source)), out)
    assert [(problem['path'], problem['text']) for problem in report['problems'][:2]] == [
        ('b.txt', 'missing'),
        (str(out / 'fake_b_1.tfrecord'), 'belongs to no item of the source any more')]


@pytest.mark.usefixtures('in_this_process')
def test_missing_part_of_the_source_gives_code_1(monkeypatch, source, tmp_path, capsys):
    (source / 'b.txt').unlink()
    assert run(monkeypatch, '--source', source, '--out', tmp_path / 'out') == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == 'examples: 2, expected: 3'
    assert lines[3] == 'b.txt: missing'  # before the expected problem


@pytest.mark.usefixtures('in_this_process')
def test_too_many_examples_are_no_success(source, tmp_path):
    (source / 'c.txt').write_text('4')
    assert not convert.convert(FakeReader(str(source)), tmp_path / 'out')['is_complete']


def test_only_the_first_problems_are_printed(capsys):
    problem = {'path': 'p', 'item': '', 'text': 'missing', 'is_expected': False}
    convert.print_report(
        {'counts': {}, 'expected_counts': {}, 'problems': [problem] * 21}, 'report.json')
    assert capsys.readouterr().out == (
        'p: missing\n' * 20 + '21 problems are listed in report.json\n')


@pytest.mark.parametrize('changes, message', [
    (['--factor', '0'], 'Error: `factor` must be positive. Received: factor=0'),
    (['--source', 'nowhere'], 'Error: `source_dir` must be the folder that holds a.txt'),
    (['--n-processes', '0'], 'Error: `n_processes` must be a positive finite number')])
def test_wrong_arguments_give_code_2(monkeypatch, source, tmp_path, capsys, changes, message):
    out = tmp_path / 'out'
    assert run(monkeypatch, '--source', source, '--out', out, *changes) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.usefixtures('in_this_process')
def test_other_settings_in_the_same_folder_give_code_2(monkeypatch, source, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run(monkeypatch, '--source', source, '--out', out) == 0
    assert run(monkeypatch, '--source', source, '--out', out, '--names', 'x', 'y') == 2
    assert "where names was ['all'] and is ['x', 'y']" in capsys.readouterr().err


@pytest.mark.parametrize('argv', [
    [], ['unknown'], ['fake', '--out', 'x'], ['fake', '--source', 'x', '--out', 'y', '--nonsense']])
def test_arguments_that_cannot_be_parsed_give_code_2(monkeypatch, argv, capsys):
    monkeypatch.setattr(convert, 'READERS', {'fake': FakeReader})
    with pytest.raises(SystemExit) as error:
        convert.main(argv)
    assert error.value.code == 2


def test_options_come_from_the_fields_of_the_reader(capsys):
    argv = (
        'fake --source s --out o --factor 3 --first 2.5 --is-loud --names x y --n-processes 2')
    args = convert.parse_args(argv.split(), {'fake': FakeReader})
    assert convert.make_reader(args) == FakeReader(
        's', factor=3, first=2.5, is_loud=True, names=('x', 'y'))
    assert args.n_processes == 2
    with pytest.raises(SystemExit):
        convert.parse_args(['fake', '--help'], {'fake': FakeReader})
    text = ' '.join(capsys.readouterr().out.split())
    assert '--factor FACTOR Factor of the numbers, 100 % sure. (default: 1)' in text
    assert '--source SOURCE Folder of text files.' in text
    assert '--last LAST Limits. (default: 50.0)' in text


def test_option_types_are_checked():
    @dataclasses.dataclass(frozen=True)
    class Odd(reader_lib.DatasetReader):
        """Odd.

        Args:
            source_dir: Folder.
            odd: Odd.
        """
        source_dir: str
        odd: dict = None

    with pytest.raises(ValueError, match="`odd` of Odd must be of one of the types .*'bool'"):
        convert.parse_args([], {'odd': Odd})


@pytest.mark.parametrize('name', convert.READERS)
def test_every_reader_has_documented_fields_and_its_name(name):
    reader_class = convert.READERS[name]
    fields = [field.name for field in dataclasses.fields(reader_class)]
    assert fields[0] == 'source_dir'
    assert set(fields) == set(convert.argument_texts(reader_class))
    assert reader_class.NAME == name
    assert convert.make_reader(convert.parse_args(
        [name, '--source', 's', '--out', 'o'])) == reader_class('s')


def test_file_stems_are_safe_and_distinct():
    items = [reader_lib.Item(name, 1) for name in ('S1/Walk 1.54', 'S1 Walk 1.54', 'ä:ö')]
    stems = conversion.file_stems(items)
    assert stems['ä:ö'] == 'ä_ö'
    assert stems['S1/Walk 1.54'].startswith('S1_Walk_1.54-')
    assert len(set(stems.values())) == 3
    with pytest.raises(ValueError, match="distinct names. Received: \\['x'\\] more than once"):
        conversion.file_stems([reader_lib.Item('x', 1)] * 2)
