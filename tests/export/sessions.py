"""Exports as a server without Python runs them: graphs in sessions, signatures by name."""

import io

from PIL import Image
import numpy as np
import tensorflow as tf

from tests import fakes


def open_session(folder):
    """A session on a SavedModel, and a dict from name to `SignatureDef`."""
    config = tf.compat.v1.ConfigProto()
    # Optimising takes seconds for every new set of inputs; a test elsewhere leaves it on.
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        meta_graph = tf.compat.v1.saved_model.loader.load(session, ['serve'], str(folder))
    return session, dict(meta_graph.signature_def)


class SignatureSession:
    """A session on a SavedModel.

    Args:
        folder: Path of the SavedModel.

    Attributes:
        signatures: Dict from name to `SignatureDef`.
    """

    def __init__(self, folder):
        self._session, self.signatures = open_session(folder)

    def run(self, signature_name, **inputs):
        """Runs a signature as the server does: with the defaults of all options not given.

        Returns:
            Dict of arrays.
        """
        defaults = self.signatures[signature_name].defaults
        return self.run_alone(signature_name, **{
            **{name: tf.make_ndarray(proto) for name, proto in defaults.items()}, **inputs})

    def run_alone(self, signature_name, **inputs):
        """Runs a signature with these inputs alone, the graph having defaults, too."""
        signature = self.signatures[signature_name]
        outputs = {name: info.name for name, info in signature.outputs.items()}
        return self._session.run(
            outputs, {signature.inputs[name].name: value for name, value in inputs.items()})


class CountingDetector(tf.Module):
    """Finds as many people as the first value of an image tells, at most three, side by side."""

    def predict_multi_image(
            self, images, threshold, nms_iou_threshold, flip_aug=False, bothflip_aug=False):
        counts = tf.cast(images[:, 0, 0, 0], tf.int64)
        number = tf.cast(tf.ragged.range(counts).values, tf.float32)
        rest = tf.zeros_like(number)
        boxes = tf.stack(
            [10 + 80 * number, rest + 10, rest + 40, rest + 80, 0.9 - 0.1 * number], axis=1)
        boxes = tf.RaggedTensor.from_row_lengths(boxes, counts)
        return tf.ragged.boolean_mask(boxes, boxes[..., 4] >= threshold)


def photo(n_people, height=100, width=250):
    """uint8 noise in which `CountingDetector` finds so many people."""
    rng = np.random.default_rng([n_people, height, width])
    pixels = rng.integers(0, 256, [height, width, 3]).astype(np.uint8)
    pixels[0, 0, 0] = n_people
    return pixels


def png(pixels):
    """Bytes of a PNG file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, 'PNG')
    return content.getvalue()


def make_estimator():
    """`PoseEstimator` of stand-ins that tells uncertainties."""
    from metro_tf import estimator
    return estimator.PoseEstimator(
        fakes.FakeUnsureCropModel(), CountingDetector(), uncertainty=True)
