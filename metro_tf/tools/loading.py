"""Exported models as the command line uses them, and its way to tell what went wrong."""

import contextlib
import json
import math
import os
import sys

import numpy as np

from metro_tf.tools import writers


class ExportedModel:
    """A loaded export, its attributes as Python and NumPy values.

    Args:
        model: What `metro_tf.load` gives.
        name_or_path: What the user called it.

    Attributes:
        metadata: Dict, empty if the model tells nothing of itself.
        identity: Dict with the model's `name` and `version`.
        skeletons: Sorted list of the names of its joint conventions.
    """

    def __init__(self, model, name_or_path):
        self._model = model
        self.metadata = _parse_metadata(getattr(self._model, 'metadata', None))
        self.identity = identity_of(self.metadata, name_or_path)
        self.skeletons = sorted(name for name in self._model.per_skeleton_joint_names if name)

    def check_skeleton(self, skeleton):
        """Raises a `ValueError` that lists the model's skeletons if this is none of them."""
        check_skeleton(skeleton, self.skeletons)

    def joints(self, skeleton):
        """Names and edges of a skeleton, of the whole model for an empty name."""
        if skeleton:
            names = self._model.per_skeleton_joint_names[skeleton]
            edges = self._model.per_skeleton_joint_edges[skeleton]
        else:
            names, edges = self._model.joint_names, self._model.joint_edges
        return (
            tuple(_as_str(name) for name in np.asarray(names)),
            tuple((int(a), int(b)) for a, b in np.asarray(edges).reshape(-1, 2)))

    def detect(self, image, file_name, arguments):
        """Poses in one image.

        Args:
            image: uint8 array `[height, width, 3]`, RGB.
            file_name: Name of the photo.
            arguments: Object with the attributes `fov`, `num_aug`, `skeleton` and `threshold`.

        Returns:
            `writers.PhotoPoses`.
        """
        results = self._model.detect_poses(
            image, default_fov_degrees=arguments.fov, num_aug=arguments.num_aug,
            skeleton=arguments.skeleton, detector_threshold=arguments.threshold)
        return photo_poses(
            results, self.joints(arguments.skeleton), image, file_name, arguments.fov)

    def surest_box(self, image):
        """Box of the most confident detection in one image.

        Args:
            image: uint8 array `[height, width, 3]`, RGB.

        Returns:
            Float array `[5]`: left, top, width, height in px and score. None if nobody is found.
        """
        boxes = np.asarray(self._model.detect_poses(
            image, num_aug=1, skeleton='', max_detections=1,
            suppress_implausible_poses=False)['boxes'])
        return boxes[np.argmax(boxes[:, 4])] if len(boxes) else None


def identity_of(metadata, name_or_path):
    """Dict with the `name` and `version` of a model, as far as its metadata tell."""
    # What a model does not tell of itself, the user's way to name it says best.
    return {
        'name': metadata.get('model_name') or str(name_or_path),
        'version': metadata.get('model_version') or 'unknown'}


def check_skeleton(skeleton, known):
    """Raises a `ValueError` that lists the known names unless a name is empty or one of them."""
    if skeleton and skeleton not in known:
        raise ValueError(
            f'`--skeleton` must be one of {", ".join(known)}. Received: {skeleton!r}')


def photo_poses(results, joints, image, file_name, fov_degrees):
    """The people in a photo.

    Args:
        results: Dict of arrays or tensors, as `PoseEstimator.detect_poses` gives it.
        joints: Pair of joint names and edges.
        image: uint8 array `[height, width, 3]`.
        file_name: Name of the photo.
        fov_degrees: Float, the field of view that was assumed along the larger side.

    Returns:
        `writers.PhotoPoses`.
    """
    arrays = {
        name: np.asarray(results[name])
        for name in ('boxes', 'poses3d', 'poses2d', 'uncertainty') if name in results}
    uncertainty_mm = arrays.pop('uncertainty', None)
    return writers.PhotoPoses(
        file_name=file_name, image_shape=image.shape[:2], joint_names=joints[0],
        joint_edges=joints[1], intrinsics=assumed_intrinsics(fov_degrees, image.shape),
        fov_degrees=fov_degrees, uncertainty_mm=uncertainty_mm, **arrays)


def assumed_intrinsics(fov_degrees, image_shape):
    """As `geometry.camera.intrinsics_from_fov`, in NumPy: `[3, 3]`, px."""
    height, width = image_shape[:2]
    focal = max(height, width) / (2 * math.tan(math.radians(fov_degrees) / 2))
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)


def load(name_or_path, load_model=None):
    """Loads an exported model.

    Args:
        name_or_path: See `metro_tf.load`.
        load_model: Function that does so. None takes `metro_tf.load`.

    Returns:
        `ExportedModel`.

    Raises:
        ValueError: If it cannot be loaded.
    """
    quiet_tensorflow()
    with explained(f'the model {name_or_path!r} cannot be loaded'):
        return ExportedModel((load_model or _load_export)(name_or_path), name_or_path)


def quiet_tensorflow():
    """Hides TensorFlow's start-up notes, which help nobody here. To be called before its import."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')


@contextlib.contextmanager
def explained(what_failed):
    """Turns the errors that mean unusable input, rather than a defect, into `ValueError`."""
    try:
        yield
    except (ValueError, OSError, *_errors_of_graphs()) as error:
        raise ValueError(f'{what_failed}: {message_of(error)}') from error


def _errors_of_graphs():
    """TensorFlow's errors, where it was imported at all."""
    tensorflow = sys.modules.get('tensorflow')
    return (tensorflow.errors.OpError,) if tensorflow else ()


def message_of(error):
    """Message of an exception; of TensorFlow's, only the part that says what is wrong."""
    message = getattr(error, 'message', None) or str(error) or type(error).__name__
    return str(message).strip().splitlines()[0]


def _load_export(name_or_path):
    from metro_tf.export import saved_model
    return saved_model.load(name_or_path)


def _parse_metadata(metadata):
    """Dict from what a model says of itself: JSON text (also as a tensor), a dict or nothing."""
    if metadata is None or isinstance(metadata, dict):
        return dict(metadata or {})
    text = metadata.numpy() if hasattr(metadata, 'numpy') else metadata
    return json.loads(_as_str(text))


def _as_str(text):
    return text.decode('utf-8') if isinstance(text, bytes) else str(text)
