"""PCKh of MPII, PCK and PCP of LSP."""

import math

import numpy as np
import pytest

from tests.training import protocol_tables
from training.evaluation.protocols import lsp, mpii

NAN = float('nan')


def mpii_table(coords, **columns):
    return protocol_tables.make_table(mpii.JOINTS.joint_names, {'coords2d': coords}, **columns)


def lsp_table(coords):
    return protocol_tables.make_table(lsp.JOINTS.joint_names, {'coords2d': coords})


def moved(coords, joints, joint, offset):
    """A copy with a joint of the first person moved to the right."""
    coords = np.array(coords, float)
    coords[0, joints.index(joint), 0] += offset
    return coords


def test_pckh_threshold_is_included_and_pelvis_and_thorax_are_left_out():
    true = np.zeros([1, 16, 2])
    pred = moved(true, mpii.JOINTS, 'lwri', 10)
    pred = moved(pred, mpii.JOINTS, 'rwri', 10.1)
    pred = moved(pred, mpii.JOINTS, 'pelv', 500)
    pred = moved(pred, mpii.JOINTS, 'thor', 500)
    scores = mpii.evaluate(mpii_table(pred), mpii_table(true, head_size_px=[20.0]))['pckh']
    assert scores['wrist'] == 0.5 and scores['head'] == 1 and scores['hip'] == 1
    assert scores['mean'] == pytest.approx(13 / 14)
    # Twelve joints count at all of 51 thresholds, one wrist at the last, the other at none.
    assert scores['auc'] == pytest.approx((12 + 1 / 51) / 14)


def test_pckh_agrees_with_loops():
    rng = np.random.default_rng(0)
    true = protocol_tables.random_poses(0, 25, 16, 2)
    pred = true + 20 * rng.normal(size=true.shape)
    true[rng.random([25, 16]) < 0.2] = NAN
    sizes = rng.uniform(20, 90, 25)
    correct = {name: [] for name in mpii.JOINTS.joint_names}
    fractions = []
    for person in range(25):
        for joint, name in enumerate(mpii.JOINTS.joint_names):
            if not math.isnan(true[person, joint, 0]):
                fraction = math.dist(true[person, joint], pred[person, joint]) / sizes[person]
                correct[name].append(fraction <= 0.5)
                fractions += [fraction] if name not in ('pelv', 'thor') else []
    scores = mpii.evaluate(mpii_table(pred), mpii_table(true, head_size_px=sizes))['pckh']
    shares = {name: sum(values) / len(values) for name, values in correct.items()}
    assert scores['knee'] == pytest.approx((shares['lkne'] + shares['rkne']) / 2)
    assert scores['head'] == pytest.approx(shares['htop'])
    assert scores['mean'] == pytest.approx(
        sum(fraction <= 0.5 for fraction in fractions) / len(fractions))
    areas = [sum(fraction <= i / 100 for i in range(51)) / 51 for fraction in fractions]
    assert scores['auc'] == pytest.approx(sum(areas) / len(areas))


@pytest.mark.parametrize('size, rule', [(0.0, 'positive'), (-1.0, 'positive'), (NAN, 'finite')])
def test_heads_must_have_a_size(size, rule):
    true = np.zeros([2, 16, 2])
    with pytest.raises(ValueError, match=f"`head_size_px` must be {rule}. Received: .* '1' in pos"):
        mpii.evaluate(mpii_table(true), mpii_table(true, head_size_px=[20.0, size]))


def lsp_person():
    """Legs and arms of two parts of 10 px each, a torso of 30 x 40 between them."""
    x = {'r': 0, 'l': 30}
    y = {'sho': 0, 'elb': 10, 'wri': 20, 'hip': 40, 'kne': 50, 'ank': 60}
    middle = {'neck': [15, -5], 'htop': [15, -15]}
    return np.array([[
        middle.get(name) or [x[name[0]], y[name[1:]]] for name in lsp.JOINTS.joint_names]], float)


def test_lsp_by_hand():
    true = lsp_person()
    pred = moved(true, lsp.JOINTS, 'lank', 10)  # of 0.2 * 50
    pred = moved(pred, lsp.JOINTS, 'rank', 10.01)
    pred = moved(pred, lsp.JOINTS, 'htop', 50)
    scores = lsp.evaluate(lsp_table(pred), lsp_table(true))
    assert scores['pck']['ankle'] == 0.5 and scores['pck']['head'] == 0.5
    assert scores['pck']['knee'] == 1
    assert scores['pck']['total'] == pytest.approx(12 / 14)
    # Loosely, an ankle may be off by a whole lower leg.
    assert scores['pcp']['strict'] == pytest.approx({
        'torso': 1, 'upper legs': 1, 'lower legs': 0, 'upper arms': 1, 'lower arms': 1, 'head': 0,
        'all': 7 / 10})
    assert scores['pcp']['loose']['lower legs'] == 0.5


@pytest.mark.parametrize('joint, groups', [
    ('lelb', ['upper arms', 'lower arms']), ('rwri', ['lower arms']),
    ('rkne', ['upper legs', 'lower legs']), ('lank', ['lower legs']), ('neck', ['head']),
    ('htop', ['head']), ('rhip', ['torso', 'upper legs']), ('lsho', ['torso', 'upper arms'])])
def test_lsp_limbs_of_a_joint(joint, groups):
    pred = moved(lsp_person(), lsp.JOINTS, joint, 900)
    scores = lsp.evaluate(lsp_table(pred), lsp_table(lsp_person()))
    assert [name for name in lsp.LIMBS if scores['pcp']['strict'][name] < 1] == sorted(
        groups, key=list(lsp.LIMBS).index)
    assert scores['pcp']['strict']['all'] == 1 - len(groups) / 10
    assert scores['pck']['total'] == pytest.approx(13 / 14)


def test_lsp_torso_is_between_the_middles():
    # Both shoulders are half of the torso of 40 px off, in opposite or in the same direction.
    for offsets, expected in (((21, -21), 1), ((20, 20), 1), ((20.1, 20.1), 0)):
        pred = moved(lsp_person(), lsp.JOINTS, 'lsho', offsets[0])
        pred = moved(pred, lsp.JOINTS, 'rsho', offsets[1])
        scores = lsp.evaluate(lsp_table(pred), lsp_table(lsp_person()))
        assert scores['pcp']['strict']['torso'] == expected


def test_lsp_people_without_torso_do_not_count_for_pck():
    true = np.concatenate([lsp_person(), lsp_person()])
    true[0, lsp.JOINTS.index('rhip')] = NAN
    scores = lsp.evaluate(lsp_table(true[[1, 1]]), lsp_table(true))
    assert scores['pck']['total'] == 1 and scores['pcp']['strict']['all'] == 1
    scores = lsp.evaluate(lsp_table(np.zeros([2, 14, 2])), lsp_table(true[[0, 0]]))
    assert scores['pck']['total'] is None and scores['pcp']['strict']['torso'] is None


def test_tables():
    true = np.zeros([1, 16, 2])
    text = mpii.tables(mpii.evaluate(mpii_table(true), mpii_table(true, head_size_px=[9])))
    assert '1 of 1 people scored' in text and '| PCKh@0.5 | 100.0  | 100.0 ' in text
    person = lsp_person()
    text = lsp.tables(lsp.evaluate(lsp_table(person), lsp_table(person)))
    assert '| PCK@0.2 | 100.0 ' in text and '| loose  | 100.0 ' in text
