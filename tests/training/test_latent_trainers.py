"""Training with latent points, on predictions written out by hand and in real steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import models, skeleton
from metro_tf.config import HeatmapConfig
from metro_tf.models import builder
from tests.training import tiny_trainers
from training import extend, trainers
from training.config import LossConfig, ModelConfig

JOINTS = skeleton.METRO_24
WEIGHTS = {
    'heatmap2d': 0.0, 'heatmap3d': 0.0, 'aligned_2d_only': 0.0, 'projection': 0.0,
    'absolute': 0.1, 'absolute_start_step': 5001}


def make_lossless_autoencoder():
    """As many latent points as joints, and these the joints themselves, in another order."""
    is_central = [i == j for i, j in enumerate(JOINTS.mirror_mapping)]
    left = [i for i, name in enumerate(JOINTS.joint_names) if name[0] == 'l']
    order = [*left, *(JOINTS.mirror_mapping[i] for i in left), *np.flatnonzero(is_central)]
    autoencoder = models.AffineAutoencoder(JOINTS.joint_names, len(left), sum(is_central))
    matrix = np.eye(JOINTS.n_joints, dtype=np.float32)[:, order]
    autoencoder.encoder.set_matrix(matrix)
    autoencoder.decoder.set_matrix(matrix.T)
    return autoencoder, order


def make_trainer(autoencoder, latent_class, **loss_kwargs):
    """Trainer of a tiny model whose absolute poses are what its 3D head says."""
    plain = tiny_trainers.make_crop_model()
    crop_model = plain
    if latent_class is not None:
        crop_model = models.LatentMetrabs(
            plain.backbone, JOINTS.joint_names, JOINTS.edges, tiny_trainers.SIDE_PX, 8,
            n_latents=autoencoder.n_latents, is_hybrid=latent_class == 'hybrid')
        crop_model.set_decoder(autoencoder)
    trainer = trainers.build(
        crop_model, LossConfig(**WEIGHTS, **loss_kwargs), autoencoder=autoencoder)
    trainer.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
    return trainer


def values_of(trainer, inputs, labels, points, step, monkeypatch):
    """Terms and total at a step for predicted points in the camera frame."""
    monkeypatch.setattr(trainer, '_reconstruct', lambda outputs, _: outputs['coords3d_rel'])
    trainer.optimizer.iterations.assign(step)
    outputs = {'coords3d_rel': points, 'coords2d': points[..., :2]}
    return tiny_trainers.terms(trainer, inputs, labels, outputs)


def true_poses(seed=0):
    """A batch of two people with 3D labels and two without, and where all of them are."""
    inputs, labels = tiny_trainers.make_batch(4, 0, seed)
    poses = labels['coords3d_cam'].copy()
    return *tiny_trainers.make_batch(2, 2, seed), poses


def test_output_regularisation_is_the_change_by_the_autoencoder(monkeypatch):
    keras.utils.set_random_seed(3)
    autoencoder = models.AffineAutoencoder(JOINTS.joint_names, 3, 2)
    trainer = make_trainer(autoencoder, None)
    inputs, labels, poses = true_poses()
    change = np.abs(poses - autoencoder(poses).numpy())
    values = values_of(trainer, inputs, labels, poses, 0, monkeypatch)
    assert values['latent3d'] == pytest.approx(change[:2].mean() / 1000, rel=1e-4)
    assert values['latent2d'] == pytest.approx(change[2:].mean() / 1000, rel=1e-4)
    assert values['relative'] == pytest.approx(0, abs=1e-6)
    assert values['total'] == pytest.approx(
        values['latent3d'] + 0.2 * values['latent2d'], rel=1e-4)


def test_direct_prediction_is_scored_after_decoding(monkeypatch):
    autoencoder, order = make_lossless_autoencoder()
    trainer = make_trainer(autoencoder, 'direct', relative=1.0)
    inputs, labels, poses = true_poses()
    latents = poses[:, order]
    assert values_of(trainer, inputs, labels, latents, 6000, monkeypatch)['total'] < 1e-6
    latents = latents + np.float32([0, 120, 0])
    values = values_of(trainer, inputs, labels, latents, 6000, monkeypatch)
    assert values['absolute'] == pytest.approx(0.12 / 3, rel=1e-4)
    assert values['relative'] == pytest.approx(0, abs=1e-6)
    assert 'latent3d' not in values


@pytest.mark.parametrize('step, has_started', [(5000, 0), (5001, 1)])
def test_hybrid_terms_by_hand(step, has_started, monkeypatch):
    autoencoder, order = make_lossless_autoencoder()
    trainer = make_trainer(autoencoder, 'hybrid', projection_2d_only=0.2)
    inputs, labels, poses = true_poses()
    points = np.concatenate([poses[:, order], poses], axis=1)
    assert values_of(trainer, inputs, labels, points, step, monkeypatch)['total'] < 1e-6
    # The teacher errs by 90 mm in depth, the student does not.
    points[:, autoencoder.n_latents:, 2] += 90
    values = values_of(trainer, inputs, labels, points, step, monkeypatch)
    # Joints, the same after encoding and decoding, and the student against the teacher.
    assert values['latent3d'] == pytest.approx(has_started * 3 * 0.1 * 0.09 / 3, rel=1e-3, abs=1e-6)
    # Labels in 2D see an error of depth a little; the student's part of the teacher is in 3D.
    seen = values['latent2d'] - has_started * 0.5 * 0.1 * 0.09 / 3
    assert 1e-3 < seen < 0.02
    assert values['relative'] == pytest.approx(0, abs=1e-6)
    assert values['total'] == pytest.approx(values['latent3d'] + 0.2 * values['latent2d'], rel=1e-3)


@pytest.mark.parametrize('mode', ['regularized', 'direct', 'hybrid'])
def test_a_config_with_latent_points_trains_and_keeps_the_decoder(mode, tmp_path):
    path = tmp_path / 'latents.keras'
    autoencoder, _ = make_lossless_autoencoder()
    autoencoder.save(path)
    config = ModelConfig(
        'compact_resnet', 0, heatmap=HeatmapConfig(64, 32), latent_mode=mode,
        autoencoder=str(path))
    crop_model = builder.build_crop_model(config)
    trainer = trainers.build(
        crop_model, LossConfig(**WEIGHTS), autoencoder=builder.load_autoencoder(config))
    trainer.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
    before = crop_model.heads.get_weights()[0]
    dataset = tf.data.Dataset.from_tensors(tiny_trainers.make_batch(2, 2))
    history = trainer.fit(dataset, epochs=2, verbose=0).history
    assert np.isfinite(history['total']).all()
    assert np.abs(crop_model.heads.get_weights()[0] - before).max() > 0
    assert all(np.isfinite(weight).all() for weight in crop_model.get_weights())
    assert not any('raw_weights' in getattr(weight, 'path', weight.name)
                   for weight in trainer.trainable_weights)
    expected = 24 * {'regularized': 1, 'direct': 1, 'hybrid': 2}[mode]
    assert crop_model.heads.n_joints == expected


def test_the_joints_of_a_hybrid_begin_with_what_a_plain_model_learned():
    plain = tiny_trainers.make_crop_model()
    hybrid = models.LatentMetrabs(
        plain.backbone, JOINTS.joint_names, JOINTS.edges,
        tiny_trainers.SIDE_PX, 8, n_latents=5, is_hybrid=True)
    text = extend.take_over(hybrid, plain)
    assert 'new joints: latent 0, latent 1, latent 2, latent 3, latent 4\n' in text
    inputs, _ = tiny_trainers.make_batch()
    outputs = hybrid.predict_heatmaps(inputs)
    np.testing.assert_allclose(outputs['joints3d_cam'], plain(inputs), rtol=1e-3, atol=0.5)


def test_refusals(tmp_path):
    autoencoder, _ = make_lossless_autoencoder()
    with pytest.raises(ValueError, match='`autoencoder` must be given for a LatentMetrabs'):
        trainers.build(
            tiny_trainers.make_crop_model('metro'), LossConfig(), autoencoder=autoencoder)
    with pytest.raises(ValueError, match="`generation` must be one of .'R23'. for the Reg"):
        trainers.build(
            tiny_trainers.make_crop_model(), LossConfig(generation='R20'), autoencoder=autoencoder)
    with pytest.raises(ValueError, match='`latent_mode` and `autoencoder` must be given together'):
        ModelConfig(latent_mode='direct')
    with pytest.raises(ValueError, match="`latent_mode` must be left alone where `kind` is not"):
        ModelConfig(kind='metro', latent_mode='direct', autoencoder='a.keras')
    with pytest.raises(ValueError, match='`autoencoder` must be a .keras file .* does not exist'):
        builder.load_autoencoder(ModelConfig(latent_mode='direct', autoencoder='missing.keras'))
    tiny_trainers.make_crop_model().save(tmp_path / 'other.keras')
    with pytest.raises(ValueError, match='`autoencoder` must be an AffineAutoencoder'):
        builder.load_autoencoder(
            ModelConfig(latent_mode='direct', autoencoder=str(tmp_path / 'other.keras')))
