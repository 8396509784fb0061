"""Models of marginal heatmaps go through the exporter like any other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import metro_tf
from metro_tf import models
from metro_tf.export import saved_model
from tests import fakes
from tests.models import test_margipose

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).repeat(4, 0).repeat(4, 1).astype(
    np.uint8)
INTRINSICS = np.float32([[150, 0, 80], [0, 150, 60], [0, 0, 1]])
BOXES = np.float32([[20, 20, 60, 80], [80, 10, 50, 90]])
# Positions of untrained models are ill-conditioned, in proportion to the size of the box.
SETTINGS = {models.MargiPose: {}, models.AbsoluteMargiPose: {'box_size_mm': 500.0}}


@pytest.fixture(scope='module', params=SETTINGS, ids=lambda cls: cls.__name__)
def both(request, tmp_path_factory):
    """A Python object and what comes back from its export."""
    keras.utils.set_random_seed(0)
    crop_model = test_margipose.make_model(request.param, **SETTINGS[request.param])
    detector = fakes.FakeDetector([[[*box, 0.9] for box in BOXES.tolist()]])
    estimator = metro_tf.PoseEstimator(crop_model, detector, uncertainty=True)
    path = tmp_path_factory.mktemp('export') / 'margipose'
    saved_model.save(estimator, path)
    return estimator, tf.saved_model.load(str(path))


def assert_agree(actual, expected):
    """To 0.1 mm and 0.1 px, or 0.1 % of the pixels of joints beside the camera."""
    assert set(actual) == set(expected)
    for name in expected:
        np.testing.assert_allclose(
            actual[name], expected[name], atol=0.1, rtol=1e-3 if name == 'poses2d' else 0,
            err_msg=name)


@pytest.mark.parametrize('average_aug', [True, False])
def test_detected_poses_agree(both, average_aug):
    estimator, loaded = both
    arguments = dict(suppress_implausible_poses=False, num_aug=2, average_aug=average_aug)
    expected = estimator.detect_poses(IMAGE, INTRINSICS, **arguments)
    shape = (2, 4) if average_aug else (2, 2, 4)
    assert expected['poses3d'].shape == (*shape, 3) and expected['uncertainty'].shape == shape
    assert np.all(np.isfinite(expected['poses3d']))
    assert_agree(loaded.detect_poses(IMAGE, INTRINSICS, **arguments), expected)


def test_poses_in_given_boxes_agree(both):
    estimator, loaded = both
    expected = estimator.estimate_poses(IMAGE, BOXES, INTRINSICS)
    assert expected['poses3d'].shape == (2, 4, 3)
    assert_agree(loaded.estimate_poses(IMAGE, BOXES, INTRINSICS), expected)
    no_boxes = loaded.estimate_poses(IMAGE, BOXES[:0], INTRINSICS)
    assert no_boxes['poses3d'].shape == (0, 4, 3) and no_boxes['uncertainty'].shape == (0, 4)


def test_universal_scale_survives():
    """In every view by itself, and thus in the only one here."""
    crop_model = test_margipose.make_model(models.MargiPose)
    people = metro_tf.PoseEstimator(crop_model).estimate_poses(IMAGE, BOXES, num_aug=1)
    poses = people['poses3d'].numpy()
    heights = sum(
        np.linalg.norm(poses[:, i] - poses[:, j], axis=-1)
        for i, j in test_margipose.HEIGHT_EDGES)
    np.testing.assert_allclose(heights, [500, 500], rtol=1e-3)
