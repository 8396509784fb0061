"""Textures: image files with shifted colours, procedural skin and procedural cloth.

Textures are uint8 RGBA arrays of `SIDE_PX` squared, with the first row at the bottom (v = 0).
"""

import functools

import cv2
import numpy as np

SIDE_PX = 512
# Skin tones from dark to light, RGB.
_SKIN_TONES = np.array([
    [62, 40, 30], [98, 65, 48], [138, 94, 70], [176, 126, 96], [206, 156, 126], [228, 186, 158],
    [240, 206, 184]], np.float32)
_HAIR_COLORS = np.array([
    [18, 15, 14], [35, 25, 20], [62, 42, 28], [95, 64, 40], [140, 100, 60], [190, 155, 105],
    [150, 75, 40], [150, 148, 145], [215, 212, 208]], np.float32)


@functools.lru_cache(maxsize=128)
def load(path):
    """Reads an image file as a texture.

    Raises:
        ValueError: If the file cannot be decoded.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f'`path` must be an image file. Received: path={str(path)!r}')
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    image = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)[::-1])


def shift_colors(texture, rng):
    """The texture with hue, saturation and brightness changed at random."""
    hsv = cv2.cvtColor(texture[..., :3], cv2.COLOR_RGB2HSV).astype(np.int32)
    hue = (hsv[..., 0] + rng.integers(180)) % 180
    saturation = np.clip(hsv[..., 1] * rng.uniform(0.2, 1.1), 0, 255)
    value = np.clip(hsv[..., 2] * rng.uniform(0.6, 1.5) + rng.uniform(-10, 40), 0, 255)
    shifted = np.stack([hue, saturation, value], axis=-1).astype(np.uint8)
    return np.dstack([cv2.cvtColor(shifted, cv2.COLOR_HSV2RGB), texture[..., 3]])


def skin(masks_dir, darkness, rng):
    """Procedural skin in the body's texture layout.

    Args:
        masks_dir: Folder of grey masks (lips, eyelids, nails...) in that layout.
        darkness: 0 for the lightest tone, 1 for the darkest.
        rng: Random generator.
    """
    position = (1 - np.clip(darkness + rng.normal(0, 0.06), 0, 1)) * (len(_SKIN_TONES) - 1)
    knots = np.arange(len(_SKIN_TONES))
    tone = np.stack([np.interp(position, knots, _SKIN_TONES[:, c]) for c in range(3)])
    tone = np.clip(tone * rng.uniform(0.94, 1.06, 3), 0, 255)
    image = tone * (1 + 0.10 * _smooth_noise(rng, 24) + 0.04 * _smooth_noise(rng, 128))
    tints = (
        ('lips', np.array([0.85, 0.6, 0.6]) * rng.uniform(0.85, 1.1)),
        ('eyelids', [0.8, 0.75, 0.75]), ('face', [1.03, 0.97, 0.95]), ('ears', [1.03, 0.92, 0.9]),
        ('aureolae', [0.75, 0.6, 0.55]), ('fingernails', [1.06, 1.0, 1.0]),
        ('inside-mouth', [0.5, 0.3, 0.3]))
    for name, tint in tints:
        mask = _mask(str(masks_dir / f'mpfb_{name}.jpg'))[..., np.newaxis]
        image = image * (1 + mask * (np.array(tint) - 1))
    return _opaque(image)


def hair(texture, rng):
    """Hair in a random natural colour; strands and alpha are those of `texture`, or noise."""
    color = _HAIR_COLORS[rng.integers(len(_HAIR_COLORS))] * rng.uniform(0.8, 1.2, 3)
    if texture is None:
        strands = 1 + 0.35 * _smooth_noise(rng, 200) + 0.2 * _smooth_noise(rng, 40)
        return _opaque(color * strands)
    luminance = texture[..., :3].mean(axis=-1, keepdims=True)
    opaque = texture[..., 3] > 100
    strands = luminance / max(float(luminance[opaque].mean()), 1.0)
    return np.dstack([_opaque(color * (0.35 + 0.65 * strands))[..., :3], texture[..., 3]])


def cloth(rng):
    """Procedural cloth: plain, striped, checked, blocked or mottled, in random colours."""
    colors = _random_colors(rng, 3)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX
    kind = rng.choice(
        ['plain', 'stripes', 'checks', 'mottled', 'print'], p=[0.4, 0.18, 0.12, 0.15, 0.15])
    n_repeats = rng.integers(4, 40)
    if kind == 'plain':
        pick = np.zeros([SIDE_PX, SIDE_PX])
    elif kind == 'stripes':
        along = x if rng.random() < 0.5 else y
        pick = (along * n_repeats) % 1 < rng.uniform(0.2, 0.6)
    elif kind == 'checks':
        pick = ((x * n_repeats) % 1 < 0.5).astype(int) + ((y * n_repeats) % 1 < 0.5)
    elif kind == 'mottled':
        pick = np.digitize(_smooth_noise(rng, int(rng.integers(8, 48)))[..., 0], [-0.3, 0.4])
    else:
        left, bottom, width, height = rng.uniform([.2, .3, .05, .05], [.6, .6, .3, .2])
        pick = (abs(x - left) < width) & (abs(y - bottom) < height)
    image = colors[np.asarray(pick).astype(int)]
    shade = 1 + 0.06 * _smooth_noise(rng, 256) + rng.uniform(0, 0.15) * _smooth_noise(rng, 12)
    return _opaque(image * shade)


def _random_colors(rng, count):
    """Colours of clothes, RGB `[count, 3]`: often grey, black, white or muted."""
    hsv = np.stack([
        rng.integers(0, 180, count), 255 * rng.beta(0.9, 1.6, count),
        255 * rng.beta(1.1, 0.9, count)], axis=-1)
    return cv2.cvtColor(hsv[np.newaxis].astype(np.uint8), cv2.COLOR_HSV2RGB)[0].astype(np.float32)


def _smooth_noise(rng, n_cells):
    """Noise of unit variance with about `n_cells` bumps per side, `[SIDE_PX, SIDE_PX, 1]`."""
    coarse = rng.standard_normal([n_cells, n_cells]).astype(np.float32)
    return cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)[..., np.newaxis]


@functools.lru_cache(maxsize=16)
def _mask(path):
    """Grey mask in [0, 1], first row at the bottom."""
    return load(path)[..., 0].astype(np.float32) / 255


def _opaque(image):
    """RGBA texture of a float RGB image."""
    rgb = np.clip(image, 0, 255).astype(np.uint8)
    return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
