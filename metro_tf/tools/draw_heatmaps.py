"""Pictures of heatmaps: a row of planes for each joint, with crosshairs at the prediction."""

import numpy as np

from metro_tf.tools import draw

_PANEL_INCHES, _LABEL_INCHES, _HEADER_INCHES, _DPI = 1.7, 1.05, 0.8, 100
_GAP = 0.06
_MAX_ROWS = 12
_COLORMAP = 'inferno'
_CROSSHAIR_COLOR = '#7fffd4'
_DEPTH_DIRECTIONS = {('z', 'y'): 'depth to the right', ('x', 'z'): 'depth downwards'}


def draw_picture(person, title):
    """Draws the heatmaps of one person.

    Every joint has a row with its planes, each scaled to its own maximum. Those along x and y of
    the image lie over the crop. Dashed lines meet at the predicted position.

    Args:
        person: `heatmaps.PersonHeatmaps`.
        title: Text above the picture.

    Returns:
        bytes, a PNG file.

    Raises:
        ValueError: If Matplotlib is not installed.
    """
    draw.check_available()
    from matplotlib.figure import Figure
    size = size_inches(person)
    figure = Figure(figsize=size, dpi=_DPI, facecolor='white')
    figure.suptitle(title, y=1 - 0.08 / size[1], fontsize=10, va='top')
    draw_rows(figure, person, size[1])
    return draw.png_of(figure)


def size_inches(person):
    """Width and height, in inches, of all rows of a person and of a title."""
    n_blocks, n_rows = _layout(person)
    width = n_blocks * (_LABEL_INCHES + len(person.planes) * _PANEL_INCHES)
    return width, _HEADER_INCHES + n_rows * _PANEL_INCHES


def draw_rows(figure, person, height_inches):
    """Draws a row with its planes for every joint, below the place for a title.

    Args:
        figure: Matplotlib figure or part of one, as wide as `size_inches` tells.
        person: `heatmaps.PersonHeatmaps`.
        height_inches: Height of the figure, at least that of `size_inches`.
    """
    n_blocks, n_rows = _layout(person)
    n_planes = len(person.planes)
    width = _LABEL_INCHES + n_planes * _PANEL_INCHES
    top = 1 - _HEADER_INCHES / height_inches
    for i_block, block in enumerate(figure.subfigures(1, n_blocks, squeeze=False)[0]):
        panels = block.subplots(n_rows, n_planes, squeeze=False, gridspec_kw={
            'left': _LABEL_INCHES / width, 'right': 1 - _GAP / width, 'top': top,
            'bottom': top + (_GAP - n_rows * _PANEL_INCHES) / height_inches, 'wspace': _GAP,
            'hspace': _GAP})
        _draw_block(panels, person, first_joint=i_block * n_rows)


def _layout(person):
    """Numbers of blocks and of rows of joints in each."""
    n_joints = len(person.joint_names)
    n_blocks = -(-n_joints // _MAX_ROWS)
    return n_blocks, -(-n_joints // n_blocks)


def _draw_block(panels, person, first_joint):
    """Rows of as many joints as there are left."""
    n_joints = len(person.joint_names)
    for i_joint, row in enumerate(panels, first_joint):
        for axes, plane in zip(row, person.planes):
            if i_joint < n_joints:
                draw_plane(axes, person, plane, i_joint)
            else:
                axes.set_axis_off()
        if i_joint < n_joints:
            row[0].set_ylabel(
                _label(person, i_joint), rotation=0, ha='right', va='center', labelpad=6)
    for axes, plane in zip(panels[0], person.planes):
        axes.set_title(f'{plane.title}\n{_hint(plane)}', fontsize=9)


def _label(person, i_joint):
    name = person.joint_names[i_joint]
    if person.uncertainty_mm is None:
        return name
    return f'{name}\n± {person.uncertainty_mm[i_joint]:.0f} mm'


def _hint(plane):
    if plane.axes in _DEPTH_DIRECTIONS:
        return _DEPTH_DIRECTIONS[plane.axes]
    return 'over the crop' if plane.is_image else 'metric, not of the crop'


def draw_plane(axes, person, plane, i_joint):
    """Draws one heatmap of one joint.

    Args:
        axes: Matplotlib axes. They are in cells afterwards.
        person: `heatmaps.PersonHeatmaps`.
        plane: One of its planes.
        i_joint: Index of the joint.
    """
    from matplotlib import colormaps, patheffects
    heatmap = np.maximum(plane.heatmaps[..., i_joint], 0)
    # Scores need not be positive anywhere.
    heatmap = heatmap / max(heatmap.max(), np.finfo(np.float32).tiny)
    colors = colormaps[_COLORMAP](heatmap)
    n_rows, n_columns = heatmap.shape
    spans = [
        person.crop_span if plane.is_image and letter in 'xy' else (-0.5, n_cells - 0.5)
        for letter, n_cells in zip(plane.axes, (n_columns, n_rows))]
    if plane.is_image and plane.axes == ('x', 'y'):
        grey = person.crop.mean(axis=-1)
        axes.imshow(
            grey, cmap='gray', vmin=0, vmax=1, extent=_extent(*spans), interpolation='bilinear')
        colors[..., 3] = heatmap
    axes.imshow(
        colors, extent=_extent((-0.5, n_columns - 0.5), (-0.5, n_rows - 0.5)),
        interpolation='nearest')
    axes.set(
        xlim=spans[0], ylim=spans[1][::-1], xticks=[], yticks=[], aspect='auto', facecolor='black')
    effects = [patheffects.withStroke(linewidth=2, foreground='black', alpha=0.5)]
    x, y = plane.positions[i_joint]
    for draw_line, position in ((axes.axvline, x), (axes.axhline, y)):
        draw_line(
            position, color=_CROSSHAIR_COLOR, linewidth=0.9, linestyle=(0, (4, 3)),
            path_effects=effects)


def _extent(x_span, y_span):
    """Of `imshow`, with y down."""
    return np.array([*x_span, *y_span[::-1]])
