import struct
import warnings
import zlib

from PIL import Image
import cv2
import numpy as np
import pytest

from metro_tf.tools import images
from tests.tools import fakes

COLORS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)


def save(array, path, **options):
    Image.fromarray(array).save(path, **options)
    return path


def png_with_header_of(width, height, path):
    """A valid PNG header that claims a size, and hardly any data."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack(
            '>I', zlib.crc32(kind + data))
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'\0'))
        + chunk(b'IEND', b''))
    return path


def test_colors_are_rgb_and_exact(tmp_path):
    image = images.read_image(save(COLORS, tmp_path / 'a.png'))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, COLORS)


def test_result_can_be_written_to(tmp_path):
    images.read_image(save(COLORS, tmp_path / 'a.png'))[0, 0] = 7


def test_path_as_text(tmp_path):
    assert images.read_image(str(save(COLORS, tmp_path / 'a.png'))).shape == (2, 2, 3)


def test_grey_gets_three_equal_channels(tmp_path):
    image = images.read_image(save(np.array([[0, 100], [200, 255]], np.uint8), tmp_path / 'a.png'))
    np.testing.assert_array_equal(image, np.array([[[0] * 3, [100] * 3], [[200] * 3, [255] * 3]]))


def test_alpha_is_dropped(tmp_path):
    alpha = np.array([[[0], [128]], [[255], [0]]], np.uint8)
    image = images.read_image(save(np.concatenate([COLORS, alpha], axis=2), tmp_path / 'a.png'))
    np.testing.assert_array_equal(image, COLORS)


def test_grey_with_alpha(tmp_path):
    grey_alpha = np.array([[[50, 0], [60, 255]]], np.uint8)
    Image.fromarray(grey_alpha[..., 0]).convert('LA').save(tmp_path / 'a.png')
    np.testing.assert_array_equal(
        images.read_image(tmp_path / 'a.png'), [[[50] * 3, [60] * 3]])


def test_16_bit_grey_is_scaled(tmp_path):
    path = save(np.array([[0, 257, 32896, 65535]], np.uint16), tmp_path / 'a.png')
    np.testing.assert_array_equal(images.read_image(path)[0, :, 0], [0, 1, 128, 255])


@pytest.mark.parametrize('n_channels', [3, 4])
def test_16_bit_color_is_scaled(tmp_path, n_channels):
    values = np.full([1, 2, n_channels], 65535, np.uint16)
    values[0, 0, :3] = 257, 2570, 25700  # blue, green, red, as OpenCV writes
    assert cv2.imwrite(str(tmp_path / 'a.png'), values)
    np.testing.assert_array_equal(
        images.read_image(tmp_path / 'a.png'), [[[100, 10, 1], [255] * 3]])


@pytest.mark.parametrize('mode', ['1', 'P', 'CMYK', 'YCbCr'])
def test_other_color_models(tmp_path, mode):
    solid = Image.new('RGB', [8, 8], (255, 255, 255)).convert(mode)
    solid.save(tmp_path / 'a.tif')
    image = images.read_image(tmp_path / 'a.tif')
    assert image.shape == (8, 8, 3) and image.min() >= 254


def test_cmyk_jpeg(tmp_path):
    Image.new('CMYK', [16, 8], (0, 255, 255, 0)).save(tmp_path / 'a.jpg', quality=95)
    image = images.read_image(tmp_path / 'a.jpg')
    assert image.shape == (8, 16, 3)
    np.testing.assert_allclose(image[4, 8], [255, 0, 0], atol=6)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by 90 degrees
    path = fakes.write_photo(tmp_path / 'a.jpg', width=96, height=64, quality=95, exif=exif)
    image = images.read_image(path).astype(int)
    assert image.shape == (96, 64, 3)
    # The dark left side of the stored image is shown at the top, its dark top at the right.
    assert image[2, 32, 0] < 60 and image[93, 32, 0] > 140
    assert image[90, 4, 0] > image[90, 60, 0] + 60


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'webp', 'tif', 'gif'])
def test_formats(tmp_path, suffix):
    path = fakes.write_photo(tmp_path / f'a.{suffix}', width=40, height=30)
    assert images.read_image(path).shape == (30, 40, 3)
    assert images.check_header(path) == (40, 30)


def test_one_pixel(tmp_path):
    np.testing.assert_array_equal(
        images.read_image(save(COLORS[:1, :1], tmp_path / 'a.png')), [[[255, 0, 0]]])


@pytest.mark.parametrize('function', [images.read_image, images.check_header])
@pytest.mark.parametrize('width, height', [(20000, 20000), (12000, 9000), (1, 2 ** 31 - 1)])
def test_huge_header_is_refused_without_decoding(tmp_path, function, width, height):
    path = png_with_header_of(width, height, tmp_path / 'a.png')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(images.ImageError, match=r'a\.png: .*too large.*100 megapixels'):
            function(path)


def test_limit_is_an_argument_and_inclusive(tmp_path):
    path = fakes.write_photo(tmp_path / 'a.png', width=40, height=30)
    assert images.read_image(path, max_pixels=1200).shape == (30, 40, 3)
    with pytest.raises(images.ImageError, match='it has 40 x 30 px'):
        images.read_image(path, max_pixels=1199)


def test_missing_empty_and_folder(tmp_path):
    (tmp_path / 'empty.jpg').touch()
    for name, text in [
            ('missing.jpg', 'no such file'), ('empty.jpg', '0 bytes'), ('', 'this is a folder')]:
        with pytest.raises(images.ImageError, match=text):
            images.read_image(tmp_path / name)


def test_special_file_is_refused():
    with pytest.raises(images.ImageError, match='not a regular file'):
        images.read_image('/dev/zero')


def test_name_too_long():
    with pytest.raises(images.ImageError, match='cannot be opened'):
        images.read_image('a' * 5000)


@pytest.mark.parametrize('content', [b'hello', b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff', b'BM' * 9])
def test_not_an_image(tmp_path, content):
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    with pytest.raises(images.ImageError, match=r'a\.jpg: .*(known format|cannot be decoded)'):
        images.read_image(path)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'webp', 'tif'])
def test_cut_file_is_refused(tmp_path, suffix):
    path = fakes.write_photo(tmp_path / f'a.{suffix}', width=200, height=200)
    path.write_bytes(path.read_bytes()[:-path.stat().st_size // 2])
    with pytest.raises(images.ImageError, match=rf'a\.{suffix}: '):
        images.read_image(path)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'webp', 'tif', 'gif'])
def test_damaged_bytes_give_an_image_or_our_error(tmp_path, suffix):
    content = bytearray(
        fakes.write_photo(tmp_path / f'a.{suffix}', width=60, height=60).read_bytes())
    generator = np.random.default_rng(0)
    outcomes = []
    for i_trial in range(60):
        damaged = bytearray(content)
        for position in generator.integers(0, len(content), 5):
            damaged[position] = generator.integers(256)
        path = tmp_path / f'{i_trial}.{suffix}'
        path.write_bytes(damaged)
        try:
            outcomes.append(images.read_image(path).ndim)
        except images.ImageError:
            outcomes.append(3)
    assert outcomes == [3] * 60


def test_floating_point_pixels_are_refused(tmp_path):
    path = save(np.ones([2, 2], np.float32), tmp_path / 'a.tif')
    with pytest.raises(images.ImageError, match='floating-point pixels'):
        images.read_image(path)
