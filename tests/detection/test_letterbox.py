import numpy as np
import pytest
import tensorflow as tf

from metro_tf.detection import letterbox
from tests import helpers


def fit(images, side_px=64):
    result, transform = letterbox.letterbox(tf.constant(images), side_px)
    return result.numpy(), transform.scale.numpy(), transform.offset.numpy()


def test_shrinking_averages_areas_and_pads_with_grey():
    image = np.zeros((1, 64, 128, 3), np.uint8)
    image[:, ::2] = 255  # every second row: the average is one half
    result, scale, offset = fit(image)
    assert result.shape == (1, 32, 64, 3)
    np.testing.assert_allclose(result, 0.5, atol=1e-6)
    np.testing.assert_allclose(scale, [0.5, 0.5])
    np.testing.assert_allclose(offset, [0, 0])


def test_bars_lie_on_both_sides():
    image = np.full((2, 40, 64, 3), 255, np.uint8)
    result, scale, offset = fit(image)
    assert result.shape == (2, 64, 64, 3)
    np.testing.assert_allclose(scale, [1, 1])
    np.testing.assert_allclose(offset, [0, 12])
    np.testing.assert_allclose(result[:, :12], 0.5)
    np.testing.assert_allclose(result[:, 12:52], 1.0)
    np.testing.assert_allclose(result[:, 52:], 0.5)


@pytest.mark.parametrize('shape', [(37, 91), (480, 200), (20, 31)])
def test_boxes_come_back_to_the_same_pixels(shape):
    # A bright rectangle, found in the letterboxed image by its mass, maps back onto itself.
    height, width = shape
    box = np.array([width // 4, height // 4, width // 2, height // 2])
    image = np.zeros((1, height, width, 3), np.uint8)
    image[:, box[1]:box[1] + box[3], box[0]:box[0] + box[2]] = 255
    result, transform = letterbox.letterbox(tf.constant(image), 96)
    is_content = np.abs(result[0, ..., 0] - 0.5) > 1e-6
    mass = np.where(is_content, result[0, ..., 0], 0)
    columns, rows = mass.sum(0), mass.sum(1)
    center = [np.average(np.arange(len(m)), weights=m) for m in (columns, rows)]
    size = [m.sum() / m.max() for m in (columns, rows)]
    found = transform.boxes_to_image(
        tf.constant([[center[0] - size[0] / 2, center[1] - size[1] / 2, *size]], tf.float32))
    expected = [box[0] - 0.5, box[1] - 0.5, box[2], box[3]]
    np.testing.assert_allclose(found[0], expected, atol=1.0)
    np.testing.assert_allclose(  # the centre is exact where only the border pixels blur
        found[0, :2] + found[0, 2:] / 2, box[:2] - 0.5 + box[2:] / 2, atol=0.3)


def test_boxes_to_image_by_hand():
    # Half as large, moved by 10 px: letterboxed pixel 10 covers image pixels 0 and 1.
    transform = letterbox.LetterboxTransform(tf.constant([0.5, 0.25]), tf.constant([10.0, 0.0]))
    box = transform.boxes_to_image(tf.constant([9.5, -0.5, 1.0, 1.0]))
    np.testing.assert_allclose(box, [-0.5, -0.5, 2, 4])


def test_enlarging_interpolates():
    image = np.array([[0, 255]], np.uint8)[np.newaxis, ..., np.newaxis].repeat(3, -1)
    result, scale, _ = fit(image)
    assert result.shape == (1, 32, 64, 3)
    np.testing.assert_allclose(scale, [32, 32])
    assert (np.diff(result[0, 16, :, 0]) >= 0).all()
    assert 0.4 < result[0, 16, 32, 0] < 0.6


@pytest.mark.parametrize('shape, expected', [
    ((1, 1), (64, 64)), ((1, 5000), (32, 64)), ((5000, 1), (64, 32)), ((64, 64), (64, 64))])
def test_odd_sizes(shape, expected):
    result, scale, _ = fit(np.full((1, *shape, 3), 128, np.uint8))
    assert result.shape == (1, *expected, 3)
    assert np.isfinite(result).all() and (scale > 0).all()


def test_graph_with_unknown_sizes_agrees():
    image = np.random.default_rng(0).integers(0, 256, (1, 50, 33, 3), np.uint8)
    expected = fit(image)
    spec = tf.TensorSpec([None, None, None, None], tf.uint8)

    def outputs(images):
        result, transform = letterbox.letterbox(images, 64)
        return result, transform.scale, transform.offset
    actual = tf.function(outputs, input_signature=[spec])(image)
    for one, other in zip(actual, expected):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert helpers.run_in_graph(lambda x: letterbox.letterbox(x, 64)[0], image).shape[-1] == 3


def test_side_must_fit():
    with pytest.raises(ValueError, match='`side_px` must be a multiple of 32.*side_px=100'):
        letterbox.letterbox(np.zeros((1, 2, 2, 3), np.uint8), 100)
    with pytest.raises(ValueError, match='`side_px` must be a positive'):
        letterbox.letterbox(np.zeros((1, 2, 2, 3), np.uint8), 0)
