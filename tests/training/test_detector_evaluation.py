import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import fakes
from training.detection import evaluation, targets, trainer
from training.evaluate_detector import THRESHOLDS, summarize

SCORES = evaluation.DetectionScores(
    found=np.array([0.9, 0.5, 0.3, 0.0], np.float32),
    false=np.array([0.8, 0.35, 0.31, 0.1], np.float32), n_empty_photos=10)


def test_rates_by_hand():
    assert SCORES.recall(0.3) == pytest.approx(0.75)
    assert SCORES.recall(0.6) == pytest.approx(0.25)
    assert SCORES.false_per_photo(0.3) == pytest.approx(0.3)


@pytest.mark.parametrize('allowed', [0.0, 0.1, 0.2, 0.3])
def test_threshold_is_the_lowest_that_keeps_the_limit(allowed):
    threshold = SCORES.threshold_at(allowed)
    assert SCORES.false_per_photo(threshold) == pytest.approx(allowed)
    assert SCORES.false_per_photo(threshold - 1e-3) > allowed


def test_threshold_without_false_boxes():
    assert SCORES.threshold_at(0.4) == evaluation.LOWEST_THRESHOLD


def test_logit_shift_moves_the_threshold():
    shift = evaluation.logit_shift(0.7, wanted=0.3)
    logit = np.log(0.7 / 0.3) + shift
    assert 1 / (1 + np.exp(-logit)) == pytest.approx(0.3)


def test_best_match():
    detections = np.array([[0, 0, 10, 10, 0.4], [0, 0, 10, 8, 0.6], [50, 0, 9, 9, 0.9]], np.float32)
    box = np.array([0, 0, 10, 10], np.float32)
    assert evaluation.best_match(detections, box, 0.5) == pytest.approx(0.6)
    assert evaluation.best_match(detections, box, 0.9) == pytest.approx(0.4)
    assert evaluation.best_match(detections[2:], box, 0.5) == 0
    assert evaluation.best_match(detections[:0], box, 0.5) == 0


def test_evaluate(tmp_path):
    path = str(tmp_path / 'grey.png')
    tf.io.write_file(path, tf.io.encode_png(tf.fill([20, 20, 1], tf.constant(9, tf.uint8))))
    detector = fakes.FakeDetector([[[0.0, 0, 10, 10, 0.7], [30, 0, 10, 10, 0.2]]])
    people = [(path, np.array(box, np.float32)) for box in ([0, 0, 10, 12], [70, 0, 10, 10])]
    scores = evaluation.evaluate(detector, people, [path, path, path])
    np.testing.assert_allclose(scores.found, [0.7, 0])
    np.testing.assert_allclose(sorted(scores.false), [0.2] * 3 + [0.7] * 3)
    assert scores.false_per_photo(0.1) == pytest.approx(2)
    result = summarize(scores, scores)
    assert result['recall'][THRESHOLDS.index(0.5)] == pytest.approx(0.5)
    assert result['n_people'] == 2 and result['n_empty_photos'] == 3
    assert result['recall_in_scenes'] == result['recall']
    nobody = evaluation.evaluate(detector, [], [path])
    assert np.isnan(nobody.recall())
    assert 'recall_in_scenes' not in summarize(scores, nobody)


class GridNet(keras.Model):
    """A network whose outputs are its weights: one grid, the same for all images."""

    def __init__(self):
        super().__init__()
        self.grid = self.add_weight(
            shape=(1, 8, 8, 5), initializer=keras.initializers.Zeros(), name='grid')

    def call(self, images, training=False):
        grid = tf.convert_to_tensor(self.grid) * tf.ones_like(images[:, :1, :1, :1])
        return {'logits': grid[..., :1], 'offset': grid[..., 1:3], 'log_size': grid[..., 3:]}


def test_trainer_fits_a_box():
    box = [11.5, 19.5, 16.0, 32.0]
    canvas = {
        'boxes': tf.constant([box]), 'is_person': tf.constant([True]),
        'is_ignored': tf.constant([False]), 'negative_weight': tf.ones([8, 8])}
    dataset = tf.data.Dataset.from_tensors(
        (tf.zeros([64, 64, 3]), targets.render(canvas))).repeat(300).batch(1)
    model = trainer.DetectorTrainer(GridNet())
    model.compile(optimizer=keras.optimizers.Adam(0.05), jit_compile=False)
    history = model.fit(dataset, epochs=1, verbose=0).history
    assert set(history) >= {'total', 'heatmap', 'box'}
    outputs = {name: value.numpy()[0] for name, value in model(tf.zeros([1, 64, 64, 3])).items()}
    assert np.unravel_index(outputs['logits'].argmax(), (8, 8)) == (4, 2)
    assert outputs['logits'].max() > 1 and outputs['logits'][0, 7] < -2
    np.testing.assert_allclose(outputs['offset'][4, 2], 0, atol=0.1)
    np.testing.assert_allclose(outputs['log_size'][4, 2], np.log([2, 4]), atol=0.1)
