"""Fits images into the detector's input, in NumPy and OpenCV; see `detection.letterbox`."""

import cv2
import numpy as np

# As in `metro_tf.detection.letterbox`.
PADDING_VALUE = 0.5
_MULTIPLE_PX = 32


def letterbox(images, side_px):
    """Resizes images so that their larger side is `side_px`, and pads both to multiples of 32.

    Args:
        images: uint8 array `[n_images, height, width, 3]`.
        side_px: Larger side after resizing.

    Returns:
        Tuple of a float32 array `[n_images, new_height, new_width, 3]` in [0, 1], and two float32
        arrays `[2]`: scale, letterboxed px per image px along x and y, and offset, width of the
        left bar and height of the upper bar in px.
    """
    image_size = np.array(images.shape[1:3])
    exact = image_size.astype(np.float32) * (np.float32(side_px) / np.float32(image_size.max()))
    content_size = np.maximum(np.rint(exact).astype(int), 1)
    is_enlarged = np.any(content_size > image_size)
    interpolation = cv2.INTER_LINEAR if is_enlarged else cv2.INTER_AREA
    missing = -content_size % _MULTIPLE_PX
    before = missing // 2
    result = np.full([len(images), *(content_size + missing), 3], PADDING_VALUE, np.float32)
    rows, columns = (slice(start, start + size) for start, size in zip(before, content_size))
    for image, padded in zip(images, result):
        padded[rows, columns] = cv2.resize(
            image.astype(np.float32), content_size[::-1].tolist(), interpolation=interpolation)
        padded[rows, columns] /= 255
    scale = content_size.astype(np.float32) / image_size.astype(np.float32)
    return result, scale[::-1], before[::-1].astype(np.float32)


def boxes_to_image(boxes, scale, offset):
    """Maps boxes `[..., 4]` in letterboxed px back to px of the image."""
    corner = (boxes[..., :2] - offset + np.float32(0.5)) / scale - np.float32(0.5)
    return np.concatenate([corner, boxes[..., 2:4] / scale], axis=-1)
