"""One person in a photo as a crop model gets it: what the commands for its heatmaps share."""

import numpy as np

from metro_tf import models
from metro_tf.cropping import people
from metro_tf.geometry import camera


def load_crop_model(name_or_path, accepted):
    """Loads a crop model of certain classes.

    Args:
        name_or_path: Release or file, see `models.load_crop_model`.
        accepted: Collection of classes.

    Returns:
        A model of one of them that predicts depths.

    Raises:
        ValueError: If there is no such model, it cannot be loaded or is another one.
    """
    try:
        model = models.load_crop_model(name_or_path)
    except ValueError as error:
        raise ValueError(f'`--crop-model` must be a model that can be loaded. {error}') from error
    if type(model) not in accepted:
        raise ValueError(
            f'{name_or_path}: the model must be one of '
            f'{", ".join(cls.__name__ for cls in accepted)}. Received: {type(model).__name__}')
    if not model.is_absolute:
        raise ValueError(
            f'{name_or_path}: the model must predict depths. '
            f'Received: {type(model).__name__} that does not')
    return model


def joint_indices(wanted, known):
    """Indices of joints.

    Args:
        wanted: Sequence of names, as the command line has them. None at all stand for all.
        known: Sequence of the names of the model's joints.

    Returns:
        List of ints.

    Raises:
        ValueError: If the model lacks one, or one is named twice.
    """
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f'`--joints` must be joints of the model: {", ".join(known)}. '
            f'Received: {", ".join(unknown)}')
    if len(set(wanted)) != len(wanted):
        raise ValueError(
            f'`--joints` must name every joint once. Received: {", ".join(wanted)}')
    return [list(known).index(name) for name in wanted or known]


def crop_person(image, box, crop_model, fov_degrees):
    """The crop of one person.

    Args:
        image: uint8 array `[height, width, 3]`, RGB.
        box: Float array `[4 or 5]`: left, top, width and height, px.
        crop_model: The model that gets the crop.
        fov_degrees: Field of view along the larger image side.

    Returns:
        `people.PeopleCrops` of one person.
    """
    return people.crop_people(
        image, np.float32([box]), camera.intrinsics_from_fov(fov_degrees, image.shape[:2]),
        crop_side_px=crop_model.input_resolution)
