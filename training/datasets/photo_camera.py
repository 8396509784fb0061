"""Cameras of published data sets: from the world to pixels, and photos freed of lens distortion."""

import dataclasses
import functools

import cv2
import numpy as np

_N_ITERATIONS = 30


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoCamera:
    """A calibrated camera with a lens, for NumPy arrays in float64.

    Convention: a point of the world at X lies at `rotation @ X + translation` in the camera frame
    (x right, y down, z forward). For normalised coordinates (x, y) with r^2 = x^2 + y^2, the lens
    gives `x (1 + k1 r^2 + k2 r^4 + k3 r^6 + f (p1 y + p2 x)) + p2 r^2`, and the same for y with p1,
    where f is 2 as in OpenCV, or 1 in Human3.6M's own variant. Intrinsics then give pixels, whose
    centres are integers. With focal length 100, principal point (50, 40) and no distortion, the
    point (1, 2, 10) of the camera frame falls on pixel (60, 60).

    Args:
        intrinsics: Float array `[3, 3]`, px.
        rotation: Float array `[3, 3]`, world to camera.
        translation: Float array `[3]`, mm.
        distortion: Sequence k1, k2, p1, p2, k3, or None for none.
        tangential_factor: f above.
    """
    intrinsics: np.ndarray
    rotation: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(3))
    translation: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))
    distortion: tuple = None
    tangential_factor: float = 2.0

    @property
    def is_distorted(self):
        """Whether the lens does anything."""
        return self.distortion is not None and bool(np.any(self.distortion))

    def to_camera_frame(self, coords3d_world):
        """World coordinates `[..., 3]` in mm to the camera frame."""
        return coords3d_world @ np.transpose(self.rotation) + self.translation

    def direction_in_camera_frame(self, direction_world):
        """A direction of the world, e.g. up, float array `[3]`, in the camera frame."""
        return np.asarray(self.rotation) @ np.asarray(direction_world, np.float64)

    def project(self, coords3d_cam):
        """Camera frame `[..., 3]` to px `[..., 2]`, lens included; NaN if not before the camera."""
        return self._to_pixels(self.distort(_normalized(coords3d_cam)))

    def project_undistorted(self, coords3d_cam):
        """Camera frame `[..., 3]` to px `[..., 2]` of `undistort_photo`; NaN likewise."""
        return self._to_pixels(_normalized(coords3d_cam))

    def distort(self, points):
        """Normalised coordinates `[..., 2]` to where the lens puts them."""
        if not self.is_distorted:
            return points
        radial, offset = self._lens_terms(points)
        return points * radial + offset

    def undistort_points(self, points):
        """Px `[..., 2]` of the photo to px of `undistort_photo`, by fixed-point iteration."""
        if not self.is_distorted:
            return points
        distorted = self._to_normalized(points)
        result = distorted
        for _ in range(_N_ITERATIONS):
            radial, offset = self._lens_terms(result)
            result = (distorted - offset) / radial
        return self._to_pixels(result)

    def undistort_box(self, box):
        """Box `[left, top, width, height]` in the photo to one in `undistort_photo`.

        It is spanned by the corners and the middles of the edges.
        """
        left, top, width, height = np.asarray(box, np.float64)
        grid = np.stack(np.meshgrid([0, 0.5, 1], [0, 0.5, 1]), axis=-1).reshape(-1, 2)
        moved = self.undistort_points(grid * [width, height] + [left, top])
        first, last = moved.min(axis=0), moved.max(axis=0)
        return np.concatenate([first, last - first])

    def undistort_photo(self, photo):
        """Resamples a photo, or a mask, as a pinhole camera with the same intrinsics sees it.

        Args:
            photo: uint8 array `[height, width, ...]`.

        Returns:
            Array of the same shape and type, zeros where the photo shows nothing.
        """
        if not self.is_distorted:
            return photo
        return cv2.remap(photo, *self._undistortion_maps(photo.shape[:2]), cv2.INTER_LINEAR)

    @functools.lru_cache(maxsize=4)
    def _undistortion_maps(self, photo_shape):
        height, width = photo_shape
        pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
        source = self._to_pixels(self.distort(self._to_normalized(pixels)))
        return cv2.convertMaps(*np.moveaxis(source.astype(np.float32), 2, 0), cv2.CV_16SC2)

    def _lens_terms(self, points):
        k1, k2, p1, p2, k3 = self.distortion
        x, y = points[..., :1], points[..., 1:]
        squared = x ** 2 + y ** 2
        radial = 1 + squared * (k1 + squared * (k2 + squared * k3))
        tangential = self.tangential_factor * (p1 * y + p2 * x)
        return radial + tangential, squared * np.array([p2, p1])

    def _to_pixels(self, points):
        return points @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]

    def _to_normalized(self, points):
        return (points - self.intrinsics[:2, 2]) @ np.linalg.inv(self.intrinsics[:2, :2]).T


def fit_intrinsics(coords2d, coords3d_cam):
    """Intrinsics that project 3D labels onto 2D labels best, in the sense of least squares.

    Args:
        coords2d: Float array `[..., 2]`, px.
        coords3d_cam: Float array `[..., 3]`, camera frame, mm.

    Returns:
        Float array `[3, 3]`, px, without skew.

    Raises:
        ValueError: If there are not enough different points.
    """
    intrinsics = np.eye(3)
    for axis in (0, 1):
        slopes = np.ravel(coords3d_cam[..., axis] / coords3d_cam[..., 2])
        design = np.stack([slopes, np.ones_like(slopes)], axis=1)
        solution, _, rank, _ = np.linalg.lstsq(design, np.ravel(coords2d[..., axis]), rcond=None)
        if rank < 2:
            raise ValueError(
                '`coords3d_cam` must have points in different directions. '
                f'Received: {len(slopes)} points')
        intrinsics[axis, [axis, 2]] = solution
    return intrinsics


def _normalized(coords3d_cam):
    """Camera frame to normalised coordinates, NaN for what is not in front of the camera."""
    depth = np.asarray(coords3d_cam)[..., 2:]
    return coords3d_cam[..., :2] / np.where(depth > 0, depth, np.nan)
