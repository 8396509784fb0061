"""The path of training from files to scores, at the smallest size."""

import csv
import dataclasses
import json

import cv2
import keras
import numpy as np
import pytest
import scipy.io
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.config import HeatmapConfig
from metro_tf.geometry import camera
from training import callbacks, evaluate, pipeline, run, sharpen, train
from training.augment import background
from training.config import ModelConfig, TrainConfig
from training.datasets import lspet, records
from training.datasets.example import Example

CONFIG = TrainConfig(
    name='tiny', n_steps=4, steps_per_epoch=2, warmup_steps=1, batch_size_3d=2, batch_size_2d=2,
    model=ModelConfig(top_down_channels=16, heatmap=HeatmapConfig(64, 8)))


def make_person(i):
    rng = np.random.default_rng(i)
    coords3d = (rng.normal(size=[24, 3]) * [200, 500, 200] + [0, 0, 3000]).astype(np.float32)
    intrinsics = np.float32([[150, 0, 40], [0, 150, 48], [0, 0, 1]])
    coords2d = camera.project(coords3d, intrinsics).numpy()
    low, high = coords2d.min(axis=0), coords2d.max(axis=0)
    alpha = np.zeros([96, 80], np.uint8)
    alpha[20:70, 30:50] = 255
    return Example(
        image=rng.integers(0, 255, [96, 80, 3]).astype(np.uint8), alpha=alpha, name=f'p{i}',
        box=np.concatenate([low, high - low]), frame=np.float32([0, 0, 80, 96]),
        coords2d=coords2d, visibility=np.ones(24, np.float32), intrinsics=intrinsics,
        camera_up=np.float32([0, -1, 0]), coords3d_cam=coords3d)


@pytest.fixture(scope='module')
def data_dirs(tmp_path_factory):
    """Folders of records, LSPET and backgrounds in their true formats."""
    root = tmp_path_factory.mktemp('data')
    dirs = {name: root / name for name in ('synth', 'lspet', 'photos')}
    for folder in (*dirs.values(), dirs['lspet'] / 'images'):
        folder.mkdir()
    records.write_shard(dirs['synth'] / 'a.tfrecord', [make_person(i) for i in range(5)])
    rng = np.random.default_rng(0)
    joints = np.concatenate(
        [rng.uniform(10, 60, size=[14, 2, 6]), np.ones([14, 1, 6])], axis=1)
    scipy.io.savemat(dirs['lspet'] / 'joints.mat', {'joints': joints})
    (dirs['lspet'] / 'splits.json').write_text(json.dumps(
        {'train': [1, 3], 'holdout': [4, 6], 'train_twins_of_holdout': []}))
    for i in range(1, 7):
        picture = rng.integers(0, 255, [70, 72, 3]).astype(np.uint8)
        cv2.imwrite(str(dirs['lspet'] / f'images/im{i:05}.jpg'), picture)
        cv2.imwrite(str(dirs['photos'] / f'{i}.jpg'), picture)
    return dirs


def run_training(data_dirs, out_dir, config=CONFIG):
    return train.train(
        config, data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']], out_dir)


def test_batches_have_the_asked_composition(data_dirs):
    dataset = pipeline.training_dataset(
        CONFIG, data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']])
    for inputs, labels in dataset.take(3):
        assert inputs['image'].shape == (4, 64, 64, 3)
        assert 0 <= inputs['image'].numpy().min() <= inputs['image'].numpy().max() <= 1
        has_3d = labels['joint_validity_mask_3d'].numpy().any(axis=1)
        np.testing.assert_array_equal(sorted(has_3d), [False, False, True, True])
        has_2d = labels['joint_validity_mask_2d'].numpy().sum(axis=1)
        np.testing.assert_array_equal(np.where(has_3d, 24, 14), has_2d)


def test_evaluation_sees_every_example_once(data_dirs):
    bank = background.load_bank([data_dirs['photos']])
    source = records.read_dataset(data_dirs['synth'])
    sizes = [len(inputs['image']) for inputs, _ in
             pipeline.evaluation_dataset(CONFIG, source, bank, batch_size=3)]
    assert sizes == [3, 2]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_in_a_scored_model(data_dirs, tmp_path):
    half = dataclasses.replace(CONFIG, n_steps=2)
    run_dir = run_training(data_dirs, tmp_path, half)
    run_training(data_dirs, tmp_path)  # the same name: resumes after the first epoch
    rows = list(csv.DictReader((run_dir / 'curves.csv').open()))
    assert [row['epoch'] for row in rows] == ['0', '1']
    assert all(np.isfinite(float(row['total'])) for row in rows)
    assert json.loads((run_dir / 'config.json').read_text())['n_steps'] == 4
    model = keras.models.load_model(str(run_dir / 'crop_model.keras'), compile=False)
    assert model.input_resolution == 64
    bank = background.load_bank([data_dirs['photos']])
    scores = {
        name: evaluate.evaluate(model, pipeline.evaluation_dataset(CONFIG, source, bank))
        for name, source in (
            ('2d', lspet.make_dataset(data_dirs['lspet'], 'holdout')),
            ('3d', records.read_dataset(data_dirs['synth'])))}
    assert scores['2d']['n_examples_2d'] == 3 and 0 <= scores['2d']['torso_pck_0.2'] <= 1
    assert 'mpjpe_mm' not in scores['2d']
    assert scores['3d']['n_examples_3d'] == 5
    assert 0 < scores['3d']['pa_mpjpe_mm'] <= scores['3d']['absolute_mpjpe_mm']


def test_default_config_loads_and_bad_ones_say_why(tmp_path):
    config = run.load_config('training/configs/default_crop_model.py', TrainConfig)
    assert config.name == 'default_crop_model'
    assert config.model.heatmap.crop_side_px == 128
    with pytest.raises(ValueError, match='must be a Python file.*nowhere.py does not exist'):
        run.load_config(tmp_path / 'nowhere.py', TrainConfig)
    (tmp_path / 'bad.py').write_text('def config():\n    return 3\n')
    with pytest.raises(ValueError, match='returns a TrainConfig. Received: 3'):
        run.load_config(tmp_path / 'bad.py', TrainConfig)


def test_default_model_predicts_the_default_skeleton():
    model = train.build_crop_model(CONFIG.model)
    assert tuple(model.joint_names) == skeleton.METRO_24.joint_names


@pytest.mark.slow
def test_mixed_precision_ends_in_a_float32_model(data_dirs, tmp_path, dtype_policy):
    config = dataclasses.replace(
        CONFIG, n_steps=1, steps_per_epoch=1, warmup_steps=0, mixed_precision='mixed_bfloat16')
    run_dir = run_training(data_dirs, tmp_path, config)
    dtype_policy('float32')
    model = keras.models.load_model(str(run_dir / 'crop_model.keras'), compile=False)
    assert model.backbone.output.dtype in ('float32', tf.float32)
    resumed = train.build_trainer(config)
    callbacks.TrainingState(resumed, run_dir / 'state').restore()
    for saved, trained in zip(
            model.get_weights(), resumed.crop_model.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, trained)


@pytest.mark.slow
def test_a_run_can_start_from_a_finished_model(data_dirs, tmp_path):
    path = tmp_path / 'start.keras'
    started = train.build_crop_model(CONFIG.model)
    started.save(str(path))
    config = dataclasses.replace(
        CONFIG, n_steps=1, steps_per_epoch=1, warmup_steps=0, learning_rate=1e-9)
    run_dir = train.train(
        config, data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']], tmp_path,
        start_from=path)
    model = keras.models.load_model(str(run_dir / 'crop_model.keras'), compile=False)
    for weight, first in zip(model.trainable_weights, started.trainable_weights, strict=True):
        np.testing.assert_allclose(weight, first, atol=1e-6)


def test_start_from_refuses_other_models(tmp_path):
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    other = keras.Sequential([keras.Input([3]), keras.layers.Dense(4)])
    other.save(str(tmp_path / 'other.keras'))
    with pytest.raises(ValueError, match='`start_from` must be a .keras file'):
        run.start_from(model, tmp_path / 'none.keras')
    (tmp_path / 'broken.keras').write_bytes(b'nothing')
    with pytest.raises(ValueError, match='that this Keras version opens'):
        run.start_from(model, tmp_path / 'broken.keras')
    with pytest.raises(ValueError, match=r'shapes \(file, config\) that differ: .*\(3, 4\)'):
        run.start_from(model, tmp_path / 'other.keras')
    run.start_from(model, None)


@pytest.mark.slow
def test_scaled_logits_have_the_predicted_error(data_dirs):
    bank = background.load_bank([data_dirs['photos']])
    source = records.read_dataset(data_dirs['synth']).concatenate(
        lspet.make_dataset(data_dirs['lspet'], 'holdout'))
    dataset = pipeline.evaluation_dataset(CONFIG, source, bank)
    model = train.build_crop_model(CONFIG.model)
    before, _, doubled = sharpen.errors(model, dataset, (1.0, 1.5, 2.0))
    sharpen.scale_logits(model, 2.0)
    after = sharpen.errors(model, dataset, (1.0,))
    np.testing.assert_allclose(after, doubled, rtol=1e-4)
    assert abs(before - doubled) > 1e-5
