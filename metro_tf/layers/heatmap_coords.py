"""From fractions of the heatmap grid to pixels and millimetres, and back.

The first cell is centred on pixel `stride_px // 2` of the crop and its neighbours follow at
`stride_px` (integer pixel centres), as the backbones are built. With a crop of 256 px and stride
32, the fractions 0 and 1 are the pixels 16 and 240. Where cells are not centred, the first lies on
pixel 0 and the last on pixel 224.

The metric volume is a box that the crop fills in x and y: 2200 mm by default, so 0 and 1 are
137.5 and 2062.5 mm there, while the depth planes span the whole box, 0 to 2200 mm. The origin of
the metric coordinates is arbitrary (a corner of the box); only differences are meaningful.

2.5D coordinates are the pixels in x and y and the millimetres of the metric volume in z.

Source: MeTRAbs, centred striding.
"""

import keras
import tensorflow as tf

from metro_tf import checks


def heatmap_to_image(coords, crop_side_px, stride_px, *, centered=True):
    """Converts grid fractions to crop pixels.

    Args:
        coords: Float tensor `[..., 2 or more]`, (x, y, ...) in `[0, 1]`. Further coordinates are
            ignored.
        crop_side_px: Side of the square crop.
        stride_px: Distance of neighbouring cells.
        centered: Whether the first cell lies at `stride_px // 2`; else at 0.

    Returns:
        Float tensor `[..., 2]`, (x, y) in px.
    """
    coords = checks.last_axes(coords, (None,), 'coords')
    return coords[..., :2] * _last_cell_px(crop_side_px, stride_px) + _first_cell_px(
        stride_px, centered)


def image_to_heatmap(coords2d, crop_side_px, stride_px, *, centered=True):
    """Converts crop pixels to grid fractions, which fall outside `[0, 1]` beyond the outer cells.

    Args:
        coords2d: Float tensor `[..., 2]`, (x, y) in px.
        crop_side_px: Side of the square crop.
        stride_px: Distance of neighbouring cells.
        centered: Whether the first cell lies at `stride_px // 2`; else at 0.

    Returns:
        Float tensor `[..., 2]`, unitless.

    Raises:
        ValueError: If the heatmap has a single cell, where every pixel has the same fraction.
    """
    coords2d = checks.last_axes(coords2d, (2,), 'coords2d')
    last = checks.positive(_last_cell_px(crop_side_px, stride_px), 'crop_side_px - stride_px')
    return (coords2d - _first_cell_px(stride_px, centered)) / last


def heatmap_to_metric(coords, crop_side_px, stride_px, box_size_mm, *, centered=True):
    """Converts grid fractions to millimetres in the metric box.

    Args:
        coords: Float tensor `[..., 3]`, (x, y, z) in `[0, 1]`.
        crop_side_px: Side of the square crop.
        stride_px: Distance of neighbouring cells.
        box_size_mm: Side of the metric box.
        centered: Whether the first cell lies at `stride_px // 2`; else at 0.

    Returns:
        Float tensor `[..., 3]`, mm, from the left, top, front corner of the box.
    """
    coords = checks.last_axes(coords, (3,), 'coords')
    xy = heatmap_to_image(coords, crop_side_px, stride_px, centered=centered) * (
        box_size_mm / crop_side_px)
    return tf.concat([xy, coords[..., 2:] * box_size_mm], axis=-1)


def metric_cell_size(crop_side_px, stride_px, n_depth_cells, box_size_mm):
    """Distances of neighbouring cells of the metric volume.

    Args:
        crop_side_px: Side of the square crop.
        stride_px: Distance of neighbouring cells.
        n_depth_cells: Number of planes.
        box_size_mm: Side of the metric box.

    Returns:
        Tuple of floats, mm along x, y and z. The depth of a single plane is that of the box.
    """
    size_mm = stride_px * box_size_mm / crop_side_px
    return size_mm, size_mm, box_size_mm / max(n_depth_cells - 1, 1)


def metric_to_heatmap(coords3d, crop_side_px, stride_px, box_size_mm, *, centered=True):
    """Converts millimetres in the metric box to grid fractions.

    Args:
        coords3d: Float tensor `[..., 3]`, mm, from the left, top, front corner of the box.
        crop_side_px: Side of the square crop.
        stride_px: Distance of neighbouring cells.
        box_size_mm: Side of the metric box.
        centered: Whether the first cell lies at `stride_px // 2`; else at 0.

    Returns:
        Float tensor `[..., 3]`, unitless.

    Raises:
        ValueError: If the heatmap has a single cell, where every pixel has the same fraction.
    """
    coords3d = checks.last_axes(coords3d, (3,), 'coords3d')
    pixels = coords3d[..., :2] * (crop_side_px / box_size_mm)
    xy = image_to_heatmap(pixels, crop_side_px, stride_px, centered=centered)
    return tf.concat([xy, coords3d[..., 2:] / box_size_mm], axis=-1)


def heatmap_to_25d(coords, crop_side_px, stride_px, box_size_mm, *, centered=True):
    """Converts grid fractions to crop pixels and depths in the metric box.

    Args:
        coords: Float tensor `[..., 3]`, (x, y, z) in `[0, 1]`.
        crop_side_px: Side of the square crop.
        stride_px: Distance of neighbouring cells.
        box_size_mm: Side of the metric box.
        centered: Whether the first cell lies at `stride_px // 2`; else at 0.

    Returns:
        Float tensor `[..., 3]`: x and y in px, z in mm from the front of the box.
    """
    coords = checks.last_axes(coords, (3,), 'coords')
    xy = heatmap_to_image(coords, crop_side_px, stride_px, centered=centered)
    return tf.concat([xy, coords[..., 2:] * box_size_mm], axis=-1)


def _first_cell_px(stride_px, centered):
    return stride_px // 2 if centered else 0


def _last_cell_px(crop_side_px, stride_px):
    """Distance from the first to the last cell."""
    return (crop_side_px - 1) - (crop_side_px - 1) % stride_px


class _FromHeatmap(keras.layers.Layer):
    """What the layers on grid fractions share: settings, and the stride in use."""

    def __init__(self, crop_side_px, stride_px, *, centered=True, test_stride_px=None, **kwargs):
        kwargs.setdefault('dtype', 'float32')
        super().__init__(**kwargs)
        self.crop_side_px = checks.positive(crop_side_px, 'crop_side_px')
        self.stride_px = checks.positive(stride_px, 'stride_px')
        self.centered = centered
        self.test_stride_px = test_stride_px
        if test_stride_px is not None:
            checks.positive(test_stride_px, 'test_stride_px')

    def _stride_used(self, training):
        # Keras 2 gives a tensor while a functional model is defined.
        is_training = isinstance(training, (bool, int)) and training
        return self.stride_px if is_training else self.test_stride_px or self.stride_px

    def get_config(self):
        return {
            **super().get_config(), 'crop_side_px': self.crop_side_px,
            'stride_px': self.stride_px, 'centered': self.centered,
            'test_stride_px': self.test_stride_px}


@keras.utils.register_keras_serializable(package='metro_tf')
class HeatmapToImage(_FromHeatmap):
    """`heatmap_to_image` as a layer. Float32 under any dtype policy.

    Args:
        crop_side_px: Side of the square crop.
        stride_px: Distance of neighbouring cells.
        centered: Whether the first cell lies at half a stride; else at 0.
        test_stride_px: Distance of neighbouring cells out of training, if it differs.
        **kwargs: Base layer arguments.

    Call arguments:
        coords: Float tensor `[..., 2 or more]`, (x, y, ...) in `[0, 1]`.
        training: Boolean, which stride the cells have.

    Returns:
        Float tensor `[..., 2]`, (x, y) in px.
    """

    def call(self, coords, training=False):
        return heatmap_to_image(
            coords, self.crop_side_px, self._stride_used(training), centered=self.centered)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2)


class _FromVolume(_FromHeatmap):
    """What the layers on positions in the volume share besides."""

    def __init__(
            self, crop_side_px, stride_px, box_size_mm=2200.0, *, centered=True,
            test_stride_px=None, **kwargs):
        super().__init__(
            crop_side_px, stride_px, centered=centered, test_stride_px=test_stride_px, **kwargs)
        self.box_size_mm = checks.positive(box_size_mm, 'box_size_mm')

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), 'box_size_mm': self.box_size_mm}


@keras.utils.register_keras_serializable(package='metro_tf')
class HeatmapToMetric(_FromVolume):
    """`heatmap_to_metric` as a layer. Float32 under any dtype policy.

    Args:
        crop_side_px: Side of the square crop.
        stride_px: Distance of neighbouring cells.
        box_size_mm: Side of the metric box.
        centered: Whether the first cell lies at half a stride; else at 0.
        test_stride_px: Distance of neighbouring cells out of training, if it differs.
        **kwargs: Base layer arguments.

    Call arguments:
        coords: Float tensor `[..., 3]`, (x, y, z) in `[0, 1]`.
        training: Boolean, which stride the cells have.

    Returns:
        Float tensor `[..., 3]`, mm, from the left, top, front corner of the box.
    """

    def call(self, coords, training=False):
        return heatmap_to_metric(
            coords, self.crop_side_px, self._stride_used(training), self.box_size_mm,
            centered=self.centered)


@keras.utils.register_keras_serializable(package='metro_tf')
class HeatmapTo25D(_FromVolume):
    """`heatmap_to_25d` as a layer. Float32 under any dtype policy.

    Args:
        crop_side_px: Side of the square crop.
        stride_px: Distance of neighbouring cells.
        box_size_mm: Side of the metric box.
        centered: Whether the first cell lies at half a stride; else at 0.
        test_stride_px: Distance of neighbouring cells out of training, if it differs.
        **kwargs: Base layer arguments.

    Call arguments:
        coords: Float tensor `[..., 3]`, (x, y, z) in `[0, 1]`.
        training: Boolean, which stride the cells have.

    Returns:
        Float tensor `[..., 3]`: x and y in px, z in mm from the front of the box.
    """

    def call(self, coords, training=False):
        return heatmap_to_25d(
            coords, self.crop_side_px, self._stride_used(training), self.box_size_mm,
            centered=self.centered)
