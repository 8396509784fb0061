import json
import sys

import numpy as np
import pytest

import metro_tf
from metro_tf import models
from metro_tf.detection import PersonDetector, center_net
from metro_tf.models import builder
from training import export, run
from training.config import TrainConfig

CONFIG = '''
from metro_tf.config import HeatmapConfig
from training.config import ModelConfig, TrainConfig


def config():
    return TrainConfig(name='tiny', model=ModelConfig(
        'compact_resnet', 8, heatmap=HeatmapConfig(64, 8), kind={kind!r}{more}))
'''
IMAGE = np.zeros([48, 64, 3], np.uint8)
BOXES = [[10.0, 10.0, 30.0, 30.0]]


@pytest.fixture
def files(tmp_path):
    """Function that writes a tiny model and its config and returns their paths."""
    def write(kind='metrabs'):
        more = ', bone_lengths_mm=(100.0,) * 23' if kind == 'pose25d' else ''
        (tmp_path / 'config.py').write_text(CONFIG.format(kind=kind, more=more))
        config = run.load_config(tmp_path / 'config.py', TrainConfig)
        builder.build_crop_model(config.model).save(tmp_path / 'model.keras')
        return tmp_path / 'model.keras', '--config', tmp_path / 'config.py'
    return write


def run_program(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['export', *map(str, arguments)])
    export.main()


@pytest.mark.parametrize('flags', [[], ['--uncertainty']])
def test_program(files, tmp_path, monkeypatch, capsys, flags):
    out = tmp_path / 'tiny' / '3'
    run_program(monkeypatch, *files(), '--out', out, *flags)
    weights_dir = tmp_path / 'tiny_keras' / '3'
    assert capsys.readouterr().out == f'Wrote {out}\nWrote {weights_dir}\n'
    assert [file.name for file in weights_dir.iterdir()] == ['crop_model.npz']
    loaded = metro_tf.load(out)
    people = loaded.estimate_poses(IMAGE, BOXES, num_aug=1)
    assert people['poses3d'].shape == (1, 24, 3)
    assert ('uncertainty' in people) == bool(flags)
    metadata = json.loads(loaded.metadata.numpy())
    assert (metadata['model_name'], metadata['model_version']) == ('tiny', '3')
    assert metadata['config']['uncertainty'] == bool(flags)


def test_card_goes_into_the_metadata(files, tmp_path, monkeypatch):
    card = {'licence': 'MIT', 'released': '2024-05-01', 'summary': 'Tiny.', 'training_data': 'No.',
            'intended_use': 'Tests.', 'scores': {'AP, %': 1.5}}
    (tmp_path / 'card.json').write_text(json.dumps(card))
    out = tmp_path / 'tiny' / '3'
    run_program(monkeypatch, *files(), '--out', out, '--card', tmp_path / 'card.json')
    assert json.loads(metro_tf.load(out).metadata.numpy())['card'] == card
    (tmp_path / 'card.json').write_text('{}')
    with pytest.raises(ValueError, match='`card` must be a dict with the keys'):
        run_program(
            monkeypatch, *files(), '--out', tmp_path / 'other' / '1', '--card',
            tmp_path / 'card.json')
    assert not list(tmp_path.glob('other*/*'))


def test_refuses_uncertainty_of_models_without(files, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match='`predict_with_uncertainty`.* Received: Pose25D'):
        run_program(
            monkeypatch, *files('pose25d'), '--out', tmp_path / 'tiny' / '1', '--uncertainty')
    assert not list(tmp_path.glob('tiny*'))


def test_weights_beside_the_export(files, tmp_path, monkeypatch):
    center_net.build_center_net(4, (3, 3, 4, 4, 4), (0, 0, 0, 0, 0)).save(tmp_path / 'net.keras')
    model_file, *config = files()
    out = tmp_path / 'own' / '1'
    run_program(
        monkeypatch, model_file, *config, '--out', out, '--detector', tmp_path / 'net.keras')
    images = np.random.default_rng(0).random((1, 64, 64, 3)).astype(np.float32)
    intrinsics = np.float32([[[100, 0, 32], [0, 100, 32], [0, 0, 1]]])
    model = models.load_crop_model(out)
    np.testing.assert_array_equal(
        model((images, intrinsics)), models.load_crop_model(model_file)((images, intrinsics)))
    exported = metro_tf.load(out)
    np.testing.assert_allclose(
        exported.crop_model.predict_multi(images, intrinsics),
        model((images, intrinsics)), atol=0.1)
    first, second = (
        PersonDetector.load(path, 64).model(images) for path in (out, tmp_path / 'net.keras'))
    for name, value in second.items():
        np.testing.assert_array_equal(first[name], value)


def test_both_folders_or_none(files, tmp_path, monkeypatch):
    arguments = files()
    out, weights_dir = tmp_path / 'own' / '1', tmp_path / 'own_keras' / '1'
    weights_dir.mkdir(parents=True)
    with pytest.raises(ValueError, match='`out` must not exist unless.*own_keras/1 exists'):
        run_program(monkeypatch, *arguments, '--out', out)
    assert not out.exists()
    (weights_dir / 'note.txt').touch()

    def fail(*_, **__):
        raise OSError('disk full')

    monkeypatch.setattr(export.export, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        run_program(monkeypatch, *arguments, '--out', out, '--overwrite')
    assert not out.exists()
    assert [file.name for file in weights_dir.iterdir()] == ['note.txt']
    assert {entry.name for entry in tmp_path.iterdir()} <= {
        'own', 'own_keras', 'config.py', 'model.keras'}


def test_folders_are_replaced_together(tmp_path):
    folders = [tmp_path / name / '1' for name in ('a', 'b')]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / 'old').touch()
    with pytest.raises(FileNotFoundError), export.replaced(*folders) as new:
        (new[0] / 'new').touch()
        new[1].rmdir()
        (tmp_path / 'missing').rename(new[1])
    assert [file.name for folder in folders for file in folder.iterdir()] == ['old', 'old']
    with export.replaced(*folders) as new:
        for folder in new:
            (folder / 'new').touch()
    assert [file.name for folder in folders for file in folder.iterdir()] == ['new', 'new']
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['a', 'b']


def test_a_failed_replacement_is_undone(tmp_path):
    folders = [tmp_path / name / '1' for name in ('a', 'b')]
    folders[0].mkdir(parents=True)
    (folders[0] / 'old').touch()
    (tmp_path / 'b').touch()  # no folder, so nothing can be put into it
    with pytest.raises(OSError), export.replaced(*folders) as new:
        (new[0] / 'new').touch()
    assert [file.name for file in folders[0].iterdir()] == ['old']


def test_a_config_of_another_model_is_refused(files, tmp_path, monkeypatch):
    model_file, _, config = files()
    config.write_text(CONFIG.format(kind='metrabs', more=', top_down_blocks=1'))
    with pytest.raises(ValueError, match="another model than `config` describes, which lacks 'co"):
        run_program(monkeypatch, model_file, '--config', config, '--out', tmp_path / 'own' / '1')
    assert not list(tmp_path.glob('own*'))
