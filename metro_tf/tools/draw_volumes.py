"""Pictures of volumes: what is high along each axis for every joint, beside all joints in space."""

import numpy as np

from metro_tf.tools import draw, draw_heatmaps, heatmaps

_LEAST_SPACE_INCHES, _MOST_SPACE_INCHES, _DPI = 6.5, 10.0, 100
_COLORMAP = 'turbo'
_BONE_COLOR = '#222222'
# Of a joint, so that flat volumes neither take minutes nor hide the others.
_MAX_VOXELS = 1000


def draw_picture(person, title, share=0.5):
    """Draws the volumes of one person.

    Every joint has a row with the largest values along each axis, as `metro-tf heatmaps` has it.
    Beside them is a 3D view of the voxels whose value is at least a share of the largest one of
    their joint, each joint in another colour, and of the decoded skeleton.

    Args:
        person: `volumes.PersonVolumes`.
        title: Text above the picture.
        share: Least value to be shown in space, as a share of the largest one; above 0.

    Returns:
        bytes, a PNG file.

    Raises:
        ValueError: If Matplotlib is not installed.
    """
    draw.check_available()
    from matplotlib.figure import Figure
    planes = heatmaps.of_volumes(person)
    width, height = draw_heatmaps.size_inches(planes)
    height = max(height, _LEAST_SPACE_INCHES)
    space = min(height, _MOST_SPACE_INCHES)
    figure = Figure(figsize=(width + space, height), dpi=_DPI, facecolor='white')
    left, right = figure.subfigures(1, 2, width_ratios=(width, space))
    left.suptitle(title, y=1 - 0.08 / height, fontsize=10, va='top')
    draw_heatmaps.draw_rows(left, planes, height)
    axes = right.add_axes([0.02, 0.03, 0.9, 0.9], projection='3d')
    draw_space(axes, person, share)
    axes.set_title(
        f'voxels of at least {share:.0%} of the joint\'s largest value,\nand the decoded joints',
        fontsize=9)
    return draw.png_of(figure)


def draw_space(axes, person, share):
    """Draws the voxels and the decoded skeleton, in the frame of the photo's camera.

    Args:
        axes: Matplotlib axes with three dimensions. They are in metres afterwards: x, depth, and
            height above the camera.
        person: `volumes.PersonVolumes`.
        share: As in `draw_picture`.
    """
    from matplotlib import colormaps
    n_joints = len(person.joint_names)
    joints = draw.to_view(person.coords3d_cam)
    everything = [joints]
    for i_joint, color in enumerate(colormaps[_COLORMAP](np.linspace(0.05, 0.95, n_joints))):
        points = draw.to_view(person.to_camera(person.voxels_above(i_joint, share, _MAX_VOXELS)))
        axes.scatter(*points.T, s=8, color=color, alpha=0.3, linewidths=0, depthshade=False)
        axes.text(
            *joints[i_joint], f' {person.joint_names[i_joint]}', color=0.7 * color[:3], fontsize=8)
        everything.append(points)
    for edge in person.joint_edges:
        axes.plot(*joints[edge].T, color=_BONE_COLOR, linewidth=1.8)
    axes.scatter(*joints.T, s=14, color=_BONE_COLOR, depthshade=False)
    everything = np.concatenate(everything)
    axes.set_box_aspect(np.maximum(np.ptp(everything, axis=0), 0.1), zoom=0.9)
    axes.view_init(elev=14, azim=-58)
    draw.label_space(axes)
