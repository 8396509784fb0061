"""Models of volumes go through the estimator and the exporter like any other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import metro_tf
from metro_tf.export import saved_model
from tests import fakes
from tests.models import common, test_coarse_to_fine, test_coordinate_regression, test_decoupled

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).repeat(4, 0).repeat(4, 1).astype(
    np.uint8)
INTRINSICS = np.float32([[150, 0, 80], [0, 150, 60], [0, 0, 1]])
BOXES = np.float32([[20, 20, 60, 80], [80, 10, 50, 90]])
MAKERS = {
    'CoarseToFine': test_coarse_to_fine.make_model, 'Decoupled': test_decoupled.make_model}


@pytest.fixture(scope='module', params=MAKERS)
def both(request, tmp_path_factory):
    """A Python object and what comes back from its export."""
    keras.utils.set_random_seed(0)
    # The arg max of untrained volumes jumps at the least difference between images; means do not.
    crop_model = MAKERS[request.param](decoding='soft_argmax')
    detector = fakes.FakeDetector([[[*box, 0.9] for box in BOXES.tolist()]])
    estimator = metro_tf.PoseEstimator(crop_model, detector)
    path = tmp_path_factory.mktemp('export') / 'volumes'
    saved_model.save(estimator, path)
    return estimator, tf.saved_model.load(str(path))


def assert_agree(actual, expected):
    assert set(actual) == set(expected)
    for name in expected:
        np.testing.assert_allclose(
            actual[name], expected[name], atol=0.1, rtol=1e-3, err_msg=name)


@pytest.mark.slow
def test_detected_poses_agree(both):
    estimator, loaded = both
    arguments = dict(suppress_implausible_poses=False, num_aug=2)
    expected = estimator.detect_poses(IMAGE, INTRINSICS, **arguments)
    assert expected['poses3d'].shape == (2, 4, 3) and np.all(np.isfinite(expected['poses3d']))
    assert_agree(loaded.detect_poses(IMAGE, INTRINSICS, **arguments), expected)


@pytest.mark.slow
def test_poses_in_given_boxes_agree(both):
    estimator, loaded = both
    expected = estimator.estimate_poses(IMAGE, BOXES, INTRINSICS)
    assert_agree(loaded.estimate_poses(IMAGE, BOXES, INTRINSICS), expected)
    assert loaded.estimate_poses(IMAGE, BOXES[:0], INTRINSICS)['poses3d'].shape == (0, 4, 3)


def test_exported_arg_max():
    """In every crop of its own, the export finds the same voxels."""
    crop_model = test_coarse_to_fine.make_model()
    inputs = common.make_inputs()
    network = metro_tf.PoseEstimator(crop_model).crop_model
    expected = crop_model(inputs)
    actual = network.predict_multi(inputs['image'], inputs['intrinsics'])
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=0.1)


@pytest.mark.parametrize('crop_model, name', [
    (lambda: test_coarse_to_fine.make_model((1,), bone_lengths_mm=None), 'CoarseToFine'),
    (test_coordinate_regression.make_model, 'CoordinateRegression')])
def test_models_without_a_position_are_refused(crop_model, name):
    with pytest.raises(ValueError, match=f'must predict positions in front .*Received: {name}'):
        metro_tf.PoseEstimator(crop_model())


def test_there_is_no_uncertainty():
    with pytest.raises(ValueError, match='`predict_with_uncertainty`.*Received: CoarseToFine'):
        metro_tf.PoseEstimator(test_coarse_to_fine.make_model(), uncertainty=True)
