"""Crop sampling against a slow reference, hand-computed pixels, edges and errors."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from metro_tf.cropping import view, warp
from metro_tf.geometry import distortion
from tests.cropping import reference

NO_LENS = (0.0,) * 5
LENS = (-0.2, 0.05, 0.002, -0.003, 0.01, 0.1, 0.02, 0.01, 0.003, -0.002, 0.001, 0.002)
SIDE = 16
INTRINSICS = np.float32([[90, 0.5, 40], [0, 95, 33], [0, 0, 1]])


def smooth_image(height, width, seed=0):
    """Random waves, without pure black, where encoding would amplify rounding errors."""
    rng = np.random.default_rng(seed)
    x, y = np.arange(width)[:, np.newaxis], np.arange(height)[:, np.newaxis, np.newaxis]
    waves = np.sin(x * rng.uniform(0.1, 0.3, 3) + y * rng.uniform(0.1, 0.3, 3))
    return np.uint8(147 + waves * 107)


def make_arguments(boxes, image_index, coeffs, zoom=1.0, flip=False, intrinsics=INTRINSICS):
    """Arguments of `sample_crops` after the images, by name, as NumPy arrays."""
    n = len(boxes)
    intrinsics = np.tile(intrinsics, (n, 1, 1))
    coeffs = np.tile(np.float32(coeffs), (n, 1))
    rotations, scales = view.virtual_cameras(
        np.float32(boxes).reshape(-1, 4), intrinsics, coeffs, np.float32([0.1, -1, 0.05]), SIDE)
    roll = np.float32([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1]])
    rotations = np.diag(np.float32([-1 if flip else 1, 1, 1])) @ roll @ rotations.numpy()
    scales = scales.numpy() * np.float32(zoom)
    return {
        'image_index': np.int32(image_index), 'intrinsics': intrinsics,
        'distortion_coeffs': coeffs,
        'crop_intrinsics': view.crop_intrinsics(intrinsics, scales, SIDE).numpy(),
        'rotations': rotations, 'scales': scales,
        'gamma': np.linspace(0.6, 1.0, n, dtype=np.float32)}


def expected_crops(images, arguments, antialias_factor):
    """The reference's crops for the same arguments."""
    columns = (arguments[name] for name in (
        'image_index', 'intrinsics', 'distortion_coeffs', 'crop_intrinsics', 'rotations',
        'scales', 'gamma'))
    return np.stack([
        reference.sample_crop(images[i], *rest, SIDE, antialias_factor)
        for i, *rest in zip(*columns)])


@functools.lru_cache(maxsize=None)
def graph_function():
    """`sample_crops` traced once without any known size, other arguments sorted by name."""
    arguments = make_arguments([[10, 10, 20, 18]], [0], NO_LENS)
    names = sorted(arguments)

    def function(images, antialias_factor, *values):
        return warp.sample_crops(
            images, **dict(zip(names, values)), crop_side_px=SIDE,
            antialias_factor=antialias_factor)

    spec = [tf.TensorSpec([None] * 4, tf.uint8), tf.TensorSpec([], tf.int32)] + [
        tf.TensorSpec([None] * arguments[name].ndim, arguments[name].dtype) for name in names]
    return tf.function(function, input_signature=spec)


def sample(images, arguments, antialias_factor=1, in_graph=False):
    """Calls `sample_crops` eagerly, or in a graph that knows no size."""
    if in_graph:
        values = [arguments[name] for name in sorted(arguments)]
        return graph_function()(images, antialias_factor, *values).numpy()
    return warp.sample_crops(
        images, **arguments, crop_side_px=SIDE, antialias_factor=antialias_factor).numpy()


def assert_same_picture(actual, expected, gamma):
    """Equal in linear light everywhere, and in display values but for the black border's edge."""
    exponent = (2.2 / gamma)[:, np.newaxis, np.newaxis, np.newaxis]
    np.testing.assert_allclose(actual ** exponent, expected ** exponent, atol=1e-4)
    is_lit = expected > 0.1
    assert is_lit.mean() > 0.3
    np.testing.assert_allclose(actual[is_lit], expected[is_lit], atol=1e-4)


@pytest.mark.parametrize('in_graph', [False, True])
@pytest.mark.parametrize('antialias_factor', [1, 2, 3])
@pytest.mark.parametrize('coeffs', [NO_LENS, LENS])
def test_mixed_levels_and_images_agree_with_reference(coeffs, antialias_factor, in_graph):
    images = np.stack([smooth_image(67, 83, seed) for seed in range(3)])
    boxes = [[30, 20, 9, 12], [10, 10, 30, 40], [-5, 5, 70, 60], [50, 40, 30, 24], [5, 3, 12, 14]]
    arguments = make_arguments(boxes, [2, 0, 2, 0, 2], coeffs)
    levels = np.clip(np.floor(-np.log2(arguments['scales'])), 0, 2)
    assert set(levels) == {0, 1, 2}
    actual = sample(images, arguments, antialias_factor, in_graph)
    expected = expected_crops(images, arguments, antialias_factor)
    assert_same_picture(actual, expected, arguments['gamma'])


@pytest.mark.parametrize('zoom', [3.0, 0.7, 0.3])
@pytest.mark.parametrize('flip', [False, True])
def test_each_level_alone_agrees_with_reference(zoom, flip):
    images = smooth_image(65, 86)[np.newaxis]
    arguments = make_arguments([[35, 25, 14, 16], [20, 30, 15, 10]], [0, 0], LENS, zoom, flip)
    actual = sample(images, arguments)
    assert_same_picture(actual, expected_crops(images, arguments, 1), arguments['gamma'])


def test_few_pixels_of_a_large_image():
    # Far apart in a large image: here only the picked pixels are decoded.
    images = smooth_image(400, 500)[np.newaxis]
    intrinsics = np.float32([[500, 0, 250], [0, 510, 200], [0, 0, 1]])
    boxes = [[3, 5, 14, 15], [470, 370, 15, 12]]
    arguments = make_arguments(boxes, [0, 0], LENS, intrinsics=intrinsics)
    actual = sample(images, arguments, in_graph=True)
    assert_same_picture(actual, expected_crops(images, arguments, 1), arguments['gamma'])


def straight_view(focal=1.0, center=0.0, image_center=0.0, scale=1.0):
    """Arguments of one unrotated crop: crop px = scale * (image px - image_center) + center."""
    return {
        'image_index': np.int32([0]), 'distortion_coeffs': np.zeros((1, 5), np.float32),
        'intrinsics': np.float32(
            [[[focal, 0, image_center], [0, focal, image_center], [0, 0, 1]]]),
        'crop_intrinsics': np.float32(
            [[[focal * scale, 0, center], [0, focal * scale, center], [0, 0, 1]]]),
        'rotations': np.eye(3, dtype=np.float32)[np.newaxis],
        'scales': np.float32([scale]), 'gamma': np.float32([1.0])}


def test_identity_view_reproduces_the_image_and_blackens_the_outside():
    images = np.random.default_rng(0).integers(0, 256, (1, 10, 12, 3), np.uint8)
    crop = sample(images, straight_view(focal=100.0))[0]
    np.testing.assert_allclose(crop[:10, :12], images[0] / 255, atol=1e-5)
    np.testing.assert_array_less(crop[10:], 1e-6)
    np.testing.assert_array_less(crop[:, 12:], 1e-6)


def test_mean_of_black_and_white_is_taken_in_linear_light():
    images = np.uint8([[[[0] * 3, [255] * 3]]])
    # At 1.5 the crop shows halfway between both, and halfway out of the image on the right.
    arguments = straight_view(focal=100.0)
    arguments['crop_intrinsics'][0, 0, 2] = -0.5
    crop = sample(images, arguments)[0, 0]
    half = 0.5 ** (1 / 2.2)
    assert abs(half - 0.7297) < 1e-4
    np.testing.assert_allclose(crop[:3, 0], [half, half, 0], atol=1e-5)


@pytest.mark.parametrize('n_levels, value', [(1, 0.5), (2, 0.25)])
def test_pyramid_cells_lie_between_pixels(n_levels, value):
    # One white cell of 2x2 px at (4..5, 4..5); cell (2, 2) of level 1, part of (1, 1) of level 2.
    images = np.zeros((1, 16, 16, 3), np.uint8)
    images[0, 4:6, 4:6] = 255
    cell = 2 ** n_levels
    arguments = straight_view(focal=100.0, scale=1 / cell)
    # Corner-aligned: image px = cell * (crop px + 0.5) - 0.5
    arguments['crop_intrinsics'][0, :2, 2] = (0.5 / cell) - 0.5
    light = sample(images, arguments)[0] ** 2.2
    expected = np.zeros((SIDE, SIDE, 3))
    position = 4 // cell
    expected[position, position] = (2 / cell) ** 2
    np.testing.assert_allclose(light, expected, atol=1e-5)
    assert abs(light.max() - {0.5: 1.0, 0.25: 0.25}[value]) < 1e-5


@pytest.mark.parametrize('shape', [(1, 1), (1, 7), (2, 3), (5, 4)])
@pytest.mark.parametrize('scale', [1.0, 0.4, 0.1])
def test_tiny_images(shape, scale):
    images = np.full((1, *shape, 3), 255, np.uint8)
    arguments = straight_view(focal=50.0, center=8.0, scale=scale)
    crop = sample(images, arguments, in_graph=True)[0]
    assert np.isfinite(crop).all()
    assert 0.2 < crop.max() <= 1 + 1e-5


def test_single_pixel_is_a_tent():
    images = np.full((1, 1, 1, 3), 255, np.uint8)
    light = sample(images, straight_view(focal=100.0, center=8.25))[0] ** 2.2
    expected = np.zeros((SIDE, SIDE))
    expected[8:10, 8:10] = np.outer([0.75, 0.25], [0.75, 0.25])
    np.testing.assert_allclose(light, np.tile(expected[..., np.newaxis], 3), atol=1e-5)


@pytest.mark.parametrize('scale', [1.0, 0.4, 0.2])
def test_view_beside_the_image_is_black(scale):
    images = np.full((1, 21, 22, 3), 200, np.uint8)
    for offset in (-500.0, 500.0):
        crop = sample(images, straight_view(100.0, image_center=offset, scale=scale))
        np.testing.assert_array_less(crop, 1e-6)


def test_view_away_from_the_image_is_black_and_finite():
    images = np.full((1, 20, 20, 3), 200, np.uint8)
    arguments = straight_view(focal=10.0, center=8.0, image_center=10.0)
    arguments['rotations'] = np.diag(np.float32([1, -1, -1]))[np.newaxis]  # looks backwards
    arguments['distortion_coeffs'] = np.float32([LENS])
    crop = sample(images, arguments)[0]
    # But for the pixel exactly opposite to the optical axis.
    np.testing.assert_array_less(np.delete(crop.reshape(-1, 3), 8 * SIDE + 8, axis=0), 1e-6)


@pytest.mark.parametrize('n_images', [0, 2])
def test_zero_crops(n_images):
    images = np.zeros((n_images, 20, 30, 3), np.uint8)
    arguments = make_arguments(np.zeros([0, 4]), np.zeros(0), NO_LENS)
    assert sample(images, arguments, in_graph=True).shape == (0, SIDE, SIDE, 3)
    assert sample(images, arguments, 2).shape == (0, SIDE, SIDE, 3)


def test_lens_on_planes_is_that_of_geometry():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-2, 2, (2, 2, 6, 7)).astype(np.float32)  # beyond the valid radius, too
    lens = np.float32([LENS, np.pad([-0.3, 0.05], (0, 10))])
    actual = tf.stack(warp._distort(x, y, lens, distortion.valid_radius(lens)), axis=-1)
    points = np.stack([x, y], axis=-1).reshape(2, -1, 2)
    expected = distortion.distort_points(points, lens)
    np.testing.assert_allclose(tf.reshape(actual, [2, -1, 2]), expected, atol=1e-5)


def test_crops_do_not_depend_on_the_others():
    images = np.stack([smooth_image(67, 83, seed) for seed in range(2)])
    boxes = [[30, 20, 9, 12], [-5, 5, 70, 60], [50, 40, 30, 24]]
    together = sample(images, make_arguments(boxes, [0, 1, 1], LENS))
    for i, i_image in enumerate([0, 1, 1]):
        arguments = make_arguments(boxes[i:i + 1], [i_image], LENS)
        arguments['gamma'] = np.linspace(0.6, 1.0, 3, dtype=np.float32)[i:i + 1]
        np.testing.assert_allclose(sample(images, arguments)[0], together[i], atol=2e-5)


@pytest.mark.parametrize('antialias_factor', [1, 2])
def test_more_crops_than_are_sampled_together(antialias_factor):
    n_together = warp._N_SAMPLED_TOGETHER // SIDE ** 2
    images = np.stack([smooth_image(67, 83, seed) for seed in range(2)])
    rng = np.random.default_rng(0)
    boxes = np.concatenate([
        rng.uniform(0, 50, (2 * n_together + 5, 2)), rng.uniform(8, 40, (2 * n_together + 5, 2))],
        axis=1)
    arguments = make_arguments(boxes, rng.integers(0, 2, len(boxes)), LENS)
    together = sample(images, arguments, antialias_factor, in_graph=True)
    for some in np.split(np.arange(len(boxes)), [100, n_together + 50, 2 * n_together - 7]):
        part = {name: values[some] for name, values in arguments.items()}
        np.testing.assert_allclose(
            sample(images, part, antialias_factor, in_graph=True), together[some], atol=2e-5)


def test_graph_is_small():
    library = graph_function().get_concrete_function().graph.as_graph_def().library
    loops = [
        node for function in library.function for node in function.node_def
        if node.op in ('While', 'StatelessWhile')]
    # Decoding of several images, parts of the crops, samples.
    assert len(loops) == 3


@pytest.mark.parametrize('change, message', [
    ({'images': np.zeros((1, 4, 4, 3), np.float32)}, '`images` must be uint8'),
    ({'images': np.zeros((4, 4, 3), np.uint8)}, '`images` must be uint8 with shape'),
    ({'images': np.zeros((1, 4, 4, 1), np.uint8)}, '`images` must be uint8 with shape'),
    ({'antialias_factor': 0}, '`antialias_factor` must be a positive'),
    ({'crop_side_px': -1}, '`crop_side_px` must be a positive'),
    ({'intrinsics': np.eye(3)}, '`intrinsics` must have a shape'),
    ({'distortion_coeffs': np.zeros((1, 13))}, '`distortion_coeffs` must have at most 12'),
    ({'gamma': 1.0}, '`gamma` must have a shape')])
def test_errors(change, message):
    arguments = {
        'images': np.zeros((1, 4, 4, 3), np.uint8), 'crop_side_px': SIDE, **straight_view()}
    with pytest.raises(ValueError, match=message):
        warp.sample_crops(**{**arguments, **change})
