"""C3D files, written here byte by byte."""

import struct

import numpy as np
import pytest

from training.datasets import c3d


def group(number, name):
    body = bytes([len(name), 256 - number]) + name.encode()
    return body + struct.pack('<HB', 3, 0)


def parameter(number, name, kind, axes, data):
    body = bytes([len(name), number]) + name.encode()
    content = struct.pack('<bB', kind, len(axes)) + bytes(axes) + data + b'\x00'
    return body + struct.pack('<H', 2 + len(content)) + content


def parameter_blocks(labels, processor=84):
    length = max(map(len, labels)) + 2
    texts = ''.join(label.ljust(length) for label in labels).encode()
    content = bytes([1, 0x50, 0, processor])
    content += group(2, 'ANALOG') + group(1, 'POINT')
    content += parameter(2, 'LABELS', -1, [4, 1], b'EMG1')
    content += parameter(1, 'FRAMES', 2, [], struct.pack('<h', 3))
    content += parameter(1, 'LABELS', -1, [length, len(labels)], texts)
    content += b'\x00\x00'
    n_blocks = -(-len(content) // 512)
    return (content[:2] + bytes([n_blocks]) + content[3:]).ljust(n_blocks * 512, b'\x00')


def file_content(points, labels, scale=-1.0, n_analog=2, is_lost=None, processor=84):
    """Bytes of a file. Points `[frames, points, 3]` are whole multiples of a positive scale."""
    parameters = parameter_blocks(labels, processor)
    header = struct.pack(
        '<BBHHHHHfHHf', 2, 0x50, len(labels), n_analog, 1, len(points), 10, scale,
        2 + len(parameters) // 512, 1, 120.0).ljust(512, b'\x00')
    stored = points if scale < 0 else np.round(points / scale)
    residuals = np.zeros(points.shape[:2]) if is_lost is None else -1.0 * is_lost
    rows = np.concatenate([stored, residuals[..., np.newaxis]], axis=2).reshape(len(points), -1)
    rows = np.concatenate([rows, np.full([len(rows), n_analog], 77)], axis=1)
    return header + parameters + rows.astype('<f4' if scale < 0 else '<i2').tobytes()


LABELS = [f'S1:M{i}' for i in range(40)]
POINTS = np.random.default_rng(0).integers(-2000, 2000, [3, 40, 3]) * 0.5


@pytest.mark.parametrize('scale', [-1.0, 0.5])
@pytest.mark.parametrize('n_analog', [0, 2])
def test_points_and_labels_come_back(tmp_path, scale, n_analog):
    path = tmp_path / 'a.c3d'
    path.write_bytes(file_content(POINTS, LABELS, scale, n_analog))
    points, labels = c3d.read_points(path)
    np.testing.assert_allclose(points, POINTS)
    assert labels == LABELS


def test_lost_points_are_zeros(tmp_path):
    is_lost = np.zeros([3, 40])
    is_lost[1, 5] = 1
    path = tmp_path / 'a.c3d'
    path.write_bytes(file_content(POINTS, LABELS, is_lost=is_lost))
    points, _ = c3d.read_points(path)
    np.testing.assert_array_equal(points[1, 5], 0)
    np.testing.assert_array_equal(points[0, 5], POINTS[0, 5])


@pytest.mark.parametrize('content, text', [
    (file_content(POINTS, LABELS)[:-100], 'ValueError: buffer is smaller'),
    (file_content(POINTS, LABELS)[:700], 'must be a C3D file'),
    (b'', 'IndexError'), (bytes(600), 'ValueError: the second byte is not 80'),
    (file_content(POINTS, LABELS, processor=86), 'processor 86 is not the Intel one, 84'),
    (file_content(POINTS, LABELS).replace(b'POINT', b'OTHER'), 'IndexError')])
def test_damaged_files(tmp_path, content, text):
    path = tmp_path / 'a.c3d'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'a.c3d must be a C3D file. Received: .*{text}' if (
            'must be' not in text) else text):
        c3d.read_points(path)


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match='a.c3d must be a C3D file. Received: FileNotFoundError'):
        c3d.read_points(tmp_path / 'a.c3d')
