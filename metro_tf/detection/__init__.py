"""People in images: the detector protocol and our own detector.

Boxes are `[left, top, width, height, score]` in pixels of the given image. Pixel centres are
integers, so that a single pixel at (3, 5) has the box (2.5, 4.5, 1, 1).
"""

from metro_tf.detection.person_detector import PersonDetector
from metro_tf.detection.protocol import Detector

__all__ = ['Detector', 'PersonDetector']
