"""Errors of HumanEva-I and 3D PCP of KTH Multiview Football II."""

import numpy as np
import pytest

from tests.training import protocol_tables
from training.evaluation.protocols import humaneva, kth

POSES = protocol_tables.random_poses(0, 4, 15)
COLUMNS = {'subject': ['S1', 'S1', 'S2', 'S1'], 'action': ['Walking', 'Jog', 'Jog', 'Jog']}


def humaneva_table(coords, **columns):
    return protocol_tables.make_table(
        humaneva.JOINTS.joint_names, {'coords3d_cam': coords}, **columns)


def test_humaneva_by_hand():
    pred = POSES.copy()
    pred[:, 1, 0] += 15 * np.array([10, 20, 30, 60])
    pred += [0, 0, 700]
    scores = humaneva.evaluate(humaneva_table(pred), humaneva_table(POSES, **COLUMNS))
    mpjpe = scores['mpjpe_mm']
    assert mpjpe['per_sequence'] == pytest.approx({'S1 Walking': 10, 'S1 Jog': 40, 'S2 Jog': 30})
    assert mpjpe['mean_of_sequences'] == pytest.approx(80 / 3)
    assert mpjpe['mean_of_poses'] == pytest.approx(30)
    assert scores['absolute_mpjpe_mm']['mean_of_poses'] > 690


def test_humaneva_alignments():
    rotation = protocol_tables.random_rotation(np.random.default_rng(0))
    scores = humaneva.evaluate(
        humaneva_table(POSES @ rotation + 10), humaneva_table(POSES, **COLUMNS))
    assert scores['rigid_mpjpe_mm']['mean_of_poses'] < 1e-9
    scores = humaneva.evaluate(
        humaneva_table(1.3 * POSES @ rotation), humaneva_table(POSES, **COLUMNS))
    assert scores['pa_mpjpe_mm']['mean_of_poses'] < 1e-9
    assert scores['mpjpe_mm']['mean_of_poses'] > scores['rigid_mpjpe_mm']['mean_of_poses'] > 50
    # The best translation puts the means on each other, and the best rotation turns back.
    centred = POSES - POSES.mean(axis=1, keepdims=True)
    assert scores['rigid_mpjpe_mm']['mean_of_poses'] == pytest.approx(
        0.3 * np.linalg.norm(centred, axis=-1).mean())


def test_humaneva_lost_markers_do_not_count():
    true = POSES.copy()
    true[0, 3] = np.nan
    pred = POSES.copy()
    pred[0, 3] += 1e4
    pred[0, 4, 1] += 14
    scores = humaneva.evaluate(humaneva_table(pred), humaneva_table(true, **COLUMNS))
    assert scores['mpjpe_mm']['per_sequence']['S1 Walking'] == pytest.approx(1)
    true[0, 0] = np.nan
    scores = humaneva.evaluate(humaneva_table(pred), humaneva_table(true, **COLUMNS))
    assert scores['mpjpe_mm']['per_sequence']['S1 Walking'] is None
    assert scores['mpjpe_mm']['mean_of_sequences'] == 0
    assert scores['absolute_mpjpe_mm']['per_sequence']['S1 Walking'] == pytest.approx(14 / 13)


def test_humaneva_table_and_unknown_actions():
    scores = humaneva.evaluate(humaneva_table(POSES), humaneva_table(POSES, **COLUMNS))
    lines = humaneva.tables(scores).splitlines()
    assert [cell.strip() for cell in lines[2].split('|')[2:5]] == [
        'S1 Walking', 'S1 Jog', 'S2 Jog']
    assert [cell.strip() for cell in lines[-1].split('|')[1:5]] == [
        'coarse-to-fine', '22.3', '28.9', '21.9']
    with pytest.raises(ValueError, match="`action` must be among Walking, Jog, .*: 'Run' in"):
        humaneva.evaluate(
            humaneva_table(POSES),
            humaneva_table(POSES, subject=['S1'] * 4, action=['Jog', 'Jog', 'Jog', 'Run']))


KTH_LIMBS = [
    ('lsho', 'lelb'), ('rsho', 'relb'), ('lelb', 'lwri'), ('relb', 'rwri'), ('lhip', 'lkne'),
    ('rhip', 'rkne'), ('lkne', 'lank'), ('rkne', 'rank')]


def kth_table(coords):
    return protocol_tables.make_table(kth.JOINTS.joint_names, {'coords3d_cam': coords})


def test_kth_by_hand():
    # All limbs hang down from the hips and shoulders, each of length 1.
    heights = {'sho': 3, 'elb': 2, 'wri': 1, 'hip': 2, 'kne': 1, 'ank': 0, 'neck': 3, 'htop': 4}
    true = np.array([[
        [{'l': -1.0, 'r': 1.0}.get(name[0], 0) if name[1:] in heights else 0, 0,
         heights.get(name, heights.get(name[1:]))] for name in kth.JOINTS.joint_names]])
    pred = true + 7
    pred[0, kth.JOINTS.index('lwri'), 0] += 0.8
    pred[0, kth.JOINTS.index('rank'), 0] += 1.2
    scores = kth.evaluate(kth_table(pred), kth_table(true))['pcp']
    assert scores['strict'] == pytest.approx({
        'upper arms': 1, 'lower arms': 0.5, 'upper legs': 1, 'lower legs': 0.5, 'all': 6 / 8})
    assert scores['loose'] == pytest.approx({
        'upper arms': 1, 'lower arms': 1, 'upper legs': 1, 'lower legs': 0.5, 'all': 7 / 8})


def test_kth_agrees_with_loops():
    true = protocol_tables.random_poses(0, 30, 14)
    pred = true + 200 * np.random.default_rng(1).normal(size=true.shape) + 3000
    hips = [kth.JOINTS.index('lhip'), kth.JOINTS.index('rhip')]
    n_strict = n_loose = n_limbs = 0
    for y, p in zip(true, pred):
        y, p = y - y[hips].mean(axis=0), p - p[hips].mean(axis=0)
        for ends in KTH_LIMBS:
            a, b = map(kth.JOINTS.index, ends)
            limit = np.linalg.norm(y[a] - y[b]) / 2
            errors = [np.linalg.norm(y[a] - p[a]), np.linalg.norm(y[b] - p[b])]
            n_limbs += 1
            n_strict += max(errors) <= limit
            n_loose += sum(errors) / 2 <= limit
    scores = kth.evaluate(kth_table(pred), kth_table(true))
    assert n_limbs == 240 and 0 < n_strict < n_loose < n_limbs
    assert scores['pcp']['strict']['all'] == pytest.approx(n_strict / n_limbs)
    assert scores['pcp']['loose']['all'] == pytest.approx(n_loose / n_limbs)
    assert '| strict ' in kth.tables(scores) and '30 of 30 poses' in kth.tables(scores)


@pytest.mark.parametrize('joint, groups', [
    ('sho', ['upper arms']), ('elb', ['upper arms', 'lower arms']), ('wri', ['lower arms']),
    ('kne', ['upper legs', 'lower legs']), ('ank', ['lower legs'])])
def test_kth_groups(joint, groups):
    true = protocol_tables.random_poses(0, 1, 14)
    for side in 'lr':
        pred = true.copy()
        pred[0, kth.JOINTS.index(side + joint)] += 1e4
        strict = kth.evaluate(kth_table(pred), kth_table(true))['pcp']['strict']
        assert [name for name in kth.GROUPS if strict[name] == 0.5] == groups
        assert strict['all'] == 1 - len(groups) / 8
