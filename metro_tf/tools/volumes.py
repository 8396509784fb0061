"""The volumes of one person in a photo: where each joint may be in the crop and in depth.

A volume tells more than the joint that is decoded from it, such as a second place where the joint
may be. `write` and `read` keep it in a file, for what comes after the network.
"""

import dataclasses

import numpy as np

from metro_tf import models
from metro_tf.geometry import voxels
from metro_tf.tools import person_crops, writers

SCORES, PROBABILITIES = 'scores', 'probabilities'


@dataclasses.dataclass(frozen=True)
class PersonVolumes:
    """The volumes of one person and where their voxels are, as NumPy arrays.

    The centre of voxel `[joint, k, row, column]` is at `(x_px[column], y_px[row], z_mm[k])`: pixels
    of the crop, and the depth relative to the root in mm.

    Args:
        volumes: float16 `[joints, z, y, x]`.
        meaning: 'scores', which are 1 at a joint and 0 far from it as far as training succeeded,
            or 'probabilities', whose sum over a joint's volume is 1.
        x_px, y_px: float32 `[x]` and `[y]`, centres of the voxels in px of the crop.
        z_mm: float32 `[z]`, centres of the voxels in depth relative to the root, mm.
        coords25d: float32 `[joints, 3]`, decoded joints: x and y in px of the crop, depth relative
            to the root in mm.
        coords3d_cam: float32 `[joints, 3]`, decoded joints in the frame of the photo's camera, mm.
        root_depth_mm: float32, depth of the plane `z_mm = 0` in the frame of the crop's camera.
        intrinsics: float32 `[3, 3]` of the crop, px.
        crop_to_camera: float32 `[3, 3]`, rotation from the frame of the crop's camera to that of
            the photo's.
        crop: uint8 `[side, side, 3]`, what the network saw, RGB.
        joint_names: `[joints]`, strings.
        joint_edges: int32 `[bones, 2]`, pairs of joint indices.
        bone_lengths_mm: float32 `[bones]`, the typical lengths that the model knows.
    """
    volumes: np.ndarray
    meaning: str
    x_px: np.ndarray
    y_px: np.ndarray
    z_mm: np.ndarray
    coords25d: np.ndarray
    coords3d_cam: np.ndarray
    root_depth_mm: np.ndarray
    intrinsics: np.ndarray
    crop_to_camera: np.ndarray
    crop: np.ndarray
    joint_names: np.ndarray
    joint_edges: np.ndarray
    bone_lengths_mm: np.ndarray

    def to_camera(self, coords25d):
        """Points of the volumes in the frame of the photo's camera.

        Args:
            coords25d: Array `[..., 3]`: x and y in px of the crop, depth relative to the root in
                mm.

        Returns:
            Array `[..., 3]`, mm.
        """
        pixels = np.concatenate([coords25d[..., :2], np.ones_like(coords25d[..., :1])], axis=-1)
        rays = np.einsum('ij,...j->...i', np.linalg.inv(self.intrinsics), pixels)
        points = rays * (coords25d[..., 2:] + self.root_depth_mm)
        return np.einsum('ij,...j->...i', self.crop_to_camera, points)

    def voxels_above(self, i_joint, share, n_most):
        """The voxels that speak most for a joint.

        Args:
            i_joint: Index of the joint.
            share: Least value, as a share of the largest of the volume.
            n_most: The most voxels to return; the highest ones are taken.

        Returns:
            Array `[voxels, 3]` of their centres: x and y in px of the crop, depth relative to the
            root in mm. There are none if no value is positive.
        """
        values = self.volumes[i_joint].astype(np.float32)
        least = max(share * values.max(), np.finfo(np.float32).tiny)
        cells = np.argwhere(values >= least)
        if len(cells) > n_most:
            strongest = np.argsort(-values[tuple(cells.T)], kind='stable')[:n_most]
            cells = cells[strongest]
        z, y, x = cells.T
        return np.stack([self.x_px[x], self.y_px[y], self.z_mm[z]], axis=-1)

    def to_cells(self, coords25d):
        """Where points lie in the volumes.

        Args:
            coords25d: Array `[..., 3]`: x and y in px of the crop, depth relative to the root in
                mm.

        Returns:
            Array `[..., 3]` in cells: 0 is the centre of the first one.
        """
        axes = self.x_px, self.y_px, self.z_mm
        return np.stack([
            (coords25d[..., i] - axis[0]) / (axis[1] - axis[0]) for i, axis in enumerate(axes)],
            axis=-1)


def load_crop_model(name_or_path):
    """Loads a crop model whose volumes are aligned with the image.

    Args:
        name_or_path: Release or file, see `models.load_crop_model`.

    Returns:
        `CoarseToFine`, `Decoupled` or `Pose25D`.

    Raises:
        ValueError: If there is no such file, it cannot be loaded or holds something else.
    """
    return person_crops.load_crop_model(name_or_path, MODELS)


def of_person(image, box, crop_model, fov_degrees, indices):
    """Volumes of the person in a box.

    Args:
        image: uint8 array `[height, width, 3]`, RGB.
        box: Float array `[4 or 5]`: left, top, width and height, px.
        crop_model: Of `load_crop_model`.
        fov_degrees: Field of view along the larger image side.
        indices: List of ints, the joints to take, in this order.

    Returns:
        `PersonVolumes`.
    """
    crops = person_crops.crop_person(image, box, crop_model, fov_degrees)
    outputs = crop_model.predict_heatmaps({'image': crops.crops, 'intrinsics': crops.intrinsics})
    coords25d, coords3d_crop = (
        outputs[name][0].numpy() for name in ('coords25d', 'coords3d_cam'))
    volumes, z_mm, z_root_mm, meaning = _READERS[type(crop_model)](crop_model, outputs, coords25d)
    coords25d = coords25d - np.float32([0, 0, z_root_mm])
    centers_px = _cell_centers_px(crop_model.heatmap_config)
    crop_to_camera = crops.rotations[0].numpy().T
    edges, lengths = _bones_among(crop_model, indices)
    return PersonVolumes(
        volumes=volumes[indices].astype(np.float16), meaning=meaning, x_px=centers_px,
        y_px=centers_px, z_mm=np.float32(z_mm - z_root_mm), coords25d=coords25d[indices],
        coords3d_cam=coords3d_crop[indices] @ crop_to_camera.T,
        root_depth_mm=np.mean(coords3d_crop[:, 2] - coords25d[:, 2]),
        intrinsics=crops.intrinsics[0].numpy(), crop_to_camera=crop_to_camera,
        crop=np.uint8(np.clip(crops.crops[0], 0, 1) * 255 + 0.5),
        joint_names=np.array(crop_model.joint_names)[indices], joint_edges=edges,
        bone_lengths_mm=lengths)


def write(path, person):
    """Writes volumes into an NPZ file, all or nothing.

    Args:
        path: Path of the file.
        person: `PersonVolumes`. Its attributes are the arrays of the file.

    Raises:
        OSError: If it cannot be written.
    """
    writers.write_arrays(path, {
        field.name: getattr(person, field.name) for field in dataclasses.fields(person)})


def read(path):
    """Reads what `write` wrote.

    Args:
        path: Path of an NPZ file.

    Returns:
        `PersonVolumes`.

    Raises:
        ValueError: If there is no such file or it is none of `metro-tf volumes`.
    """
    names = [field.name for field in dataclasses.fields(PersonVolumes)]
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {name: arrays[name] for name in names}
    except Exception as error:  # NumPy answers unusable files with nearly any type of error.
        raise ValueError(
            f'{path}: this must be an NPZ file of `metro-tf volumes` ({error}).') from error
    return PersonVolumes(**{**values, 'meaning': str(values['meaning'])})


def probabilities(logits):
    """Softmax over all axes but the last, the joints."""
    axes = tuple(range(logits.ndim - 1))
    masses = np.exp(logits - logits.max(axis=axes))
    return masses / masses.sum(axis=axes)


def _score_volumes(crop_model, outputs, coords25d):
    """Of `CoarseToFine`: the last stage. The root is the pelvis as trained, at depth 0."""
    near, far = crop_model.depth_range_mm
    n_depth_cells = crop_model.depths[-1]
    volumes = voxels.split_joints(outputs['volumes'][-1], n_depth_cells)[0].numpy()
    z_mm = near + (np.arange(n_depth_cells) + 0.5) * ((far - near) / n_depth_cells)
    return volumes.transpose(2, 3, 0, 1), z_mm, 0.0, SCORES


def _probability_volumes(crop_model, outputs, coords25d):
    """Of `Pose25D`: depths have no origin there, so they are taken from the predicted root."""
    config = crop_model.heatmap_config
    volumes = probabilities(outputs['logits3d'][0].numpy())
    i_root = crop_model.reconstruction.i_root_joint
    z_root_mm = coords25d[:, 2].mean() if i_root is None else coords25d[i_root, 2]
    z_mm = np.linspace(0, config.box_size_mm, config.n_depth_cells)
    return volumes.transpose(3, 2, 0, 1), z_mm, z_root_mm, PROBABILITIES


_READERS = {
    models.CoarseToFine: _score_volumes, models.Decoupled: _score_volumes,
    models.Pose25D: _probability_volumes}
MODELS = tuple(_READERS)


def _cell_centers_px(heatmap_config):
    stride_px = heatmap_config.stride_used(training=False)
    first_px = stride_px // 2 if heatmap_config.centered else 0
    n_cells = heatmap_config.crop_side_px // stride_px
    return np.float32(first_px + stride_px * np.arange(n_cells))


def _bones_among(crop_model, indices):
    """Edges `[bones, 2]` and lengths `[bones]` of the bones between some joints."""
    bones = [
        ([indices.index(i) for i in edge], length)
        for edge, length in zip(crop_model.joint_edges, crop_model.bone_lengths_mm)
        if set(edge) <= set(indices)]
    edges = np.array([edge for edge, _ in bones], np.int32).reshape(-1, 2)
    return edges, np.array([length for _, length in bones], np.float32)
