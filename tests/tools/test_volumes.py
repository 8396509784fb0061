import dataclasses

import keras
import numpy as np
import pytest

from metro_tf import models
from metro_tf.cropping import people
from metro_tf.geometry import voxels
from metro_tf.tools import person_crops, volumes
from tests.models import common
from tests.tools import volume_models

IMAGE = np.random.default_rng(0).integers(0, 256, (80, 100, 3)).astype(np.uint8)
BOX = [20.0, 10.0, 40.0, 60.0]
PERSON = volume_models.make_person()


def make_decoupled():
    heatmap_network = volume_models.make_coarse_to_fine((1, 1)).backbone
    heatmaps = keras.Input((16, 16, 4))
    volume_network = keras.Model(heatmaps, [keras.layers.Conv2D(4 * 8, 1)(heatmaps)])
    return models.Decoupled(
        heatmap_network, volume_network, common.JOINT_NAMES, common.EDGES,
        volume_models.SIDE, volume_models.STRIDE, depths=(8,),
        bone_lengths_mm=volume_models.BONE_LENGTHS_MM)


def outputs_of(model):
    crops = person_crops.crop_person(IMAGE, BOX, model, 55.0)
    return model.predict_heatmaps({'image': crops.crops, 'intrinsics': crops.intrinsics}), crops


@pytest.mark.parametrize('make_model', [volume_models.make_coarse_to_fine, make_decoupled])
def test_scores_of_the_last_stage_and_their_axes(make_model):
    model = make_model()
    outputs, crops = outputs_of(model)
    person = volumes.of_person(IMAGE, BOX, model, 55.0, [0, 1, 2, 3])
    assert person.volumes.shape == (4, 8, 16, 16) and person.volumes.dtype == np.float16
    expected = voxels.split_joints(outputs['volumes'][-1], 8)[0].numpy()
    np.testing.assert_allclose(
        person.volumes[2, 5, 7], expected[7, :, 2, 5], rtol=1e-2, atol=1e-3)
    np.testing.assert_array_equal(person.x_px, np.arange(2, 64, 4))
    np.testing.assert_array_equal(person.y_px, person.x_px)
    # 1986.0457643 mm are 248.2557 mm for each of 8 cells.
    np.testing.assert_allclose(person.z_mm[[0, 7]], [-881.05804, 856.73200], atol=1e-3)
    np.testing.assert_allclose(np.diff(person.z_mm), 248.25572, rtol=1e-5)
    np.testing.assert_allclose(person.coords25d, outputs['coords25d'][0], atol=1e-3)
    assert person.meaning == 'scores' and person.joint_names.tolist() == list(common.JOINT_NAMES)
    np.testing.assert_array_equal(person.joint_edges, common.EDGES)
    np.testing.assert_allclose(person.bone_lengths_mm, volume_models.BONE_LENGTHS_MM)
    assert person.crop.dtype == np.uint8
    np.testing.assert_allclose(person.crop / 255, np.clip(crops.crops[0], 0, 1), atol=0.51 / 255)


def test_decoded_joints_are_at_the_highest_voxels():
    person = volumes.of_person(
        IMAGE, BOX, volume_models.make_coarse_to_fine(), 55.0, [0, 1, 2, 3])
    cells = person.to_cells(person.coords25d)
    np.testing.assert_allclose(cells, np.round(cells), atol=1e-3)
    x, y, z = np.int32(np.round(cells)).T
    np.testing.assert_array_equal(
        person.volumes[np.arange(4), z, y, x], person.volumes.max((1, 2, 3)))


@pytest.mark.parametrize('make_model', [
    volume_models.make_coarse_to_fine, lambda: common.make_model(models.Pose25D),
    lambda: common.make_model(models.Pose25D, i_root_joint=1)])
def test_points_of_the_volumes_lead_to_the_camera_frame(make_model):
    model = make_model()
    outputs, crops = outputs_of(model)
    person = volumes.of_person(IMAGE, BOX, model, 55.0, [0, 1, 2, 3])
    expected = people.uncrop_poses(outputs['coords3d_cam'], crops.rotations)[0]
    np.testing.assert_allclose(person.coords3d_cam, expected, rtol=1e-4, atol=0.1)
    np.testing.assert_allclose(
        person.to_camera(person.coords25d), person.coords3d_cam, rtol=1e-4, atol=0.5)


@pytest.mark.parametrize('i_root_joint', [None, 1])
def test_probabilities_of_a_model_whose_depths_have_no_origin(i_root_joint):
    model = common.make_model(models.Pose25D, i_root_joint=i_root_joint)
    outputs, _ = outputs_of(model)
    person = volumes.of_person(IMAGE, BOX, model, 55.0, [0, 1, 2, 3])
    assert person.volumes.shape == (4, 5, 4, 4) and person.meaning == 'probabilities'
    np.testing.assert_allclose(person.volumes.sum((1, 2, 3), dtype=np.float64), 1, rtol=1e-3)
    np.testing.assert_array_equal(person.x_px, [8, 24, 40, 56])
    np.testing.assert_allclose(np.diff(person.z_mm), 500, rtol=1e-5)  # 2000 mm, five planes
    roots = {None: person.coords25d[:, 2].mean(), 1: person.coords25d[1, 2]}
    assert roots[i_root_joint] == pytest.approx(0, abs=0.01)
    moved = outputs['coords25d'][0, :, 2].numpy() - person.coords25d[:, 2]
    np.testing.assert_allclose(moved, -person.z_mm[0], rtol=1e-4)  # the front of the box
    z_mean = np.einsum('jzyx,z->j', person.volumes.astype(np.float32), person.z_mm)
    np.testing.assert_allclose(person.coords25d[:, 2], z_mean, atol=2)


def test_some_joints_in_the_given_order():
    model = volume_models.make_coarse_to_fine()
    everyone, some = (
        volumes.of_person(IMAGE, BOX, model, 55.0, indices) for indices in ([0, 1, 2, 3], [3, 1]))
    assert some.joint_names.tolist() == ['rsho', 'neck']
    for name in ('volumes', 'coords25d', 'coords3d_cam'):
        np.testing.assert_allclose(getattr(some, name), getattr(everyone, name)[[3, 1]], rtol=1e-3)
    np.testing.assert_array_equal(some.joint_edges, [[1, 0]])
    np.testing.assert_allclose(some.bone_lengths_mm, [190])
    assert some.root_depth_mm == pytest.approx(everyone.root_depth_mm, rel=1e-4)
    alone = volumes.of_person(IMAGE, BOX, model, 55.0, [2])
    assert alone.joint_edges.shape == (0, 2) and alone.bone_lengths_mm.shape == (0,)


def test_to_camera_by_hand():
    # 4 px right and 4 px above the centre at focal length 100, 1500 mm deep: (60, -60, 1500).
    np.testing.assert_allclose(PERSON.to_camera(PERSON.coords25d), PERSON.coords3d_cam, rtol=1e-5)


def test_to_cells_by_hand():
    points = np.float32([[20, 12, -500], [8, 28, 250]])
    np.testing.assert_allclose(PERSON.to_cells(points), [[2, 1, 0], [0.5, 3, 1.5]], rtol=1e-6)


def test_voxels_above_a_share_of_the_largest_value():
    both = PERSON.voxels_above(0, 0.75, 9)
    np.testing.assert_array_equal(both, [[20, 12, -500], [28, 12, 500]])
    np.testing.assert_array_equal(PERSON.voxels_above(0, 0.76, 9), both[:1])
    np.testing.assert_array_equal(PERSON.voxels_above(0, 0.1, 1), both[:1])
    np.testing.assert_array_equal(PERSON.voxels_above(1, 0.1, 9), [[4, 28, 0]])
    nothing = dataclasses.replace(PERSON, volumes=-np.abs(PERSON.volumes))
    assert nothing.voxels_above(0, 0.5, 9).shape == (0, 3)


def test_written_volumes_come_back(tmp_path):
    volumes.write(tmp_path / 'person.npz', PERSON)
    person = volumes.read(tmp_path / 'person.npz')
    for name, expected in vars(PERSON).items():
        actual = getattr(person, name)
        np.testing.assert_array_equal(actual, expected)
        assert np.asarray(actual).dtype == np.asarray(expected).dtype, name
    assert [path.name for path in tmp_path.iterdir()] == ['person.npz']


@pytest.mark.parametrize('content', [None, b'', b'no arrays'])
def test_unusable_files(tmp_path, content):
    path = tmp_path / 'person.npz'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r'person.npz: this must be an NPZ file of `metro-tf vol'):
        volumes.read(path)


def test_file_that_lacks_an_array(tmp_path):
    np.savez(tmp_path / 'person.npz', volumes=PERSON.volumes)
    with pytest.raises(ValueError, match='must be an NPZ file of `metro-tf volumes` .*meaning'):
        volumes.read(tmp_path / 'person.npz')


def test_models_without_volumes_in_the_image_are_refused(tmp_path):
    common.make_model(models.Metrabs).save(tmp_path / 'model.keras')
    with pytest.raises(ValueError, match='the model must be one of CoarseToFine, Decoupled, '
                                         'Pose25D. Received: Metrabs'):
        volumes.load_crop_model(tmp_path / 'model.keras')


def test_loading(tmp_path):
    volume_models.make_coarse_to_fine().save(tmp_path / 'model.keras')
    assert isinstance(volumes.load_crop_model(tmp_path / 'model.keras'), models.CoarseToFine)


def test_softmax_of_large_logits():
    logits = np.zeros([2, 2, 2]) + 1e4
    logits[0, 1, 1] += np.log(3)
    np.testing.assert_allclose(
        volumes.probabilities(logits), [[[1 / 4, 1 / 6], [1 / 4, 1 / 2]], [[1 / 4, 1 / 6]] * 2])
