"""State dicts of PyTorch as NumPy arrays, without PyTorch.

A `.pt` file is a zip archive of a pickle and of one file of raw numbers for each storage. A pickle
names the functions that build its content, and reading it calls them. Here only dicts of tensors
can be built; everything else is refused by name.
"""

import io
import json
import pathlib
import pickle
import struct
import zipfile

import numpy as np

# What the reading of damaged files can raise.
_DAMAGE = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    OverflowError, MemoryError, RecursionError, UnicodeError, ImportError, OSError, struct.error,
    zipfile.BadZipFile, NotImplementedError)
# Types of numbers in the file; bfloat16 is the upper half of float32, which NumPy knows.
_STORAGES = {
    'FloatStorage': '<f4', 'HalfStorage': '<f2', 'BFloat16Storage': 'bfloat16',
    'LongStorage': '<i8'}
_SAFETENSORS = {'F32': '<f4', 'F16': '<f2', 'BF16': 'bfloat16', 'I64': '<i8'}


def read(path):
    """Reads named tensors.

    Args:
        path: Path of a `.pt` or `.pth` file that holds a state dict and nothing else, of an `.npz`
            file or of a `.safetensors` file.

    Returns:
        Dict from name to array, in the order of the file: float32 from all types of floats, and
        int64.

    Raises:
        ValueError: If the file is missing, damaged, of another kind, or holds anything else; the
            message names what was refused.
    """
    path = pathlib.Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f'`path` must end in one of {", ".join(_READERS)}. Received: path={path}')
    try:
        return {_checked_name(name): _checked_array(name, value)
                for name, value in reader(path).items()}
    except _DAMAGE as error:
        raise ValueError(
            '`path` must be a file of named tensors of float32, float16, bfloat16 or int64. '
            f'Received: {path}: {error or type(error).__name__}') from error


def _checked_name(name):
    if not isinstance(name, str):
        raise ValueError(f'the name {name!r} is not a text')
    return name


def _checked_array(name, value):
    if not isinstance(value, np.ndarray) or value.dtype.kind not in 'fi':
        raise ValueError(f'{name} is a {getattr(value, "dtype", type(value).__name__)}')
    return value.astype(np.float32) if value.dtype.kind == 'f' else value


def _read_torch(path):
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.split('/')[1:] == ['data.pkl']]
        if len(pickles) != 1:
            raise ValueError(f'there is not one data.pkl but {len(pickles)}')
        folder = pickles[0][:-len('data.pkl')]
        if f'{folder}byteorder' in archive.namelist() and (
                archive.read(f'{folder}byteorder') != b'little'):
            raise ValueError('the byte order is not little')
        content = _Unpickler(archive, folder).load()
    if not isinstance(content, dict):
        raise ValueError(f'it holds a {type(content).__name__} and no state dict')
    return content


class _StateDict(dict):
    """An `OrderedDict` that is being built. The versions of modules that come with it are left."""

    def __setstate__(self, state):
        pass


class _Unpickler(pickle.Unpickler):
    """Builds only what is listed in here."""

    def __init__(self, archive, folder):
        super().__init__(io.BytesIO(archive.read(f'{folder}data.pkl')))
        self._archive = archive
        self._folder = folder

    def find_class(self, module, name):
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f'{module}.{name} is refused')
        return _ADMITTED[module, name]

    def persistent_load(self, pid):
        kind, storage_type, key, _, n_numbers = pid
        if kind != 'storage' or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError(f'the reference {pid!r} is refused')
        numbers = _numbers(self._archive.read(f'{self._folder}data/{key}'), storage_type.dtype)
        if len(numbers) != n_numbers:
            raise pickle.UnpicklingError(f'storage {key} has {len(numbers)} numbers')
        return numbers


class _StorageType:
    """Stands for a class of storages; unlike a class, it cannot be called."""

    def __init__(self, dtype):
        self.dtype = dtype


def _rebuild_tensor(storage, offset, shape, strides, *_):
    """The view of a storage that a tensor is, as an array of its own."""
    if not isinstance(storage, np.ndarray) or len(shape) != len(strides):
        raise pickle.UnpicklingError(f'a tensor of shape {shape} is damaged')
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
    if min((offset, *shape, *strides)) < 0 or 0 not in shape and last >= len(storage):
        raise pickle.UnpicklingError(f'a tensor of shape {shape} reaches beyond its storage')
    return np.lib.stride_tricks.as_strided(
        storage[offset:], shape, [stride * storage.itemsize for stride in strides]).copy()


def _rebuild_parameter(tensor, *_):
    return tensor


_ADMITTED = {
    ('collections', 'OrderedDict'): _StateDict,
    ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
    ('torch._utils', '_rebuild_parameter'): _rebuild_parameter,
    **{('torch', name): _StorageType(dtype) for name, dtype in _STORAGES.items()}}


def _read_npz(path):
    with np.load(path, allow_pickle=False) as tensors:
        return dict(tensors)


def _read_safetensors(path):
    data = path.read_bytes()
    start = 8 + struct.unpack('<Q', data[:8])[0]
    header = json.loads(data[8:start])
    header.pop('__metadata__', None)
    result = {}
    for name, entry in header.items():
        first, last = entry['data_offsets']
        numbers = _numbers(data[start + first:start + last], _SAFETENSORS[entry['dtype']])
        result[name] = numbers.reshape(entry['shape'])
    return result


def _numbers(data, dtype):
    if dtype == 'bfloat16':
        return (np.frombuffer(data, '<u2').astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, dtype)


_READERS = {
    '.pt': _read_torch, '.pth': _read_torch, '.npz': _read_npz, '.safetensors': _read_safetensors}
