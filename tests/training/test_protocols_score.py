"""The command that scores files."""

import json

import numpy as np
import pytest

from metro_tf import skeleton
from tests.training import protocol_tables
from training import score
from training.evaluation.protocols import human36m, humaneva, mpi_inf_3dhp

H36M = human36m.JOINTS.joint_names
TRUE = protocol_tables.random_poses(0, 3, 17)


def write(path, joint_names, **columns):
    n_rows = len(next(iter(columns.values())))
    np.savez(path, **{
        'names': [f'p{i}' for i in range(n_rows)], 'joint_names': joint_names, **columns})
    return str(path)


@pytest.fixture
def h36m_labels(tmp_path):
    return write(
        tmp_path / 'labels.npz', H36M, coords3d_cam=TRUE, action=['Eating', 'Eating', 'Photo'])


def run(protocol, predictions, labels, *options):
    return score.main([protocol, '--predictions', predictions, '--labels', labels, *options])


def test_tables_are_printed_and_scores_written(tmp_path, h36m_labels, capsys):
    predicted = write(tmp_path / 'predicted.npz', H36M, coords3d_cam=TRUE + 7)
    assert run('human36m', predicted, h36m_labels, '--out', str(tmp_path / 'scores.json')) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('3 of 3 poses scored (100.0%)') and '| MargiPose ' in printed
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert scores['protocol'] == 'human36m'
    assert scores['mpjpe_mm']['mean_of_poses'] == pytest.approx(0)
    assert scores['mrpe_mm']['mean_of_poses'] == pytest.approx(7 * 3**0.5)
    assert scores['coverage']['n_scored'] == 3


def test_what_does_not_fit_ends_with_code_two(tmp_path, h36m_labels, capsys):
    predicted = write(tmp_path / 'predicted.npz', H36M, coords3d_cam=TRUE[:2])
    out = tmp_path / 'scores.json'
    assert run('human36m', predicted, h36m_labels, '--out', str(out)) == 2
    output = capsys.readouterr()
    assert output.out == '' and "training.score: `names` must be" in output.err
    assert "'p2' missing" in output.err and not out.exists()
    assert run('human36m', predicted, h36m_labels, '--allow-partial') == 0
    assert '2 of 3 poses scored (66.7%)' in capsys.readouterr().out
    assert run('human36m', str(tmp_path / 'no.npz'), h36m_labels) == 2


def test_options_of_protocols(tmp_path, capsys):
    names = mpi_inf_3dhp.JOINTS.joint_names
    predicted = write(tmp_path / 'predicted.npz', names, coords3d_cam=TRUE)
    labels = write(
        tmp_path / 'labels.npz', names, coords3d_cam=TRUE, sequence=['TS1', 'TS4', 'TS6'],
        activity=[1, 2, 7], is_valid=[True] * 3)
    version = write(tmp_path / 'old.npz', names, coords3d_cam=TRUE * 2)
    out = tmp_path / 'scores.json'
    assert run('mpi_inf_3dhp', predicted, labels, '--label-scale', 'metric', '--joints', 'all_17',
               '--label-version', f'first={version}', '--out', str(out)) == 0
    assert '| this model (first) ' in capsys.readouterr().out
    scores = json.loads(out.read_text())
    assert scores['joints'] == 'all_17' and list(scores['scores']) == ['labels', 'first']
    assert scores['scores']['first']['overall']['mpjpe_mm'] > 10
    predicted = write(
        tmp_path / 'lsp.npz', skeleton.CONVENTIONS['lsp_14'].joint_names,
        coords3d_cam=TRUE[:, :14])
    assert run('threedpw', predicted, predicted, '--rules', 'joints_14') == 0
    assert 'rules: joints_14' in capsys.readouterr().out


def random_file(path, joint_names, **columns):
    coords = protocol_tables.random_poses(1, 3, len(joint_names))
    return write(path, joint_names, coords3d_cam=coords, coords2d=coords[..., :2], **columns)


@pytest.mark.parametrize('protocol, joint_names, columns', [
    ('human36m', H36M, {'action': ['Eating'] * 3}),
    ('mpi_inf_3dhp', mpi_inf_3dhp.JOINTS.joint_names, {
        'sequence': ['TS1'] * 3, 'activity': [1] * 3, 'coords3d_univ': TRUE}),
    ('mupots', mpi_inf_3dhp.JOINTS.joint_names, {
        'sequence': ['TS1'] * 3, 'frame': ['f'] * 3, 'frame_names': ['f']}),
    ('threedpw', skeleton.CONVENTIONS['smpl_24'].joint_names, {}),
    ('humaneva', humaneva.JOINTS.joint_names, {'subject': ['S1'] * 3, 'action': ['Jog'] * 3}),
    ('kth', skeleton.CONVENTIONS['lsp_14'].joint_names, {}),
    ('mpii', skeleton.CONVENTIONS['mpii_16'].joint_names, {'head_size_px': [9.0] * 3}),
    ('lsp', skeleton.CONVENTIONS['lsp_14'].joint_names, {}),
    ('coco', skeleton.CONVENTIONS['coco_17'].joint_names, {
        'frame': ['f'] * 3, 'frame_names': ['f'], 'score': [1.0] * 3, 'area': [1e4] * 3,
        'box': [[0, 0, 9, 9]] * 3, 'is_crowd': [False] * 3})])
def test_all_protocols_run_and_write_json(tmp_path, capsys, protocol, joint_names, columns):
    path = random_file(tmp_path / 'both.npz', joint_names, **columns)
    assert run(protocol, path, path, '--out', str(tmp_path / 'scores.json')) == 0
    assert '(100.0%)' in capsys.readouterr().out
    assert json.loads((tmp_path / 'scores.json').read_text())['protocol'] == protocol


@pytest.mark.parametrize('protocol', score.PROTOCOLS)
def test_help_tells_what_the_labels_must_hold(protocol, capsys):
    with pytest.raises(SystemExit, match='0'):
        score.main([protocol, '--help'])
    text = capsys.readouterr().out
    assert 'Labels' in text or 'Both files' in text
    assert '--allow-partial' in text


@pytest.mark.parametrize('arguments, message', [
    (['h36m'], "invalid choice: 'h36m'"), ([], 'PROTOCOL'),
    (['kth', '--predictions', 'a.npz'], '--labels'),
    (['mpi_inf_3dhp', '--label-version', 'a.npz'], 'must be NAME=FILE'),
    (['mpi_inf_3dhp', '--label-version', 'labels=a.npz'], 'with another name than labels'),
    (['threedpw', '--rules', 'own'], 'invalid choice')])
def test_arguments_are_checked(arguments, message, capsys):
    with pytest.raises(SystemExit, match='2'):
        score.main(arguments)
    assert message in capsys.readouterr().err
