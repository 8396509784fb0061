import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import voxels
from metro_tf.layers import volumetric_heatmaps
from tests import helpers

# The values of the released code on one side of the peak, from the edge of the window of 13.
PUBLISHED_PROFILE = (0.1819, 0.3062, 0.4689, 0.6531, 0.8275, 0.9538, 1.0)
NEAR_MM, FAR_MM = voxels.DEPTH_RANGE_MM
DEPTH_STEP_MM = 31.0319650752


def coords_of_voxel(x, y, z, crop_side_px=256, n_cells=64):
    """Coordinates of the centre of a voxel of the finest depth."""
    stride = crop_side_px / n_cells
    return [(x + 0.5) * stride, (y + 0.5) * stride, NEAR_MM + (z + 0.5) * DEPTH_STEP_MM]


def random_coords(rng, *shape):
    return rng.uniform([0, 0, NEAR_MM], [256, 256, FAR_MM], (*shape, 3)).astype(np.float32)


def draw(coords, n_depth_cells, mask=None, n_cells=64):
    """Volumes `[batch, y, x, joints, depth]` in a crop of 256 px."""
    layer = volumetric_heatmaps.VolumetricTargets(256, n_cells, n_depth_cells)
    volumes = layer(np.float32(coords), mask)
    return voxels.split_joints(volumes, n_depth_cells).numpy()


def test_blob_has_the_published_values():
    volume = draw([[coords_of_voxel(20, 40, 30)]], 64)[0, :, :, 0]
    mirrored = [*PUBLISHED_PROFILE, *PUBLISHED_PROFILE[-2::-1]]
    np.testing.assert_allclose(volume[40, 14:27, 30], mirrored, atol=5e-5)
    np.testing.assert_allclose(volume[34:47, 20, 30], mirrored, atol=5e-5)
    np.testing.assert_allclose(volume[40, 20, 24:37], mirrored, atol=5e-5)
    # A product of three Gaussians, and 0 outside the window.
    np.testing.assert_allclose(volume[34, 14, 24], PUBLISHED_PROFILE[0] ** 3, atol=5e-5)
    assert np.count_nonzero(volume) == 13 ** 3
    assert volume.max() == 1


@pytest.mark.parametrize('n_depth_cells', [1, 2, 4])
@pytest.mark.parametrize('plane', [0, 15, 16, 31, 32, 47, 48, 63])
def test_coarse_depths_hold_the_joint_in_one_plane(n_depth_cells, plane):
    volume = draw([[coords_of_voxel(20, 40, plane)]], n_depth_cells)[0, :, :, 0]
    # Published, counted from 1: ceil(plane * d / 64).
    expected = int(np.ceil((plane + 1) * n_depth_cells / 64)) - 1
    assert volume[40, 20, expected] == 1
    assert not np.any(np.delete(volume, expected, axis=-1))


@pytest.mark.parametrize('n_depth_cells, window', [(8, 3), (16, 5), (32, 7)])
def test_window_in_depth(n_depth_cells, window):
    line = draw([[coords_of_voxel(20, 40, 32)]], n_depth_cells)[0, 40, 20, 0]
    assert np.count_nonzero(line) == window
    assert line.argmax() == n_depth_cells // 2
    neighbour = np.exp(-1 / (2 * (window / 4) ** 2))
    np.testing.assert_allclose(line[n_depth_cells // 2 - 1], neighbour, rtol=1e-6)


@pytest.mark.parametrize('voxel', [(0, 0, 0), (5, 6, 3), (63, 63, 63), (3, 60, 10)])
def test_blobs_at_borders_are_cut_off_and_not_moved(voxel):
    x, y, z = voxel
    volume = draw([[coords_of_voxel(*voxel)]], 64)[0, :, :, 0]
    assert np.unravel_index(volume.argmax(), volume.shape) == (y, x, z)
    inner = draw([[coords_of_voxel(32, 32, 32)]], 64)[0, :, :, 0]
    padded = np.pad(inner, 64)
    start = [64 + 32 - cell for cell in (y, x, z)]
    expected = padded[tuple(slice(first, first + 64) for first in start)]
    np.testing.assert_array_equal(volume, expected)


def test_joints_beyond_the_crop_leave_the_part_of_their_blob_inside():
    coords = [[[-1.0, 100, 0], [-500, 100, 0]]]
    volume = draw(coords, 1)[0, ..., 0]
    np.testing.assert_allclose(volume[25, 0, 0], PUBLISHED_PROFILE[5], atol=5e-5)
    assert not np.any(volume[..., 1])


def test_masked_joints_are_empty_whatever_they_hold():
    coords = np.float32([[coords_of_voxel(20, 40, 30), [np.nan, np.inf, np.nan]]])
    volumes = draw(coords, 64, np.array([[True, False]]))
    assert np.isfinite(volumes).all()
    assert not np.any(volumes[:, :, :, 1])
    np.testing.assert_array_equal(volumes[:, :, :, :1], draw(coords[:, :1], 64))


def test_channels_are_joint_major():
    layer = volumetric_heatmaps.VolumetricTargets(256, 64, 4)
    volumes = layer(np.float32([[coords_of_voxel(3, 4, 63), coords_of_voxel(3, 4, 17)]]))
    assert volumes.shape == (1, 64, 64, 8)
    np.testing.assert_array_equal(np.flatnonzero(volumes[0, 4, 3]), [3, 4 + 1])


@pytest.mark.parametrize('n_depth_cells', [1, 2, 32, 64])
def test_profiles_multiply_to_the_volume(n_depth_cells):
    coords = random_coords(np.random.default_rng(0), 2, 5)
    layer = volumetric_heatmaps.VolumetricTargets(256, 64, n_depth_cells)
    x, y, z = layer.profiles(coords)
    volumes = np.einsum('bjx,bjy,bjz->byxjz', x, y, z)
    np.testing.assert_allclose(draw(coords, n_depth_cells), volumes, atol=1e-6)


def test_targets_as_a_layer():
    coords = random_coords(np.random.default_rng(0), 2, 5)
    mask = np.array([[True, True, False, True, True]] * 2)
    helpers.check_layer(
        volumetric_heatmaps.VolumetricTargets,
        {'crop_side_px': 256, 'n_cells': 16, 'n_depth_cells': 8, 'depth_range_mm': (-900, 950.5)},
        [coords, mask])


@pytest.mark.parametrize('method', volumetric_heatmaps.METHODS)
def test_decoding_as_a_layer(method):
    volumes = np.random.default_rng(0).normal(size=(2, 6, 6, 3 * 8)).astype(np.float32)
    helpers.check_layer(
        volumetric_heatmaps.VolumeDecoding,
        {'crop_side_px': 24, 'n_depth_cells': 8, 'depth_range_mm': (-900, 950.5),
         'method': method, 'sharpness': 3.0}, volumes)


@pytest.mark.parametrize('method', volumetric_heatmaps.METHODS)
@pytest.mark.parametrize('n_depth_cells', [1, 4, 64])
def test_decoding_finds_what_was_drawn(method, n_depth_cells):
    cells = np.random.default_rng(1).integers(8, 56, (2, 5, 3))
    coords = np.float32([[coords_of_voxel(*voxel) for voxel in pose] for pose in cells])
    volumes = volumetric_heatmaps.VolumetricTargets(256, 64, n_depth_cells)(coords)
    decoded = volumetric_heatmaps.VolumeDecoding(
        256, n_depth_cells, method=method, sharpness=30)(volumes)
    depth_step = (FAR_MM - NEAR_MM) / n_depth_cells
    coarse_z = NEAR_MM + (cells[..., 2] * n_depth_cells // 64 + 0.5) * depth_step
    np.testing.assert_allclose(decoded[..., :2], coords[..., :2], atol=0.05)
    np.testing.assert_allclose(decoded[..., 2], coarse_z, atol=0.5)


def test_centre_of_a_voxel_by_hand():
    # Published: bin centre -989.66992 + (i - 1) * 31.0319651 mm, i from 1; pixel x * 4 - 2 from 1.
    volumes = np.zeros((1, 64, 64, 64), np.float32)
    volumes[0, 10, 20, 30] = 1
    coords = volumetric_heatmaps.VolumeDecoding(256, 64)(volumes)
    np.testing.assert_allclose(coords, [[[82, 42, -989.66992 + 30 * 31.0319651]]], rtol=1e-6)


def test_negative_scores_are_decoded_too():
    volumes = np.full((1, 8, 8, 4), -5, np.float32)
    volumes[0, 2, 5, 1] = -4
    layer = volumetric_heatmaps.VolumeDecoding(8, 4, (0, 4))
    np.testing.assert_allclose(layer(volumes), [[[5.5, 2.5, 1.5]]])


@pytest.mark.parametrize('offset', [-0.4, 0.0, 0.25])
def test_refinement_finds_the_peak_of_a_parabola(offset):
    y, x, z = np.meshgrid(np.arange(9), np.arange(9), np.arange(8), indexing='ij')
    scores = -(x - 4 - offset) ** 2 - 2 * (y - 3 + offset) ** 2 - (z - 5 - offset / 2) ** 2
    layer = volumetric_heatmaps.VolumeDecoding(9, 8, (0, 8), method='refined')
    np.testing.assert_allclose(
        layer(np.float32(scores)[np.newaxis]),
        [[[4.5 + offset, 3.5 - offset, 5.5 + offset / 2]]], atol=1e-5)


def test_refinement_beats_the_argmax_between_voxels():
    centers = np.random.default_rng(0).uniform(8, 55, (40, 3))
    cells = np.arange(64)
    gaussians = np.exp(-(cells - centers[..., np.newaxis]) ** 2 / (2 * 3.25 ** 2))
    volumes = np.einsum('jy,jx,jz->yxjz', *gaussians.transpose(1, 0, 2)[[1, 0, 2]])
    volumes = np.float32(volumes.reshape(1, 64, 64, -1))
    errors = {}
    for method in ('argmax', 'refined'):
        layer = volumetric_heatmaps.VolumeDecoding(64, 64, (0, 64), method=method)
        errors[method] = np.abs(layer(volumes)[0] - 0.5 - centers).max()
    assert errors['argmax'] > 0.45
    assert errors['refined'] < 0.02


def test_refinement_stays_put_at_borders_and_on_plateaus():
    volumes = np.zeros((1, 4, 4, 4), np.float32)
    volumes[0, 0, 3, :] = 1
    layer = volumetric_heatmaps.VolumeDecoding(4, 4, (0, 4), method='refined')
    np.testing.assert_allclose(layer(volumes), [[[3.5, 0.5, 0.5]]])


def test_soft_argmax_by_hand():
    # Scores 0 and ln(3) / 2 with sharpness 2: probabilities 1/4 and 3/4.
    volumes = np.full((1, 4, 4, 4), -100, np.float32)
    volumes[0, 1, 0, 2], volumes[0, 3, 2, 3] = 0, np.log(3) / 2
    layer = volumetric_heatmaps.VolumeDecoding(
        4, 4, (0, 4), method='soft_argmax', sharpness=2)
    np.testing.assert_allclose(layer(volumes), [[[2, 3, 3.25]]], atol=1e-5)


def test_only_soft_argmax_has_gradients():
    volumes = tf.constant(np.random.default_rng(0).normal(size=(1, 4, 4, 8)).astype(np.float32))
    gradients = {}
    for method in volumetric_heatmaps.METHODS[::2]:
        layer = volumetric_heatmaps.VolumeDecoding(4, 4, method=method)
        with tf.GradientTape() as tape:
            tape.watch(volumes)
            coords = layer(volumes)
        gradients[method] = tape.gradient(coords, volumes)
    assert gradients['argmax'] is None
    assert np.abs(gradients['soft_argmax']).max() > 0


@pytest.mark.parametrize('make, message', [
    (lambda: volumetric_heatmaps.VolumetricTargets(256, 64, 48), 'n_depth_cells.*one of.*48'),
    (lambda: volumetric_heatmaps.VolumetricTargets(256, 0, 64), 'n_cells.*positive'),
    (lambda: volumetric_heatmaps.VolumetricTargets(256, 64, 64, (5, -5)),
     'depth_range_mm.*smaller one first'),
    (lambda: volumetric_heatmaps.VolumeDecoding(256, 64, method='max'), 'method.*one of'),
    (lambda: volumetric_heatmaps.VolumeDecoding(256, 64, sharpness=0), 'sharpness.*positive')])
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
