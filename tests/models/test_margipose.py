import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import metro_tf
from metro_tf import losses, models, skeleton
from metro_tf.export import freeze
from metro_tf.geometry import cuboid, reconstruction
from tests import fakes
from tests.models import common

# Heatmaps of 4 x 4 cells; at half resolution 8 channels in 4 groups of 2.
SETTINGS = {
    'joint_names': common.JOINT_NAMES, 'edges': common.EDGES, 'crop_side_px': common.SIDE,
    'stride_px': common.STRIDE, 'n_inner_channels': 8}
HEIGHT_EDGES = ((0, 1), (2, 3))
MODELS = [models.MargiPose, models.AbsoluteMargiPose]
IMAGE_INTRINSICS = np.float32([[500, 0, 320], [0, 500, 240], [0, 0, 1]])
BOXES = np.float32([[250, 150, 100, 150], [50, 200, 200, 160]])


def make_model(model_cls, n_stages=1, **kwargs):
    if model_cls is models.MargiPose:
        kwargs = {'height_edges': HEIGHT_EDGES, 'height_mm': 500.0, **kwargs}
    return model_cls(common.make_backbone(), n_stages=n_stages, **{**SETTINGS, **kwargs})


@pytest.fixture(scope='module')
def margipose():
    keras.utils.set_random_seed(0)
    return make_model(models.MargiPose, n_stages=2)


@pytest.fixture(scope='module')
def absolute():
    keras.utils.set_random_seed(0)
    return make_model(models.AbsoluteMargiPose, box_size_mm=2000.0)


@pytest.fixture(scope='module', params=['margipose', 'absolute'])
def any_model(request):
    return request.getfixturevalue(request.param)


def n_weights(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


@pytest.mark.slow
def test_published_model():
    model = models.MargiPose(n_stages=4, axis_permutation=True)
    assert n_weights(model.trainable_weights) == 57_867_668
    assert n_weights(model.non_trainable_weights) == 110_408
    assert model.joint_names == skeleton.CONVENTIONS['mpi_inf_3dhp_17'].joint_names
    assert model.input_resolution == 256
    stages = model.predict_stages(np.zeros([1, 256, 256, 3], np.float32))
    assert [stage['heatmaps'].shape for stage in stages] == [(1, 32, 32, 3, 17)] * 4
    # Left knee to hip, pelvis to spine, spine to neck.
    assert model.reconstruction.height_edges == ((11, 12), (14, 15), (15, 1))


def test_outputs(any_model):
    outputs = any_model.predict_heatmaps(common.make_inputs())
    stages = outputs.pop('stages')
    assert len(stages) == any_model.heads.n_stages
    for stage in stages:
        assert {name: value.shape for name, value in stage.items()} == {
            'heatmaps': (3, 4, 4, 3, 4), 'coords': (3, 4, 3), 'plane_coords': (3, 3, 4, 2),
            'disagreement': (3, 4, 3)}
    for value in (*outputs.values(), any_model(common.make_inputs())):
        assert value.dtype == tf.float32 and value.shape[:2] == (3, 4)
        assert np.all(np.isfinite(value))
    np.testing.assert_allclose(
        any_model(common.make_inputs()), outputs['coords3d_cam'], rtol=1e-3, atol=0.1)


def test_position_by_scale(margipose):
    inputs = common.make_inputs()
    outputs = margipose.predict_heatmaps(inputs)
    coords = outputs['coords'].numpy()
    np.testing.assert_allclose(coords, outputs['stages'][-1]['coords'])
    poses = outputs['coords3d_cam'].numpy()
    heights = sum(np.linalg.norm(poses[:, i] - poses[:, j], axis=-1) for i, j in HEIGHT_EDGES)
    np.testing.assert_allclose(heights, [500] * 3, rtol=1e-4)
    depths = cuboid.root_depth_from_height(
        coords, inputs['intrinsics'], common.SIDE, HEIGHT_EDGES, 500.0)
    back = cuboid.from_camera_frame(poses, inputs['intrinsics'], depths, common.SIDE)
    np.testing.assert_allclose(back, coords, atol=1e-4)


def test_position_by_root_depth(margipose):
    inputs = {**common.make_inputs(), 'root_depth_mm': np.float32([2000, 3000, 4000])}
    outputs = margipose.predict_heatmaps(inputs)
    expected = cuboid.to_camera_frame(
        outputs['coords'], inputs['intrinsics'], inputs['root_depth_mm'], common.SIDE)
    np.testing.assert_allclose(margipose(inputs), expected, rtol=1e-4, atol=0.1)
    # The principal point is pixel 32, and the crop's edges are -1 and 1.
    np.testing.assert_allclose(
        outputs['coords2d'], (outputs['coords'][..., :2] + 1) * 32, atol=1e-3)


def test_planes_feed_the_absolute_reconstruction(absolute):
    inputs = common.make_inputs()
    outputs = absolute.predict_heatmaps(inputs)
    heatmaps = outputs['stages'][-1]['heatmaps'].numpy()
    # Four cells at 8, 24, 40 and 56 px of 64, and at 250, 750, 1250 and 1750 mm of 2000.
    pixels, millimetres = np.float32([8, 24, 40, 56]), np.float32([250, 750, 1250, 1750])
    columns, rows = heatmaps.sum(1), heatmaps.sum(2)
    coords2d = np.stack(
        [np.einsum('bcj,c->bj', profile[:, :, 0], pixels) for profile in (columns, rows)], -1)
    np.testing.assert_allclose(outputs['coords2d'], coords2d, atol=1e-3)
    (x, z_above), (z, y) = (
        [np.einsum('bcj,c->bj', profile[:, :, i_plane], millimetres)
         for profile in (columns, rows)] for i_plane in (2, 1))
    coords3d_rel = np.stack([x, y, (z + z_above) / 2], axis=-1)
    np.testing.assert_allclose(outputs['coords3d_rel'], coords3d_rel, atol=0.05)
    is_in_fov = np.all((coords2d >= 12) & (coords2d <= 52), axis=-1)  # 0.75 strides of 16 px
    expected = reconstruction.reconstruct_absolute(
        coords2d, coords3d_rel, inputs['intrinsics'], is_in_fov, mix_3d_inside_fov=0.5)
    np.testing.assert_allclose(outputs['coords3d_cam'], expected, rtol=1e-2, atol=2)


def test_forms_of_the_input(any_model):
    inputs = common.make_inputs()
    image = (inputs['image'] * 255).astype(np.uint8)
    expected = any_model.predict_stages(np.float32(image) / 255)[-1]['coords']
    np.testing.assert_allclose(
        any_model.predict_heatmaps((image, inputs['intrinsics']))['stages'][-1]['coords'],
        expected, atol=1e-4)
    with pytest.raises(ValueError, match='`inputs` must contain the crop\'s intrinsics'):
        any_model.predict_heatmaps(image)


def test_unknown_batch_size(any_model):
    @tf.function(input_signature=[{
        'image': tf.TensorSpec([None, None, None, 3]),
        'intrinsics': tf.TensorSpec([None, 3, 3])}])
    def predict(inputs):
        outputs = any_model.predict_heatmaps(inputs)
        return outputs['stages'][-1]['coords'], outputs['coords3d_cam']

    inputs = common.make_inputs()
    coords, poses = predict(inputs)
    np.testing.assert_allclose(
        coords, any_model.predict_stages(inputs['image'])[-1]['coords'], atol=1e-4)
    assert poses.shape == (3, 4, 3)
    none = {name: value[:0] for name, value in inputs.items()}
    assert predict(none)[1].shape == (0, 4, 3)
    assert any_model(none).shape == (0, 4, 3)


def test_training_reaches_the_stages(any_model):
    norm = any_model.heads.stages[-1].columns[2].last_block.norm_out
    before = norm.get_weights()[2]
    any_model.predict_stages(common.make_inputs()['image'])
    np.testing.assert_array_equal(norm.get_weights()[2], before)
    any_model.predict_stages(common.make_inputs()['image'], training=True)
    assert np.any(norm.get_weights()[2] != before)


def test_keras_file_revives(any_model, tmp_path):
    any_model.save(tmp_path / 'model.keras')
    revived = models.load_crop_model(tmp_path / 'model.keras')
    assert type(revived) is type(any_model)
    assert revived.get_config()['edges'] == [list(edge) for edge in common.EDGES]
    for actual, expected in zip(revived.get_weights(), any_model.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)
    image = common.make_inputs()['image']
    np.testing.assert_allclose(
        revived.predict_stages(image)[-1]['heatmaps'],
        any_model.predict_stages(image)[-1]['heatmaps'], atol=1e-5)


def test_config_is_complete(any_model):
    config = json.loads(json.dumps(any_model.get_config()))
    declared = set(inspect.signature(type(any_model).__init__).parameters) - {'self', 'kwargs'}
    assert declared <= set(config)
    for name, value in SETTINGS.items():
        assert config[name] == json.loads(json.dumps(value))
    assert config['n_stages'] == any_model.heads.n_stages
    assert 'n_depth_cells' not in config


def test_folded_graph_is_the_model(any_model):
    """Normalisations behind zero-filled cells must not be merged into convolutions."""
    for norm in (block.shortcut_norm for column in any_model.heads.stages[0].columns
                 for block in column.up_blocks):
        scale, _, mean, variance = norm.get_weights()
        norm.set_weights([scale, np.linspace(-1, 1, len(scale)), mean + 0.1, variance])
    frozen = freeze.freeze(
        lambda image: [any_model.predict_stages(image)[-1]['heatmaps']],
        [tf.TensorSpec([None, common.SIDE, common.SIDE, 3])], True)
    image = common.make_inputs()['image']
    np.testing.assert_allclose(
        frozen(tf.constant(image))[0], any_model.predict_stages(image)[-1]['heatmaps'], atol=1e-4)


@pytest.mark.slow
def test_estimates_poses(margipose):
    image = np.random.default_rng(0).integers(0, 256, (40, 53, 3)).repeat(12, 0).repeat(12, 1)
    image = image.astype(np.uint8)
    estimator = metro_tf.PoseEstimator(margipose)
    people = estimator.estimate_poses(image, BOXES, IMAGE_INTRINSICS, num_aug=1)
    crops = metro_tf.crop_people(
        image, BOXES, IMAGE_INTRINSICS, crop_side_px=common.SIDE, zoom=1.05, gamma=0.8)
    poses = margipose({'image': crops.crops, 'intrinsics': crops.intrinsics})
    expected = metro_tf.uncrop_poses(poses, crops.rotations)
    assert people['poses3d'].shape == (2, 4, 3)
    np.testing.assert_allclose(people['poses3d'], expected, rtol=1e-2, atol=5)


@pytest.mark.slow
def test_detects_poses(absolute):
    detector = fakes.FakeDetector([[[*box, 0.9] for box in BOXES.tolist()]])
    estimator = metro_tf.PoseEstimator(absolute, detector)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    people = estimator.detect_poses(image, num_aug=2, suppress_implausible_poses=False)
    assert people['poses3d'].shape == (2, 4, 3) and np.all(np.isfinite(people['poses3d']))
    np.testing.assert_allclose(people['boxes'][:, :4], BOXES, atol=1e-3)


def labels_with_and_without_depth():
    """Coordinates, mask and the examples with depth; of the others z is not known."""
    coords_true = np.random.default_rng(0).uniform(-0.8, 0.8, (4, 4, 3)).astype(np.float32)
    coords_true[2:, :, 2] = np.nan
    return coords_true, np.ones([4, 4], bool), np.array([True, True, False, False])


def loss_and_gradients(model, variables):
    with tf.GradientTape() as tape:
        stages = model.predict_stages(common.make_inputs(4)['image'], training=True)
        coords_true, mask, has_depth = labels_with_and_without_depth()
        loss = losses.marginal_loss(coords_true, stages, mask, has_depth)
    return loss, tape.gradient(loss, [
        variable if isinstance(variable, tf.Variable) else variable.value
        for variable in variables])


def test_learns_from_examples_with_and_without_depth():
    model, optimizer = make_model(models.MargiPose), keras.optimizers.Adam(3e-3)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        loss, gradients = loss_and_gradients(model, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    values = [step().numpy() for _ in range(25)]
    assert np.all(np.isfinite(values))
    assert np.mean(values[-5:]) < 0.7 * values[0]


def test_half_precision(dtype_policy):
    dtype_policy('mixed_bfloat16')
    model = make_model(models.MargiPose, n_stages=2)
    assert model.backbone(common.make_inputs()['image']).dtype == tf.bfloat16
    loss, gradients = loss_and_gradients(model, model.trainable_variables)
    assert loss.dtype == tf.float32 and np.isfinite(loss)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    assert all(np.any(gradient != 0) for gradient, variable in zip(
        gradients, model.trainable_variables) if 'kernel' in variable.name)


@pytest.mark.parametrize('model_cls', MODELS)
def test_refusals(model_cls):
    with pytest.raises(ValueError, match='`crop_side_px` must be an even multiple of `stride_px`'):
        make_model(model_cls, crop_side_px=48)
    with pytest.raises(ValueError, match='`n_inner_channels` must be a multiple of 2, half'):
        make_model(model_cls, n_inner_channels=7)
    with pytest.raises(ValueError, match='`stride_px` must divide `crop_side_px`'):
        make_model(model_cls, stride_px=24)
    with pytest.raises(ValueError, match='`joint_names` and `edges` must be given together'):
        make_model(model_cls, edges=None)
    with pytest.raises(ValueError, match='`n_stages` must be a positive finite number'):
        make_model(model_cls, n_stages=0)


def test_height_needs_its_joints():
    with pytest.raises(ValueError, match='joint_names without .*lhip.*lkne.*spin'):
        make_model(models.MargiPose, height_edges=None)
    with pytest.raises(ValueError, match='`height_edges` must contain at least one bone'):
        make_model(models.MargiPose, height_edges=())
