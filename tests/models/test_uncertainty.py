"""How sure the heatmaps of all crop models are of every joint."""

import numpy as np
import pytest
import tensorflow as tf

from metro_tf import models
from tests.models import common, test_margipose

WITH = [models.Metrabs, models.LatentMetrabs, models.MargiPose, models.AbsoluteMargiPose]
WITHOUT = [models.Metro, models.Pose25D]
MARGINAL = [models.MargiPose, models.AbsoluteMargiPose]


def make_model(model_cls):
    if model_cls in MARGINAL:
        return test_margipose.make_model(model_cls, n_stages=2)
    return common.make_model(model_cls)


def spikes(shape, *cells):
    """Heatmaps with equal masses in the given cells of all joints, none elsewhere."""
    heatmaps = np.zeros(shape, np.float32)
    for cell in cells:
        heatmaps[(0, *cell)] = 1 / len(cells)
    return heatmaps


@pytest.mark.parametrize('model_cls', WITH)
def test_pose_is_that_of_a_call(model_cls):
    model, inputs = make_model(model_cls), common.make_inputs()
    poses, uncertainty = model.predict_with_uncertainty(inputs)
    np.testing.assert_allclose(poses, model(inputs), rtol=1e-3, atol=1)
    assert uncertainty.shape == (3, 4) and uncertainty.dtype == tf.float32
    assert np.all(uncertainty > 1) and np.all(np.isfinite(uncertainty))
    outputs = model.predict_heatmaps((inputs['image'], inputs['intrinsics']))
    np.testing.assert_allclose(model.uncertainty_mm(outputs, inputs), uncertainty, rtol=1e-3)


@pytest.mark.parametrize('model_cls', WITH)
def test_unknown_batch_size(model_cls):
    model, inputs = make_model(model_cls), common.make_inputs()
    predict = tf.function(model.predict_with_uncertainty, input_signature=[{
        'image': tf.TensorSpec([None, None, None, 3]),
        'intrinsics': tf.TensorSpec([None, 3, 3])}])
    np.testing.assert_allclose(
        predict(inputs)[1], model.predict_with_uncertainty(inputs)[1], rtol=1e-3)
    none = {name: value[:0] for name, value in inputs.items()}
    assert [output.shape for output in predict(none)] == [(0, 4, 3), (0, 4)]


@pytest.mark.parametrize('model_cls', WITH)
def test_network_runs_once_and_not_in_training(model_cls):
    model, calls = make_model(model_cls), []
    predict_logits = model.predict_logits

    def recording(image, training=False):
        calls.append(training)
        return predict_logits(image, training)

    model.predict_logits = recording
    model.predict_with_uncertainty(common.make_inputs())
    assert calls == [False]


@pytest.mark.parametrize('model_cls', WITHOUT)
def test_models_without_say_so(model_cls):
    model, inputs = make_model(model_cls), common.make_inputs()
    assert not model.has_uncertainty
    message = f'The model must have metric heatmaps of an abs.* Received: {model_cls.__name__}'
    with pytest.raises(ValueError, match=message):
        model.predict_with_uncertainty(inputs)
    with pytest.raises(ValueError, match=message):
        model.uncertainty_mm({}, inputs)


def test_metrabs_by_hand():
    """Cells of 16 px of 64 in a box of 2000 mm, thus 500 mm apart, as are 5 planes."""
    logits = 100 * spikes((1, 4, 4, 5, 4), (0, 0, 1), (3, 1, 3))
    # Halves of 3 rows, 1 column and 2 planes.
    expected = 500 * np.sqrt(1.5 ** 2 + 0.5 ** 2 + 1 ** 2)
    model = common.make_model(models.Metrabs)
    np.testing.assert_allclose(
        model.uncertainty_mm({'logits3d': logits}, common.make_inputs(1)),
        np.full([1, 4], expected), rtol=1e-5)


def test_finer_cells_out_of_training():
    model = common.make_model(models.Metrabs)
    model.heads.test_stride_px = 8
    logits = 100 * spikes((1, 8, 8, 5, 4), (0, 0, 1), (6, 0, 1))
    np.testing.assert_allclose(
        model.uncertainty_mm({'logits3d': logits}, common.make_inputs(1)),
        np.full([1, 4], 3 * 250), rtol=1e-5)


def test_joints_from_independent_latent_points_by_hand():
    model = common.make_model(models.LatentMetrabs)
    # Joints 0 and 1 are points 0 and 1, joint 2 their middle, joint 3 beyond.
    matrix = np.float32([[1, 0, 0.5, 2], [0, 1, 0.5, -1], [0, 0, 0, 0]])
    model.decoder.set_matrix(matrix)
    logits = np.zeros([1, 4, 4, 5, 3], np.float32)
    logits[0, 0, (0, 2), 0, 0] = 100  # 500 mm
    logits[0, 0, 0, (0, 4), 1] = 100  # 1000 mm
    deviations = 500, 1000, np.hypot(250, 500), np.hypot(1000, 1000)
    np.testing.assert_allclose(
        model.uncertainty_mm({'logits3d': logits}, common.make_inputs(1)), [deviations], rtol=1e-5)


def planes_of_four_cells():
    """Deviations in cells, along columns and rows: xy 0.5 and 1.5, zy 1 and 0, xz 1.5 and 0.5."""
    return np.concatenate([
        spikes((1, 4, 4, 1, 4), (0, 0), (3, 1)), spikes((1, 4, 4, 1, 4), (2, 1), (2, 3)),
        spikes((1, 4, 4, 1, 4), (0, 0), (1, 3))], axis=3)


def test_absolute_margipose_by_hand():
    """x from xz, y from zy, z from both; four cells over 2000 mm."""
    model = test_margipose.make_model(models.AbsoluteMargiPose, box_size_mm=2000.0)
    outputs = {'stages': ({'heatmaps': np.full([1, 4, 4, 3, 4], 1 / 16, np.float32)},
                          {'heatmaps': planes_of_four_cells()})}
    expected = 500 * np.sqrt(1.5 ** 2 + 0 + (1 + 0.5 ** 2) / 2)
    np.testing.assert_allclose(
        model.uncertainty_mm(outputs, common.make_inputs(1)), np.full([1, 4], expected), rtol=1e-5)


def test_margipose_by_hand():
    """x and y from xy; four cells of 0.5. At (0, 0, Z), a step dz_n is Z / A."""
    model = test_margipose.make_model(models.MargiPose)
    inputs = common.make_inputs(1)  # focal length 120 and a side of 64 px
    k = 64 / 120
    depth_factor = (1 + np.sqrt(1 + k ** 2)) / k
    outputs = {
        'stages': ({'heatmaps': planes_of_four_cells()},),
        'coords': np.zeros([1, 4, 3], np.float32),
        'coords3d_cam': np.tile(np.float32([0, 0, 3000]), (1, 4, 1))}
    cell_mm = 0.5 * 32 / 120 * 3000
    depth_cell_mm = 0.5 * 3000 / depth_factor
    expected = np.sqrt(
        cell_mm ** 2 * (0.5 ** 2 + 1.5 ** 2) + depth_cell_mm ** 2 * (1 + 0.5 ** 2) / 2)
    np.testing.assert_allclose(
        model.uncertainty_mm(outputs, inputs), np.full([1, 4], expected), rtol=1e-5)


def test_margipose_is_proportional_to_the_depth():
    model, inputs = make_model(models.MargiPose), common.make_inputs()
    near, far = (
        model.predict_with_uncertainty({**inputs, 'root_depth_mm': np.float32([depth] * 3)})[1]
        for depth in (2000, 4000))
    np.testing.assert_allclose(far, 2 * near, rtol=1e-3)


def test_sharper_heatmaps_are_surer():
    model, inputs = make_model(models.Metrabs), common.make_inputs()
    _, before = model.predict_with_uncertainty(inputs)
    model.heads.set_weights([20 * weight for weight in model.heads.get_weights()])
    _, after = model.predict_with_uncertainty(inputs)
    assert np.all(after.numpy() < before.numpy())


def test_half_precision(dtype_policy):
    dtype_policy('mixed_bfloat16')
    for model_cls in WITH:
        _, uncertainty = make_model(model_cls).predict_with_uncertainty(common.make_inputs())
        assert uncertainty.dtype == tf.float32 and np.all(np.isfinite(uncertainty))
