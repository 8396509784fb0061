import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.layers import marginal_heads
from tests import helpers

# Features of 4 x 4 cells with 6 channels, 2 joints; at half resolution 8 channels in 4 groups.
SETTINGS = {'n_channels': 6, 'n_inner_channels': 8}


def random_features(n_examples=2):
    return np.random.default_rng(0).normal(size=(n_examples, 4, 4, 6)).astype(np.float32)


def n_weights(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def make_heads(**kwargs):
    heads = marginal_heads.MarginalHeads(2, **{'n_stages': 2, **SETTINGS, **kwargs})
    heads.build((None, 4, 4, 6))
    return heads


def test_published_numbers_of_weights():
    column = marginal_heads.HeatmapColumn(17, 'zy')
    column.build((None, 32, 32, 128))
    assert n_weights(column.trainable_weights) == 4_739_599
    assert n_weights(column.non_trainable_weights) == 8_934
    adapter = marginal_heads.StageAdapter(128)
    adapter.build((None, 32, 32, 3, 17))
    assert n_weights(adapter.weights) == 6_528


def test_published_order_of_blocks():
    column = marginal_heads.HeatmapColumn(17, 'xz')
    blocks = [*column.down_blocks, *column.up_blocks, column.last_block]
    assert [(block.n_channels, block.resampling) for block in blocks] == [
        (128, 'none'), (128, 'none'), (192, 'down'), (192, 'none'), (192, 'none'),
        (192, 'none'), (192, 'none'), (128, 'up'), (128, 'none'), (17, 'none')]


@pytest.mark.parametrize('plane', ['xy', 'zy', 'xz'])
def test_a_column_is_its_blocks_with_the_permutation_in_the_middle(plane):
    column = marginal_heads.HeatmapColumn(2, plane, **SETTINGS)
    features = random_features()
    logits = column(features)
    for block in column.down_blocks:
        features = block(features)
    assert features.shape == (2, 2, 2, 8)
    grouped = tf.reshape(features, [2, 2, 2, 4, 2])
    order = {'xy': (0, 1, 2, 3, 4), 'zy': (0, 1, 4, 3, 2), 'xz': (0, 4, 2, 3, 1)}[plane]
    features = tf.reshape(tf.transpose(grouped, order), [2, 2, 2, 8])
    for block in (*column.up_blocks, column.last_block):
        features = block(features)
    np.testing.assert_allclose(logits, features, rtol=1e-4, atol=1e-4)
    assert logits.shape == (2, 4, 4, 2)


def test_a_stage_stacks_its_planes():
    stage = marginal_heads.HeatmapStage(2, **SETTINGS)
    logits = stage(random_features())
    assert logits.shape == (2, 4, 4, 3, 2)
    assert [column.permutation.plane for column in stage.columns] == ['xy', 'zy', 'xz']
    for i_plane, column in enumerate(stage.columns):
        np.testing.assert_allclose(
            logits[..., i_plane, :], column(random_features()), rtol=1e-4, atol=1e-4)


def test_without_permutation_all_columns_are_alike():
    stage = marginal_heads.HeatmapStage(2, axis_permutation=False, **SETTINGS)
    stage.build((None, 4, 4, 6))
    for column in stage.columns[1:]:
        column.set_weights(stage.columns[0].get_weights())
    logits = stage(random_features()).numpy()
    np.testing.assert_allclose(logits[..., 1, :], logits[..., 0, :], rtol=1e-4, atol=1e-4)
    permuting = marginal_heads.HeatmapStage(2, **SETTINGS)
    permuting.build((None, 4, 4, 6))
    permuting.set_weights(stage.get_weights())
    permuted = permuting(random_features()).numpy()
    np.testing.assert_allclose(permuted[..., 0, :], logits[..., 0, :], rtol=1e-4, atol=1e-4)
    assert np.abs(permuted - logits)[..., 1:, :].max((0, 1, 2, 4)).min() > 1e-2


def test_an_adapter_reads_the_channels_of_xy_zy_xz():
    heatmaps = np.random.default_rng(0).random((2, 4, 4, 3, 5)).astype(np.float32)
    adapter = marginal_heads.StageAdapter(7)
    output = adapter(heatmaps)
    kernel, = adapter.get_weights()
    assert kernel.shape == (1, 1, 15, 7)
    planes = np.concatenate([heatmaps[..., i, :] for i in range(3)], axis=-1)
    np.testing.assert_allclose(output, planes @ kernel[0, 0], rtol=1e-4, atol=1e-5)


def test_stages_read_the_features_plus_the_adapted_heatmaps():
    heads, features = make_heads(), random_features()
    first, second = heads(features)
    np.testing.assert_allclose(
        heads.marginal_heatmaps(heads.stages[0](features))['heatmaps'], first['heatmaps'],
        rtol=1e-4, atol=1e-6)
    features = features + heads.adapters[0](first['heatmaps'])
    np.testing.assert_allclose(
        heads.marginal_heatmaps(heads.stages[1](features))['heatmaps'], second['heatmaps'],
        rtol=1e-3, atol=1e-5)


def test_logits_then_decode():
    heads, features = make_heads(), random_features()
    logits = heads.logits(features)
    assert [value.shape for value in logits] == [(2, 4, 4, 3, 2)] * 2
    for actual, expected in zip(heads.decode(logits), heads(features), strict=True):
        np.testing.assert_allclose(actual['coords'], expected['coords'], atol=1e-5)


def test_numbers_of_weights_of_stages():
    one, two = make_heads(n_stages=1), make_heads()
    n_adapter_weights = 3 * 2 * 6
    assert n_weights(two.weights) == 2 * n_weights(one.weights) + n_adapter_weights
    assert not one.adapters


def test_training_reaches_all_stages():
    heads = make_heads()
    norms = [column.last_block.norm_out for stage in heads.stages for column in stage.columns]
    before = [norm.get_weights()[2] for norm in norms]
    heads(random_features())
    unchanged = [norm.get_weights()[2] for norm in norms]
    heads.logits(random_features(), training=True)
    after = [norm.get_weights()[2] for norm in norms]
    for old, same, new in zip(before, unchanged, after, strict=True):
        np.testing.assert_array_equal(same, old)
        assert np.any(new != old)


def test_everything_learns_from_the_last_stage():
    heads = make_heads()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(heads(random_features(), training=True)[-1]['heatmaps']))
    variables = [variable if isinstance(variable, tf.Variable) else variable.value
                 for variable in (heads.adapters[0].conv.kernel,
                                  heads.stages[0].columns[1].down_blocks[0].conv_in.kernel)]
    for gradient in tape.gradient(loss, variables):
        assert np.all(np.isfinite(gradient)) and np.any(gradient != 0)


@pytest.mark.parametrize('layer_cls, settings', [
    (marginal_heads.HeatmapColumn, {'n_joints': 2, 'plane': 'zy'}),
    (marginal_heads.HeatmapStage, {'n_joints': 2, 'axis_permutation': False}),
    (marginal_heads.MarginalHeads, {'n_joints': 2, 'n_stages': 1, 'axis_permutation': True})])
def test_layer(layer_cls, settings):
    helpers.check_layer(
        layer_cls, {**settings, **SETTINGS}, random_features(), rtol=1e-3, atol=1e-4)


def test_adapter_layer():
    heatmaps = np.random.default_rng(0).random((2, 4, 4, 3, 5)).astype(np.float32)
    helpers.check_layer(marginal_heads.StageAdapter, {'n_channels': 4}, heatmaps)


def test_symbolic_shapes():
    stage = marginal_heads.HeatmapStage(2, **SETTINGS)
    assert tuple(stage(keras.Input((4, 4, 6))).shape) == (None, 4, 4, 3, 2)
    assert tuple(stage.compute_output_shape((None, 4, 4, 6))) == (None, 4, 4, 3, 2)


@pytest.mark.parametrize('policy', ['mixed_bfloat16', 'mixed_float16'])
def test_logits_are_float32_under_any_policy(policy, dtype_policy):
    dtype_policy(policy)
    heads = make_heads(n_stages=1)
    column = heads.stages[0].columns[0]
    assert column.down_blocks[0](random_features()).dtype == policy[len('mixed_'):]
    assert {value.dtype for value in heads.logits(random_features())} == {tf.float32}
    assert all(np.all(np.isfinite(stage['heatmaps'])) for stage in heads(random_features()))
    dtype_policy('float32')
    revived = marginal_heads.HeatmapColumn.from_config(column.get_config())
    assert revived.down_blocks[0](random_features()).dtype == policy[len('mixed_'):]


def test_refusals():
    with pytest.raises(ValueError, match='`features` must have an even number of rows'):
        marginal_heads.HeatmapColumn(2, 'xy', **SETTINGS)(tf.zeros([1, 5, 5, 6]))
    with pytest.raises(ValueError, match='`features` must have 6 channels. Received'):
        marginal_heads.MarginalHeads(2, 1, **SETTINGS).build((None, 4, 4, 7))
    with pytest.raises(ValueError, match='`n_stages` must be a positive finite number'):
        marginal_heads.MarginalHeads(2, 0)
    with pytest.raises(ValueError, match="`plane` must be one of .* Received: plane='yz'"):
        marginal_heads.HeatmapColumn(2, 'yz')
