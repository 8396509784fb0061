import keras
import numpy as np
import pytest
import tensorflow as tf

import metro_tf
from metro_tf import models
from metro_tf.geometry import root_depth
from tests.models import common

IMAGE_INTRINSICS = np.float32([[500, 0, 320], [0, 500, 240], [0, 0, 1]])
BOXES = np.float32([[250, 150, 100, 150], [50, 200, 200, 160]])


def make_colour_model(bone_lengths_mm=(400.0, 400.0), **kwargs):
    """Sees joint 0, 1 and 2 where a cell is red, green and blue, in the depth planes 2, 2 and 3."""
    image = keras.Input((None, None, 3), name='image')
    backbone = keras.Model(image, keras.layers.AveragePooling2D(common.STRIDE)(image))
    model = models.Pose25D(backbone, **{
        **common.SETTINGS, 'joint_names': ('pelv', 'neck', 'lsho'), 'edges': ((0, 1), (1, 2)),
        'bone_lengths_mm': bone_lengths_mm, **kwargs})
    kernel = np.zeros([1, 1, 3, 5, 3])
    kernel[0, 0, [0, 1, 2], [2, 2, 3], [0, 1, 2]] = 100
    model.heads.set_weights([kernel.reshape(1, 1, 3, 15), np.zeros(15)])
    return model


def colour_inputs(*cells):
    """Image in which the cells (row, column) are red, green and blue, and intrinsics."""
    image = np.zeros([1, common.SIDE, common.SIDE, 3], np.float32)
    for channel, (row, column) in enumerate(cells):
        rows, columns = (slice(common.STRIDE * i, common.STRIDE * (i + 1)) for i in (row, column))
        image[0, rows, columns, channel] = 1
    return {**common.make_inputs(1), 'image': image}


def test_pose_by_hand():
    """Cells lie at 8, 24, 40 and 56 px; focal length 120, centre 32; planes 500 mm apart.

    Pelvis and neck on rows 2 and 1 of column 1 are 16 / 120 apart in the normalised image, which
    makes 400 mm at 3000 mm. The shoulder in row 1, column 0 is beyond the bound of 12 px, so its
    bone of any length does not count. It is 500 mm farther away.
    """
    model = make_colour_model(bone_lengths_mm=(400, 123), i_root_joint=0)
    outputs = model.predict_heatmaps(colour_inputs((2, 1), (1, 1), (1, 0)))
    np.testing.assert_allclose(
        outputs['coords25d'], [[[24, 40, 1000], [24, 24, 1000], [8, 24, 1500]]], atol=1e-3)
    np.testing.assert_allclose(
        outputs['coords3d_cam'],
        [[[-200, 200, 3000], [-200, -200, 3000], [-700, -3500 / 15, 3500]]], atol=0.05)


@pytest.mark.parametrize('i_root_joint', [None, 0, -1])
def test_given_root_depth_by_hand(i_root_joint):
    model = make_colour_model(i_root_joint=i_root_joint)
    inputs = colour_inputs((2, 1), (1, 1), (1, 0))
    coords3d = model({**inputs, 'root_depth_mm': np.float32([4000])}).numpy()
    nearest = {None: 4000 - 500 / 3, 0: 4000, -1: 3500}[i_root_joint]
    np.testing.assert_allclose(
        coords3d[0, :, 2], [nearest, nearest, nearest + 500], atol=0.01)
    np.testing.assert_allclose(coords3d[0, 0, :2], [-nearest / 15, nearest / 15], atol=0.01)


def test_heatmaps_and_coordinates_agree():
    model = common.make_model(models.Pose25D)
    inputs = common.make_inputs()
    outputs = {name: value.numpy() for name, value in model.predict_heatmaps(inputs).items()}
    assert {name: value.shape for name, value in outputs.items()} == {
        'logits3d': (3, 4, 4, 5, 4), 'coords25d': (3, 4, 3), 'coords3d_cam': (3, 4, 3)}
    weights = np.exp(outputs['logits3d'] - outputs['logits3d'].max((1, 2, 3), keepdims=True))
    probs = weights / weights.sum((1, 2, 3), keepdims=True)
    expected = np.stack([
        np.einsum('byxzj,x->bj', probs, np.float32([8, 24, 40, 56])),
        np.einsum('byxzj,y->bj', probs, np.float32([8, 24, 40, 56])),
        np.einsum('byxzj,z->bj', probs, np.linspace(0, 2000, 5))], -1)
    np.testing.assert_allclose(outputs['coords25d'], expected, rtol=1e-4)
    depth = root_depth.from_bone_lengths(
        outputs['coords25d'], inputs['intrinsics'], common.EDGES, model.bone_lengths_mm,
        np.ones((3, 4), bool))
    np.testing.assert_allclose(outputs['coords3d_cam'][..., 2].mean(1), depth, rtol=1e-4)


def test_tuple_of_inputs():
    model, inputs = make_colour_model(), colour_inputs((2, 1), (1, 2), (1, 1))
    np.testing.assert_allclose(
        model((inputs['image'], inputs['intrinsics'])), model(inputs), atol=0.01)


@pytest.mark.parametrize('with_root_depth', [False, True])
def test_learns_from_the_position(with_root_depth):
    model = common.make_model(models.Pose25D)
    inputs = common.make_inputs()
    if with_root_depth:
        inputs['root_depth_mm'] = np.float32([3000, 4000, 5000])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(inputs, training=True))
    kernel = model.heads.conv.kernel
    value = kernel if isinstance(kernel, tf.Variable) else kernel.value
    gradient = tape.gradient(loss, value).numpy()
    assert np.all(np.isfinite(gradient)) and np.any(gradient != 0)


def test_keras_file_keeps_bones_and_root(tmp_path):
    model = make_colour_model(bone_lengths_mm=(400, 321.5), i_root_joint=1)
    model.save(tmp_path / 'model.keras')
    revived = models.load_crop_model(tmp_path / 'model.keras')
    assert revived.bone_lengths_mm == model.bone_lengths_mm == (400, 321.5)
    inputs = colour_inputs((2, 1), (1, 1), (1, 2))
    np.testing.assert_allclose(revived(inputs), model(inputs), atol=0.01)
    inputs['root_depth_mm'] = np.float32([4000])
    np.testing.assert_allclose(revived(inputs)[0, 1, 2], 4000, atol=0.01)


def test_half_precision_leaves_the_root_depth_alone(dtype_policy):
    dtype_policy('mixed_float16')
    inputs = colour_inputs((2, 1), (1, 1), (1, 2))
    inputs['root_depth_mm'] = np.float32([70001])
    np.testing.assert_allclose(
        make_colour_model(i_root_joint=0)(inputs)[0, 0, 2], 70001, atol=0.1)


def test_estimator_gives_the_poses_of_the_crops():
    model = common.make_model(models.Pose25D)
    kernel, bias = model.heads.get_weights()
    model.heads.set_weights([30 * kernel, bias])  # distinct peaks, as of a trained model
    image = np.random.default_rng(0).integers(0, 256, (40, 53, 3)).repeat(12, 0).repeat(12, 1)
    image = image.astype(np.uint8)
    estimator = metro_tf.PoseEstimator(model)
    people = estimator.estimate_poses(image, BOXES, IMAGE_INTRINSICS, num_aug=1)
    crops = metro_tf.crop_people(
        image, BOXES, IMAGE_INTRINSICS, crop_side_px=model.input_resolution,
        zoom=1.05, gamma=0.8)
    poses = model({'image': crops.crops, 'intrinsics': crops.intrinsics})
    expected = metro_tf.uncrop_poses(poses, crops.rotations)
    assert people['poses3d'].shape == (2, 4, 3)
    np.testing.assert_allclose(people['poses3d'], expected, rtol=1e-3, atol=1)
    averaged = estimator.estimate_poses(image, BOXES, IMAGE_INTRINSICS)
    assert np.all(np.isfinite(averaged['poses3d']))


def test_refusals():
    with pytest.raises(ValueError, match='`inputs` must contain the crop\'s intrinsics'):
        make_colour_model().predict_heatmaps(common.make_inputs(1)['image'])
    with pytest.raises(ValueError, match='`bone_lengths_mm` must have .* 1 lengths for 2 edges'):
        make_colour_model(bone_lengths_mm=[400])
    with pytest.raises(ValueError, match='`bone_lengths_mm` must be a positive finite number'):
        make_colour_model(bone_lengths_mm=[400, -1])
    with pytest.raises(ValueError, match='`i_root_joint` must be None or the index of one of 3'):
        make_colour_model(i_root_joint=3)(colour_inputs((2, 1), (1, 1), (1, 2)))
