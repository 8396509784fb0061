import keras
import numpy as np
import pytest
import tensorflow as tf

import metro_tf
from metro_tf import models
from tests.models import common


def make_autoencoder():
    return models.AffineAutoencoder(common.JOINT_NAMES, n_latent_pairs=1, n_central_latents=1)


def make_model(is_hybrid=False, **kwargs):
    return common.make_model(models.LatentMetrabs, n_latents=3, is_hybrid=is_hybrid, **kwargs)


@pytest.mark.parametrize('is_hybrid', [False, True])
def test_the_joints_are_decoded_from_the_placed_latent_points(is_hybrid):
    model, autoencoder = make_model(is_hybrid), make_autoencoder()
    model.set_decoder(autoencoder)
    outputs = model.predict_heatmaps(common.make_inputs())
    n_points = 7 if is_hybrid else 3
    assert outputs['logits2d'].shape == (3, 4, 4, n_points)
    assert outputs['logits3d'].shape == (3, 4, 4, 5, n_points)
    assert outputs['latents3d_cam'].shape == (3, 3, 3)
    matrix = autoencoder.decoder.matrix().numpy()
    expected = np.einsum('blc,lj->bjc', outputs['latents3d_cam'], matrix)
    np.testing.assert_allclose(outputs['coords3d_cam'], expected, rtol=1e-3, atol=1)
    np.testing.assert_allclose(
        model(common.make_inputs()), outputs['coords3d_cam'], rtol=1e-3, atol=1)
    assert ('joints3d_cam' in outputs) == is_hybrid


def test_latent_points_and_joints_of_the_hybrid_are_placed_on_their_own():
    """Each is what a model gives whose head has these channels alone."""
    hybrid = make_model(True)
    outputs = hybrid.predict_heatmaps(common.make_inputs())
    kernel, bias = hybrid.heads.get_weights()
    blocks_kernel, blocks_bias = kernel.reshape(1, 1, 6, 6, 7), bias.reshape(6, 7)
    latent = models.LatentMetrabs(hybrid.backbone, **common.SETTINGS, n_latents=3)
    latent.heads.set_weights([
        blocks_kernel[..., :3].reshape(1, 1, 6, 18), blocks_bias[..., :3].reshape(18)])
    plain = models.Metrabs(hybrid.backbone, **common.SETTINGS)
    plain.heads.set_weights([
        blocks_kernel[..., 3:].reshape(1, 1, 6, 24), blocks_bias[..., 3:].reshape(24)])
    np.testing.assert_allclose(
        latent.predict_heatmaps(common.make_inputs())['latents3d_cam'], outputs['latents3d_cam'],
        rtol=1e-3, atol=1)
    np.testing.assert_allclose(
        plain(common.make_inputs()), outputs['joints3d_cam'], rtol=1e-3, atol=1)


@pytest.mark.parametrize('is_hybrid', [False, True])
def test_keras_file_keeps_the_decoder(is_hybrid, tmp_path):
    model = make_model(is_hybrid)
    model.set_decoder(make_autoencoder())
    model.save(tmp_path / 'model.keras')
    revived = models.load_crop_model(tmp_path / 'model.keras')
    assert revived.is_hybrid == is_hybrid and revived.joint_names == common.JOINT_NAMES
    np.testing.assert_allclose(
        revived(common.make_inputs()), model(common.make_inputs()), rtol=1e-4, atol=0.1)


@pytest.mark.parametrize('is_hybrid', [False, True])
def test_estimator_gives_the_joints_of_the_crops(is_hybrid):
    model = make_model(is_hybrid)
    model.set_decoder(make_autoencoder())
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    boxes = np.float32([[30, 20, 60, 80]])
    intrinsics = np.float32([[300, 0, 80], [0, 300, 60], [0, 0, 1]])
    people = metro_tf.PoseEstimator(model).estimate_poses(image, boxes, intrinsics, num_aug=1)
    crops = metro_tf.crop_people(
        image, boxes, intrinsics, crop_side_px=model.input_resolution, zoom=1.05, gamma=0.8)
    poses = model({'image': crops.crops, 'intrinsics': crops.intrinsics})
    assert people['poses3d'].shape == (1, 4, 3)
    np.testing.assert_allclose(
        people['poses3d'], metro_tf.uncrop_poses(poses, crops.rotations), rtol=1e-3, atol=1)


def test_the_decoder_does_not_learn_in_fit():
    model = make_model()
    model.set_decoder(make_autoencoder())
    decoder, head = model.decoder.get_weights()[0], model.heads.get_weights()[0]
    model.compile(keras.optimizers.Adam(1e-2), loss='mean_absolute_error')
    targets = np.random.default_rng(1).normal(0, 500, (3, 4, 3)).astype(np.float32)
    dataset = tf.data.Dataset.from_tensor_slices((common.make_inputs(), targets)).batch(3)
    model.fit(dataset, verbose=0)
    np.testing.assert_array_equal(model.decoder.get_weights()[0], decoder)
    assert np.any(model.heads.get_weights()[0] != head)


def test_refusals():
    with pytest.raises(ValueError, match='`autoencoder` must have 3 latent points and the joints'):
        make_model().set_decoder(
            models.AffineAutoencoder(common.JOINT_NAMES, n_latent_pairs=2, n_central_latents=0))
    with pytest.raises(ValueError, match='`inputs` must contain the crop\'s intrinsics'):
        make_model().predict_heatmaps(common.make_inputs()['image'])
    with pytest.raises(ValueError, match='`n_latents` must be a positive'):
        common.make_model(models.LatentMetrabs, n_latents=0)
