"""The pixel that the layers assign to a cell is what that cell sees, for all backbones."""

import numpy as np
import pytest

from metro_tf.backbones import builder, top_down
from metro_tf.layers import heatmap_coords
from tests.backbones import probes

# Longer than the largest receptive field (EfficientNetV2-S, 1487 px), and narrow to be cheap.
LONG, NARROW = 2048, 64
STRIDES = (32, 16, 8, 4)
SLOW = {('efficientnet_v2_s', stride) for stride in (16, 8, 4)}
# Of the two larger ones, whose fields are longer (2219 and 3103 px), only one stride is tried.
CASES = [
    pytest.param(name, stride, marks=[pytest.mark.slow] if (name, stride) in SLOW else [])
    for name in builder.FAMILIES if name not in probes.HEAVY for stride in STRIDES]
# The input sizes need not be square for the networks; the axis under test is the long one.
AXES = [(0, (LONG, NARROW)), (1, (NARROW, LONG))]


# How many pixels further than its own a cell sees, where the first padding is uneven.
FURTHER = {'mobilenet_v3_small_1024': 1, 'mobilenet_v3_large_1280': 1}


def assert_centred(probe, stride, axis, image_shape, i_cell, further=0):
    """The centroid of a cell's field is where `HeatmapToImage` puts the cell."""
    cell, length = [0, 0], image_shape[axis]
    cell[axis] = i_cell
    centroid, extent, n_cells = probes.receptive_centroid(probe, image_shape, cell)
    assert extent[axis][0] > 0 and extent[axis][1] < length - 1, 'The field touches the border.'
    fraction = i_cell / (n_cells[axis] - 1)
    assigned = heatmap_coords.HeatmapToImage(length, stride)(np.float32([fraction, fraction]))
    np.testing.assert_allclose(centroid[axis], assigned[axis] + further, atol=0.01)
    assert n_cells[axis] == length // stride


@pytest.mark.parametrize('name, stride', CASES)
def test_cells_see_the_pixel_that_the_layer_assigns(name, stride):
    probe = probes.restrided_probe(name, stride)
    for axis, image_shape in AXES:
        assert_centred(
            probe, stride, axis, image_shape, i_cell=LONG // stride // 2 - 1,
            further=FURTHER.get(name, 0))


@pytest.mark.slow
@pytest.mark.parametrize('name', probes.HEAVY)
def test_cells_of_large_networks_see_the_pixel_that_the_layer_assigns(name, releases_graphs):
    assert_centred(probes.restrided_probe(name, 32), 32, 0, (2 * LONG, NARROW), i_cell=63)


@pytest.mark.parametrize('name, finest', [
    ('compact_resnet', 8), ('mobilenet_v3_small', 8),
    *[pytest.param(name, finest, marks=pytest.mark.slow) for name, finest in (
        ('mobilenet_v3_small', 4), ('mobilenet_v3_small', 16), ('mobilenet_v3_large', 8),
        ('resnet50', 8), ('resnet50_v2', 8), ('efficientnet_v2_s', 8))]])
def test_top_down_cells_see_the_pixel_that_the_layer_assigns(name, finest):
    probe = probes.linear_probe(top_down.build_top_down(name, finest, n_channels=8))
    middle = LONG // finest // 2
    axis, image_shape = AXES[0]
    for i_cell in (middle - 1, middle):  # on a cell of the next level, and between two of them
        assert_centred(probe, finest, axis, image_shape, i_cell)
    assert_centred(probe, finest, *AXES[1], middle + 2)


def test_blocks_leave_the_cells_where_they_are():
    probe = probes.linear_probe(
        top_down.build_top_down('compact_resnet', 8, n_channels=8, n_blocks=2))
    axis, image_shape = AXES[0]
    for i_cell in (LONG // 16 - 1, LONG // 16):
        assert_centred(probe, 8, axis, image_shape, i_cell)


@pytest.mark.parametrize('name, stride', CASES)
def test_shifting_the_input_by_a_stride_shifts_the_output_by_a_cell(name, stride):
    assert_shifts(probes.restrided_probe(name, stride), shift_px=stride, shift_cells=1)


def test_shifting_with_random_weights_and_activations():
    probe = probes.random_probe(probes.restrided('mobilenet_v3_small', 8))
    assert_shifts(probe, shift_px=8, shift_cells=1)


def test_top_down_shifts_with_its_coarsest_stride():
    probe = probes.random_probe(top_down.build_top_down('mobilenet_v3_small', 8, n_channels=8))
    assert_shifts(probe, shift_px=32, shift_cells=4)


def assert_shifts(probe, shift_px, shift_cells):
    length = LONG + shift_px
    scene = np.random.default_rng(0).random((1, length, NARROW, 3), np.float32)
    scene *= np.linspace(0, 1, length, dtype=np.float32).reshape(1, -1, 1, 1)
    here = probe(scene[:, :LONG]).numpy()
    there = probe(scene[:, shift_px:]).numpy()  # what was at row y + shift is now at y
    middle = here.shape[1] // 2
    inside = slice(middle, middle + 4 * shift_cells)
    moved = slice(middle - shift_cells, middle + 3 * shift_cells)
    scale = np.abs(here).max()
    np.testing.assert_allclose(there[:, moved] / scale, here[:, inside] / scale, atol=1e-5)
    # That the cells differ at all, so that a missing shift would have been seen.
    assert np.abs(here[:, inside] - there[:, inside]).max() > 1e-4 * scale


@pytest.mark.parametrize('name, stride', [
    ('compact_resnet', 8), ('mobilenet_v3_small', 16), ('mobilenet_v3_small', 4), ('resnet50', 8),
    ('resnet50_v2', 8),
    pytest.param('mobilenet_v3_large', 8, marks=pytest.mark.slow),
    pytest.param('efficientnet_v2_s', 8, marks=pytest.mark.slow)])
def test_the_same_weights_give_the_coarse_output_subsampled(name, stride):
    coarse = probes.random_probe(probes.restrided(name, 32))
    fine = probes.random_probe(probes.restrided(name, stride))
    fine.set_weights(coarse.get_weights())
    side = LONG if name.startswith('efficientnet') else LONG // 2
    scene = noise_on_neutral_ground(name, side)
    offset = 16 - stride // 2  # puts fine cell 32 / stride * i on coarse cell i
    expected = coarse(scene[:, :side, :side]).numpy()
    actual = fine(scene[:, offset:offset + side, offset:offset + side]).numpy()
    scale = np.abs(expected).max()
    assert np.std(expected) > 0.01 * scale > 0
    subsampled = actual[:, ::32 // stride, ::32 // stride]
    np.testing.assert_allclose(subsampled / scale, expected / scale, atol=1e-5)


def noise_on_neutral_ground(name, side):
    """A noisy patch amid what the input scaling makes zero, as is the padding of all layers."""
    scaling = builder.FAMILIES[name].scaling
    neutral = np.array(scaling['means']) / scaling['scale']
    neutral = neutral[::-1] if scaling.get('is_bgr') else neutral
    scene = np.tile(neutral.astype(np.float32), (1, side + 16, side + 16, 1))
    middle = slice(side // 2 - 32, side // 2 + 32)
    scene[:, middle, middle] = np.random.default_rng(0).random((64, 64, 3), np.float32)
    return scene
