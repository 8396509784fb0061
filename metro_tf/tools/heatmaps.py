"""The heatmaps of one person in a photo, made ready to be drawn."""

import dataclasses

import numpy as np

from metro_tf import models
from metro_tf.geometry import cuboid
from metro_tf.tools import person_crops, volumes


@dataclasses.dataclass(frozen=True)
class Plane:
    """The heatmaps of all joints on one plane, as NumPy arrays.

    Args:
        title: What is shown.
        axes: Pair of letters: the axis along the columns and the one along the rows.
        is_image: Whether x and y are those of the crop; else they are metric, and need not agree
            with the crop.
        heatmaps: `[rows, columns, joints]`: probabilities, or the scores of volumes, some of
            which may be negative.
        positions: `[joints, 2]`, predicted position along the columns and the rows, in cells: 0 is
            the centre of the first one.
    """
    title: str
    axes: tuple
    is_image: bool
    heatmaps: np.ndarray
    positions: np.ndarray

    def of_joints(self, indices):
        """The same of some of the joints."""
        return dataclasses.replace(
            self, heatmaps=self.heatmaps[..., indices], positions=self.positions[indices])


@dataclasses.dataclass(frozen=True)
class PersonHeatmaps:
    """The heatmaps of one person, as NumPy arrays.

    Args:
        crop: Float array `[side, side, 3]` in [0, 1], what the network saw.
        crop_span: Pair of floats: the left and the right edge of the crop in cells along x, and
            its upper and lower edge in cells along y.
        joint_names: Tuple of strings.
        uncertainty_mm: `[joints]`, see `models.crop_model.CropModel.uncertainty_mm`, or None if
            the model does not tell it.
        planes: Tuple of `Plane`.
    """
    crop: np.ndarray
    crop_span: tuple
    joint_names: tuple
    uncertainty_mm: np.ndarray
    planes: tuple


def load_crop_model(name_or_path):
    """Loads a crop model whose heatmaps can be shown.

    Args:
        name_or_path: Release or file, see `models.load_crop_model`.

    Returns:
        `Metrabs`, `MargiPose`, `AbsoluteMargiPose` or one of `volumes.MODELS`.

    Raises:
        ValueError: If there is no such file, it cannot be loaded or holds something else.
    """
    return person_crops.load_crop_model(name_or_path, (*_PLANES, *volumes.MODELS))


def of_person(image, box, crop_model, fov_degrees, indices):
    """Heatmaps of the person in a box.

    Args:
        image: uint8 array `[height, width, 3]`, RGB.
        box: Float array `[4 or 5]`: left, top, width and height, px.
        crop_model: Of `load_crop_model`.
        fov_degrees: Field of view along the larger image side.
        indices: List of ints, the joints to take, in this order.

    Returns:
        `PersonHeatmaps`.
    """
    if isinstance(crop_model, volumes.MODELS):
        return of_volumes(volumes.of_person(image, box, crop_model, fov_degrees, indices))
    crops = person_crops.crop_person(image, box, crop_model, fov_degrees)
    inputs = {'image': crops.crops, 'intrinsics': crops.intrinsics}
    outputs = crop_model.predict_heatmaps(inputs)
    config = crop_model.heatmap_config
    stride_px = config.stride_used(training=False)
    return PersonHeatmaps(
        crop=np.clip(crops.crops[0], 0, 1),
        crop_span=_crop_span(
            config.crop_side_px, stride_px // 2 if config.centered else 0, stride_px),
        joint_names=tuple(crop_model.joint_names[i] for i in indices),
        uncertainty_mm=crop_model.uncertainty_mm(outputs, inputs).numpy()[0, indices],
        planes=tuple(plane.of_joints(indices) for plane in _PLANES[type(crop_model)](outputs)))


def of_volumes(person):
    """The largest values of volumes along each of their axes.

    Args:
        person: `volumes.PersonVolumes`.

    Returns:
        `PersonHeatmaps` on the planes xy, zy and xz.
    """
    by_joint = person.volumes.astype(np.float32)  # [joints, z, y, x]
    heatmaps = (
        by_joint.max(axis=1).transpose(1, 2, 0), by_joint.max(axis=3).transpose(2, 1, 0),
        by_joint.max(axis=2).transpose(1, 2, 0))
    return PersonHeatmaps(
        crop=person.crop / 255,
        crop_span=_crop_span(len(person.crop), person.x_px[0], person.x_px[1] - person.x_px[0]),
        joint_names=tuple(str(name) for name in person.joint_names), uncertainty_mm=None,
        planes=tuple(_planes(heatmaps, person.to_cells(person.coords25d), is_image=True)))


def _crop_span(crop_side_px, first_px, stride_px):
    """Edges of the crop, half a pixel beyond its outer pixels, in cells."""
    return tuple((np.array([-0.5, crop_side_px - 0.5]) - first_px) / stride_px)


def _volume_planes(outputs):
    """Of `Metrabs`: its 2D head, and the marginals of its metric volume."""
    image_heatmaps = volumes.probabilities(outputs['logits2d'][0].numpy())
    volume = volumes.probabilities(outputs['logits3d'][0].numpy())  # [y, x, z, joints]
    heatmaps = volume.sum(axis=2), volume.sum(axis=1), volume.sum(axis=0).transpose(1, 0, 2)
    xy, zy = (_mean_cells(plane) for plane in heatmaps[:2])
    return [
        Plane('2D head', ('x', 'y'), True, image_heatmaps, _mean_cells(image_heatmaps)),
        *_planes(heatmaps, np.concatenate([xy, zy[:, :1]], axis=-1), is_image=False)]


def _image_planes(outputs):
    """Of `MargiPose`: x and y are those of the plane xy, also in the others."""
    stage = outputs['stages'][-1]
    return _planes(_stage_heatmaps(stage), _cells(stage, stage['coords']), is_image=True)


def _mixed_planes(outputs):
    """Of `AbsoluteMargiPose`: xy belongs to the image, the others to the metric volume."""
    stage = outputs['stages'][-1]
    xy, zy, xz = _cells(stage, stage['plane_coords'])
    z = _cells(stage, stage['coords'])[:, 2]
    planes = _planes(
        _stage_heatmaps(stage), np.stack([xz[:, 0], zy[:, 1], z], axis=-1), is_image=False)
    return [dataclasses.replace(planes[0], positions=xy, is_image=True), *planes[1:]]


_PLANES = {
    models.Metrabs: _volume_planes, models.MargiPose: _image_planes,
    models.AbsoluteMargiPose: _mixed_planes}


def _planes(heatmaps, positions, is_image):
    """One for each of `cuboid.PLANES`, from heatmaps and common positions `[joints, 3]`."""
    return [
        Plane(name, tuple(name), is_image, plane, positions[:, axes])
        for name, axes, plane in zip(cuboid.PLANES, cuboid.PLANE_AXES, heatmaps)]


def _stage_heatmaps(stage):
    """Heatmaps `[planes, rows, columns, joints]` of a dict of `MarginalHeatmaps`."""
    return np.moveaxis(stage['heatmaps'][0].numpy(), 2, 0)


def _cells(stage, coords):
    """Coordinates of a stage, from -1 to 1, in cells; its heatmaps are square."""
    return cuboid.to_cells(coords, stage['heatmaps'].shape[1])[0].numpy()


def _mean_cells(heatmaps):
    """Mean column and row `[joints, 2]` of probabilities `[rows, columns, joints]`."""
    n_rows, n_columns = heatmaps.shape[:2]
    return np.stack([
        np.einsum('rcj,c->j', heatmaps, np.arange(n_columns)),
        np.einsum('rcj,r->j', heatmaps, np.arange(n_rows))], axis=-1)
