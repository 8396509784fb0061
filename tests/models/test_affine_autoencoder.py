import json

import keras
import numpy as np
import pytest

from metro_tf import losses, models

JOINT_NAMES = ('pelv', 'lhip', 'rhip', 'lkne', 'rkne')


def make_model(**kwargs):
    return models.AffineAutoencoder(JOINT_NAMES, n_latent_pairs=1, n_central_latents=1, **kwargs)


def make_poses(n=64):
    """The pelvis is the middle of the hips, and knees lie below hips: two points span a pose."""
    rng = np.random.default_rng(0)
    hips = rng.normal(0, 200, (n, 2, 3)) + [0, 0, 3000]
    pelvis = hips.mean(1, keepdims=True)
    knees = pelvis + 1.5 * (hips - pelvis)
    return np.concatenate([pelvis, hips, knees], axis=1).astype(np.float32)


def test_output_and_sparsity_loss():
    model = make_model(sparsity=0.5)
    poses = make_poses(3)
    output = model(poses)
    np.testing.assert_allclose(output, model.decoder(model.encoder(poses)), rtol=1e-5)
    matrices = [layer.matrix().numpy() for layer in (model.encoder, model.decoder)]
    assert [matrix.shape for matrix in matrices] == [(5, 3), (3, 5)]
    expected = 0.5 * sum(np.abs(matrix).mean() for matrix in matrices)
    np.testing.assert_allclose(sum(model.losses), expected, rtol=1e-5)


def test_published_size():
    assert models.AffineAutoencoder(JOINT_NAMES).n_latents == 48
    assert models.AffineAutoencoder(JOINT_NAMES).sparsity == 0.6


def test_fit_finds_points_that_span_the_poses():
    model, poses = make_model(sparsity=1e-4), make_poses()
    model.compile(keras.optimizers.Adam(0.03), loss=losses.perspective_loss)
    before = np.mean(losses.perspective_loss(poses, model(poses)))
    model.fit(poses, poses, batch_size=32, epochs=60, verbose=0)
    after = np.mean(losses.perspective_loss(poses, model(poses)))
    assert after < 0.25 * before
    flip = np.float32([-1, 1, 1])
    order = list(model.skeleton.mirror_mapping)
    np.testing.assert_allclose(
        model(poses[:, order] * flip), model(poses).numpy()[:, order] * flip, rtol=1e-3, atol=0.5)


def test_keras_file_revives(tmp_path):
    model = make_model(sparsity=0.3, name='mine')
    config = json.loads(json.dumps(model.get_config()))
    assert models.AffineAutoencoder.from_config(config).get_config() == model.get_config()
    model.save(tmp_path / 'latents.keras')
    revived = keras.models.load_model(tmp_path / 'latents.keras')
    assert revived.joint_names == JOINT_NAMES and revived.sparsity == 0.3
    np.testing.assert_allclose(revived(make_poses(2)), model(make_poses(2)), rtol=1e-5)


def test_refuses_unknown_joints():
    with pytest.raises(ValueError, match="`name` must be one of .* Received: name='tail'"):
        models.AffineAutoencoder(('pelv', 'tail'))
