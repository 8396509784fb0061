import cv2
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers import over_seeds
from training.augment import cutouts

SIDE = 64


def write_square(path, color_bgr, side=10, alpha=255):
    picture = np.full([side, side, 4], alpha, np.uint8)
    picture[..., :3] = color_bgr
    cv2.imwrite(str(path), picture)


@pytest.fixture
def bank(tmp_path):
    """Three squares in red, green and blue."""
    for i, color in enumerate(([0, 0, 255], [0, 255, 0], [255, 0, 0])):
        write_square(tmp_path / f'{i}.png', color)
    return tf.constant(cutouts.load_cutouts([tmp_path]))


def test_folder_errors(tmp_path):
    assert cutouts.load_cutouts([]) == []
    with pytest.raises(ValueError, match='`folders` must hold .png files'):
        cutouts.load_cutouts([tmp_path])
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros([4, 4, 3], np.uint8))
    with pytest.raises(ValueError, match=r'a.png must be an image with alpha.*\(4, 4, 3\)'):
        cutouts.load_cutouts([tmp_path])
    (tmp_path / 'a.png').write_bytes(b'nothing')
    with pytest.raises(ValueError, match='a.png must be .*an unreadable file'):
        cutouts.load_cutouts([tmp_path])


def test_cutout_has_a_ring_of_three_quarters_and_half_the_size():
    image = np.full([100, 120, 3], 40, np.uint8)
    mask = np.zeros([100, 120], bool)
    mask[20:80, 30:110] = True
    image[mask] = [200, 100, 50]
    cutout = cutouts.make_cutout(image, mask)
    assert cutout.shape == (30, 40, 4)
    assert cutout[15, 20, 3] == 255
    assert cutout[0, 0, 3] == cutout[15, 0, 3] == cutout[29, 20, 3] == 191  # 0.75 of 255
    inside = np.flatnonzero(cutout[15, :, 3] == 255)
    assert 36 <= len(inside) <= 37  # 80 px less 7 of the erosion, halved
    np.testing.assert_allclose(cutout[..., :3], np.broadcast_to([200, 100, 50], (30, 40, 3)))
    with pytest.raises(ValueError, match='`mask` must have the size of `image`'):
        cutouts.make_cutout(image, mask[:50])
    with pytest.raises(ValueError, match='not be empty'):
        cutouts.make_cutout(image, np.zeros_like(mask))


@pytest.mark.parametrize('in_graph', [False, True])
def test_paste_blends_where_the_centre_says(in_graph):
    paste = tf.function(cutouts.paste) if in_graph else cutouts.paste
    picture = np.zeros([4, 6, 4], np.uint8)
    picture[...] = [255, 0, 0, 191]
    image = tf.fill([SIDE, SIDE, 3], 0.4)
    result = paste(image, tf.constant(picture), tf.constant(1.0), tf.constant([20.0, 10.0])).numpy()
    blended = 0.4 * (1 - 191 / 255) + np.array([191 / 255, 0, 0])
    np.testing.assert_allclose(result[8:12, 17:23], np.broadcast_to(blended, (4, 6, 3)), atol=1e-5)
    result[8:12, 17:23] = 0.4
    np.testing.assert_allclose(result, 0.4)


def test_paste_scales_and_is_cut_at_the_borders():
    picture = tf.fill([8, 8, 4], tf.constant(255, tf.uint8))
    image = tf.zeros([SIDE, SIDE, 3])
    whole = cutouts.paste(image, picture, 2.0, tf.constant([32.0, 32.0])).numpy()[..., 0]
    assert whole.sum() == pytest.approx(256, abs=1e-3)
    for center in ([0.0, 0.0], [64.0, 64.0], [0.0, 64.0]):
        corner = cutouts.paste(image, picture, 2.0, tf.constant(center)).numpy()[..., 0]
        assert corner.sum() == pytest.approx(64, abs=1e-3)
    speck = cutouts.paste(image, picture, 0.01, tf.constant([5.5, 7.5])).numpy()[..., 0]
    assert speck.sum() == pytest.approx(1, abs=1e-3) and speck[7, 5] == pytest.approx(1, abs=1e-3)


def test_objects_have_published_sizes_places_and_number(bank):
    single = cutouts.PasteCutouts(bank, SIDE, max_objects=1)
    example = {'image': tf.zeros([SIDE, SIDE, 3])}
    sizes, centers, colors = [], [], set()
    for covered in over_seeds(lambda seed: single(example, seed)['image'], 150):
        rows, columns = [covered.max(axis=2).any(axis=axis).nonzero()[0] for axis in (1, 0)]
        sizes.append(max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1)
        centers.append([columns.mean(), rows.mean()])
        colors.add(int(covered.sum(axis=(0, 1)).argmax()))
    # Scales are in [0.2, 1] * 64 / 256 of 10 px: 0.5 to 2.5 px.
    assert min(sizes) == 1 and max(sizes) <= 3
    assert colors == {0, 1, 2}  # the last one too
    assert np.min(centers) < 4 and np.max(centers) > SIDE - 5
    assert np.abs(np.mean(centers, axis=0) - SIDE / 2).max() < 6


def test_between_one_and_six_objects_are_drawn(tmp_path):
    write_square(tmp_path / 'a.png', [255, 255, 255], side=2)
    step = cutouts.PasteCutouts(tf.constant(cutouts.load_cutouts([tmp_path])), 256)
    example = {'image': tf.zeros([256, 256, 3])}
    images = over_seeds(lambda seed: step(example, seed)['image'][..., 0], 50)
    counts = {
        cv2.connectedComponents((image > 0).astype(np.uint8))[0] - 1 for image in images}
    assert counts == {1, 2, 3, 4, 5, 6}
