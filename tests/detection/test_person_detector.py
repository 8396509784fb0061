import inspect
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.detection import PersonDetector, center_net, protocol

SIDE_PX = 64


@keras.utils.register_keras_serializable(package='metro_tf_tests')
class BrightSpots(keras.layers.Layer):
    """A network that finds bright cells: 16 px wide and 24 px high, below right of the centre."""

    def call(self, images):
        brightness = tf.nn.avg_pool2d(images, 8, 8, 'VALID')[..., :1]
        both = tf.concat([brightness, brightness], axis=-1)
        size = tf.math.log(tf.constant([2.0, 3.0]))
        # Where a box is relative to its cell depends on the way the image is turned.
        offset = tf.constant([0.25, 0.5]) * tf.ones_like(both)
        return {'logits': 20 * brightness - 14, 'offset': offset,
                'log_size': size * tf.ones_like(both)}


def spot_detector():
    images = keras.Input((None, None, 3))
    return PersonDetector(keras.Model(images, BrightSpots()(images)), SIDE_PX)


def black(n_images=1, height=SIDE_PX, width=SIDE_PX):
    return np.zeros((n_images, height, width, 3), np.uint8)


def small_net():
    keras.utils.set_random_seed(0)
    return center_net.build_center_net(
        n_channels=4, trunk_channels=(3, 3, 4, 4, 4), n_blocks=(0, 0, 0, 0, 0))


def test_box_by_hand():
    images = black(2)
    images[1, 8:16, 16:24] = 255  # cell (1, 2): its centre is (19.5, 11.5)
    detections = spot_detector().predict_multi_image(images)
    assert detections.row_lengths().numpy().tolist() == [0, 1]
    np.testing.assert_allclose(
        detections[1][0, :4], [19.5 + 2 - 8, 11.5 + 4 - 12, 16, 24], atol=1e-4)
    np.testing.assert_allclose(detections[1][0, 4], 1 / (1 + np.exp(-6)), atol=1e-5)


def test_box_scales_with_the_image():
    images = black(1, 4 * SIDE_PX, 2 * SIDE_PX)  # a quarter of it: 64 high, 32 wide, no bars
    images[:, 32:64, 64:96] = 255
    detections = spot_detector().predict_multi_image(images)
    expected = [4 * (19.5 + 2 - 8 + 0.5) - 0.5, 4 * (11.5 + 4 - 12 + 0.5) - 0.5, 64, 96]
    np.testing.assert_allclose(detections[0][0, :4], expected, atol=1e-3)


def test_threshold():
    images = black()
    images[:, 8:16, 16:24] = 178  # score 0.49
    detector = spot_detector()
    assert detector.predict_multi_image(images, 0.3).row_lengths()[0] == 1
    assert detector.predict_multi_image(images, 0.6).row_lengths()[0] == 0


def test_flipped_copies_add_their_candidates():
    images = black()
    images[:, 8:16, 16:24] = 255
    detector = spot_detector()

    def corners(**kwargs):
        found = detector.predict_multi_image(images, nms_iou_threshold=0.999, **kwargs)[0]
        return {tuple(corner) for corner in np.round(found[:, :2].numpy(), 3).tolist()}
    plain = {(13.5, 3.5)}
    # The centre lies right of and below the cell's in each copy: mirrored, 2 px left of it.
    mirrored, upside_down = {(9.5, 3.5)}, {(13.5, -4.5)}
    assert corners() == plain
    assert corners(flip_aug=True) == plain | mirrored
    assert corners(bothflip_aug=True) == plain | mirrored | upside_down
    assert corners(flip_aug=True, bothflip_aug=True) == plain | mirrored | upside_down


def test_copies_are_merged_before_suppression():
    images = black()
    images[:, 8:16, 16:24] = 255
    found = spot_detector().predict_multi_image(images, nms_iou_threshold=0.5, flip_aug=True)
    assert found.row_lengths()[0] == 1  # the two overlap by 12 / 20


def test_batch_and_flips_keep_images_apart():
    images = np.random.default_rng(0).integers(0, 256, (3, 50, 70, 3), np.uint8)
    detector = PersonDetector(small_net(), SIDE_PX)
    together = detector.predict_multi_image(images, 0.01, 0.7, bothflip_aug=True)
    for image, expected in zip(images, together):
        alone = detector.predict_multi_image(image[np.newaxis], 0.01, 0.7, bothflip_aug=True)[0]
        assert len(alone) > 0
        np.testing.assert_allclose(alone, expected, atol=1e-3)


@pytest.mark.parametrize('shape', [(0, 30, 40), (1, 1, 1), (2, 1, 3000), (1, 3000, 2)])
def test_odd_shapes(shape):
    detector = PersonDetector(small_net(), SIDE_PX)
    detections = detector.predict_multi_image(np.zeros((*shape, 3), np.uint8), 0.0)
    assert detections.shape.as_list() == [shape[0], None, 5]
    assert detections.dtype == tf.float32
    assert np.isfinite(detections.flat_values).all()


def test_at_most_150_per_image():
    net = small_net()
    center_net.shift_logits(net, 4.0)
    noise = np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), np.uint8)
    found = PersonDetector(net, 512).predict_multi_image(noise, 0.0, 1.0)
    assert found.row_lengths()[0] == protocol.MAX_DETECTIONS == 150


def test_signature_is_that_of_the_protocol():
    method = spot_detector().predict_multi_image.python_function
    expected = inspect.signature(protocol.Detector.predict_multi_image)
    assert list(inspect.signature(method).parameters.values()) == list(
        expected.parameters.values())[1:]


def test_sizes_do_not_retrace():
    detector = spot_detector()
    for height in (20, 30, 40):
        detector.predict_multi_image(black(1, height))
    assert detector.predict_multi_image.experimental_get_tracing_count() == 1


def test_load_and_errors(tmp_path):
    with pytest.raises(ValueError, match='`input_side_px` must be a multiple of 32.*=100'):
        PersonDetector(small_net(), 100)
    net = small_net()
    net.save(str(tmp_path / 'net.keras'))
    images = np.random.default_rng(0).integers(0, 256, (1, 50, 70, 3), np.uint8)
    expected = PersonDetector(net, SIDE_PX).predict_multi_image(images, 0.01)
    loaded = PersonDetector.load(str(tmp_path / 'net.keras'), SIDE_PX)
    np.testing.assert_allclose(
        loaded.predict_multi_image(images, 0.01).flat_values, expected.flat_values, atol=1e-4)


REVIVE = '''
import sys
sys.modules['metro_tf'] = None
import numpy as np
import tensorflow as tf
module = tf.saved_model.load(sys.argv[1])
images = np.load(sys.argv[2])
found = module.predict_multi_image(images, 0.01, 0.7, True, False)
np.savez(sys.argv[3], values=found.flat_values, lengths=found.row_lengths())
assert module.predict_multi_image(images).shape[0] == len(images)
'''


@pytest.mark.slow
def test_saved_model_works_without_the_package(tmp_path):
    detector = PersonDetector(small_net(), SIDE_PX)
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 70, 3), np.uint8)
    expected = detector.predict_multi_image(images, 0.01, 0.7, True, False)
    tf.saved_model.save(detector, str(tmp_path / 'saved'))
    np.save(tmp_path / 'images.npy', images)
    arguments = [str(tmp_path / name) for name in ('saved', 'images.npy', 'found.npz')]
    subprocess.run([sys.executable, '-c', REVIVE, *arguments], check=True, cwd=tmp_path)
    found = np.load(tmp_path / 'found.npz')
    np.testing.assert_array_equal(found['lengths'], expected.row_lengths())
    np.testing.assert_allclose(found['values'], expected.flat_values, atol=1e-3)
