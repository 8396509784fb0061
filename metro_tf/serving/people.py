"""The people in one image, and their way from the padded arrays of a server."""

import dataclasses
import typing

import numpy as np

from metro_tf.serving import attempts

# What an output has per person, `joints` standing for the number of joints.
_PERSON_SHAPES = {
    'boxes': (5,), 'poses3d': ('joints', 3), 'poses2d': ('joints', 2), 'detection_indices': (),
    'uncertainty': ('joints',)}
_REQUIRED = ('poses3d', 'poses2d', 'detection_indices')


@dataclasses.dataclass(frozen=True)
class People:
    """The people in one image; the arrays have a row per person.

    Args:
        poses3d: Float32 `[n_people, joints, 3]`, mm, world frame (with the default extrinsics the
            camera frame: x right, y down, z forward).
        poses2d: Float32 `[n_people, joints, 2]`, px in the given image.
        detection_indices: Int32 `[n_people]`, the number of the person's detection (or given box)
            in its image.
        boxes: Float32 `[n_people, 5]`, left, top, width, height in px and score; None where boxes
            were given.
        uncertainty: Float32 `[n_people, joints]`, mm, see `PoseEstimator`; None if the model does
            not tell it.
    """
    poses3d: np.ndarray
    poses2d: np.ndarray
    detection_indices: np.ndarray
    boxes: typing.Optional[np.ndarray] = None
    uncertainty: typing.Optional[np.ndarray] = None

    def __len__(self):
        return len(self.poses3d)


def from_outputs(outputs, n_images, n_joints):
    """Takes the padding off.

    Args:
        outputs: Dict of arrays `[n_images, most people, ...]`, and `n_people` `[n_images]`. Where
            no image has a person, axes behind the second may be missing, as JSON loses them.
        n_images: Int, how many images were sent.
        n_joints: Function without arguments that gives the number of joints. It is called only
            if the arrays do not tell it.

    Returns:
        List with one `People` per image.

    Raises:
        attempts.FinalFailure: If these are not the outputs of such a model.
    """
    missing = {*_REQUIRED, 'n_people'} - set(outputs)
    if missing:
        raise attempts.FinalFailure(f'the answer lacks {", ".join(sorted(missing))}')
    n_people = outputs['n_people']
    outputs = {name: outputs[name] for name in _PERSON_SHAPES if name in outputs}
    if n_people.shape != (n_images,):
        raise attempts.FinalFailure(
            f'the answer is for {n_people.size} images instead of {n_images}')
    if outputs['poses3d'].size == 0:
        outputs = _without_people(outputs, n_images, n_joints())
    _check_shapes(outputs, n_images, n_people)
    return [
        People(**{name: value[i, :count] for name, value in outputs.items()})
        for i, count in enumerate(n_people)]


def _without_people(outputs, n_images, n_joints):
    return {
        name: np.zeros([n_images, 0, *_person_shape(name, n_joints)], value.dtype)
        for name, value in outputs.items()}


def _person_shape(name, n_joints):
    return tuple(n_joints if size == 'joints' else size for size in _PERSON_SHAPES[name])


def _check_shapes(outputs, n_images, n_people):
    most_people = outputs['detection_indices'].shape[-1]
    n_joints = outputs['poses3d'].shape[-2]
    for name, value in outputs.items():
        wanted = (n_images, most_people, *_person_shape(name, n_joints))
        if value.shape != wanted:
            raise attempts.FinalFailure(
                f'the answer has {name} of shape {value.shape} instead of {wanted}')
    if n_people.size and not 0 <= n_people.min() <= n_people.max() <= most_people:
        raise attempts.FinalFailure(
            f'the answer tells of {n_people.tolist()} people, but holds {most_people}')
