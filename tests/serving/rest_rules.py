"""How TensorFlow Serving reads and writes JSON, from its documentation and observed behaviour.

A tensor's shape is told by the first elements on each level, so that a list of size zero ends it.
"""

import base64

import numpy as np


class JsonError(Exception):
    """A body that the server refuses."""


def tensor_from_json(value, dtype):
    """Array from a JSON value, for the NumPy type (object for strings)."""
    shape = _shape(value)
    flat = []
    _collect(value, 0, shape, dtype, flat)
    array = np.empty(len(flat), dtype)
    array[:] = flat
    return array.reshape(shape)


def _shape(value):
    if not isinstance(value, list):
        return []
    return [len(value)] + (_shape(value[0]) if value else [])


def _collect(value, level, shape, dtype, flat):
    if not isinstance(value, list):
        if level != len(shape):
            raise JsonError(f'JSON Value: {value} found at incorrect level: {level + 1}')
        flat.append(_scalar(value, dtype))
        return
    if level >= len(shape):
        raise JsonError(f'Encountered list at unexpected level: {level}')
    if len(value) != shape[level]:
        raise JsonError(f'Encountered list at unexpected size: {len(value)}')
    for item in value:
        _collect(item, level + 1, shape, dtype, flat)


def is_base64(value):
    return isinstance(value, dict) and list(value) == ['b64'] and isinstance(value['b64'], str)


def _scalar(value, dtype):
    if dtype == object:
        if is_base64(value):
            return base64.b64decode(value['b64'], validate=True)
        if isinstance(value, str):
            return value.encode('utf-8')
    kind = np.dtype(dtype).kind
    types = {'f': (int, float), 'i': (int,), 'u': (int,), 'b': (bool,)}.get(kind, ())
    if isinstance(value, types) and isinstance(value, bool) == (kind == 'b'):
        return value
    raise JsonError(f'JSON Value: {value!r} Type: is not of expected type: {np.dtype(dtype).name}')


def inputs_from_body(body, dtypes):
    """Arrays of a request, and its format.

    Args:
        body: Dict, the parsed body.
        dtypes: Dict from the names of the signature's inputs to NumPy types.

    Returns:
        Pair of a dict from names to arrays and `'instances'` or `'inputs'`.
    """
    formats = [name for name in ('instances', 'inputs') if name in body]
    if len(formats) != 1:
        raise JsonError("Missing 'inputs' or 'instances' key, or both are there")
    if formats == ['inputs']:
        return _from_columns(body['inputs'], dtypes), 'inputs'
    return _from_rows(body['instances'], dtypes), 'instances'


def _from_columns(value, dtypes):
    if not isinstance(value, dict) or is_base64(value):
        if len(dtypes) > 1:
            raise JsonError(
                'inputs is a plain value/list, but expecting an object as multiple input tensors '
                'required as per tensorinfo_map')
        (name, dtype), = dtypes.items()
        return {name: tensor_from_json(value, dtype)}
    for name in dtypes:
        if name not in value:
            raise JsonError(f"Missing named input: {name} in 'inputs' object.")
    return {name: tensor_from_json(value[name], dtype) for name, dtype in dtypes.items()}


def _from_rows(rows, dtypes):
    if not isinstance(rows, list) or not rows:
        raise JsonError("No values in 'instances' array")
    are_objects = isinstance(rows[0], dict) and not is_base64(rows[0])
    if not are_objects:
        if len(dtypes) > 1:
            raise JsonError(
                'instances is a plain list, but expecting list of objects as multiple input '
                'tensors required as per tensorinfo_map')
        rows = [{next(iter(dtypes)): row} for row in rows]
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != set(dtypes):
            raise JsonError(
                f"Failed to process element: {i} of 'instances' list. JSON object keys must be "
                f'equal to: {",".join(sorted(dtypes))}')
    return {name: _stack([tensor_from_json(row[name], dtype) for row in rows])
            for name, dtype in dtypes.items()}


def _stack(arrays):
    if len({array.shape for array in arrays}) > 1:
        raise JsonError(f'Expecting shape {arrays[0].shape} but got others')
    return np.stack(arrays)


def body_from_outputs(outputs, body_format):
    """The answer, as JSON types, in the format of the request."""
    values = {name: to_json(name, value) for name, value in outputs.items()}
    if body_format == 'inputs':
        return {'outputs': values if len(values) > 1 else next(iter(values.values()))}
    if len({len(value) if np.ndim(value) else None for value in outputs.values()}) != 1:
        raise JsonError('Tensor has inconsistent batch size')
    rows = [dict(zip(values, row)) for row in zip(*values.values())]
    return {'predictions': rows if len(values) > 1 else [row.popitem()[1] for row in rows]}


def to_json(name, array):
    """JSON value of an output; strings of names that end in `_bytes` are binary."""
    if array.dtype != object:
        return array.tolist()
    if array.ndim:
        return [to_json(name, np.asarray(item, object)) for item in array]
    content = array.item()
    if name.endswith('_bytes'):
        return {'b64': base64.b64encode(content).decode('ascii')}
    return content.decode('utf-8')


def error_body(message):
    """Body of an error: text with the escapes of C, which is not always JSON."""
    named = {'\n': r'\n', '\r': r'\r', '\t': r'\t', '"': r'\"', "'": r"\'", '\\': r'\\'}
    escaped = ''.join(
        named.get(chr(byte)) or (chr(byte) if 32 <= byte < 127 else f'\\{byte:03o}')
        for byte in message.encode('utf-8'))
    return f'{{ "error": "{escaped}" }}'
