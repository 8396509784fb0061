"""A model on a server as the command line uses it; without TensorFlow where REST is used."""

import functools

from metro_tf import serving
from metro_tf.tools import loading


class ServedModel:
    """The counterpart of `loading.ExportedModel` on a model server.

    Args:
        url: Address of the server, see `serving.Client`.
        model: Name of the model there.

    Attributes:
        metadata: Dict.
        identity: Dict with the model's `name` and `version`.
        skeletons: Sorted list of the names of its joint conventions.

    Raises:
        ValueError: If the address or the name cannot be one.
        OSError: If the server cannot be reached, or has no such model.
    """

    def __init__(self, url, model):
        self._client = serving.Client(url, model=model)
        self._joints = functools.cache(self._client.joints)
        self.metadata = self._client.metadata()
        self.identity = loading.identity_of(self.metadata, model)
        self.skeletons = sorted(filter(None, self.metadata.get('skeletons', ())))

    def check_skeleton(self, skeleton):
        """Raises a `ValueError` that lists the model's skeletons if this is none of them."""
        loading.check_skeleton(skeleton, self.skeletons)

    def detect(self, image, file_name, arguments):
        """Poses in one image; see `loading.ExportedModel.detect`."""
        people = self._client.detect_poses(
            image, default_fov_degrees=arguments.fov, num_aug=arguments.num_aug,
            skeleton=arguments.skeleton, detector_threshold=arguments.threshold)
        results = {name: value for name, value in vars(people).items() if value is not None}
        return loading.photo_poses(
            results, self._joints(arguments.skeleton), image, file_name, arguments.fov)
