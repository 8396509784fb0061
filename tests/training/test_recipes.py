"""Every experiment in `training/configs`, and that no setting is without effect."""

import ast
import dataclasses
import math
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import camera
from metro_tf.models.config import HOURGLASS_KINDS
from tests.models.test_builder import LENGTHS
from training import config as config_lib
from training import run, train, trainers
from training.config import LossConfig, TrainConfig

TRAINING_DIR = pathlib.Path(__file__).parents[2] / 'training'
MODEL_BUILDER = TRAINING_DIR.parent / 'metro_tf/models/builder.py'
GENERATIONS = {
    'metro_rn50': 'R20', 'metrabs_rn50': 'R20', 'pose25d_rn50': 'R20', 'metrabs_effv2s': 'R23',
    'metrabs_mob3': 'R23', 'metrabs_finetune': 'R23'}
SLOW = ('metro_rn50', 'metrabs_effv2s', 'margipose', 'coarse_to_fine')
HOURGLASSES = ('coarse_to_fine', 'coarse_to_fine_heatmaps', 'coarse_to_fine_decoupled')


def load(name):
    return run.load_config(TRAINING_DIR / f'configs/{name}.py', TrainConfig)


def make_batch(config):
    """A batch of the composition and the crop size that the config asks for."""
    n, n_3d = config.batch_size_3d + config.batch_size_2d, config.batch_size_3d
    side = config.model.heatmap.crop_side_px
    rng = np.random.default_rng(0)
    coords3d = (rng.normal(size=[n, 24, 3]) * 300 + [0, 0, 3000]).astype(np.float32)
    intrinsics = np.tile(
        np.float32([[side, 0, side / 2], [0, side, side / 2], [0, 0, 1]]), [n, 1, 1])
    mask3d = np.repeat(np.arange(n) < n_3d, 24).reshape(n, 24)
    return {
        'image': rng.random([n, side, side, 3]).astype(np.float32), 'intrinsics': intrinsics}, {
        'coords3d_cam': coords3d, 'coords2d': camera.project(coords3d, intrinsics).numpy(),
        'joint_validity_mask_3d': mask3d, 'joint_validity_mask_2d': np.ones([n, 24], bool)}


@pytest.mark.parametrize('name, generation', GENERATIONS.items())
def test_published_recipes_say_what_they_are(name, generation):
    config = load(name)
    assert config.name == name and config.loss.generation == generation
    text = ast.get_docstring(ast.parse((TRAINING_DIR / f'configs/{name}.py').read_text()))
    for needed in (
            f'generation {generation}', 'Data: ' if name != 'metrabs_finetune' else 'data',
            'published', 'xpected time', f'python -m training.train training/configs/{name}.py'):
        assert needed in text, needed
    assert config.loss.heatmap2d in (0, LossConfig.heatmap2d) and config.loss.heatmap3d == 0
    assert config.clip_norm is None and config.optimizer.decay_all_weights
    n_steps_of_decay = 400000 if name == 'metrabs_finetune' else config.n_steps
    assert config.weight_decay * config.learning_rate == pytest.approx(
        3e-3 / math.sqrt(n_steps_of_decay))


def test_margipose_recipe_says_what_is_published():
    config = load('margipose')
    text = ast.get_docstring(ast.parse((TRAINING_DIR / 'configs/margipose.py').read_text()))
    for needed in ('Data: ', 'As published', 'Differs', 'Expected time', '57.0 mm MPJPE',
                   'python -m training.train training/configs/margipose.py'):
        assert needed in text, needed
    assert config.n_steps * (config.batch_size_3d + config.batch_size_2d) == 4800000
    assert config.model.is_truncated and config.optimizer.schedule == 'one_cycle'
    assert (config.loss.marginal, config.loss.divergence, config.learning_rate) == (1, 1, 1)
    assert config.weight_decay == 0 and config.clip_norm is None


@pytest.mark.parametrize('name', HOURGLASSES)
def test_coarse_to_fine_recipes_say_what_is_published(name):
    config, published = load(name), load('coarse_to_fine')
    assert config.name == name
    text = ast.get_docstring(ast.parse((TRAINING_DIR / f'configs/{name}.py').read_text()))
    for needed in ('Data: ', 'As published', 'xpected time',
                   f'python -m training.train training/configs/{name}.py'):
        assert needed in text, needed
    assert config.batch_size_3d + config.batch_size_2d == 4
    assert (config.learning_rate, config.weight_decay, config.clip_norm) == (2.5e-4, 0, None)
    assert config.optimizer.schedule == 'constant_rmsprop' and config.model.n_channels == 256
    assert config.augment == published.augment and config.model.n_levels == 4
    assert published.n_steps == 1000000 and published.model.depths == (1, 2, 4, 64)


def run_one_step(config):
    """Trains one step at the smallest size and returns the trainer and the logs.

    Recipes that share their backbone with another one get a small one.
    """
    changes = {'heatmap': dataclasses.replace(config.model.heatmap, crop_side_px=64)}
    if config.name in ('metrabs_rn50', 'pose25d_rn50', 'metrabs_finetune'):
        changes['backbone'] = 'compact_resnet'
    if config.name == 'margipose':
        changes.update(n_stages=2, n_inner_channels=16)
    if config.model.kind in HOURGLASS_KINDS:
        changes.update(n_channels=16, n_levels=1)
    if config.model.kind in ('pose25d', 'coarse_to_fine', 'decoupled') and config.model.has_depth:
        changes['bone_lengths_mm'] = LENGTHS
    config = dataclasses.replace(
        config, batch_size_3d=2, batch_size_2d=2,
        model=dataclasses.replace(config.model, **changes),
        ghost_batch_sizes=(2, 2) if config.ghost_batch_sizes else ())
    trainer = train.build_trainer(config)
    dataset = tf.data.Dataset.from_tensors(make_batch(config))
    return trainer, trainer.fit(dataset, verbose=0).history


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
    for name in (*GENERATIONS, 'margipose', 'coarse_to_fine')])
def test_a_step_of_every_recipe_changes_the_weights(name, dtype_policy, releases_graphs):
    config = load(name)
    if config.optimizer.schedule == 'dual':
        pytest.importorskip('tensorflow_addons')
    trainer, logs = run_one_step(config)
    dtype_policy('float32')
    assert int(trainer.step()) == 1
    assert all(np.isfinite(value) for [value] in logs.values()) and logs['total'][0] > 0
    assert all(np.isfinite(weight).all() for weight in trainer.crop_model.get_weights())


@pytest.mark.slow
def test_a_step_of_both_stages_of_the_decoupled_recipe(tmp_path):
    first, _ = run_one_step(load('coarse_to_fine_heatmaps'))
    path = str(tmp_path / 'crop_model.keras')
    first.crop_model.save(path)
    config = load('coarse_to_fine_decoupled')
    assert config.model.heatmap_network == 'runs/coarse_to_fine_heatmaps/crop_model.keras'
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, heatmap_network=path))
    trainer, logs = run_one_step(config)
    assert int(trainer.step()) == 1 and logs['volumes'][0] > 0
    for trained, taken_over in zip(
            first.crop_model.get_weights(), trainer.crop_model.heatmap_network.get_weights(),
            strict=True):
        np.testing.assert_array_equal(trained, taken_over)


def read_names(paths):
    """Names that files read as attributes or give as strings, to `getattr` for instance."""
    names = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
    return names


def unread_fields(config_class):
    """Fields that no program reads; setting one in `configs` or checking it does not count."""
    paths = [
        path for path in TRAINING_DIR.rglob('*.py')
        if path.name not in ('config.py',) and path.parent.name != 'configs']
    names = read_names([*paths, MODEL_BUILDER])
    return [field.name for field in dataclasses.fields(config_class) if field.name not in names]


@pytest.mark.parametrize('config_class', [
    config_lib.ModelConfig, config_lib.AugmentConfig, config_lib.LossConfig,
    config_lib.OptimizerConfig, config_lib.TrainConfig])
def test_every_setting_is_read_somewhere(config_class):
    assert not unread_fields(config_class)


def test_the_check_notices_a_setting_that_nobody_reads():
    dead = dataclasses.make_dataclass('Dead', [('n_steps', int), ('nobody_reads_this_field', int)])
    assert unread_fields(dead) == ['nobody_reads_this_field']


def test_every_loss_term_belongs_to_a_trainer():
    classes = (
        trainers.RegularizedTrainer, trainers.MetrabsTrainer, trainers.MetroTrainer,
        trainers.Pose25DTrainer, trainers.MargiPoseTrainer, trainers.AbsoluteMargiPoseTrainer,
        trainers.CoarseToFineTrainer, trainers.DecoupledTrainer,
        trainers.CoordinateRegressionTrainer)
    used = {name for cls in classes for names in cls.TERMS.values() for name in names}
    assert used == set(config_lib.LOSS_TERMS)
