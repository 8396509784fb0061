import json
import pathlib

import pytest

from metro_tf import skeleton

_REFERENCE = pathlib.Path(__file__).parents[2] / 'shared' / 'reference'
ALL = {'METRO_24': skeleton.METRO_24, **skeleton.CONVENTIONS}


def read_reference(name):
    path = _REFERENCE / name
    if not path.is_file():
        pytest.skip(f'{name} is not present')
    return json.loads(path.read_text(encoding='utf-8'))


def edge_names(some_skeleton):
    return {
        tuple(some_skeleton.joint_names[i] for i in edge) for edge in some_skeleton.edges}


def test_joints_of_the_default_model():
    assert skeleton.METRO_24.joint_names == (
        'pelv', 'spin', 'neck', 'head', 'htop', 'nose', 'leye', 'reye', 'lear', 'rear', 'lsho',
        'rsho', 'lelb', 'relb', 'lwri', 'rwri', 'lhip', 'rhip', 'lkne', 'rkne', 'lank', 'rank',
        'ltoe', 'rtoe')
    assert skeleton.METRO_24.n_joints == 24


def test_conventions_on_offer():
    sizes = {name: each.n_joints for name, each in skeleton.CONVENTIONS.items()}
    assert sizes == {
        'h36m_17': 17, 'h36m_25': 25, 'h36m_32': 32, 'mpi_inf_3dhp_17': 17, 'mpi_inf_3dhp_28': 28,
        'margipose_17': 17, 'muco_21': 21, 'mpii_16': 16, 'coco_17': 17, 'coco_19': 19,
        'openpose_18': 18, 'lsp_14': 14, 'smpl_24': 24, 'humaneva_15': 15}
    assert skeleton.CONVENTIONS['margipose_17'] == skeleton.CONVENTIONS['mpi_inf_3dhp_17']


@pytest.mark.parametrize('name', sorted(skeleton.CONVENTIONS))
def test_convention_agrees_with_the_reference(name):
    reference = read_reference('skeletons.json')[name]
    ours = skeleton.CONVENTIONS[name]
    assert list(ours.joint_names) == reference['joints']
    assert [list(edge) for edge in ours.edges] == reference['edges']
    assert list(ours.mirror_mapping) == reference['mirror']


def test_no_convention_of_the_reference_is_left_out():
    assert set(read_reference('skeletons.json')) == set(skeleton.CONVENTIONS)


@pytest.mark.parametrize('name, joints, edges, mirror', [
    ('h36m_32', {0: 'pelv', 5: 'rtoe', 11: 'spi0', 16: 'lcla', 23: 'lfi2', 31: 'rfi2'},
     {(0, 11), (12, 16), (12, 24), (20, 21), (19, 22), (30, 31)},
     (0, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31,
      16, 17, 18, 19, 20, 21, 22, 23)),
    ('mpi_inf_3dhp_28', {0: 'spi3', 4: 'pelv', 12: 'lhan', 22: 'ltoe', 27: 'rtoe'},
     {(2, 0), (0, 1), (3, 2), (4, 3), (1, 5), (5, 8), (26, 27)},
     (0, 1, 2, 3, 4, 5, 6, 7, 13, 14, 15, 16, 17, 8, 9, 10, 11, 12, 23, 24, 25, 26, 27,
      18, 19, 20, 21, 22)),
    ('openpose_18', {0: 'nose', 1: 'neck', 4: 'rwri', 14: 'reye', 17: 'lear'},
     {(1, 0), (0, 14), (14, 16), (1, 8), (1, 11)},
     (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16))])
def test_conventions_by_hand(name, joints, edges, mirror):
    some = skeleton.CONVENTIONS[name]
    assert {i: some.joint_names[i] for i in joints} == joints
    assert edges <= set(some.edges)
    assert some.mirror_mapping == mirror


@pytest.mark.parametrize('name', sorted(skeleton.CONVENTIONS))
def test_selection_agrees_with_the_reference(name):
    # There: for joints of a common skeleton, the weights of this convention's joints.
    reference = read_reference('skeleton_maps.json')[name]
    identical = {
        next(iter(weights)): joint for joint, weights in reference.items()
        if weights is not None and len(weights) == 1}
    selected, indices = skeleton.convention_selection(skeleton.METRO_24.joint_names, name)
    ours = {
        joint: skeleton.METRO_24.joint_names[i]
        for joint, i in zip(selected.joint_names, indices)}
    assert len(identical) >= 12
    assert {joint: ours[joint] for joint in identical} == identical


@pytest.mark.parametrize('name', sorted(ALL))
def test_mirroring_swaps_sides_twice_to_nothing_and_keeps_bones(name):
    some = ALL[name]
    mapping = some.mirror_mapping
    assert [mapping[i] for i in mapping] == list(range(some.n_joints))
    for joint, partner in enumerate(mapping):
        names = some.joint_names[joint], some.joint_names[partner]
        assert names[0] == names[1] or names[0][1:] == names[1][1:]
    mirrored = {frozenset(mapping[i] for i in edge) for edge in some.edges}
    assert mirrored == {frozenset(edge) for edge in some.edges}


@pytest.mark.parametrize('name', sorted(ALL))
def test_every_joint_is_on_a_bone(name):
    assert {i for edge in ALL[name].edges for i in edge} == set(range(ALL[name].n_joints))


@pytest.mark.parametrize('name', sorted(set(ALL) - {'coco_17'}))
def test_bones_form_a_tree_from_parent_to_child(name):
    children = [child for _, child in ALL[name].edges]
    assert len(children) == len(set(children)) == ALL[name].n_joints - 1


@pytest.mark.parametrize('name, partner', [
    ('lkne', 'rkne'), ('rwri', 'lwri'), ('pelv', 'pelv'), ('nose', 'nose'), ('lfi2', 'rfi2')])
def test_mirror_name(name, partner):
    assert skeleton.mirror_name(name) == partner


@pytest.mark.parametrize('name', ['', 'left_knee', 'kne', 'rpelv', 'LKNE'])
def test_mirror_name_refuses_unknown_names(name):
    with pytest.raises(ValueError, match=f'`name` must be one of .* Received: name={name!r}'):
        skeleton.mirror_name(name)


def test_index():
    assert skeleton.METRO_24.index('nose') == 5
    with pytest.raises(ValueError, match="joint of this skeleton.* Received: name='lhan'"):
        skeleton.METRO_24.index('lhan')


def test_from_paths():
    some = skeleton.from_paths('neck lsho lelb head', 'neck-lsho-lelb neck-head')
    assert some.joint_names == ('neck', 'lsho', 'lelb', 'head')
    assert some.edges == ((0, 1), (1, 2), (0, 3))


@pytest.mark.parametrize('names', [(), ('neck', 'neck')])
def test_names_must_be_distinct_and_not_empty(names):
    with pytest.raises(ValueError, match='`joint_names` must be distinct and not empty'):
        skeleton.Skeleton(names, ())


@pytest.mark.parametrize('edge', [(0, 2), (-1, 0), (0,), (0, 1, 1)])
def test_edges_must_be_pairs_of_joints(edge):
    with pytest.raises(ValueError, match='`edges` must be pairs of indices below 2. Received: '):
        skeleton.Skeleton(('neck', 'head'), (edge,))


def test_one_joint():
    some = skeleton.Skeleton(('lkne',), ())
    with pytest.raises(ValueError, match="Received: name='rkne'"):
        some.mirror_mapping
    assert skeleton.Skeleton(('pelv',), ()).mirror_mapping == (0,)


def test_restriction_keeps_order_and_reconnects_over_dropped_joints():
    some = skeleton.from_paths('pelv spin neck head lsho', 'pelv-spin-neck-head neck-lsho')
    restricted = some.restricted_to({'head', 'lsho', 'pelv', 'ltoe'})
    assert restricted.joint_names == ('pelv', 'head', 'lsho')
    assert restricted.edges == ((0, 1), (0, 2))


def test_restriction_without_the_root_drops_only_its_bones():
    some = skeleton.from_paths('pelv lhip lkne rhip rkne', 'pelv-lhip-lkne pelv-rhip-rkne')
    restricted = some.restricted_to({'lhip', 'lkne', 'rhip', 'rkne'})
    assert edge_names(restricted) == {('lhip', 'lkne'), ('rhip', 'rkne')}


def test_restriction_to_everything_changes_nothing():
    for some in ALL.values():
        assert some.restricted_to(some.joint_names) == some


@pytest.mark.parametrize('name, missing', [
    ('h36m_17', ()), ('mpi_inf_3dhp_17', ()), ('margipose_17', ()), ('coco_17', ()),
    ('coco_19', ()), ('openpose_18', ()), ('lsp_14', ()), ('humaneva_15', ()),
    ('mpii_16', ('thor',)), ('smpl_24', ('spi1', 'spi3', 'lcla', 'rcla', 'lhan', 'rhan')),
    ('muco_21', ('rhan', 'lhan')), ('h36m_25', ('rfoo', 'lfoo', 'lthu', 'lfin', 'rthu', 'rfin')),
    ('h36m_32', ('rfoo', 'lfoo', 'spi0', 'lcla', 'lhan', 'lthu', 'lfin', 'lfi2', 'rcla', 'rhan',
                 'rthu', 'rfin', 'rfi2')),
    ('mpi_inf_3dhp_28', ('spi3', 'spi4', 'spi2', 'lcla', 'lhan', 'rcla', 'rhan', 'lfoo', 'rfoo'))])
def test_selection_for_the_default_model(name, missing):
    selected, indices = skeleton.convention_selection(skeleton.METRO_24.joint_names, name)
    full = skeleton.CONVENTIONS[name]
    assert selected.joint_names == tuple(
        joint for joint in full.joint_names if joint not in missing)
    assert len(indices) == selected.n_joints
    same_name = {
        'smpl_24': {'spi2': 'spin'}, 'humaneva_15': {'head': 'htop', 'thor': 'neck'}}.get(name, {})
    for joint, i in zip(selected.joint_names, indices):
        assert skeleton.METRO_24.joint_names[i] == same_name.get(joint, joint)
    connected = {i for edge in selected.edges for i in edge}
    assert connected == set(range(selected.n_joints))


def test_selection_reconnects_bones():
    selected, _ = skeleton.convention_selection(skeleton.METRO_24.joint_names, 'mpii_16')
    assert ('pelv', 'neck') in edge_names(selected)
    selected, _ = skeleton.convention_selection(skeleton.METRO_24.joint_names, 'smpl_24')
    assert {('pelv', 'spi2'), ('spi2', 'neck'), ('spi2', 'lsho')} <= edge_names(selected)


def test_selection_from_a_model_with_other_joints_in_other_order():
    selected, indices = skeleton.convention_selection(['rank', 'htop', 'spin'], 'lsp_14')
    assert selected.joint_names == ('rank', 'htop') and indices == (0, 1)


def test_selection_refuses_an_unknown_convention():
    with pytest.raises(
            ValueError, match="`convention` must be one of .*coco_17.* Received: convention='c'"):
        skeleton.convention_selection(skeleton.METRO_24.joint_names, 'c')


def test_vocabulary_names_follow_the_selection():
    assert skeleton.vocabulary_names('lsp_14') == skeleton.CONVENTIONS['lsp_14'].joint_names
    names = skeleton.vocabulary_names('smpl_24')
    assert names[6] == 'spin' and 'spi2' not in names and names[9] == 'spi3'
    for convention in skeleton.CONVENTIONS:
        names = skeleton.vocabulary_names(convention)
        assert set(names) <= set(skeleton.VOCABULARY)
        _, indices = skeleton.convention_selection(skeleton.VOCABULARY, convention)
        assert tuple(skeleton.VOCABULARY[i] for i in indices) == names
    with pytest.raises(ValueError, match="`convention` must be one of.*Received: .*'coco'"):
        skeleton.vocabulary_names('coco')


def test_the_vocabulary_has_a_partner_for_every_joint():
    assert len(set(skeleton.VOCABULARY)) == len(skeleton.VOCABULARY) == 42
    for name in skeleton.VOCABULARY:
        assert skeleton.mirror_name(skeleton.mirror_name(name)) == name
