"""Photos from disk, safely: whatever is wrong with a file is told in words, before memory is used.
"""

import pathlib
import warnings

from PIL import Image, ImageOps
import numpy as np

# About eight times a phone photo. Pose needs far less; a bare header can claim any size.
MAX_IMAGE_PIXELS = 100_000_000


class ImageError(ValueError):
    """A file that cannot be used as a photo. The message names it and says what to do."""


def read_image(path, max_pixels=MAX_IMAGE_PIXELS):
    """Reads a photo as people see it: turned upright as its EXIF orientation says, 8 bits, RGB.

    Grey images get three equal channels, 16 bits are scaled to 8, CMYK and palettes are
    converted, an alpha channel is dropped (the colours below it stay as stored), and of an
    animation or a file with several pages the first image is taken.

    Args:
        path: Path of a file in a format that Pillow reads.
        max_pixels: Larger images are refused after reading nothing but their header.

    Returns:
        uint8 array `[height, width, 3]`.

    Raises:
        ImageError: If there is no such file, it is empty, damaged, no image or too large.
    """
    return _with_image(path, max_pixels, _decode)


def check_header(path, max_pixels=MAX_IMAGE_PIXELS):
    """Checks what can be known without decoding. Cheap, also for large images.

    Args:
        path: As in `read_image`.
        max_pixels: As in `read_image`.

    Returns:
        Tuple of ints, width and height as stored (before the EXIF orientation).

    Raises:
        ImageError: As in `read_image`, except that damaged pixel data goes unnoticed.
    """
    return _with_image(path, max_pixels, lambda image: image.size)


def _with_image(path, max_pixels, function):
    """Calls `function` with the opened Pillow image; every failure becomes an `ImageError`."""
    path = pathlib.Path(path)
    _check_file(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata, which does not matter here, and below its own limit.
            warnings.simplefilter('ignore')
            with Image.open(path) as image:
                _check_size(path, image.size, max_pixels)
                return function(image)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(path, 'its header claims an enormous size', max_pixels) from None
    except Image.UnidentifiedImageError:
        raise ImageError(
            f'{path}: not an image in a known format. '
            'Convert it to JPEG or PNG, or leave it out.') from None
    except Exception as error:  # Decoders answer damaged data with nearly any type of error.
        raise ImageError(
            f'{path}: the image cannot be decoded; it may be damaged or cut short ({error}). '
            'Save or download it again.') from error


def _check_file(path):
    try:
        if not path.exists():
            raise ImageError(f'{path}: there is no such file. Check the path.')
        if path.is_dir():
            raise ImageError(
                f'{path}: this is a folder. Name the photos in it, e.g. {path}/*.jpg.')
        if not path.is_file():
            raise ImageError(f'{path}: this is not a regular file. Give the path of a photo.')
        if path.stat().st_size == 0:
            raise ImageError(f'{path}: the file is empty (0 bytes). Save or download it again.')
        with path.open('rb'):
            pass
    except OSError as error:
        raise ImageError(
            f'{path}: the file cannot be opened ({error.strerror}). '
            'Check its name and permissions.') from error


def _check_size(path, size, max_pixels):
    width, height = size
    if width * height > max_pixels:
        raise _too_large(path, f'it has {width} x {height} px', max_pixels)


def _too_large(path, reason, max_pixels):
    return ImageError(
        f'{path}: the image is too large: {reason}, the limit is '
        f'{max_pixels / 1e6:g} megapixels. Make it smaller first.')


def _decode(image):
    # Done before the conversion, which loses the orientation in some formats.
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith('I'):  # 16-bit grey; Pillow would clip instead of scaling.
        return _grey16_to_rgb(np.asarray(image))
    if image.mode == 'F':
        raise ValueError('floating-point pixels have no defined range')
    return np.array(image.convert('RGB'), np.uint8)


def _grey16_to_rgb(grey):
    grey = np.clip(np.round(grey / 257.0), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
