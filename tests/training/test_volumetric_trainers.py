"""Training of coarse-to-fine prediction, on labels and predictions written out by hand."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import losses, models, skeleton
from metro_tf.config import HeatmapConfig
from metro_tf.layers import volumetric_heatmaps
from metro_tf.models import builder
from tests.training import tiny_trainers
from tests.training.test_trainer_terms import awkward_batch, masked_batch
from training import callbacks, trainers
from training.config import LossConfig, ModelConfig

SIDE_PX = tiny_trainers.SIDE_PX
STRIDE_PX = 4
N_CELLS = SIDE_PX // STRIDE_PX
DEPTH_CELL_MM = 31.0319650752
I_PELVIS, I_ANKLE, I_WRIST = [skeleton.METRO_24.index(name) for name in ('pelv', 'lank', 'lwri')]
CONFIG = ModelConfig(
    kind='coarse_to_fine', backbone='hourglass', depths=(1, 8), n_channels=8, n_levels=1,
    heatmap=HeatmapConfig(SIDE_PX, STRIDE_PX), bone_lengths_mm=tiny_trainers.BONE_LENGTHS_MM)
FLAT = dataclasses.replace(CONFIG, depths=(1, 1), bone_lengths_mm=None)


def make_crop_model(config=CONFIG, **changes):
    keras.utils.set_random_seed(1)
    return builder.build_crop_model(dataclasses.replace(config, **changes))


def make_trainer(config=CONFIG, optimizer=None, **loss_kwargs):
    return tiny_trainers.make_trainer(
        crop_model=make_crop_model(config), optimizer=optimizer, **loss_kwargs)


@pytest.fixture(scope='module')
def decoupled_config(tmp_path_factory):
    """Settings of a `Decoupled` whose first network is in a file."""
    path = tmp_path_factory.mktemp('heatmaps') / 'crop_model.keras'
    make_crop_model(FLAT).save(str(path))
    return dataclasses.replace(CONFIG, kind='decoupled', heatmap_network=str(path))


def regression_config(relative_to='root', joints=skeleton.METRO_24):
    return ModelConfig(
        kind='coordinate_regression', backbone='hourglass', n_channels=8, n_levels=1,
        relative_to=relative_to, heatmap=HeatmapConfig(SIDE_PX, 2 * STRIDE_PX), skeleton=joints)


def make_labels(trainer, labels):
    return [x.numpy() for x in trainer.labels25d(trainers.finite_labels(labels))]


def dense_targets(coords25d, n_depth_cells):
    """Volumes `[batch, y, x, joints, depth]` of all joints."""
    volumes = volumetric_heatmaps.VolumetricTargets(SIDE_PX, N_CELLS, n_depth_cells)(coords25d)
    return np.asarray(volumes).reshape([len(coords25d), N_CELLS, N_CELLS, -1, n_depth_cells])


def test_labels_have_depths_relative_to_the_pelvis():
    inputs, labels = tiny_trainers.make_batch(n_3d=3, n_2d=1)
    labels['coords3d_cam'][0, I_ANKLE, 2] = -500  # behind the camera
    labels['joint_validity_mask_3d'][1, I_PELVIS] = False
    labels['coords3d_cam'][2, I_WRIST] = np.nan
    labels['joint_validity_mask_2d'][2, I_ANKLE] = False
    labels['joint_validity_mask_2d'][3, :5] = False
    coords25d, image_mask, depth_mask = make_labels(make_trainer(), labels)
    expected = np.ones([4, 24], bool)
    expected[0, I_ANKLE] = expected[2, I_ANKLE] = expected[3, :5] = False
    np.testing.assert_array_equal(image_mask, expected)
    expected[2, I_WRIST] = expected[1] = expected[3] = False
    np.testing.assert_array_equal(depth_mask, expected)
    relative = labels['coords3d_cam'][..., 2] - labels['coords3d_cam'][:, I_PELVIS, None, 2]
    np.testing.assert_allclose(coords25d[depth_mask][:, 2], relative[depth_mask])
    np.testing.assert_array_equal(
        coords25d[image_mask][:, :2], labels['coords2d'][image_mask])
    assert np.all(np.isfinite(coords25d)) and not np.any(coords25d[:, I_PELVIS, 2])


@pytest.mark.parametrize('reduction', losses.REDUCTIONS)
def test_the_term_is_the_sum_of_the_squared_errors_of_the_stages(reduction):
    inputs, labels = tiny_trainers.make_batch()
    labels['joint_validity_mask_3d'][0, 3:6] = False
    labels['joint_validity_mask_2d'][0, 4:6] = labels['joint_validity_mask_2d'][2, :7] = False
    labels['coords2d'][1, I_WRIST] = [500, -300]  # far outside the crop: all of the target is 0
    trainer = make_trainer(reduction=reduction)
    outputs = trainer(inputs)
    coords25d, *masks = make_labels(trainer, labels)
    assert not np.any(dense_targets(coords25d, 8)[1, :, :, I_WRIST])
    expected = 0.0
    for volume, depth, mask in zip(outputs['volumes'], (1, 8), masks, strict=True):
        targets = dense_targets(coords25d, depth)
        assert volume.shape == (4, N_CELLS, N_CELLS, 24 * depth)
        errors = np.mean(np.square(volume.numpy().reshape(targets.shape) - targets), (1, 2, 4))
        of_examples = [errors[i, mask[i]] for i in range(4) if mask[i].any()]
        expected += np.mean(
            np.concatenate(of_examples) if reduction == 'joints'
            else [np.mean(values) for values in of_examples])
    found = tiny_trainers.terms(trainer, inputs, labels, outputs)
    assert list(found) == ['volumes', 'total']
    assert found['volumes'] == pytest.approx(expected, rel=1e-5)
    assert found['total'] == found['volumes'] > 0.01
    half = tiny_trainers.make_trainer(
        crop_model=trainer.crop_model, volumes=0.5, reduction=reduction)
    assert tiny_trainers.terms(half, inputs, labels, outputs)['total'] == pytest.approx(
        expected / 2, rel=1e-5)


def test_examples_without_depth_teach_the_stages_of_depth_1_alone():
    inputs, labels = tiny_trainers.make_batch()
    trainer = make_trainer()
    outputs = trainer(inputs)
    with tf.GradientTape() as tape:
        tape.watch(outputs['volumes'])
        loss = trainer.loss_terms(inputs, labels, outputs)['volumes']()
    flat, deep = (np.abs(x.numpy()).max((1, 2, 3)) for x in tape.gradient(loss, outputs['volumes']))
    assert np.all(flat > 0) and np.all(deep[:2] > 0) and not np.any(deep[2:])


def perfect_outputs(trainer, labels):
    """What a network puts out that has learnt everything, for joints of all kinds."""
    coords25d, *_ = make_labels(trainer, labels)
    volumes = [drawing(coords25d) for drawing in trainer.drawings]
    return {'volumes': volumes, **trainer.crop_model.decode(
        volumes[-1], tf.eye(3, batch_shape=[len(coords25d)]))}


def scores(trainer, inputs, labels, outputs):
    for metric in trainer.metrics:
        metric.reset_state()
    return {name: float(value) for name, value in trainer.compute_metrics(
        *tf.nest.map_structure(tf.convert_to_tensor, (inputs, labels, outputs))).items()}


def test_true_volumes_have_no_loss_and_all_voxels_right():
    inputs, labels = tiny_trainers.make_batch(n_2d=0)
    labels['coords2d'] = np.clip(labels['coords2d'], 0, SIDE_PX - 1)
    trainer = make_trainer()
    outputs = perfect_outputs(trainer, labels)
    assert tiny_trainers.terms(trainer, inputs, labels, outputs)['volumes'] == 0
    assert scores(trainer, inputs, labels, outputs)['voxel_accuracy'] == 1


def test_voxel_accuracy_is_a_share_of_the_labelled_joints_inside_the_crop():
    inputs, labels = tiny_trainers.make_batch(n_3d=1, n_2d=1)
    n_cells, side = 64, 256
    config = dataclasses.replace(
        CONFIG, depths=(64,), heatmap=HeatmapConfig(side, STRIDE_PX), n_levels=1)
    trainer = make_trainer(config)
    labels['coords2d'][:] = 130
    labels['coords3d_cam'][0, :, 2] = 3000
    coords25d = np.tile(np.float32([130, 130, 0]), [2, 24, 1])
    cells = np.float32([side / n_cells, side / n_cells, DEPTH_CELL_MM])
    # Published: up to 3.2 voxels are right, thus (3, 0, 1) and not (0, 0, 4) or (3, 1, 1).
    for i, voxels in enumerate([(3, 0, 1), (-3, 1, 0), (0, 0, -3), (2, -1, 2)]):
        coords25d[0, i] += voxels * cells
    for i, voxels in enumerate([(0, 0, 4), (3, 1, 1), (-4, 0, 0), (2, 2, 2)]):
        coords25d[0, 4 + i] += voxels * cells
    labels['coords2d'][0, 20:] = -5  # outside
    labels['joint_validity_mask_3d'][0, 19] = False
    outputs = {'coords25d': coords25d, 'coords3d_cam': np.zeros([2, 24, 3], np.float32)}
    found = scores(trainer, inputs, labels, outputs)
    assert found['voxel_accuracy'] == pytest.approx(15 / 19)
    assert list(found) == [
        'total', 'volumes', 'mpjpe_mm', 'distance_error', 'pck_2d_only', 'voxel_accuracy']


def test_a_network_of_heatmaps_learns_from_all_2d_labels_and_has_no_poses():
    inputs, labels = tiny_trainers.make_batch()
    labels['joint_validity_mask_3d'][0, I_PELVIS] = False
    labels['coords2d'] = np.clip(labels['coords2d'], 0, SIDE_PX - 1)
    trainer = make_trainer(FLAT)
    outputs = perfect_outputs(trainer, labels)
    assert tiny_trainers.terms(trainer, inputs, labels, outputs)['volumes'] == 0
    moved = np.pad(labels['coords2d'], [[0, 0], [0, 0], [0, 1]])
    moved[3] += [300, 0, 0]
    found = scores(trainer, inputs, labels, {**outputs, 'coords25d': moved})
    assert list(found) == ['total', 'volumes', 'voxel_accuracy', 'pck_2d']
    assert found['voxel_accuracy'] == found['pck_2d'] == 0.75


def test_a_decoupled_network_learns_from_drawn_heatmaps_alone(decoupled_config):
    inputs, labels = tiny_trainers.make_batch()
    inputs['image'][:] = np.nan
    trainer = make_trainer(decoupled_config, keras.optimizers.Adam(5e-3))
    first_network = trainer.crop_model.heatmap_network
    before = [x.copy() for x in first_network.get_weights()]
    first, last = fit(trainer, (inputs, labels), 20)
    assert 0 < last < 0.9 * first
    for old, new in zip(before, first_network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert len(trainer.trainable_variables) == len(
        trainer.crop_model.volume_network.trainable_variables) > 0
    coords25d, image_mask, depth_mask = make_labels(trainer, labels)
    heatmaps = trainer.with_heatmaps(inputs, labels)['heatmaps']
    np.testing.assert_array_equal(heatmaps, dense_targets(coords25d, 1)[..., 0])
    with tf.GradientTape() as tape:
        outputs = trainer({**inputs, 'heatmaps': heatmaps})
        tape.watch(outputs['volumes'])
        loss = trainer.loss_terms(inputs, labels, outputs)['volumes']()
    for gradient in tape.gradient(loss, outputs['volumes']):
        is_taught = np.abs(gradient.numpy()).max((1, 2, 3)) > 0
        np.testing.assert_array_equal(is_taught, [True, True, False, False])


@pytest.mark.parametrize('relative_to', ['root', 'parent'])
def test_coordinates_are_compared_in_square_metres(relative_to):
    joints = skeleton.from_paths('pelv lkne rkne lank rank', 'pelv-lkne-lank pelv-rkne-rank')
    trainer = make_trainer(regression_config(relative_to, joints))
    inputs, labels = tiny_trainers.make_batch(n_3d=2, n_2d=1, n_joints=5)
    labels['joint_validity_mask_3d'][1, joints.index('lkne')] = False
    pose = np.float32([[0, 0, 3000], [100, 400, 3000], [-100, 400, 3000], [100, 800, 3100],
                       [-100, 800, 3000]])
    labels['coords3d_cam'][:2] = [pose, pose + 50]
    references = [0, 0, 0, 1, 2] if relative_to == 'parent' else [0] * 5
    assert joints.joint_names == ('pelv', 'lkne', 'rkne', 'lank', 'rank')
    offsets = np.tile((pose - pose[references]) / 1000, [3, 1, 1])
    offsets[0, 4] += [0.3, 0, 0.4]  # 0.25 m^2
    offsets[1, 1] += 7  # not labelled
    offsets[:, 0] += 5  # the root itself
    offsets[1, 3] += [1, 0, 0]  # 1 m^2; relative to the parent, of which nothing is known
    expected = 0.25 / 6 if relative_to == 'parent' else 1.25 / 7
    outputs = {'offsets': offsets, 'coords3d_rel': np.zeros([3, 5, 3], np.float32)}
    found = tiny_trainers.terms(trainer, inputs, labels, outputs)
    assert found['coordinates'] == pytest.approx(expected, rel=1e-5)


def fit(trainer, batch, n_steps=1):
    """Totals of the first and of the last of some steps on one batch."""
    history = trainer.fit(
        tf.data.Dataset.from_tensors(batch).repeat(), epochs=n_steps, steps_per_epoch=1,
        verbose=0, callbacks=[callbacks.StopOnNonFinite()]).history
    return history['total'][0], history['total'][-1]


@pytest.mark.slow
@pytest.mark.parametrize('config', [CONFIG, FLAT, regression_config()], ids=str)
def test_fit_learns_a_mixed_batch_and_survives_bad_labels(config):
    trainer = make_trainer(config, keras.optimizers.Adam(5e-3))
    assert fit(trainer, masked_batch()) == (0.0, 0.0)
    first, last = fit(trainer, tiny_trainers.make_batch(), 25)
    assert last < 0.8 * first
    assert fit(trainer, awkward_batch(), 3)[0] > 0
    assert all(np.isfinite(weight).all() for weight in trainer.crop_model.get_weights())


def joined_gradients(crop_model, batch, loss_scale):
    """Gradients of all weights in one vector, and of the weights that make the finest volumes."""
    inputs, labels = batch
    trainer = trainers.build(crop_model, LossConfig())
    of_head = [
        variable for layer in crop_model.backbone.layers if layer.name.startswith('stage_1_head')
        or layer.name == 'stage_1_volumes' for variable in layer.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        outputs = trainer(inputs, training=True)
        loss = loss_scale * trainer.loss_terms(inputs, labels, outputs)['volumes']()
    return [
        np.concatenate([
            np.ravel(gradient).astype(np.float64) / loss_scale
            for gradient in tape.gradient(loss, variables)])
        for variables in (crop_model.trainable_variables, of_head)]


@pytest.mark.parametrize('policy, loss_scale, min_cosine', [
    ('mixed_float16', 2.0 ** 10, 0.99), ('mixed_bfloat16', 1.0, 0.9)])
def test_gradients_of_fine_volumes_do_not_underflow(
        policy, loss_scale, min_cosine, dtype_policy):
    """Deeper down, gradients turn by more than that at first, by rounding on the way forward."""
    batch = tiny_trainers.make_batch()
    config = dataclasses.replace(CONFIG, depths=(1, 64), n_channels=16)
    exact = make_crop_model(config)
    wanted, wanted_of_head = joined_gradients(exact, batch, 1.0)
    dtype_policy(policy)
    rounded = make_crop_model(config)
    rounded.set_weights(exact.get_weights())
    found, found_of_head = joined_gradients(rounded, batch, loss_scale)
    assert np.all(np.isfinite(found)) and np.mean(wanted != 0) > 0.99
    assert np.mean(found[wanted != 0] == 0) < 0.005
    cosine = found_of_head @ wanted_of_head / (
        np.linalg.norm(found_of_head) * np.linalg.norm(wanted_of_head))
    assert cosine > min_cosine


def test_refusals(decoupled_config):
    with pytest.raises(ValueError, match='`generation` must be one of .*for the CoarseToFineTra'):
        make_trainer(generation='R20')
    with pytest.raises(ValueError, match='must leave terms alone that CoarseToFine does.*image=2'):
        make_trainer(image=2.0)
    with pytest.raises(ValueError, match='must leave terms alone that Decoupled.*coordinates=2'):
        make_trainer(decoupled_config, coordinates=2.0)
    with pytest.raises(ValueError, match='must leave terms alone that CoordinateReg.*volumes=2'):
        make_trainer(regression_config(), volumes=2.0)
    with pytest.raises(ValueError, match='`heatmap_sigma_cells` must be left alone'):
        make_trainer(heatmap_sigma_cells=2.0)
    assert isinstance(make_trainer(decoupled_config).crop_model, models.Decoupled)
