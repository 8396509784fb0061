"""Leeds Sports Pose Extended: photos of sports with 14 joints in 2D (Johnson and Everingham 2011).

Quirks kept in here: `joints.mat` holds `joints` [14, 3, n] with (x, y, flag), where the
coordinates of joints with flag 0 are meaningless; images are numbered from 1; some training
photos show the same scene as a hold-out photo (`train_twins_of_holdout`) and are left out.
"""

import json
import os
import pathlib

import numpy as np
import scipy.io
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.geometry import camera
from training.datasets import example as example_lib
from training.datasets import source as source_lib

# The joints reach neither the fingertips nor the soles and the crown only just; the factor makes
# boxes comparable to those of whole silhouettes.
BOX_ENLARGEMENT = 1.15


def read_annotations(lspet_dir):
    """Reads the joints of all images.

    Args:
        lspet_dir: Folder with `joints.mat`, `splits.json` and `images`.

    Returns:
        Float32 array `[n, 14, 2]`, px, joints in the order of the convention `lsp_14`, NaN where
        not annotated.

    Raises:
        ValueError: If a file is missing or has another layout.
    """
    path = pathlib.Path(lspet_dir) / 'joints.mat'
    if not path.is_file():
        raise ValueError(f'`lspet_dir` must hold joints.mat. Received: {path} does not exist')
    joints = scipy.io.loadmat(path).get('joints')
    if joints is None or joints.ndim != 3 or joints.shape[:2] != (14, 3):
        raise ValueError(
            f'{path} must hold an array `joints` of shape (14, 3, n). Received: '
            f'{None if joints is None else joints.shape}')
    joints = joints.transpose(2, 0, 1)
    coords2d = np.where(joints[..., 2:] > 0, joints[..., :2], np.nan)
    return coords2d.astype(np.float32)


def read_split(lspet_dir, split):
    """Numbers (from 1) of the images of a split.

    Args:
        lspet_dir: Folder with `splits.json`.
        split: 'train' (1..9000 without the twins of hold-out photos) or 'holdout' (9001..10000).

    Raises:
        ValueError: If the split is unknown or the file is missing.
    """
    if split not in ('train', 'holdout'):
        raise ValueError(f"`split` must be 'train' or 'holdout'. Received: split={split!r}")
    path = pathlib.Path(lspet_dir) / 'splits.json'
    if not path.is_file():
        raise ValueError(f'`lspet_dir` must hold splits.json. Received: {path} does not exist')
    splits = json.loads(path.read_text())
    twins = set(splits['train_twins_of_holdout'])
    first, last = splits[split]
    return [
        number for number in range(first, last + 1) if split == 'holdout' or number not in twins]


def boxes_of(coords2d, enlargement=BOX_ENLARGEMENT):
    """Boxes around annotated joints.

    Args:
        coords2d: Float array `[n, J, 2]`, px, NaN where missing.
        enlargement: Factor of width and height about the centre.

    Returns:
        Float32 array `[n, 4]`, boxes in px; NaN for an image without any joint.
    """
    low, high = np.nanmin(coords2d, axis=1), np.nanmax(coords2d, axis=1)
    size = np.maximum(high - low, 8) * enlargement
    return np.concatenate([(low + high) / 2 - size / 2, size], axis=1).astype(np.float32)


def make_source(lspet_dir, split, joint_names=skeleton.METRO_24.joint_names):
    """Examples with the same keys as parsed records, in the order of the images' numbers.

    Images with fewer than four annotated joints are left out.

    Args:
        lspet_dir: Folder of the data set.
        split: 'train' or 'holdout'.
        joint_names: Sequence of the names of the wanted joints. Those that LSPET lacks are
            missing joints.

    Returns:
        `Source`.

    Raises:
        ValueError: If there is no image in the split, a file is missing or has another layout.
    """
    numbers = np.array(read_split(lspet_dir, split))
    annotated = read_annotations(lspet_dir)[numbers - 1]
    enough = np.isfinite(annotated[..., 0]).sum(axis=1) >= 4
    numbers, annotated = numbers[enough], annotated[enough]
    boxes = boxes_of(annotated)
    coords2d = example_lib.select_joints(
        annotated, skeleton.vocabulary_names('lsp_14'), joint_names)
    folder = pathlib.Path(lspet_dir) / 'images'
    names = [f'im{number:05}' for number in numbers]
    paths = [str(folder / f'{name}.jpg') for name in names]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing or not paths:
        raise ValueError(
            f'`lspet_dir` must hold the photos of the split {split!r}. Received: {lspet_dir}, '
            f'{len(missing)} of {len(paths)} are missing: {missing[:3]}')

    columns = [tf.constant(column) for column in (paths, names, boxes, coords2d)]

    def load(index):
        path, name, box, joints = [column[index] for column in columns]
        return _example(_read_photo(path), name, box, joints)
    return source_lib.Source(len(paths), load)


def make_dataset(lspet_dir, split, first=None, joint_names=skeleton.METRO_24.joint_names):
    """Examples of a split, once and in order.

    Args:
        lspet_dir, split, joint_names: See `make_source`.
        first: Number of images to take from the start of the split, None for all.

    Returns:
        `tf.data.Dataset` of dicts.
    """
    return make_source(lspet_dir, split, joint_names).in_order(first)


def _read_photo(path):
    def read(path):
        return tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    return source_lib.attempt(read, (path,), ['A photo is damaged or gone:', path])


def _example(image, name, box, coords2d):
    n_joints = coords2d.shape[0]
    is_valid = tf.reduce_all(tf.math.is_finite(coords2d), axis=-1)
    shape = tf.cast(tf.shape(image), tf.float32)
    return {
        'image': image,
        'alpha': tf.fill(tf.shape(image[..., :1]), tf.constant(255, tf.uint8)),
        'has_alpha': False,
        'clothing_masks': tf.zeros_like(image[..., :2]),
        'name': name,
        'box': box,
        'frame': tf.stack([0.0, 0.0, shape[1], shape[0]]),
        'intrinsics': camera.intrinsics_from_fov(
            example_lib.PSEUDO_FOV_DEGREES, tf.shape(image)),
        'has_3d': False,
        'camera_up': tf.constant([0.0, -1.0, 0.0]),
        'coords3d_cam': tf.zeros([n_joints, 3]),
        'joint_validity_mask_3d': tf.zeros([n_joints], tf.bool),
        'coords2d': tf.where(is_valid[:, tf.newaxis], coords2d, 0.0),
        'joint_validity_mask_2d': is_valid,
        'visibility': tf.cast(is_valid, tf.float32)}
