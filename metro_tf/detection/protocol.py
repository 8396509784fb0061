"""What an estimator asks of a person detector. Any object that does this can be packaged."""

import typing

import tensorflow as tf

# Defaults of the pose estimator (MeTRAbs, R23), not of the published detector alone.
DEFAULT_THRESHOLD = 0.3
DEFAULT_NMS_IOU_THRESHOLD = 0.7
MAX_DETECTIONS = 150


@typing.runtime_checkable
class Detector(typing.Protocol):
    """Finds people in a batch of images. A `tf.Module` if it has variables and is to be exported.

    The method must be traceable by `tf.function` with images of unknown batch and image size and
    consist of core TensorFlow ops.
    """

    def predict_multi_image(
            self, images, threshold=DEFAULT_THRESHOLD,
            nms_iou_threshold=DEFAULT_NMS_IOU_THRESHOLD, flip_aug=False, bothflip_aug=False):
        """Finds people.

        Args:
            images: uint8 tensor `[n_images, height, width, 3]`, RGB. `n_images` may be 0.
            threshold: Scalar in [0, 1]: people with a lower score are left out.
            nms_iou_threshold: Scalar in [0, 1]: of two boxes with a larger intersection over
                union, the one with the lower score is left out.
            flip_aug: Boolean scalar: look for people in the mirrored image as well.
            bothflip_aug: Boolean scalar: look for them in the mirrored and in the upside-down
                image as well.

        Returns:
            Float32 `tf.RaggedTensor` `[n_images, (n_people), 5]`: left, top, width, height in px
            of the given images, and score in [0, 1]; by descending score, at most
            `MAX_DETECTIONS` per image. Boxes may leave the image.
        """


def check_detector(detector):
    """Checks that an object has the method of the protocol and returns the object.

    Raises:
        ValueError: If it has not.
    """
    if not isinstance(detector, Detector):
        raise ValueError(
            '`detector` must have a method `predict_multi_image` (see '
            f'metro_tf.detection.Detector). Received: {type(detector).__name__}')
    return detector


def no_detections(n_images):
    """The result of a detector that finds nobody.

    Args:
        n_images: Integer scalar.

    Returns:
        Float32 `tf.RaggedTensor` `[n_images, (0), 5]`.
    """
    lengths = tf.zeros([n_images], tf.int64)
    return tf.RaggedTensor.from_row_lengths(tf.zeros([0, 5]), lengths)
