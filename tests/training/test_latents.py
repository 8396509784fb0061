import sys

import keras
import numpy as np
import pytest

from metro_tf import models, skeleton
from training import latents
from training.datasets import records
from training.datasets.example import Example


def make_example(i):
    rng = np.random.default_rng(i)
    coords3d = rng.normal([0, 0, 3000], 300, (24, 3)).astype(np.float32)
    if i == 0:
        coords3d[3] = np.nan
    if i == 1:
        coords3d[3, 2] = 299
    return Example(
        image=np.zeros((8, 8, 3), np.uint8), name=f'{i}', box=np.float32([0, 0, 8, 8]),
        frame=np.float32([0, 0, 8, 8]), coords2d=np.zeros((24, 2), np.float32),
        visibility=np.ones(24, np.float32), intrinsics=np.eye(3, dtype=np.float32),
        camera_up=np.float32([0, -1, 0]), coords3d_cam=coords3d)


def test_program(tmp_path, monkeypatch, capsys):
    records.write_shard(tmp_path / 'a.tfrecord', [make_example(i) for i in range(5)])
    monkeypatch.setattr(sys, 'argv', [
        'latents', '--records-dir', str(tmp_path), '--n-pairs', '3', '--n-central', '2',
        '--n-epochs', '2', '--out', str(tmp_path / 'latents.keras')])
    latents.main()
    assert 'over 3 poses' in capsys.readouterr().out
    autoencoder = keras.models.load_model(tmp_path / 'latents.keras', compile=False)
    assert autoencoder.joint_names == skeleton.METRO_24.joint_names
    assert autoencoder.n_latents == 8 and autoencoder.sparsity == 0.6


def test_poses_without_a_joint_or_too_near_are_left_out(tmp_path):
    examples = [make_example(i) for i in range(4)]
    records.write_shard(tmp_path / 'a.tfrecord', examples)
    np.testing.assert_array_equal(
        latents.read_poses([tmp_path, tmp_path]),
        [examples[i].coords3d_cam for i in (2, 3, 2, 3)])


CONFIG_FILE = """
from metro_tf import skeleton
from training.config import ModelConfig, TrainConfig


def config():
    return TrainConfig(name='hips', model=ModelConfig(
        latent_mode='direct', autoencoder='none.keras',
        skeleton=skeleton.from_paths('lhip rhip', 'lhip-rhip')))
"""


def test_joints_can_be_those_of_a_config(tmp_path, monkeypatch, capsys):
    records.write_shard(tmp_path / 'a.tfrecord', [make_example(i) for i in range(5)])
    (tmp_path / 'hips.py').write_text(CONFIG_FILE)
    monkeypatch.setattr(sys, 'argv', [
        'latents', '--records-dir', str(tmp_path), '--n-pairs', '1', '--n-central', '0',
        '--n-epochs', '1', '--config', str(tmp_path / 'hips.py'), '--out',
        str(tmp_path / 'latents.keras')])
    latents.main()
    assert 'over 5 poses' in capsys.readouterr().out  # both have their hips
    autoencoder = keras.models.load_model(tmp_path / 'latents.keras', compile=False)
    assert autoencoder.joint_names == ('lhip', 'rhip')


@pytest.mark.parametrize('poses', [
    np.zeros((0, 2, 3)), np.full((1, 2, 3), np.nan), np.zeros((1, 2, 3))])
def test_refuses_poses_that_are_not_in_front_of_the_camera(poses):
    autoencoder = models.AffineAutoencoder(('lhip', 'rhip'), 1, 0)
    with pytest.raises(ValueError, match='`poses` must be finite and at least 300 mm from'):
        latents.fit(autoencoder, poses)
