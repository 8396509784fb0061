"""What holds for all crop models alike."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import models, skeleton
from metro_tf.backbones import top_down
from metro_tf.models import crop_model
from tests.models import common

MODELS = [models.Metrabs, models.Metro, models.Pose25D, models.LatentMetrabs]


@pytest.mark.parametrize('model_cls', MODELS)
def test_output(model_cls):
    output = common.make_model(model_cls)(common.make_inputs())
    assert output.shape == (3, 4, 3)
    assert output.dtype == tf.float32
    assert np.all(np.isfinite(output))


@pytest.mark.parametrize('model_cls', MODELS)
def test_fit(model_cls):
    model = common.make_model(model_cls)
    targets = np.random.default_rng(1).normal(0, 500, (8, 4, 3)).astype(np.float32)
    dataset = tf.data.Dataset.from_tensor_slices((common.make_inputs(8), targets)).batch(4)
    before = weights_that_change(model)
    model.compile(keras.optimizers.Adam(1e-2), loss='mean_absolute_error')
    history = model.fit(dataset, epochs=3, verbose=0).history['loss']
    assert np.all(np.isfinite(history))
    after = weights_that_change(model)
    assert all(np.any(a != b) for a, b in zip(after, before, strict=True))
    assert model.predict(dataset, verbose=0).shape == (8, 4, 3)


def weights_that_change(model):
    """Copies of all weights, but not those of a fixed decoder."""
    return [weight.copy() for part in (model.backbone, model.heads)
            for weight in part.get_weights()]


@pytest.mark.parametrize('model_cls', MODELS)
def test_keras_file_revives(model_cls, tmp_path):
    model = common.make_model(model_cls)
    model.set_weights([weight + 0.1 for weight in model.get_weights()])
    model.save(tmp_path / 'model.keras')
    revived = keras.models.load_model(tmp_path / 'model.keras')
    assert type(revived) is model_cls
    assert revived.joint_names == common.JOINT_NAMES
    np.testing.assert_allclose(
        revived(common.make_inputs()), model(common.make_inputs()), rtol=1e-5, atol=1e-3)


def test_the_default_model_revives(tmp_path):
    joints = skeleton.METRO_24
    model = models.Metrabs(
        top_down.build_top_down('mobilenet_v3_small', 8, n_channels=16),
        joints.joint_names, joints.edges, crop_side_px=common.SIDE, stride_px=8)
    model.save(tmp_path / 'model.keras')
    revived = keras.models.load_model(tmp_path / 'model.keras')
    for name, value in model.predict_heatmaps(common.make_inputs()).items():
        if name != 'coords3d_cam':  # the position is badly conditioned without training
            np.testing.assert_allclose(
                revived.predict_heatmaps(common.make_inputs())[name], value, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize('model_cls', MODELS)
def test_weights_file(model_cls, tmp_path):
    model = common.make_model(model_cls)
    model.save_weights(tmp_path / 'model.weights.h5')
    other = common.make_model(model_cls)
    other.load_weights(tmp_path / 'model.weights.h5')
    for actual, expected in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize('model_cls', MODELS)
def test_config_is_complete(model_cls):
    config = json.loads(json.dumps(common.make_model(model_cls, name='mine').get_config()))
    declared = set(inspect.signature(model_cls.__init__).parameters) - {'self', 'kwargs'}
    assert declared <= set(config)
    for name, value in common.SETTINGS.items():
        assert config[name] == json.loads(json.dumps(value))
    revived = model_cls.from_config(config)
    assert revived.name == 'mine'
    assert revived.get_config()['edges'] == [list(edge) for edge in common.EDGES]


@pytest.mark.parametrize('model_cls', MODELS)
def test_unknown_batch_size(model_cls):
    model = common.make_model(model_cls)
    inputs = common.make_inputs()

    @tf.function(input_signature=[{
        'image': tf.TensorSpec([None, None, None, 3]),
        'intrinsics': tf.TensorSpec([None, 3, 3])}])
    def predict(inputs):
        return model(inputs)

    np.testing.assert_allclose(predict(inputs), model(inputs), rtol=1e-3, atol=1)
    none = {name: value[:0] for name, value in inputs.items()}
    assert predict(none).shape == (0, 4, 3)
    assert model(none).shape == (0, 4, 3)


@pytest.mark.parametrize('model_cls', MODELS)
def test_examples_do_not_influence_each_other(model_cls):
    model = common.make_model(model_cls)
    inputs = common.make_inputs()
    alone = model({name: value[1:2] for name, value in inputs.items()})
    np.testing.assert_allclose(model(inputs)[1:2], alone, rtol=1e-3, atol=1)


@pytest.mark.parametrize('model_cls', MODELS)
@pytest.mark.parametrize('policy', ['mixed_float16', 'mixed_bfloat16'])
def test_mixed_precision(model_cls, policy, dtype_policy):
    dtype_policy(policy)
    model = common.make_model(model_cls)
    outputs = model.predict_heatmaps(common.make_inputs())
    assert model.backbone(common.make_inputs()['image']).dtype == policy[len('mixed_'):]
    for output in (*outputs.values(), model(common.make_inputs())):
        assert output.dtype == tf.float32
        assert np.all(np.isfinite(output))


@pytest.mark.parametrize('model_cls', [models.Metrabs, models.Pose25D, models.LatentMetrabs])
def test_half_precision_leaves_the_intrinsics_alone(model_cls, dtype_policy):
    dtype_policy('mixed_float16')
    model = common.make_model(model_cls)
    inputs = common.make_inputs()
    inputs['intrinsics'][:, 0, 0] = 1000.3  # 1000.5 as a float16
    np.testing.assert_allclose(
        model(inputs), model.predict_heatmaps(inputs)['coords3d_cam'], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize('model_cls', MODELS)
def test_bytes_count_as_fractions_of_255(model_cls):
    model = common.make_model(model_cls)
    inputs = common.make_inputs()
    image = (inputs['image'] * 255).astype(np.uint8)
    expected = model.predict_heatmaps({**inputs, 'image': np.float32(image) / 255})
    actual = model.predict_heatmaps({**inputs, 'image': image})
    np.testing.assert_allclose(actual['logits3d'], expected['logits3d'], atol=1e-5)


@pytest.mark.parametrize('model_cls', MODELS)
def test_training_normalises_with_the_batch(model_cls):
    model = common.make_model(model_cls)
    norm = model.backbone.layers[-1]
    before = norm.moving_mean.numpy()
    logits = model.predict_heatmaps(common.make_inputs())['logits3d']
    np.testing.assert_array_equal(norm.moving_mean.numpy(), before)
    logits_training = model.predict_heatmaps(common.make_inputs(), training=True)['logits3d']
    assert np.any(norm.moving_mean.numpy() != before)
    assert np.abs(logits_training - logits).max() > 1e-3


@pytest.mark.parametrize('model_cls', MODELS)
def test_properties(model_cls):
    model = common.make_model(model_cls)
    assert model.input_resolution == common.SIDE
    assert model.joint_names == common.JOINT_NAMES
    assert model.joint_edges == common.EDGES
    assert model.mirror_mapping == (0, 1, 3, 2)


@pytest.mark.parametrize('model_cls', MODELS)
def test_refusals(model_cls):
    model = common.make_model(model_cls)
    inputs = common.make_inputs()
    with pytest.raises(ValueError, match='`image` must be .* so the side must be 64. Received: '):
        model.predict_heatmaps({**inputs, 'image': inputs['image'][:, :32, :32]})
    with pytest.raises(ValueError, match=r'`stride_px` \(8\) must be the stride of `backbone`'):
        common.make_model(model_cls, stride_px=8).predict_heatmaps(inputs)
    with pytest.raises(ValueError, match='`stride_px` must divide `crop_side_px`'):
        common.make_model(model_cls, stride_px=24)
    with pytest.raises(ValueError, match='`joint_names` must be distinct'):
        common.make_model(model_cls, joint_names=('pelv', 'pelv'), edges=())


def test_split_inputs():
    assert crop_model.split_inputs({'image': 1, 'intrinsics': 2}) == (1, 2)
    assert crop_model.split_inputs((1, 2)) == (1, 2)
    assert crop_model.split_inputs([1]) == (1, None)
    assert crop_model.split_inputs(1) == (1, None)
    with pytest.raises(ValueError, match=r"must have the key 'image'. Received: keys \['x'\]"):
        crop_model.split_inputs({'x': 1})
    with pytest.raises(ValueError, match='must be .image, intrinsics.. Received: 3 elements'):
        crop_model.split_inputs((1, 2, 3))
