import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from metro_tf import losses
from tests import helpers


def test_perspective_loss_by_hand():
    """Mean depth 3000: image x of the first joint moves by 0.1, y of the second by 0.05."""
    true = np.float32([[[0, 0, 2000], [400, 400, 4000]]])
    pred = np.float32([[[200, 0, 2000], [200, 100, 2000]]])
    expected = 3 * (0.1 + 0.05) / 4
    np.testing.assert_allclose(losses.perspective_loss(true, pred), [expected], rtol=1e-5)
    np.testing.assert_allclose(losses.perspective_loss(true, 2 * true), [0], atol=1e-6)


def test_perspective_loss_is_finite_behind_the_camera():
    true = np.float32([[[0, 0, 2000]]])
    with tf.GradientTape() as tape:
        pred = tf.constant([[[1.0, 2.0, -500.0]]])
        tape.watch(pred)
        loss = losses.perspective_loss(true, pred)
    assert np.all(np.isfinite(loss)) and np.all(np.isfinite(tape.gradient(loss, pred)))


@pytest.mark.parametrize('in_graph', [False, True])
def test_consistency_loss_by_hand(in_graph):
    pred = np.float32([[[0, 0, 0], [100, 0, 0]], [[0, 0, 0], [0, 0, 0]]])
    decoded = pred + np.float32([[[30, 0, 0], [0, -60, 0]], [[0, 0, 0], [0, 0, 30]]])
    loss = (helpers.run_in_graph(losses.consistency_loss, pred, decoded) if in_graph
            else losses.consistency_loss(pred, decoded))
    np.testing.assert_allclose(loss, 120 / 12 / 1000, rtol=1e-5)
    np.testing.assert_array_equal(losses.consistency_loss(pred[:0], decoded[:0]), 0)


def encode(joints):
    """The mean joint."""
    return tf.reduce_mean(joints, axis=1, keepdims=True)


def decode(latents):
    return tf.repeat(latents, 2, axis=1)


def hybrid(joints, latents, step, weights=losses.HYBRID_3D):
    """Loss with labels of zero, on x coordinates: label loss |x| mean, teacher loss likewise."""
    return losses.hybrid_loss(
        joints, latents, encode=encode, decode=decode, step=step, weights=weights,
        label_loss=lambda points: tf.reduce_mean(tf.abs(points[..., 0])) / 1000,
        teacher_loss=lambda true, pred: tf.reduce_mean(tf.abs(true - pred)[..., 0]) / 1000)


# x of the joints 100 and 500, so 300 after encoding and decoding; x of the latent point 260.
JOINTS = np.float32([[[100, 0, 0], [500, 0, 0]]])
LATENTS = np.float32([[[260, 0, 0]]])
# Regularisation is the mean over x, y, z of |100 - 300| and |500 - 300|.
TERMS = {
    'joints': 0.3, 'decoded': 0.26, 'autoencoded': 0.3, 'regularization': 0.4 / 6, 'teacher': 0.04}


@pytest.mark.parametrize('weights, expected', [
    (losses.HYBRID_3D, [1, 1, 1, 1, 1]), (losses.HYBRID_2D, [1, 1, 1, 0.5, 0.5])])
def test_hybrid_loss_by_hand(weights, expected):
    with_teacher = sum(w * term for w, term in zip(expected, TERMS.values(), strict=True))
    np.testing.assert_allclose(hybrid(JOINTS, LATENTS, 5001, weights), with_teacher, rtol=1e-5)
    np.testing.assert_allclose(
        hybrid(JOINTS, LATENTS, 5000, weights), with_teacher - expected[-1] * 0.04, rtol=1e-5)


@pytest.mark.parametrize('name', list(TERMS))
def test_each_weight_goes_to_its_term(name):
    none = dataclasses.replace(losses.HYBRID_3D, **dict.fromkeys(TERMS, 0.0))
    weights = dataclasses.replace(none, **{name: 2.0})
    np.testing.assert_allclose(
        hybrid(JOINTS, LATENTS, 9999, weights), 2 * TERMS[name], rtol=1e-5)


def test_the_teacher_does_not_learn_from_the_student():
    none = dataclasses.replace(losses.HYBRID_3D, **dict.fromkeys(TERMS, 0.0))
    weights = dataclasses.replace(none, teacher=1.0)
    joints, latents = tf.constant(JOINTS), tf.constant(LATENTS)
    with tf.GradientTape() as tape:
        tape.watch([joints, latents])
        loss = hybrid(joints, latents, 9999, weights)
    of_joints, of_latents = tape.gradient(
        loss, [joints, latents], unconnected_gradients=tf.UnconnectedGradients.ZERO)
    np.testing.assert_array_equal(of_joints, np.zeros_like(JOINTS))
    assert np.abs(of_latents).max() > 0


def test_refusals():
    with pytest.raises(ValueError, match='`coords3d_pred` must have a shape that ends in'):
        losses.perspective_loss(JOINTS, LATENTS)
    with pytest.raises(ValueError, match='`coords3d_autoencoded` must have a shape that ends in'):
        losses.consistency_loss(JOINTS, LATENTS)
