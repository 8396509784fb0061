"""A skeleton with fixed bone lengths, fitted to the volumes of a person by gradient ascent.

Decoding takes the highest voxel of every joint on its own, so one wrong peak breaks the pose. The
volumes also say how good other places are. Here the pose is looked for whose bones have the right
lengths and whose joints lie, together, where the volumes are high.

Example:
    metro-tf volumes examples/photos/astronaut.jpg --crop-model crop_model.keras --out person.npz
    python examples/fit_skeleton_to_volumes.py person.npz --out fitted.json --picture fitted.png
"""

import argparse
import itertools
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

from metro_tf.geometry import camera
from metro_tf.tools import draw, volumes, writers


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('volumes', help='NPZ file of `metro-tf volumes`')
    parser.add_argument(
        '--bone-lengths', metavar='FILE',
        help='JSON file with the length of every bone in mm, such as {"lelb-lwri": 250, ...} '
             '(default: the typical ones that the model knows)')
    parser.add_argument('--out', default='fitted.json', help='JSON file to write')
    parser.add_argument('--picture', help='PNG file to write')
    args = parser.parse_args()

    person = volumes.read(args.volumes)
    if args.bone_lengths:
        lengths_mm = read_bone_lengths(args.bone_lengths, bone_names(person))
    else:
        lengths_mm = person.bone_lengths_mm
    decoded, fitted = person.coords3d_cam, fit(person, lengths_mm)
    print(f'joints moved by {np.linalg.norm(fitted - decoded, axis=-1).mean():.0f} mm on average')
    for name, pose in (('decoded', decoded), ('fitted', fitted)):
        errors = np.abs(measured_lengths(pose, person.joint_edges) - lengths_mm)
        print(f'bone lengths of the {name} pose are off by {errors.mean():.1f} mm on average, '
              f'{errors.max():.1f} mm at most')
    writers.write_json(args.out, document(person, fitted))
    if args.picture:
        writers.write_bytes(args.picture, draw_picture(person, fitted))


def fit(
        person, bone_lengths_mm, *, smoothing_cells=(3.0, 1.0), n_steps=100,
        learning_rate=0.03):
    """Finds the pose with given bone lengths whose joints lie where their volumes are high.

    The sum over the joints of the volume's value at the joint is maximised. Where volumes are flat
    nothing tells in which direction to go, so they are first smoothed much, then less. A bone that
    leans towards the camera looks like one that leans away, and no small step leads from one to
    the other. So there are several starts: the decoded pose, and for each bone that with this bone
    turned over. The one that gets highest wins.

    Args:
        person: `volumes.PersonVolumes`. Its edges must be a tree over all joints.
        bone_lengths_mm: `[bones]`, the length of each of its edges.
        smoothing_cells: Sequence of standard deviations of Gaussians that the volumes are
            smoothed with, one after the other, in cells.
        n_steps: Number of steps with each of them.
        learning_rate: Of Adam at the start, about the step in metres and radians. It falls to 0.

    Returns:
        float32 array `[joints, 3]`, frame of the photo's camera, mm.

    Raises:
        ValueError: If the edges are no tree over all joints, or lengths are missing.
    """
    # Column vectors are rotated by `crop_to_camera`, so rows by its transpose; this is the inverse.
    decoded = person.coords3d_cam @ person.crop_to_camera
    skeleton = FixedLengthSkeleton(
        decoded, person.root_depth_mm, person.joint_edges, bone_lengths_mm)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(
        learning_rate, n_steps * len(smoothing_cells)))
    optimizer.build(skeleton.trainable_variables)

    @tf.function
    def climb(smoothed):
        with tf.GradientTape() as tape:
            points, plane_depths_mm = skeleton.poses()
            heights = tf.reduce_sum(
                values_at(smoothed, to_cells(points, plane_depths_mm, person)), axis=-1)
            loss = -tf.reduce_sum(heights)
        gradients = tape.gradient(loss, skeleton.trainable_variables)
        optimizer.apply_gradients(zip(gradients, skeleton.trainable_variables))
        return points, heights

    for sigma in smoothing_cells:
        smoothed = smooth(person.volumes, sigma)
        for _ in range(n_steps):
            points, heights = climb(smoothed)
    return points.numpy()[np.argmax(heights)] @ person.crop_to_camera.T


class FixedLengthSkeleton(keras.layers.Layer):
    """Poses as positions of the root and directions of bones: one for each start of the search.

    Also the depth of the plane that the depths of the volumes are relative to is to be found: the
    root lies relative to it, so that all joints can change their distance to the camera together.

    Args:
        decoded: Array `[joints, 3]`, camera frame, mm: the pose of the first start. The others have
            one bone each with its depth turned over.
        plane_depth_mm: Depth of the plane at the start.
        edges: Array `[bones, 2]`, a tree over all joints.
        bone_lengths_mm: Array `[bones]`.
    """

    def __init__(self, decoded, plane_depth_mm, edges, bone_lengths_mm):
        super().__init__()
        lengths, n_bones = np.asarray(bone_lengths_mm, np.float32), len(edges)
        if lengths.shape != (n_bones,):
            raise ValueError(
                f'`bone_lengths_mm` must have one length for each of {n_bones} bones. '
                f'Received: shape={lengths.shape}')
        i_root, paths = paths_from_root(len(decoded), edges)
        self._paths_mm = tf.constant(paths * lengths, tf.float32)
        bones = decoded[edges[:, 1]] - decoded[edges[:, 0]]
        bones = np.tile(bones + np.float32([0, 0, 1]), (n_bones + 1, 1, 1))  # none of length 0
        bones[1:][np.eye(n_bones, dtype=bool), 2] *= -1
        plane = np.float32([0, 0, plane_depth_mm])
        self._root_m = self._weight('root', np.tile(
            (decoded[i_root] - plane) / 1000, (n_bones + 1, 1, 1)))
        self._plane_m = self._weight('plane', np.tile(plane[2] / 1000, n_bones + 1))
        self._directions = self._weight(
            'directions', bones / np.linalg.norm(bones, axis=-1, keepdims=True))

    def poses(self):
        """Tuple of joints `[starts, joints, 3]` in the camera frame and planes `[starts]`, mm."""
        directions = tf.math.l2_normalize(self._directions, axis=-1)
        plane_depths_mm = 1000.0 * self._plane_m
        origin = plane_depths_mm[:, tf.newaxis, tf.newaxis] * [0.0, 0.0, 1.0]
        points = origin + 1000.0 * self._root_m + tf.einsum(
            'jb,sbc->sjc', self._paths_mm, directions)
        return points, plane_depths_mm

    def _weight(self, name, value):
        value = np.asarray(value, np.float32)
        return self.add_weight(
            name=name, shape=value.shape, initializer=lambda shape, dtype=None: tf.constant(value))


def paths_from_root(n_joints, edges):
    """The bones between the root, which is the first joint of the first edge, and every joint.

    Args:
        n_joints: Number of joints.
        edges: Array `[bones, 2]`, a tree over all joints, in any order and direction.

    Returns:
        Tuple of the index of the root and of an array `[joints, bones]`: 1 for bones that lead to
        the joint, -1 for those against their direction, else 0.

    Raises:
        ValueError: If the edges are no tree over all joints.
    """
    if len(edges) != n_joints - 1 or n_joints < 2:
        raise ValueError(
            f'`edges` must be a tree over all {n_joints} joints, at least two. '
            f'Received: {len(edges)} edges')
    i_root = int(edges[0][0])
    paths = {i_root: np.zeros(len(edges), np.float32)}
    for _ in edges:  # a path has as many bones at most
        for i_bone, (first, second) in enumerate(edges):
            for known, new, sign in ((first, second, 1), (second, first, -1)):
                if known in paths and new not in paths:
                    paths[new] = paths[known] + sign * np.eye(len(edges), dtype=np.float32)[i_bone]
    if len(paths) != n_joints:
        raise ValueError(
            '`edges` must be a tree over all joints. '
            f'Received: only {len(paths)} of {n_joints} joints are connected')
    return i_root, np.stack([paths[i_joint] for i_joint in range(n_joints)])


def to_cells(points, plane_depths_mm, person):
    """Where points are in the volumes.

    Args:
        points: Float tensor `[..., joints, 3]`, frame of the crop's camera, mm.
        plane_depths_mm: `[...]`, depth that the depths of the volumes are relative to.
        person: `volumes.PersonVolumes`.

    Returns:
        Float tensor `[..., joints, 3]`: x, y and z in cells, 0 at the centre of the first one.
    """
    pixels = camera.project(points, person.intrinsics)
    depths = points[..., 2:] - plane_depths_mm[..., tf.newaxis, tf.newaxis]
    first, second = (
        np.stack([axis[i] for axis in (person.x_px, person.y_px, person.z_mm)]) for i in (0, 1))
    return (tf.concat([pixels, depths], axis=-1) - first) / (second - first)


def values_at(volumes_by_joint, cells):
    """Trilinear interpolation, differentiable in the position.

    Args:
        volumes_by_joint: Float tensor `[joints, z, y, x]`.
        cells: Float tensor `[starts, joints, 3]`: x, y and z in cells. Beyond the outer cells the
            volume goes on with their values.

    Returns:
        Float tensor `[starts, joints]`.
    """
    n_joints, n_z, n_y, n_x = volumes_by_joint.shape
    last = np.float32([n_x, n_y, n_z]) - 1
    cells = tf.clip_by_value(cells, 0.0, last)
    lower = tf.minimum(tf.floor(cells), last - 1)
    fractions = cells - lower
    joints = tf.zeros(tf.shape(cells)[:2], tf.int32) + tf.range(n_joints)
    values = 0.0
    for corner in itertools.product((0, 1), repeat=3):
        weights = tf.reduce_prod(tf.where(np.bool_(corner), fractions, 1 - fractions), axis=-1)
        x, y, z = tf.unstack(tf.cast(lower, tf.int32) + corner, axis=-1)
        values += weights * tf.gather_nd(volumes_by_joint, tf.stack([joints, z, y, x], axis=-1))
    return values


def smooth(volumes_by_joint, sigma):
    """Volumes `[joints, z, y, x]` as float32, smoothed by a Gaussian of `sigma` cells."""
    smoothed = tf.cast(volumes_by_joint, tf.float32)
    for axis in 'zyx':
        n_cells = smoothed.shape['jzyx'.index(axis)]
        distances = np.arange(n_cells) - np.arange(n_cells)[:, np.newaxis]
        weights = np.exp(-distances ** 2 / (2 * sigma ** 2))
        weights = np.float32(weights / weights.sum(axis=1).max())
        smoothed = tf.einsum(f'jzyx,a{axis}->{"jzyx".replace(axis, "a")}', smoothed, weights)
    return smoothed


def bone_names(person):
    """Names such as 'lelb-lwri' of the bones of `volumes.PersonVolumes`, a list."""
    return ['-'.join(person.joint_names[edge]) for edge in person.joint_edges]


def read_bone_lengths(path, names):
    """Reads lengths from a JSON file.

    Args:
        path: Path of a file with an object from bone names to lengths in mm.
        names: Sequence of the names of the bones that are wanted.

    Returns:
        float32 array `[bones]`.

    Raises:
        ValueError: If one is missing.
    """
    lengths = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
    missing = [name for name in names if name not in lengths]
    if missing:
        raise ValueError(f'{path}: these bones must have a length: {", ".join(missing)}')
    return np.float32([lengths[name] for name in names])


def measured_lengths(pose, edges):
    """Lengths `[bones]` of the bones of a pose `[joints, 3]`, in its unit."""
    return np.linalg.norm(pose[edges[:, 1]] - pose[edges[:, 0]], axis=-1)


def document(person, fitted):
    """What is written: both poses, and the lengths of the bones; a dict of JSON types."""
    return {
        'frame': 'camera of the photo: x right, y down, z forward; mm',
        'bone_lengths_mm': dict(zip(
            bone_names(person), measured_lengths(fitted, person.joint_edges).tolist())),
        **{key: dict(zip(map(str, person.joint_names), pose.tolist())) for key, pose in (
            ('decoded_mm', person.coords3d_cam), ('fitted_mm', fitted))}}


def draw_picture(person, fitted):
    """PNG file, bytes, of the decoded and the fitted pose, over the crop and from the side."""
    draw.check_available()
    from matplotlib.figure import Figure
    figure = Figure(figsize=(11, 5.5), facecolor='white', layout='constrained')
    over_crop, from_side = figure.subplots(1, 2)
    side = len(person.crop)
    over_crop.imshow(person.crop)
    over_crop.set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5), title='over the crop')
    from_side.set(
        xlabel='distance z (m)', ylabel='height −y (m)', title='from the side', aspect='equal')
    from_side.grid(alpha=0.3)
    for label, color, pose in (
            ('decoded', '#e0409a', person.coords3d_cam), ('fitted', '#1c86ee', fitted)):
        pixels = camera.project(pose @ person.crop_to_camera, person.intrinsics).numpy()
        view = draw.to_view(pose)[:, 1:]
        for axes, points in ((over_crop, pixels), (from_side, view)):
            axes.plot(*points.T, 'o', color=color, markersize=4, label=label)
            for edge in person.joint_edges:
                axes.plot(*points[edge].T, color=color, linewidth=1.8)
    from_side.legend()
    return draw.png_of(figure)


if __name__ == '__main__':
    main()
