"""The terms of every model and generation, on predictions written out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.config import HeatmapConfig
from metro_tf.geometry import camera
from tests.test_marginal_losses import reference_jsd
from tests.training import tiny_trainers
from training import callbacks, optimizers, trainers
from training.trainers import volume_targets

METERS_PER_PX = 2.2 / 64
I_PELVIS, I_ANKLE = [skeleton.METRO_24.index(name) for name in ('pelv', 'lank')]
# Without heatmaps, whose logits the predictions here lack: terms of weight 0 are not computed.
R20 = {'generation': 'R20', 'heatmap2d': 0.0, 'heatmap3d': 0.0}
R23 = {'generation': 'R23', 'heatmap2d': 0.0, 'heatmap3d': 0.0}


def true_outputs(inputs, labels):
    """What a network would say that knows the labels; 2D examples are seen in a plane."""
    coords2d, coords3d = labels['coords2d'], labels['coords3d_cam']
    plane = np.concatenate([30 * coords2d + 7, np.zeros_like(coords2d[..., :1])], axis=-1)
    is_3d = labels['joint_validity_mask_3d'][..., np.newaxis]
    rel = np.where(is_3d, coords3d - [100, 200, 3000], plane).astype(np.float32)
    depth = np.where(is_3d, coords3d, 3000)[..., 2:]
    depth = (depth - depth.mean(axis=1, keepdims=True) + 1100).astype(np.float32)
    return {
        'coords2d': coords2d.copy(), 'coords3d_rel': rel, 'coords3d_cam': coords3d.copy(),
        'coords25d': np.concatenate([coords2d, depth], axis=-1)}


def test_r20_compares_each_head_with_its_labels():
    trainer = tiny_trainers.make_trainer(
        **R20, image=2.0, relative=3.0, absolute=1.0, absolute_start_step=5001,
        image_2d_only=0.1, aligned_2d_only=0.1)
    inputs, labels = tiny_trainers.make_batch()
    outputs = true_outputs(inputs, labels)
    found = tiny_trainers.terms(trainer, inputs, labels, outputs)
    assert list(found) == [
        'image', 'relative', 'absolute', 'image_2d_only', 'aligned_2d_only', 'total']
    np.testing.assert_allclose(list(found.values()), 0, atol=1e-6)
    outputs['coords2d'][:2, :, 0] += 2
    outputs['coords2d'][2:, :, 1] += 4
    outputs['coords3d_rel'][:2, I_PELVIS, 0] += 240
    found = tiny_trainers.terms(trainer, inputs, labels, outputs)
    expected = {
        'image': 2 / 2 * METERS_PER_PX, 'relative': 23 / 24 * 0.24 / 3,  # all but the pelvis
        'image_2d_only': 4 / 2 * METERS_PER_PX, 'aligned_2d_only': 0, 'absolute': 0}
    expected['total'] = (
        2 * expected['image'] + 3 * expected['relative'] + 0.1 * expected['image_2d_only'])
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_r20_takes_the_absolute_loss_of_weak_perspective_without_limits():
    crop_model = tiny_trainers.make_crop_model(weak_perspective=True)
    trainer = tiny_trainers.make_trainer(
        crop_model=crop_model, **R20, absolute=1.0, absolute_start_step=3,
        full_perspective_start_step=0)
    inputs, labels = tiny_trainers.make_batch(n_2d=0)
    labels['coords3d_cam'][..., 2] = 12000  # of a flat person, weak perspective is exact
    labels['coords2d'] = camera.project(labels['coords3d_cam'], inputs['intrinsics']).numpy()
    outputs = true_outputs(inputs, labels)
    outputs['coords3d_rel'] = (1.1 * labels['coords3d_cam']).astype(np.float32)
    expected = np.mean(np.abs(0.1 * labels['coords3d_cam'])) / 1000
    for step, has_started in ((2, False), (3, True)):
        trainer.optimizer.iterations.assign(step)
        found = tiny_trainers.terms(trainer, inputs, labels, outputs)
        assert found['absolute'] == pytest.approx(has_started * expected, rel=1e-3)
    assert expected > 0.4


def test_r23_changes_from_weak_to_full_perspective():
    trainer = tiny_trainers.make_trainer(
        **R23, relative=1.0, projection=1.0, absolute=0.1, absolute_start_step=5001,
        full_perspective_start_step=500, projection_2d_only=0.2, aligned_2d_only=0.0)
    inputs, labels = tiny_trainers.make_batch(n_2d=0)
    outputs = true_outputs(inputs, labels)
    found = {}
    for step in (0, 499, 500, 5000, 5001):
        trainer.optimizer.iterations.assign(step)
        found[step] = tiny_trainers.terms(trainer, inputs, labels, outputs)
    # Weak perspective takes all joints for equally far; the full solution is that of the labels.
    weak, full = [
        [found[step]['absolute'] for step in steps] for steps in ((0, 499), (500, 5000, 5001))]
    assert min(weak) > 5e-3 > 5e-4 > max(full), (weak, full)
    for step, absolute in ((5000, 0.0), (5001, 0.1)):
        values = found[step]
        assert values['total'] == pytest.approx(
            values['relative'] + values['projection'] + absolute * values['absolute'], rel=1e-5)


def test_metro_compares_poses_without_their_place():
    inputs, labels = tiny_trainers.make_batch()
    outputs = true_outputs(inputs, labels)
    outputs['coords3d_rel'][:2, I_ANKLE, 0] += 240
    # Relative to the mean, one joint is off by 230 and the others by 10.
    for settings, expected in ((R20, 0.24 / 24 / 3), (R23, (0.23 + 23 * 0.01) / 24 / 3)):
        trainer = tiny_trainers.make_trainer('metro', **settings, aligned_2d_only=0.1)
        found = tiny_trainers.terms(trainer, inputs, labels, outputs)
        assert list(found) == ['relative', 'aligned_2d_only', 'total']
        assert found['total'] == pytest.approx(expected, rel=1e-4)
        scores = trainer.compute_metrics(*tf.nest.map_structure(
            tf.convert_to_tensor, (inputs, labels, outputs)))
        assert 'distance_error' not in scores
    assert trainer.metrics[0].name == 'total'
    outputs['coords3d_rel'][2:, :, :2] = labels['coords2d'][2:] * [1, -1]
    assert tiny_trainers.terms(trainer, inputs, labels, outputs)['aligned_2d_only'] > 0.1


def test_pose25d_compares_pixels_and_depths():
    inputs, labels = tiny_trainers.make_batch()
    trainer = tiny_trainers.make_trainer('pose25d', **R23, pose25d=1.0, image_2d_only=0.2)
    outputs = true_outputs(inputs, labels)
    found = tiny_trainers.terms(trainer, inputs, labels, outputs)
    assert found['total'] == pytest.approx(0, abs=1e-6)
    outputs['coords25d'][:2] += [3, 0, 300]
    outputs['coords25d'][2:, :, 1] -= 4
    found = tiny_trainers.terms(trainer, inputs, labels, outputs)
    assert list(found) == ['pose25d', 'image_2d_only', 'total']
    assert found['pose25d'] == pytest.approx(0.3 / 3 + 2 / 3 * 1.5 * METERS_PER_PX, rel=1e-4)
    assert found['image_2d_only'] == pytest.approx(2 * METERS_PER_PX, rel=1e-4)
    assert found['total'] == pytest.approx(found['pose25d'] + 0.2 * found['image_2d_only'])
    in_r20 = tiny_trainers.make_trainer('pose25d', **R20)
    outputs['coords25d'][:2, :, 2] -= (
        300 + outputs['coords25d'][:2, I_PELVIS, np.newaxis, 2] - 1400)
    found = tiny_trainers.terms(in_r20, inputs, labels, outputs)
    assert found['pose25d'] == pytest.approx(2 / 3 * 1.5 * METERS_PER_PX, rel=1e-4)


def test_a_joint_behind_the_camera_has_no_pixel():
    inputs, labels = tiny_trainers.make_batch(n_2d=0)
    outputs = true_outputs(inputs, labels)
    labels['coords3d_cam'][:, I_ANKLE, 2] = -500
    outputs['coords3d_rel'][:, I_ANKLE, 2] -= 1e4  # differs, so relative terms see the joint
    for kind, name in (('metrabs', 'image'), ('pose25d', 'pose25d')):
        trainer = tiny_trainers.make_trainer(kind, **R20)
        outputs['coords25d'][..., 2] = 1100 + (
            labels['coords3d_cam'][..., 2] - labels['coords3d_cam'][:, I_PELVIS, 2:])
        found = tiny_trainers.terms(trainer, inputs, labels, outputs)
        assert found[name] == pytest.approx(0, abs=1e-5)
    trainer = tiny_trainers.make_trainer('metrabs', **R20)
    assert tiny_trainers.terms(trainer, inputs, labels, outputs)['relative'] > 0.01


def test_reductions_weigh_examples_by_joints_or_alike():
    inputs, labels = tiny_trainers.make_batch(n_2d=0)
    outputs = true_outputs(inputs, labels)
    labels['joint_validity_mask_3d'][1] = False
    labels['joint_validity_mask_3d'][1, I_ANKLE] = True
    outputs['coords2d'] += np.float32([[[2, 0]], [[8, 0]]])
    for reduction, error_px in (('joints', (24 * 2 + 8) / 25), ('examples', (2 + 8) / 2)):
        trainer = tiny_trainers.make_trainer(**R20, reduction=reduction)
        found = tiny_trainers.terms(trainer, inputs, labels, outputs)['image']
        assert found == pytest.approx(error_px / 2 * METERS_PER_PX, rel=1e-4)


def test_labels_that_are_not_finite_are_missing():
    _, labels = tiny_trainers.make_batch()
    labels['coords3d_cam'][0, 3, 1] = np.nan
    labels['coords2d'][1, 5, 0] = np.inf
    cleaned = trainers.finite_labels(labels)
    assert not cleaned['joint_validity_mask_3d'].numpy()[0, 3]
    assert not cleaned['joint_validity_mask_2d'].numpy()[1, 5]
    assert int(np.sum(cleaned['joint_validity_mask_3d'])) == 2 * 24 - 1
    np.testing.assert_array_equal(cleaned['coords3d_cam'][0, 3, 1], 0)
    np.testing.assert_array_equal(cleaned['coords2d'][1, 4], labels['coords2d'][1, 4])


def masked_batch():
    """Not a single label."""
    inputs, labels = tiny_trainers.make_batch()
    for name in ('joint_validity_mask_3d', 'joint_validity_mask_2d'):
        labels[name] = np.zeros_like(labels[name])
    return inputs, labels


def awkward_batch():
    """Labels that are NaN, behind the camera and at its centre; a pelvis that is missing."""
    inputs, labels = tiny_trainers.make_batch()
    labels['coords3d_cam'][0, 1:4] = np.nan
    labels['coords3d_cam'][0, I_PELVIS] = np.nan
    labels['coords3d_cam'][1, 4:9, 2] *= -1
    labels['coords3d_cam'][1, 9] = 0
    labels['coords2d'][1:3, 10:14] = np.nan
    labels['coords2d'][1, 4] = 1e6
    return inputs, labels


@pytest.mark.parametrize('kind, generation', [
    ('metrabs', 'R23'), ('metrabs', 'R20'), ('metro', 'R20'), ('pose25d', 'R20')])
def test_no_labels_give_zero_loss_and_awkward_ones_finite_weights(kind, generation):
    start_steps = {'absolute_start_step': 0, 'full_perspective_start_step': 2}
    trainer = tiny_trainers.make_trainer(
        kind, generation=generation, **(start_steps if kind == 'metrabs' else {}))
    before = trainer.crop_model.get_weights()
    datasets = [
        tf.data.Dataset.from_tensors(batch()).repeat() for batch in (masked_batch, awkward_batch)]
    logs = trainer.fit(datasets[0], steps_per_epoch=1, verbose=0).history
    assert logs['total'] == [0.0]
    for old, new in zip(before, trainer.crop_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    logs = trainer.fit(datasets[1], steps_per_epoch=3, verbose=0).history
    assert logs['total'][0] > 0 and all(np.isfinite(value) for [value] in logs.values())
    after = trainer.crop_model.get_weights()
    assert all(np.isfinite(weight).all() for weight in after)
    assert any(np.any(old != new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize('kind', ['metrabs', 'metro', 'pose25d'])
def test_predictions_that_are_not_finite_stop_a_batch_of_2d_labels(kind):
    trainer = tiny_trainers.make_trainer(kind, heatmap2d=0.0, heatmap3d=0.0)
    trainer.crop_model.set_weights(
        [np.full_like(weight, np.nan) for weight in trainer.crop_model.get_weights()])
    dataset = tf.data.Dataset.from_tensors(tiny_trainers.make_batch(n_3d=0, n_2d=2))
    with pytest.raises(FloatingPointError, match='became nan'):
        trainer.fit(dataset, verbose=0, callbacks=[callbacks.StopOnNonFinite()])


@pytest.mark.parametrize('kind, settings', [
    ('metro', {'full_perspective_start_step': 7}), ('pose25d', {'absolute_start_step': 7}),
    ('metrabs', {'heatmap_sigma_cells': 5.0, 'heatmap2d': 0.0, 'heatmap3d': 0.0})])
def test_settings_that_nothing_reads_are_refused(kind, settings):
    name = next(iter(settings))
    with pytest.raises(ValueError, match=f'`{name}` must be left alone .* {name}={settings[name]}'):
        tiny_trainers.make_trainer(kind, **settings)


def test_steps_are_those_of_the_optimiser_under_accumulation():
    trainer = tiny_trainers.make_trainer(
        'metro', optimizer=optimizers.AccumulatingAdamW(1e-3, accumulation_steps=2))
    dataset = tf.data.Dataset.from_tensors(tiny_trainers.make_batch()).repeat()
    trainer.fit(dataset, steps_per_epoch=3, verbose=0)
    assert int(trainer.step()) == 1


def test_regularisation_of_the_model_counts():
    crop_model = tiny_trainers.make_crop_model('metro', regularizer=keras.regularizers.L2(0.5))
    trainer = tiny_trainers.make_trainer(crop_model=crop_model)
    inputs, labels = masked_batch()
    found = tiny_trainers.terms(trainer, inputs, labels, trainer(inputs))
    kernel = np.array(crop_model.backbone.layers[-1].kernel)
    assert found['total'] == pytest.approx(0.5 * np.sum(np.square(kernel)), rel=1e-4)
    assert found['relative'] == 0


def reference_divergence(labels, logits2d, logits3d):
    """Mean divergences of 2D heatmaps and of marginals of volumes, one after the other."""
    def softmax(logits):
        masses = np.exp(logits.astype(np.float64))
        return masses / masses.sum()

    def divergence(heatmap, column, row):
        return reference_jsd(heatmap, gaussian_in_cells(heatmap.shape, column, row))

    in_crop = np.all(np.abs(labels['coords2d'] + 0.5 - 32) < 32, axis=-1)
    planes2d = [
        divergence(softmax(logits2d[i, :, :, j]), *((labels['coords2d'][i, j] - 4) / 8))
        for i, j in zip(*np.nonzero(in_crop))]
    planes3d = []
    for i, j in zip(*np.nonzero(labels['joint_validity_mask_3d'])):
        pose = labels['coords3d_cam'][i]
        place = np.append(np.mean(labels['coords2d'][i], axis=0) * 2200 / 64, 1100)
        placed = pose[j] - pose.mean(axis=0) + place
        x, y, z = (placed * [64, 64, 7] / 2200 - [4, 4, 0]) / [8, 8, 1]
        volume = softmax(logits3d[i, ..., j])
        planes3d.append(
            divergence(volume.sum(2), x, y) + divergence(volume.sum(1), z, y)
            + divergence(volume.sum(0).T, x, z))
    return np.mean(planes2d) + np.mean(planes3d)


def gaussian_in_cells(shape, column, row):
    rows, columns = np.mgrid[:shape[0], :shape[1]]
    target = np.exp(-0.5 * ((columns - column) ** 2 + (rows - row) ** 2))
    return target / target.sum()


@pytest.mark.parametrize('generation', ['R23', 'R20'])
def test_metrabs_takes_the_regulariser_of_margipose(generation):
    trainer = tiny_trainers.make_trainer(
        generation=generation, heatmap2d=0.0, heatmap3d=0.0, divergence=0.5)
    inputs, labels = tiny_trainers.make_batch()
    labels['coords3d_cam'] *= [0.5, 0.5, 1]  # within the box, so that it stays in its place
    labels['coords2d'][:2] = 32 + 0.5 * (labels['coords2d'][:2] - 32)
    outputs = trainer(inputs)
    found = tiny_trainers.terms(trainer, inputs, labels, outputs)
    expected = reference_divergence(
        labels, outputs['logits2d'].numpy(), outputs['logits3d'].numpy())
    assert found['divergence'] == pytest.approx(expected, rel=1e-4) and expected > 0.5
    without = tiny_trainers.make_trainer(
        crop_model=trainer.crop_model, generation=generation, heatmap2d=0.0, heatmap3d=0.0)
    rest = tiny_trainers.terms(without, inputs, labels, outputs)
    assert 'divergence' not in rest
    assert found['total'] == pytest.approx(rest['total'] + 0.5 * expected, rel=1e-4)


def test_25d_targets_lie_at_pixels_and_in_the_middle_of_depth():
    coords3d = np.float32([[[0, 0, 2900], [0, 0, 3100], [0, 0, 9000]]])
    coords2d = np.float32([[[16, 32], [64, 0], [5, 5]]])
    mask = np.array([[True, True, False]])
    heatmap = HeatmapConfig(crop_side_px=64, stride_px=8)
    placed = volume_targets.place_in_25d_volume(coords3d, coords2d, mask, heatmap)
    np.testing.assert_allclose(placed, [[[550, 1100, 1000], [2200, 0, 1200], [0, 0, 0]]], atol=0.01)
    placed = volume_targets.place_in_25d_volume(coords3d, coords2d, mask, heatmap, i_root=0)
    np.testing.assert_allclose(placed[0, :, 2], [1100, 1300, 0], atol=0.01)


def test_losses_that_do_not_fit_the_model_are_refused():
    with pytest.raises(ValueError, match='terms alone that Metro does not have in R23.*image=3'):
        tiny_trainers.make_trainer('metro', image=3.0)
    with pytest.raises(ValueError, match='Metrabs does not have in R20.*projection=2.0'):
        tiny_trainers.make_trainer('metrabs', generation='R20', projection=2.0)
    with pytest.raises(ValueError, match='a weight to a term of Metro.*Received: all 0'):
        tiny_trainers.make_trainer('metro', heatmap3d=0.0, relative=0.0, aligned_2d_only=0.0)
    with pytest.raises(ValueError, match='`crop_model` must be one of .*Received: Sequential'):
        trainers.build(keras.Sequential(), None)
