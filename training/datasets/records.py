"""Record files: shards of examples that tf.data reads in parallel.

The image is stored as JPEG, alpha as PNG, everything else as flat float lists in which NaN marks
a missing joint. What an example lacks is an empty list or empty bytes. `parse` turns NaN into
zeros with a validity mask, so that no NaN enters a graph.
"""

import mmap
import os
from pathlib import Path
import struct

import cv2
import numpy as np
import tensorflow as tf

from training.datasets import example as example_lib
from training.datasets import source as source_lib

SUFFIX = '.tfrecord'
JPEG_QUALITY = 92
_COORDS_BATCH_SIZE = 1024
# Length, checksum of the length, and checksum of the record.
_RECORD_OVERHEAD = 8 + 4 + 4
_FLOAT_FIELDS = (
    'box', 'frame', 'intrinsics', 'camera_up', 'coords3d_cam', 'coords2d', 'visibility')


def write_shard(path, examples):
    """Writes examples to one record file, atomically: no half-written file is ever at `path`.

    Args:
        path: File path, ending in `.tfrecord` for `read_dataset` to find it in its folder.
        examples: Iterable of `Example`; each is checked.

    Raises:
        ValueError: If an example is not valid.
    """
    temporary = f'{path}.{os.getpid()}.partial'
    try:
        with tf.io.TFRecordWriter(temporary) as writer:
            for example in examples:
                writer.write(serialize(example))
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def serialize(example):
    """Serialises an `Example` to bytes.

    Raises:
        ValueError: If the example is not valid.
    """
    example_lib.check(example)
    values = {name: getattr(example, name) for name in _FLOAT_FIELDS}
    features = {name: _floats(() if value is None else value) for name, value in values.items()}
    features['name'] = _bytes(example.name.encode('utf-8'))
    features['image'] = _bytes(_encode(
        '.jpg', example.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]))
    features['alpha'] = _bytes(b'' if example.alpha is None else _encode('.png', example.alpha, []))
    # Deterministic, because the order of a map's entries otherwise differs between processes.
    record = tf.train.Example(features=tf.train.Features(feature=features))
    return record.SerializeToString(deterministic=True)


def parse(serialized):
    """Parses one serialised example, inside or outside a graph.

    Args:
        serialized: String tensor `[]`.

    Returns:
        Dict of tensors: `image` uint8 `[h, w, 3]`; `alpha` uint8 `[h, w, 1]`, all 255 where
        `has_alpha` (bool) is False; `name` string; `box`, `frame` `[4]` px; `intrinsics`
        `[3, 3]`, the identity where missing; `camera_up` `[3]`, (0, -1, 0) where missing;
        `has_3d` bool; `coords3d_cam` `[24, 3]` mm and `coords2d` `[24, 2]` px, zero where
        `joint_validity_mask_3d` or `joint_validity_mask_2d` (bool `[24]`) are False;
        `visibility` `[24]`.
    """
    spec = {name: tf.io.VarLenFeature(tf.float32) for name in _FLOAT_FIELDS}
    spec.update({name: tf.io.FixedLenFeature([], tf.string) for name in ('name', 'image', 'alpha')})
    stored = tf.io.parse_single_example(serialized, spec)
    values = {name: tf.sparse.to_dense(stored[name]) for name in _FLOAT_FIELDS}
    n_joints = example_lib.N_JOINTS
    missing_3d = tf.fill([n_joints * 3], float('nan'))
    coords3d_cam, mask_3d = _zero_missing(
        tf.reshape(_or_default(values['coords3d_cam'], missing_3d), [n_joints, 3]))
    coords2d, mask_2d = _zero_missing(tf.reshape(values['coords2d'], [n_joints, 2]))
    image = tf.io.decode_jpeg(stored['image'], channels=3, dct_method='INTEGER_ACCURATE')
    has_alpha = tf.strings.length(stored['alpha']) > 0
    alpha = tf.cond(
        has_alpha, lambda: tf.io.decode_png(stored['alpha'], channels=1),
        lambda: tf.fill(tf.concat([tf.shape(image)[:2], [1]], 0), tf.constant(255, tf.uint8)))
    return {
        'image': image,
        'alpha': tf.ensure_shape(alpha, [None, None, 1]),
        'has_alpha': has_alpha,
        'name': stored['name'],
        'box': tf.reshape(values['box'], [4]),
        'frame': tf.reshape(values['frame'], [4]),
        'intrinsics': tf.reshape(
            _or_default(values['intrinsics'], tf.reshape(tf.eye(3), [9])), [3, 3]),
        'has_3d': tf.size(values['coords3d_cam']) > 0,
        'camera_up': tf.reshape(
            _or_default(values['camera_up'], tf.constant([0.0, -1.0, 0.0])), [3]),
        'coords3d_cam': coords3d_cam,
        'joint_validity_mask_3d': mask_3d,
        'coords2d': coords2d,
        'joint_validity_mask_2d': mask_2d,
        'visibility': tf.reshape(values['visibility'], [n_joints])}


def read_serialized(pattern_or_dir):
    """Dataset of serialised examples, in file name order whatever the parallelism.

    Args:
        pattern_or_dir: A folder, whose `.tfrecord` files are read, or a file name pattern.

    Returns:
        `tf.data.Dataset` of string scalars.

    Raises:
        ValueError: If there is no such file.
    """
    return tf.data.TFRecordDataset(
        shard_paths(pattern_or_dir), num_parallel_reads=None, buffer_size=1 << 20)


def read_dataset(pattern_or_dir):
    """Dataset of parsed examples (see `parse`), in file name order whatever the parallelism.

    Raises:
        ValueError: If there is no such file.
    """
    return read_serialized(pattern_or_dir).map(
        parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def read_coords3d(pattern_or_dir):
    """The 3D labels of all examples, without decoding images.

    Returns:
        Float32 array `[n, joints, 3]`, camera frame, mm, NaN where missing.

    Raises:
        ValueError: If there is no such file.
    """
    spec = {'coords3d_cam': tf.io.RaggedFeature(tf.float32)}
    n_joints = example_lib.N_JOINTS
    flat = [np.zeros([0, 3 * n_joints], np.float32)]
    for batch in read_serialized(pattern_or_dir).batch(_COORDS_BATCH_SIZE):
        stored = tf.io.parse_example(batch, spec)['coords3d_cam']
        flat.append(stored.to_tensor(float('nan'), shape=[None, 3 * n_joints]).numpy())
    return np.concatenate(flat).reshape(-1, n_joints, 3)


def make_source(pattern_or_dir):
    """The examples of record files (see `parse`), each of which can be read by its index.

    The files must be local. Only the lengths of the records are read at first.

    Returns:
        `Source`, in file name order.

    Raises:
        ValueError: If there is no such file, a file is damaged or cut off, or all are empty.
    """
    paths = shard_paths(pattern_or_dir)
    offsets = [_record_offsets(path) for path in paths]
    n_examples = sum(map(len, offsets))
    if not n_examples:
        raise ValueError(
            '`pattern_or_dir` must match files with records. '
            f'Received: pattern_or_dir={str(pattern_or_dir)!r} with empty files only')
    i_paths = tf.constant(np.repeat(np.arange(len(paths)), [len(part) for part in offsets]))
    offsets, paths = tf.constant(np.concatenate(offsets)), tf.constant(paths)

    def load(index):
        return parse(_read_record(paths[i_paths[index]], offsets[index]))
    return source_lib.Source(n_examples, load)


def _record_offsets(path):
    """int64 array: where each record of a file begins, found from the lengths before them."""
    offsets, end, size = [], 0, os.path.getsize(path)
    if size:
        with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            while end + _RECORD_OVERHEAD <= size:
                offsets.append(end)
                end += _RECORD_OVERHEAD + struct.unpack_from('<Q', data, end)[0]
    if end != size:
        raise ValueError(
            f'{path} must consist of whole records. Received: a file of {size} bytes whose record '
            f'{len(offsets)} at byte {offsets[-1] if offsets else 0} is damaged or cut off')
    return np.array(offsets, np.int64)


def _read_record(path, offset):
    """One serialised example. TensorFlow checks it against its checksum."""
    def read(path, offset):
        handle = tf.raw_ops.TFRecordDatasetV2(
            filenames=[path], compression_type='', buffer_size=tf.constant(0, tf.int64),
            byte_offsets=[offset])
        dataset = tf.data.experimental.from_variant(handle, tf.TensorSpec([], tf.string))
        return dataset.take(1).get_single_element()
    return source_lib.attempt(
        read, (path, offset), ['A record is damaged or gone:', path, 'at byte', offset])


def shard_paths(pattern_or_dir):
    """Sorted list of the record files in a folder or matching a pattern.

    Raises:
        ValueError: If there is none.
    """
    path = Path(pattern_or_dir)
    pattern = str(path / f'*{SUFFIX}') if path.is_dir() else str(pattern_or_dir)
    paths = sorted(tf.io.gfile.glob(pattern))
    if not paths:
        raise ValueError(
            f'`pattern_or_dir` must match record files (*{SUFFIX}). '
            f'Received: pattern_or_dir={str(pattern_or_dir)!r}')
    return paths


def _encode(extension, image, options):
    """Image file bytes of an 8-bit grey or BGR array."""
    succeeded, encoded = cv2.imencode(extension, np.ascontiguousarray(image), options)
    if not succeeded:
        raise ValueError(f'`image` must be encodable as {extension}. Received: {image.shape}')
    return encoded.tobytes()


def _floats(values):
    """Feature of a flat float list."""
    return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(values)))


def _bytes(value):
    """Feature of one byte string."""
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _or_default(values, default):
    """The flat `values`, or `default` of the expected size when nothing was stored."""
    return tf.cond(tf.size(values) > 0, lambda: values, lambda: default)


def _zero_missing(coords):
    """Coordinates with NaN rows turned into zeros, and the mask of the other rows."""
    mask = tf.reduce_all(tf.math.is_finite(coords), axis=-1)
    return tf.where(mask[:, tf.newaxis], coords, tf.zeros_like(coords)), mask
