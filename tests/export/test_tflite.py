"""The crop network as TFLite: same outputs as the export, for any batch size."""

import numpy as np
import pytest
import tensorflow as tf

import metro_tf
from metro_tf import models
from metro_tf.export import saved_model, tflite
from tests.models import common


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    crop_model = common.make_model(models.Metrabs)
    crop_model(common.make_inputs())
    path = tmp_path_factory.mktemp('tflite') / 'export'
    saved_model.save(metro_tf.PoseEstimator(crop_model, uncertainty=True), path)
    return path


def test_same_outputs_for_several_batch_sizes(folder):
    interpreter = tf.lite.Interpreter(model_content=tflite.convert(folder))
    run = interpreter.get_signature_runner('serving_default')
    loaded = saved_model.load(folder)
    for n_crops in (1, 3):
        inputs = common.make_inputs(n_crops)
        expected = loaded.crop_model.network(inputs['image'], inputs['intrinsics'])
        actual = run(image=inputs['image'], intrinsic_matrix=inputs['intrinsics'])
        assert set(actual) == {'poses', 'uncertainty'}
        np.testing.assert_allclose(actual['poses'], expected['poses'], atol=0.5)
        np.testing.assert_allclose(actual['uncertainty'], expected['uncertainty'], atol=0.5)


def test_operations_that_tflite_lacks_are_told(folder, monkeypatch):
    text = tf.function(
        lambda image: {'png': tf.io.encode_png(image)},
        input_signature=[tf.TensorSpec([4, 4, 3], tf.uint8, name='image')])
    loaded = tflite.networks.load(folder)._replace(crop_model=text)
    monkeypatch.setattr(tflite.networks, 'load', lambda name_or_path: loaded)
    with pytest.raises(ValueError, match='only operations that TFLite knows. Received: x'):
        tflite.convert('x')
