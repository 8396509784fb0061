"""The heatmaps of one person in a photo, made ready to be drawn."""

import dataclasses

import keras
import numpy as np

from metro_tf import models
from metro_tf.cropping import people
from metro_tf.geometry import camera, cuboid


@dataclasses.dataclass(frozen=True)
class Plane:
    """The heatmaps of all joints on one plane, as NumPy arrays.

    Args:
        title: What is shown.
        axes: Pair of letters: the axis along the columns and the one along the rows.
        is_image: Whether x and y are those of the crop; else they are metric, and need not agree
            with the crop.
        heatmaps: `[rows, columns, joints]`, probabilities.
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
        uncertainty_mm: `[joints]`, see `models.crop_model.CropModel.uncertainty_mm`.
        planes: Tuple of `Plane`.
    """
    crop: np.ndarray
    crop_span: tuple
    joint_names: tuple
    uncertainty_mm: np.ndarray
    planes: tuple


def load_crop_model(path):
    """Loads a crop model whose heatmaps can be shown.

    Args:
        path: Path of a `.keras` file.

    Returns:
        `Metrabs`, `MargiPose` or `AbsoluteMargiPose`.

    Raises:
        ValueError: If there is no such file, it cannot be loaded or holds something else.
    """
    try:
        model = models.load_crop_model(path)
    except Exception as error:  # Keras answers unusable files with nearly any type of error.
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise ValueError(
            f'{path}: Keras {keras.__version__} cannot load this file as a model ({reason}). It '
            'must be a .keras file of training.train; Keras 2 and 3 do not read each other\'s.'
        ) from error
    if type(model) not in _PLANES:
        raise ValueError(
            f'{path}: the model must be one of {", ".join(cls.__name__ for cls in _PLANES)}. '
            f'Received: {type(model).__name__}')
    return model


def joint_indices(wanted, known):
    """Indices of joints.

    Args:
        wanted: Sequence of names, as the command line has them. None at all stand for all.
        known: Sequence of the names of the model's joints.

    Returns:
        List of ints.

    Raises:
        ValueError: If the model lacks one.
    """
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f'`--joints` must be joints of the model: {", ".join(known)}. '
            f'Received: {", ".join(unknown)}')
    return [list(known).index(name) for name in wanted or known]


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
    crops = people.crop_people(
        image, np.float32([box]), camera.intrinsics_from_fov(fov_degrees, image.shape[:2]),
        crop_side_px=crop_model.input_resolution)
    inputs = {'image': crops.crops, 'intrinsics': crops.intrinsics}
    outputs = crop_model.predict_heatmaps(inputs)
    return PersonHeatmaps(
        crop=np.clip(crops.crops[0], 0, 1), crop_span=_crop_span(crop_model.heatmap_config),
        joint_names=tuple(crop_model.joint_names[i] for i in indices),
        uncertainty_mm=crop_model.uncertainty_mm(outputs, inputs).numpy()[0, indices],
        planes=tuple(plane.of_joints(indices) for plane in _PLANES[type(crop_model)](outputs)))


def _crop_span(heatmap_config):
    """Edges of the crop, half a pixel beyond its outer pixels, in cells."""
    stride_px = heatmap_config.stride_used(training=False)
    first_px = stride_px // 2 if heatmap_config.centered else 0
    edges_px = np.array([-0.5, heatmap_config.crop_side_px - 0.5])
    return tuple((edges_px - first_px) / stride_px)


def _volume_planes(outputs):
    """Of `Metrabs`: its 2D head, and the marginals of its metric volume."""
    image_heatmaps = _softmax(outputs['logits2d'][0].numpy())
    volume = _softmax(outputs['logits3d'][0].numpy())  # [y, x, z, joints]
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


def _softmax(logits):
    """Over all axes but the last."""
    axes = tuple(range(logits.ndim - 1))
    masses = np.exp(logits - logits.max(axis=axes))
    return masses / masses.sum(axis=axes)
