"""Conversion of networks to ONNX: same outputs, any batch size, nothing left behind on failure."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

import metro_tf
from metro_tf import models
from metro_tf.export import networks
from metro_tf.export import onnx as onnx_export
from metro_tf.export import saved_model
from tests import fakes
from tests.detection import test_person_detector
from tests.models import common


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Folders of an export of small networks and of its ONNX files."""
    crop_model = common.with_random_weights(common.make_model(models.Metrabs))
    crop_model(common.make_inputs())
    detector = metro_tf.PersonDetector(test_person_detector.small_net(), 64)
    root = tmp_path_factory.mktemp('onnx')
    saved_model.save(metro_tf.PoseEstimator(crop_model, detector), root / 'export')
    onnx_export.export_onnx(root / 'export', root / 'onnx')
    return root / 'export', root / 'onnx'


@pytest.mark.parametrize('n_crops', [1, 3])
def test_crop_network_gives_the_same_poses(folders, n_crops):
    inputs = common.make_inputs(n_crops)
    image, intrinsics = inputs['image'], inputs['intrinsics']
    loaded = saved_model.load(folders[0])
    expected = loaded.crop_model.network(image, intrinsics)['poses']
    session = onnxruntime.InferenceSession(folders[1] / 'crop_model.onnx')
    actual, = session.run(['poses'], {'image': image, 'intrinsic_matrix': intrinsics})
    assert np.ptp(expected) > 100
    np.testing.assert_allclose(actual, expected, atol=0.1)


@pytest.mark.parametrize('shape', [(1, 64, 32), (2, 96, 64)])
def test_detector_takes_any_size(folders, shape):
    image = np.random.default_rng(0).random([*shape, 3]).astype(np.float32)
    loaded = saved_model.load(folders[0])
    expected = loaded.detector.network(image)
    session = onnxruntime.InferenceSession(folders[1] / 'detector.onnx')
    for name in ('logits', 'offset', 'log_size'):
        actual, = session.run([name], {'image': image})
        np.testing.assert_allclose(actual, expected[name], atol=1e-4, err_msg=name)


def test_inputs_and_outputs_are_named(folders):
    session = onnxruntime.InferenceSession(folders[1] / 'crop_model.onnx')
    assert {value.name: value.shape for value in session.get_inputs()} == {
        'image': ['n', 64, 64, 3], 'intrinsic_matrix': ['n', 3, 3]}
    assert {value.name: value.shape for value in session.get_outputs()} == {
        'poses': ['n', 4, 3]}
    session = onnxruntime.InferenceSession(folders[1] / 'detector.onnx')
    assert session.get_inputs()[0].shape[3] == 3
    assert {value.name for value in session.get_outputs()} == {'logits', 'offset', 'log_size'}


def test_nothing_deprecated_is_used(folders):
    for name in ('crop_model.onnx', 'crop_model_int8.onnx', 'detector.onnx'):
        model = onnx.load(folders[1] / name)
        onnx.checker.check_model(model, full_check=True)
        modes = [attribute.s for node in model.graph.node for attribute in node.attribute]
        assert b'tf_half_pixel_for_nn' not in modes


@pytest.mark.parametrize('size', [(3, 5), (4, 7)])
def test_resizing_is_rewritten_without_change(size):
    image = np.arange(4 * 6, dtype=np.float32).reshape([1, 2, 4, 3])
    function = tf.function(
        lambda image: {'resized': tf.image.resize(image, size, 'nearest')},
        input_signature=[tf.TensorSpec([None, 2, 4, 3], name='image')])
    content = onnx_export._convert(function)
    actual, = onnxruntime.InferenceSession(content).run(None, {'image': image})
    np.testing.assert_array_equal(actual, tf.image.resize(image, size, 'nearest'))


def test_first_convolution_stays_in_floats(folders):
    kinds = [
        [node.op_type for node in onnx.load(folders[1] / name).graph.node]
        for name in ('crop_model.onnx', 'crop_model_int8.onnx')]
    assert kinds[0].count('Conv') > 1
    assert kinds[1].count('Conv') == 1
    assert kinds[1].count('ConvInteger') == kinds[0].count('Conv') - 1


def test_existing_folder_is_kept_unless_told_otherwise(folders, tmp_path):
    out_dir = tmp_path / 'onnx'
    out_dir.mkdir()
    with pytest.raises(ValueError, match='`path` must not exist unless `overwrite` is set'):
        onnx_export.export_onnx(folders[0], out_dir)
    assert list(out_dir.iterdir()) == []


def test_other_detectors_are_refused(tmp_path):
    estimator = metro_tf.PoseEstimator(fakes.FakeCropModel(), fakes.FakeDetector([[]]))
    saved_model.save(estimator, tmp_path / 'export')
    with pytest.raises(ValueError, match='`name_or_path` must be an export without detector or'):
        onnx_export.export_onnx(tmp_path / 'export', tmp_path / 'onnx')
    assert [path.name for path in tmp_path.iterdir()] == ['export']


def test_operations_that_onnx_lacks_are_told():
    function = tf.function(
        lambda image: {'decoded': tf.io.decode_raw(tf.io.encode_png(image), tf.uint8)},
        input_signature=[tf.TensorSpec([4, 4, 3], tf.uint8, name='image')])
    with pytest.raises(ValueError, match='only operations that tf2onnx can convert'):
        onnx_export._convert(function)


def test_older_exports_are_refused(monkeypatch):
    class Older(tf.Module):
        crop_model = tf.Module()

    monkeypatch.setattr(saved_model, 'load', lambda name_or_path: Older())
    with pytest.raises(ValueError, match='must be an export with the function `crop_model.net'):
        networks.load('default/1')


def test_missing_packages_are_told():
    networks.check_packages('onnx')
    with pytest.raises(ValueError, match=r"no_such_package is missing.*metro-tf\[export\]"):
        networks.check_packages('onnx', 'no_such_package')


def test_logging_is_left_alone(folders, tmp_path):
    level = logging.root.level
    onnx_export.export_onnx(folders[0], tmp_path / 'onnx')
    assert logging.root.level == level and logging.root.manager.disable == 0
