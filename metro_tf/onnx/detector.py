"""People in images by an ONNX network; see `metro_tf.detection.person_detector`."""

import numpy as np

from metro_tf.onnx import decoding, letterbox

# As in `metro_tf.detection`.
STRIDE_PX = 8
MAX_DETECTIONS = 150
_MAX_CANDIDATES = 300


class PersonDetector:
    """Finds people by the centre of their box.

    Args:
        network: Function from float32 images `[n, height, width, 3]` in [0, 1] to a dict of the
            grids `logits`, `offset` and `log_size`.
        input_side_px: The larger image side is resized to this.
    """

    def __init__(self, network, input_side_px):
        self._network = network
        self._input_side_px = input_side_px

    def predict_multi_image(self, images, threshold, nms_iou_threshold, flip_aug=False):
        """Finds people; see `metro_tf.detection.Detector.predict_multi_image`.

        Args:
            images: uint8 array `[n_images, height, width, 3]`.
            threshold: Float, the lowest score of a result.
            nms_iou_threshold: Float, the largest overlap of two results.
            flip_aug: Whether to look in the mirrored image as well.

        Returns:
            List with a float32 array `[n_people, 5]` per image: left, top, width, height in px
            and score, by descending score.
        """
        if not len(images):
            return []
        inputs, scale, offset = letterbox.letterbox(images, self._input_side_px)
        scores, boxes = self._candidates(inputs)
        if flip_aug:
            mirrored_scores, mirrored_boxes = self._candidates(inputs[:, :, ::-1])
            mirrored_boxes[..., 0] = (
                np.float32(inputs.shape[2] - 1) - mirrored_boxes[..., 0] - mirrored_boxes[..., 2])
            scores = np.concatenate([scores, mirrored_scores], axis=1)
            boxes = np.concatenate([boxes, mirrored_boxes], axis=1)
        boxes = letterbox.boxes_to_image(boxes, scale, offset)
        return [
            decoding.suppress(*candidates, threshold, nms_iou_threshold, MAX_DETECTIONS)
            for candidates in zip(scores, boxes)]

    def _candidates(self, inputs):
        """Scores `[n, k]` and boxes `[n, k, 4]` in letterboxed images."""
        outputs = self._network(image=np.ascontiguousarray(inputs))
        scores = 1 / (1 + np.exp(-outputs['logits'][..., 0]))
        boxes = decoding.decode_boxes(outputs['offset'], outputs['log_size'], STRIDE_PX)
        return decoding.best_candidates(
            decoding.keep_local_maxima(scores), boxes, _MAX_CANDIDATES)
