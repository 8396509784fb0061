import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import metrics
from tests import helpers

ROOT = pathlib.Path(__file__).parent.parent
NAN = float('nan')
TURN = np.float32([[0, -1, 0], [1, 0, 0], [0, 0, 1]])


def poses(rng, n):
    return rng.normal(size=[n, 4, 3]).astype(np.float32) * 300


def score(metric, *batches):
    """Result after batches of (true, predicted, mask)."""
    for batch in batches:
        metric.update_state(*batch)
    return float(metric.result())


def at_distances(distances):
    """One pose of zeros, and one with joints at these distances from them along alternating axes.

    Few joints of which one is wrong remain so without an alignment.
    """
    pred = np.zeros([1, len(distances), 3], np.float32)
    pred[0, range(len(distances)), np.arange(len(distances)) % 3] = distances
    return np.zeros_like(pred), pred, np.ones([1, len(distances)], bool)


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
    for alignment, i_root, expected in [
            ('none', None, [50, np.hypot(60, 50)]), ('mean', None, [30, 30]),
            ('root', 0, [0, 60]), ('root', -1, [60, 0]), ('procrustes', None, [0, 0])]:
        errors = metrics.joint_errors(true, pred, mask, alignment, i_root)
        np.testing.assert_allclose(errors[0], expected, rtol=1e-5, atol=1e-2)


def test_procrustes_error_vanishes_for_a_turned_and_scaled_pose():
    rng = np.random.default_rng(2)
    true = poses(rng, 2)
    error = metrics.joint_errors(true, 0.5 * true @ TURN + 70, np.ones([2, 4], bool), 'procrustes')
    np.testing.assert_allclose(error, 0, atol=0.05)


def test_procrustes_does_not_mirror():
    true = poses(np.random.default_rng(3), 1)
    error = metrics.joint_errors(true, true * [1, 1, -1], np.ones([1, 4], bool), 'procrustes')
    assert np.max(error) > 50


@pytest.mark.parametrize('alignment, i_root', [
    ('none', None), ('mean', None), ('root', 0), ('procrustes', None)])
def test_masked_joints_have_no_effect_and_no_error(alignment, i_root):
    rng = np.random.default_rng(4)
    true, pred = poses(rng, 2), poses(rng, 2)
    mask = np.array([[True, True, True, False]] * 2)
    expected = metrics.joint_errors(true[:, :3], pred[:, :3], mask[:, :3], alignment, i_root)
    true[:, 3] = NAN
    errors = metrics.joint_errors(true, pred, mask, alignment, i_root)
    np.testing.assert_allclose(errors[:, :3], expected, rtol=1e-4)
    np.testing.assert_array_equal(errors[:, 3], [0, 0])


def test_examples_without_a_valid_root_do_not_count():
    true = np.float32([[[0, 0, 0], [100, 0, 0]], [[NAN, NAN, NAN], [1, 2, 3]]])
    pred = np.float32([[[0, 0, 50], [160, 0, 50]], [[7, 7, 7], [900, 0, 0]]])
    mask = np.array([[True, True], [False, True]])
    metric = metrics.MPJPE('root', i_root=0)
    assert score(metric, (true, pred, mask)) == pytest.approx(30)  # (0 + 60) / 2


def test_mpjpe_of_selected_joints_keeps_the_root_out_of_the_count():
    true, pred, mask = at_distances([0, 90, 30])
    assert score(metrics.MPJPE('root', i_root=0), (true, pred, mask)) == pytest.approx(40)
    for indices in ([1, 2], [-2, -1]):
        metric = metrics.MPJPE('root', i_root=0, joint_indices=indices)
        assert score(metric, (true, pred, mask)) == pytest.approx(60)
    mask[0, 2] = False
    metric = metrics.MPJPE('root', i_root=0, joint_indices=[1, 2])
    assert score(metric, (true, pred, mask)) == pytest.approx(90)


def test_mpjpe_of_image_coordinates():
    true, pred = np.float32([[[0, 0], [10, 10]]]), np.float32([[[3, 4], [10, 10]]])
    assert score(metrics.MPJPE('none'), (true, pred, np.ones([1, 2], bool))) == pytest.approx(2.5)


@pytest.mark.parametrize('i_root, expected', [(0, 50), (-1, 130), (None, 65)])
def test_mrpe_by_hand(i_root, expected):
    true = np.float32([[[0, 0, 3000], [NAN, NAN, NAN], [0, 0, 3000]]])
    pred = np.float32([[[0, 30, 3040], [5, 5, 5], [0, 30, 2960]]])
    pred[0, 2] = [0, 0, 3130] if i_root == -1 else [0, 96, 3000 - 40 + 32]
    mask = np.array([[True, False, True]])
    # The mean is off by (0, 63, 16), which is 65 mm.
    assert score(metrics.MRPE(i_root), (true, pred, mask)) == pytest.approx(expected)


def test_mrpe_leaves_out_examples_without_root():
    true, pred = np.zeros([2, 2, 3], np.float32), np.ones([2, 2, 3], np.float32) * [3, 4, 0]
    pred[1] *= 100
    mask = np.array([[True, False], [False, True]])
    assert score(metrics.MRPE(0), (true, pred, mask)) == pytest.approx(5)
    assert score(metrics.MRPE(None), (true, pred, mask)) == pytest.approx((5 + 500) / 2)


def test_pck_includes_its_threshold_and_auc_is_linear():
    batch = at_distances([150, 151, 75])
    assert score(metrics.PCK(alignment='none'), batch) == pytest.approx(2 / 3)
    assert score(metrics.AUC(alignment='none'), batch) == pytest.approx(0.5 / 3)


def test_strict_pck_excludes_its_threshold():
    metric = metrics.PCK(alignment='none', is_strict=True)
    assert score(metric, at_distances([150, 151, 75])) == pytest.approx(1 / 3)


@pytest.mark.parametrize('error, expected', [
    (0, 30 / 31), (4.9, 30 / 31), (5, 29 / 31), (76, 15 / 31), (149, 1 / 31), (150, 0), (999, 0)])
def test_auc_over_thresholds(error, expected):
    metric = metrics.AUC(alignment='none', curve='thresholds')
    assert score(metric, at_distances([error])) == pytest.approx(expected, abs=1e-6)
    is_below = [error < threshold for threshold in range(0, 151, 5)]
    assert np.mean(is_below) == pytest.approx(expected)


@pytest.mark.parametrize('error, expected', [
    (0, 0.99), (3.9, 0.99), (4, 0.97), (100, 1 - 25.5 / 50), (198.5, 0.01), (199.5, 0), (999, 0)])
def test_auc_by_trapezoids(error, expected):
    metric = metrics.AUC(199.0, alignment='none', curve='trapezoids', n_intervals=50)
    assert score(metric, at_distances([error])) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('threshold, expected', [(99, 0), (100.01, 0.5), (300, 1)])
def test_ncps_is_decided_by_the_worst_valid_joint(threshold, expected):
    true, pred, mask = [np.concatenate(arrays) for arrays in zip(
        at_distances([0, 20, 100]), at_distances([10, 200, 999]), at_distances([999, 999, 999]))]
    mask[1, 2] = False
    mask[2] = False  # a pose that does not count at all
    metric = metrics.NCPS(threshold, 'none')
    assert score(metric, (true, pred, mask)) == pytest.approx(expected)


def test_ncps_is_taken_after_procrustes():
    true = poses(np.random.default_rng(2), 1)
    batch = true, 0.5 * true @ TURN + 70, np.ones([1, 4], bool)
    assert score(metrics.NCPS(1.0), batch) == 1
    assert score(metrics.NCPS(1.0, 'mean'), batch) == 0


def test_ncps_of_selected_joints():
    batch = at_distances([0, 20, 100])
    assert score(metrics.NCPS(50.0, 'none', joint_indices=[0, 1]), batch) == 1
    assert score(metrics.NCPS(50.0, 'none', joint_indices=[0, 2]), batch) == 0


@pytest.mark.parametrize('worst, from_50_to_150, from_0_to_300', [
    (0, 1, 1), (50, 1, 5 / 6), (75, 0.75, 0.75), (150, 0, 0.5), (300, 0, 0)])
def test_ncps_auc_by_hand(worst, from_50_to_150, from_0_to_300):
    batch = at_distances([worst, worst / 2])
    assert score(metrics.NCPSAUC(alignment='none'), batch) == pytest.approx(from_50_to_150)
    metric = metrics.NCPSAUC(300.0, 0.0, 'none')
    assert score(metric, batch) == pytest.approx(from_0_to_300)


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


# Factories of every metric, for poses of 4 joints.
FACTORIES = {
    'mpjpe': metrics.MPJPE,
    'mpjpe_root': lambda: metrics.MPJPE('root', i_root=-1, joint_indices=[0, 2]),
    'mpjpe_absolute': lambda: metrics.MPJPE('none'),
    'mpjpe_procrustes': lambda: metrics.MPJPE('procrustes'),
    'mrpe': lambda: metrics.MRPE(0),
    'mrpe_mean': lambda: metrics.MRPE(None),
    'pck': lambda: metrics.PCK(400.0, is_strict=True),
    'auc': lambda: metrics.AUC(1000.0),
    'auc_stepped': lambda: metrics.AUC(1000.0, curve='thresholds', n_intervals=20),
    'ncps': lambda: metrics.NCPS(350.0),
    'ncps_auc': lambda: metrics.NCPSAUC(1000.0),
    'torso_pck': lambda: metrics.TorsoPCK(['lsho', 'rhip', 'nose', 'neck'], 0.9),
    'distance_error': metrics.DistanceError}


def make_batch(n=7, seed=5):
    """Poses, some joints of which are masked and without label; the third pose has none."""
    rng = np.random.default_rng(seed)
    true, pred = poses(rng, n), poses(rng, n)
    mask = rng.random([n, 4]) < 0.8
    mask[2] = False
    return np.where(mask[..., np.newaxis], true, np.float32(NAN)), pred, mask


@pytest.mark.parametrize('name', FACTORIES)
def test_unequal_batches_equal_one_big_batch(name):
    batch = make_batch()
    parts = [tuple(array[i:j] for array in batch) for i, j in ((0, 4), (4, 5), (5, 7))]
    whole = score(FACTORIES[name](), batch)
    assert score(FACTORIES[name](), *parts) == pytest.approx(whole, rel=1e-5)
    assert 0 < whole < np.inf


@pytest.mark.parametrize('name', FACTORIES)
def test_no_valid_joint_changes_nothing_and_alone_scores_zero(name):
    batch = make_batch()
    nothing = np.full_like(batch[0], NAN), batch[1], np.zeros_like(batch[2])
    assert score(FACTORIES[name](), nothing) == 0
    expected = score(FACTORIES[name](), batch)
    assert score(FACTORIES[name](), nothing, batch) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('name', FACTORIES)
def test_metrics_work_with_unknown_dimensions(name):
    batch, metric = make_batch(), FACTORIES[name]()

    def update(*arrays):
        metric.update_state(*arrays)
        return metric.result()
    expected = score(FACTORIES[name](), batch)
    np.testing.assert_allclose(helpers.run_in_graph(update, *batch), expected, rtol=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0


@pytest.mark.parametrize('name, expected', [
    ('mpjpe', 0), ('mpjpe_absolute', 13), ('mpjpe_procrustes', 0), ('mrpe', 13), ('pck', 1),
    ('auc', 1), ('ncps', 1), ('ncps_auc', 1)])
def test_scores_of_a_single_joint(name, expected):
    true = np.float32([[[0, 0, 1000]]])
    batch = true, true + np.float32([3, 4, 12]), np.ones([1, 1], bool)
    assert score(FACTORIES[name](), batch) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize('name', FACTORIES)
def test_config_round_trip(name):
    metric = FACTORIES[name]()
    config = json.loads(json.dumps(keras.metrics.serialize(metric)))
    revived = keras.metrics.deserialize(config)
    assert type(revived) is type(metric)
    assert revived.get_config() == metric.get_config()
    batch = make_batch()
    assert score(revived, batch) == score(metric, batch)


DISTRIBUTED_SCRIPT = '''
import json
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from tests import test_metrics

strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
with strategy.scope():
    metrics = {name: factory() for name, factory in test_metrics.FACTORIES.items()}
batch = test_metrics.make_batch()
# The first replica sees 5 poses, the second 2; then 7 times one pose each.
shares = [(slice(0, 5), slice(5, 7))] + [(slice(i, i + 1), slice(i, i + 1)) for i in range(7)]

@tf.function(reduce_retracing=True)
def update(batch):
    for metric in metrics.values():
        metric.update_state(*batch)

for share in shares:
    strategy.run(update, (strategy.experimental_distribute_values_from_function(
        lambda context: tuple(
            tf.constant(array[share[context.replica_id_in_sync_group]]) for array in batch)),))
print(json.dumps({
    'n_replicas': strategy.num_replicas_in_sync,
    'scores': {name: float(metric.result()) for name, metric in metrics.items()}}))
'''


def test_scores_add_up_over_replicas():
    output = subprocess.run(
        [sys.executable, '-c', DISTRIBUTED_SCRIPT], cwd=ROOT, capture_output=True, text=True,
        check=True).stdout
    result = json.loads(output.splitlines()[-1])
    assert result['n_replicas'] == 2
    assert set(result['scores']) == set(FACTORIES)
    for name, value in result['scores'].items():
        # Every pose was seen three times.
        assert value == pytest.approx(score(FACTORIES[name](), make_batch()), rel=1e-4), name


def test_error_texts():
    pose, mask = np.zeros([1, 2, 3], np.float32), np.ones([1, 2], bool)
    for call, message in [
            (lambda: metrics.MPJPE('median'), '`alignment` must be one of.*median'),
            (lambda: metrics.MPJPE('root'), '`i_root` must be an index.*i_root=None'),
            (lambda: metrics.MPJPE('mean', i_root=0), '`i_root` must be.*None for others.*=0'),
            (lambda: metrics.MPJPE(joint_indices=[]), '`joint_indices` must be None or not empty'),
            (lambda: metrics.TorsoPCK(['nose']), '`joint_names` must contain lsho and rhip'),
            (lambda: metrics.PCK(-1.0), '`threshold` must be a positive'),
            (lambda: metrics.AUC(curve='square'), '`curve` must be one of.*square'),
            (lambda: metrics.AUC(n_intervals=0), '`n_intervals` must be a positive'),
            (lambda: metrics.NCPSAUC(100.0, 100.0), '`start` must be.*below.*start=100.0'),
            (lambda: metrics.MPJPE('root', i_root=2).update_state(pose, pose, mask),
             '`i_root` must be an index into 2 joints.*i_root=2'),
            (lambda: metrics.MPJPE(joint_indices=[0, 2]).update_state(pose, pose, mask),
             '`joint_indices` must be an index into 2 joints.*2'),
            (lambda: metrics.MRPE(-3).update_state(pose, pose, mask), '`i_root` must be'),
            (lambda: metrics.MPJPE().update_state(pose, pose[:, :1], mask), '`coords_pred` must'),
            (lambda: metrics.MPJPE().update_state(pose[0], pose, mask), '`coords_true` must'),
            (lambda: metrics.MPJPE().update_state(pose, pose, mask[:, :1]), '`mask` must have')]:
        with pytest.raises(ValueError, match=message):
            call()
