"""Pickles of data sets come back whole, and nothing else can be built by them."""

import os
import pickle
import struct

import numpy as np
import pytest

from training.datasets import restricted_pickle


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'a.pkl'


CONTENT = {
    'sequence': 'walk', 'text': 'ü', 'numbers': [1, 2.5, None, True, 1 + 2j],
    'arrays': [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(3, 2))],
    'texts': np.array(['a', 'bc']), 'scalar': np.float32(2.5), 'bytes': b'\x00\xff',
    'nested': ({'set': {1, 2}}, (np.zeros([0, 3]),))}


@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_plain_content_comes_back(path, protocol):
    path.write_bytes(pickle.dumps(CONTENT, protocol))
    loaded = restricted_pickle.load(path)
    np.testing.assert_equal(loaded, CONTENT)
    assert type(loaded['arrays'][0]) is np.ndarray
    assert loaded['arrays'][1].dtype == CONTENT['arrays'][1].dtype
    assert type(loaded['scalar']) is np.float32


@pytest.mark.parametrize('protocol', [2, 4])
def test_arrays_of_objects_come_back(path, protocol):
    path.write_bytes(pickle.dumps(np.array([[np.arange(3), 'x', None]], object), protocol))
    loaded = restricted_pickle.load(path)
    assert loaded.shape == (1, 3) and loaded.dtype == object
    np.testing.assert_array_equal(loaded[0, 0], [0, 1, 2])
    assert type(loaded[0, 0]) is np.ndarray and list(loaded[0, 1:]) == ['x', None]


def python2_array():
    """The bytes that Python 2 writes for `numpy.array([1.0, -2.0])` in protocol 2."""
    data = struct.pack('<dd', 1.0, -2.0)
    return (
        b'\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR'
        b'(K\x01K\x02\x85cnumpy\ndtype\n(U\x02f8K\x00K\x01tR'
        b'(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
        b'\x89U' + bytes([len(data)]) + data + b'tb.')


def test_arrays_of_python_2_come_back(path):
    path.write_bytes(python2_array())
    np.testing.assert_array_equal(restricted_pickle.load(path), [1.0, -2.0])


class RunsCode:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_code_is_refused_by_name_and_does_not_run(path, tmp_path):
    content = {'harmless': np.zeros(3), 'list': [RunsCode(tmp_path / 'made')]}
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(ValueError, match=rf'Received: {path}: posix.mkdir is refused'):
        restricted_pickle.load(path)
    assert not (tmp_path / 'made').exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / 'made').exists()


@pytest.mark.parametrize('text, name', [
    (b'cos\nsystem\n(S"true"\ntR.', 'os.system'),
    (b'c__builtin__\neval\n(S"1"\ntR.', '__builtin__.eval'),
    (b'c__builtin__\ngetattr\n.', '__builtin__.getattr'),
    (b'\x80\x04\x8c\x10numpy.core.numpy\x8c\x04load\x93.', 'numpy.core.numpy.load'),
    (b'\x80\x02cnumpy\nload\n.', 'numpy.load'),
    (b'\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.', 'numpy.ndarray.__init__')])
def test_other_names_are_refused(path, text, name):
    path.write_bytes(text)
    with pytest.raises(ValueError, match=f'{name} is refused'):
        restricted_pickle.load(path)


def test_array_types_that_hide_objects_are_refused(path):
    # An array of objects, flagged as if it held numbers: its bytes would be taken as pointers.
    path.write_bytes(python2_array().replace(b'U\x02f8', b'U\x02O8'))
    with pytest.raises(ValueError, match='must be a file of NumPy arrays'):
        restricted_pickle.load(path)
    records = np.zeros(2, [('a', 'f8')])
    path.write_bytes(pickle.dumps(records, 2))
    with pytest.raises(ValueError, match='the array type .* is refused'):
        restricted_pickle.load(path)


def test_other_encodings_and_bare_types_are_refused(path):
    path.write_bytes(b'\x80\x02c_codecs\nencode\nU\x01aU\x03bz2\x86R.')
    with pytest.raises(ValueError, match='bytes in the encoding bz2 are refused'):
        restricted_pickle.load(path)
    path.write_bytes(b'cnumpy\nndarray\n.')
    with pytest.raises(ValueError, match="class 'numpy.ndarray'> is refused"):
        restricted_pickle.load(path)


@pytest.mark.parametrize('n_bytes', [0, 1, 20, 100, -1])
def test_damaged_files_are_named(path, n_bytes):
    path.write_bytes(pickle.dumps(CONTENT, 2)[:n_bytes])
    with pytest.raises(ValueError, match=f'`path` must be a file .* Received: {path}: .'):
        restricted_pickle.load(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(ValueError, match=f'Received: {path}: .*No such file'):
        restricted_pickle.load(path)


def test_archives_come_back(tmp_path):
    path = tmp_path / 'a.npz'
    positions = {'S1': {'Walking': np.ones([2, 3], np.float32)}}
    np.savez(path, positions_3d=np.array(positions, object), plain=np.arange(3))
    loaded = restricted_pickle.load_npz(path)
    assert sorted(loaded) == ['plain', 'positions_3d']
    np.testing.assert_array_equal(loaded['plain'], [0, 1, 2])
    np.testing.assert_equal(loaded['positions_3d'].item(), positions)


def test_code_in_archives_is_refused(tmp_path):
    path = tmp_path / 'a.npz'
    np.savez(path, a=np.array([RunsCode(tmp_path / 'made')], object))
    with pytest.raises(ValueError, match='posix.mkdir is refused'):
        restricted_pickle.load_npz(path)
    assert not (tmp_path / 'made').exists()
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match='must be a file of NumPy arrays'):
        restricted_pickle.load_npz(path)
