"""Batches of several data sets, by the names of the examples."""

import collections
import dataclasses
import sys

import numpy as np
import pytest

from metro_tf import skeleton
from tests.training.test_train_program import CONFIG, data_dirs, make_person  # noqa: F401
from training import mixing, pipeline, train
from training.config import ModelConfig, TrainConfig
from training.datasets import example as example_lib
from training.datasets import records

JOINTS = {
    'a': skeleton.METRO_24.joint_names, 'b': example_lib.SKELETONS['h36m_17'],
    'c': example_lib.SKELETONS['coco_17'], 'd': example_lib.SKELETONS['humaneva_15']}
NAMED = dataclasses.replace(
    CONFIG, batch_size_3d=8, batch_size_2d=3, datasets_3d=(('b', 3), ('a', 1), ('d', 4)),
    datasets_2d=(('c', 2), ('lspet', 1)))


def write_dataset(folder, name, n_people):
    """Records of people with the joints of a data set, whose names begin with its name."""
    folder.mkdir()
    people = []
    for i in range(n_people):
        person = make_person(i)
        coords3d, coords2d = [
            example_lib.select_joints(coords, person.joint_names, JOINTS[name])
            for coords in (person.coords3d_cam, person.coords2d)]
        people.append(dataclasses.replace(
            person, name=f'{name}{i}', coords3d_cam=None if name == 'c' else coords3d,
            coords2d=coords2d, visibility=np.ones(len(JOINTS[name]), np.float32),
            joint_names=JOINTS[name]))
    records.write_shard(folder / 'a.tfrecord', people)


@pytest.fixture(scope='module')
def folders(data_dirs, tmp_path_factory):  # noqa: F811
    root = tmp_path_factory.mktemp('datasets')
    for name, n_people in (('a', 5), ('b', 7), ('c', 4), ('d', 3)):
        write_dataset(root / name, name, n_people)
    return {'lspet': data_dirs['lspet'], **{name: root / name for name in JOINTS}}


def batches(config, folders, n_batches, first_step=0):
    """List of batches, each a list of the names of its examples."""
    batch_size = config.batch_size_3d + config.batch_size_2d
    dataset = mixing.mix(config, folders, first_step).take(n_batches * batch_size)
    names = [example['name'].decode() for example in dataset.as_numpy_iterator()]
    return [names[i:i + batch_size] for i in range(0, len(names), batch_size)]


@pytest.fixture(scope='module')
def unbroken(folders):
    """The first 35 batches."""
    return batches(NAMED, folders, 35)


def test_every_batch_holds_the_same_number_of_each(unbroken):
    for batch in unbroken:
        assert ''.join(name[0] for name in batch) == 'bbb' + 'a' + 'dddd' + 'cc' + 'i'
    assert len({tuple(batch) for batch in unbroken}) == 35


def test_examples_come_equally_often(unbroken):
    """In 35 batches: 105 times one of seven, 35 times one of five."""
    counts = collections.Counter(name for batch in unbroken for name in batch if name[0] in 'ab')
    assert counts == {**{f'b{i}': 15 for i in range(7)}, **{f'a{i}': 7 for i in range(5)}}


@pytest.mark.parametrize('first_step', [1, 16])
def test_a_late_start_gives_what_comes_then(folders, unbroken, first_step):
    assert batches(NAMED, folders, 2, first_step) == unbroken[first_step:first_step + 2]


def test_the_seed_changes_the_order(folders, unbroken):
    assert batches(dataclasses.replace(NAMED, seed=2), folders, 2) != unbroken[:2]


def test_named_alone_a_data_set_gives_the_batches_of_its_argument(folders):
    single = dataclasses.replace(CONFIG, batch_size_3d=3, batch_size_2d=2)
    usual = {'synth': folders['a'], 'lspet': folders['lspet']}
    named = dataclasses.replace(
        single, datasets_3d=(('synth', 1),), datasets_2d=(('lspet', 1),))
    assert batches(named, usual, 4, 2) == batches(single, usual, 4, 2)


# Trainings that are resumed with a later version go on with their own order.
ORDER = {
    'two': ['a3 a3 a4 a1 im00002 im00001 im00003', 'a2 a0 a2 a4 im00003 im00002 im00001'],
    'four': ['a2 a3 b1 a3 c1 im00002 im00001', 'a4 b3 a1 a2 c0 im00003 im00003']}


@pytest.mark.parametrize('name', sorted(ORDER))
def test_the_order_without_named_data_sets_stays(folders, name):
    config = dataclasses.replace(CONFIG, batch_size_3d=4, batch_size_2d=3, own_share=0.3)
    own = {} if name == 'two' else {'records_3d': folders['b'], 'records_2d': folders['c']}
    found = batches(config, {'synth': folders['a'], 'lspet': folders['lspet'], **own}, 2, 1)
    assert [' '.join(batch) for batch in found] == ORDER[name]


def test_each_example_has_the_joints_that_its_data_set_labels(folders, data_dirs):  # noqa: F811
    """All train one output layer: what is not labelled is masked, example by example."""
    dataset = pipeline.training_dataset(
        NAMED, None, folders['lspet'], [data_dirs['photos']],
        record_dirs={name: folders[name] for name in JOINTS})
    names = skeleton.METRO_24.joint_names
    labelled = {name: np.isin(names, JOINTS[name]) for name in 'abcd'}
    assert [mask.sum() for mask in labelled.values()] == [24, 17, 17, 15]
    nothing = np.zeros(24, bool)
    for inputs, labels in dataset.take(2):
        assert inputs['image'].shape == (11, 64, 64, 3)
        np.testing.assert_array_equal(
            labels['joint_validity_mask_3d'],
            [*[labelled['b']] * 3, labelled['a'], *[labelled['d']] * 4, *[nothing] * 3])
        np.testing.assert_array_equal(
            labels['joint_validity_mask_2d'][:10],
            [*[labelled['b']] * 3, labelled['a'], *[labelled['d']] * 4, *[labelled['c']] * 2])


def test_only_2d_or_only_3d(folders):
    flat = dataclasses.replace(NAMED, batch_size_3d=0, datasets_3d=())
    only_2d = {name: folders[name] for name in ('c', 'lspet')}
    assert [name[0] for name in batches(flat, only_2d, 1)[0]] == ['c', 'c', 'i']
    deep = dataclasses.replace(NAMED, batch_size_2d=0, datasets_2d=())
    only_3d = {name: folders[name] for name in 'abd'}
    assert [name[0] for name in batches(deep, only_3d, 1)[0]] == list('bbbadddd')


def test_error_texts(folders):
    less = {name: folder for name, folder in folders.items() if name not in 'ac'}
    with pytest.raises(ValueError, match=(
            r"There must be a folder for each data set that the config names, and for no other. "
            r"Received: none for \['a', 'c'\], and folders for \['e'\], which it does not name")):
        mixing.mix(NAMED, {**less, 'e': folders['a']})
    with pytest.raises(ValueError, match=r"folders for \['a'\], which it does not name"):
        mixing.mix(CONFIG, {'synth': folders['a'], 'a': folders['a']})
    with pytest.raises(ValueError, match=(
            r"`record_dirs` must not have the names \['lspet', 'records_2d', 'records_3d', "
            r"'synth'\], which have arguments of their own. Received: \['lspet'\]")):
        mixing.name_folders(record_dirs={'a': 'x', 'lspet': 'y'})
    deep = TrainConfig(name='x', batch_size_2d=0, datasets_3d=(('lspet', 1),))
    with pytest.raises(ValueError, match="`datasets_3d` must not name 'lspet', which has 2D labe"):
        mixing.mix(deep, {'lspet': folders['lspet']})
    with pytest.raises(ValueError, match='`batch_size_2d` must be 0 without a source of 2D labels, '
                                         'and positive with one. Received: batch_size_2d=2, 0 so'):
        mixing.mix(CONFIG, {'synth': folders['a']})


def test_folders_that_are_not_given_have_no_name():
    assert mixing.name_folders('s', None, None, '', {'a': 'x'}) == {'synth': 's', 'a': 'x'}
    assert mixing.name_folders(None, 'l', 'd', 'f') == {
        'lspet': 'l', 'records_3d': 'd', 'records_2d': 'f'}


CONFIG_FILE = """
import dataclasses

from tests.training import test_mixing


def config():
    return dataclasses.replace(test_mixing.NAMED, n_steps=1, steps_per_epoch=1, warmup_steps=0)
"""


def run_program(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['train', *map(str, arguments)])
    train.main()


def test_the_program_hands_on_the_folders(folders, tmp_path, monkeypatch):
    (tmp_path / 'c.py').write_text(CONFIG_FILE)
    received = []
    monkeypatch.setattr(train, 'train', lambda *args, **kwargs: received.append((args, kwargs)))
    common = [tmp_path / 'c.py', '--background-dir', 'photos', '--lspet-dir', 'l']
    run_program(monkeypatch, *common, '--records', 'a=x/y', '--records', 'b=z=1')
    (args, kwargs), = received
    assert args[1:3] == (None, 'l') and kwargs['record_dirs'] == {'a': 'x/y', 'b': 'z=1'}


@pytest.mark.parametrize('arguments, message', [
    (['--records', 'a'], 'argument --records: must be NAME=DIR. Received: a'),
    (['--records', '=x'], 'must be NAME=DIR. Received: =x'),
    (['--records', 'a=x', '--records', 'a=y'], 'names of --records must be distinct')])
def test_the_program_refuses_what_is_no_name(monkeypatch, capsys, arguments, message):
    with pytest.raises(SystemExit):
        run_program(monkeypatch, 'c.py', '--background-dir', 'photos', *arguments)
    assert message in capsys.readouterr().err


def test_bone_lengths_are_those_of_the_named_data_sets(folders, monkeypatch, tmp_path):
    config = dataclasses.replace(NAMED, model=ModelConfig(kind='pose25d'))
    received = []

    def stop(config, record_dirs):
        received.extend(record_dirs)
        raise InterruptedError
    monkeypatch.setattr(train.crop_models, 'with_bone_lengths', stop)
    with pytest.raises(InterruptedError):
        train.train(
            config, None, folders['lspet'], [], tmp_path,
            record_dirs={name: folders[name] for name in JOINTS})
    assert received == [folders['b'], folders['a'], folders['d']]


@pytest.mark.slow
def test_a_training_on_named_data_sets(folders, data_dirs, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / 'c.py').write_text(CONFIG_FILE)
    named = [part for name in JOINTS for part in ('--records', f'{name}={folders[name]}')]
    run_program(
        monkeypatch, tmp_path / 'c.py', '--background-dir', data_dirs['photos'], '--lspet-dir',
        folders['lspet'], '--out-dir', tmp_path, *named)
    assert (tmp_path / 'tiny/crop_model.keras').is_file()
