import keras
import pytest

from metro_tf.detection import PersonDetector, protocol
from tests import fakes


def test_detectors_follow_the_protocol():
    fake = fakes.FakeDetector([[[0.0, 0.0, 1.0, 1.0, 1.0]]])
    assert protocol.check_detector(fake) is fake
    ours = PersonDetector(keras.Sequential())
    assert protocol.check_detector(ours) is ours


def test_other_objects_do_not():
    with pytest.raises(ValueError, match='`detector` must have a method.*Received: dict'):
        protocol.check_detector({})


def test_no_detections():
    nobody = protocol.no_detections(3)
    assert nobody.shape.as_list() == [3, None, 5]
    assert nobody.row_lengths().numpy().tolist() == [0, 0, 0]
    assert protocol.no_detections(0).shape.as_list() == [0, None, 5]
