"""The path of training from files to scores, at the smallest size."""

import csv
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys

import cv2
import keras
import numpy as np
import pytest
import scipy.io
import tensorflow as tf

from metro_tf import models, skeleton, weights
from metro_tf.config import HeatmapConfig
from metro_tf.geometry import camera
from metro_tf.models import builder
from tests.training import tiny_trainers
from training import callbacks, evaluate, pipeline, run, sharpen, train
from training.augment import background
from training.config import R23_AUGMENTATION, ModelConfig, TrainConfig
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


@pytest.mark.parametrize('first_step', [1, 5])
def test_a_resumed_dataset_gives_the_batches_of_the_unbroken_one(data_dirs, first_step):
    config = dataclasses.replace(CONFIG, batch_size_3d=3, batch_size_2d=1)

    def batches(step, n):
        dataset = pipeline.training_dataset(
            config, data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']], step,
            records_3d_dir=data_dirs['synth'])
        return list(dataset.take(n).as_numpy_iterator())
    unbroken, resumed = batches(0, first_step + 2), batches(first_step, 2)
    for expected, batch in zip(unbroken[first_step:], resumed, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, expected)
    assert np.abs(resumed[0][0]['image'] - resumed[1][0]['image']).max() > 0.1


def test_a_very_late_step_starts_at_once(data_dirs):
    dataset = pipeline.training_dataset(
        CONFIG, data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']], 10 ** 9)
    (inputs, _), = dataset.take(1)
    assert inputs['image'].shape == (4, 64, 64, 3)


def test_published_augmentation_with_and_without_objects(data_dirs, tmp_path):
    config = dataclasses.replace(CONFIG, augment=R23_AUGMENTATION)
    cv2.imwrite(str(tmp_path / 'a.png'), np.full([9, 9, 4], 200, np.uint8))
    for cutout_dirs in ((), (tmp_path,)):
        dataset = pipeline.training_dataset(
            config, data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']],
            cutout_dirs=cutout_dirs)
        for inputs, labels in dataset.take(3):
            assert inputs['image'].shape == (4, 64, 64, 3)
            assert np.isfinite(inputs['image']).all() and np.isfinite(labels['coords2d']).all()
            assert np.ptp(inputs['image']) > 0.5
    with pytest.raises(ValueError, match='`cutout_bank` must be empty unless `is_published`'):
        pipeline.training_dataset(
            CONFIG, data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']],
            cutout_dirs=[tmp_path])


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


# No dropout, quick to build, and with every kind of layer that our own recipes use.
QUICK_CONFIG = dataclasses.replace(CONFIG, model=ModelConfig(
    'compact_resnet', top_down_channels=16, heatmap=HeatmapConfig(64, 8)))


def train_in_new_process(data_dirs, out_dir, n_batches):
    """Trains until the process kills itself after so many batches. Returns its exit status."""
    script = (
        'import pathlib, sys; from tests.training import test_train_program as program; '
        'dirs = {path.name: path for path in pathlib.Path(sys.argv[1]).iterdir()}; '
        'program.train_until_killed(dirs, sys.argv[2], int(sys.argv[3]))')
    process = subprocess.run(
        [sys.executable, '-c', script, data_dirs['synth'].parent, out_dir, str(n_batches)],
        cwd=pathlib.Path(__file__).parents[2], env={**os.environ, 'TF_DETERMINISTIC_OPS': '1'},
        capture_output=True, text=True, check=False)
    assert process.returncode in (0, -signal.SIGKILL), process.stderr[-3000:]
    return process.returncode


def train_until_killed(data_dirs, out_dir, n_batches):
    """What runs in the new process."""
    n_done = []

    def count(callback, batch, logs=None):
        n_done.append(batch)
        if len(n_done) == n_batches:
            os.kill(os.getpid(), signal.SIGKILL)
    callbacks.StopOnNonFinite.on_train_batch_end = count
    run_training(data_dirs, out_dir, QUICK_CONFIG)


@pytest.mark.slow
def test_a_training_killed_in_an_epoch_ends_like_an_unbroken_one(data_dirs, tmp_path):
    run_dirs = [tmp_path / name / CONFIG.name for name in ('killed', 'unbroken')]
    assert train_in_new_process(data_dirs, tmp_path / 'killed', 3) == -signal.SIGKILL
    assert len((run_dirs[0] / 'curves.csv').read_text().splitlines()) == 2  # heading, one epoch
    for name in ('killed', 'unbroken'):
        assert train_in_new_process(data_dirs, tmp_path / name, 100) == 0
    curves, expected_curves = [(run_dir / 'curves.csv').read_text() for run_dir in run_dirs]
    assert curves == expected_curves and len(curves.splitlines()) == 3
    models = [
        keras.models.load_model(str(run_dir / 'crop_model.keras'), compile=False)
        for run_dir in run_dirs]
    for weight, expected in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_state_of_another_architecture_is_refused(tmp_path):
    def make_trainer(n_channels, n_layers):
        layers = [keras.layers.Dense(n_channels) for _ in range(n_layers)]
        model = keras.Sequential([keras.Input([3]), *layers])
        model.compile(optimizer=keras.optimizers.Adam(), loss='mse')
        model.optimizer.build(model.trainable_variables)
        return model
    state = callbacks.TrainingState(make_trainer(4, 1), tmp_path)
    assert state.restore() == 0
    state.on_epoch_end(0)
    assert callbacks.TrainingState(make_trainer(4, 1), tmp_path).restore() == 1
    for n_channels, n_layers in ((5, 1), (4, 2)):
        with pytest.raises(ValueError, match='must hold checkpoints of the architecture.*ckpt-1'):
            callbacks.TrainingState(make_trainer(n_channels, n_layers), tmp_path).restore()


def write_state(run_dir, config):
    """A checkpoint beside the settings of its run."""
    run_dir.mkdir()
    (run_dir / 'config.json').write_text(json.dumps(config))
    checkpoint = tf.train.Checkpoint(epoch=tf.Variable(1))
    tf.train.CheckpointManager(checkpoint, str(run_dir / 'state'), max_to_keep=1).save()


SWAPPED = skeleton.Skeleton(
    ('spin', 'pelv', *skeleton.METRO_24.joint_names[2:]), skeleton.METRO_24.edges)


def with_joints(config, joints):
    return dataclasses.replace(config, model=dataclasses.replace(config.model, skeleton=joints))


def test_state_of_other_joints_is_refused(tmp_path):
    """As many joints, but of other names or in another order."""
    swapped, old = with_joints(CONFIG, SWAPPED), dataclasses.asdict(CONFIG)
    del old['model']['skeleton']  # as before there were other skeletons
    for name, stored in (('old', old), ('new', dataclasses.asdict(CONFIG))):
        run_dir = tmp_path / name
        train.check_resumable(swapped, run_dir)
        write_state(run_dir, stored)
        train.check_resumable(CONFIG, run_dir)
        with pytest.raises(ValueError, match=f'`skeleton` must have the joints of the checkpoints '
                                             f"in .*{name}, .'pelv', 'spin'.*another name. "
                                             "Received: .'spin', 'pelv'"):
            train.check_resumable(swapped, run_dir)
    write_state(tmp_path / 'tiny', dataclasses.asdict(swapped))
    with pytest.raises(ValueError, match='`skeleton` must have the joints of the checkpoints'):
        train.train(CONFIG, None, None, [], tmp_path)
    assert json.loads((tmp_path / 'tiny/config.json').read_text())['model']['skeleton'][
        'joint_names'][0] == 'spin'
    (tmp_path / 'tiny/state/checkpoint').unlink()
    train.check_resumable(CONFIG, tmp_path / 'tiny')


def test_a_finished_model_of_other_joints_is_no_start(tmp_path):
    path = tmp_path / 'start.keras'
    builder.build_crop_model(QUICK_CONFIG.model).save(str(path))
    with pytest.raises(ValueError, match="`start_from` must have the joints that the config .*"
                                         "'spin', 'pelv'.*Received: .*start.keras with .'pelv', "):
        train.build_trainer(with_joints(QUICK_CONFIG, SWAPPED), path)


def test_the_weights_of_a_release_are_a_start(tmp_path):
    finished = builder.build_crop_model(QUICK_CONFIG.model)
    np.savez(tmp_path / 'crop_model.npz', **weights.to_arrays(
        finished, builder.describe(finished, QUICK_CONFIG.model)))
    started = train.build_trainer(QUICK_CONFIG, tmp_path).crop_model
    for weight, expected in zip(started.get_weights(), finished.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


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
    model = builder.build_crop_model(CONFIG.model)
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
    started = builder.build_crop_model(CONFIG.model)
    started.save(str(path))
    config = dataclasses.replace(
        CONFIG, n_steps=1, steps_per_epoch=1, warmup_steps=0, learning_rate=1e-9)
    run_dir = train.train(
        config, data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']], tmp_path,
        start_from=path)
    model = keras.models.load_model(str(run_dir / 'crop_model.keras'), compile=False)
    for weight, first in zip(model.trainable_weights, started.trainable_weights, strict=True):
        np.testing.assert_allclose(weight, first, atol=1e-6)


def test_start_from_refuses_other_models():
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    other = keras.Sequential([keras.Input([3]), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match=r'a.npz with .*\(file, config\) that differ: .*\(3, 4\)'):
        run.start_from(model, other, 'a.npz')
    with pytest.raises(ValueError, match='must hold a Metro, .*a.npz with a Pose25D'):
        run.start_from(
            tiny_trainers.make_crop_model('metro'), tiny_trainers.make_crop_model('pose25d'),
            'a.npz')


def test_start_from_tells_why_a_model_cannot_be_loaded(tmp_path):
    (tmp_path / 'broken.keras').write_bytes(b'nothing')
    for source, reason in (
            (tmp_path / 'none.keras', '`name_or_path` must be an NPZ or .keras file, .*none.keras'),
            (tmp_path / 'broken.keras', 'complete and undamaged. Received: .*broken.keras')):
        with pytest.raises(ValueError, match=f'`start_from` must be a .* be loaded. .*{reason}'):
            run.load_first_model(models.load_crop_model, source)


@pytest.mark.slow
def test_scaled_logits_have_the_predicted_error(data_dirs):
    bank = background.load_bank([data_dirs['photos']])
    source = records.read_dataset(data_dirs['synth']).concatenate(
        lspet.make_dataset(data_dirs['lspet'], 'holdout'))
    dataset = pipeline.evaluation_dataset(CONFIG, source, bank)
    model = builder.build_crop_model(CONFIG.model)
    before, _, doubled = sharpen.errors(model, dataset, (1.0, 1.5, 2.0))
    sharpen.scale_logits(model, 2.0)
    after = sharpen.errors(model, dataset, (1.0,))
    np.testing.assert_allclose(after, doubled, rtol=1e-4)
    assert abs(before - doubled) > 1e-5
