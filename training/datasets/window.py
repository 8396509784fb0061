"""The window of a photo that an example stores: a person with some surroundings, downscaled."""

import cv2
import numpy as np

# Side of the square window of a real photo, in units of the box's larger side. Zoomed out, shifted
# and turned, a training crop stays within it. Rendered people need less around them: they are
# laid over another photo.
PHOTO_WINDOW_SIDE = 2.0
# The larger side of the box of a stored person; crops for the model have about this resolution.
MAX_BOX_SIDE_PX = 212.0


def bounds(center, half, photo_size):
    """First and last pixel of a window, as far as the photo reaches.

    Args:
        center: Float array `[2]`: x and y of the window's centre, px from the photo's corner.
        half: Float array `[2]`: half of the window's width and height, px.
        photo_size: Array `[2]`: width and height of the photo, px.

    Returns:
        Two float arrays `[2]` with whole numbers: first and last column and row.
    """
    first = np.maximum(np.floor(center - half), 0)
    last = np.minimum(np.ceil(center + half), photo_size - 1)
    return first, last


def cut_photo(image, box):
    """Cuts the window around a person out of a photo, downscaled if the person is large.

    Args:
        image: uint8 array `[height, width, 3]`.
        box: Float array `[4]`: left, top, width, height in px; it must lie within the photo.

    Returns:
        Tuple of the window's pixels, uint8 `[h, w, 3]`; the map from photo to window pixels,
        float64 `[3, 3]`, a scaling and a shift of column vectors (x, y, 1); and the frame,
        float32 `[4]`: left, top, width, height of the whole photo in window px.
    """
    size = np.array(image.shape[1::-1], np.float64)
    new_size = np.maximum(np.round(size * min(1.0, MAX_BOX_SIDE_PX / max(box[2:]))), 1)
    scale = new_size / size
    # Box coordinates count from the centre of the first pixel, the photo begins at its corner.
    center = np.asarray(box[:2], np.float64) + 0.5 + np.asarray(box[2:]) / 2
    first, last = bounds(
        center * scale, PHOTO_WINDOW_SIDE * max(box[2:]) / 2 * scale, new_size)
    if np.any(new_size != size):
        image = cv2.resize(image, tuple(new_size.astype(int)), interpolation=cv2.INTER_AREA)
    (left, top), (right, bottom) = first.astype(int), last.astype(int)
    photo_to_window = np.diag([*scale, 1.0])
    photo_to_window[:2, 2] = 0.5 * scale - 0.5 - first
    frame = np.concatenate([-first, new_size]).astype(np.float32)
    return image[top:bottom + 1, left:right + 1], photo_to_window, frame
