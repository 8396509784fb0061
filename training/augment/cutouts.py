"""Cut-out objects in front of the person, as in MeTRAbs (Sarandi et al. 2018, 2021).

A folder of cut-outs holds PNG files with alpha, one object each, of any size. In a crop of 256 px
an object appears at its stored size or smaller. `make_cutout` makes them from a photo with a mask,
at half of their size in the photo. MeTRAbs takes segmented objects of Pascal VOC that are neither
people nor marked as difficult or truncated and cover at least 500 px.
"""

import dataclasses
import pathlib

import cv2
import numpy as np
import tensorflow as tf

_RING_ALPHA = 0.75
_RING_PX = 8
_REFERENCE_SIDE_PX = 256


def load_cutouts(folders):
    """Reads the files of cut-out objects.

    Args:
        folders: Sequence of folders with PNG files; it may be empty.

    Returns:
        List of the files' contents, bytes.

    Raises:
        ValueError: If a folder has no PNG file, or a file has no alpha channel.
    """
    files = []
    for folder in folders:
        paths = sorted(pathlib.Path(folder).glob('*.png'))
        if not paths:
            raise ValueError(f'`folders` must hold .png files. Received: {folder}')
        for path in paths:
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if image is None or image.ndim != 3 or image.shape[2] != 4:
                received = 'an unreadable file' if image is None else f'shape {image.shape}'
                raise ValueError(f'{path} must be an image with alpha. Received: {received}')
            files.append(path.read_bytes())
    return files


def make_cutout(image, mask):
    """Cuts an object out of a photo, with a soft rim, at half size.

    Alpha is 1 inside and 0.75 in the ring that an erosion with an elliptical kernel of 8 px takes
    away.

    Args:
        image: uint8 array `[h, w, 3]`, RGB.
        mask: Boolean array `[h, w]`, True on the object.

    Returns:
        uint8 array `[h', w', 4]`, RGBA, to be saved as PNG.

    Raises:
        ValueError: If the mask is empty or of another size.
    """
    if mask.shape != image.shape[:2] or not mask.any():
        raise ValueError(
            '`mask` must have the size of `image` and not be empty. Received: '
            f'mask of shape {mask.shape} with {mask.sum()} px, image of shape {image.shape}')
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_RING_PX, _RING_PX))
    inside = cv2.erode(mask.astype(np.uint8), kernel)
    alpha = np.where(inside > 0, 1.0, _RING_ALPHA * mask)[..., np.newaxis]
    rows, columns = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    part = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    premultiplied = np.concatenate([image * alpha, 255 * alpha], axis=-1)[part]
    size = np.maximum(np.array(premultiplied.shape[1::-1]) // 2, 1)
    halved = cv2.resize(premultiplied, tuple(int(n) for n in size), interpolation=cv2.INTER_AREA)
    color = 255 * halved[..., :3] / np.maximum(halved[..., 3:], 1e-3)
    return np.round(np.concatenate([color, halved[..., 3:]], axis=-1)).astype(np.uint8)


@dataclasses.dataclass(frozen=True, eq=False)
class PasteCutouts:
    """Policy: 1 to 6 objects over the crop.

    Each is scaled by U(0.2, 1) * S / 256 relative to its stored size; its centre is uniform over
    the crop.

    Args:
        bank: String tensor `[n]`: files of `load_cutouts`.
        crop_side_px: Side S of the crop.
        max_objects: Most objects in one crop.
    """
    bank: tf.Tensor
    crop_side_px: int
    max_objects: int = 6

    def __call__(self, example, seed):
        """Returns the example with its `image` partly covered."""
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        n_objects = tf.random.stateless_uniform([], seeds[0], 1, self.max_objects + 1, tf.int32)
        image = tf.while_loop(
            lambda i, _: i < n_objects,
            lambda i, image: (i + 1, self._with_object(
                image, tf.random.experimental.stateless_fold_in(seeds[1], i))),
            (0, example['image']))[1]
        return {**example, 'image': image}

    def _with_object(self, image, seed):
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        index = tf.random.stateless_uniform([], seeds[0], 0, tf.shape(self.bank)[0], tf.int32)
        scale, x, y = tf.unstack(tf.random.stateless_uniform([3], seeds[1]))
        picture = tf.io.decode_png(self.bank[index], channels=4)
        side = self.crop_side_px
        return paste(
            image, picture, (0.2 + 0.8 * scale) * side / _REFERENCE_SIDE_PX,
            tf.stack([x, y]) * side)


def paste(image, picture, scale, center):
    """Transform: blends a scaled picture over a crop.

    Args:
        image: Float tensor `[S, S, 3]` in [0, 1].
        picture: uint8 tensor `[h, w, 4]`, RGBA.
        scale: Scalar factor on its size.
        center: Float tensor `[2]`: where its centre comes to lie, px from the crop's corner;
            within the crop.

    Returns:
        Float tensor `[S, S, 3]`.
    """
    side = tf.shape(image)[0]
    picture = tf.cast(picture, tf.float32) / 255.0
    premultiplied = tf.concat([picture[..., :3] * picture[..., 3:], picture[..., 3:]], axis=-1)
    size = tf.cast(tf.shape(picture)[:2], tf.float32) * scale
    size = tf.maximum(tf.cast(tf.round(size), tf.int32), 1)
    scaled = tf.image.resize(premultiplied, size, antialias=True)
    corner = tf.cast(tf.round(center[::-1] - tf.cast(size, tf.float32) / 2), tf.int32)
    padded = tf.pad(scaled, [[side, side], [side, side], [0, 0]])
    first = side - corner
    cover = padded[first[0]:first[0] + side, first[1]:first[1] + side]
    return tf.ensure_shape(image * (1 - cover[..., 3:]) + cover[..., :3], image.shape)
