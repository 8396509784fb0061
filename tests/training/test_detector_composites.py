import numpy as np
import pytest
import tensorflow as tf

from tests import helpers
from training.detection import composites

SIDE_PX = 32


def grey_canvas(value=0.5, n_max=3):
    return composites.new_canvas(tf.fill([SIDE_PX, SIDE_PX, 3], value), n_max)


def white(height, width, channels=3):
    return tf.ones([height, width, channels])


def with_person(canvas, box, shift=(0.0, 0.0), scale=1.0):
    """Pastes a white person that fills its image and its box."""
    width, height = int(box[2]), int(box[3])
    shift = tf.constant([box[0] + 0.5, box[1] + 0.5]) + tf.constant(shift)
    own_box = tf.constant([-0.5, -0.5, width, height], tf.float32)
    return composites.add_person(
        canvas, white(height, width), white(height, width, 1), own_box, tf.constant(scale), shift)


def test_place_moves_whole_pixels():
    image = np.random.default_rng(0).random((4, 5, 2)).astype(np.float32)
    placed = composites.place(tf.constant(image), 1.0, tf.constant([3.0, 2.0]), SIDE_PX).numpy()
    np.testing.assert_allclose(placed[2:6, 3:8], image, atol=1e-6)
    placed[2:6, 3:8] = 0
    np.testing.assert_array_equal(placed, 0)


@pytest.mark.parametrize('scale', [0.5, 1.0, 3.0])
def test_place_and_place_boxes_agree(scale):
    image = np.zeros((20, 20, 1), np.float32)
    image[4:8, 6:8] = 1  # its box by the package's convention:
    box = tf.constant([5.5, 3.5, 2.0, 4.0])
    shift = tf.constant([5.0, 3.0])
    placed = composites.place(tf.constant(image), scale, shift, SIDE_PX).numpy()[..., 0]
    found = composites.place_boxes(box, scale, shift).numpy()
    for axis, start, size in ((0, found[0], found[2]), (1, found[1], found[3])):
        mass = placed.sum(axis=axis)
        center = np.average(np.arange(SIDE_PX), weights=mass)
        np.testing.assert_allclose(center, start + size / 2, atol=0.02)
    np.testing.assert_allclose(placed.sum(), 8 * scale ** 2, rtol=0.02)


def test_intersect_by_hand():
    boxes = tf.constant([[0.0, 0, 10, 10], [-5, -5, 10, 10], [20, 0, 5, 5]])
    actual = composites.intersect(boxes, tf.constant([0.0, 0, 8, 20]))
    np.testing.assert_allclose(actual[:2], [[0, 0, 8, 10], [0, 0, 5, 5]])
    np.testing.assert_allclose(actual[2, 2:].numpy().prod(), 0)


def test_person_covers_by_alpha():
    image = tf.constant([[[1.0, 0, 0], [0, 1, 0]]])
    alpha = tf.constant([[[1.0], [0.25]]])
    canvas = composites.add_person(
        grey_canvas(), image, alpha, tf.constant([-0.5, -0.5, 2, 1]), 1.0, tf.constant([4.0, 7.0]))
    np.testing.assert_allclose(canvas['image'][7, 4], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(canvas['image'][7, 5], [0.375, 0.625, 0.375], atol=1e-6)
    np.testing.assert_allclose(canvas['image'][7, 6], 0.5)
    np.testing.assert_allclose(canvas['boxes'][0], [3.5, 6.5, 2, 1])


def test_boxes_are_cut_at_the_canvas():
    canvas = with_person(grey_canvas(), (-4.5, 19.5, 14, 20))
    np.testing.assert_allclose(canvas['boxes'][0], [-0.5, 19.5, 10, 12])
    assert canvas['is_person'].numpy().tolist() == [True, False, False]
    assert canvas['n_boxes'] == 1


@pytest.mark.parametrize('box', [(28.5, 3.5, 20, 20), (-30.5, 3.5, 38, 30), (3.5, 3.5, 7, 20)])
def test_people_with_too_little_to_see_are_ignored(box):
    canvas = with_person(grey_canvas(), box)
    assert not canvas['is_person'].numpy().any()
    assert canvas['is_ignored'].numpy().tolist() == [True, False, False]


def test_covered_people_are_ignored():
    canvas = with_person(grey_canvas(), (3.5, 3.5, 20, 20))
    half = with_person(canvas, (3.5, 3.5, 20, 12))
    assert half['is_person'].numpy().tolist() == [True, True, False]
    most = with_person(canvas, (3.5, 3.5, 20, 14))
    assert most['is_person'].numpy().tolist() == [False, True, False]
    assert most['is_ignored'].numpy().tolist() == [True, False, False]


def test_photo_is_opaque_and_its_surroundings_count_little():
    canvas = composites.add_photo(
        grey_canvas(), tf.zeros([16, 24, 3]), tf.constant([-0.5, -0.5, 8, 8]), 1.0,
        tf.constant([8.0, 0.0]), 0.1)
    is_photo = np.zeros((SIDE_PX, SIDE_PX), bool)
    is_photo[:16, 8:] = True
    np.testing.assert_allclose(canvas['image'][..., 0], np.where(is_photo, 0, 0.5))
    np.testing.assert_allclose(canvas['boxes'][0], [7.5, -0.5, 8, 8])
    weight = np.ones((4, 4))
    weight[:2, 1:] = 0.1
    weight[0, 1] = 1.0  # the person's own cell
    np.testing.assert_allclose(canvas['negative_weight'], weight)


def test_photo_hides_what_lies_under_it():
    canvas = with_person(grey_canvas(), (3.5, 3.5, 10, 10))
    canvas = composites.add_photo(
        canvas, tf.zeros([32, 32, 3]), tf.constant([9.5, 9.5, 8, 8]), 1.0, tf.zeros([2]), 0.1)
    assert canvas['is_person'].numpy().tolist() == [False, True, False]


def test_crop_to_window():
    canvas = with_person(grey_canvas(0.0), (3.5, 3.5, 10, 10))
    canvas = with_person(canvas, (19.5, 3.5, 8, 8))
    cropped = composites.crop_to_window(canvas, tf.constant([6.5, -0.5, 10.0, 32.0]), 0.5)
    np.testing.assert_allclose(cropped['image'][:, :7], 0.5)
    np.testing.assert_allclose(cropped['image'][:, 17:], 0.5)
    np.testing.assert_allclose(cropped['image'][:, 7:17], canvas['image'][:, 7:17])
    assert cropped['is_person'].numpy().tolist() == [False, False, False]  # 7 px is too little
    assert cropped['is_ignored'].numpy().tolist() == [True, True, False]
    wider = composites.crop_to_window(canvas, tf.constant([4.5, -0.5, 24.0, 32.0]), 0.5)
    assert wider['is_person'].numpy().tolist() == [True, True, False]
    np.testing.assert_allclose(wider['boxes'][0], [4.5, 3.5, 9, 10])


def test_mirror():
    canvas = with_person(grey_canvas(), (3.5, 3.5, 10, 12))
    mirrored = composites.mirror(canvas)
    np.testing.assert_allclose(mirrored['image'], canvas['image'][:, ::-1])
    np.testing.assert_allclose(mirrored['boxes'][0], [17.5, 3.5, 10, 12])
    twice = composites.mirror(mirrored)
    np.testing.assert_allclose(twice['boxes'], canvas['boxes'])


def test_in_graph_with_unknown_photo_size():
    photo = np.random.default_rng(0).random((16, 24, 3)).astype(np.float32)

    def paste(image):
        return composites.add_photo(
            grey_canvas(), tf.ensure_shape(image, [None, None, 3]),
            tf.constant([-0.5, -0.5, 8, 8]), 0.7, tf.constant([3.0, 5.0]), 0.1)
    expected, actual = paste(tf.constant(photo)), helpers.run_in_graph(paste, photo)
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, atol=1e-6, err_msg=name)
