"""Losses of MargiPose in both kinds, on labels and predictions written out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import losses, skeleton
from tests.test_marginal_losses import reference_gaussian, reference_jsd
from tests.training import tiny_trainers
from tests.training.test_trainer_terms import awkward_batch, masked_batch
from training import callbacks, trainers
from training.config import LossConfig

I_PELVIS, I_ANKLE, I_WRIST = [skeleton.METRO_24.index(name) for name in ('pelv', 'lank', 'lwri')]
N_CELLS = tiny_trainers.SIDE_PX // 8
HALF_SIDE = tiny_trainers.SIDE_PX / 2
# Focal length 90 px, side 64 px.
K = 64 / 90
DEPTH_FACTOR = (1 + np.sqrt(1 + K ** 2)) / K
KINDS = ('margipose', 'absolute_margipose')


def true_coords(labels):
    """The truth in the cuboid by its definition, of those with 3D labels and of those without."""
    coords3d = labels['coords3d_cam'].astype(np.float64)
    depth = np.where(labels['joint_validity_mask_3d'], coords3d[..., 2], 1)
    z = DEPTH_FACTOR * (1 - coords3d[:, I_PELVIS, np.newaxis, 2] / depth)
    return np.concatenate([labels['coords2d'] / HALF_SIDE - 1, z[..., np.newaxis]], axis=-1)


def inside(labels):
    """Joints whose image is strictly within the crop."""
    return np.all(np.abs(labels['coords2d'] / HALF_SIDE - 1) < 1, axis=-1)


def make_labels(trainer, inputs, labels):
    return [x.numpy() for x in trainer.cuboid_labels(
        inputs['intrinsics'], trainers.finite_labels(labels))]


def test_labels_in_the_cuboid():
    inputs, labels = tiny_trainers.make_batch()
    labels['coords3d_cam'][0, I_ANKLE, 2] = -500  # behind the camera
    labels['coords3d_cam'][1, I_WRIST, 0] += 3000  # far outside the crop, but with depth
    labels['coords2d'][1, I_WRIST, 0] += 90 * 3000 / labels['coords3d_cam'][1, I_WRIST, 2]
    labels['coords2d'][2, I_ANKLE] = [64, 10]  # on the border
    labels['coords2d'][3, I_ANKLE] = [63.9, 10]
    trainer = tiny_trainers.make_trainer('margipose', divergence=1.0)
    coords, mask, depth_mask = make_labels(trainer, inputs, labels)
    expected_mask = np.ones([4, 24], bool)
    expected_mask[2:] = inside(labels)[2:]
    expected_mask[0, I_ANKLE] = False
    np.testing.assert_array_equal(mask, expected_mask)
    assert not mask[2, I_ANKLE] and mask[3, I_ANKLE] and coords[1, I_WRIST, 0] > 1
    np.testing.assert_array_equal(depth_mask, mask & [[True], [True], [False], [False]])
    expected = true_coords(labels)
    np.testing.assert_allclose(coords[depth_mask], expected[depth_mask], atol=1e-4)
    np.testing.assert_allclose(coords[mask][:, :2], expected[mask][:, :2], atol=1e-4)


def test_without_a_labelled_pelvis_the_2d_labels_count():
    inputs, labels = tiny_trainers.make_batch()
    labels['joint_validity_mask_3d'][0, I_PELVIS] = False
    labels['coords3d_cam'][1, I_PELVIS] = np.nan
    trainer = tiny_trainers.make_trainer('margipose')
    coords, mask, depth_mask = make_labels(trainer, inputs, labels)
    assert not np.any(depth_mask) and np.all(np.isfinite(coords))
    np.testing.assert_array_equal(mask, inside(labels))
    np.testing.assert_array_equal(coords[..., 2], 0)


@pytest.mark.parametrize('reduction', losses.REDUCTIONS)
def test_the_terms_add_up_to_the_published_loss(reduction):
    inputs, labels = tiny_trainers.make_batch()
    labels['joint_validity_mask_3d'][0, :5] = [I_PELVIS == i for i in range(5)]
    trainer = tiny_trainers.make_trainer(
        'margipose', divergence=1.0, heatmap_sigma_cells=1.5, reduction=reduction)
    outputs = trainer(inputs)
    assert len(outputs['stages']) == 2
    found = tiny_trainers.terms(trainer, inputs, labels, outputs)
    assert list(found) == ['marginal', 'divergence', 'total']
    is_3d = np.any(labels['joint_validity_mask_3d'], axis=1)
    mask = np.where(is_3d[:, np.newaxis], labels['joint_validity_mask_3d'], inside(labels))
    expected = losses.marginal_loss(
        make_labels(trainer, inputs, labels)[0], outputs['stages'], mask, is_3d, sigma_cells=1.5,
        reduction=reduction)
    assert found['total'] == float(expected)  # to the last bit
    minimal = tiny_trainers.make_trainer(crop_model=trainer.crop_model, reduction=reduction)
    found = tiny_trainers.terms(minimal, inputs, labels, outputs)
    assert list(found) == ['marginal', 'total'] and 0 < found['total'] < float(expected)


def test_a_true_pose_has_no_distance():
    inputs, labels = tiny_trainers.make_batch()
    trainer = tiny_trainers.make_trainer('margipose')
    coords = true_coords(labels).astype(np.float32)
    coords[2:, :, 2] = 7  # of which nothing is known
    outputs = {'stages': [{'coords': coords.copy()} for _ in range(2)], 'coords': coords}
    found = tiny_trainers.terms(trainer, inputs, labels, outputs)
    assert found['marginal'] == pytest.approx(0, abs=1e-5)
    outputs['stages'][0]['coords'][:2] += np.float32([0, 0.3, 0.4])
    share = 48 / (48 + np.sum(inside(labels)[2:]))
    found = tiny_trainers.terms(trainer, inputs, labels, outputs)
    assert found['marginal'] == pytest.approx(0.5 * share, rel=1e-4)


def true_stage(labels):
    """What the planes of an `AbsoluteMargiPose` say that knows the labels."""
    xy = labels['coords2d'] / HALF_SIDE - 1
    x, y, z = np.moveaxis((labels['coords3d_cam'] - [100, 200, 3000]) / 1100, -1, 0)
    planes = np.stack([xy, np.stack([z, y], -1), np.stack([x, z], -1)], axis=1)
    return {
        'plane_coords': planes.astype(np.float32),
        'coords': np.concatenate([xy, z[..., np.newaxis]], axis=-1).astype(np.float32)}


def absolute_outputs(trainer, stages):
    coords2d, coords3d_rel = trainer.crop_model.decode_stage(stages[-1])
    return {'stages': stages, 'coords2d': coords2d, 'coords3d_rel': coords3d_rel}


def test_absolute_terms_are_those_of_metrabs_of_every_stage():
    inputs, labels = tiny_trainers.make_batch(n_2d=0)
    kwargs = {'absolute_start_step': 0, 'full_perspective_start_step': 0, 'absolute': 1.0}
    trainer = tiny_trainers.make_trainer('absolute_margipose', **kwargs)
    true, wrong = true_stage(labels), true_stage(labels)
    wrong['plane_coords'][:, 2, :4, 0] += 0.1
    found = {
        name: tiny_trainers.terms(trainer, inputs, labels, absolute_outputs(trainer, stages))
        for name, stages in (('true', [true, true]), ('first', [wrong, true]),
                             ('last', [true, wrong]), ('both', [wrong, wrong]))}
    names = ['relative', 'projection', 'absolute', 'projection_2d_only']
    assert list(found['true']) == [*names, 'total']
    np.testing.assert_allclose(list(found['true'].values()), 0, atol=2e-3)
    like_metrabs = tiny_trainers.make_trainer(
        'metrabs', heatmap2d=0.0, heatmap3d=0.0, aligned_2d_only=0.0, **kwargs)
    outputs = absolute_outputs(trainer, [wrong])
    of_one = tiny_trainers.terms(like_metrabs, inputs, labels, outputs)
    for name in names:
        for case in ('first', 'last'):
            assert found[case][name] == pytest.approx(
                of_one[name] + found['true'][name] / 2, rel=1e-3, abs=1e-5), name
        assert found['both'][name] == pytest.approx(2 * of_one[name], rel=1e-4, abs=1e-6)
    assert of_one['relative'] > 1e-3


def reference_divergence(labels, heatmaps):
    """Mean divergence of a stage of an `AbsoluteMargiPose`, one heatmap after the other."""
    in_crop = np.all((labels['coords2d'] > -0.5) & (labels['coords2d'] < 63.5), axis=-1)
    values = []
    for i, j in np.ndindex(4, 24):
        is_3d, total = labels['joint_validity_mask_3d'][i, j], 0.0
        targets = {}
        if in_crop[i, j]:
            targets[0] = labels['coords2d'][i, j] / HALF_SIDE - 1
        if is_3d:
            pose = labels['coords3d_cam'][i]
            place = np.append(np.mean(labels['coords2d'][i], axis=0) * 2200 / 64, 1100)
            x, y, z = (pose[j] - pose.mean(axis=0) + place) / 1100 - 1
            targets.update({1: (z, y), 2: (x, z)})
        for i_plane, target in targets.items():
            total += reference_jsd(
                heatmaps[i, :, :, i_plane, j], reference_gaussian(*target, n=N_CELLS))
        if targets:
            values.append(total)
    return np.mean(values)


def test_absolute_divergence_agrees_with_its_definition():
    inputs, labels = tiny_trainers.make_batch()
    labels['coords3d_cam'] *= [0.5, 0.5, 1]  # within the box, so that it stays in its place
    labels['coords2d'][:2] = 32 + 0.5 * (labels['coords2d'][:2] - 32)
    trainer = tiny_trainers.make_trainer('absolute_margipose', divergence=1.0)
    outputs = trainer(inputs)
    found = tiny_trainers.terms(trainer, inputs, labels, outputs)
    expected = sum(
        reference_divergence(labels, stage['heatmaps'].numpy()) for stage in outputs['stages'])
    assert found['divergence'] == pytest.approx(expected, rel=1e-4)
    assert expected > 1


def fit(trainer, batch, n_steps=1):
    """Totals of the first and of the last of some steps on one batch."""
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    history = trainer.fit(
        dataset, epochs=n_steps, steps_per_epoch=1, verbose=0,
        callbacks=[callbacks.StopOnNonFinite()]).history
    return history['total'][0], history['total'][-1]


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_fit_learns_a_mixed_batch_and_survives_bad_labels(kind):
    trainer = tiny_trainers.make_trainer(
        crop_model=tiny_trainers.make_crop_model(kind, n_stages=1),
        optimizer=keras.optimizers.Adam(5e-3), divergence=1.0)
    variables = trainer.crop_model.trainable_variables
    before = [np.array(variable) for variable in variables]
    assert fit(trainer, masked_batch()) == (0.0, 0.0)
    for old, new in zip(before, variables, strict=True):
        np.testing.assert_array_equal(old, np.array(new))
    first, last = fit(trainer, tiny_trainers.make_batch(), 25)
    assert last < 0.8 * first
    assert fit(trainer, awkward_batch(), 3)[0] > 0
    assert all(np.isfinite(np.array(variable)).all() for variable in variables)
    trainer.crop_model.set_weights(
        [np.full_like(weight, np.nan) for weight in trainer.crop_model.get_weights()])
    inputs, labels = tiny_trainers.make_batch()
    labels['joint_validity_mask_3d'][:] = False
    with pytest.raises(FloatingPointError, match='became nan'):
        fit(trainer, (inputs, labels))


def test_refusals():
    with pytest.raises(ValueError, match="`generation` must be one of .'R23'. for the MargiPoseTr"):
        tiny_trainers.make_trainer('margipose', generation='R20')
    with pytest.raises(ValueError, match='must leave terms alone that MargiPose does not.*image=2'):
        tiny_trainers.make_trainer('margipose', image=2.0)
    with pytest.raises(ValueError, match='`heatmap_sigma_cells` must be left alone'):
        tiny_trainers.make_trainer('margipose', heatmap_sigma_cells=2.0)
    with pytest.raises(ValueError, match='`absolute_start_step` must be left alone'):
        tiny_trainers.make_trainer('margipose', absolute_start_step=3)
    with pytest.raises(ValueError, match='must leave terms alone that AbsoluteMargiPose.*marginal'):
        tiny_trainers.make_trainer('absolute_margipose', marginal=2.0)
    joints = skeleton.from_paths('lkne rkne lank rank', 'lkne-lank rank-rkne')
    crop_model = tiny_trainers.make_crop_model(
        'margipose', joints=joints, height_edges=[[0, 2]])
    with pytest.raises(ValueError, match='`crop_model` must predict the joint `pelv`'):
        trainers.build(crop_model, LossConfig())
