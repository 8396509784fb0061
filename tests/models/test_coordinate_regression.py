import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import models
from metro_tf.backbones import hourglass
from metro_tf.models import coarse_to_fine
from tests.models import common

# From the pelvis on, but out of order and with a bone that points to the root.
JOINT_NAMES = ('lwri', 'lelb', 'pelv', 'head', 'lsho')
EDGES = ((4, 2), (1, 0), (4, 1), (2, 3))
SETTINGS = {
    'joint_names': JOINT_NAMES, 'edges': EDGES, 'crop_side_px': common.SIDE, 'stride_px': 8,
    'n_hidden': 6}


def make_model(**kwargs):
    encoder = hourglass.build_encoder(common.SIDE, n_channels=8, n_levels=1)
    return models.CoordinateRegression(encoder, **{**SETTINGS, **kwargs})


@pytest.fixture(scope='module', params=['root', 'parent'])
def model(request):
    keras.utils.set_random_seed(0)
    return make_model(relative_to=request.param)


@pytest.mark.slow
@pytest.mark.usefixtures('published_hourglasses')
def test_published_encoder_is_the_default():
    model = models.CoordinateRegression()
    assert model.joint_names == coarse_to_fine.JOINTS.joint_names
    # 4 x 4 cells of 512 channels, 1024 units twice, 3 numbers for 17 joints.
    assert [layer.kernel.shape for layer in model.heads.layers if hasattr(layer, 'kernel')] == [
        (8192, 1024), (1024, 1024), (1024, 51)]


def test_offsets_from_parents_add_up():
    model = make_model(relative_to='parent')
    assert model.reference_joints == (1, 4, 2, 2, 2)
    offsets = np.float32([[0.1, 0, 0], [0, 0.2, 0], [9, 9, 9], [0, 0, 0.3], [0.4, 0, 0]])
    np.testing.assert_allclose(
        model.from_offsets(offsets),
        [[500, 200, 0], [400, 200, 0], [0, 0, 0], [0, 0, 300], [400, 0, 0]], atol=1e-3)


def test_offsets_from_the_root():
    model = make_model()
    assert model.relative_to == 'root' and model.reference_joints == (2,) * 5
    offsets = np.arange(15, dtype=np.float32).reshape(5, 3)
    expected = 1000 * offsets
    expected[2] = 0
    np.testing.assert_allclose(model.from_offsets(offsets), expected)


def test_offsets_of_a_pose(model):
    poses = np.random.default_rng(0).normal(0, 500, (2, 5, 3)).astype(np.float32)
    offsets = model.to_offsets(poses)
    np.testing.assert_array_equal(offsets[:, 2], np.zeros([2, 3]))
    np.testing.assert_allclose(model.from_offsets(offsets), poses - poses[:, 2:3], atol=1e-3)
    np.testing.assert_allclose(model.to_offsets(poses + 70), offsets, atol=1e-5)


def test_outputs(model):
    inputs = common.make_inputs()
    outputs = model.predict_heatmaps(inputs)
    assert set(outputs) == {'offsets', 'coords3d_rel'}
    for value in outputs.values():
        assert value.shape == (3, 5, 3) and value.dtype == tf.float32
        assert np.all(np.isfinite(value))
    np.testing.assert_array_equal(outputs['coords3d_rel'][:, 2], np.zeros([3, 3]))
    np.testing.assert_allclose(
        outputs['coords3d_rel'], model.from_offsets(outputs['offsets']), atol=1e-3)
    np.testing.assert_allclose(model(inputs['image']), outputs['coords3d_rel'], atol=0.01)
    assert not model.is_absolute


def test_training_normalises_with_the_batch(model):
    norm = model.heads.layers[0]
    before = norm.get_weights()[2]
    model(common.make_inputs())
    np.testing.assert_array_equal(norm.get_weights()[2], before)
    model(common.make_inputs(), training=True)
    assert np.any(norm.get_weights()[2] != before)


def test_unknown_batch_size(model):
    predict = tf.function(
        lambda image: model(image),
        input_signature=[tf.TensorSpec([None, common.SIDE, common.SIDE, 3])])
    image = common.make_inputs()['image']
    np.testing.assert_allclose(predict(image), model(image), atol=0.01)
    assert predict(image[:0]).shape == (0, 5, 3)


def test_half_precision_ends_in_float32(dtype_policy):
    dtype_policy('mixed_float16')
    model = make_model()
    outputs = model.predict_heatmaps(common.make_inputs())
    assert model.backbone.outputs[0].dtype == 'float16'
    assert all(value.dtype == tf.float32 for value in outputs.values())
    assert all(np.all(np.isfinite(value)) for value in outputs.values())


def test_keras_file_revives(model, tmp_path):
    model.save(tmp_path / 'model.keras')
    revived = models.load_crop_model(tmp_path / 'model.keras')
    assert type(revived) is models.CoordinateRegression
    assert revived.reference_joints == model.reference_joints
    image = common.make_inputs()['image']
    np.testing.assert_allclose(revived(image), model(image), atol=0.01)


def test_config_is_complete(model):
    config = json.loads(json.dumps(model.get_config()))
    declared = set(inspect.signature(models.CoordinateRegression.__init__).parameters)
    assert declared - {'self', 'kwargs'} <= set(config)
    for name, value in {**SETTINGS, 'relative_to': model.relative_to}.items():
        assert config[name] == json.loads(json.dumps(value))


def test_refusals():
    with pytest.raises(ValueError, match='`relative_to` must be one of .*relative_to=.child.'):
        make_model(relative_to='child')
    with pytest.raises(ValueError, match='`n_hidden` must be a positive'):
        make_model(n_hidden=0)
    with pytest.raises(ValueError, match="`joint_names` must contain the root 'pelv'"):
        make_model(joint_names=('lwri', 'lelb', 'neck', 'head', 'lsho'))
    for edges in (EDGES[:3], (*EDGES, (3, 4)), (*EDGES[:3], (4, 0))):
        with pytest.raises(ValueError, match='`edges` must form a tree of all joints'):
            make_model(relative_to='parent', edges=edges)
    with pytest.raises(ValueError, match=r'`stride_px` \(16\) must be the stride of `backbone`'):
        make_model(stride_px=16)(common.make_inputs())
