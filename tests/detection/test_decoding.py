import numpy as np
import pytest
import tensorflow as tf

from metro_tf.detection import decoding
from tests import helpers


def test_cell_centers_by_hand():
    centers = decoding.cell_centers((2, 3), 8).numpy()
    assert centers.shape == (2, 3, 2)
    np.testing.assert_allclose(centers[0, 0], [3.5, 3.5])
    np.testing.assert_allclose(centers[1, 2], [19.5, 11.5])


def test_decode_boxes_by_hand():
    offset, log_size = np.zeros((1, 1, 2, 2), np.float32), np.zeros((1, 1, 2, 2), np.float32)
    offset[0, 0, 0], log_size[0, 0, 0] = (0, 0.5), (0, np.log(2))
    boxes = decoding.decode_boxes(offset, log_size, 8).numpy()
    np.testing.assert_allclose(boxes[0, 0, 0], [-0.5, -0.5, 8, 16], atol=1e-5)
    np.testing.assert_allclose(boxes[0, 0, 1], [7.5, -0.5, 8, 8], atol=1e-5)
    in_graph = helpers.run_in_graph(lambda o, s: decoding.decode_boxes(o, s, 8), offset, log_size)
    np.testing.assert_allclose(in_graph, boxes)


def test_sizes_stay_finite():
    extreme = np.array([-1e9, 1e9], np.float32).reshape(1, 1, 1, 2)
    boxes = decoding.decode_boxes(np.zeros_like(extreme), extreme, 8).numpy()
    np.testing.assert_allclose(boxes[0, 0, 0, 2:], 8 * np.exp([-1, 5]), rtol=1e-5)


def test_local_maxima():
    scores = np.array([[[0.1, 0.5, 0.4, 0.0, 0.3],
                        [0.2, 0.3, 0.1, 0.0, 0.0]]], np.float32)
    kept = decoding.keep_local_maxima(tf.constant(scores)).numpy()
    expected = np.zeros_like(scores)
    expected[0, 0, 1], expected[0, 0, 4] = 0.5, 0.3
    np.testing.assert_allclose(kept, expected)


@pytest.mark.parametrize('max_candidates, n_expected', [(3, 3), (100, 6)])
def test_best_candidates_keep_their_boxes(max_candidates, n_expected):
    rng = np.random.default_rng(0)
    scores = rng.random((2, 2, 3)).astype(np.float32)
    boxes = scores[..., np.newaxis] * np.array([1, 2, 3, 4], np.float32)
    for run in (lambda f, *a: f(*map(tf.constant, a)), helpers.run_in_graph):
        best, best_boxes = run(
            lambda s, b: decoding.best_candidates(s, b, max_candidates), scores, boxes)
        assert best.shape == (2, n_expected)
        np.testing.assert_allclose(
            best, -np.sort(-scores.reshape(2, 6), axis=1)[:, :n_expected])
        np.testing.assert_allclose(best_boxes[..., 3], 4 * best.numpy())


BOXES = np.array([[[0, 0, 10, 10], [1, 0, 10, 10], [50, 50, 20, 10]],
                  [[0, 0, 10, 10], [5, 0, 10, 10], [0, 0, 10, 10]]], np.float32)
SCORES = np.array([[0.6, 0.9, 0.5], [0.8, 0.7, 0.2]], np.float32)


def suppressed(threshold=0.3, iou=0.7, max_detections=150, run=None):
    def function(scores, boxes):
        return decoding.suppress(scores, boxes, threshold, iou, max_detections)
    run = run or (lambda f, *a: f(*map(tf.constant, a)))
    return run(function, SCORES, BOXES)


@pytest.mark.parametrize('run', [None, helpers.run_in_graph])
def test_suppression_by_hand(run):
    # Boxes 0 and 1 of the first image overlap by 90 / 110, those of the second by 50 / 150.
    result = suppressed(run=run)
    assert isinstance(result, tf.RaggedTensor)
    np.testing.assert_allclose(result[0], [[1, 0, 10, 10, 0.9], [50, 50, 20, 10, 0.5]], atol=1e-5)
    np.testing.assert_allclose(result[1], [[0, 0, 10, 10, 0.8], [5, 0, 10, 10, 0.7]], atol=1e-5)


def test_iou_threshold():
    assert suppressed(iou=0.85).row_lengths().numpy().tolist() == [3, 2]
    assert suppressed(iou=0.3).row_lengths().numpy().tolist() == [2, 1]


def test_threshold_is_inclusive():
    assert suppressed(threshold=0.8).row_lengths().numpy().tolist() == [1, 1]
    assert suppressed(threshold=0.95).row_lengths().numpy().tolist() == [0, 0]
    assert suppressed(threshold=0.95).shape[2] == 5


def test_score_zero_is_never_a_detection():
    result = decoding.suppress(
        tf.constant([[0.0, 0.4]]), tf.constant(BOXES[:1, 1:]), 0.0, 0.7, 150)
    assert result.row_lengths().numpy().tolist() == [1]


def test_at_most_the_best_few_are_kept():
    result = suppressed(max_detections=1)
    np.testing.assert_allclose(result.to_tensor()[:, 0, 4], [0.9, 0.8])
    assert result.row_lengths().numpy().tolist() == [1, 1]
