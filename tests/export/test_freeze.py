"""Frozen networks compute the same, with their large weights in one tensor."""

import numpy as np
import pytest
import tensorflow as tf

from metro_tf.export import freeze

RNG = np.random.default_rng(0)
LARGE = RNG.normal(size=[64, 96]).astype(np.float32)  # 24 kB
SMALL = RNG.normal(size=[96, 2]).astype(np.float32)  # 768 bytes
ODD = RNG.normal(size=[3, 1001]).astype(np.float32)  # large, but no multiple of 64 bytes
SPEC = tf.TensorSpec([None, 64], tf.float32, 'x')


@pytest.fixture(scope='module')
def variables():
    return [tf.Variable(value) for value in (LARGE, SMALL, ODD)]


@pytest.fixture(scope='module')
def network(variables):
    large, small, odd = variables
    return freeze.freeze(
        lambda x: [x @ large @ small, x[:, :3] @ odd, x @ (2 * large)], [SPEC])


def test_results_are_those_of_the_function(network):
    x = RNG.normal(size=[5, 64]).astype(np.float32)
    product, odd, twice = network(x)
    np.testing.assert_allclose(product, x @ LARGE @ SMALL, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(odd, x[:, :3] @ ODD, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(twice, 2 * x @ LARGE, rtol=1e-4, atol=1e-4)


def test_large_weights_stand_in_one_tensor_one_after_the_other(network):
    rows = network.weights.numpy()
    assert rows.shape == (2 * LARGE.size // 16, 16)  # as they are, and doubled at export
    parts = rows.reshape(2, *LARGE.shape)
    order = np.argsort(np.abs(parts).sum(axis=(1, 2)))
    np.testing.assert_allclose(parts[order[0]], LARGE)
    np.testing.assert_allclose(parts[order[1]], 2 * LARGE)


def test_other_weights_stay_in_the_graph(network):
    graph = network._run.get_concrete_function().graph
    constants = [tf.make_ndarray(node.attr['value'].tensor)
                 for node in graph.as_graph_def().node if node.op == 'Const']
    shapes = {constant.shape for constant in constants}
    assert SMALL.shape in shapes and ODD.shape in shapes and LARGE.shape not in shapes


def test_later_changes_of_the_variables_have_no_effect(variables):
    variable = tf.Variable(LARGE)
    network = freeze.freeze(lambda x: [x @ variable], [SPEC])
    variable.assign(tf.zeros_like(variable))
    x = np.ones([1, 64], np.float32)
    np.testing.assert_allclose(network(x)[0], x @ LARGE, rtol=1e-4, atol=1e-4)


def test_network_without_large_weights():
    network = freeze.freeze(lambda x: [x * 2.0, x], [SPEC])
    assert network.weights.shape == (0, 16)
    doubled, same = network(np.ones([2, 64], np.float32))
    np.testing.assert_array_equal(doubled, np.full([2, 64], 2))
    np.testing.assert_array_equal(same, np.ones([2, 64]))


def test_works_inside_a_function_with_unknown_batch_size(network):
    traced = tf.function(lambda x: network(x)[0], input_signature=[tf.TensorSpec([None, 64])])
    x = np.ones([3, 64], np.float32)
    np.testing.assert_allclose(traced(x), network(x)[0], rtol=1e-6)


def test_weights_are_saved_with_a_function_that_calls_the_network(network, tmp_path):
    module = tf.Module()
    module.run = tf.function(lambda x: network(x)[0], input_signature=[SPEC])
    tf.saved_model.save(module, str(tmp_path))
    x = np.ones([3, 64], np.float32)
    # Nothing holds the loaded model but its function.
    np.testing.assert_allclose(
        tf.saved_model.load(str(tmp_path)).run(x), network(x)[0], rtol=1e-6)
