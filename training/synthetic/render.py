"""Renders posed people: colour, coverage and depth. The drawing itself is done by `opengl`.

The camera frame is x right, y down, z forward, in mm. Pixel centres are integers.
"""

import dataclasses
import multiprocessing
from pathlib import Path
import subprocess
import sys

import cv2
import numpy as np

from training.synthetic import opengl

MAX_SIDE_PX = opengl.MAX_SIDE_PX
_REPO_DIR = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Lighting:
    """Lights in the camera frame.

    Args:
        directions: float32 `[3, 3]`, unit vectors towards each light.
        colors: float32 `[3, 3]`, RGB; zeros switch a light off.
        up: float32 `[3]`, the world's up.
        ambient_above, ambient_below: float32 `[3]`, RGB light from the two hemispheres.
        specular: Strength of highlights.
    """
    directions: np.ndarray
    colors: np.ndarray
    up: np.ndarray
    ambient_above: np.ndarray
    ambient_below: np.ndarray
    specular: float


class Renderer:
    """A process that draws; one person is loaded at a time. It ends when this object does.

    Raises:
        RuntimeError: If EGL or its drivers are missing; the message says what to install.
    """

    def __init__(self):
        self._connection, other_end = multiprocessing.Pipe()
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'training.synthetic.opengl', str(other_end.fileno())],
            pass_fds=[other_end.fileno()], cwd=_REPO_DIR)
        other_end.close()
        try:
            self._receive()
        except RuntimeError as error:
            self.close()
            raise RuntimeError(
                'Rendering needs moderngl and EGL (Debian packages libegl1 and libgl1-mesa-dri). '
                f'The context could not be created: {error}') from error

    def __del__(self):
        self.close()

    def close(self):
        """Ends the drawing process."""
        self._connection.close()
        self._process.wait()

    def load(self, person):
        """Hands over the parts of a `Person` that no pose changes."""
        surface = np.column_stack([person.uvs, person.layers, person.cut]).astype(np.float32)
        self._request('load', surface, person.triangles.astype(np.int32), person.textures)

    def draw(self, positions, normals, intrinsics, image_size, lighting):
        """Draws the loaded person.

        Args:
            positions: float array `[vertices, 3]`, camera frame, mm.
            normals: float array `[vertices, 3]`, camera frame.
            intrinsics: float array `[3, 3]`, px, without skew.
            image_size: (width, height), at most `MAX_SIDE_PX` each.
            lighting: `Lighting`.

        Returns:
            Tuple of colour uint8 `[height, width, 3]`, continued outwards beyond the person's
            outline; coverage uint8 `[height, width]`, 255 for full; and the depth (z) of the
            nearest surface, float32 `[height, width]`, mm, inf where there is none.

        Raises:
            ValueError: If the image is too large.
            RuntimeError: If drawing fails.
        """
        width, height = image_size
        if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
            raise ValueError(
                f'`image_size` must be within 1 and {MAX_SIDE_PX} px. Received: {image_size}')
        rgba, depth = self._request(
            'draw', np.hstack([positions, normals]).astype(np.float32), intrinsics, image_size,
            vars(lighting))
        return bleed(rgba), rgba[..., 3].copy(), depth

    def _request(self, name, *args):
        """Lets the drawing process call a method of its canvas and returns the result."""
        try:
            self._connection.send((name, args))
        except OSError as error:
            raise RuntimeError('The drawing process has ended.') from error
        return self._receive()

    def _receive(self):
        """The result that the drawing process sends."""
        try:
            succeeded, result = self._connection.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError('The drawing process has ended.') from error
        if not succeeded:
            raise RuntimeError(result)
        return result


def bleed(rgba):
    """Colour of a picture on black, undone the darkening at the outline and continued outwards.

    Args:
        rgba: uint8 array `[height, width, 4]` whose RGB is multiplied by alpha.

    Returns:
        uint8 array `[height, width, 3]`. Pixels without coverage take over the nearest covered
        pixel's colour, so that JPEG compression and resampling bring no dark seam.
    """
    alpha = rgba[..., 3]
    if not alpha.any():
        return np.zeros_like(rgba[..., :3])
    covered = alpha >= 64
    if not covered.any():
        covered = alpha > 0
    scale = 255 / np.maximum(alpha.astype(np.float32), 1)
    color = np.minimum(rgba[..., :3] * scale[..., np.newaxis] + 0.5, 255).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    by_label = np.zeros([labels.max() + 1, 3], np.uint8)
    by_label[labels[covered]] = color[covered]
    return by_label[labels]
