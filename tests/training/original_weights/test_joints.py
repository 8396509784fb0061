import json

import numpy as np
import pytest

from metro_tf import skeleton as skeleton_lib
from training.original_weights import joints, layouts, release

# SMPL without suffix, as in the releases of many data sets.
NAMES = ('lhip', 'rhip', 'bell', 'spin', 'pelv', 'lhip_h36m', 'rhip_h36m', 'spin_h36m')
EDGES = ((0, 4), (1, 4), (2, 4), (2, 3), (5, 7), (6, 7))
SKELETONS = {
    'smpl_5': (('pelv', 'lhip', 'rhip', 'bell', 'spin'), (4, 0, 1, 2, 3)),
    'h36m_3': (('rhip', 'lhip', 'tors'), (6, 5, 7)), 'kinectv2_2': (('lhip', 'rhip'), (8, 9))}


def make_release(names=NAMES, edges=EDGES, skeletons=SKELETONS):
    return release.Release(
        layouts.TENSORFLOW, {}, joint_names=names, joint_edges=edges, skeletons=skeletons)


@pytest.mark.parametrize('name, expected', [
    ('lank', 'lank'), ('lank_h36m', 'lank'), ('lank_cmu_panoptic', 'lank'), ('tors', 'spin'),
    ('bell_smpl', 'spi1'), ('thor_muco', 'spi3')])
def test_our_names(name, expected):
    assert joints.our_name(name) == expected


def test_a_convention_of_the_release():
    selection = joints.select(make_release(), convention='smpl_5')
    assert selection.skeleton.joint_names == ('pelv', 'lhip', 'rhip', 'spi1', 'spin')
    assert selection.indices == (4, 0, 1, 2, 3) and selection.n_all == 8
    assert selection.skeleton.edges == ((1, 0), (2, 0), (3, 0), (3, 4))
    selection = joints.select(make_release(), convention='h36m_3')
    assert selection.skeleton.joint_names == ('rhip', 'lhip', 'spin')
    assert selection.indices == (6, 5, 7) and selection.skeleton.edges == ((1, 2), (0, 2))


def test_all_joints():
    selection = joints.select(make_release(('lhip', 'rhip', 'tors'), ((0, 2), (1, 2))))
    assert selection.skeleton == skeleton_lib.Skeleton(
        ('lhip', 'rhip', 'spin'), ((0, 2), (1, 2)))
    assert selection.indices == (0, 1, 2) and selection.n_all == 3


def test_our_conventions_by_name():
    names = skeleton_lib.CONVENTIONS['lsp_14'].joint_names
    selection = joints.select(make_release(('pelv', *names)), convention='lsp_14')
    assert selection.skeleton.joint_names == names and selection.indices == tuple(range(1, 15))


def test_files_of_joints(tmp_path):
    path = tmp_path / 'joints.json'
    path.write_text(json.dumps({
        'joint_names': ['lhip', None, 'rhip', 'pelv'], 'joint_edges': [[0, 3], [1, 3], [2, 3]]}))
    for found in (make_release(), make_release(None, None)):
        selection = joints.select(found, path)
        assert selection.skeleton == skeleton_lib.Skeleton(
            ('lhip', 'rhip', 'pelv'), ((0, 2), (1, 2)))
        assert selection.indices == (0, 2, 3) and selection.n_all == 4
    np.savez(tmp_path / 'info.npz', joint_names=['lhip', 'rhip', 'tors'], joint_edges=[[0, 2]])
    selection = joints.select(make_release(None, None), tmp_path / 'info.npz')
    assert selection.skeleton == skeleton_lib.Skeleton(('lhip', 'rhip', 'spin'), ((0, 2),))


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"joint_names": ["lhip"]}'])
def test_refuses_other_files(tmp_path, text):
    path = tmp_path / 'joints.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=f'`joints_file` must be a JSON file .* {path}: .'):
        joints.select(make_release(), path)
    with pytest.raises(ValueError, match='FileNotFoundError'):
        joints.select(make_release(), tmp_path / 'none.json')


def test_refusals():
    with pytest.raises(ValueError, match='`joints_file` must be given for a release without'):
        joints.select(make_release(None, None))
    with pytest.raises(ValueError, match=(
            r"unknown \[\], several times \['lhip', 'rhip', 'spin'\]; select a convention, of "
            r"which the release tells \['h36m_3', 'kinectv2_2', 'smpl_5'\]")):
        joints.select(make_release())
    with pytest.raises(ValueError, match=r"unknown \['lhee', 'rhee'\], several times \[\]"):
        joints.select(make_release(('lhee', 'rhee_bml')))
    with pytest.raises(ValueError, match=r"both of every left-right pair. Received: only \['lhip"):
        joints.select(make_release(('lhip', 'pelv')))
    with pytest.raises(ValueError, match="'kinectv2_2', which has joints that are computed from"):
        joints.select(make_release(), convention='kinectv2_2')
    with pytest.raises(ValueError, match="`convention` must be one of .* convention='h36m_18'"):
        joints.select(make_release(), convention='h36m_18')
    with pytest.raises(ValueError, match=r"convention='lsp_14', with \['rank', 'rkne'"):
        joints.select(make_release(), convention='lsp_14')
