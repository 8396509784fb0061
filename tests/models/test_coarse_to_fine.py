import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import losses, models
from metro_tf.backbones import hourglass
from metro_tf.geometry import camera
from metro_tf.layers import volumetric_heatmaps
from metro_tf.models import coarse_to_fine
from tests.models import common

DEPTHS, N_CELLS = (1, 8), common.SIDE // 4
SETTINGS = {
    'joint_names': common.JOINT_NAMES, 'edges': common.EDGES, 'crop_side_px': common.SIDE,
    'stride_px': 4, 'depths': DEPTHS, 'bone_lengths_mm': (500.0, 180.0, 180.0)}


def make_backbone(depths=DEPTHS, n_joints=4):
    return hourglass.build_stacked_hourglass(
        n_joints, depths, common.SIDE, n_channels=8, n_levels=1)


def make_model(depths=DEPTHS, **kwargs):
    return models.CoarseToFine(make_backbone(depths), **{**SETTINGS, 'depths': depths, **kwargs})


@pytest.fixture(scope='module')
def model():
    keras.utils.set_random_seed(0)
    return make_model()


@pytest.fixture(scope='module')
def flat_model():
    """Without depth."""
    keras.utils.set_random_seed(0)
    return make_model((1,), bone_lengths_mm=None)


@pytest.mark.slow
@pytest.mark.usefixtures('published_hourglasses')
def test_published_model():
    model = models.CoarseToFine()
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 53_585_847
    assert model.depths == (1, 2, 4, 64) and model.is_absolute
    assert model.input_resolution == 256


def test_published_joints():
    joints, lengths = coarse_to_fine.JOINTS, coarse_to_fine.BONE_LENGTHS_MM
    # The left leg comes first.
    assert joints.joint_names[:7] == ('pelv', 'lhip', 'lkne', 'lank', 'rhip', 'rkne', 'rank')
    by_name = {
        tuple(joints.joint_names[i] for i in edge): length
        for edge, length in zip(joints.edges, lengths, strict=True)}
    assert by_name['lhip', 'lkne'] == 449.20 and by_name['rhip', 'rkne'] == 449.21
    assert by_name['spin', 'neck'] == 255.34 and by_name['neck', 'head'] == 116.08
    assert by_name['head', 'htop'] == 115.0 and by_name['relb', 'rwri'] == 249.52
    # Half the height, from ankle to head.
    assert sum(by_name[bone] for bone in (
        ('lkne', 'lank'), ('lhip', 'lkne'), ('pelv', 'spin'), ('spin', 'neck'), ('neck', 'head'),
        ('head', 'htop'))) == pytest.approx(1619.58)


def test_published_joints_are_the_default():
    model = models.CoarseToFine(make_backbone((2,), 17), crop_side_px=common.SIDE, depths=(2,))
    assert model.joint_names == coarse_to_fine.JOINTS.joint_names
    assert model.bone_lengths_mm == coarse_to_fine.BONE_LENGTHS_MM
    assert model.i_root_joint == 0


def test_outputs(model):
    outputs = model.predict_heatmaps(common.make_inputs())
    assert [stage.shape for stage in outputs['volumes']] == [
        (3, N_CELLS, N_CELLS, 4), (3, N_CELLS, N_CELLS, 32)]
    for value in (*outputs['volumes'], outputs['coords25d'], outputs['coords3d_cam']):
        assert value.dtype == tf.float32 and np.all(np.isfinite(value))
    decoding = volumetric_heatmaps.VolumeDecoding(common.SIDE, 8)
    np.testing.assert_array_equal(outputs['coords25d'], decoding(outputs['volumes'][-1]))
    np.testing.assert_allclose(model(common.make_inputs()), outputs['coords3d_cam'], atol=0.01)


def test_position_by_root_depth(model):
    inputs = {**common.make_inputs(), 'root_depth_mm': np.float32([2000, 3000, 4000])}
    outputs = model.predict_heatmaps(inputs)
    poses, coords25d = outputs['coords3d_cam'], outputs['coords25d']
    # Published: the root, too, lies behind the given depth by what was decoded for it.
    expected = coords25d[..., 2] + np.float32([[2000], [3000], [4000]])
    np.testing.assert_allclose(poses[..., 2], expected, atol=0.01)
    np.testing.assert_allclose(
        camera.project(poses, inputs['intrinsics']), coords25d[..., :2], atol=0.01)


@pytest.mark.parametrize('extra', [{}, {'root_depth_mm': np.float32([2000, 3000, 4000])}])
def test_flip_averages_volumes(model, extra):
    inputs = {**common.make_inputs(), **extra}
    straight, mirrored = (
        last_volumes(model, image)
        for image in (inputs['image'], inputs['image'][:, :, ::-1]))
    # [batch, y, x, joints, depth]: columns from right to left, joints of the other side.
    back = mirrored[:, :, ::-1, list(model.mirror_mapping)]
    mean = ((straight + back) / 2).reshape(*straight.shape[:3], -1)
    expected = model.decode(mean, inputs['intrinsics'], extra.get('root_depth_mm'))
    np.testing.assert_allclose(
        model.predict_with_flip(inputs), expected['coords3d_cam'], rtol=1e-4, atol=0.1)
    assert not np.allclose(model(inputs), expected['coords3d_cam'], atol=0.1)


def last_volumes(model, image):
    volumes = model.predict_volumes(image)[-1].numpy()
    return volumes.reshape(*volumes.shape[:3], len(model.joint_names), DEPTHS[-1])


def test_flip_of_2d_heatmaps_brings_pixels_back(flat_model):
    image = common.make_inputs()['image']
    pixels = flat_model.predict_with_flip(image).numpy()
    mirrored = flat_model.predict_with_flip(image[:, :, ::-1]).numpy()
    back = mirrored[:, list(flat_model.mirror_mapping)] * [-1, 1] + [common.SIDE, 0]
    np.testing.assert_allclose(pixels, back, atol=1e-3)


def test_position_by_bone_lengths(model):
    """A pose whose bones have the lengths that the model knows is found where it is."""
    pose = np.float32([[[0, 0, 3000], [300, -400, 3000], [480, -400, 3000], [300, -400, 3180]]])
    intrinsics = common.make_inputs(1)['intrinsics']
    pixels = camera.project(pose, intrinsics).numpy()
    coords25d = np.concatenate([pixels, pose[..., 2:] - 3000], axis=-1)
    np.testing.assert_allclose(model.reconstruction(coords25d, intrinsics), pose, atol=0.5)
    assert model.reconstruction.i_root_joint == 0


@pytest.mark.parametrize('decoding', ['refined', 'soft_argmax'])
def test_ways_of_decoding(decoding):
    model = make_model((8,), decoding=decoding, depth_range_mm=(-800, 800))
    outputs = model.predict_heatmaps(common.make_inputs())
    expected = volumetric_heatmaps.VolumeDecoding(common.SIDE, 8, (-800, 800), decoding)(
        outputs['volumes'][-1])
    np.testing.assert_array_equal(outputs['coords25d'], expected)


def test_network_without_depth(flat_model):
    inputs = common.make_inputs()
    outputs = flat_model.predict_heatmaps(inputs['image'])
    assert set(outputs) == {'volumes', 'coords25d'}
    assert not flat_model.is_absolute
    coords2d = flat_model(inputs)
    assert coords2d.shape == (3, 4, 2)
    np.testing.assert_array_equal(coords2d, outputs['coords25d'][..., :2])
    # Centres of cells of 4 px.
    np.testing.assert_array_equal(coords2d % 4, np.full([3, 4, 2], 2))


def test_forms_of_the_input(model):
    inputs = common.make_inputs()
    image = (inputs['image'] * 255).astype(np.uint8)
    expected = model.predict_volumes(np.float32(image) / 255)
    actual = model.predict_heatmaps((image, inputs['intrinsics']))['volumes']
    for actual_stage, expected_stage in zip(actual, expected, strict=True):
        np.testing.assert_allclose(actual_stage, expected_stage, atol=1e-5)
    with pytest.raises(ValueError, match='`inputs` must contain the crop\'s intrinsics'):
        model.predict_heatmaps(image)
    with pytest.raises(ValueError, match='`image` must be .* so the side must be 64'):
        model.predict_volumes(image[:, :32, :32])


def test_unknown_batch_size(model):
    @tf.function(input_signature=[{
        'image': tf.TensorSpec([None, common.SIDE, common.SIDE, 3]),
        'intrinsics': tf.TensorSpec([None, 3, 3])}])
    def predict(inputs):
        outputs = model.predict_heatmaps(inputs)
        return outputs['volumes'], outputs['coords3d_cam']

    inputs = common.make_inputs()
    volumes, poses = predict(inputs)
    for actual, expected in zip(volumes, model.predict_volumes(inputs['image']), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert poses.shape == (3, 4, 3)
    none = {name: value[:0] for name, value in inputs.items()}
    assert [stage.shape[0] for stage in predict(none)[0]] == [0, 0]
    assert predict(none)[1].shape == (0, 4, 3)


@pytest.mark.parametrize('fixture', ['model', 'flat_model'])
def test_keras_file_revives(fixture, request, tmp_path):
    model = request.getfixturevalue(fixture)
    model.save(tmp_path / 'model.keras')
    revived = models.load_crop_model(tmp_path / 'model.keras')
    assert type(revived) is models.CoarseToFine
    assert revived.joint_names == common.JOINT_NAMES and revived.joint_edges == common.EDGES
    assert (revived.depths, revived.bone_lengths_mm) == (model.depths, model.bone_lengths_mm)
    image = common.make_inputs()['image']
    for actual, expected in zip(
            revived.predict_volumes(image), model.predict_volumes(image), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_config_is_complete(model):
    config = json.loads(json.dumps(model.get_config()))
    declared = set(inspect.signature(models.CoarseToFine.__init__).parameters)
    assert declared - {'self', 'kwargs'} <= set(config)
    for name, value in SETTINGS.items():
        assert config[name] == json.loads(json.dumps(value))
    assert not {'n_depth_cells', 'box_size_mm', 'test_stride_px'} & set(config)


def test_learns_where_joints_are():
    """Two images by heart, with the loss on both stages."""
    model = make_model((1, 2))
    image = common.make_inputs(2)['image']
    rng = np.random.default_rng(1)
    coords25d = np.concatenate(
        [rng.uniform(8, 56, (2, 4, 2)), rng.uniform(-900, 900, (2, 4, 1))], -1).astype(np.float32)
    mask = np.ones([2, 4], bool)
    targets = [
        volumetric_heatmaps.VolumetricTargets(common.SIDE, N_CELLS, depth).profiles(
            coords25d, mask) for depth in model.depths]
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = sum(
                losses.volumetric_loss(volumes, profiles, mask) for volumes, profiles in zip(
                    model.predict_volumes(image, training=True), targets))
        variables = [
            variable if isinstance(variable, tf.Variable) else variable.value
            for variable in model.trainable_variables]
        optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), model.trainable_variables))
        return loss

    values = [step().numpy() for _ in range(40)]
    assert np.all(np.isfinite(values))
    assert values[-1] < 0.2 * values[0]


def test_refusals():
    backbone = make_backbone((1, 2))

    def make(**kwargs):
        return models.CoarseToFine(backbone, **{**SETTINGS, 'depths': (1, 2), **kwargs})

    with pytest.raises(ValueError, match=r'`depths` must be .* out of .*depths=\(1, 3\)'):
        make(depths=(1, 3))
    with pytest.raises(ValueError, match=r'`depths` must be .* at least one stage'):
        make(depths=())
    with pytest.raises(ValueError, match=r'`backbone` must put out .* thus \[4, 16\] channels'):
        make(depths=(1, 4))
    with pytest.raises(ValueError, match=r'`backbone` must put out .*Received: \[4, 8\] channels'):
        make(depths=(2,))
    with pytest.raises(ValueError, match='`bone_lengths_mm` must be given for joints that'):
        make(bone_lengths_mm=None)
    with pytest.raises(ValueError, match='`bone_lengths_mm` must have one length for each'):
        make(bone_lengths_mm=(1.0,))
    with pytest.raises(ValueError, match="`joint_names` must contain the root 'pelv'"):
        make(joint_names=('head', *common.JOINT_NAMES[1:]))
    with pytest.raises(ValueError, match='`joint_names` and `edges` must be given together'):
        make(edges=None)
    with pytest.raises(ValueError, match='`depth_range_mm` must be two finite depths'):
        make(depth_range_mm=(5, 5))
    with pytest.raises(ValueError, match='`method` must be one of'):
        make(decoding='mean')
    with pytest.raises(ValueError, match=r'`stride_px` \(8\) must be the stride of `backbone`'):
        make(stride_px=8).predict_volumes(common.make_inputs()['image'])
