import numpy as np
import pytest
import tensorflow as tf

from metro_tf import models
from metro_tf.geometry import reconstruction
from tests.models import common


def test_heatmaps_and_coordinates_agree():
    model = common.make_model(models.Metrabs)
    inputs = common.make_inputs()
    outputs = {name: value.numpy() for name, value in model.predict_heatmaps(inputs).items()}
    assert {name: value.shape for name, value in outputs.items()} == {
        'logits2d': (3, 4, 4, 4), 'logits3d': (3, 4, 4, 5, 4), 'coords2d': (3, 4, 2),
        'coords3d_rel': (3, 4, 3), 'coords3d_cam': (3, 4, 3)}
    # Cells lie at 8, 24, 40 and 56 px; the planes span the box of 2000 mm.
    probs2d = softmax(outputs['logits2d'], (1, 2))
    np.testing.assert_allclose(
        outputs['coords2d'][..., 1], np.einsum('byxj,y->bj', probs2d, [8, 24, 40, 56]), rtol=1e-4)
    probs3d = softmax(outputs['logits3d'], (1, 2, 3))
    np.testing.assert_allclose(
        outputs['coords3d_rel'][..., 2],
        np.einsum('byxzj,z->bj', probs3d, np.linspace(0, 2000, 5)), rtol=1e-4)


def softmax(logits, axes):
    weights = np.exp(logits - logits.max(axes, keepdims=True))
    return weights / weights.sum(axes, keepdims=True)


@pytest.mark.parametrize('weak', [False, True])
def test_position_is_the_reconstruction(weak):
    model = common.make_model(models.Metrabs, weak_perspective=weak, mix_3d_inside_fov=0.25)
    inputs = common.make_inputs()
    outputs = model.predict_heatmaps(inputs)
    coords2d = outputs['coords2d'].numpy()
    is_in_fov = np.all((coords2d >= 12) & (coords2d <= 52), axis=-1)  # 0.75 strides of 16 px
    expected = reconstruction.reconstruct_absolute(
        coords2d, outputs['coords3d_rel'], inputs['intrinsics'], is_in_fov,
        mix_3d_inside_fov=0.25, weak_perspective=weak)
    np.testing.assert_allclose(outputs['coords3d_cam'], expected, rtol=1e-3, atol=1)
    np.testing.assert_allclose(model(inputs), outputs['coords3d_cam'], rtol=1e-3, atol=1)


def test_tuple_of_inputs():
    model = common.make_model(models.Metrabs)
    inputs = common.make_inputs()
    np.testing.assert_allclose(
        model((inputs['image'], inputs['intrinsics'])), model(inputs), rtol=1e-4, atol=0.1)


def test_intrinsics_matter():
    model = common.make_model(models.Metrabs)
    inputs = common.make_inputs()
    shifted = {**inputs, 'intrinsics': inputs['intrinsics'] + np.float32(
        [[0, 0, 10], [0, 0, 0], [0, 0, 0]])}
    assert np.abs(model(shifted) - model(inputs))[..., 0].max() > 1


def test_both_heads_learn_from_the_position():
    model = common.make_model(models.Metrabs)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(common.make_inputs(), training=True))
    kernel = model.heads.conv.kernel
    value = kernel if isinstance(kernel, tf.Variable) else kernel.value
    gradient = tape.gradient(loss, value).numpy()
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient[..., :4] != 0) and np.any(gradient[..., 4:] != 0)


def test_one_joint():
    model = common.make_model(models.Metrabs, joint_names=('pelv',), edges=())
    output = model(common.make_inputs())
    assert output.shape == (3, 1, 3) and np.all(np.isfinite(output))


def test_refuses_missing_intrinsics():
    model = common.make_model(models.Metrabs)
    with pytest.raises(ValueError, match='`inputs` must contain the crop\'s intrinsics'):
        model.predict_heatmaps(common.make_inputs()['image'])
    with pytest.raises(ValueError, match='`mix_3d_inside_fov` must be between 0 and 1'):
        common.make_model(models.Metrabs, mix_3d_inside_fov=2)
