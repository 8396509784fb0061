"""Encoded images inside a graph: those that cannot be decoded are found instead of failing.

An operation that fails ends the whole call, without a word on which image it was. A data set can
leave failing elements out, and core operations are all that it takes.
"""

import tensorflow as tf

from metro_tf import calibration

MAX_MEGAPIXELS = 100


class DecodedImages:
    """A batch of images of different sizes.

    Args:
        image_bytes: String tensor `[n_images]`, files such as JPEG, PNG, BMP or GIF.

    Attributes:
        sizes: Int32 tensor `[n_images, 2]`, (height, width), px; zero for broken images.
    """

    def __init__(self, image_bytes):
        self._n_images = tf.size(image_bytes)
        # A data set without elements would fail, so one blank image is always there.
        contents = tf.concat([image_bytes, [_BLANK_PNG]], axis=0)
        indices, sizes, self._images = _decodable(contents)
        # Broken images lead nowhere: they are never asked for.
        self._positions = tf.scatter_nd(
            indices[:, tf.newaxis], tf.range(tf.size(indices)), [self._n_images + 1])
        self.sizes = tf.scatter_nd(
            indices[:, tf.newaxis], sizes, [self._n_images + 1, 2])[:-1]

    def check(self, is_broken_allowed):
        """Operations that fail with the indices of broken or too large images.

        Args:
            is_broken_allowed: Boolean scalar, whether only too large images matter.
        """
        broken = tf.where(self.sizes[:, 0] < 1)[:, 0]
        megapixels = tf.reduce_prod(tf.cast(self.sizes, tf.float32), axis=1) / 1e6
        large = tf.where(megapixels > MAX_MEGAPIXELS)[:, 0]
        n_images = ['of', self._n_images, 'images']
        return (
            calibration.require(
                is_broken_allowed | tf.equal(tf.size(broken), 0),
                '`image_bytes` must hold whole JPEG, PNG, BMP or GIF files.',
                ['broken ones at the indices', broken, *n_images]),
            calibration.require(
                tf.equal(tf.size(large), 0),
                f'`image_bytes` must hold images of at most {MAX_MEGAPIXELS} megapixels.',
                ['larger ones at the indices', large, *n_images]))

    def stack(self, indices):
        """Some images of one size.

        Args:
            indices: Int32 tensor `[n]` of whole images; may be empty.

        Returns:
            uint8 tensor `[n, height, width, 3]`.
        """
        some = tf.concat([indices, [self._n_images]], axis=0)[:tf.maximum(tf.size(indices), 1)]
        images = tf.map_fn(
            _deserialize, tf.gather(self._images, tf.gather(self._positions, some)),
            fn_output_signature=_IMAGE_SPEC)
        return images[:tf.size(indices)]


_IMAGE_SPEC = tf.TensorSpec([None, None, 3], tf.uint8)
# A black pixel.
_BLANK_PNG = bytes.fromhex(
    '89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de'
    '0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082')


def _decodable(contents):
    """Indices, sizes and images (each serialized, as their sizes differ) of those not broken."""
    n_images = tf.size(contents)
    dataset = tf.data.Dataset.from_tensor_slices((tf.range(n_images), contents))
    dataset = dataset.map(_decode).ignore_errors().batch(tf.cast(n_images, tf.int64))
    # Rewriting the data set would take longer than running it.
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options).get_single_element()


def _decode(index, content):
    # TensorFlow's default for JPEG is inexact: depths differ by centimetres from other readers'.
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.io.decode_jpeg(content, channels=3, dct_method='INTEGER_ACCURATE'),
        lambda: tf.io.decode_image(content, channels=3, expand_animations=False))
    image = tf.ensure_shape(image, _IMAGE_SPEC.shape)
    size = tf.shape(image)[:2]
    is_large = tf.reduce_prod(tf.cast(size, tf.float32)) > 1e6 * MAX_MEGAPIXELS
    return index, size, tf.io.serialize_tensor(image[:tf.where(is_large, 0, size[0])])


def _deserialize(text):
    return tf.ensure_shape(tf.io.parse_tensor(text, tf.uint8), _IMAGE_SPEC.shape)
