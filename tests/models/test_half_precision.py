"""Half precision against float32 with the same weights, where heatmaps are as sharp as trained.

In `mixed_float16` the backbone computes in float16; the heads' convolution, soft-argmax and
reconstruction are float32. Random weights would make flat heatmaps, whose mean is
the middle whatever the rounding.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import models, skeleton
from metro_tf.geometry import camera
from training import trainers
from training.config import LossConfig

JOINTS = skeleton.METRO_24
SIDE, STRIDE = 64, 8


def make_model():
    image = keras.Input((SIDE, SIDE, 3))
    x = image
    for n_channels, stride in ((16, 2), (32, 2), (64, 2), (64, 1)):
        x = keras.layers.Conv2D(
            n_channels, 3, strides=stride, padding='same', use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    return models.Metrabs(
        keras.Model(image, x), JOINTS.joint_names, JOINTS.edges, SIDE, STRIDE)


def make_batch(n_examples=6):
    """Images of noise and people at 2 m, to be learned by heart."""
    rng = np.random.default_rng(0)
    poses = rng.normal(0, [180, 350, 180], (n_examples, JOINTS.n_joints, 3))
    poses = np.float32(poses - poses.mean(axis=1, keepdims=True) + [0, 0, 2000])
    intrinsics = np.tile(
        np.float32([[55, 0, SIDE / 2], [0, 55, SIDE / 2], [0, 0, 1]]), (n_examples, 1, 1))
    mask = np.ones((n_examples, JOINTS.n_joints), bool)
    inputs = {
        'image': np.float32(rng.random((n_examples, SIDE, SIDE, 3))), 'intrinsics': intrinsics}
    return inputs, {
        'coords3d_cam': poses, 'coords2d': camera.project(poses, intrinsics).numpy(),
        'joint_validity_mask_3d': mask, 'joint_validity_mask_2d': mask}


@pytest.fixture(scope='module')
def trained():
    """A model that knows the people of `make_batch`, and their inputs and labels."""
    keras.utils.set_random_seed(0)
    model, (inputs, labels) = make_model(), make_batch()
    trainer = trainers.build(
        model, LossConfig(full_perspective_start_step=50, absolute_start_step=50))
    trainer.compile(optimizer=keras.optimizers.Adam(3e-3), jit_compile=False)
    trainer.fit(
        tf.data.Dataset.from_tensors((inputs, labels)).repeat(150), epochs=1, verbose=0)
    return model, inputs, labels


def joint_distances(poses, others):
    return np.linalg.norm(np.asarray(poses) - np.asarray(others), axis=-1)


def test_float16_agrees_within_a_millimetre_at_two_metres(trained, dtype_policy):
    model, inputs, labels = trained
    dtype_policy('mixed_float16')
    half = make_model()
    half.set_weights(model.get_weights())
    expected, actual = [m.predict_heatmaps(inputs) for m in (model, half)]
    assert half.backbone(inputs['image']).dtype == tf.float16
    assert joint_distances(expected['coords3d_cam'], labels['coords3d_cam']).mean() < 50
    np.testing.assert_allclose(expected['coords3d_cam'][..., 2].numpy().mean(), 2000, atol=50)
    # Sharp: a cell as likely as in a Gaussian of about one cell, not 1 in 64 or 512.
    peak2d, peak3d = [
        np.max(tf.nn.softmax(tf.reshape(logits, [6, -1, JOINTS.n_joints]), axis=1), axis=1)
        for logits in (expected['logits2d'], expected['logits3d'])]
    assert peak2d.mean() > 0.1 and peak3d.mean() > 0.04
    distances = joint_distances(actual['coords3d_cam'], expected['coords3d_cam'])
    assert 1e-4 < distances.max() < 1.0


def test_bfloat16_is_too_coarse_for_a_millimetre(trained, dtype_policy):
    """So the comparison does notice a rounding that matters."""
    model, inputs, _ = trained
    dtype_policy('mixed_bfloat16')
    coarse = make_model()
    coarse.set_weights(model.get_weights())
    assert joint_distances(coarse(inputs), model(inputs)).max() > 1.0
