import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import losses, models
from metro_tf.backbones import hourglass
from metro_tf.layers import volumetric_heatmaps
from tests.models import common, test_coarse_to_fine

N_CELLS = common.SIDE // 4
SETTINGS = {**test_coarse_to_fine.SETTINGS, 'depths': (2, 8)}


def make_volume_network(depths=(2, 8), n_joints=4, n_cells=N_CELLS):
    return hourglass.build_volume_network(n_joints, depths, n_cells, n_channels=8, n_levels=1)


def make_model(**kwargs):
    return models.Decoupled(
        test_coarse_to_fine.make_backbone((1,)), make_volume_network(), **{**SETTINGS, **kwargs})


@pytest.fixture(scope='module')
def model():
    keras.utils.set_random_seed(0)
    return make_model()


def test_outputs(model):
    inputs = common.make_inputs()
    outputs = model.predict_heatmaps(inputs)
    assert outputs['heatmaps'].shape == (3, N_CELLS, N_CELLS, 4)
    assert [stage.shape[-1] for stage in outputs['volumes']] == [8, 32]
    heatmaps, = tf.nest.flatten(model.heatmap_network(inputs['image']))
    np.testing.assert_allclose(outputs['heatmaps'], heatmaps, atol=1e-5)
    expected = volumetric_heatmaps.VolumeDecoding(common.SIDE, 8)(outputs['volumes'][-1])
    np.testing.assert_array_equal(outputs['coords25d'], expected)
    poses = model(inputs)
    assert model.is_absolute and poses.shape == (3, 4, 3) and poses.dtype == tf.float32
    np.testing.assert_allclose(poses, outputs['coords3d_cam'], atol=0.01)


def test_second_network_sees_the_heatmaps_only(model):
    inputs = common.make_inputs()
    outputs = model.predict_heatmaps(inputs)
    alone = model.predict_from_heatmaps(outputs['heatmaps'], inputs['intrinsics'])
    assert set(alone) == set(outputs)
    np.testing.assert_allclose(alone['volumes'][-1], outputs['volumes'][-1], atol=1e-5)
    np.testing.assert_allclose(alone['coords3d_cam'], outputs['coords3d_cam'], atol=0.01)
    assert set(model.predict_from_heatmaps(outputs['heatmaps'])) == {'heatmaps', 'volumes'}
    at_depth = model.predict_from_heatmaps(
        outputs['heatmaps'], inputs['intrinsics'], np.float32([2000, 2500, 3000]))
    expected = outputs['coords25d'][:, 0, 2] + np.float32([2000, 2500, 3000])
    np.testing.assert_allclose(at_depth['coords3d_cam'][:, 0, 2], expected, atol=0.01)


def test_only_the_second_network_is_trained(model):
    n_trainable = len(model.volume_network.trainable_weights)
    assert n_trainable > 0 and len(model.trainable_weights) == n_trainable
    before = [weight.copy() for weight in model.heatmap_network.get_weights()]
    moving_means = model.volume_network.get_layer('stem_0_1_norm').get_weights()[2]
    image = common.make_inputs()['image']
    np.testing.assert_allclose(
        model.predict_logits(image, training=True)[0], model.predict_logits(image)[0], atol=1e-5)
    for weight, weight_before in zip(model.heatmap_network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, weight_before)
    assert np.any(
        model.volume_network.get_layer('stem_0_1_norm').get_weights()[2] != moving_means)


def test_trains_on_drawn_heatmaps(model):
    coords25d = np.random.default_rng(0).uniform(8, 56, (2, 4, 3)).astype(np.float32)
    mask = np.ones([2, 4], bool)
    heatmaps, profiles = (
        volumetric_heatmaps.VolumetricTargets(common.SIDE, N_CELLS, depth) for depth in (1, 8))
    kernel = model.volume_network.get_layer('stem_0_conv_1').kernel
    kernel = kernel if isinstance(kernel, tf.Variable) else kernel.value
    with tf.GradientTape() as tape:
        outputs = model.predict_from_heatmaps(heatmaps(coords25d, mask), training=True)
        loss = losses.volumetric_loss(
            outputs['volumes'][-1], profiles.profiles(coords25d, mask), mask)
    gradient = tape.gradient(loss, kernel)
    assert np.all(np.isfinite(gradient)) and np.any(gradient != 0)


def test_unknown_batch_size(model):
    @tf.function(input_signature=[{
        'image': tf.TensorSpec([None, common.SIDE, common.SIDE, 3]),
        'intrinsics': tf.TensorSpec([None, 3, 3])}])
    def predict(inputs):
        outputs = model.predict_heatmaps(inputs)
        return outputs['volumes'][-1], outputs['coords3d_cam']

    inputs = common.make_inputs()
    np.testing.assert_allclose(
        predict(inputs)[0], model.predict_heatmaps(inputs)['volumes'][-1], atol=1e-5)
    none = {name: value[:0] for name, value in inputs.items()}
    assert predict(none)[1].shape == (0, 4, 3)


def test_keras_file_revives(model, tmp_path):
    model.save(tmp_path / 'model.keras')
    revived = models.load_crop_model(tmp_path / 'model.keras')
    assert type(revived) is models.Decoupled
    assert len(revived.trainable_weights) == len(model.trainable_weights)
    inputs = common.make_inputs()
    np.testing.assert_allclose(
        revived.predict_heatmaps(inputs)['volumes'][-1],
        model.predict_heatmaps(inputs)['volumes'][-1], atol=1e-5)


def test_config_is_complete(model):
    config = json.loads(json.dumps(model.get_config()))
    declared = set(inspect.signature(models.Decoupled.__init__).parameters)
    assert declared - {'self', 'kwargs'} <= set(config)
    assert 'backbone' not in config
    for name, value in SETTINGS.items():
        assert config[name] == json.loads(json.dumps(value))


def test_refusals(model):
    with pytest.raises(ValueError, match=r'`volume_network` must put out .* \[4, 32\] channels'):
        make_model(depths=(1, 8))
    for volume_network in (make_volume_network(n_joints=5), make_volume_network(n_cells=8)):
        with pytest.raises(ValueError, match='`volume_network` must take the heatmaps of 4 joint'):
            models.Decoupled(model.heatmap_network, volume_network, **SETTINGS)
    with pytest.raises(ValueError, match=r'`heatmaps` must have a shape that ends in \(16, 16, 4'):
        model.predict_from_heatmaps(np.zeros([1, 8, 8, 4], np.float32))
    with pytest.raises(ValueError, match='`inputs` must contain the crop\'s intrinsics'):
        model.predict_heatmaps(common.make_inputs()['image'])
