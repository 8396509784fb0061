import numpy as np
import tensorflow as tf

from training.detection import composites, losses, targets


def canvas_with(boxes, is_person=None, is_ignored=None, side_px=64):
    canvas = composites.new_canvas(tf.zeros([side_px, side_px, 3]), len(boxes))
    n_boxes = len(boxes)
    return {
        **canvas, 'boxes': tf.constant(boxes, tf.float32),
        'is_person': tf.constant([True] * n_boxes if is_person is None else is_person),
        'is_ignored': tf.constant([False] * n_boxes if is_ignored is None else is_ignored)}


def render(*args, **kwargs):
    canvas = canvas_with(*args, **kwargs)
    eager = targets.render(canvas)
    in_graph = tf.function(targets.render)(canvas)
    for name, value in eager.items():
        np.testing.assert_allclose(in_graph[name], value, atol=1e-6)
    return {name: value.numpy() for name, value in eager.items()}


def test_centre_cell_by_hand():
    # The centre (19.5, 35.5) is that of cell (row 4, column 2).
    result = render([[11.5, 19.5, 16, 32]])
    assert result['heatmap'].shape == (8, 8)
    assert result['heatmap'][4, 2] == 1.0
    assert (result['heatmap'] == 1.0).sum() == 1
    # sigma is its lower limit, 0.6 cells, on both axes
    np.testing.assert_allclose(result['heatmap'][4, 3], np.exp(-0.5 / 0.36) / 0.7, rtol=1e-5)
    np.testing.assert_allclose(result['heatmap'][5, 3], np.exp(-1 / 0.36) / 0.7, rtol=1e-5)
    np.testing.assert_allclose(result['box'][4, 2], [11.5, 19.5, 16, 32])


def test_wide_box_has_a_wide_gaussian():
    result = render([[-0.5, 23.5, 56, 8]])
    np.testing.assert_allclose(result['heatmap'][3, 4], np.exp(-0.5 / 0.84 ** 2) / 0.7, rtol=1e-5)
    assert result['heatmap'][3, 4] > result['heatmap'][4, 3]


def test_large_people_have_several_centres_of_less_weight_each():
    result = render([[-0.5, -0.5, 64, 64], [11.5, 11.5, 8, 8]], is_person=[True, False])
    # sigma is 0.96 cells: the Gaussian exceeds 0.7 up to 0.81 cells from the centre
    assert (result['heatmap'] == 1).sum() == 1
    larger = render([[-0.5, -0.5, 128, 64]], side_px=128)
    is_center = larger['heatmap'] == 1
    assert is_center.sum() == 3  # sigma is 1.92 cells along x
    np.testing.assert_allclose(larger['heatmap_weight'][is_center], 3 ** -0.5, rtol=1e-5)
    assert (larger['heatmap_weight'][~is_center] == 1).all()


def test_box_weights_sum_to_one_per_person():
    result = render([[-0.5, -0.5, 16, 16], [19.5, 19.5, 44, 40]])
    is_first = (result['box'] == [-0.5, -0.5, 16, 16]).all(axis=-1)
    np.testing.assert_allclose(result['box_weight'][is_first].sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(result['box_weight'][~is_first].sum(), 1, rtol=1e-5)


def test_nobody():
    result = render([[0, 0, 0, 0]], is_person=[False])
    np.testing.assert_array_equal(result['heatmap'], 0)
    np.testing.assert_array_equal(result['heatmap_weight'], 1)
    np.testing.assert_array_equal(result['box_weight'], 0)


def test_ignored_people_have_no_weight_but_others_in_their_box_do():
    boxes = [[-0.5, -0.5, 32, 32], [-0.5, -0.5, 8, 8]]
    result = render(boxes, is_person=[False, True], is_ignored=[True, False])
    expected = np.ones((8, 8))
    expected[:4, :4] = 0
    expected[result['heatmap'] > targets.MIN_BOX_GAUSSIAN / targets.PLATEAU] = 1
    np.testing.assert_array_equal(result['heatmap_weight'], expected)
    assert result['heatmap_weight'][0, 0] == 1 and result['heatmap_weight'][3, 3] == 0
    assert (result['heatmap'] == 1).sum() == 1


def test_box_centre_on_the_border_stays_inside():
    result = render([[59.5, 59.5, 12, 12]])
    assert result['heatmap'][7, 7] == 1.0


def test_heatmap_loss_by_hand():
    logits = tf.constant([0.0, 0.0, 0.0])
    heatmap, weight = tf.constant([1.0, 0.0, 0.5]), tf.constant([1.0, 0.5, 1.0])
    log2 = np.log(2)
    expected = 0.25 * log2 + 0.5 * 0.25 * log2 + 0.5 ** 4 * 0.25 * log2
    np.testing.assert_allclose(losses.heatmap_loss(logits, heatmap, weight), expected, rtol=1e-5)
    two_centers = tf.constant([1.0, 1.0, 0.5])
    expected = (0.25 * log2 + 0.5 * 0.25 * log2 + 0.5 ** 4 * 0.25 * log2) / 1.5
    np.testing.assert_allclose(
        losses.heatmap_loss(logits, two_centers, weight), expected, rtol=1e-5)


def test_heatmap_loss_is_finite_for_extreme_logits():
    logits = tf.Variable([1e4, -1e4, 1e4, -1e4])
    heatmap = tf.constant([1.0, 1.0, 0.0, 0.0])
    with tf.GradientTape() as tape:
        loss = losses.heatmap_loss(logits, heatmap, tf.ones([4]))
    assert np.isfinite(loss) and np.isfinite(tape.gradient(loss, logits)).all()


def test_box_loss_by_hand():
    box = tf.constant([[0.0, 0, 10, 10]])
    one = tf.ones([1])
    np.testing.assert_allclose(losses.box_loss(box, box, one), 0, atol=1e-6)
    # Overlap 50, union 150, hull 150.
    np.testing.assert_allclose(losses.box_loss(box, box + [5.0, 0, 0, 0], one), 2 / 3, rtol=1e-5)
    # Apart: union 200, hull 300.
    np.testing.assert_allclose(losses.box_loss(box, box + [20.0, 0, 0, 0], one), 4 / 3, rtol=1e-5)


def test_box_loss_weights():
    boxes = tf.constant([[0.0, 0, 10, 10], [0, 0, 4, 4]])
    others = boxes + [[5.0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(
        losses.box_loss(boxes, others, tf.constant([1.0, 3.0])), 2 / 3 / 4, rtol=1e-5)
    empty = tf.zeros([2, 4])
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        loss = losses.box_loss(boxes, empty, tf.zeros([2]))
    assert loss == 0
    np.testing.assert_array_equal(tape.gradient(loss, boxes), 0)
