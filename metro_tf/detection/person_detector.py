"""The person detector that the default models carry."""

import tensorflow as tf

from metro_tf import checks
from metro_tf.detection import center_net, decoding, letterbox, protocol

# Local maxima per image that go into non-maximum suppression.
_MAX_CANDIDATES = 300
_INPUT_SIGNATURE = (
    tf.TensorSpec([None, None, None, 3], tf.uint8, 'images'),
    tf.TensorSpec([], tf.float32, 'threshold'),
    tf.TensorSpec([], tf.float32, 'nms_iou_threshold'),
    tf.TensorSpec([], tf.bool, 'flip_aug'),
    tf.TensorSpec([], tf.bool, 'bothflip_aug'))
NETWORK_SPEC = tf.TensorSpec([None, None, None, 3], tf.float32, 'image')


class PersonDetector(tf.Module):
    """Finds people by the centre of their box, with any image size and in batches.

    Follows `metro_tf.detection.Detector`; `predict_multi_image` is a `tf.function` with fixed
    signature. Boxes enclose the visible part of a person.

    Args:
        model: Network as `center_net.build_center_net` makes it, or another callable with its
            inputs (and the argument `training`) and outputs.
        input_side_px: The larger image side is resized to this; a multiple of 32. More finds
            smaller people, for time that grows with the square.

    Attributes:
        model: As given.
        input_side_px: As given.
        network: `tf.function` from the network's float32 images to its dict of grids.
    """

    def __init__(self, model, input_side_px=224):
        super().__init__(name='person_detector')
        checks.positive(input_side_px, 'input_side_px')
        if input_side_px % 32:
            raise ValueError(
                '`input_side_px` must be a multiple of 32. '
                f'Received: input_side_px={input_side_px}')
        self.model = model
        self.input_side_px = input_side_px
        self.network = tf.function(
            lambda image: self.model(image, training=False), input_signature=[NETWORK_SPEC],
            autograph=False)
        # Not a decorator: that would hold the detector weakly, and `load(...).predict_...` fail.
        self.predict_multi_image = tf.function(
            self._predict_multi_image, input_signature=_INPUT_SIGNATURE)

    @classmethod
    def load(cls, name_or_path='default', input_side_px=224):
        """Makes a detector from a release or a file; see `center_net.load`."""
        return cls(center_net.load(name_or_path), input_side_px)

    def _predict_multi_image(
            self, images, threshold=protocol.DEFAULT_THRESHOLD,
            nms_iou_threshold=protocol.DEFAULT_NMS_IOU_THRESHOLD, flip_aug=False,
            bothflip_aug=False):
        """Finds people; see `metro_tf.detection.Detector.predict_multi_image`."""
        n_images = tf.shape(images)[0]
        # Some ops refuse empty batches, so an empty one gets an image whose result is dropped.
        images = tf.pad(images, [[0, tf.maximum(1 - n_images, 0)], [0, 0], [0, 0], [0, 0]])
        inputs, transform = letterbox.letterbox(images, self.input_side_px)
        scores, boxes = self._candidates(inputs, flip_aug | bothflip_aug, bothflip_aug)
        detections = decoding.suppress(
            scores, transform.boxes_to_image(boxes), threshold, nms_iou_threshold,
            protocol.MAX_DETECTIONS)
        return detections[:n_images]

    def _candidates(self, inputs, is_mirrored_used, is_upside_down_used):
        """Candidates `[n, k]`, `[n, k, 4]` of the images and their flipped copies together."""
        shape = tf.shape(inputs)
        mirrored = tf.cond(is_mirrored_used, lambda: inputs[:, :, ::-1], lambda: inputs[:0])
        upside_down = tf.cond(is_upside_down_used, lambda: inputs[:, ::-1], lambda: inputs[:0])
        outputs = self.network(tf.concat([inputs, mirrored, upside_down], axis=0))
        boxes = decoding.decode_boxes(
            outputs['offset'], outputs['log_size'], center_net.STRIDE_PX)
        scores = decoding.keep_local_maxima(tf.sigmoid(outputs['logits'][..., 0]))
        scores, boxes = decoding.best_candidates(scores, boxes, _MAX_CANDIDATES)
        k = tf.shape(scores)[1]
        scores = tf.reshape(scores, [-1, shape[0], k])
        boxes = tf.reshape(boxes, [-1, shape[0], k, 4])
        boxes = _undo_flips(boxes, shape[1:3])
        n_candidates = tf.shape(scores)[0] * k
        return (tf.reshape(tf.transpose(scores, [1, 0, 2]), [shape[0], n_candidates]),
                tf.reshape(tf.transpose(boxes, [1, 0, 2, 3]), [shape[0], n_candidates, 4]))


def _undo_flips(boxes, image_size):
    """Boxes of the plain, mirrored and upside-down copies (first axis) in the plain image."""
    last_row_column = tf.cast(image_size, tf.float32) - 1
    is_flipped = tf.constant([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[:tf.shape(boxes)[0]]
    is_flipped = is_flipped[:, tf.newaxis, tf.newaxis]
    corner, size = boxes[..., :2], boxes[..., 2:]
    flipped_corner = tf.reverse(last_row_column, [0]) - corner - size
    corner = is_flipped * flipped_corner + (1 - is_flipped) * corner
    return tf.concat([corner, size], axis=-1)
