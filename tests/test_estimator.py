"""The whole chain with a fake network whose results can be worked out by hand."""

import gc
import inspect
import math
import resource

import numpy as np
import pytest
import tensorflow as tf

from metro_tf import estimator as estimator_lib
from metro_tf import models, skeleton
from metro_tf.geometry import camera
from tests import fakes

INTRINSICS = np.array([[500, 0, 320], [0, 500, 240], [0, 0, 1]], np.float32)
UNKNOWN = np.full([3, 3], -1, np.float32)
BLACK = np.zeros([480, 640, 3], np.uint8)
BOX = (270.0, 190.0, 100.0, 100.0)  # around the principal point
TALL_BOX = (100.0, 100.0, 50.0, 100.0)
BARREL = (-0.2, 0.05, 0.001, -0.001, 0.0)
# Two people and a second detection of the first one; nobody; one person.
DETECTIONS = [
    [(100, 100, 50, 100, 0.6), (300, 50, 60, 120, 0.5), (101, 100, 50, 100, 0.9)],
    [], [(10, 10, 50, 100, 0.8)]]
METHOD_NAMES = (
    'detect_poses', 'detect_poses_batched', 'estimate_poses', 'estimate_poses_batched')


def make_estimator(detections=DETECTIONS, crop_model_cls=fakes.FakeCropModel, **kwargs):
    detector = None if detections is None else fakes.FakeDetector(detections)
    return estimator_lib.PoseEstimator(
        crop_model_cls(), detector, mean_bone_lengths_mm=[300.0] * 6, **kwargs)


@pytest.fixture(scope='module')
def estimator():
    return make_estimator()


@pytest.fixture(scope='module')
def unsure():
    return make_estimator(crop_model_cls=fakes.FakeUnsureCropModel, uncertainty=True)


def images_of(*brightness):
    return np.stack([np.full([48, 64, 3], value, np.uint8) for value in brightness])


def extrinsics(angle, translation):
    matrix = np.eye(4, dtype=np.float32)
    matrix[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    matrix[:3, 3] = translation
    return matrix


def assert_same_people(actual, expected, atol=0.02):
    assert set(actual) == set(expected)
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], atol=atol, err_msg=name)


def test_pose_of_a_person_on_the_optical_axis_is_the_one_worked_out_by_hand(estimator):
    people = estimator.estimate_poses(BLACK, [BOX], INTRINSICS, num_aug=1)
    # One augmentation zooms by 1.05: the crop's focal length is 500 * 64 / 100 * 1.05 = 336, and
    # the neck, 16 px above the centre, lies 16 / 336 * 3000 = 142.86 mm above the pelvis.
    np.testing.assert_allclose(people['poses3d'][0, 0], [0, 0, 3000], atol=0.01)
    np.testing.assert_allclose(people['poses3d'][0, 1], [0, -142.857, 3000], atol=0.01)
    np.testing.assert_allclose(people['poses2d'][0, 1], [320, 240 - 23.8095], atol=0.01)


def test_optimised_graphs_give_the_same(estimator):
    options = {
        'intrinsic_matrix': INTRINSICS, 'distortion_coeffs': BARREL, 'num_aug': 2,
        'suppress_implausible_poses': True}
    expected = estimator.detect_poses(BLACK, **options)
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': False})
    actual = make_estimator().detect_poses(BLACK, **options)
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})
    assert len(expected['poses3d']) == 2
    assert_same_people(actual, expected)


@pytest.mark.parametrize('num_aug', [1, 2, 5])
@pytest.mark.parametrize('distortion_coeffs', [(0.0,), BARREL])
def test_crop_centre_projects_to_the_box_centre(estimator, num_aug, distortion_coeffs):
    people = estimator.estimate_poses(
        BLACK, [TALL_BOX, BOX], INTRINSICS, distortion_coeffs, num_aug=num_aug)
    np.testing.assert_allclose(
        people['poses2d'][:, 0], [[125, 150], [320, 240]], atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(people['poses3d'][:, 0], axis=-1), 3000, atol=0.05)


def test_unknown_intrinsics_mean_the_given_field_of_view(estimator):
    expected = estimator.estimate_poses(
        BLACK, [TALL_BOX], camera.intrinsics_from_fov(70.0, (480, 640)))
    assert_same_people(
        estimator.estimate_poses(BLACK, [TALL_BOX], default_fov_degrees=70), expected)
    default = estimator.estimate_poses(BLACK, [TALL_BOX])
    assert abs(default['poses3d'][0, 0, 0] - expected['poses3d'][0, 0, 0]) > 100


def test_unknown_intrinsics_are_recognised_per_image(estimator):
    images, boxes = np.stack([BLACK, BLACK + 100]), [[TALL_BOX], [TALL_BOX]]
    both = estimator.estimate_poses_batched(images, boxes, np.stack([UNKNOWN, INTRINSICS]))
    unknown = estimator.estimate_poses(images[0], [TALL_BOX])
    known = estimator.estimate_poses(images[1], [TALL_BOX], INTRINSICS)
    assert_same_people({name: value[0] for name, value in both.items()}, unknown)
    assert_same_people({name: value[1] for name, value in both.items()}, known)


@pytest.mark.parametrize('count', [1, 3])
def test_cameras_are_given_once_or_per_image(estimator, count):
    images = images_of(0, 50, 100)
    people = estimator.detect_poses_batched(
        images, np.stack([INTRINSICS] * count), np.stack([BARREL] * count),
        np.stack([extrinsics(0.3, (1, 2, 3))] * count), suppress_implausible_poses=False)
    single = estimator.estimate_poses(
        images[2], [DETECTIONS[2][0][:4]], INTRINSICS, BARREL, extrinsics(0.3, (1, 2, 3)))
    np.testing.assert_allclose(people['poses3d'][2], single['poses3d'], atol=0.02)


def test_poses_are_in_the_world_frame(estimator):
    matrix = extrinsics(0.5, (100, -50, 20))
    up = np.linalg.inv(matrix[:3, :3]) @ [0, -1, 0]  # so that the crops are the same
    in_camera = estimator.estimate_poses(BLACK, [TALL_BOX], INTRINSICS)
    in_world = estimator.estimate_poses(
        BLACK, [TALL_BOX], INTRINSICS, extrinsic_matrix=matrix, world_up_vector=up)
    np.testing.assert_allclose(in_world['poses2d'], in_camera['poses2d'], atol=0.01)
    back = in_world['poses3d'].numpy() @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(back, in_camera['poses3d'], atol=0.02)


def test_up_vector_turns_the_crop(estimator):
    people = estimator.estimate_poses(
        BLACK, [BOX], INTRINSICS, world_up_vector=(1, 0, 0), num_aug=1)
    np.testing.assert_allclose(people['poses3d'][0, 1], [142.857, 0, 3000], atol=0.01)


def test_up_vector_along_the_viewing_ray_gives_finite_poses(estimator):
    people = estimator.estimate_poses(BLACK, [BOX], INTRINSICS, world_up_vector=(0, 0, 1))
    assert np.all(np.isfinite(people['poses3d']))


def test_average_aug_false_returns_every_augmentation(estimator):
    every = estimator.detect_poses(BLACK + 90, average_aug=False, num_aug=3)
    mean = estimator.detect_poses(BLACK + 90, num_aug=3)
    assert every['poses3d'].shape == (2, 3, 7, 3)
    assert every['poses2d'].shape == (2, 3, 7, 2)
    np.testing.assert_allclose(np.mean(every['poses3d'], axis=1), mean['poses3d'], atol=0.02)
    np.testing.assert_allclose(np.mean(every['poses2d'], axis=1), mean['poses2d'], atol=0.02)


def test_mirrored_views_swap_left_and_right_back():
    estimator = make_estimator(max_angle=0.0)
    people = estimator.estimate_poses(
        BLACK, [BOX], INTRINSICS, num_aug=5, average_aug=False)
    i_left, i_right = (fakes.JOINT_NAMES.index(name) for name in ('lwri', 'rwri'))
    x = people['poses2d'].numpy()[0, :, :, 0]
    assert np.all(x[:, i_left] > 320 + 15) and np.all(x[:, i_right] < 320 - 15)


@pytest.mark.parametrize('internal_batch_size', [0, 1, 4, 7, 1000])
def test_internal_batches_do_not_change_results(estimator, internal_batch_size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, BLACK.shape).astype(np.uint8)
    boxes = [(20.0 * i, 10.0 * i, 60.0 + i, 90.0) for i in range(5)]
    expected = estimator.estimate_poses(image, boxes, num_aug=2)
    actual = estimator.estimate_poses(
        image, boxes, num_aug=2, internal_batch_size=internal_batch_size)
    assert_same_people(actual, expected)


def test_one_image_never_influences_another(estimator):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, [3, 480, 640, 3]).astype(np.uint8)
    coeffs = np.array([BARREL, [0] * 5, [0.1, 0, 0, 0, 0]], np.float32)
    together = estimator.estimate_poses_batched(
        images, [[TALL_BOX], [BOX, TALL_BOX], [(-500.0, 5.0, 700.0, 900.0)]],
        distortion_coeffs=coeffs, num_aug=2)
    alone = estimator.estimate_poses(images[1], [BOX, TALL_BOX], num_aug=2)
    assert_same_people({name: value[1] for name, value in together.items()}, alone)


def test_batched_and_single_detection_agree(estimator):
    images = images_of(10, 200, 60)
    together = estimator.detect_poses_batched(images)
    assert_same_people({name: value[0] for name, value in together.items()},
                       estimator.detect_poses(images[0]))


def test_filtered_people_come_by_score_with_the_index_of_their_detection(estimator):
    people = estimator.detect_poses_batched(np.stack([BLACK] * 3))
    # The surer one of the two detections of one person stays.
    assert people['detection_indices'].to_list() == [[2, 1], [], [0]]
    np.testing.assert_allclose(people['boxes'][0, :, 4], [0.9, 0.5])
    np.testing.assert_allclose(people['boxes'].flat_values[2], DETECTIONS[2][0])


def test_unfiltered_people_keep_the_order_of_the_detector(estimator):
    people = estimator.detect_poses(BLACK, suppress_implausible_poses=False)
    np.testing.assert_array_equal(people['detection_indices'], [0, 1, 2])
    np.testing.assert_allclose(people['boxes'], DETECTIONS[0], rtol=1e-6)


def test_given_boxes_keep_their_order_unless_filtering_is_asked_for(estimator):
    # In a square box the fake body covers only a quarter of the area.
    boxes = [TALL_BOX, BOX, (101.0, 100.0, 50.0, 100.0), (400.0, 100.0, 50.0, 100.0)]
    people = estimator.estimate_poses(BLACK, boxes)
    np.testing.assert_array_equal(people['detection_indices'], [0, 1, 2, 3])
    assert 'boxes' not in people
    kept = estimator.estimate_poses(BLACK, boxes, suppress_implausible_poses=True)
    np.testing.assert_array_equal(kept['detection_indices'], [0, 3])
    np.testing.assert_allclose(kept['poses3d'][1], people['poses3d'][3], atol=0.01)


def test_filter_thresholds_are_settings():
    boxes = [TALL_BOX, BOX, (101.0, 100.0, 50.0, 100.0)]
    estimator = make_estimator(min_box_overlap=0.1, nms_similarity=1.1)
    people = estimator.estimate_poses(BLACK, boxes, suppress_implausible_poses=True)
    np.testing.assert_array_equal(people['detection_indices'], [0, 1, 2])
    strict = make_estimator(bone_min_ratio=0.99, bone_max_ratio=1.01, bone_tolerance_mm=1.0)
    assert len(strict.detect_poses(BLACK)['poses3d']) == 0


def test_without_bone_lengths_bones_are_not_tested():
    estimator = estimator_lib.PoseEstimator(
        fakes.FakeCropModel(), fakes.FakeDetector(DETECTIONS), bone_tolerance_mm=0.0)
    assert len(estimator.detect_poses(BLACK)['poses3d']) == 2


@pytest.mark.parametrize('max_detections, expected', [
    (-1, [[0, 1, 2], [], [0]]), (0, [[], [], []]), (1, [[2], [], [0]]), (2, [[0, 2], [], [0]]),
    (9, [[0, 1, 2], [], [0]])])
def test_max_detections_keeps_the_surest_of_each_image(estimator, max_detections, expected):
    people = estimator.detect_poses_batched(
        images_of(0, 0, 0), max_detections=max_detections, suppress_implausible_poses=False,
        num_aug=1)
    assert people['detection_indices'].to_list() == expected
    for i_image, indices in enumerate(expected):
        np.testing.assert_allclose(
            people['boxes'][i_image], np.reshape(
                [DETECTIONS[i_image][i] for i in indices], [-1, 5]), rtol=1e-6)


def test_detector_receives_threshold_and_flip(estimator):
    kwargs = dict(suppress_implausible_poses=False, num_aug=1)
    assert len(estimator.detect_poses(BLACK, detector_threshold=0.63, **kwargs)['boxes']) == 1
    flipped = estimator.detect_poses(
        BLACK, detector_threshold=0.63, detector_flip_aug=True, **kwargs)
    np.testing.assert_allclose(flipped['boxes'][:, 4], [0.65, 0.95], rtol=1e-6)


@pytest.mark.parametrize('average_aug', [True, False])
def test_no_people_give_empty_results_of_the_right_rank(average_aug):
    estimator = make_estimator(detections=None)
    extra = [] if average_aug else [5]
    single = estimator.detect_poses(BLACK, average_aug=average_aug)
    assert single['boxes'].shape == (0, 5)
    assert single['poses3d'].shape == (0, *extra, 7, 3)
    assert single['poses2d'].shape == (0, *extra, 7, 2)
    given = estimator.estimate_poses(
        BLACK, np.zeros([0, 4], np.float32), average_aug=average_aug, skeleton='lsp_14')
    assert given['poses3d'].shape == (0, *extra, 6, 3)
    batched = estimator.estimate_poses_batched(images_of(1, 2), [[], []], average_aug=average_aug)
    assert batched['poses3d'].flat_values.shape == (0, *extra, 7, 3)
    assert batched['poses3d'].nrows() == 2
    no_images = estimator.detect_poses_batched(images_of(1, 2)[:0], average_aug=average_aug)
    assert no_images['poses3d'].nrows() == 0


def test_skeleton_selects_joints_by_convention(estimator):
    everything = estimator.estimate_poses(BLACK, [BOX])
    for name, indices in estimator.per_skeleton_indices.items():
        selected = estimator.estimate_poses(BLACK, [BOX], skeleton=name)
        np.testing.assert_allclose(
            selected['poses3d'], everything['poses3d'].numpy()[:, indices], atol=0.01)
    assert estimator.per_skeleton_joint_names['lsp_14'].numpy().tolist() == [
        b'rank', b'lank', b'rwri', b'lwri', b'neck', b'htop']
    np.testing.assert_array_equal(estimator.per_skeleton_joint_edges['lsp_14'], [
        [4, 5], [4, 2], [4, 3], [4, 0], [4, 1]])
    assert set(estimator.per_skeleton_joint_names) == set(skeleton.CONVENTIONS)


# Of the joints of `fakes` in a view as it is and in a mirrored one, in the dark.
UNCERTAINTY = np.float32([10, 20, 30, 40, 50, 60, 70])
MIRRORED_UNCERTAINTY = UNCERTAINTY[[0, 1, 2, 4, 3, 6, 5]]
HALF_LIGHT = np.concatenate([BLACK[:, :250], BLACK[:, 250:] + 200], axis=1)


def test_uncertainty_by_hand(unsure):
    one = unsure.estimate_poses(BLACK, [BOX, TALL_BOX], num_aug=1)
    assert list(one) == ['poses3d', 'poses2d', 'uncertainty', 'detection_indices']
    np.testing.assert_allclose(one['uncertainty'], [UNCERTAINTY] * 2, rtol=1e-5)
    # The first of two views is mirrored.
    every = unsure.estimate_poses(BLACK, [BOX], num_aug=2, average_aug=False)
    np.testing.assert_allclose(
        every['uncertainty'], [[MIRRORED_UNCERTAINTY, UNCERTAINTY]], rtol=1e-5)
    mean = unsure.estimate_poses(BLACK, [BOX], num_aug=2)
    expected = np.sqrt((UNCERTAINTY ** 2 + MIRRORED_UNCERTAINTY ** 2) / 2)
    np.testing.assert_allclose(mean['uncertainty'], [expected], rtol=1e-5)


def test_poses_are_the_same_with_uncertainty(estimator, unsure):
    with_it = dict(unsure.detect_poses(HALF_LIGHT))
    assert with_it.pop('uncertainty').shape == (2, 7)
    assert_same_people(with_it, estimator.detect_poses(HALF_LIGHT))


def test_uncertainty_of_selected_joints(unsure):
    for average_aug in (True, False):
        arguments = dict(num_aug=2, average_aug=average_aug)
        everything = unsure.estimate_poses(BLACK, [BOX], **arguments)['uncertainty'].numpy()
        selected = unsure.estimate_poses(BLACK, [BOX], skeleton='lsp_14', **arguments)
        np.testing.assert_allclose(
            selected['uncertainty'],
            everything[..., unsure.per_skeleton_indices['lsp_14'].numpy()], rtol=1e-5)


def test_uncertainty_is_filtered_like_poses(unsure):
    everyone = unsure.detect_poses(HALF_LIGHT, suppress_implausible_poses=False)['uncertainty']
    assert everyone[1, 0] > 60 and everyone[0, 0] < 11  # the second person is in the light
    kept = unsure.detect_poses(HALF_LIGHT)
    np.testing.assert_array_equal(kept['detection_indices'], [2, 1])
    np.testing.assert_allclose(kept['uncertainty'], everyone.numpy()[[2, 1]], rtol=1e-4)
    best = unsure.detect_poses(HALF_LIGHT, max_detections=1)
    np.testing.assert_allclose(best['uncertainty'], everyone.numpy()[[2]], rtol=1e-4)


@pytest.mark.parametrize('internal_batch_size', [1, 4])
def test_uncertainty_in_internal_batches(unsure, internal_batch_size):
    boxes = [(60.0 * i, 20.0 * i, 60.0 + i, 90.0) for i in range(5)]
    expected = unsure.estimate_poses(HALF_LIGHT, boxes, num_aug=2, average_aug=False)
    actual = unsure.estimate_poses(
        HALF_LIGHT, boxes, num_aug=2, average_aug=False, internal_batch_size=internal_batch_size)
    assert_same_people(actual, expected)


def test_uncertainty_in_batches_of_images(unsure):
    images, boxes = np.stack([HALF_LIGHT, BLACK]), [[TALL_BOX, BOX], [TALL_BOX]]
    together = unsure.estimate_poses_batched(images, boxes)
    assert together['uncertainty'].shape == (2, None, 7)
    for i in range(2):
        alone = unsure.estimate_poses(images[i], boxes[i])
        assert_same_people({name: value[i] for name, value in together.items()}, alone)


@pytest.mark.parametrize('average_aug', [True, False])
def test_uncertainty_of_no_people(average_aug):
    estimator = make_estimator(None, fakes.FakeUnsureCropModel, uncertainty=True)
    extra = [] if average_aug else [5]
    single = estimator.detect_poses(BLACK, average_aug=average_aug, skeleton='lsp_14')
    assert single['uncertainty'].shape == (0, *extra, 6)
    batched = estimator.estimate_poses_batched(images_of(1, 2), [[], []], average_aug=average_aug)
    assert batched['uncertainty'].flat_values.shape == (0, *extra, 7)
    assert batched['uncertainty'].nrows() == 2


def test_uncertainty_needs_a_model_that_tells_it():
    with pytest.raises(ValueError, match='`crop_model` must have the method `predict_with_uncer.*'
                                         'Received: FakeCropModel'):
        make_estimator(uncertainty=True)
    silent = fakes.FakeUnsureCropModel()
    silent.has_uncertainty = models.Pose25D.has_uncertainty
    with pytest.raises(ValueError, match='`predict_with_uncertainty`'):
        estimator_lib.PoseEstimator(silent, uncertainty=True)
    assert 'uncertainty' not in make_estimator(
        crop_model_cls=fakes.FakeUnsureCropModel).estimate_poses(BLACK, [BOX])


def test_joints_of_the_model_are_attributes(estimator):
    assert estimator.joint_names.dtype == tf.string
    assert [name.decode() for name in estimator.joint_names.numpy()] == list(fakes.JOINT_NAMES)
    np.testing.assert_array_equal(estimator.joint_edges, fakes.JOINT_EDGES)
    assert estimator.crop_model.input_resolution == fakes.CROP_SIDE_PX
    assert estimator.crop_model.joint_names == fakes.JOINT_NAMES


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.uint8])
def test_crop_model_takes_all_image_types(estimator, dtype):
    image = np.full([2, 64, 64, 3], 51 if dtype == np.uint8 else 0.2, dtype)
    intrinsics = np.array([[[64, 0, 32], [0, 64, 32], [0, 0, 1]]] * 2, np.float32)
    poses = estimator.crop_model.predict_multi(image, intrinsics)
    np.testing.assert_allclose(poses[1, 0], [0, 0, 3200], atol=0.2)


def test_crop_model_refuses_other_crops(estimator):
    with pytest.raises(ValueError, match='`image` must be float16, float32 or uint8'):
        estimator.crop_model.predict_multi(np.zeros([1, 32, 32, 3], np.float32), INTRINSICS[None])


BAD_CAMERA = [
    ('intrinsic_matrix', np.full([3, 3], np.nan), '`intrinsic_matrix` must be finite'),
    ('intrinsic_matrix', INTRINSICS.T, 'last row'),
    ('intrinsic_matrix', np.diag([0, 0, 1]), 'positive focal'),
    ('distortion_coeffs', np.zeros(13), 'at most 12 coefficients'),
    ('distortion_coeffs', (np.inf,), '`distortion_coeffs` must be finite'),
    ('extrinsic_matrix', extrinsics(0.1, (1, 2, 3)).T, '`extrinsic_matrix` must be finite with'),
    ('extrinsic_matrix', np.diag([1, 1, -1, 1]), 'must hold a rotation'),
    ('extrinsic_matrix', np.diag([2, 2, 2, 1]), 'must hold a rotation'),
    ('extrinsic_matrix', extrinsics(0, (np.nan, 0, 0)), '`extrinsic_matrix` must be finite'),
    ('world_up_vector', (0, 0, 0), '`world_up_vector` must be finite and not zero'),
    ('default_fov_degrees', 180, '`default_fov_degrees` must be above 0 and below 180'),
    ('num_aug', 0, '`num_aug` must be at least 1'),
    ('antialias_factor', 0, '`antialias_factor` must be at least 1'),
    ('internal_batch_size', -1, '`internal_batch_size` must be at least 0'),
    ('max_detections', -2, '`max_detections` must be -1'),
    ('skeleton', 'no_such_14', "(?s)`skeleton` must be empty or one of .*coco_17.*no_such_14")]


@pytest.mark.parametrize('name, value, message', BAD_CAMERA)
def test_bad_values_are_named(estimator, name, value, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        estimator.detect_poses(BLACK, **{name: value})


@pytest.mark.parametrize('box', [
    (1, 1, 0, 5), (1, 1, 5, -5), (1, 1, 5, np.nan), (np.inf, 1, 5, 5)])
def test_bad_boxes_are_named(estimator, box):
    with pytest.raises(tf.errors.InvalidArgumentError, match='`boxes` must be finite with pos'):
        estimator.estimate_poses(BLACK, [BOX, box])


@pytest.mark.parametrize('name, value', [
    ('intrinsic_matrix', np.stack([INTRINSICS] * 2)), ('distortion_coeffs', np.zeros([2, 5])),
    ('extrinsic_matrix', np.stack([np.eye(4)] * 2))])
def test_other_numbers_of_cameras_are_refused(estimator, name, value):
    with pytest.raises(tf.errors.InvalidArgumentError, match=f'`{name}` must be given once or'):
        estimator.detect_poses_batched(images_of(1, 2, 3), **{name: value})


def test_boxes_must_have_a_row_per_image(estimator):
    with pytest.raises(tf.errors.InvalidArgumentError, match='`boxes` must have one row per im'):
        estimator.estimate_poses_batched(images_of(1, 2), [[BOX]])


@pytest.mark.parametrize('image, received', [
    (BLACK.astype(np.float32), 'float32'), (tf.zeros([4, 4, 3]), 'float32'), (BLACK[0], '(640, 3)'),
    (BLACK[None], '(1, 480, 640, 3)'), (BLACK[..., :1], '(480, 640, 1)'), ([[1]], 'list')])
def test_wrong_images_are_refused(estimator, image, received):
    with pytest.raises(ValueError, match='`image` must be uint8 with shape') as error:
        estimator.detect_poses(image)
    assert received in str(error.value)


@pytest.mark.parametrize('kwargs, message', [
    (dict(boxes=[[1, 2, 3]]), '`boxes` must be float32 with shape'),
    (dict(boxes=[BOX], num_aug=2.5), '`num_aug` must be int32'),
    (dict(boxes=[BOX], intrinsic_matrix=np.eye(4)), '`intrinsic_matrix` must be float32'),
    (dict(boxes=[BOX], skeleton=17), '`skeleton` must be string'),
    (dict(boxes=[BOX], no_such_argument=1), '(?s)`estimate_poses` takes.*no_such_argument'),
    (dict(), '(?s)`estimate_poses` takes the arguments.*boxes')])
def test_wrong_arguments_are_refused(estimator, kwargs, message):
    with pytest.raises(ValueError, match=message):
        estimator.estimate_poses(BLACK, **kwargs)


@pytest.mark.parametrize('kwargs, message', [
    (dict(angle_spread='sideways'), '`angle_spread` must be one of'),
    (dict(bone_min_ratio=4.0), '`bone_min_ratio` must be between'),
    (dict(uncertainty=1), '`uncertainty` must be True or False, since .* Received: uncertainty=1'),
    (dict(uncertainty=tf.constant(True)), '`uncertainty` must be True or False')])
def test_bad_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_estimator(**kwargs)


def test_parts_are_checked():
    with pytest.raises(ValueError, match='`mean_bone_lengths_mm` must hold one positive length'):
        estimator_lib.PoseEstimator(fakes.FakeCropModel(), mean_bone_lengths_mm=[1.0])
    with pytest.raises(ValueError, match='`crop_model` must have the attribute'):
        estimator_lib.PoseEstimator(lambda image, intrinsics: image)
    with pytest.raises(ValueError, match='`detector` must have a method'):
        estimator_lib.PoseEstimator(fakes.FakeCropModel(), detector=object())
    relative = fakes.FakeCropModel()
    relative.is_absolute = models.Metro.is_absolute
    with pytest.raises(ValueError, match='`crop_model` must predict positions in front of the ca'):
        estimator_lib.PoseEstimator(relative)


@pytest.mark.parametrize('image_size', [(1, 1), (1, 50), (7, 3)])
@pytest.mark.parametrize('antialias_factor', [1, 2, 3])
def test_small_images_and_any_supersampling_work(estimator, image_size, antialias_factor):
    image = np.full([*image_size, 3], 255, np.uint8)
    people = estimator.estimate_poses(
        image, [(0.0, 0.0, 1.0, 1.0)], antialias_factor=antialias_factor, num_aug=2)
    assert np.all(np.isfinite(people['poses3d']))


@pytest.mark.parametrize('method_name', METHOD_NAMES)
def test_signature_is_the_published_one(estimator, method_name):
    is_batched, is_detect = method_name.endswith('_batched'), method_name.startswith('detect')
    expected = [
        'images' if is_batched else 'image', *([] if is_detect else ['boxes']),
        'intrinsic_matrix', 'distortion_coeffs', 'extrinsic_matrix', 'world_up_vector',
        'default_fov_degrees', 'internal_batch_size', 'antialias_factor', 'num_aug',
        'average_aug', 'skeleton', *([
            'detector_threshold', 'detector_nms_iou_threshold', 'max_detections',
            'detector_flip_aug'] if is_detect else []), 'suppress_implausible_poses']
    method = getattr(estimator, method_name)
    signature = inspect.signature(method)
    assert list(signature.parameters) == expected
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    published = dict(
        world_up_vector=(0, -1, 0), default_fov_degrees=55, internal_batch_size=64,
        antialias_factor=1, num_aug=5, average_aug=True, skeleton='',
        suppress_implausible_poses=is_detect)
    if is_detect:
        published.update(
            detector_threshold=0.3, detector_nms_iou_threshold=0.7, max_detections=-1,
            detector_flip_aug=False)
    assert {name: defaults[name] for name in published} == published
    assert all(f'    {name}: ' in method.__doc__ for name in expected)


def test_nothing_is_traced_again_for_other_sizes_and_values():
    estimator = make_estimator()
    for side, num_aug in ((20, 1), (30, 2), (41, 3)):
        image = np.zeros([side, side + 5, 3], np.uint8)
        estimator.detect_poses(image, num_aug=num_aug, skeleton='lsp_14', detector_threshold=0.1)
        estimator.detect_poses(tf.constant(image), default_fov_degrees=40 + side)
        estimator.estimate_poses(image, [BOX] * num_aug)
        estimator.estimate_poses_batched(np.stack([image] * num_aug), [[BOX]] * num_aug)
        estimator.detect_poses_batched(np.stack([image] * num_aug))
    assert estimator.crop_model.crop_model.n_traces == 1
    for function in estimator.functions.values():
        assert function.experimental_get_tracing_count() == 1


@pytest.mark.slow
def test_memory_stays_flat_over_many_image_sizes(estimator):
    rng = np.random.default_rng(0)

    def call(n_calls):
        for _ in range(n_calls):
            height, width = rng.integers(100, 600, 2)
            estimator.detect_poses(np.zeros([height, width, 3], np.uint8), num_aug=2)
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    peak_before_mib = call(50)
    assert call(200) - peak_before_mib < 60
