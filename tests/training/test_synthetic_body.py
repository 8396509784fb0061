"""The body model: a two-bone body in the true file formats, then the real body."""

import gzip
import json

import numpy as np
import pytest
from scipy import sparse

from training.synthetic import body, motion

OBJ = 'v 0 0 0\nv 0 1 0\nv 0 2 0\nv 1 2 0\nv 1 0 0\nf 1 2 3 4\n'
RIG = {
    'bones': {  # the child first, so that sorting has something to do
        'tip': {'parent': 'base', 'head': 'middle', 'tail': 'end'},
        'base': {'parent': None, 'head': 'start', 'tail': 'middle'}},
    'joints': {'start': [0, 4], 'middle': [1], 'end': [2, 3]}}
WEIGHTS = {'weights': {
    'base': [[0, 0.5], [1, 1.0], [4, 1.0]], 'tip': [[1, 1.0], [2, 0.3], [3, 1.0]]}}
YOUNG_MAN = body.BodyShape(gender=1.0, race=(0.0, 0.0, 1.0))


@pytest.fixture
def tiny_dir(tmp_path):
    """A body folder in MakeHuman's formats."""
    folder = tmp_path / 'makehuman'
    (folder / 'rigs').mkdir(parents=True)
    (folder / 'base.obj').write_text(OBJ)
    (folder / 'rigs/default.mhskel').write_text(json.dumps(RIG))
    (folder / 'rigs/default_weights.mhw').write_text(json.dumps(WEIGHTS))
    targets = folder / 'targets/macrodetails'
    targets.mkdir(parents=True)
    _write_target(targets / 'caucasian-male-young.target.gz', '# a comment\n\n2 0 .5 0\n3 -1 0 2\n')
    _write_target(targets / 'african-male-young.target.gz', '')
    _write_target(targets / 'caucasian-male-old.target.gz', '0 8 8 8\n')
    return folder


def _write_target(path, text):
    with gzip.open(path, 'wt') as file:
        file.write(text)


def test_targets_are_parsed_and_weighted(tiny_dir, tmp_path):
    model = body.BodyModel(tiny_dir, tmp_path)
    offsets = model.morph(YOUNG_MAN) - model.mesh.positions
    np.testing.assert_allclose(offsets, [[0] * 3, [0] * 3, [0, 0.5, 0], [-1, 0, 2], [0] * 3])
    half = body.BodyShape(gender=0.5, race=(0.5, 0.0, 0.5))
    np.testing.assert_allclose(
        model.morph(half) - model.mesh.positions, offsets / 4, atol=1e-6)
    older = body.BodyShape(gender=1.0, age=0.75, race=(0.0, 0.0, 1.0))
    np.testing.assert_allclose(model.morph(older)[0], [4, 4, 4])


def test_cache_gives_the_same_body(tiny_dir, tmp_path):
    first = body.BodyModel(tiny_dir, tmp_path / 'cache').morph(YOUNG_MAN)
    for path in tiny_dir.glob('targets/*/*.gz'):
        path.unlink()
    np.testing.assert_array_equal(
        body.BodyModel(tiny_dir, tmp_path / 'cache').morph(YOUNG_MAN), first)
    assert [path.name for path in (tmp_path / 'cache').iterdir()] == ['morph_targets.npz']


def test_missing_targets_are_named(tiny_dir, tmp_path):
    for path in tiny_dir.glob('targets/*/*.gz'):
        path.unlink()
    with pytest.raises(ValueError, match='`makehuman_dir` must hold morph targets'):
        body.BodyModel(tiny_dir, tmp_path)


def test_bones_must_form_a_tree(tiny_dir, tmp_path):
    bones = {**RIG['bones'], 'base': {**RIG['bones']['base'], 'parent': 'tip'}}
    (tiny_dir / 'rigs/default.mhskel').write_text(json.dumps({**RIG, 'bones': bones}))
    with pytest.raises(ValueError, match="`bones` must form a tree.*'base', 'tip'"):
        body.BodyModel(tiny_dir, tmp_path)


def test_rig_and_joints(tiny_dir, tmp_path):
    model = body.BodyModel(tiny_dir, tmp_path)
    assert model.bone_names == ['base', 'tip'] and model.parents == [-1, 0]
    heads, tails = model.joints(model.mesh.positions)
    np.testing.assert_allclose(heads, [[0.5, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(tails, [[0, 1, 0], [0.5, 2, 0]])
    np.testing.assert_allclose(  # normalised, although the file's sums are 0.3 to 2
        model.weights.toarray(), [[1, 0], [0.5, 0.5], [0, 1], [0, 1], [1, 0]])


def test_bone_transforms_by_hand(tiny_dir, tmp_path):
    model = body.BodyModel(tiny_dir, tmp_path)
    heads = np.array([[0.0, 0, 0], [0, 1, 0]])
    quarter = motion.from_rotvec([0, 0, np.pi / 2])
    transforms = model.bone_transforms(heads, {'base': quarter, 'tip': quarter})
    posed = transforms[..., :3] @ [0, 2, 0] + transforms[..., 3]
    # Up becomes left (-x); the tip bone, which starts at (-1, 0), points down.
    np.testing.assert_allclose(posed, [[-2, 0, 0], [-1, -1, 0]], atol=1e-6)
    following = model.bone_transforms(heads, {'base': quarter})
    np.testing.assert_array_equal(following[1], following[0])


def test_skinning_blends():
    transforms = np.zeros([2, 3, 4], np.float32)
    transforms[:, :, :3] = np.eye(3)
    transforms[1, :, 3] = [0, 0, 4]
    weights = sparse.csr_matrix(np.float32([[1, 0], [0.25, 0.75]]))
    positions = np.float32([[1, 2, 3], [1, 2, 3]])
    posed, normals = body.skin(weights, transforms, positions, positions)
    np.testing.assert_allclose(posed, [[1, 2, 3], [1, 2, 6]])
    np.testing.assert_allclose(normals, positions)  # directions do not move


@pytest.mark.parametrize('slider, value, expected', [
    ('gender', 0.25, {'female': 0.75, 'male': 0.25}),
    ('age', 0.75, {'child': 0.0, 'young': 0.5, 'old': 0.5}),
    ('age', 0.1, {'child': 1.0, 'young': 0.0, 'old': 0.0}),
    ('weight', 0.75, {'minweight': 0.0, 'averageweight': 0.5, 'maxweight': 0.5}),
    ('height', 0.5, {'minheight': 0.0, 'maxheight': 0.0})])
def test_slider_weights(slider, value, expected):
    weights = body.BodyShape(**{slider: value}).name_weights()
    assert {name: weights[name] for name in expected} == pytest.approx(expected)


def test_identity_pose_keeps_the_real_mesh(body_model):
    positions = body_model.morph(YOUNG_MAN)
    heads, _ = body_model.joints(positions)
    transforms = body_model.bone_transforms(heads, {'root': np.eye(3), 'wrist.L': np.eye(3)})
    posed, _ = body.skin(body_model.weights, transforms, positions, positions)
    np.testing.assert_allclose(posed, positions, atol=1e-4)


def test_a_rotated_bone_rotates_its_vertices_about_its_head(body_model):
    positions = body_model.morph(YOUNG_MAN)
    heads, _ = body_model.joints(positions)
    i_bone = body_model.bone_index['upperarm01.L']
    rotation = motion.from_rotvec([0.3, -0.8, 0.5])
    transforms = body_model.bone_transforms(heads, {'upperarm01.L': rotation})
    posed, _ = body.skin(body_model.weights, transforms, positions, positions)
    is_hand = _weight_below(body_model, i_bone) > 1 - 1e-5
    is_rest = _weight_below(body_model, i_bone) < 1e-6
    assert is_hand.sum() > 1000 and is_rest.sum() > 10000
    expected = (positions[is_hand] - heads[i_bone]) @ rotation.T + heads[i_bone]
    np.testing.assert_allclose(posed[is_hand], expected, atol=1e-3)
    np.testing.assert_allclose(posed[is_rest], positions[is_rest], atol=1e-4)
    assert positions[is_hand, 0].min() > 0  # +X is the body's own left


def _weight_below(model, i_top):
    """Weight of every vertex that belongs to a bone or its descendants."""
    below = [i_top]
    for i, parent in enumerate(model.parents):
        below += [i] if parent in below else []
    return np.asarray(model.weights[:, below].sum(axis=1)).ravel()


def test_real_body_is_of_human_size(body_model):
    positions = body_model.morph(YOUNG_MAN)
    skin = positions[:13380]
    height_mm = body.MM_PER_UNIT * np.ptp(skin[:, 1])
    assert 1650 < height_mm < 1800
    taller = body_model.morph(body.BodyShape(gender=1.0, height=0.6, race=(0.0, 0.0, 1.0)))
    assert np.ptp(taller[:13380, 1]) > np.ptp(skin[:, 1]) + 0.3
    np.testing.assert_allclose(
        np.asarray(body_model.weights.sum(axis=1)).ravel(), 1, atol=1e-5)
