"""Files of many kinds become images, and broken ones are found."""

import io

from PIL import Image
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.export import encoded_images

RGB = np.random.default_rng(0).integers(0, 256, [24, 40, 3]).astype(np.uint8)


def encode(array, file_format, mode=None):
    """Bytes of a file of an image."""
    image, content = Image.fromarray(array), io.BytesIO()
    (image.convert(mode) if mode else image).save(content, file_format)
    return content.getvalue()


JPEG, PNG = encode(RGB, 'JPEG'), encode(RGB, 'PNG')
TALL_PNG = encode(np.transpose(RGB, [1, 0, 2]), 'PNG')
ANIMATION = io.BytesIO()
Image.fromarray(RGB[..., 0]).save(
    ANIMATION, 'GIF', save_all=True, append_images=[Image.fromarray(255 - RGB[..., 0])])
ALPHA = np.dstack([RGB, RGB[..., 0]])
GREY_16_BIT = RGB[..., 0].astype(np.uint16) * 257


@tf.function(input_signature=[
    tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.bool)])
def decode(image_bytes, indices, is_broken_allowed):
    images = encoded_images.DecodedImages(image_bytes)
    with tf.control_dependencies(images.check(is_broken_allowed)):
        return tf.identity(images.sizes), images.stack(indices)


@pytest.mark.parametrize('content, expected', [
    (PNG, RGB), (encode(RGB, 'BMP'), RGB), (encode(ALPHA, 'PNG'), RGB),
    (encode(GREY_16_BIT, 'PNG'), np.repeat(RGB[..., :1], 3, axis=2)),
    (encode(RGB[..., 0], 'PNG'), np.repeat(RGB[..., :1], 3, axis=2)),
    (ANIMATION.getvalue(), np.repeat(RGB[..., :1], 3, axis=2))])
def test_lossless_files_give_their_pixels(content, expected):
    sizes, images = decode([content], [0], False)
    np.testing.assert_array_equal(sizes, [[24, 40]])
    np.testing.assert_array_equal(images[0], expected)


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
def test_jpeg_of_every_colour_space_has_three_channels(mode):
    smooth = np.tile(np.linspace(0, 255, 40).astype(np.uint8)[:, np.newaxis], [24, 1, 3])
    _, images = decode([encode(smooth, 'JPEG', mode)], [0], False)
    np.testing.assert_allclose(images[0], smooth, atol=8)


def test_jpeg_is_read_as_other_libraries_read_it():
    _, images = decode([JPEG], [0], False)
    np.testing.assert_array_equal(images[0], np.asarray(Image.open(io.BytesIO(JPEG))))


def test_images_of_one_size_are_stacked_in_the_order_asked_for():
    other = encode(RGB[:, ::-1], 'PNG')
    sizes, images = decode([PNG, TALL_PNG, other], [2, 0], False)
    np.testing.assert_array_equal(sizes, [[24, 40], [40, 24], [24, 40]])
    np.testing.assert_array_equal(images, [RGB[:, ::-1], RGB])


BROKEN = (JPEG[:len(JPEG) // 2], JPEG[:-20], PNG[:-30], b'', b'no image', bytes(100),
          PNG[:40] + b'x' * 8 + PNG[48:])


def test_broken_files_have_no_size_and_hide_no_others():
    contents = [JPEG, *BROKEN, PNG]
    sizes, images = decode(contents, [len(contents) - 1], True)
    np.testing.assert_array_equal(sizes, [[24, 40], *[[0, 0]] * len(BROKEN), [24, 40]])
    np.testing.assert_array_equal(images, [RGB])


@pytest.mark.parametrize('content', BROKEN)
def test_broken_files_are_refused_by_index(content):
    with pytest.raises(tf.errors.InvalidArgumentError, match=(
            r'`image_bytes` must hold whole JPEG, PNG, BMP or GIF files. Received:. .broken ones '
            r'at the indices. \[1 3\] .of. .4. .images')):
        decode([PNG, content, JPEG, content], [0], False)


def test_no_images():
    sizes, images = decode(tf.zeros([0], tf.string), tf.zeros([0], tf.int32), False)
    assert sizes.shape == (0, 2) and images.shape == (0, 1, 1, 3)


def test_large_images_are_refused_by_index_even_where_broken_ones_are_not(monkeypatch):
    monkeypatch.setattr(encoded_images, 'MAX_MEGAPIXELS', 0.0009)
    function = tf.function(decode.python_function)
    sizes, _ = function(tf.constant([encode(RGB[:20], 'PNG')]), tf.constant([0]), True)
    np.testing.assert_array_equal(sizes, [[20, 40]])
    with pytest.raises(tf.errors.InvalidArgumentError, match=(
            r'`image_bytes` must hold images of at most 0.0009 megapixels. Received:. .larger '
            r'ones at the indices. \[1\] .of. .2.')):
        function(tf.constant([encode(RGB[:20], 'PNG'), PNG]), tf.constant([0]), True)
