"""Pictures of poses: the photo with the skeletons drawn in, beside a 3D view.

Matplotlib comes with the extra `viz`. Its Agg backend is used directly, so that neither a display
is needed nor the state of a caller's own figures is touched.
"""

import io

import cv2
import numpy as np

# (the person's left side, middle, the person's right side), one row per person, then from the top.
PERSON_COLORS = (
    ('#ffb347', '#f47b00', '#b34700'),
    ('#7cc7ff', '#1c86ee', '#0b4a91'),
    ('#8fe08f', '#2ca02c', '#12601a'),
    ('#f5a3d0', '#e0409a', '#8d1259'),
    ('#c9b1f2', '#8d5fd3', '#532a94'),
    ('#fff07a', '#e6c700', '#8f7b00'))
_FIGURE_WIDTH_INCHES, _DPI = 13.0, 120
_MAX_SHOWN_SIDE_PX = 1400


def draw_picture(image, poses):
    """Draws one picture of a photo and its people.

    Light strokes are a person's own left, dark ones the right, each person in another colour. In
    the 3D view the axes are in metres and equally scaled; the small pyramid is the camera.

    Args:
        image: uint8 array `[height, width, 3]`, RGB.
        poses: `writers.PhotoPoses` of this image.

    Returns:
        bytes, a PNG file.

    Raises:
        ValueError: If Matplotlib is not installed.
    """
    check_available()
    from matplotlib.figure import Figure
    height, width = image.shape[:2]
    photo_width = float(np.clip(width / height, 0.5, 1.8))
    figure = Figure(
        figsize=(_FIGURE_WIDTH_INCHES, _FIGURE_WIDTH_INCHES / (photo_width + 1.15) + 0.5),
        dpi=_DPI, facecolor='white')
    grid = figure.add_gridspec(
        1, 2, width_ratios=(photo_width, 1.15), left=0.02, right=0.97, bottom=0.05, top=0.93,
        wspace=0.06)
    _draw_photo(figure.add_subplot(grid[0]), image, poses)
    _draw_space(figure.add_subplot(grid[1], projection='3d'), poses)
    return png_of(figure)


def check_available(alternative=''):
    """Checks that pictures can be drawn.

    Args:
        alternative: What else can be done, for the error message.

    Raises:
        ValueError: If Matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(
            f'Pictures need Matplotlib: `pip install "metro-tf[viz]"`{alternative}.') from None


def png_of(figure):
    """The content of a PNG file, bytes, of a Matplotlib figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def bone_side(joint_names, edge):
    """Which side of the body a bone belongs to: 0 the person's left, 1 the middle, 2 the right.

    Args:
        joint_names: Sequence of names; those that begin with `l` or `r` are sided.
        edge: Pair of indices. A bone between both sides is in the middle.
    """
    sides = {joint_names[i][0] for i in edge} & {'l', 'r'}
    return {('l',): 0, ('r',): 2}.get(tuple(sides), 1)


def _draw_photo(axes, image, poses):
    height, width = image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(_shrunken(image), extent=extent, interpolation='bilinear')
    axes.set(xlim=extent[:2], ylim=extent[2:], title=f'{poses.file_name}  ({width} x {height} px)')
    axes.set_axis_off()
    for i_person, (box, coords2d) in enumerate(zip(poses.boxes, poses.poses2d)):
        _draw_box(axes, box, i_person)
        _draw_bones(axes, coords2d, poses, i_person, outline='black')


def _draw_box(axes, box, i_person):
    from matplotlib.patches import Rectangle
    color = _colors(i_person)[1]
    left, top, width, height, score = box
    axes.add_patch(Rectangle(
        (left, top), width, height, fill=False, edgecolor=color, linewidth=1.2, linestyle='--'))
    axes.annotate(
        f'{i_person + 1}   {score:.2f}', (max(left, 0), max(top, 0)), xytext=(3, -3),
        textcoords='offset points', va='top', color='white', fontsize=9, fontweight='bold',
        annotation_clip=False,
        bbox={'boxstyle': 'round,pad=0.25', 'facecolor': color, 'edgecolor': 'none'})


def _draw_space(axes, poses):
    """3D view. Plotted are (x, depth, height above the camera), in metres."""
    points = to_view(poses.poses3d)
    lowest, highest = _view_limits(points)
    _draw_camera(axes, poses, size=0.06 * max(highest - lowest))
    for i_person, person in enumerate(points):
        _draw_bones(axes, person, poses, i_person, outline='white')
        _draw_shadow(axes, person, poses, lowest[2])
        axes.text(
            *person[np.argmax(person[:, 2])] + (0, 0, 0.05), str(i_person + 1),
            color=_colors(i_person)[2], fontsize=10, fontweight='bold', ha='center')
    axes.set(
        xlim=(lowest[0], highest[0]), ylim=(lowest[1], highest[1]), zlim=(lowest[2], highest[2]))
    axes.set_box_aspect(highest - lowest, zoom=1.15)
    axes.view_init(elev=14, azim=-58)
    _style_space(axes, poses)


def _style_space(axes, poses):
    label_space(axes)
    distances = ',  '.join(
        f'{i + 1}: {distance / 1000:.2f} m' for i, distance in enumerate(poses.distances_mm[:6]))
    axes.set_title(
        (f'distance from camera   {distances}' if distances else 'no people found')
        + '\nlight: person\'s left, dark: right', fontsize=9)


def to_view(points):
    """Points `[..., 3]` in the camera frame, mm, as (x, depth, height above the camera) in m."""
    return points[..., (0, 2, 1)] * (0.001, 0.001, -0.001)


def label_space(axes):
    """Labels a 3D view in which (x, depth, height above the camera) are plotted, in metres."""
    from matplotlib.ticker import MaxNLocator
    axes.set_xlabel('x (m)', labelpad=2)
    axes.set_ylabel('distance z (m)', labelpad=6)
    axes.set_zlabel('height −y (m)', labelpad=2)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((0.96, 0.97, 0.98, 1.0))
        axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=8, pad=1)


def _draw_camera(axes, poses, size):
    """The camera as a pyramid with the photo's field of view, at the origin."""
    height, width = poses.image_shape
    corners_px = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], float)
    rays = corners_px @ np.linalg.inv(poses.intrinsics).T
    corners = size * rays[:, (0, 2, 1)] * (1, 1, -1)
    for i in range(4):
        loop = np.stack([np.zeros(3), corners[i], corners[(i + 1) % 4]])
        axes.plot(*loop.T, color='#333333', linewidth=1.1)
    axes.text(0, 0, 1.2 * size, 'camera', color='#333333', fontsize=8, ha='center')


def _draw_shadow(axes, person, poses, floor):
    """The bones seen from above, on the bottom of the view: shows where a person stands."""
    flat = np.concatenate([person[:, :2], np.full_like(person[:, :1], floor)], axis=1)
    for edge in poses.joint_edges:
        axes.plot(*flat[list(edge)].T, color='#b8bec6', linewidth=1.5, zorder=0)


def _draw_bones(axes, points, poses, i_person, outline):
    """Bones and joints, in 2D or 3D depending on the size of the points' last axis."""
    from matplotlib import patheffects
    colors = _colors(i_person)
    effects = [
        patheffects.Stroke(linewidth=4.2, foreground=outline, alpha=0.6), patheffects.Normal()]
    for edge in poses.joint_edges:
        axes.plot(
            *points[list(edge)].T, color=colors[bone_side(poses.joint_names, edge)],
            linewidth=2.6, solid_capstyle='round', path_effects=effects)
    sides = [bone_side(poses.joint_names, (i,)) for i in range(len(poses.joint_names))]
    axes.scatter(
        *points.T, s=16, c=[colors[side] for side in sides], edgecolors=outline, linewidths=0.6,
        zorder=5)


def _view_limits(points):
    """Lower and upper corner (each `[3]`) of a box around the camera and all joints."""
    everything = np.concatenate([np.zeros([1, 3]), points.reshape(-1, 3)])
    lowest, highest = everything.min(axis=0), everything.max(axis=0)
    # A view of people in line with the camera, or of none, needs some width all the same.
    missing = np.maximum(1.2 - (highest - lowest), 0) / 2
    return lowest - missing - 0.1, highest + missing + 0.1


def _shrunken(image):
    factor = _MAX_SHOWN_SIDE_PX / max(image.shape[:2])
    if factor >= 1:
        return image
    size = [max(1, round(side * factor)) for side in (image.shape[1], image.shape[0])]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _colors(i_person):
    return PERSON_COLORS[i_person % len(PERSON_COLORS)]
