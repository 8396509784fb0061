import numpy as np
import pytest

from metro_tf.layers import heatmap_coords
from tests import helpers


@pytest.mark.parametrize('side, stride, first, last', [
    (256, 32, 16, 240), (256, 4, 2, 254), (384, 32, 16, 368), (160, 8, 4, 156), (64, 64, 32, 32)])
def test_outer_cells_in_pixels(side, stride, first, last):
    pixels = heatmap_coords.heatmap_to_image([[0., 0.], [1., 1.]], side, stride)
    np.testing.assert_allclose(pixels, [[first, first], [last, last]], atol=1e-3)


@pytest.mark.parametrize('side, stride, last', [(256, 32, 224), (256, 4, 252), (384, 32, 352)])
def test_outer_cells_without_centring(side, stride, last):
    corners = [[0., 0., 0.], [1., 1., 1.]]
    pixels = heatmap_coords.heatmap_to_image(corners, side, stride, centered=False)
    np.testing.assert_allclose(pixels, [[0, 0], [last, last]], atol=1e-3)
    metric = heatmap_coords.heatmap_to_metric(corners, side, stride, 2200, centered=False)
    far = last * 2200 / side
    np.testing.assert_allclose(metric, [[0, 0, 0], [far, far, 2200]], atol=1e-3)
    coords25d = heatmap_coords.heatmap_to_25d(corners, side, stride, 2200, centered=False)
    np.testing.assert_allclose(coords25d, [[0, 0, 0], [last, last, 2200]], atol=1e-3)


def test_all_cells_of_stride_4():
    fractions = np.linspace(0, 1, 64, dtype=np.float32)[:, np.newaxis].repeat(2, 1)
    pixels = heatmap_coords.heatmap_to_image(fractions, 256, 4)
    np.testing.assert_allclose(pixels[:, 0], np.arange(2, 255, 4), atol=1e-3)


def test_middle_of_the_heatmap_is_the_middle_of_the_crop():
    coords = [0.5, 0.5, 0.5]
    np.testing.assert_allclose(heatmap_coords.heatmap_to_image(coords, 256, 32), [128, 128])
    np.testing.assert_allclose(
        heatmap_coords.heatmap_to_metric(coords, 256, 32, 2200), [1100, 1100, 1100], rtol=1e-6)


def test_outer_cells_in_millimetres():
    metric = heatmap_coords.heatmap_to_metric([[0., 0., 0.], [1., 1., 1.]], 256, 32, 2200)
    np.testing.assert_allclose(metric, [[137.5, 137.5, 0], [2062.5, 2062.5, 2200]], atol=1e-3)


def test_axes_are_not_swapped():
    coords = [0.0, 1.0, 0.25]
    np.testing.assert_allclose(heatmap_coords.heatmap_to_image(coords, 256, 32), [16, 240])
    np.testing.assert_allclose(
        heatmap_coords.heatmap_to_metric(coords, 256, 32, 2200), [137.5, 2062.5, 550], atol=1e-3)


def test_25d_is_in_pixels_and_millimetres():
    coords = [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.25, 0.75]]
    np.testing.assert_allclose(
        heatmap_coords.heatmap_to_25d(coords, 256, 32, 2200),
        [[16, 16, 0], [240, 240, 2200], [128, 72, 1650]], atol=1e-3)


@pytest.mark.parametrize('side, stride', [(256, 32), (160, 8), (100, 16)])
@pytest.mark.parametrize('in_graph', [False, True])
@pytest.mark.parametrize('centered', [False, True])
def test_inverses(side, stride, in_graph, centered):
    coords = np.random.default_rng(0).uniform(-0.5, 1.5, (2, 5, 3)).astype(np.float32)

    def back_and_forth(coords):
        pixels = heatmap_coords.heatmap_to_image(coords, side, stride, centered=centered)
        metric = heatmap_coords.heatmap_to_metric(coords, side, stride, 2000, centered=centered)
        return (
            heatmap_coords.image_to_heatmap(pixels, side, stride, centered=centered),
            heatmap_coords.metric_to_heatmap(metric, side, stride, 2000, centered=centered))

    coords2d, coords3d = (
        helpers.run_in_graph(back_and_forth, coords) if in_graph else back_and_forth(coords))
    np.testing.assert_allclose(coords2d, coords[..., :2], atol=1e-5)
    np.testing.assert_allclose(coords3d, coords, atol=1e-5)


def test_layers():
    coords = np.random.default_rng(0).random((2, 5, 3)).astype(np.float32)
    settings = {'crop_side_px': 160, 'stride_px': 8}
    helpers.check_layer(heatmap_coords.HeatmapToImage, settings, coords)
    helpers.check_layer(
        heatmap_coords.HeatmapToMetric, {**settings, 'box_size_mm': 2000.0}, coords)
    helpers.check_layer(
        heatmap_coords.HeatmapTo25D, {**settings, 'box_size_mm': 2000.0}, coords)
    np.testing.assert_allclose(
        heatmap_coords.HeatmapTo25D(**settings, box_size_mm=2000.0)(coords),
        heatmap_coords.heatmap_to_25d(coords, 160, 8, 2000.0))
    np.testing.assert_allclose(
        heatmap_coords.HeatmapToImage(**settings)(coords),
        heatmap_coords.heatmap_to_image(coords, 160, 8))
    np.testing.assert_allclose(
        heatmap_coords.HeatmapToMetric(**settings, box_size_mm=2000.0)(coords),
        heatmap_coords.heatmap_to_metric(coords, 160, 8, 2000.0))


@pytest.mark.parametrize('layer_cls', [
    heatmap_coords.HeatmapToImage, heatmap_coords.HeatmapToMetric, heatmap_coords.HeatmapTo25D])
def test_layers_follow_stride_and_centring(layer_cls):
    settings = {'crop_side_px': 256, 'stride_px': 32, 'centered': False, 'test_stride_px': 4}
    corners = np.float32([[0, 0, 0], [1, 1, 1]])
    helpers.check_layer(layer_cls, settings, corners)
    px_per_unit = 256 / 2200 if layer_cls is heatmap_coords.HeatmapToMetric else 1
    for training, last in ((True, 224), (False, 252)):
        coords = layer_cls(**settings)(corners, training=training).numpy() * px_per_unit
        np.testing.assert_allclose(coords[:, :2], [[0, 0], [last, last]], atol=1e-3)


def test_layers_stay_in_float32(dtype_policy):
    dtype_policy('mixed_float16')
    pixels = heatmap_coords.HeatmapToImage(4096, 1)(np.float32([[0.50001, 0.5]]))
    np.testing.assert_allclose(pixels, [[2047.541, 2047.5]], atol=1e-2)
    metric = heatmap_coords.HeatmapToMetric(256, 32)(np.float32([[0.5, 0.5, 0.50001]]))
    np.testing.assert_allclose(metric[0, 2], 1100.022, atol=1e-3)
    coords25d = heatmap_coords.HeatmapTo25D(4096, 1)(np.float32([[0.50001, 0.5, 0.50001]]))
    np.testing.assert_allclose(coords25d, [[2047.541, 2047.5, 1100.022]], atol=1e-2)


def test_refusals():
    with pytest.raises(ValueError, match=r'`coords` must have a shape that ends in \(3\)'):
        heatmap_coords.heatmap_to_metric([[0.5, 0.5]], 256, 32, 2200)
    with pytest.raises(ValueError, match=r'`coords` must have a shape that ends in \(3\)'):
        heatmap_coords.heatmap_to_25d([[0.5, 0.5]], 256, 32, 2200)
    with pytest.raises(ValueError, match=r'`coords2d` must have a shape that ends in \(2\)'):
        heatmap_coords.image_to_heatmap([[0.5, 0.5, 1.]], 256, 32)
    with pytest.raises(ValueError, match='`crop_side_px - stride_px` must be a positive'):
        heatmap_coords.image_to_heatmap([[0.5, 0.5]], 32, 32)
    with pytest.raises(ValueError, match='`stride_px` must be a positive'):
        heatmap_coords.HeatmapToImage(256, 0)
    with pytest.raises(ValueError, match='`box_size_mm` must be a positive'):
        heatmap_coords.HeatmapToMetric(256, 32, box_size_mm=-1)
    with pytest.raises(ValueError, match='`box_size_mm` must be a positive'):
        heatmap_coords.HeatmapTo25D(256, 32, box_size_mm=-1)


def test_size_of_a_metric_cell_is_the_step_between_cells():
    # 256 px, stride 32: cells 275 mm apart, and 8 planes over 2200 mm.
    assert heatmap_coords.metric_cell_size(256, 32, 8, 2200.0) == (275, 275, 2200 / 7)
    last = heatmap_coords.heatmap_to_metric([1.0, 1.0, 1.0], 256, 32, 2200.0).numpy()
    first = heatmap_coords.heatmap_to_metric([0.0, 0.0, 0.0], 256, 32, 2200.0).numpy()
    np.testing.assert_allclose((last - first) / 7, [275, 275, 2200 / 7], rtol=1e-6)
    assert heatmap_coords.metric_cell_size(64, 8, 1, 1000.0) == (125, 125, 1000)
