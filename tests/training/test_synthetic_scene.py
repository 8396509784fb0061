"""Scenes: labels agree with the pictures, the same seed gives the same example."""

import numpy as np
import pytest

from metro_tf import skeleton
from training.datasets import example as example_lib
from training.synthetic import body, scene, wardrobe

INDEX = skeleton.METRO_24.index


@pytest.fixture(scope='module')
def sampler(data_dir, cache_dir, renderer):
    del renderer  # skips where there is none
    return scene.SceneSampler(data_dir, cache_dir)


@pytest.fixture(scope='module')
def examples(sampler):
    return list(sampler.sample(np.random.default_rng(7), 6, 'test'))


def test_examples_are_valid_and_named(examples):
    assert [example.name for example in examples] == [f'test-{i:04d}' for i in range(6)]
    for example in examples:
        example_lib.check(example)
        assert example.alpha is not None and example.intrinsics is not None
        assert np.all(np.isfinite(example.coords3d_cam)) and np.all(np.isfinite(example.coords2d))


def test_labels_agree_with_each_other(examples):
    for example in examples:
        projected = example.coords3d_cam @ example.intrinsics.T
        np.testing.assert_allclose(
            projected[:, :2] / projected[:, 2:], example.coords2d, atol=0.01)
        assert np.linalg.norm(example.camera_up) == pytest.approx(1, abs=1e-5)
        np.testing.assert_array_equal(scene.coverage_box(example.alpha), example.box)
        hips = example.coords3d_cam[[INDEX('lhip'), INDEX('rhip')]]
        np.testing.assert_allclose(
            example.coords3d_cam[INDEX('pelv')], hips.mean(axis=0), atol=0.1)
        thigh = np.linalg.norm(hips[0] - example.coords3d_cam[INDEX('lkne')])
        assert 250 < thigh < 600  # mm


def test_visible_joints_lie_on_the_person(examples):
    n_visible = 0
    for example in examples:
        is_visible = example.visibility == 1
        columns, rows = np.round(example.coords2d[is_visible]).astype(int).T
        inside_alpha = example.alpha[rows, columns] > 0
        # A finger or toe may end between pixels; everything else is covered.
        assert inside_alpha.mean() > 0.9
        n_visible += is_visible.sum()
    assert n_visible > 6 * 8


def test_colours_continue_beyond_the_outline(examples):
    for example in examples:
        outside = example.image[example.alpha == 0]
        assert outside.any(axis=-1).mean() > 0.5  # not black


def test_seeds(sampler, examples):
    again, = sampler.sample(np.random.default_rng(7), 1, 'test')
    other, = sampler.sample(np.random.default_rng(8), 1, 'test')
    np.testing.assert_array_equal(again.coords3d_cam, examples[0].coords3d_cam)
    np.testing.assert_array_equal(again.image, examples[0].image)
    assert not np.array_equal(other.coords3d_cam, examples[0].coords3d_cam)


def test_missing_data_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'`data_dir` must hold.*has no makehuman/base\.obj'):
        scene.check_data_dir(tmp_path)
    (tmp_path / 'makehuman').mkdir()
    (tmp_path / 'makehuman/base.obj').write_text('')
    with pytest.raises(ValueError, match='has no makehuman/rigs'):
        scene.SceneSampler(tmp_path, tmp_path)


def test_coverage_box_by_hand():
    alpha = np.zeros([9, 9], np.uint8)
    assert scene.coverage_box(alpha) is None
    alpha[5, 3] = 128
    alpha[0, 0] = 127  # less than half
    np.testing.assert_array_equal(scene.coverage_box(alpha), [2.5, 4.5, 1, 1])
    alpha[2, 7] = 255
    np.testing.assert_array_equal(scene.coverage_box(alpha), [2.5, 1.5, 5, 4])


def test_visibility_by_hand():
    depth = np.full([4, 6], np.inf, np.float32)
    depth[1, 2] = 1000
    coords2d = np.array([[2.4, 1.4], [1.6, 0.6], [5, 3], [5.6, 3], [-0.6, 0], [2, 1]])
    front_depths = np.array([900, 1100, 900, 900, 900, 1000.0])
    np.testing.assert_array_equal(
        scene.find_visible(front_depths, coords2d, depth), [1, 0, 1, 0, 0, 0])


def test_lighting_is_moderate():
    up = np.array([0.0, -1, 0])
    lights = [scene.sample_lighting(np.random.default_rng(seed), up) for seed in range(50)]
    for light in lights:
        np.testing.assert_allclose(np.linalg.norm(light.directions, axis=-1), 1)
        assert light.colors.min() >= 0 and 0.1 < light.ambient_above.min()
        assert light.ambient_above.max() < 1.6
    # Mostly from above, which is -y.
    assert np.mean([light.directions[:, 1] < 0 for light in lights]) > 0.6


def test_shapes_are_ordinary_people():
    shapes = [wardrobe.sample_shape(np.random.default_rng(seed)) for seed in range(200)]
    for shape in shapes:
        assert sum(shape.race) == pytest.approx(1)
        sliders = [getattr(shape, name) for name in (
            'gender', 'age', 'muscle', 'weight', 'height', 'proportions', 'cup', 'firmness')]
        assert min(sliders) >= 0 and max(sliders) <= 1
        assert 0.28 <= shape.height <= 0.68  # the ends of this slider are giants and dwarfs
    assert 0.4 < np.mean([shape.gender > 0.5 for shape in shapes]) < 0.7
    assert 0.01 < np.mean([shape.age < 0.4 for shape in shapes]) < 0.15  # some children


def test_people_are_dressed_and_seeded(body_model):
    closet = wardrobe.Wardrobe(body_model)
    first, again, other = (closet.sample(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.positions, again.positions)
    np.testing.assert_array_equal(first.textures, again.textures)
    assert first.positions.shape != other.positions.shape
    for someone in (first, other):
        assert len(someone.textures) >= 4  # skin, eyes, eyebrows and clothes
        assert someone.triangles.max() == len(someone.positions) - 1
        np.testing.assert_array_equal(np.unique(someone.layers), range(len(someone.textures)))
        np.testing.assert_allclose(
            np.asarray(someone.weights.sum(axis=1)).ravel(), 1, atol=1e-4)


def test_posed_joints_follow_the_bones(body_model):
    someone = wardrobe.Wardrobe(body_model).sample(np.random.default_rng(1))
    rest = body_model.bone_transforms(someone.heads, {})
    _, _, joints = someone.pose(rest)
    assert joints[INDEX('lsho'), 0] > joints[INDEX('rsho'), 0] + 2  # +X is the own left
    assert joints[INDEX('htop'), 1] > joints[INDEX('nose'), 1] > joints[INDEX('neck'), 1]
    assert joints[INDEX('nose'), 2] > joints[INDEX('head'), 2]
    assert joints[INDEX('ltoe'), 2] > joints[INDEX('lank'), 2] + 0.5
    assert np.ptp(joints[:, 1]) * body.MM_PER_UNIT == pytest.approx(1600, abs=400)
    half_turn = np.diag([-1.0, 1, -1])
    _, _, turned = someone.pose(body_model.bone_transforms(someone.heads, {'root': half_turn}))
    np.testing.assert_allclose(
        turned - turned[INDEX('pelv')], (joints - joints[INDEX('pelv')]) @ half_turn, atol=1e-3)


def test_lacking_garments_are_named(body_model, tmp_path):
    class Naked:
        makehuman_dir = tmp_path
        mesh = body_model.mesh
    with pytest.raises(ValueError, match='`makehuman_dir` must hold clothes'):
        wardrobe.Wardrobe(Naked())
