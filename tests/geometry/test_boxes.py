import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import boxes
from tests import helpers


def test_center_and_area_ignore_the_score():
    with_score = np.float32([[10, 20, 4, 6, 0.9], [0, 0, 3, 3, 0.5]])
    np.testing.assert_allclose(boxes.center(with_score), [[12, 23], [1.5, 1.5]], atol=1e-5)
    np.testing.assert_allclose(boxes.area(with_score), [24, 9], atol=1e-5)


def test_intersection_area_by_hand():
    reference = [0.0, 0, 10, 10]
    others = [[5.0, 6, 10, 10], [2, 2, 3, 4], [10, 0, 5, 5], [-20, 0, 5, 5], [-1, -1, 20, 20]]
    np.testing.assert_allclose(
        boxes.intersection_area(reference, others), [20, 12, 0, 0, 100], atol=1e-4)


def test_no_area_from_two_negative_overlaps():
    # Apart along both axes: the product of two negative extents must not count.
    np.testing.assert_allclose(
        boxes.intersection_area([0.0, 0, 1, 1], [5.0, 5, 1, 1]), 0, atol=1e-6)


@pytest.mark.parametrize('in_graph', [False, True])
def test_iou_matrix_by_hand(in_graph):
    boxes_a = np.float32([[0, 0, 10, 10], [0, 0, 0, 0]])
    boxes_b = np.float32([[0, 0, 10, 10, 0.9], [5, 0, 10, 10, 0.8], [0, 0, 0, 0, 0.7]])
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    actual = call(boxes.iou_matrix, boxes_a, boxes_b)
    np.testing.assert_allclose(actual, [[1, 1 / 3, 0], [0, 0, 0]], atol=1e-6)


def test_iou_matrix_is_symmetric_and_batched():
    boxes_a = np.random.default_rng(0).uniform(1, 50, (2, 5, 4)).astype(np.float32)
    batched = boxes.iou_matrix(boxes_a, boxes_a[:, ::-1])
    np.testing.assert_allclose(batched[1], boxes.iou_matrix(boxes_a[1], boxes_a[1, ::-1]))
    own = boxes.iou_matrix(boxes_a, boxes_a).numpy()
    np.testing.assert_allclose(own, np.swapaxes(own, 1, 2), atol=1e-6)
    np.testing.assert_allclose(np.diagonal(own, axis1=1, axis2=2), np.ones((2, 5)), atol=1e-5)


def test_iou_matrix_without_boxes():
    assert boxes.iou_matrix(tf.zeros([0, 4]), tf.zeros([3, 5])).shape == (0, 3)
    assert boxes.iou_matrix(tf.zeros([3, 4]), tf.zeros([0, 5])).shape == (3, 0)


def test_iou_matrix_refuses_a_single_box():
    with pytest.raises(ValueError, match='`boxes_b` must have a shape that ends in'):
        boxes.iou_matrix(tf.zeros([2, 4]), tf.zeros([4]))


@pytest.mark.parametrize('in_graph', [False, True])
def test_from_points_covers_the_valid_points(in_graph):
    points = np.float32([[[3, 8], [-2, 5], [900, np.nan]], [[1, 1], [2, 2], [3, 3]]])
    mask = np.array([[True, True, False], [False, False, False]])
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    actual = call(boxes.from_points, points, mask)
    np.testing.assert_allclose(actual, [[-2, 5, 5, 3], [0, 0, 0, 0]], atol=1e-5)


def test_from_points_without_mask_uses_all():
    np.testing.assert_allclose(boxes.from_points([[4.0, 1], [1, 9]]), [1, 1, 3, 8], atol=1e-5)
    np.testing.assert_allclose(boxes.from_points([[4.0, 1]]), [4, 1, 0, 0], atol=1e-5)


def test_from_points_gradient_is_finite_without_valid_points():
    points = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(points)
        box = boxes.from_points(points, [False, False])
    np.testing.assert_allclose(tape.gradient(box, points), np.zeros((2, 2)))


@pytest.mark.parametrize('in_graph', [False, True])
def test_side_midpoints_are_top_bottom_left_right(in_graph):
    box = np.float32([[10, 20, 4, 6]])
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    np.testing.assert_allclose(
        call(boxes.side_midpoints, box), [[[12, 20], [12, 26], [10, 23], [14, 23]]], atol=1e-5)


@pytest.mark.parametrize('in_graph', [False, True])
def test_clip_keeps_score_and_empties_outside_boxes(in_graph):
    before = np.float32(
        [[-5, -5, 10, 20, 0.9], [90, 40, 50, 50, 0.8], [10, 10, 5, 5, 0.7], [200, 10, 5, 5, 0.6]])
    image_shape = np.array([60, 100, 3])
    call = helpers.run_in_graph if in_graph else lambda function, *args: function(*args)
    np.testing.assert_allclose(
        call(boxes.clip, before, image_shape),
        [[0, 0, 5, 15, 0.9], [90, 40, 10, 20, 0.8], [10, 10, 5, 5, 0.7], [100, 10, 0, 5, 0.6]],
        atol=1e-5)


def test_clip_takes_a_python_shape():
    np.testing.assert_allclose(boxes.clip([-1.0, 0, 10, 4], (3, 5)), [0, 0, 5, 3], atol=1e-6)


@pytest.mark.parametrize('function', [
    boxes.center, boxes.area, boxes.side_midpoints, lambda b: boxes.clip(b, (4, 4)),
    lambda b: boxes.intersection_area(b, [0.0, 0, 1, 1])])
def test_wrong_box_size_is_refused(function):
    with pytest.raises(ValueError, match=r'axis of 4 .* Received: shape=\(7, 3\)'):
        function(tf.zeros([7, 3]))


def test_from_points_refuses_3d_points():
    with pytest.raises(ValueError, match=r'`points` must have a shape that ends in \(any, 2\)'):
        boxes.from_points(tf.zeros([5, 3]))
