import numpy as np
import pytest
import tensorflow as tf

from metro_tf import losses
from tests import helpers

ALL = np.ones([1, 2], bool)


def test_root_relative_loss_ignores_translation_and_is_in_metres():
    true = np.float32([[[0, 0, 0], [100, 0, 0]]])
    pred = true + np.float32([5000, -300, 70])
    pred[0, 1, 0] += 60  # centring spreads it as -30 and +30 mm over the two joints
    loss = losses.root_relative_loss(true, pred, ALL)
    np.testing.assert_allclose(loss, (30 + 30) / 6 / 1000, rtol=1e-4)


def test_root_relative_loss_leaves_out_invalid_joints():
    true = np.float32([[[0, 0, 0], [100, 0, 0], [7, 7, 7]]])
    pred = np.float32([[[0, 0, 0], [100, 0, 0], [9999, 0, 0]]])
    mask = np.array([[True, True, False]])
    np.testing.assert_allclose(losses.root_relative_loss(true, pred, mask), 0, atol=1e-7)


def test_absolute_loss_weights_far_depth_and_drops_near_joints():
    true = np.float32([[[0, 0, 20000], [0, 0, 200]]])
    pred = np.float32([[[30, 0, 20600], [500, 500, 500]]])
    # One joint counts: (30 + 0 + 0.5 * 600) / 3 mm.
    np.testing.assert_allclose(losses.absolute_loss(true, pred, ALL), 0.11, rtol=1e-5)


def test_image_loss_scale():
    true, pred = np.float32([[[0, 0], [10, 10]]]), np.float32([[[4, 0], [10, 8]]])
    kappa = 2200 / 256 / 1000
    np.testing.assert_allclose(losses.image_loss(true, pred, ALL, kappa), 1.5 * kappa, rtol=1e-6)


def test_aligned_image_loss_is_invariant_to_scale_and_shift():
    true = np.float32([[[0, 0], [10, 4], [3, 9]]])
    mask = np.ones([1, 3], bool)
    loss = losses.aligned_image_loss(true, 13.75 * true + np.float32([200, -70]), mask, 1.0)
    np.testing.assert_allclose(loss, 0, atol=1e-4)
    assert losses.aligned_image_loss(true, true[..., ::-1], mask, 1.0) > 1


@pytest.mark.parametrize('name', ['root_relative_loss', 'absolute_loss'])
def test_no_valid_joint_gives_zero_with_zero_gradient(name):
    coords = tf.Variable(np.random.default_rng(0).normal(size=[2, 3, 3]).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = getattr(losses, name)(coords + 1.0, coords, tf.zeros([2, 3], tf.bool))
    assert loss == 0
    np.testing.assert_array_equal(tape.gradient(loss, coords), np.zeros([2, 3, 3]))


def test_heatmap_cross_entropy_of_the_target_itself_is_its_entropy():
    grid = np.arange(9.0)
    weights = np.exp(-0.5 * (grid - 4) ** 2)
    weights /= weights.sum()
    target = weights[:, np.newaxis] * weights
    entropy = -np.sum(target * np.log(target))
    logits = np.log(target)[np.newaxis, ..., np.newaxis].astype(np.float32)
    cells = np.float32([[[4, 4]]])
    mask = np.ones([1, 1], bool)
    loss = losses.heatmap_cross_entropy(logits, cells, mask, 1.0)
    np.testing.assert_allclose(loss, entropy, rtol=1e-5)
    uniform = losses.heatmap_cross_entropy(np.zeros_like(logits), cells, mask, 1.0)
    np.testing.assert_allclose(uniform, np.log(81), rtol=1e-5)


def test_heatmap_cross_entropy_tells_x_from_y():
    logits = np.zeros([1, 5, 7, 1], np.float32)
    logits[0, 1, 6, 0] = 20
    mask = np.ones([1, 1], bool)
    right = losses.heatmap_cross_entropy(logits, np.float32([[[6, 1]]]), mask, 0.2)
    wrong = losses.heatmap_cross_entropy(logits, np.float32([[[1, 4]]]), mask, 0.2)
    assert right < 0.1 and wrong > 15


def test_volume_cross_entropy_equals_both_marginals_by_hand():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=[2, 4, 5, 3, 2]).astype(np.float32)
    cells = rng.uniform(0, 2, size=[2, 2, 3]).astype(np.float32)
    mask = np.array([[True, False], [True, True]])
    probs = np.exp(logits) / np.exp(logits).sum(axis=(1, 2, 3), keepdims=True)
    expected = []
    for b, j in zip(*np.nonzero(mask)):
        def gaussian(center, n, sigma):
            weights = np.exp(-0.5 * ((np.arange(n) - center) / sigma) ** 2)
            return weights / weights.sum()
        x, y, z = cells[b, j]
        plane = gaussian(y, 4, 1.0)[:, np.newaxis] * gaussian(x, 5, 1.0)
        term_plane = -np.sum(plane * np.log(probs[b, ..., j].sum(axis=2)))
        term_depth = -np.sum(gaussian(z, 3, 0.7) * np.log(probs[b, ..., j].sum(axis=(0, 1))))
        expected.append(term_plane + term_depth)
    actual = helpers.run_in_graph(
        lambda *args: losses.volume_cross_entropy(*args, 1.0), logits, cells, mask)
    np.testing.assert_allclose(actual, np.mean(expected), rtol=1e-5)
