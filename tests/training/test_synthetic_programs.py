"""The programs: shards that are kept and continued, settings, errors."""

import json
import signal

import numpy as np
import pytest

from tests.training import test_records
from training.datasets import records
from training.synthetic import body, generate, scene

ARGS = {'n_images': 5, 'seed': 3, 'images_per_shard': 2}


class FakeSampler:
    """Examples whose box tells the random numbers."""

    def sample(self, rng, n_examples, name_prefix):
        for i in range(n_examples):
            box = np.float32([rng.uniform(), 0, 1, 1])
            yield test_records.make_example(f'{name_prefix}-{i:04d}', box=box)


@pytest.fixture
def drawn(monkeypatch):
    """Replaces drawing by fakes within this process; a list of the shard names drawn."""
    names = []

    def run(jobs, n_processes, sampler_args, progress):
        names.append(progress)
        for path, *job in jobs:
            names.append(path.name)
            generate.render_shard(FakeSampler(), path, *job)
    monkeypatch.setattr(scene, 'check_data_dir', lambda data_dir: None)
    monkeypatch.setattr(body, 'BodyModel', lambda makehuman_dir, cache_dir: None)
    monkeypatch.setattr(generate, '_run', run)
    return names


@pytest.fixture(autouse=True)
def keep_signal_handlers():
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def read_boxes(folder):
    return [float(item['box'][0]) for item in records.read_dataset(folder)]


def test_shards_are_numbered_and_complete(drawn, tmp_path):
    generate.generate('data', tmp_path, **ARGS)
    shards = [f'people-0000{i}.tfrecord' for i in range(3)]
    assert drawn == [(0, 5), *shards]
    assert sorted(path.name for path in tmp_path.glob('*.tfrecord')) == shards
    names = [item['name'].numpy().decode() for item in records.read_dataset(tmp_path)]
    assert names == [f'synthetic-3-0000{i}-000{k}' for i, k in (
        (0, 0), (0, 1), (1, 0), (1, 1), (2, 0))]
    assert len(set(read_boxes(tmp_path))) == 5


def test_resuming_draws_only_what_is_missing(drawn, tmp_path):
    generate.generate('data', tmp_path, **ARGS)
    boxes = read_boxes(tmp_path)
    (tmp_path / 'people-00001.tfrecord').unlink()
    half = tmp_path / 'people-00001.tfrecord.77.partial'
    half.write_bytes(b'half a shard')
    assert len(read_boxes(tmp_path)) == 3  # the half is never read
    drawn.clear()
    generate.generate('data', tmp_path, **ARGS)
    assert drawn == [(3, 5), 'people-00001.tfrecord']
    assert read_boxes(tmp_path) == boxes
    assert not half.exists()
    drawn.clear()
    generate.generate('data', tmp_path, **ARGS)
    assert drawn == []


def test_an_interrupted_shard_is_not_kept(drawn, tmp_path):
    class Interrupted(FakeSampler):
        def sample(self, *args):
            yield next(super().sample(*args))
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        generate.render_shard(Interrupted(), tmp_path / 'people-00000.tfrecord', 3, 0, 2)
    assert not list(tmp_path.iterdir())


def test_content_depends_on_seed_and_number(tmp_path):
    boxes = []
    for i, (seed, i_shard) in enumerate([(3, 0), (3, 0), (3, 1), (4, 0)]):
        (tmp_path / str(i)).mkdir()
        generate.render_shard(FakeSampler(), tmp_path / f'{i}/x.tfrecord', seed, i_shard, 2)
        boxes.append(tuple(read_boxes(tmp_path / str(i))))
    assert boxes[0] == boxes[1]
    assert len(set(boxes)) == 3


@pytest.mark.parametrize('change', [
    {'n_images': 6}, {'seed': 4}, {'images_per_shard': 3}, {'subject': 'busts'}])
def test_other_settings_in_the_same_folder_are_an_error(drawn, tmp_path, change):
    generate.generate('data', tmp_path, **ARGS)
    before = {path.name: path.read_bytes() for path in tmp_path.glob('*.*')}
    with pytest.raises(ValueError, match='`out_dir` must be new or made with the same settings'):
        generate.generate('data', tmp_path, **{**ARGS, **change})
    assert {path.name: path.read_bytes() for path in tmp_path.glob('*.*')} == before
    assert json.loads(before['settings.json']) == ARGS


def test_the_subject_reaches_the_sampler(monkeypatch, tmp_path):
    received = []
    monkeypatch.setattr(generate, '_worker', {})
    monkeypatch.setattr(signal, 'signal', lambda *args: None)
    monkeypatch.setattr(scene, 'SceneSampler', lambda *args: received.append(args))
    monkeypatch.setattr(generate, 'render_shard', lambda *args, on_image: None)
    generate._start_worker('counter', 'data', 'cache', 'busts')
    generate._work((tmp_path, 1, 2, 3))
    assert received == [('data', 'cache', 'busts')]


@pytest.mark.parametrize('change, message', [
    ({'subject': 'heads'}, "`subject` must be one of .*'busts', 'people'.*'heads'"),
    ({'n_images': 0}, '`n_images` must be positive.*n_images=0'),
    ({'images_per_shard': 0}, '`images_per_shard` must be positive'),
    ({'n_processes': 0}, '`n_processes` must be positive'),
    ({'seed': -1}, '`seed` must be positive .a seed may be 0.*seed=-1')])
def test_wrong_numbers_are_named(drawn, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        generate.generate('data', tmp_path / 'out', **{**ARGS, **change})
    assert not (tmp_path / 'out').exists()


def test_program_names_missing_data(tmp_path, capsys):
    args = ['--data-dir', str(tmp_path / 'no'), '--out-dir', str(tmp_path / 'o'), '--n-images', '2']
    assert generate.main(args) == 2
    error = capsys.readouterr().err
    assert error.startswith('Error: `data_dir` must hold the body and motion data')
    assert str(tmp_path / 'no') in error and not (tmp_path / 'o').exists()


def test_program_says_how_to_continue(drawn, tmp_path, capsys, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt
    monkeypatch.setattr(generate, '_run', interrupt)
    args = ['--data-dir', 'data', '--out-dir', str(tmp_path), '--n-images', '2']
    assert generate.main(args) == 130
    assert 'The same command continues' in capsys.readouterr().err


@pytest.mark.slow
def test_real_run_is_the_same_with_any_number_of_processes(
        data_dir, cache_dir, renderer, tmp_path):
    del renderer  # skips where there is none
    contents = []
    for n_processes in (1, 2):
        out_dir = tmp_path / str(n_processes)
        args = ['--data-dir', data_dir, '--out-dir', out_dir, '--n-images', 3, '--seed', 1,
                '--images-per-shard', 2, '--n-processes', n_processes, '--cache-dir', cache_dir]
        assert generate.main([str(arg) for arg in args]) == 0
        contents.append({path.name: path.read_bytes() for path in out_dir.iterdir()})
    assert contents[0] == contents[1]
    assert sorted(contents[0]) == [
        'people-00000.tfrecord', 'people-00001.tfrecord', 'settings.json']
