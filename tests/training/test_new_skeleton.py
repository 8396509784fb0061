"""A model of other joints: from a folder and records of several joint sets to a SavedModel."""

import dataclasses
import json
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.config import HeatmapConfig
from metro_tf.models import builder
from tests.training import test_import_folder as folders
from tests.training.test_train_program import data_dirs  # noqa: F401
from training import evaluate, export, extend, import_folder, pipeline, train
from training.config import ModelConfig, TrainConfig
from training.datasets import records

# The default joints without head and spine, with hands and feet, in another order.
JOINTS = skeleton.from_paths(
    'lhan rhan lfoo rfoo pelv neck htop nose leye reye lear rear lsho rsho lelb relb lwri rwri '
    'lhip rhip lkne rkne lank rank ltoe rtoe',
    'pelv-neck-htop neck-nose nose-leye-lear nose-reye-rear neck-lsho-lelb-lwri-lhan '
    'neck-rsho-relb-rwri-rhan pelv-lhip-lkne-lank-lfoo-ltoe pelv-rhip-rkne-rank-rfoo-rtoe')
MODEL = ModelConfig('compact_resnet', top_down_channels=16, heatmap=HeatmapConfig(64, 8))
CONFIG = """
import dataclasses

from tests.training import test_new_skeleton
from training.config import TrainConfig


def config():
    return TrainConfig(
        name='new', n_steps=2, steps_per_epoch=2, warmup_steps=1, batch_size_3d=2,
        batch_size_2d=2, model=dataclasses.replace(
            test_new_skeleton.MODEL, skeleton=test_new_skeleton.JOINTS))
"""


@pytest.fixture
def own_records(tmp_path):
    """Records of four people with the joints in 3D and two in 2D, in the order of the names."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    cv2.imwrite(str(folder / 'a.jpg'), np.full([*folders.SIZE[::-1], 3], 90, np.uint8))
    n_joints = JOINTS.n_joints
    rows = [folders.make_row(i, n_joints=n_joints) for i in range(4)]
    rows += [folders.row_2d(i, n_joints=n_joints) for i in range(4, 6)]
    folders.write_annotations(
        folder, rows, skeleton=None, joint_names=sorted(JOINTS.joint_names))
    assert import_folder.main([str(folder), '--out', str(tmp_path / 'own')]) == 0
    return tmp_path / 'own'


def test_all_sources_give_the_joints_of_the_model(data_dirs, own_records):  # noqa: F811
    config = TrainConfig(
        name='x', batch_size_3d=2, batch_size_2d=2,
        model=dataclasses.replace(MODEL, skeleton=JOINTS))
    dataset = pipeline.training_dataset(
        config, data_dirs['synth'], data_dirs['lspet'], [data_dirs['photos']],
        records_3d_dir=own_records / '3d', records_2d_dir=own_records / '2d')
    is_default = np.isin(JOINTS.joint_names, skeleton.METRO_24.joint_names)
    is_lsp = np.isin(JOINTS.joint_names, skeleton.CONVENTIONS['lsp_14'].joint_names)
    for _, labels in dataset.take(2):
        mask3d, mask2d = [
            labels[f'joint_validity_mask_{kind}'].numpy() for kind in ('3d', '2d')]
        for masks, foreign in ((mask3d[:2], is_default), (mask2d[2:], is_lsp)):
            is_own = masks.all(axis=1)
            assert sorted(is_own) == [False, True]
            np.testing.assert_array_equal(masks[~is_own], [foreign])
        assert not mask3d[2:].any() and is_lsp.sum() == 14 and is_default.sum() == 22


def test_training_crops_swap_sides_by_name(own_records):
    """Mirrored or not, the left foot keeps its index: its image is that of the joint in 3D."""
    config = TrainConfig(
        name='x', batch_size_3d=4, batch_size_2d=0,
        model=dataclasses.replace(MODEL, skeleton=JOINTS))
    photos = own_records.parent / 'photos'
    dataset = pipeline.training_dataset(
        config, None, None, [photos], records_3d_dir=own_records / '3d')
    poses = records.read_coords3d(own_records / '3d', JOINTS.joint_names)
    ends = [JOINTS.index('lfoo'), JOINTS.index('rhan')]
    lengths = np.linalg.norm(poses[:, ends[0]] - poses[:, ends[1]], axis=-1)
    mirrored_ends = [JOINTS.index('rfoo'), JOINTS.index('lhan')]
    mirrored = np.linalg.norm(poses[:, mirrored_ends[0]] - poses[:, mirrored_ends[1]], axis=-1)
    found = np.concatenate([
        np.linalg.norm(
            labels['coords3d_cam'][:, ends[0]] - labels['coords3d_cam'][:, ends[1]], axis=-1)
        for _, labels in dataset.take(4)])
    distances = np.abs(found[:, np.newaxis] - np.concatenate([lengths, mirrored]))
    np.testing.assert_allclose(distances.min(axis=1), 0, atol=0.1)
    assert len(set(distances.argmin(axis=1) // 4)) == 2  # both kinds occur


@pytest.mark.slow
def test_from_a_finished_model_to_one_of_new_joints(
        data_dirs, own_records, tmp_path, monkeypatch, capsys):  # noqa: F811
    """The walk of docs/retraining.md, section 5, program by program."""
    def run(program, *arguments):
        monkeypatch.setattr(sys, 'argv', [program.__name__, *map(str, arguments)])
        program.main()
    config, scores, out = tmp_path / 'new.py', tmp_path / 'scores.json', tmp_path / 'new_model/1'
    config.write_text(CONFIG)
    builder.build_crop_model(MODEL).save(str(tmp_path / 'finished.keras'))
    run(extend, '--start-from', tmp_path / 'finished.keras', '--config', config, '--out',
        tmp_path / 'first.keras')
    note = capsys.readouterr().out
    assert 'new joints: lhan, rhan, lfoo, rfoo\njoints left out: spin, head' in note
    sources = [
        '--synth-dir', data_dirs['synth'], '--lspet-dir', data_dirs['lspet'],
        '--background-dir', data_dirs['photos']]
    run(train, config, *sources, '--records-3d-dir', own_records / '3d', '--records-2d-dir',
        own_records / '2d', '--start-from', tmp_path / 'first.keras', '--out-dir', tmp_path)
    model = tmp_path / 'new/crop_model.keras'
    stored = json.loads((tmp_path / 'new/config.json').read_text())
    assert stored['model']['skeleton']['joint_names'] == list(JOINTS.joint_names)
    run(evaluate, model, '--config', config, *sources, '--records-dir', own_records / '3d',
        '--out', scores)
    result = json.loads(scores.read_text())
    assert result['synthetic_holdout']['n_examples_3d'] == 5
    assert result['lspet_holdout']['n_examples_2d'] == 3
    assert result[str(own_records / '3d')]['n_examples_3d'] == 4
    run(export, model, '--synth-dir', own_records / '3d', '--config', config, '--scores', scores,
        '--out', out)
    loaded = tf.saved_model.load(str(out))
    names = [name.decode() for name in loaded.joint_names.numpy()]
    assert tuple(names) == JOINTS.joint_names
    np.testing.assert_array_equal(loaded.joint_edges, JOINTS.edges)
    assert loaded.per_skeleton_joint_names['smpl_24'].numpy()[-1] == b'rhan'
    poses = loaded.estimate_poses(
        np.zeros([90, 80, 3], np.uint8), np.float32([[10, 10, 50, 60]]))['poses3d']
    assert poses.shape[-2:] == (JOINTS.n_joints, 3)
