"""Batches and trainers of the smallest size, for tests."""

import keras
import numpy as np
import tensorflow as tf

from metro_tf import models, skeleton
from metro_tf.geometry import camera
from metro_tf.models.config import MARGINAL_KINDS
from training import trainers
from training.config import LossConfig

SIDE_PX = 64
N_JOINTS = skeleton.METRO_24.n_joints
BONE_LENGTHS_MM = (250.0,) * len(skeleton.METRO_24.edges)


def make_batch(n_3d=2, n_2d=2, seed=0, n_joints=N_JOINTS):
    """People at 3 m in noise; the last `n_2d` have 2D labels only."""
    rng = np.random.default_rng(seed)
    n = n_3d + n_2d
    coords3d = (rng.normal(size=[n, n_joints, 3]) * 300 + [0, 0, 3000]).astype(np.float32)
    intrinsics = np.tile(np.float32([[90, 0, 32], [0, 90, 32], [0, 0, 1]]), [n, 1, 1])
    mask3d = np.zeros([n, n_joints], bool)
    mask3d[:n_3d] = True
    inputs = {
        'image': rng.random([n, SIDE_PX, SIDE_PX, 3]).astype(np.float32),
        'intrinsics': intrinsics}
    labels = {
        'coords3d_cam': np.where(mask3d[..., np.newaxis], coords3d, 0),
        'coords2d': camera.project(coords3d, intrinsics).numpy(),
        'joint_validity_mask_3d': mask3d,
        'joint_validity_mask_2d': np.ones([n, n_joints], bool)}
    return inputs, labels


def make_crop_model(
        kind='metrabs', *, regularizer=None, joints=skeleton.METRO_24, **kwargs):
    """Crop model of 64 px and stride 8 with one convolution."""
    keras.utils.set_random_seed(1)
    image = keras.Input([None, None, 3])
    features = keras.layers.Conv2D(
        8, 9, strides=8, padding='same', kernel_regularizer=regularizer)(image)
    model_class = {
        'metrabs': models.Metrabs, 'metro': models.Metro, 'pose25d': models.Pose25D,
        'margipose': models.MargiPose, 'absolute_margipose': models.AbsoluteMargiPose}[kind]
    if kind == 'pose25d':
        kwargs['bone_lengths_mm'] = BONE_LENGTHS_MM
    if kind in MARGINAL_KINDS:
        kwargs = {'n_stages': 2, 'n_inner_channels': 8, **kwargs}
    return model_class(
        keras.Model(image, features), joints.joint_names, joints.edges, crop_side_px=SIDE_PX,
        stride_px=8, **kwargs)


def make_trainer(kind='metrabs', optimizer=None, crop_model=None, **loss_kwargs):
    """Compiled trainer of `make_crop_model` or of a given model."""
    result = trainers.build(crop_model or make_crop_model(kind), LossConfig(**loss_kwargs))
    result.compile(optimizer=optimizer or keras.optimizers.Adam(1e-3), jit_compile=False)
    return result


def terms(trainer, inputs, labels, outputs):
    """The value of every term, and the total."""
    for metric in trainer.metrics:
        metric.reset_state()
    total = trainer.compute_loss(*tf.nest.map_structure(
        tf.convert_to_tensor, (inputs, labels, outputs)))
    return {
        **{name: float(tracker.result()) for name, tracker in trainer.trackers.items()},
        'total': float(total)}
