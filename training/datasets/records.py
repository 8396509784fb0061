"""Record files: shards of examples that tf.data reads in parallel.

The image is stored as JPEG, alpha and masks of clothes as PNG, everything else as flat float lists
in which NaN marks a missing joint. What an example lacks is an empty list or empty bytes; masks of
clothes, which few have, are left out altogether. `parse` turns NaN into zeros with a validity
mask, so that no NaN enters a graph.

Every record names its joints; those without names are older and have the joints of
`skeleton.METRO_24`. Readers put the joints into the order of the names that they are given, so that
records of different joints train one model.
"""

import mmap
import os
from pathlib import Path
import struct

import cv2
import numpy as np
import tensorflow as tf

from metro_tf import skeleton
from training.datasets import example as example_lib
from training.datasets import source as source_lib

SUFFIX = '.tfrecord'
JPEG_QUALITY = 92
_COORDS_BATCH_SIZE = 1024
# Length, checksum of the length, and checksum of the record.
_RECORD_OVERHEAD = 8 + 4 + 4
_FLOAT_FIELDS = (
    'box', 'frame', 'intrinsics', 'camera_up', 'coords3d_cam', 'coords2d', 'visibility')
_DEFAULT_NAMES = skeleton.METRO_24.joint_names


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
    features['joint_names'] = _bytes(*(name.encode('utf-8') for name in example.joint_names))
    features['image'] = _bytes(_encode(
        '.jpg', example.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]))
    features['alpha'] = _bytes(b'' if example.alpha is None else _encode('.png', example.alpha, []))
    if example.clothing_masks is not None:
        features['clothing_masks'] = _bytes(*(
            _encode('.png', example.clothing_masks[..., i], []) for i in range(2)))
    # Deterministic, because the order of a map's entries otherwise differs between processes.
    record = tf.train.Example(features=tf.train.Features(feature=features))
    return record.SerializeToString(deterministic=True)


def parse(serialized, joint_names=_DEFAULT_NAMES):
    """Parses one serialised example, inside or outside a graph.

    Args:
        serialized: String tensor `[]`.
        joint_names: Sequence of the names of the wanted joints. Those that the record lacks are
            missing joints, those that it has besides are left out.

    Returns:
        Dict of tensors: `image` uint8 `[h, w, 3]`; `alpha` uint8 `[h, w, 1]`, all 255 where
        `has_alpha` (bool) is False; `clothing_masks` uint8 `[h, w, 2]` of upper and lower clothes,
        zeros where the record has none; `name` string; `box`, `frame` `[4]` px; `intrinsics`
        `[3, 3]`, the identity where missing; `camera_up` `[3]`, (0, -1, 0) where missing;
        `has_3d` bool; `coords3d_cam` `[joints, 3]` mm and `coords2d` `[joints, 2]` px, zero
        where `joint_validity_mask_3d` or `joint_validity_mask_2d` (bool `[joints]`) are False;
        `visibility` `[joints]`, 0 for a joint that the record lacks.
    """
    spec = {name: tf.io.VarLenFeature(tf.float32) for name in _FLOAT_FIELDS}
    spec.update({name: tf.io.FixedLenFeature([], tf.string) for name in ('name', 'image', 'alpha')})
    spec.update({
        name: tf.io.VarLenFeature(tf.string) for name in ('joint_names', 'clothing_masks')})
    stored = tf.io.parse_single_example(serialized, spec)
    values = {name: tf.sparse.to_dense(stored[name]) for name in _FLOAT_FIELDS}
    coords3d_cam, coords2d, visibility = _wanted_joints(
        values, stored['joint_names'].values, joint_names)
    coords3d_cam, mask_3d = _zero_missing(coords3d_cam)
    coords2d, mask_2d = _zero_missing(coords2d)
    image = tf.io.decode_jpeg(stored['image'], channels=3, dct_method='INTEGER_ACCURATE')
    has_alpha = tf.strings.length(stored['alpha']) > 0
    alpha = tf.cond(
        has_alpha, lambda: tf.io.decode_png(stored['alpha'], channels=1),
        lambda: tf.fill(tf.concat([tf.shape(image)[:2], [1]], 0), tf.constant(255, tf.uint8)))
    return {
        'image': image,
        'alpha': tf.ensure_shape(alpha, [None, None, 1]),
        'has_alpha': has_alpha,
        'clothing_masks': _clothing_masks(stored['clothing_masks'].values, tf.shape(image)),
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
        'visibility': visibility}


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


def read_dataset(pattern_or_dir, joint_names=_DEFAULT_NAMES):
    """Dataset of parsed examples, in file name order whatever the parallelism.

    Args:
        pattern_or_dir: See `read_serialized`.
        joint_names: See `parse`.

    Raises:
        ValueError: If there is no such file.
    """
    return read_serialized(pattern_or_dir).map(
        lambda serialized: parse(serialized, joint_names), num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True)


def read_coords3d(pattern_or_dir, joint_names=_DEFAULT_NAMES):
    """The 3D labels of all examples, without decoding images.

    Args:
        pattern_or_dir: See `read_serialized`.
        joint_names: See `parse`.

    Returns:
        Float32 array `[n, joints, 3]`, camera frame, mm, NaN where missing.

    Raises:
        ValueError: If there is no such file.
    """
    spec = {
        'coords3d_cam': tf.io.RaggedFeature(tf.float32),
        'joint_names': tf.io.RaggedFeature(tf.string)}
    result = [np.zeros([0, len(joint_names), 3], np.float32)]
    for batch in read_serialized(pattern_or_dir).batch(_COORDS_BATCH_SIZE):
        stored = tf.io.parse_example(batch, spec)
        names = tf.strings.reduce_join(stored['joint_names'], axis=1, separator=' ').numpy()
        result.append(_wanted_coords3d(stored['coords3d_cam'], names, joint_names))
    return np.concatenate(result)


def _wanted_coords3d(flat_coords, stored_names, joint_names):
    """The 3D labels of a batch in the wanted order, NaN where missing.

    Args:
        flat_coords: Ragged float tensor `[batch, (3 stored joints or none)]`.
        stored_names: Array `[batch]` of byte strings, names with spaces between.
        joint_names: Sequence of the names of the wanted joints.
    """
    result = np.full([len(stored_names), len(joint_names), 3], np.nan, np.float32)
    for names in set(stored_names):
        rows = np.flatnonzero(stored_names == names)
        own_names = names.decode('utf-8').split() or _DEFAULT_NAMES
        flat = tf.gather(flat_coords, rows).to_tensor(
            float('nan'), shape=[None, 3 * len(own_names)]).numpy()
        result[rows] = example_lib.select_joints(
            flat.reshape(-1, len(own_names), 3), own_names, joint_names)
    return result


def make_source(pattern_or_dir, joint_names=_DEFAULT_NAMES):
    """The examples of record files, each of which can be read by its index.

    Args:
        pattern_or_dir: See `read_serialized`. The files must be local.
        joint_names: See `parse`.

    Returns:
        `Source`, in file name order.

    Raises:
        ValueError: See `make_serialized_source`.
    """
    source = make_serialized_source(pattern_or_dir)
    return source_lib.Source(
        source.n_examples, lambda index: parse(source.load(index), joint_names))


def make_serialized_source(pattern_or_dir):
    """The serialised examples of record files, each of which can be read by its index.

    The files must be local. Only the lengths of the records are read at first.

    Returns:
        `Source` of string scalars, in file name order.

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
        return _read_record(paths[i_paths[index]], offsets[index])
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


def _bytes(*values):
    """Feature of byte strings."""
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _wanted_joints(values, stored_names, joint_names):
    """The 3D and 2D labels, NaN where missing, and the visibility of the wanted joints.

    Without conditions, which would slow down the reading.

    Args:
        values: Dict of the stored flat tensors.
        stored_names: String tensor `[stored joints]`, or `[0]` in older records.
        joint_names: Sequence of the names of the wanted joints.
    """
    n_stored = tf.size(values['visibility'])
    missing_3d = tf.fill([n_stored * 3 - tf.size(values['coords3d_cam'])], float('nan'))
    labels = tf.concat([
        tf.reshape(tf.concat([values['coords3d_cam'], missing_3d], axis=0), [n_stored, 3]),
        tf.reshape(values['coords2d'], [n_stored, 2]),
        values['visibility'][:, tf.newaxis]], axis=1)
    stored_names = tf.concat([stored_names, _DEFAULT_NAMES], axis=0)[:n_stored]
    is_same = tf.constant(joint_names)[:, tf.newaxis] == stored_names
    found = tf.gather(labels, tf.argmax(is_same, axis=1))
    labels = tf.where(
        tf.reduce_any(is_same, axis=1, keepdims=True), found, [float('nan')] * 5 + [0.0])
    return labels[:, :3], labels[:, 3:5], labels[:, 5]


def _clothing_masks(encoded, image_shape):
    """uint8 tensor `[h, w, 2]` of the two masks, zeros where there are none."""
    def decode():
        return tf.concat([tf.io.decode_png(encoded[i], channels=1) for i in range(2)], axis=-1)
    masks = tf.cond(
        tf.size(encoded) > 0, decode,
        lambda: tf.zeros(tf.concat([image_shape[:2], [2]], axis=0), tf.uint8))
    return tf.ensure_shape(masks, [None, None, 2])


def _or_default(values, default):
    """The flat `values`, or `default` of the expected size when nothing was stored."""
    return tf.cond(tf.size(values) > 0, lambda: values, lambda: default)


def _zero_missing(coords):
    """Coordinates with NaN rows turned into zeros, and the mask of the other rows."""
    mask = tf.reduce_all(tf.math.is_finite(coords), axis=-1)
    return tf.where(mask[:, tf.newaxis], coords, tf.zeros_like(coords)), mask
