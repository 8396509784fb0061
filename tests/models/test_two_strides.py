"""Coarse cells in training and fine ones otherwise, from the same weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import crop_network, models
from metro_tf.backbones import two_strides
from metro_tf.export import freeze
from tests.models import common

MODELS = [models.Metrabs, models.Metro, models.Pose25D]


def make_model(model_cls, centered=True):
    """Joints lie where the sampled pixels are red; in training every 32nd is sampled, else every
    4th."""
    def geometry(stride):
        first = stride // 2 if centered else 0
        return {'stride': stride, 'dilation': 1, 'padding': (-first, 0)}

    image = keras.Input((None, None, 3), name='image')
    features = two_strides.TwoStrideConv2D(3, 1, geometry(32), geometry(4), use_bias=False)(image)
    backbone = keras.Model(image, features)
    backbone.set_weights([np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3)])
    model = model_cls(
        backbone, common.JOINT_NAMES, common.EDGES, centered=centered, test_stride_px=4,
        **common.EXTRA_SETTINGS.get(model_cls, {}))
    kernel, bias = (np.zeros_like(weight) for weight in model.heads.get_weights())
    kernel[0, 0, 0] = 100
    model.heads.set_weights([kernel, bias])
    return model


def inputs_with_red(rows, columns):
    image = np.zeros((1, 256, 256, 3), np.float32)
    image[0, rows, columns, 0] = 1
    return {'image': image, 'intrinsics': np.float32([[[500, 0, 128], [0, 500, 128], [0, 0, 1]]])}


def predicted_pixels(model, inputs, training=False):
    """(x, y) in px of the first joint, from the volume."""
    outputs = model.predict_heatmaps(inputs, training=training)
    if 'coords25d' in outputs:
        return outputs['coords25d'][0, 0, :2].numpy()
    return outputs['coords3d_rel'][0, 0, :2].numpy() * 256 / 2200


@pytest.mark.parametrize('model_cls', MODELS)
def test_cells_by_hand(model_cls):
    """Fine cells lie at 2, 6, ..., 254 px and coarse ones at 16, 48, ..., 240 px."""
    model = make_model(model_cls)
    for x, y in ((2, 254), (6, 130), (254, 2)):
        np.testing.assert_allclose(
            predicted_pixels(model, inputs_with_red(y, x)), [x, y], atol=0.01)
    for x, y in ((16, 240), (240, 48)):
        np.testing.assert_allclose(
            predicted_pixels(model, inputs_with_red(y, x), training=True), [x, y], atol=0.01)


@pytest.mark.parametrize('model_cls', MODELS)
def test_cells_without_centring_by_hand(model_cls):
    model = make_model(model_cls, centered=False)
    np.testing.assert_allclose(predicted_pixels(model, inputs_with_red(252, 0)), [0, 252], atol=.01)
    np.testing.assert_allclose(
        predicted_pixels(model, inputs_with_red(224, 0), training=True), [0, 224], atol=0.01)


@pytest.mark.parametrize('model_cls', MODELS)
def test_both_strides_mean_the_same_place(model_cls):
    """A spot around a coarse cell: the fine cells in it lie around that cell."""
    model = make_model(model_cls)
    inputs = inputs_with_red(slice(74, 87), slice(138, 151))
    coarse = predicted_pixels(model, inputs, training=True)
    np.testing.assert_allclose(coarse, [144, 80], atol=0.01)
    np.testing.assert_allclose(predicted_pixels(model, inputs), coarse, atol=2)


@pytest.mark.parametrize('model_cls', MODELS)
def test_revives_and_exports_with_both_strides(model_cls, tmp_path):
    model = make_model(model_cls, centered=False)
    model.save(tmp_path / 'model.keras')
    revived = models.load_crop_model(tmp_path / 'model.keras')
    assert revived.heatmap_config == model.heatmap_config
    assert not revived.heatmap_config.centered
    inputs = inputs_with_red(slice(100, 140), slice(60, 90))
    for training, n_cells in ((True, 8), (False, 64)):
        logits3d = revived.predict_heatmaps(inputs, training=training)['logits3d']
        assert logits3d.shape[1:3] == (n_cells, n_cells)
    np.testing.assert_allclose(revived(inputs), model(inputs), rtol=1e-5, atol=0.01)
    network = crop_network.CropNetwork(model)
    frozen = freeze.freeze(lambda *args: [network.predict(*args)['poses']], network.tensor_specs())
    np.testing.assert_allclose(
        frozen(*(tf.constant(inputs[name]) for name in ('image', 'intrinsics')))[0],
        model(inputs), rtol=1e-4, atol=0.1)


def test_the_field_of_view_keeps_the_training_stride():
    """A joint at x = 22 px lies outside of 24 to 232 px, whatever the test stride.

    Inside, without a 3D share, it would lie on the ray of its pixel. Outside it is the translated
    3D joint, which with all joints in one place follows from the regularised solution.
    """
    model = make_model(models.Metrabs)
    assert model.reconstruction.stride_px == 32
    outputs = model.predict_heatmaps(inputs_with_red(130, 22))
    np.testing.assert_allclose(outputs['coords2d'][0, 0], [22, 130], atol=0.01)
    np.testing.assert_allclose(
        outputs['coords3d_cam'] - outputs['coords3d_rel'], np.zeros((1, 4, 3)), atol=5)


def test_fit_sees_the_coarse_and_predict_the_fine_cells():
    model = make_model(models.Metro)
    shapes = []
    decode = model.heads.decode

    def recording(logits3d, training=False):
        shapes.append((bool(training), logits3d.shape[1]))
        return decode(logits3d, training)

    model.heads.decode = recording
    model.compile(keras.optimizers.SGD(1e-9), loss='mean_absolute_error')
    inputs = inputs_with_red(16, 16)
    model.fit(inputs['image'], np.zeros((1, 4, 3)), verbose=0)
    model.predict(inputs['image'], verbose=0)
    assert set(shapes) == {(True, 8), (False, 64)}


def test_refuses_a_backbone_of_one_stride():
    model = common.make_model(models.Metro, test_stride_px=4)
    with pytest.raises(ValueError, match=r'`test_stride_px` \(4\) must be the stride of'):
        model.predict_heatmaps(common.make_inputs())
    assert model.predict_heatmaps(common.make_inputs(), training=True)
