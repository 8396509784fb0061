import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import metrics


def poses(rng, n):
    return rng.normal(size=[n, 4, 3]).astype(np.float32) * 300


def test_mpjpe_counts_joints_not_batches():
    rng = np.random.default_rng(0)
    true, pred = poses(rng, 5), poses(rng, 5)
    mask = rng.random([5, 4]) < 0.7
    errors = metrics.joint_errors(true, pred, tf.constant(mask), 'none').numpy()
    metric = metrics.MPJPE('none')
    metric.update_state(true[:4], pred[:4], mask[:4])
    metric.update_state(true[4:], pred[4:], mask[4:])
    np.testing.assert_allclose(metric.result(), errors[mask].mean(), rtol=1e-5)


def test_alignments_on_hand_computed_errors():
    true = np.float32([[[0, 0, 0], [100, 0, 0]]])
    pred = np.float32([[[0, 0, 50], [160, 0, 50]]])
    mask = np.ones([1, 2], bool)
    np.testing.assert_allclose(
        metrics.joint_errors(true, pred, mask, 'none')[0], [50, np.hypot(60, 50)], rtol=1e-5)
    np.testing.assert_allclose(metrics.joint_errors(true, pred, mask)[0], [30, 30], rtol=1e-5)


def test_procrustes_error_vanishes_for_a_turned_and_scaled_pose():
    rng = np.random.default_rng(2)
    true = poses(rng, 2)
    turn = np.float32([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    error = metrics.joint_errors(true, 0.5 * true @ turn + 70, np.ones([2, 4], bool), 'procrustes')
    np.testing.assert_allclose(error, 0, atol=0.05)


def test_pck_includes_its_threshold_and_auc_is_linear():
    true = np.zeros([1, 3, 3], np.float32)
    pred = np.float32([[[150, 0, 0], [151, 0, 0], [75, 0, 0]]])
    mask = np.ones([1, 3], bool)
    pck, auc = metrics.PCK(alignment='none'), metrics.AUC(alignment='none')
    for metric in (pck, auc):
        metric.update_state(true, pred, mask)
    np.testing.assert_allclose(pck.result(), 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(auc.result(), 0.5 / 3, rtol=1e-6)


def test_torso_pck_uses_the_labelled_torso():
    metric = metrics.TorsoPCK(['lsho', 'rhip', 'nose'])
    true = np.float32([[[0, 0], [0, 100], [50, 50]]] * 2)
    pred = true + np.float32([[[19, 0], [21, 0], [0, 20]]])
    mask = np.array([[True, True, True], [True, False, True]])  # the second has no torso
    metric.update_state(true, pred, mask)
    np.testing.assert_allclose(metric.result(), 2 / 3, rtol=1e-6)


def test_distance_error_is_relative():
    metric = metrics.DistanceError()
    true = np.float32([[[-100, 0, 4000], [100, 0, 4000]]])
    metric.update_state(true, 1.1 * true, np.ones([1, 2], bool))
    metric.update_state(true, 5 * true, np.zeros([1, 2], bool))
    np.testing.assert_allclose(metric.result(), 0.1, rtol=1e-4)


@pytest.mark.parametrize('metric', [
    metrics.MPJPE('procrustes', name='pa'), metrics.PCK(120.0), metrics.AUC(90.0, 'none'),
    metrics.TorsoPCK(['lsho', 'rhip'], 0.5), metrics.DistanceError()])
def test_config_round_trip(metric):
    revived = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(revived) is type(metric)
    assert revived.get_config() == metric.get_config()


def test_error_texts():
    with pytest.raises(ValueError, match='`alignment` must be one of.*median'):
        metrics.MPJPE('median')
    with pytest.raises(ValueError, match='`joint_names` must contain lsho and rhip'):
        metrics.TorsoPCK(['nose'])
    with pytest.raises(ValueError, match='`threshold` must be a positive'):
        metrics.PCK(-1.0)
