"""The devices of `OptimizerConfig` and `TrainConfig` together, in runs of the true crop model."""

import csv
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.config import HeatmapConfig
from metro_tf.geometry import camera
from metro_tf.models import builder
from training import run, train
from training.backbone_changes import GhostBatchNormalization
from training.config import ModelConfig, OptimizerConfig, TrainConfig

CONFIG = TrainConfig(
    name='tiny', n_steps=2, steps_per_epoch=1, warmup_steps=0, batch_size_3d=4, batch_size_2d=2,
    model=ModelConfig('compact_resnet', top_down_channels=8, heatmap=HeatmapConfig(64, 16)))
ALL_DEVICES = dataclasses.replace(
    CONFIG, ghost_batch_sizes=(2, 1), frozen_batch_norm_steps=1, optimizer=OptimizerConfig(
        schedule='two_phase', decay_all_weights=True, accumulation_steps=2, ema_momentum=0.5,
        max_kernel_norm=20.0))


def make_batches(_=0):
    rng = np.random.default_rng(0)
    coords3d = (rng.normal(size=[6, 24, 3]) * 300 + [0, 0, 3000]).astype(np.float32)
    intrinsics = np.tile(np.float32([[90, 0, 32], [0, 90, 32], [0, 0, 1]]), [6, 1, 1])
    mask3d = np.tile(np.arange(6)[:, np.newaxis] < 4, [1, 24])
    inputs = {'image': rng.random([6, 64, 64, 3]).astype(np.float32), 'intrinsics': intrinsics}
    labels = {
        'coords3d_cam': np.where(mask3d[..., np.newaxis], coords3d, 0),
        'coords2d': camera.project(coords3d, intrinsics).numpy(),
        'joint_validity_mask_3d': mask3d, 'joint_validity_mask_2d': np.ones([6, 24], bool)}
    return tf.data.Dataset.from_tensors((inputs, labels)).repeat()


def fit(config, run_dir):
    saved_model = run.in_float32(builder.build_crop_model, config.model)
    pose_trainer = train.build_trainer(config)
    saved_model.set_weights(pose_trainer.crop_model.get_weights())
    saved_model.save(str(run_dir / 'first.keras'))
    run.fit(
        pose_trainer, pose_trainer.crop_model, saved_model, config, make_batches, run_dir,
        'crop_model.keras', extra_callbacks=train.frozen_batch_norm(config, run_dir))
    return pose_trainer


@pytest.mark.slow
def test_all_devices_in_a_killed_and_resumed_run(tmp_path):
    half = dataclasses.replace(ALL_DEVICES, n_steps=1, frozen_batch_norm_steps=0)
    fit(half, tmp_path)
    pose_trainer = fit(ALL_DEVICES, tmp_path)
    assert int(pose_trainer.optimizer.iterations) == 2
    assert pose_trainer.is_batch_norm_frozen
    assert (tmp_path / 'before_frozen_batch_norm.index').is_file()
    assert len((tmp_path / 'curves.csv').read_text().splitlines()) == 3
    ghosts = [layer for layer in pose_trainer.crop_model.backbone.layers
              if isinstance(layer, GhostBatchNormalization)]
    saved = keras.models.load_model(str(tmp_path / 'crop_model.keras'), compile=False)
    assert ghosts and not any(
        isinstance(layer, GhostBatchNormalization) for layer in saved.backbone.layers)
    assert all(layer.kernel_constraint is None for layer in saved.backbone.layers
               if type(layer) is keras.layers.Conv2D)
    for a, b in zip(saved.get_weights(), pose_trainer.crop_model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert np.isfinite(a).all()


@pytest.mark.slow
def test_a_step_in_float16_gives_finite_weights(tmp_path, dtype_policy):
    config = dataclasses.replace(
        CONFIG, n_steps=1, mixed_precision='mixed_float16',
        optimizer=OptimizerConfig(loss_scale=128.0))
    pose_trainer = fit(config, tmp_path)
    dtype_policy('float32')
    weights = pose_trainer.crop_model.get_weights()
    assert all(np.isfinite(value).all() for value in weights)
    first, = csv.DictReader((tmp_path / 'curves.csv').open())
    assert np.isfinite(float(first['total']))


@pytest.mark.slow
def test_dual_learning_rates_train_the_whole_crop_model(tmp_path):
    pytest.importorskip('tensorflow_addons', reason='exists for Keras 2 only')
    config = dataclasses.replace(
        CONFIG, n_steps=1, weight_decay=0.0, clip_norm=None, learning_rate=0.3,
        frozen_batch_norm_steps=1, optimizer=OptimizerConfig('dual', epsilon=1e-12))
    after = fit(config, tmp_path).crop_model
    before = keras.models.load_model(str(tmp_path / 'first.keras'), compile=False)
    steps = {
        part: max(
            np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(
                getattr(before, part).trainable_variables,
                getattr(after, part).trainable_variables, strict=True))
        for part in ('backbone', 'heads')}
    assert steps == pytest.approx({'backbone': 0.01, 'heads': 0.3}, rel=0.01)
