"""Pickles of data sets, which must not be able to run code.

A pickle names the functions that build its content, and reading it calls them. Here only NumPy
arrays and scalars, numbers, texts, bytes, lists, tuples, dicts and sets can be built; everything
else is refused by name.
"""

import io
import pickle
import zipfile

import numpy as np

# Kinds of `numpy.dtype` that data sets need; a record type could hide what it is from NumPy.
_DTYPE_KINDS = 'biufcSUO'
_ARRAY_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')
# What the reading of damaged pickles can raise.
_DAMAGE = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    OverflowError, MemoryError, RecursionError, UnicodeError, ImportError)


def load(path):
    """Reads a pickle of Python 2 or 3. Texts of Python 2 are taken as Latin-1.

    Args:
        path: Path of the file.

    Returns:
        NumPy arrays and scalars, plain values and plain containers of them.

    Raises:
        ValueError: If the file is missing or damaged, or holds anything else; the message names
            what was refused.
    """
    return _read(path, lambda: _load(open(path, 'rb')))


def load_npz(path):
    """Reads a NumPy archive, in which arrays of objects are pickles.

    Args:
        path: Path of the file.

    Returns:
        Dict from name to array, as `numpy.load` with `allow_pickle` gives.

    Raises:
        ValueError: See `load`.
    """
    def read():
        with zipfile.ZipFile(path) as archive:
            return {
                name[:-len('.npy')] if name.endswith('.npy') else name:
                    _load_npy(io.BytesIO(archive.read(name)))
                for name in archive.namelist()}
    return _read(path, read)


def _read(path, function):
    try:
        return function()
    except (*_DAMAGE, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f'`path` must be a file of NumPy arrays and plain containers. Received: {path}: '
            f'{error or type(error).__name__}') from error


def _load(file):
    with file:
        return _plain(_Unpickler(file, encoding='latin1').load())


def _load_npy(file):
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0}[version]
    if read_header(file)[2].hasobject:
        return _load(file)
    file.seek(0)
    return np.load(file, allow_pickle=False)


class _Unpickler(pickle.Unpickler):
    """Builds only what is listed in here."""

    def find_class(self, module, name):
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f'{module}.{name} is refused')
        return _ADMITTED[module, name]


class _Array(np.ndarray):
    """An array that is being built.

    The pickled type may lie about whether the elements are objects, which would make NumPy take
    bytes as pointers; so the type is made anew from its name.
    """

    def __setstate__(self, state):
        version, shape, dtype, is_fortran, data = state
        super().__setstate__((version, shape, _clean_dtype(dtype), is_fortran, data))


def _new_array(unused_class, unused_shape, unused_type):
    return _Array(0, np.uint8)


def _scalar(dtype, data):
    dtype = _clean_dtype(dtype)
    data = data.encode('latin1') if isinstance(data, str) else data
    if dtype.hasobject or not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise pickle.UnpicklingError(f'a scalar of type {dtype} is damaged')
    return np.frombuffer(data, dtype)[0]


def _clean_dtype(dtype):
    if not isinstance(dtype, np.dtype) or dtype.kind not in _DTYPE_KINDS or dtype.names:
        raise pickle.UnpicklingError(f'the array type {dtype} is refused')
    return np.dtype(dtype.str)


def _encode(text, encoding='latin1'):
    # Python 3 writes bytes this way in old protocols.
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'bytes in the encoding {encoding} are refused')
    return text.encode('latin1')


_ADMITTED = {
    **{(module, '_reconstruct'): _new_array for module in _ARRAY_MODULES},
    **{(module, 'scalar'): _scalar for module in _ARRAY_MODULES},
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('_codecs', 'encode'): _encode,
    **{(module, kind.__name__): kind for module in ('__builtin__', 'builtins')
       for kind in (set, frozenset, bytearray, complex, bytes)}}


def _plain(value):
    """The value with every `_Array`, at any depth, as a plain NumPy array."""
    if isinstance(value, _Array):
        array = value.view(np.ndarray)
        if not array.dtype.hasobject:
            return array
        result = np.empty(array.shape, object)
        for index in np.ndindex(array.shape):
            result[index] = _plain(array[index])
        return result
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, (np.ndarray, np.dtype, type)):
        raise pickle.UnpicklingError(f'{value!r} is refused')
    return value
