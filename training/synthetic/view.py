"""Random cameras: where the person stands in the photo, and the window that is rendered.

A view is sampled in photo units in which the photo's larger side is 1, then scaled to pixels.
"""

import dataclasses

import numpy as np
from scipy.spatial import transform

from metro_tf import skeleton
from training.datasets import window

# What photos show: people at all distances, or only busts, as in a passport or on a poster.
SUBJECTS = ('people', 'busts')
_MODES = ('whole', 'cut', 'portrait')
_MODE_PROBABILITIES = (0.72, 0.14, 0.14)
_ASPECTS = (4 / 3, 3 / 2, 16 / 9, 1.0, 3 / 4, 2 / 3, 9 / 16)
_ASPECT_PROBABILITIES = (0.25, 0.22, 0.13, 0.12, 0.12, 0.11, 0.05)
_FOV_RANGE_DEG = (30.0, 80.0)
_BUST_FOV_RANGE_DEG = (15.0, 60.0)
_LOWEST_BUST_WIDTH_MM, _HIGHEST_BUST_WIDTH_MM = 450.0, 1100.0
_MIN_DEPTH_MM = 250.0
_MAX_ATTEMPTS = 16
_WINDOW_ENLARGEMENT = 1.5
_BOX_SIDE_RANGE_PX = (160.0, window.MAX_BOX_SIDE_PX)
# Fraction of the surface that may lie within the photo, per mode.
_VISIBLE_FRACTIONS = {
    'whole': (1.0, 1.0), 'cut': (0.3, 0.95), 'portrait': (0.12, 0.85), 'bust': (0.05, 0.85)}


@dataclasses.dataclass(frozen=True)
class View:
    """A camera and its photo.

    Args:
        rotation: float array `[3, 3]`, world to camera.
        translation: float array `[3]`, mm.
        focal: Focal length in units of the photo's larger side.
        photo_size: float array `[2]`: width and height, the larger one 1.
    """
    rotation: np.ndarray
    translation: np.ndarray
    focal: float
    photo_size: np.ndarray

    def to_camera(self, points):
        """World points `[..., 3]` to the camera frame."""
        return points @ self.rotation.T + self.translation

    def project(self, points_cam):
        """Camera-frame points to photo coordinates `[..., 2]`, (0, 0) to `photo_size` inside."""
        return self.focal * points_cam[..., :2] / points_cam[..., 2:] + self.photo_size / 2


@dataclasses.dataclass(frozen=True)
class Window:
    """The part of a photo that is rendered.

    Args:
        intrinsics: float32 array `[3, 3]`, px.
        size: (width, height) in px.
        frame: float32 array `[4]`: left, top, width, height of the photo in window px.
    """
    intrinsics: np.ndarray
    size: tuple
    frame: np.ndarray


def sample_view(rng, surface, joints, subject='people'):
    """Samples a camera that sees the person, whole or in part.

    Args:
        rng: Random generator.
        surface: float array `[points, 3]` on the person's surface, world frame (y up), mm.
        joints: float array `[24, 3]`, world frame, mm.
        subject: One of `SUBJECTS`.

    Returns:
        A `View`.
    """
    mode = 'bust' if subject == 'busts' else rng.choice(_MODES, p=_MODE_PROBABILITIES)
    for i_attempt in range(_MAX_ATTEMPTS):
        view = _propose(rng, mode, surface, joints, i_attempt / _MAX_ATTEMPTS)
        if _is_acceptable(view, mode, surface, joints):
            return view
    for distance in 1000 * 1.15 ** np.arange(30):
        view = _look(
            _sample_rotation(rng), _center(surface), distance, 1.0, np.ones(2), np.zeros(2))
        if _is_acceptable(view, 'whole', surface, joints):
            return view
    raise ValueError(
        '`surface` must be finite and of human size. '
        f'Received: extent {np.ptp(surface, axis=0)} mm')


def cut_window(view, surface, rng):
    """The window around the visible part of the person, at a scale that suits the crop model.

    Args:
        view: `View`.
        surface: float array `[points, 3]`, camera frame, mm.
        rng: Random generator.
    """
    projected = view.project(surface)
    inside = np.all((projected >= 0) & (projected <= view.photo_size), axis=-1)
    low, high = projected[inside].min(axis=0), projected[inside].max(axis=0)
    scale = rng.uniform(*_BOX_SIDE_RANGE_PX) / (high - low).max()
    photo_size = np.maximum(np.round(view.photo_size * scale), 1)
    center, half = scale * (low + high) / 2, scale * _WINDOW_ENLARGEMENT * (high - low) / 2
    first, last = window.bounds(center, half, photo_size)
    intrinsics = np.diag([view.focal * scale, view.focal * scale, 1.0])
    intrinsics[:2, 2] = photo_size / 2 - first
    width, height = (last - first + 1).astype(int)
    return Window(
        intrinsics.astype(np.float32), (int(width), int(height)),
        np.concatenate([-first, photo_size]).astype(np.float32))


def _propose(rng, mode, surface, joints, progress):
    """A random view; `progress` from 0 to 1 makes the whole person ever easier to fit in."""
    if mode == 'bust':
        return _propose_bust(rng, joints)
    aspect = rng.choice(_ASPECTS, p=_ASPECT_PROBABILITIES)
    photo_size = np.array([min(aspect, 1.0), min(1 / aspect, 1.0)])
    focal = 0.5 / np.tan(np.radians(rng.uniform(*_FOV_RANGE_DEG)) / 2)
    center = _center(surface)
    if mode == 'portrait':
        index = skeleton.METRO_24.index
        center = joints[index('neck')] + rng.uniform(-0.1, 0.9) * (
            joints[index('spin')] - joints[index('neck')])
        offset = rng.normal(0, 0.1, 2) * photo_size
        distance = np.clip(rng.lognormal(np.log(1500), 0.4), 600, 4000)
    elif mode == 'cut':
        offset = rng.uniform(-0.6, 0.6, 2) * photo_size
        distance = np.clip(rng.lognormal(np.log(2600), 0.4), 1000, 7000)
    else:
        offset = rng.uniform(-0.45, 0.45, 2) * photo_size * (1 - progress)
        distance = np.clip(rng.lognormal(np.log(3600), 0.4), 1500, 10000) * (1 + 0.7 * progress)
    return _look(_sample_rotation(rng), center, distance, focal, photo_size, offset)


def _propose_bust(rng, joints):
    """A view of head and shoulders, mostly from the front."""
    aspect = rng.choice(_ASPECTS, p=_ASPECT_PROBABILITIES)
    photo_size = np.array([min(aspect, 1.0), min(1 / aspect, 1.0)])
    focal = 0.5 / np.tan(np.radians(rng.uniform(*_BUST_FOV_RANGE_DEG)) / 2)
    width_mm = np.exp(rng.uniform(
        np.log(_LOWEST_BUST_WIDTH_MM), np.log(_HIGHEST_BUST_WIDTH_MM)))
    neck, spin, nose, *ears = (
        joints[skeleton.METRO_24.index(name)] for name in ('neck', 'spin', 'nose', 'lear', 'rear'))
    center = neck + rng.uniform(-0.6, 0.8) * (spin - neck)
    x, _, z = nose - np.mean(ears, axis=0)
    heading_deg = rng.normal(0, 40) - np.degrees(np.arctan2(x, z))
    return _look(
        _sample_rotation(rng, heading_deg), center, width_mm * focal / photo_size.min(), focal,
        photo_size, rng.normal(0, 0.08, 2) * photo_size)


def _look(rotation, center, distance, focal, photo_size, offset):
    """View with `center` at a distance in the direction of a photo position (0 = middle)."""
    ray = np.array([*(offset / focal), 1.0])
    translation = distance * ray / np.linalg.norm(ray) - rotation @ center
    return View(rotation, translation, focal, photo_size)


def _sample_rotation(rng, heading_deg=None):
    """World-to-camera rotation: any heading unless one is given, mostly level, some roll.

    At heading 0 the camera sees the front of who faces the world's z.
    """
    steep = rng.random() < 0.15
    pitch = rng.uniform(-45, 70) if steep else np.clip(rng.normal(7, 13), -35, 50)
    roll = np.clip(rng.normal(0, 7), -20, 20)
    if heading_deg is None:
        heading_deg = rng.uniform(0, 360)
    heading = transform.Rotation.from_euler('y', heading_deg, degrees=True)
    # y up and z towards the viewer becomes y down and z away from it.
    flip = transform.Rotation.from_euler('x', 180, degrees=True)
    tilt = transform.Rotation.from_euler('zx', [roll, pitch], degrees=True)
    return (tilt * flip * heading).as_matrix()


def _is_acceptable(view, mode, surface, joints):
    """Whether as much of the person is in the photo as the mode wants."""
    surface_cam, joints_cam = view.to_camera(surface), view.to_camera(joints)
    if min(surface_cam[:, 2].min(), joints_cam[:, 2].min()) < _MIN_DEPTH_MM:
        return False
    is_inside = [
        np.all((projected > 0) & (projected < view.photo_size), axis=-1)
        for projected in (view.project(surface_cam), view.project(joints_cam))]
    low, high = _VISIBLE_FRACTIONS[mode]
    head = skeleton.METRO_24.index('head')
    return (low <= is_inside[0].mean() <= high and is_inside[1].sum() >= 8
            and (mode not in ('portrait', 'bust') or is_inside[1][head]))


def _center(points):
    """Centre of the points' axis-aligned box."""
    return (points.min(axis=0) + points.max(axis=0)) / 2
