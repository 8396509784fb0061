"""Files of the C3D format for motion capture: the points and their labels.

The format's blocks of 512 bytes count from 1; coordinates are integers with a scale or floats.
Files of DEC and SGI machines, which have other byte orders, are refused.
"""

import struct

import numpy as np

_BLOCK_SIZE = 512
_INTEL = 84


def read_points(path):
    """Reads all frames.

    Args:
        path: Path of the file.

    Returns:
        Tuple of a float array `[frames, points, 3]`, in the file's unit, mostly mm, zeros where a
        point was lost; and a list of the points' labels.

    Raises:
        ValueError: If the file is missing, damaged, truncated, or not of this format.
    """
    try:
        content = path.read_bytes()
        return _read_frames(content), _read_labels(content)
    except (OSError, struct.error, IndexError, KeyError, ValueError) as error:
        raise ValueError(
            f'{path.name} must be a C3D file. Received: {type(error).__name__}: {error}') from None


def _read_frames(content):
    """Float array `[frames, points, 3]`."""
    if content[1] != 0x50:
        raise ValueError('the second byte is not 80')
    n_points, n_analog, first, last = struct.unpack_from('<4H', content, 2)
    scale, data_block = struct.unpack_from('<fH', content, 12)
    n_frames = last - first + 1
    n_values = n_frames * (4 * n_points + n_analog)
    stored_type = '<f4' if scale < 0 else '<i2'
    values = np.frombuffer(content, stored_type, n_values, (data_block - 1) * _BLOCK_SIZE)
    points = values.reshape(n_frames, -1)[:, :4 * n_points].reshape(n_frames, n_points, 4)
    is_lost = points[..., 3:] < 0
    return np.where(is_lost, 0.0, points[..., :3] * (1.0 if scale < 0 else scale))


def _read_labels(content):
    """The texts of the parameter POINT:LABELS."""
    position = (content[0] - 1) * _BLOCK_SIZE
    if content[position + 3] != _INTEL:
        raise ValueError(f'processor {content[position + 3]} is not the Intel one, {_INTEL}')
    groups, labels = {}, {}
    position += 4
    while content[position]:
        name_length, group = struct.unpack_from('<bb', content, position)
        end = position + 2 + abs(name_length)
        name = content[position + 2:end].decode('latin1').strip().upper()
        if group < 0:
            groups[-group] = name
        elif name == 'LABELS':
            labels[group] = _read_texts(content, end + 2)
        offset, = struct.unpack_from('<H', content, end)
        if not offset:
            break
        position = end + offset
    return [texts for group, texts in labels.items() if groups.get(group) == 'POINT'][0]


def _read_texts(content, position):
    """Texts of a parameter of characters with two axes, length and number."""
    kind, n_axes, length, count = struct.unpack_from('<bBBB', content, position)
    if kind != -1 or n_axes != 2:
        raise ValueError('the labels are no texts')
    start = position + 4
    return [
        content[start + i * length:start + (i + 1) * length].decode('latin1').strip()
        for i in range(count)]
