import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.config import HeatmapConfig
from tests.training.tiny_trainers import make_batch, make_crop_model, make_trainer
from training import callbacks, trainers

HEATMAP = HeatmapConfig(crop_side_px=64, stride_px=8)


def fit(model, n_epochs, first_epoch=0, extra=()):
    dataset = tf.data.Dataset.from_tensors(make_batch()).repeat()
    return model.fit(
        dataset, epochs=n_epochs, initial_epoch=first_epoch, steps_per_epoch=4, verbose=0,
        callbacks=list(extra)).history


def test_fit_lowers_every_supervised_term():
    history = fit(make_trainer(), 8)
    for name in ('heatmap2d', 'heatmap3d', 'relative', 'total'):
        assert history[name][-1] < history[name][0], name
    assert all(np.isfinite(values).all() for values in history.values())


def test_absolute_loss_counts_only_after_its_start_step():
    inputs, labels = make_batch()
    totals = {}
    for weight in (0.0, 1000.0):
        model = make_trainer(absolute=weight, absolute_start_step=1)
        y_pred = model(inputs)
        totals[weight] = []
        for step in (0, 1):
            model.optimizer.iterations.assign(step)
            tf.random.set_seed(0)
            totals[weight].append(float(model.compute_loss(inputs, labels, y_pred)))
    assert totals[0.0][0] == pytest.approx(totals[1000.0][0], rel=1e-5)
    assert totals[1000.0][1] > 1.5 * totals[0.0][1]


def test_examples_without_3d_labels_do_not_move_3d_scores():
    model = make_trainer()
    scores = []
    for n_2d in (0, 3):
        inputs, labels = make_batch(2, n_2d)
        first = slice(0, 2)
        inputs['image'][first] = 0.5
        labels['coords3d_cam'][first] = make_batch(2, 0)[1]['coords3d_cam']
        for metric in model.metrics:
            metric.reset_state()
        y_pred = model(inputs)
        scores.append(float(model.compute_metrics(inputs, labels, y_pred)['mpjpe_mm']))
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_a_batch_without_any_label_has_finite_gradients():
    model = make_trainer()
    inputs, labels = make_batch()
    labels['joint_validity_mask_3d'][:] = False
    labels['joint_validity_mask_2d'][:] = False
    with tf.GradientTape() as tape:
        loss = model.compute_loss(inputs, labels, model(inputs, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.isfinite(g.numpy()).all() for g in gradients)
    assert float(loss) == 0


def test_a_skeleton_without_torso_and_pelvis_can_be_trained():
    joints = skeleton.from_paths('nose leye reye', 'nose-leye nose-reye')
    crop_model = make_crop_model(joints=joints)
    trainer = make_trainer(crop_model=crop_model)
    dataset = tf.data.Dataset.from_tensors(make_batch(n_joints=3))
    history = trainer.fit(dataset, verbose=0).history
    assert 'pck_2d_only' not in history and 'mpjpe_mm' in history
    assert np.isfinite(history['total']).all()
    assert 'pck_2d_only' in fit(make_trainer(), 1)
    with pytest.raises(ValueError, match="`generation` must be 'R23' where .* no `pelv`.*'nose'"):
        make_trainer(crop_model=crop_model, generation='R20')


def test_resuming_restores_weights_optimiser_and_epoch(tmp_path):
    first = make_trainer()
    first(make_batch()[0])
    first.optimizer.build(first.trainable_variables)
    fit(first, 2, extra=[callbacks.TrainingState(first, tmp_path)])
    second = make_trainer()
    second(make_batch()[0])
    second.optimizer.build(second.trainable_variables)
    state = callbacks.TrainingState(second, tmp_path)
    assert state.restore() == 2
    assert int(second.optimizer.iterations) == 8
    for a, b in zip(first.get_weights(), second.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert callbacks.TrainingState(second, tmp_path / 'empty').restore() == 0


def test_saved_crop_model_predicts_the_same(tmp_path):
    model = make_trainer()
    path = tmp_path / 'crop_model.keras'
    fit(model, 1, extra=[callbacks.SaveModel(model.crop_model, model.crop_model, path)])
    revived = keras.models.load_model(str(path), compile=False)
    inputs, _ = make_batch()
    np.testing.assert_allclose(revived(inputs), model.crop_model(inputs), atol=0.05)
    assert [p.name for p in tmp_path.iterdir()] == ['crop_model.keras']


def test_non_finite_values_stop_training():
    with pytest.raises(FloatingPointError, match='relative became nan at batch 3'):
        callbacks.StopOnNonFinite().on_train_batch_end(3, {'total': 1.0, 'relative': float('nan')})


def test_place_in_volume_keeps_image_alignment_where_it_fits():
    mask = np.ones([1, 2], bool)
    coords3d = np.float32([[[-100, 0, 2900], [100, 200, 3100]]])
    coords2d = np.float32([[[20, 30], [28, 38]]])  # mean (24, 34) px: 825 and 1168.75 mm
    placed = trainers.place_in_volume(coords3d, coords2d, mask, HEATMAP)
    np.testing.assert_allclose(
        placed, [[[725, 1068.75, 1000], [925, 1268.75, 1200]]], atol=0.01)
    at_border = trainers.place_in_volume(coords3d, coords2d - 60, mask, HEATMAP)
    np.testing.assert_allclose(at_border, [[[0, 0, 1000], [200, 200, 1200]]], atol=0.01)
