"""A small model in three forms: Python object, loaded export and folder of ONNX files."""

from typing import Any, NamedTuple

import pytest
import tensorflow as tf

import metro_tf
from metro_tf.export import onnx as onnx_export
from metro_tf.export import saved_model
from metro_tf.geometry import camera
from tests import fakes
from tests.detection import test_person_detector


class ConvertibleCropModel(fakes.FakeUnsureCropModel):
    """The fake crop network without the general matrix inverse, which cannot be converted.

    Two convolutions leave the picture as it is, for something to be in 8 bits.
    """

    def __call__(self, image, intrinsics):
        for _ in range(2):
            image = tf.nn.conv2d(image, tf.eye(3, batch_shape=[1, 1]), 1, 'SAME')
        points_norm = camera.normalize(
            self.body_px + fakes.CROP_SIDE_PX / 2, intrinsics[:, tf.newaxis])
        depth = fakes.DEPTH_MM + 1000.0 * tf.reduce_mean(image, axis=(1, 2, 3))
        depth = depth[:, tf.newaxis, tf.newaxis] * tf.ones_like(points_norm[..., 0])
        return camera.back_project(points_norm, depth)[:, 0]


class Forms(NamedTuple):
    """The three forms."""
    estimator: Any
    loaded: Any
    folder: Any


@pytest.fixture(scope='session')
def forms(tmp_path_factory):
    """Poses depend on the brightness, and bright spots are people to the detector."""
    estimator = metro_tf.PoseEstimator(
        ConvertibleCropModel(), test_person_detector.spot_detector(),
        mean_bone_lengths_mm=[300.0] * 6, uncertainty=True, min_box_overlap=0.2)
    root = tmp_path_factory.mktemp('onnx')
    saved_model.save(estimator, root / 'export', model_name='fake', model_version='1')
    onnx_export.export_onnx(root / 'export', root / 'onnx')
    return Forms(estimator, saved_model.load(root / 'export'), root / 'onnx')
