"""Every stage of the NumPy chain gives what its TensorFlow counterpart gives, on random input."""

import numpy as np
import pytest
import tensorflow as tf

from metro_tf import calibration as tf_calibration
from metro_tf import detection
from metro_tf import plausibility as tf_plausibility
from metro_tf import tta as tf_tta
from metro_tf.cropping import view as tf_view
from metro_tf.cropping import warp as tf_warp
from metro_tf.detection import decoding as tf_decoding
from metro_tf.detection import letterbox as tf_letterbox
from metro_tf.detection import protocol
from metro_tf.geometry import camera as tf_camera
from metro_tf.geometry import distortion as tf_distortion
from metro_tf.geometry import rotation as tf_rotation
from metro_tf.onnx import (
    calibration, decoding, detector, distortion, geometry, letterbox, plausibility, tta, view, warp)
from tests.cropping import test_warp
from tests.detection import test_person_detector

INTRINSICS = np.float32([[[900, 2, 400], [0, 950, 310], [0, 0, 1]],
                         [[300, 0, 160], [0, 290, 120], [0, 0, 1]]])
# A full set of coefficients, and one whose radial part folds back near the image border.
LENSES = np.float32([test_warp.LENS, [-0.6, *[0] * 11]])
PLAUSIBILITY = dict(
    bone_min_ratio=0.1, bone_max_ratio=3.0, bone_tolerance_mm=300.0, consistency_mm=200.0,
    min_box_overlap=0.5)


def rng():
    return np.random.default_rng(0)


def random_rotations(n):
    return tf_rotation.from_axis_angle(
        rng().normal(size=[n, 3]).astype(np.float32), np.linspace(0.1, 3, n, dtype=np.float32)
    ).numpy()


def make_cameras(n):
    extrinsics = np.tile(np.eye(4, dtype=np.float32), [n, 1, 1])
    up = rng().normal(size=[n, 3]).astype(np.float32)
    return calibration.Cameras(
        INTRINSICS[:n], LENSES[:n], extrinsics, up)


def test_projection_and_its_inverse():
    points = rng().normal([0, 0, 500], [300, 300, 400], [2, 50, 3]).astype(np.float32)
    expected = tf_camera.project(points, INTRINSICS)
    np.testing.assert_allclose(geometry.project(points, INTRINSICS), expected, rtol=1e-5)
    pixels = rng().uniform(-100, 700, [2, 50, 2]).astype(np.float32)
    np.testing.assert_allclose(
        geometry.normalize(pixels, INTRINSICS), tf_camera.normalize(pixels, INTRINSICS),
        atol=1e-6)
    # By hand, as in `geometry.camera.project`.
    intrinsics = np.float32([[100, 0, 50], [0, 100, 40], [0, 0, 1]])
    np.testing.assert_allclose(
        geometry.project(np.float32([[1, 2, 10]]), intrinsics), [[60, 60]])


def test_intrinsics_of_an_unknown_camera():
    np.testing.assert_allclose(
        geometry.intrinsics_from_fov(55, (480, 640)),
        tf_camera.intrinsics_from_fov(55.0, (480, 640)), rtol=1e-6)


def test_world_frame():
    extrinsics = np.tile(np.eye(4, dtype=np.float32), [2, 1, 1])
    extrinsics[:, :3, :3] = random_rotations(2) * [[[1.001]]]
    extrinsics[:, :3, 3] = [[100, -2000, 300], [0, 1, 5000]]
    points = rng().normal(0, 3000, [2, 20, 3]).astype(np.float32)
    np.testing.assert_allclose(
        geometry.camera_to_world(points, extrinsics),
        tf_camera.camera_to_world(points, extrinsics), atol=0.01)


@pytest.mark.parametrize('forward, up', [
    ((0.1, 0.2, 1), (0, -1, 0)), ((0, 1, 0), (0, -1, 0)), ((1, 2, 3), (2, 4, 6)),
    ((0, 0, 0), (0, 0, 0)), ((0.3, -0.2, -1), (0.5, -3, 0.1))])
def test_looking_at(forward, up):
    forward, up = np.float32([forward]), np.float32([up])
    rotation = geometry.look_at(forward, up)
    np.testing.assert_allclose(rotation, tf_rotation.look_at(forward, up), atol=1e-6)
    np.testing.assert_allclose(rotation[0] @ rotation[0].T, np.eye(3), atol=1e-6)


def test_lens_and_its_inverse():
    points = rng().uniform(-2, 2, [2, 200, 2]).astype(np.float32)
    lens = distortion.make_lens(LENSES)
    np.testing.assert_allclose(
        distortion.valid_radius(LENSES), tf_distortion.valid_radius(LENSES), rtol=1e-4)
    for function, expected in (
            (distortion.distort, tf_distortion.distort_points(points, LENSES)),
            (distortion.undistort, tf_distortion.undistort_points(points, LENSES))):
        actual = np.stack(function(points[..., 0], points[..., 1], lens), axis=-1)
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)
    assert distortion.make_lens(np.zeros([3, 12])) is None


def test_virtual_cameras():
    boxes = np.float32([[100, 50, 200, 400, 0.5], [-30, 10, 60, 20, 0.9]])
    cameras = make_cameras(2)
    rotations, scales = view.virtual_cameras(boxes, cameras, 128)
    expected_rotations, expected_scales = tf_view.virtual_cameras(
        boxes, cameras.intrinsics, cameras.distortion_coeffs, cameras.up, 128)
    np.testing.assert_allclose(rotations, expected_rotations, atol=1e-5)
    np.testing.assert_allclose(scales, expected_scales, rtol=1e-4)
    np.testing.assert_allclose(
        view.crop_intrinsics(cameras.intrinsics, scales, 128),
        tf_view.crop_intrinsics(cameras.intrinsics, scales, 128), rtol=1e-6)


@pytest.mark.parametrize('image_size', [(90, 121), (3, 5), (1, 40)])
@pytest.mark.parametrize('zoom', [1.0, 0.2, 3.0])
@pytest.mark.parametrize('coeffs, antialias_factor', [
    (test_warp.NO_LENS, 1), (test_warp.LENS, 1), (test_warp.LENS, 2)])
def test_crops(image_size, zoom, coeffs, antialias_factor):
    boxes = [(10, 5, 60, 70), (-20, 40, 50, 80), (90, 60, 80, 40)]
    coeffs = np.pad(np.float32(coeffs), [0, 12 - len(coeffs)])
    arguments = test_warp.make_arguments(boxes, [0, 1, 0], coeffs, zoom=zoom, flip=True)
    arguments['gamma'] = np.float32([0.8] * 3)
    images = np.stack([test_warp.smooth_image(*image_size, seed=seed) for seed in (0, 1)])
    expected = tf_warp.sample_crops(
        images, **arguments, crop_side_px=test_warp.SIDE, antialias_factor=antialias_factor)
    # Here every person has a view of its own; there all views have a row.
    for name in ('crop_intrinsics', 'rotations', 'scales'):
        arguments[name] = arguments[name][:, np.newaxis]
    arguments['gamma'] = arguments['gamma'][:1]
    actual = warp.sample_crops(
        images, **arguments, crop_side_px=test_warp.SIDE, antialias_factor=antialias_factor)
    assert actual.shape == (3, 1, test_warp.SIDE, test_warp.SIDE, 3)
    np.testing.assert_allclose(actual[:, 0], expected, atol=1e-3)
    assert np.mean(np.abs(actual[:, 0] - expected)) < 1e-5


@pytest.mark.parametrize('angle_spread', tf_tta.ANGLE_SPREADS)
@pytest.mark.parametrize('num_aug', [1, 2, 5, 8])
def test_augmentation_parameters(num_aug, angle_spread):
    actual = tta.parameters(num_aug, 0.4, angle_spread)
    expected = tf_tta.parameters(num_aug, max_angle=0.4, angle_spread=angle_spread)
    assert set(actual) == set(expected)
    for name in expected:
        assert actual[name].dtype == expected[name].numpy().dtype
        np.testing.assert_allclose(actual[name], expected[name], atol=1e-6)
    matrices = tta.view_matrices(actual['angle'], actual['should_flip'])
    np.testing.assert_allclose(
        matrices, tf_tta.view_matrices(expected['angle'], expected['should_flip']), atol=1e-6)


def test_way_back_from_augmented_views():
    poses = rng().normal(size=[2, 4, 3, 3]).astype(np.float32)
    rotations = random_rotations(8).reshape(2, 4, 3, 3)
    should_flip, mapping = np.array([True, False, True, False]), (0, 2, 1)
    np.testing.assert_allclose(
        tta.undo(poses, rotations, should_flip, mapping),
        tf_tta.undo(poses, rotations, should_flip, mapping), atol=1e-5)
    uncertainty = np.abs(poses[..., 0])
    np.testing.assert_allclose(
        tta.average_uncertainty(uncertainty), tf_tta.average_uncertainty(uncertainty), rtol=1e-5)


@pytest.mark.parametrize('size', [(300, 200), (100, 250), (31, 32), (1, 500), (64, 64)])
def test_letterboxing(size):
    images = rng().integers(0, 256, [2, *size, 3]).astype(np.uint8)
    actual, scale, offset = letterbox.letterbox(images, 96)
    expected, transform = tf_letterbox.letterbox(images, 96)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    np.testing.assert_allclose(scale, transform.scale, rtol=1e-6)
    np.testing.assert_array_equal(offset, transform.offset)
    boxes = rng().uniform(0, 90, [5, 4]).astype(np.float32)
    np.testing.assert_allclose(
        letterbox.boxes_to_image(boxes, scale, offset), transform.boxes_to_image(boxes), rtol=1e-4)


def test_decoding_of_grids():
    offset, log_size = rng().normal(0, 3, [2, 2, 6, 7, 2]).astype(np.float32)
    scores = rng().uniform(size=[2, 6, 7]).astype(np.float32)
    boxes = decoding.decode_boxes(offset, log_size, 8)
    np.testing.assert_allclose(boxes, tf_decoding.decode_boxes(offset, log_size, 8), atol=1e-3)
    maxima = decoding.keep_local_maxima(scores)
    np.testing.assert_array_equal(maxima, tf_decoding.keep_local_maxima(scores))
    # Equal scores, here zeros, keep their order.
    actual = decoding.best_candidates(maxima, boxes, 20)
    expected = tf_decoding.best_candidates(maxima, boxes, 20)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1], expected[1])


@pytest.mark.parametrize('threshold, max_detections', [(0.0, 100), (0.5, 100), (0.2, 7)])
def test_suppression_of_boxes(threshold, max_detections):
    scores = rng().uniform(size=[60]).astype(np.float32)
    boxes = np.concatenate([
        rng().uniform(0, 60, [60, 2]), rng().uniform(20, 40, [60, 2])], axis=1).astype(np.float32)
    actual = decoding.suppress(scores, boxes, threshold, 0.3, max_detections)
    expected = tf_decoding.suppress(
        scores[None], boxes[None], threshold, 0.3, max_detections)[0]
    assert 1 < len(expected) <= max_detections
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_a_score_at_the_threshold_is_kept():
    boxes = np.float32([[0, 0, 5, 5], [10, 10, 5, 5]])
    threshold = np.float32(0.3).item()
    kept = decoding.suppress(np.float32([0.3, 0.2999]), boxes, threshold, 0.5, 10)
    np.testing.assert_allclose(kept, [[0, 0, 5, 5, 0.3]])


@pytest.mark.parametrize('flip_aug', [False, True])
def test_detector(flip_aug):
    images = np.stack([test_warp.smooth_image(100, 150, seed=seed) for seed in (0, 1)])
    tf_detector = detection.PersonDetector(test_person_detector.small_net(), 128)
    layer = tf_detector.model.get_layer('logits')
    # Scores that differ, since the order of equal ones is not defined.
    layer.set_weights([rng().normal(0, 5, [1, 1, 4, 1]), np.zeros([1])])
    numpy_detector = detector.PersonDetector(
        lambda image: {
            name: grid.numpy() for name, grid in tf_detector.model(image).items()}, 128)
    expected = tf_detector.predict_multi_image(images, 0.3, 0.4, flip_aug)
    actual = numpy_detector.predict_multi_image(images, 0.3, 0.4, flip_aug)
    for i in range(2):
        assert 1 < len(expected[i]) < protocol.MAX_DETECTIONS
        np.testing.assert_allclose(actual[i], expected[i], atol=1e-3)
    assert numpy_detector.predict_multi_image(images[:0], 0.3, 0.4) == []


def test_calibration():
    arguments = dict(
        intrinsic_matrix=np.stack([INTRINSICS[0], np.full([3, 3], -1, np.float32)]),
        distortion_coeffs=LENSES[:1, :5], extrinsic_matrix=np.eye(4, dtype=np.float32)[None],
        world_up_vector=np.float32([0.1, -1, 0]), default_fov_degrees=60.0)
    shape = (2, 480, 640, 3)
    actual = calibration.prepare_cameras(shape, **arguments).per_person(np.array([1, 0, 1]))
    expected = tf_calibration.prepare_cameras(
        tf.constant(shape), **arguments).per_person(tf.constant([1, 0, 1]))
    for name in ('intrinsics', 'distortion_coeffs', 'extrinsics', 'up'):
        assert getattr(actual, name).dtype == np.float32
        np.testing.assert_allclose(getattr(actual, name), getattr(expected, name), rtol=1e-6)


def make_people(n=20, num_aug=3, n_joints=8):
    """Poses around the camera axis, some of them nearly the same, and their boxes."""
    centers = rng().normal([0, 0, 3000], [300, 300, 200], [n, 1, 1, 3])
    centers[n // 2:] = centers[:n - n // 2] * 1.05
    spread = rng().uniform(10, 400, [n, 1, 1, 1])
    poses = (centers + spread * rng().normal(size=[n, 1, n_joints, 3])
             + rng().normal(0, 60, [n, num_aug, n_joints, 3])).astype(np.float32)
    poses2d = 500 * poses[..., :2] / poses[..., 2:]
    size = np.ptp(poses2d.mean(axis=1), axis=1)
    boxes = np.concatenate([
        poses2d.mean(axis=1).min(axis=1), size * rng().uniform(0.5, 2, [n, 2])], axis=1)
    return poses, poses2d, boxes.astype(np.float32)


def test_plausibility():
    poses, poses2d, boxes = make_people()
    edges, lengths = [(0, 1), (1, 2), (3, 7)], [300.0, 200.0, 400.0]
    actual = plausibility.plausible_poses(poses, poses2d, boxes, edges, lengths, **PLAUSIBILITY)
    expected = tf_plausibility.plausible_poses(
        poses, poses2d, boxes, edges, lengths, **PLAUSIBILITY)
    assert 0 < np.sum(expected) < len(boxes)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(
        plausibility.are_bones_plausible(
            poses.mean(axis=1), (), (), bone_min_ratio=0.1, bone_max_ratio=3,
            bone_tolerance_mm=0), np.ones(20, bool))


def test_similar_poses():
    poses = make_people()[0].mean(axis=1)
    scores = np.round(rng().uniform(size=[20]), 1).astype(np.float32)
    image_index, is_eligible = np.repeat([0, 2], 10), np.arange(20) % 5 > 0
    settings = dict(nms_distance_mm=500.0, nms_similarity=0.2, max_poses=4)
    actual = plausibility.suppress_similar_poses(
        poses, scores, image_index, is_eligible, **settings)
    expected = tf_plausibility.suppress_similar_poses(
        poses, scores, image_index, is_eligible, **settings)
    np.testing.assert_array_equal(actual, expected)
    similarity = plausibility.pose_similarity(poses[:10], poses[10:], nms_distance_mm=500.0)
    np.testing.assert_allclose(similarity, tf_plausibility.pose_similarity(
        poses[:10], poses[10:], nms_distance_mm=500.0), atol=1e-5)
    assert np.ptp(similarity) > 0.1
