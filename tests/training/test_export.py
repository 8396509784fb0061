import json
import sys

import numpy as np
import pytest

import metro_tf
from metro_tf import models, skeleton
from tests.models import common
from training import export
from training.configs import default_crop_model

CONFIG = default_crop_model.__file__  # its joints are those of the models below
IMAGE = np.zeros([48, 64, 3], np.uint8)
BOXES = [[10.0, 10.0, 30.0, 30.0]]


@pytest.fixture
def model_file(tmp_path):
    """Function that writes a tiny model with the default joints and returns its path."""
    def write(model_cls):
        model = common.make_model(
            model_cls, joint_names=skeleton.METRO_24.joint_names, edges=skeleton.METRO_24.edges,
            **({'bone_lengths_mm': [100.0] * 23} if model_cls is models.Pose25D else {}))
        model.save(tmp_path / 'model.keras')
        return tmp_path / 'model.keras'
    return write


def run_program(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['export', *map(str, arguments), '--config', CONFIG])
    export.main()


@pytest.mark.parametrize('flags', [[], ['--uncertainty']])
def test_program(model_file, tmp_path, monkeypatch, capsys, flags):
    out = tmp_path / 'tiny' / '3'
    run_program(monkeypatch, model_file(models.Metrabs), '--out', out, *flags)
    assert capsys.readouterr().out == f'Wrote {out}\n'
    loaded = metro_tf.load(out)
    people = loaded.estimate_poses(IMAGE, BOXES, num_aug=1)
    assert people['poses3d'].shape == (1, 24, 3)
    assert ('uncertainty' in people) == bool(flags)
    metadata = json.loads(loaded.metadata.numpy())
    assert (metadata['model_name'], metadata['model_version']) == ('tiny', '3')
    assert metadata['config']['uncertainty'] == bool(flags)


def test_refuses_uncertainty_of_models_without(model_file, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match='`predict_with_uncertainty`.* Received: Pose25D'):
        run_program(
            monkeypatch, model_file(models.Pose25D), '--out', tmp_path / 'tiny', '--uncertainty')
    assert not (tmp_path / 'tiny').exists()
