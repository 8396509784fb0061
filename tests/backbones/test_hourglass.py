import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.backbones import hourglass

N_JOINTS, SIDE = 5, 32
TINY = {'n_channels': 8, 'n_levels': 1}


def make_network(depths=(1,), variant='paper', side=SIDE, **kwargs):
    return hourglass.build_stacked_hourglass(
        N_JOINTS, depths, side, variant=variant, **{**TINY, **kwargs})


def make_images():
    return np.random.default_rng(0).random((2, SIDE, SIDE, 3)).astype(np.float32)


def differs_between_images(volumes):
    return np.ptp(volumes, axis=0).max() > 1e-3


def n_trainable(network):
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


def run_to(network, layer_names, inputs):
    """What layers in the middle of a functional model put out."""
    outputs = [network.get_layer(name).output for name in layer_names]
    return [output.numpy() for output in keras.Model(network.inputs, outputs)(inputs)]


def set_weights_to_zero(network, *layer_names):
    for name in layer_names:
        layer = network.get_layer(name)
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])


# The published numbers are those of a transcription of the released code.
@pytest.mark.parametrize('depths, variant, expected', [
    ((64,), 'paper', 13_805_760),
    ((64,), 'uniform', 9_708_736),
    pytest.param((1, 64), 'paper', 26_904_401, marks=pytest.mark.slow),
    pytest.param((1, 2, 64), 'paper', 40_232_051, marks=pytest.mark.slow),
    pytest.param((1, 2, 4, 64), 'paper', 53_585_847, marks=pytest.mark.slow),
    pytest.param((64, 64), 'paper', 27_590_912, marks=pytest.mark.slow),
    pytest.param((32,), 'uniform', 9_568_928, marks=pytest.mark.slow),
    pytest.param((1, 2, 4, 64), 'uniform', 37_197_367, marks=pytest.mark.slow)])
def test_published_sizes(depths, variant, expected):
    network = hourglass.build_stacked_hourglass(17, depths, variant=variant)
    assert n_trainable(network) == expected
    assert [output.shape[1:] for output in network.outputs] == [
        (64, 64, 17 * depth) for depth in depths]


def test_published_volume_network_and_encoder():
    network = hourglass.build_volume_network(17, (64,))
    assert network.inputs[0].shape[1:] == (64, 64, 17)
    assert network.outputs[0].shape[1:] == (64, 64, 1088)
    # Instead of the convolution (9,408 + 64), its normalisation (128) and the residual module
    # from 64 to 128 channels (26,240), there is one from 17 to 128.
    modules = {17: 2 * 17 + 17 * 64 + 64, 64: 2 * 64 + 64 * 64 + 64}
    shortcuts = {17: 17 * 128 + 128, 64: 64 * 128 + 128}
    fewer = 9_472 + 128 + modules[64] + shortcuts[64] - modules[17] - shortcuts[17]
    assert n_trainable(network) == 13_805_760 - fewer
    assert hourglass.build_encoder().outputs[0].shape[1:] == (4, 4, 512)


@pytest.mark.parametrize('variant', hourglass.VARIANTS)
def test_volumes_of_every_stage(variant):
    network = make_network((1, 2, 64), variant)
    volumes = network(make_images())
    assert [stage.shape for stage in volumes] == [(2, 8, 8, 5), (2, 8, 8, 10), (2, 8, 8, 320)]
    assert all(stage.dtype == tf.float32 and np.all(np.isfinite(stage)) for stage in volumes)
    assert all(np.any(stage < 0) for stage in volumes)


@pytest.mark.parametrize('variant, has_identity_path', [('paper', False), ('uniform', True)])
def test_identity_path_around_hourglasses(variant, has_identity_path):
    network = make_network((1, 2), variant)
    set_weights_to_zero(network, 'stage_0_merge_features', 'stage_0_merge_volumes')
    first, second = network(make_images(), training=True)
    assert differs_between_images(first)
    assert differs_between_images(second) == has_identity_path


@pytest.mark.parametrize('kept', ['features', 'volumes'])
def test_both_volumes_and_features_lead_to_the_next_stage(kept):
    network = make_network((1, 2))
    dropped, = {'features', 'volumes'} - {kept}
    set_weights_to_zero(network, f'stage_0_merge_{dropped}')
    assert differs_between_images(network(make_images(), training=True)[1])


def test_features_beside_the_hourglasses():
    """Those behind the first pooling beside the first one, then those of the stage before."""
    pooled, first, second, third, beside_first, beside_second = run_to(
        make_network((1, 2, 8)),
        ['stem_pool', *(f'stage_{i}_head_1_relu' for i in range(3)), 'stage_0_joined',
         'stage_1_joined'], make_images())
    assert [x.shape[-1] for x in (pooled, first, second, third)] == [4, 8, 8, 16]
    np.testing.assert_array_equal(beside_first, np.concatenate([first, pooled], -1))
    np.testing.assert_array_equal(beside_second, np.concatenate([second, first], -1))


def test_residual_module():
    network = hourglass.build_volume_network(N_JOINTS, (2,), 8, **TINY)
    heatmaps = np.random.default_rng(0).normal(size=(2, 8, 8, N_JOINTS)).astype(np.float32)
    x = heatmaps
    for i in (1, 2, 3):
        scale, shift, mean, variance = network.get_layer(f'stem_0_{i}_norm').get_weights()
        x = np.maximum((x - mean) * scale / np.sqrt(variance + 1e-5) + shift, 0)
        kernel, bias = network.get_layer(f'stem_0_conv_{i}').get_weights()
        assert kernel.shape[:2] == ((3, 3) if i == 2 else (1, 1))
        x = tf.nn.conv2d(x, kernel, 1, 'SAME') + bias
    kernel, bias = network.get_layer('stem_0_shortcut').get_weights()
    expected = x + heatmaps @ kernel[0, 0] + bias
    output, _ = run_to(network, ['stem_0_add', 'stem_0_conv_3'], heatmaps)
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_stem_is_padded_by_three_on_all_sides():
    network, images = make_network(), make_images()
    layer = network.get_layer('stem_conv')
    kernel = np.zeros([7, 7, 3, 2], np.float32)
    kernel[3, 3, 0, 0] = kernel[0, 6, 1, 1] = 1
    layer.set_weights([kernel, np.zeros(2, np.float32)])
    output, _ = run_to(network, ['stem_conv', 'stem_relu'], images)
    np.testing.assert_allclose(output[..., 0], images[:, ::2, ::2, 0])
    shifted = np.pad(images[..., 1], [(0, 0), (3, 0), (0, 3)])[:, :32, 3:]
    np.testing.assert_allclose(output[..., 1], shifted[:, ::2, ::2])


def test_resolutions_of_an_hourglass():
    features, pooled, lowest, after, upper, total = run_to(
        make_network(n_levels=2),
        ['stem_end_2_add', *(f'stage_0_hourglass_{name}' for name in (
            'pool', 'inner_lowest_add', 'after_add', 'upper_2_add', 'add'))], make_images())
    assert features.shape == (2, 8, 8, 8) and lowest.shape == (2, 2, 2, 16)
    np.testing.assert_array_equal(pooled, features.reshape(2, 4, 2, 4, 2, 8).max((2, 4)))
    np.testing.assert_allclose(
        total, upper + after.repeat(2, axis=1).repeat(2, axis=2), atol=1e-5)


@pytest.mark.parametrize('variant', hourglass.VARIANTS)
def test_first_weights(variant):
    network = make_network((1, 8), variant)
    convs = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    spreads = []
    for conv in convs:
        kernel, bias = conv.get_weights()
        limit = np.prod(kernel.shape[:3]) ** -0.5
        for values in (kernel, bias):
            assert np.abs(values).max() <= limit and np.any(values != 0)
        spreads.append(np.mean(np.square(kernel / limit)))
    np.testing.assert_allclose(np.mean(spreads), 1 / 3, atol=0.02)
    norms = [layer for layer in network.layers
             if isinstance(layer, keras.layers.BatchNormalization)]
    scales = np.concatenate([norm.get_weights()[0] for norm in norms])
    assert scales.min() >= 0 and scales.max() <= 1
    np.testing.assert_allclose([scales.mean(), scales.std()], [1 / 2, 12 ** -0.5], atol=0.03)
    assert all(not np.any(norm.get_weights()[1]) for norm in norms)
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-5, 0.9)}


def test_gradients_reach_all_kernels():
    network = make_network((1, 2))
    kernels = [layer.kernel for layer in network.layers if hasattr(layer, 'kernel')]
    kernels = [kernel if isinstance(kernel, tf.Variable) else kernel.value for kernel in kernels]
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_mean(tf.square(stage - 1)) for stage in network(
            make_images(), training=True))
    assert all(np.any(gradient != 0) for gradient in tape.gradient(loss, kernels))


@pytest.mark.parametrize('variant', hourglass.VARIANTS)
def test_half_precision_ends_in_float32(variant, dtype_policy):
    dtype_policy('mixed_float16')
    network = make_network((1, 2), variant)
    for i_stage, stage in enumerate(network(make_images())):
        assert stage.dtype == tf.float32 and np.all(np.isfinite(stage))
        assert network.get_layer(f'stage_{i_stage}_volumes').compute_dtype == 'float32'
    assert network.get_layer('stage_0_merge').compute_dtype == 'float16'


def test_file_revives(tmp_path):
    network = make_network((1, 2))
    network.save(tmp_path / 'network.keras')
    revived = keras.models.load_model(tmp_path / 'network.keras')
    for actual, expected in zip(revived(make_images()), network(make_images()), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_refusals():
    with pytest.raises(ValueError, match='`variant` must be one of .*variant=.hg.'):
        make_network(variant='hg')
    with pytest.raises(ValueError, match='`depths` must have at least one stage'):
        make_network(())
    with pytest.raises(ValueError, match='`depths` must be a positive .*depths=0'):
        make_network((1, 0))
    with pytest.raises(ValueError, match='`crop_side_px` must be a multiple of 8, .*_px=36, n_'):
        make_network(side=36)
    with pytest.raises(ValueError, match='`n_channels` must be a multiple of 4. .*n_channels=6'):
        make_network(n_channels=6)
    with pytest.raises(ValueError, match='`n_levels` must be a positive'):
        make_network(n_levels=0)
    with pytest.raises(ValueError, match='`n_joints` must be a positive'):
        hourglass.build_stacked_hourglass(0, (1,), SIDE, **TINY)
    with pytest.raises(ValueError, match='`n_cells` must be a multiple of 2, .*n_cells=7'):
        hourglass.build_volume_network(N_JOINTS, (2,), 7, **TINY)
    with pytest.raises(ValueError, match='`crop_side_px` must be a multiple of 64'):
        hourglass.build_encoder(200)


@pytest.mark.parametrize('variant, n_levels, n_stages', [('paper', 1, 2), ('uniform', 2, 1)])
def test_settings_of_a_network(variant, n_levels, n_stages):
    network = hourglass.build_stacked_hourglass(
        3, (1,) * n_stages, 32, n_channels=12, n_levels=n_levels, variant=variant)
    assert hourglass.settings_of(network) == {
        'variant': variant, 'n_channels': 12, 'n_levels': n_levels, 'n_stages': n_stages}
