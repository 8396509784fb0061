"""How many people are found and how many boxes are false, as functions of the score threshold."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from metro_tf.detection import protocol
from metro_tf.geometry import boxes as box_geometry

# Candidates below this are not looked at.
LOWEST_THRESHOLD = 0.02


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionScores:
    """Results on annotated people and on photos without people.

    Args:
        found: Float array `[n_people]`: best score among the boxes that match the person, 0 if
            none does.
        false: Float array `[n]`: scores of all boxes in the photos without people.
        n_empty_photos: Number of photos without people.
    """
    found: np.ndarray
    false: np.ndarray
    n_empty_photos: int

    def recall(self, threshold=protocol.DEFAULT_THRESHOLD):
        """Fraction of the annotated people found with at least this score, NaN of nobody."""
        return float(np.mean(self.found >= threshold)) if len(self.found) else math.nan

    def false_per_photo(self, threshold=protocol.DEFAULT_THRESHOLD):
        """Boxes per photo without people with at least this score."""
        return float(np.sum(self.false >= threshold) / self.n_empty_photos)

    def threshold_at(self, max_false_per_photo):
        """Lowest threshold that gives at most this many boxes per photo without people.

        At least `LOWEST_THRESHOLD`.
        """
        n_allowed = math.floor(max_false_per_photo * self.n_empty_photos + 1e-6)
        descending = np.sort(self.false)[::-1]
        if len(descending) <= n_allowed:
            return LOWEST_THRESHOLD
        return max(LOWEST_THRESHOLD, float(np.nextafter(descending[n_allowed], np.float32(2))))


def evaluate(detector, people, empty_paths, min_iou=0.5, progress=iter):
    """Runs a detector on photos with and without people.

    Args:
        detector: Object of the detector protocol.
        people: List of pairs of an image file and the box `[4]` of a person in it, px.
        empty_paths: Paths of photos without people.
        min_iou: A box matches a person at this intersection over union.
        progress: Function from an iterable to an iterable, e.g. `tqdm.tqdm`.

    Returns:
        `DetectionScores`.
    """
    found = [
        best_match(detect(detector, path), box, min_iou)
        for path, box in progress(people)]
    false = [detect(detector, path)[:, 4] for path in progress(list(empty_paths))]
    return DetectionScores(
        np.array(found, np.float32), np.concatenate([np.zeros(0, np.float32), *false]),
        len(empty_paths))


def detect(detector, path, threshold=LOWEST_THRESHOLD):
    """Boxes `[n, 5]` in an image file, as a NumPy array."""
    image = tf.io.decode_image(tf.io.read_file(str(path)), channels=3, expand_animations=False)
    detections = detector.predict_multi_image(
        image[tf.newaxis], threshold, protocol.DEFAULT_NMS_IOU_THRESHOLD)
    return detections[0].numpy()


def best_match(detections, box, min_iou):
    """Best score among the detections that match a box.

    Args:
        detections: Float array `[n, 5]`.
        box: Float array `[4]`.
        min_iou: Smallest intersection over union of a match.

    Returns:
        Float; 0 if none matches.
    """
    iou = box_geometry.iou_matrix(detections[:, :4], box[np.newaxis]).numpy()[:, 0]
    return float(np.max(detections[iou >= min_iou, 4], initial=0.0))


def logit_shift(threshold, wanted=protocol.DEFAULT_THRESHOLD):
    """What to add to the logits so that scores at `threshold` become `wanted`."""
    return math.log(wanted / (1 - wanted)) - math.log(threshold / (1 - threshold))
