import keras
import numpy as np
import pytest

from metro_tf import models
from metro_tf.cropping import people
from metro_tf.geometry import camera
from metro_tf.tools import heatmaps, volumes
from tests.models import common, test_margipose
from tests.tools import volume_models

IMAGE = np.random.default_rng(0).integers(0, 256, (80, 100, 3)).astype(np.uint8)
BOX = [20.0, 10.0, 40.0, 60.0]
MODELS = [models.Metrabs, models.MargiPose, models.AbsoluteMargiPose]


def make_model(model_cls):
    keras.utils.set_random_seed(0)
    if model_cls is models.Metrabs:
        return common.make_model(model_cls)
    return test_margipose.make_model(model_cls, n_stages=2)


def look(model_cls, indices=(0, 1, 2, 3)):
    return heatmaps.of_person(IMAGE, BOX, make_model(model_cls), 55.0, list(indices))


@pytest.mark.parametrize('model_cls', MODELS)
def test_planes_are_probabilities_of_what_the_network_saw(model_cls):
    person = look(model_cls)
    crops = people.crop_people(
        IMAGE, [BOX], camera.intrinsics_from_fov(55.0, (80, 100)), crop_side_px=common.SIDE)
    np.testing.assert_allclose(person.crop, crops.crops[0], atol=1e-5)
    inputs = {'image': crops.crops, 'intrinsics': crops.intrinsics}
    _, uncertainty = make_model(model_cls).predict_with_uncertainty(inputs)
    np.testing.assert_allclose(person.uncertainty_mm, uncertainty[0], rtol=1e-3)
    assert person.joint_names == common.JOINT_NAMES
    assert [plane.title for plane in person.planes][-3:] == ['xy', 'zy', 'xz']
    for plane in person.planes:
        np.testing.assert_allclose(plane.heatmaps.sum((0, 1)), np.ones(4), rtol=1e-5)
        assert plane.positions.shape == (4, 2)
    # Cells of 16 px of 64 lie at 8, 24, ... and pixels reach half a pixel further.
    np.testing.assert_allclose(person.crop_span, [-0.53125, 3.46875])


def test_planes_of_a_volume():
    person, model = look(models.Metrabs), make_model(models.Metrabs)
    image_plane, xy, zy, xz = person.planes
    assert [plane.heatmaps.shape for plane in person.planes] == [
        (4, 4, 4), (4, 4, 4), (4, 5, 4), (5, 4, 4)]
    assert [plane.is_image for plane in person.planes] == [True, False, False, False]
    # Marginals of one volume agree where they share an axis.
    np.testing.assert_allclose(xy.heatmaps.sum(0), xz.heatmaps.sum(0), rtol=1e-4)
    np.testing.assert_allclose(xy.heatmaps.sum(1), zy.heatmaps.sum(1), rtol=1e-4)
    np.testing.assert_allclose(zy.heatmaps.sum(0), xz.heatmaps.sum(1), rtol=1e-4)
    np.testing.assert_array_equal(zy.positions[:, 1], xy.positions[:, 1])
    np.testing.assert_array_equal(zy.positions[:, 0], xz.positions[:, 1])
    inputs = {'image': person.crop[None], 'intrinsics': common.make_inputs(1)['intrinsics']}
    outputs = model.predict_heatmaps(inputs)
    np.testing.assert_allclose(8 + 16 * image_plane.positions, outputs['coords2d'][0], atol=0.05)
    # 500 mm from cell to cell in a box of 2000 mm, with the first at 250 mm or on the front.
    positions = np.concatenate([xy.positions + 0.5, zy.positions[:, :1]], axis=-1)
    np.testing.assert_allclose(500 * positions, outputs['coords3d_rel'][0], atol=1)


@pytest.mark.parametrize('model_cls', MODELS[1:])
def test_planes_of_the_last_stage(model_cls):
    person, model = look(model_cls), make_model(model_cls)
    outputs = model.predict_heatmaps(
        {'image': person.crop[None], 'intrinsics': common.make_inputs(1)['intrinsics']})
    np.testing.assert_allclose(
        np.stack([plane.heatmaps for plane in person.planes], axis=2),
        outputs['stages'][-1]['heatmaps'][0], atol=1e-4)
    xy, zy, xz = (plane.positions for plane in person.planes)
    np.testing.assert_array_equal(zy[:, 0], xz[:, 1])
    np.testing.assert_allclose(16 * (xy + 0.5), outputs['coords2d'][0], atol=0.05)
    is_image = [plane.is_image for plane in person.planes]
    if model_cls is models.MargiPose:
        assert is_image == [True, True, True]
        cells = np.stack([*xy.T, zy[:, 0]], axis=-1)
        np.testing.assert_allclose((2 * cells + 1) / 4 - 1, outputs['coords'][0], atol=1e-3)
        np.testing.assert_array_equal(np.stack([xz[:, 0], zy[:, 1]], axis=-1), xy)
    else:
        assert is_image == [True, False, False]
        cells = np.stack([xz[:, 0], zy[:, 1], zy[:, 0]], axis=-1)
        np.testing.assert_allclose(550 * (cells + 0.5), outputs['coords3d_rel'][0], atol=1)


def test_some_joints_in_the_given_order():
    everyone, some = look(models.Metrabs), look(models.Metrabs, (2, 0))
    assert some.joint_names == ('lsho', 'pelv')
    np.testing.assert_allclose(some.uncertainty_mm, everyone.uncertainty_mm[[2, 0]], rtol=1e-5)
    for actual, expected in zip(some.planes, everyone.planes, strict=True):
        np.testing.assert_allclose(actual.heatmaps, expected.heatmaps[..., [2, 0]], rtol=1e-5)
        np.testing.assert_allclose(actual.positions, expected.positions[[2, 0]], rtol=1e-5)


def test_crop_whose_cells_are_not_centred():
    model = common.make_model(models.Metrabs, centered=False)
    person = heatmaps.of_person(IMAGE, BOX, model, 55.0, [0])
    np.testing.assert_allclose(person.crop_span, [-0.5 / 16, 63.5 / 16])


def test_planes_of_volumes():
    person = heatmaps.of_volumes(volume_models.make_person())
    assert [plane.title for plane in person.planes] == ['xy', 'zy', 'xz']
    assert all(plane.is_image for plane in person.planes)
    xy, zy, xz = (plane.heatmaps[..., 0] for plane in person.planes)
    assert [plane.shape for plane in (xy, zy, xz)] == [(4, 4), (4, 3), (3, 4)]
    # 1 at (x, y, z) = (2, 1, 0) and 0.75 at (3, 1, 2), the columns named first.
    expected = np.zeros([4, 4]), np.zeros([4, 3]), np.zeros([3, 4])
    expected[0][1, 2:] = expected[1][1, 0:3:2] = 1, 0.75
    expected[2][0, 2], expected[2][2, 3] = 1, 0.75
    for actual, wanted in zip((xy, zy, xz), expected):
        np.testing.assert_allclose(actual, wanted)
    for plane, position in zip(person.planes, ([2, 1], [0, 1], [2, 0])):
        np.testing.assert_allclose(plane.positions[0], position, atol=1e-5)
    np.testing.assert_allclose(person.crop, 0.2)
    np.testing.assert_allclose(person.crop_span, [-0.5625, 3.4375])
    assert person.joint_names == ('pelv', 'neck') and person.uncertainty_mm is None


def test_models_of_volumes_are_shown():
    model = volume_models.make_coarse_to_fine()
    person = heatmaps.of_person(IMAGE, BOX, model, 55.0, [3, 0])
    expected = heatmaps.of_volumes(volumes.of_person(IMAGE, BOX, model, 55.0, [3, 0]))
    assert person.joint_names == ('rsho', 'pelv')
    assert [plane.heatmaps.shape for plane in person.planes] == [
        (16, 16, 2), (16, 8, 2), (8, 16, 2)]
    for actual, wanted in zip(person.planes, expected.planes):
        np.testing.assert_allclose(actual.heatmaps, wanted.heatmaps, rtol=1e-3)


def test_loading(tmp_path):
    make_model(models.Metrabs).save(tmp_path / 'model.keras')
    assert isinstance(heatmaps.load_crop_model(tmp_path / 'model.keras'), models.Metrabs)


def test_other_models_are_refused(tmp_path):
    common.make_model(models.LatentMetrabs).save(tmp_path / 'model.keras')
    with pytest.raises(ValueError, match='the model must be one of Metrabs, MargiPose, AbsoluteMa.*'
                                         'CoarseToFine.*Received: LatentMetrabs'):
        heatmaps.load_crop_model(tmp_path / 'model.keras')
