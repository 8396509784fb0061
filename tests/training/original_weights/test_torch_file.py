"""State dicts come back whole, and nothing else can be built by them."""

import os
import pickle
import re

import numpy as np
import pytest

from tests.training.original_weights import released_files
from training.original_weights import torch_file

TENSORS = {
    'features.0.weight': np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    'features.0.bias': np.float32([1.5, -2.0]),
    'features.1.num_batches_tracked': np.array(7, np.int64), 'empty': np.zeros([0, 3], np.float32)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'a.pt'


def assert_equal(loaded, expected=TENSORS):
    assert list(loaded) == list(expected)
    for name, value in loaded.items():
        np.testing.assert_array_equal(value, expected[name])
        assert value.shape == expected[name].shape
        assert value.dtype == (np.int64 if value.dtype.kind == 'i' else np.float32)


def test_a_state_dict_comes_back_in_its_order(path):
    path.write_bytes(released_files.torch_bytes(TENSORS))
    assert_equal(torch_file.read(path))


def test_halves_become_floats(path):
    halves = {'a': np.float16([1.5, -0.1])}
    path.write_bytes(released_files.torch_bytes(halves, 'HalfStorage'))
    assert_equal(torch_file.read(path), halves)


def test_bfloat16_is_the_upper_half_of_a_float(path):
    # 0x3fc0 is 1.5 and 0xc0a0 is -5.
    path.write_bytes(released_files.torch_bytes(
        {'a': np.uint16([0x3fc0, 0xc0a0])}, 'BFloat16Storage'))
    assert_equal(torch_file.read(path), {'a': np.float32([1.5, -5.0])})


def rebuilt(offset, shape, strides, n_numbers=6):
    """A tensor as a view of the storage 0, 1, 2, ..."""
    text = released_files.torch_bytes({'a': np.zeros(n_numbers, np.float32)})
    with torch_file.zipfile.ZipFile(torch_file.io.BytesIO(text)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    view = (released_files._int(offset) + released_files._ints(shape)
            + released_files._ints(strides))
    plain = released_files._int(0) + released_files._ints([n_numbers]) + released_files._ints([1])
    assert files['archive/data.pkl'].count(plain) == 1
    files['archive/data.pkl'] = files['archive/data.pkl'].replace(plain, view)
    files['archive/data/0'] = np.arange(n_numbers, dtype=np.float32).tobytes()
    return released_files.zip_bytes(files)


def test_views_of_storages(path):
    path.write_bytes(rebuilt(1, [2, 2], [1, 2]))
    np.testing.assert_array_equal(torch_file.read(path)['a'], [[1, 3], [2, 4]])


@pytest.mark.parametrize('offset, shape, strides', [
    (1, [6], [1]), (0, [2, 2], [1, 5]), (0, [7], [1]), (-1, [2], [1]), (4, [3], [-1]),
    (0, [-2], [1]), (0, [2, 2], [1])])
def test_views_beyond_storages_are_refused(path, offset, shape, strides):
    path.write_bytes(rebuilt(offset, shape, strides))
    with pytest.raises(ValueError, match='a tensor of shape .* (reaches beyond|is damaged)'):
        torch_file.read(path)


@pytest.mark.parametrize('name, other', [
    ('collections\nOrderedDict', 'os\nsystem'), ('torch._utils\n_rebuild_tensor_v2', 'os\nmkdir'),
    ('torch\nFloatStorage', 'torch\nDoubleStorage'), ('torch\nFloatStorage', 'builtins\neval'),
    ('torch._utils\n_rebuild_tensor_v2', 'torch.storage\n_load_from_bytes')])
def test_other_names_are_refused(path, name, other):
    path.write_bytes(released_files.torch_bytes(TENSORS, global_names={name: other}))
    with pytest.raises(ValueError, match=re.escape(other.replace('\n', '.') + ' is refused')):
        torch_file.read(path)


def test_storage_types_cannot_be_called(path):
    """A storage is made from the numbers in the file alone."""
    path.write_bytes(released_files.zip_bytes({'a/data.pkl': b'ctorch\nFloatStorage\n(tR.'}))
    with pytest.raises(ValueError, match='must be a file of named tensors .* not callable'):
        torch_file.read(path)


class RunsCode:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_code_does_not_run(path, tmp_path):
    content = pickle.dumps({'a': RunsCode(tmp_path / 'made')}, 2)
    path.write_bytes(released_files.zip_bytes({'a/data.pkl': content}))
    with pytest.raises(ValueError, match=f'Received: {path}: posix.mkdir is refused'):
        torch_file.read(path)
    assert not (tmp_path / 'made').exists()
    pickle.loads(content)
    assert (tmp_path / 'made').exists()


@pytest.mark.parametrize('content, reason', [
    ({'a': 1.5}, 'a is a float'), ({1: 2}, 'the name 1 is not a text'), ([1, 2], 'it holds a list'),
    ({'a': {'b': 1}}, 'a is a dict')])
def test_other_content_is_refused(path, content, reason):
    path.write_bytes(released_files.zip_bytes({'a/data.pkl': pickle.dumps(content, 2)}))
    with pytest.raises(ValueError, match=reason):
        torch_file.read(path)


@pytest.mark.parametrize('files, reason', [
    ({}, 'there is not one data.pkl but 0'),
    ({'a/data.pkl': b'N.', 'b/data.pkl': b'N.'}, 'there is not one data.pkl but 2'),
    ({'a/data.pkl': b'N.', 'a/byteorder': b'big'}, 'the byte order is not little')])
def test_other_archives_are_refused(path, files, reason):
    path.write_bytes(released_files.zip_bytes(files))
    with pytest.raises(ValueError, match=reason):
        torch_file.read(path)


def test_storages_of_another_size_are_refused(path):
    content = released_files.torch_bytes({'a': np.zeros(6, np.float32)})
    path.write_bytes(content)
    with torch_file.zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    path.write_bytes(released_files.zip_bytes({**files, 'archive/data/0': b'\0' * 20}))
    with pytest.raises(ValueError, match='storage 0 has 5 numbers'):
        torch_file.read(path)


@pytest.mark.parametrize('n_bytes', [0, 10, 300, -1])
def test_damaged_files_are_named(path, n_bytes):
    path.write_bytes(released_files.torch_bytes(TENSORS)[:n_bytes])
    with pytest.raises(ValueError, match=f'`path` must be a file of named .* Received: {path}: .'):
        torch_file.read(path)


@pytest.mark.parametrize('suffix', ['.pt', '.pth', '.npz', '.safetensors'])
def test_missing_files_are_named(tmp_path, suffix):
    with pytest.raises(ValueError, match=rf'Received: {tmp_path}/none{suffix}: .*No such file'):
        torch_file.read(tmp_path / f'none{suffix}')


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match='must end in one of .pt, .pth, .npz, .safetensors'):
        torch_file.read(tmp_path / 'a.h5')


def test_npz(tmp_path):
    np.savez(tmp_path / 'a.npz', **TENSORS)
    assert_equal(torch_file.read(tmp_path / 'a.npz'))
    np.savez(tmp_path / 'a.npz', a=np.array([RunsCode(tmp_path / 'made')], object))
    with pytest.raises(ValueError, match='Received: .*allow_pickle'):
        torch_file.read(tmp_path / 'a.npz')
    assert not (tmp_path / 'made').exists()
    np.savez(tmp_path / 'a.npz', names=np.array(['x']))
    with pytest.raises(ValueError, match='names is a <U1'):
        torch_file.read(tmp_path / 'a.npz')


def test_safetensors(tmp_path):
    path = tmp_path / 'a.safetensors'
    tensors = {
        'a': np.float32([[1.5, 2.0]]), 'b': np.float16([0.5]), 'c': np.uint16([0x3fc0]),
        'd': np.int64([3, 4])}
    path.write_bytes(released_files.safetensors_bytes(
        tensors, {'a': 'F32', 'b': 'F16', 'c': 'BF16', 'd': 'I64'}))
    assert_equal(torch_file.read(path), {**tensors, 'c': np.float32([1.5])})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match='must be a file of named tensors'):
        torch_file.read(path)
    path.write_bytes(released_files.safetensors_bytes({'a': np.float64([1])}, {'a': 'F64'}))
    with pytest.raises(ValueError, match="Received: .*: 'F64'"):
        torch_file.read(path)
