"""Frozen settings that travel with a model."""

import dataclasses

from metro_tf import checks


@dataclasses.dataclass(frozen=True)
class HeatmapConfig:
    """The output volume: a square image crop seen as a metric box. Stored in every export.

    Args:
        crop_side_px: Side of the square input crop.
        stride_px: Distance of neighbouring heatmap cells; divides `crop_side_px`. The border of
            the field of view is measured in it.
        n_depth_cells: Number of heatmap planes along the viewing direction.
        box_size_mm: Side of the metric cube that the volume stands for (2200 in MeTRo).
        centered: Whether cell i lies at pixel `stride * i + stride / 2`; else at `stride * i`.
        test_stride_px: Distance of the cells when the model is not in training, if it differs
            (32 and 4 in the published ResNets); divides `crop_side_px`.
    """
    crop_side_px: int = 256
    stride_px: int = 32
    n_depth_cells: int = 8
    box_size_mm: float = 2200.0
    centered: bool = True
    test_stride_px: int = None

    def __post_init__(self):
        checks.positive(self.crop_side_px, 'crop_side_px')
        checks.positive(self.box_size_mm, 'box_size_mm')
        for name in ('stride_px', 'test_stride_px'):
            stride = getattr(self, name)
            if stride is not None and self.crop_side_px % checks.positive(stride, name):
                raise ValueError(
                    f'`{name}` must divide `crop_side_px`. Received: '
                    f'{name}={stride}, crop_side_px={self.crop_side_px}')
        if self.n_depth_cells < 2:
            raise ValueError(
                '`n_depth_cells` must be at least 2. '
                f'Received: n_depth_cells={self.n_depth_cells}')

    def stride_used(self, training):
        """The distance of the cells, px, in training or else."""
        return self.stride_px if training else self.test_stride_px or self.stride_px

    @property
    def meters_per_px(self):
        """Metric side of the volume over the side of the crop: scales losses in px to metres."""
        return self.box_size_mm / self.crop_side_px / 1000.0
