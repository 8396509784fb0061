"""Labels from a file in place of those of the records."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.training.test_records import make_example
from training.datasets import records
from training.evaluation import label_versions

NAN = float('nan')
NAMES = ('b', 'a')
COORDS = np.float32([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [NAN, NAN, NAN]]])
JOINTS = ('neck', 'pelv')


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'labels.npz'


def write(path, **changes):
    np.savez(path, **{
        'names': NAMES, 'coords3d_cam': COORDS, 'joint_names': JOINTS, **changes})


def test_labels_come_by_the_names_of_examples_and_joints(path):
    write(path, coords3d_cam=COORDS.astype(np.float64))
    version = label_versions.read(path, ('pelv', 'head', 'neck'), ['a', 'b'])
    coords, mask = version(tf.constant(['a', 'b', 'a']))
    np.testing.assert_array_equal(coords, [
        [[0, 0, 0], [0, 0, 0], [7, 8, 9]], [[4, 5, 6], [0, 0, 0], [1, 2, 3]],
        [[0, 0, 0], [0, 0, 0], [7, 8, 9]]])
    np.testing.assert_array_equal(
        mask, [[False, False, True], [True, False, True], [False, False, True]])
    assert coords.dtype == np.float32 and mask.dtype == bool


def test_names_beyond_ascii(path):
    write(path, names=['ä/1', 'ß/2'])
    version = label_versions.read(path, JOINTS, ['ß/2', 'ä/1'])
    np.testing.assert_array_equal(version(tf.constant(['ß/2']))[0][0, 0], [7, 8, 9])


@pytest.mark.parametrize('names, problem', [
    (('a', 'c'), "'b' missing"), (('a', 'b', 'c'), "'c' unknown"),
    (('a', 'b', 'a'), "'a' more than once"),
    (('a', 'b', *'defghi'), "'d', 'e', 'f', 'g', 'h' and 1 more unknown")])
def test_names_must_be_those_of_the_examples(path, names, problem):
    write(path, names=names, coords3d_cam=np.zeros([len(names), 2, 3]))
    with pytest.raises(ValueError, match='`names` must hold the name of every example exactly '
                                         f'once. Received: {problem} in .*labels.npz'):
        label_versions.read(path, JOINTS, ['a', 'b'])


@pytest.mark.parametrize('changes', [
    {'coords3d_cam': COORDS[:1]}, {'coords3d_cam': COORDS[:, :1]},
    {'coords3d_cam': COORDS[..., :2]}, {'coords3d_cam': COORDS[0]},
    {'coords3d_cam': np.zeros([2, 2, 3], int)}, {'names': 'ab'}, {'names': [NAMES]},
    {'names': [1, 2]}])
def test_shapes_and_types_must_fit(path, changes):
    write(path, **changes)
    with pytest.raises(ValueError, match=r'`names` must be strings \[n\] and `coords3d_cam` floats '
                                         r'\[n, joints, 3\], with the 2 joints .*labels.npz'):
        label_versions.read(path, JOINTS, ['a', 'b'])


@pytest.mark.parametrize('joint_names, message', [
    (['neck', 'knee'], "`joint_names` must be among .*'knee'.* in .*labels.npz"),
    (['neck', 'neck'], "`joint_names` must be distinct.*'neck'.* in .*labels.npz"),
    ('neck', "`joint_names` must be a list of names.*'neck' in .*labels.npz")])
def test_joints_must_be_known(path, joint_names, message):
    write(path, joint_names=joint_names)
    with pytest.raises(ValueError, match=message):
        label_versions.read(path, JOINTS, ['a', 'b'])


@pytest.mark.parametrize('name', ['names', 'coords3d_cam', 'joint_names'])
def test_arrays_must_be_there(path, name):
    arrays = {'names': NAMES, 'coords3d_cam': COORDS, 'joint_names': JOINTS}
    del arrays[name]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match='an NPZ file with the arrays names, coords3d_cam, '
                                         f'joint_names. Received: .*labels.npz without {name}'):
        label_versions.read(path, JOINTS, ['a', 'b'])


def no_file(path):
    path.unlink(missing_ok=True)


def text_file(path):
    path.write_text('names')


def empty_file(path):
    path.write_bytes(b'')


def one_array(path):
    with open(path, 'wb') as file:
        np.save(file, COORDS)


def objects(path):
    write(path, names=np.array(['a', 1], object))


def cut_off(path):
    write(path)
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.parametrize(
    'make', [no_file, text_file, empty_file, one_array, objects, cut_off])
def test_file_must_be_npz(path, make):
    make(path)
    with pytest.raises(ValueError, match='`path` must be an NPZ file. Received: .*labels.npz'):
        label_versions.read(path, JOINTS, ['a', 'b'])


def test_names_of_records(tmp_path):
    for shard, names in (('a', ('x', 'ä')), ('b', ('z',))):
        records.write_shard(
            tmp_path / f'{shard}.tfrecord', [make_example(name=name) for name in names])
    assert label_versions.read_example_names(tmp_path) == ['x', 'ä', 'z']
    records.write_shard(tmp_path / 'c.tfrecord', [dataclasses.replace(make_example(), name='ä')])
    with pytest.raises(ValueError, match='Names of examples must be distinct .*: .ä. more than'):
        label_versions.read_example_names(tmp_path)
