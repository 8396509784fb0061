"""Procedural and recoloured textures."""

import cv2
import numpy as np
import pytest

from training.synthetic import textures

SHAPE = (textures.SIDE_PX, textures.SIDE_PX, 4)
MASKS = ('lips', 'eyelids', 'face', 'ears', 'aureolae', 'fingernails', 'inside-mouth')


@pytest.fixture(scope='module')
def masks_dir(tmp_path_factory):
    """Masks of which only the mouth's covers anything, and that the upper half."""
    folder = tmp_path_factory.mktemp('masks')
    for name in MASKS:
        mask = np.zeros([64, 64], np.uint8)
        mask[:32] = 255 * (name == 'inside-mouth')
        cv2.imwrite(str(folder / f'mpfb_{name}.jpg'), mask)
    return folder


def test_skin_follows_darkness_and_masks(masks_dir):
    light, dark = (
        textures.skin(masks_dir, darkness, np.random.default_rng(0)) for darkness in (0.1, 0.9))
    assert light.shape == SHAPE and light.dtype == np.uint8
    assert light[..., :3].mean() > dark[..., :3].mean() + 60
    assert np.all(light[..., 3] == 255)
    below, above = light[:200, :, 1].mean(), light[-200:, :, 1].mean()
    assert above < 0.5 * below  # the mask's upper half is the texture's upper rows


@pytest.mark.parametrize('draw', [
    textures.cloth, lambda rng: textures.hair(None, rng)], ids=['cloth', 'hair'])
def test_procedural_textures_vary_with_the_seed_only(draw):
    images = [draw(np.random.default_rng(seed)) for seed in (0, 0, *range(1, 12))]
    np.testing.assert_array_equal(images[0], images[1])
    for image in images:
        assert image.shape == SHAPE and image.dtype == np.uint8 and np.all(image[..., 3] == 255)
    assert np.std([image[..., :3].mean() for image in images]) > 10


def test_hair_keeps_strands_and_alpha():
    source = np.zeros([8, 8, 4], np.uint8)
    source[:, :4] = 200, 180, 160, 255
    source[:4, :4, :3] //= 2
    tinted = textures.hair(source, np.random.default_rng(1))
    np.testing.assert_array_equal(tinted[..., 3], source[..., 3])
    assert tinted[6, 1, 0] > tinted[1, 1, 0]


def test_shifted_colours_keep_alpha():
    rng = np.random.default_rng(2)
    source = rng.integers(0, 256, [8, 8, 4]).astype(np.uint8)
    shifted = textures.shift_colors(source, rng)
    np.testing.assert_array_equal(shifted[..., 3], source[..., 3])
    assert np.abs(shifted[..., :3].astype(int) - source[..., :3]).mean() > 5
    assert shifted.dtype == np.uint8
