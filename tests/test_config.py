import dataclasses

import pytest

from metro_tf import config


def test_defaults_are_those_of_the_published_model():
    assert dataclasses.asdict(config.HeatmapConfig()) == {
        'crop_side_px': 256, 'stride_px': 32, 'n_depth_cells': 8, 'box_size_mm': 2200.0,
        'centered': True, 'test_stride_px': None}


def test_round_trip_through_a_dict():
    heatmap = config.HeatmapConfig(crop_side_px=160, stride_px=8, n_depth_cells=16)
    assert config.HeatmapConfig(**dataclasses.asdict(heatmap)) == heatmap


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.HeatmapConfig().stride_px = 16


def test_unknown_key_is_an_error():
    with pytest.raises(TypeError, match='stride'):
        config.HeatmapConfig(stride=32)


@pytest.mark.parametrize('name', ['crop_side_px', 'stride_px', 'box_size_mm'])
@pytest.mark.parametrize('value', [0, -32, float('nan'), float('inf')])
def test_sizes_must_be_positive(name, value):
    with pytest.raises(ValueError, match=f'`{name}` must be a positive .*{name}={value}'):
        config.HeatmapConfig(**{name: value})


def test_stride_must_divide_the_side():
    with pytest.raises(
            ValueError,
            match='`stride_px` must divide .* Received: stride_px=32, crop_side_px=144'):
        config.HeatmapConfig(crop_side_px=144)
    with pytest.raises(ValueError, match='`test_stride_px` must divide .* test_stride_px=24, crop'):
        config.HeatmapConfig(test_stride_px=24)
    with pytest.raises(ValueError, match='`test_stride_px` must be a positive .*test_stride_px=0'):
        config.HeatmapConfig(test_stride_px=0)


def test_stride_used():
    one, two = config.HeatmapConfig(), config.HeatmapConfig(test_stride_px=4)
    assert [heatmap.stride_used(training) for heatmap in (one, two)
            for training in (True, False)] == [32, 32, 32, 4]


@pytest.mark.parametrize('n_depth_cells', [1, 0, -8])
def test_depth_needs_two_cells(n_depth_cells):
    with pytest.raises(
            ValueError, match=f'at least 2. Received: n_depth_cells={n_depth_cells}'):
        config.HeatmapConfig(n_depth_cells=n_depth_cells)
    assert config.HeatmapConfig(n_depth_cells=2).n_depth_cells == 2
