"""Several trainings on the same batches: what is on disk, resuming, and the table."""

import csv
import dataclasses
import json

import cv2
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.config import HeatmapConfig
from tests.training.test_train_program import data_dirs, make_person  # noqa: F401
from training import cached_batches, compare, folder_settings, pipeline, run
from training.config import LossConfig, ModelConfig, TrainConfig
from training.configs import coarse_to_fine_comparison, comparison, margipose_ablation
from training.datasets import records

CONFIG_FILE = """
import dataclasses

from metro_tf.config import HeatmapConfig
from tests.training.test_compare import CONFIG
from training.config import ModelConfig


def configs():
    base = dataclasses.replace(CONFIG.model, n_stages=1, n_inner_channels=8, kind='margipose')
    flat = ModelConfig(
        kind='coarse_to_fine', backbone='hourglass', depths=(1,), n_channels=8, n_levels=1,
        heatmap=HeatmapConfig(64, 4))
    decoupled = dataclasses.replace(
        flat, kind='decoupled', depths=(8,), heatmap_network='flat/crop_model.keras')
    return [
        *(dataclasses.replace(
            CONFIG, name=name, model=dataclasses.replace(CONFIG.model, kind=name))
          for name in ('metro', 'pose25d')),
        dataclasses.replace(CONFIG, name='margipose', model=base),
        dataclasses.replace(CONFIG, name='flat', model=flat),
        dataclasses.replace(CONFIG, name='decoupled', model=decoupled)]
"""
CONFIG = TrainConfig(
    name='metrabs', n_steps=4, steps_per_epoch=2, warmup_steps=1, batch_size_3d=2,
    batch_size_2d=2, model=ModelConfig(
        backbone='compact_resnet', top_down_channels=16, heatmap=HeatmapConfig(64, 8)))


@pytest.fixture
def make_batches(data_dirs):  # noqa: F811
    return lambda first_step: pipeline.training_dataset(
        CONFIG, data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']], first_step)


def check_equal(batches, expected):
    """The same batches, up to the rounding of the images to 8 bits."""
    for actual, wanted in zip(batches, expected, strict=True):
        tf.nest.assert_same_structure(actual, wanted)
        np.testing.assert_allclose(
            actual[0].pop('image'), wanted[0].pop('image'), atol=0.5 / 255 + 1e-6)
        tf.nest.map_structure(np.testing.assert_array_equal, actual, wanted)


def test_written_batches_are_those_of_the_pipeline(make_batches, tmp_path):
    cached_batches.write(CONFIG, make_batches, tmp_path, ['synth'])
    expected = list(make_batches(0).take(4))
    dataset = cached_batches.read(CONFIG, tmp_path)
    assert dataset.element_spec == make_batches(0).element_spec
    check_equal(dataset.take(4), expected)
    check_equal(cached_batches.read(CONFIG, tmp_path, 3).take(2), [
        *make_batches(3).take(1), *make_batches(0).take(1)])  # begins anew after the last
    check_equal(cached_batches.read(CONFIG, tmp_path, 4).take(1), make_batches(0).take(1))


def test_writing_goes_on_after_a_kill(make_batches, tmp_path):
    cached_batches.write(CONFIG, make_batches, tmp_path / 'whole', ['synth'])
    folder = tmp_path / 'killed'
    requested = []

    def killed_in_the_second_epoch(first_step):
        requested.append(first_step)
        return make_batches(first_step).take(3)

    with pytest.raises(StopIteration):
        cached_batches.write(CONFIG, killed_in_the_second_epoch, folder, ['synth'])
    assert sorted(path.name for path in folder.glob('batches*')) == ['batches-00000.tfrecord']

    def resumed(first_step):
        requested.append(first_step)
        return make_batches(first_step)

    cached_batches.write(CONFIG, resumed, folder, ['synth'])
    cached_batches.write(CONFIG, resumed, folder, ['synth'])  # nothing left to do
    assert requested == [0, 2]
    for path in (tmp_path / 'whole').iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name


def test_batches_of_other_settings_are_refused(make_batches, tmp_path):
    cached_batches.write(CONFIG, make_batches, tmp_path, ['synth'])
    other = dataclasses.replace(CONFIG, seed=5, batch_size_3d=3)
    with pytest.raises(ValueError, match='where batch_size_3d was 2 and is 3; seed was . and is'):
        cached_batches.write(other, make_batches, tmp_path, ['synth'])
    with pytest.raises(ValueError, match=r"where sources was \['synth'\] and is \['other'\]$"):
        cached_batches.write(CONFIG, make_batches, tmp_path, ['other'])


def test_configs_of_the_comparison_share_their_batches_and_terms():
    configs = comparison.configs()
    assert [config.name for config in configs] == [
        'metro', 'metrabs', 'metrabs_without_absolute_loss', 'pose25d']
    assert configs[1] == comparison.config()
    for config in configs:
        assert cached_batches.data_settings(config) == cached_batches.data_settings(configs[0])
        assert config.n_steps * (config.batch_size_3d + config.batch_size_2d) >= 200000
        same = dataclasses.replace(
            config, name='', loss=LossConfig(),
            model=dataclasses.replace(config.model, kind='metrabs'))
        assert same == dataclasses.replace(configs[1], name='', loss=LossConfig())
    assert configs[2].loss == dataclasses.replace(configs[1].loss, absolute=0.0)


def test_configs_of_the_ablation_differ_in_one_thing_each():
    configs = margipose_ablation.configs()
    assert [config.name for config in configs] == [
        'minimal', 'permuted', 'regularized', 'four_stages']
    assert configs[0] == margipose_ablation.config()
    changes = []
    for before, after in zip(configs, configs[1:]):
        assert cached_batches.data_settings(before) == cached_batches.data_settings(after)
        first, second = (dataclasses.asdict(config) for config in (before, after))
        found = folder_settings.changes(first, second)
        changes.append({name: values for name, *values in found if name != 'name'})
    assert changes == [
        {'model.axis_permutation': [False, True]}, {'loss.divergence': [0.0, 1.0]},
        {'model.n_stages': [1, 4]}]
    assert configs[0].model.n_stages == 1 and configs[0].loss.marginal == 1


def test_configs_of_coarse_to_fine_differ_in_their_models_alone():
    configs = coarse_to_fine_comparison.configs()
    assert [config.name for config in configs] == [
        'coordinate_regression', 'volume_32', 'volume_64', 'naive_two', 'coarse_to_fine_two',
        'heatmaps_two', 'decoupled_two']
    assert configs[4] == coarse_to_fine_comparison.config()
    for config in configs:
        assert cached_batches.data_settings(config) == cached_batches.data_settings(configs[0])
        assert dataclasses.replace(config, name='', model=CONFIG.model) == dataclasses.replace(
            configs[0], name='', model=CONFIG.model)
        assert (config.model.n_channels, config.model.n_levels) == (64, 3)
    assert [config.model.depths for config in configs[1:]] == [
        (32,), (64,), (64, 64), (1, 64), (1, 1), (1, 64)]
    assert [config.model.has_depth for config in configs] == [True] * 5 + [False, True]


def test_a_model_may_be_built_upon_another_of_the_comparison(tmp_path):
    *_, heatmaps, decoupled = coarse_to_fine_comparison.configs()
    completed = compare.with_own_files(decoupled, tmp_path)
    path = str(tmp_path / heatmaps.name / 'crop_model.keras')
    assert completed.model.heatmap_network == path
    assert compare.with_own_files(completed, 'elsewhere') == completed
    assert compare.with_own_files(heatmaps, tmp_path) is heatmaps
    with pytest.raises(ValueError, match='`heatmap_network` must be a .*not exist'):
        compare.train_one(
            dataclasses.replace(decoupled, model=dataclasses.replace(
                decoupled.model, bone_lengths_mm=(250.0,) * 23)), None, tmp_path, tmp_path)


def test_batches_have_the_joints_of_the_config(data_dirs, tmp_path):  # noqa: F811
    joints = skeleton.from_paths('lhip rhip lkne rkne', 'lhip-lkne rhip-rkne')
    config = dataclasses.replace(
        CONFIG, n_steps=1, steps_per_epoch=1, warmup_steps=0,
        model=dataclasses.replace(CONFIG.model, skeleton=joints))

    def make_batches(first_step):
        return pipeline.training_dataset(
            config, data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']], first_step)

    cached_batches.write(config, make_batches, tmp_path, ['synth'])
    dataset = cached_batches.read(config, tmp_path)
    assert dataset.element_spec[1]['coords3d_cam'].shape == (4, 4, 3)
    check_equal(dataset.take(1), make_batches(0).take(1))
    with pytest.raises(ValueError, match='where joint_names was .*lhip.* and is .*pelv'):
        cached_batches.write(
            dataclasses.replace(config, model=CONFIG.model), make_batches, tmp_path, ['synth'])


def test_configs_of_different_batches_are_refused(tmp_path):
    configs = [CONFIG, dataclasses.replace(CONFIG, seed=2)]
    with pytest.raises(ValueError, match='`configs` must agree about the batches'):
        compare.train_all(configs, None, None, [], tmp_path)


def test_table_picks_its_share():
    whole = {'mpjpe_mm': 50.04, 'pa_mpjpe_mm': 40.0}
    rows = [
        {'share': share, 'mpjpe_mm_inside': 100 * share, 'mpjpe_mm_outside': None}
        for share in (0.0, 0.3)]
    lines = compare.table({'metro, relative': {'whole': whole, 'truncation': rows}}).splitlines()
    cells = [cell.strip() for cell in lines[2].split('|')[1:-1]]
    assert cells == ['metro, relative', '50.0', '40.0', '-', '-', '30.0', '-', '-', '-']


@pytest.mark.slow
def test_program_compares_trained_models(
        data_dirs, tmp_path, monkeypatch, capsys):  # noqa: F811
    config_file = tmp_path / 'five.py'
    config_file.write_text(CONFIG_FILE)
    configs = run.load_configs(config_file, TrainConfig)
    holdout_dir = tmp_path / 'holdout'
    holdout_dir.mkdir()
    photo = np.float32([-100, -100, 300, 300])  # in which everybody is whole
    records.write_shard(holdout_dir / 'a.tfrecord', [
        dataclasses.replace(make_person(i), frame=photo) for i in range(3)])
    arguments = [
        'compare', '--synth-dir', data_dirs['synth'], '--lspet-dir', data_dirs['lspet'],
        '--background-dir', data_dirs['photos'], '--holdout-dir', holdout_dir,
        '--configs', config_file, '--out-dir', tmp_path, '--plot', tmp_path / 'curves.png']
    monkeypatch.setattr('sys.argv', list(map(str, arguments)))
    # Killed after the first training.
    compare.train_all(
        configs[:1], data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']], tmp_path)
    trained_at = (tmp_path / 'metro/crop_model.keras').stat().st_mtime_ns
    compare.main()
    assert (tmp_path / 'metro/crop_model.keras').stat().st_mtime_ns == trained_at
    for name in ('metro', 'pose25d', 'margipose', 'flat', 'decoupled'):
        epochs = [
            row['epoch'] for row in csv.DictReader((tmp_path / name / 'curves.csv').open())]
        assert epochs == ['0', '1'], name
    result = json.loads((tmp_path / 'comparison.json').read_text())
    assert list(result) == [
        'metro, relative', 'pose25d, bone lengths', 'pose25d, true root depth',
        'margipose, universal scale', 'margipose, true root depth', 'decoupled, bone lengths',
        'decoupled, true root depth']  # no poses in `flat`
    text = (tmp_path / 'comparison.md').read_text()
    assert text in capsys.readouterr().out and len(text.splitlines()) == 9
    for name, row in result.items():
        assert f'| {name} ' in text
        assert row['whole']['n_examples_3d'] == 3
        assert [part['n_joints_outside'] for part in row['truncation']][3] == 3 * 7
    assert 'absolute_mpjpe_mm' not in result['metro, relative']['whole']
    assert cv2.imread(str(tmp_path / 'curves.png')) is not None
