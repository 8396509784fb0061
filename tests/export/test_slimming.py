"""Slimmed SavedModels compute the same with fewer nodes."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from metro_tf.export import slimming


class Example(tf.Module):
    """Repeats itself: equal constants, equal expressions, equal branches."""

    def __init__(self):
        super().__init__()
        self.calls = tf.Variable(0)

    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([], tf.bool)])
    def run(self, values, is_large):
        check = tf.raw_ops.Assert(
            condition=tf.size(values) > 0, data=['`values` must not be empty'])
        self.calls.assign_add(1)
        with tf.control_dependencies([check]):
            a = tf.cond(is_large, lambda: values[1:] * 3.0, lambda: values[1:] * 2.0)
            b = tf.cond(is_large, lambda: values[1:] * 3.0, lambda: values[1:] * 2.0)
            _, total = tf.while_loop(
                lambda i, _: i < 3, lambda i, total: (i + 1, total + a + b),
                (0, tf.zeros_like(a)))
            return {'sum': total + (a + b), 'again': a + b}

    @tf.function(input_signature=[])
    def random(self):
        return tf.random.uniform([]), tf.random.uniform([])


def nodes_and_functions(folder):
    content = saved_model_pb2.SavedModel.FromString((folder / 'saved_model.pb').read_bytes())
    functions = content.meta_graphs[0].graph_def.library.function
    return [node for function in functions for node in function.node_def], functions


@pytest.fixture(scope='module')
def slimmed(tmp_path_factory):
    """The folder, and its numbers of nodes and functions before."""
    folder = tmp_path_factory.mktemp('slimming') / 'model'
    tf.saved_model.save(Example(), str(folder))
    nodes, functions = nodes_and_functions(folder)
    slimming.slim(folder)
    return folder, len(nodes), len(functions)


def test_results_are_the_same(slimmed):
    loaded = tf.saved_model.load(str(slimmed[0]))
    values = np.array([1, 2, 3], np.float32)
    for is_large, factor in ((True, 3), (False, 2)):
        result = loaded.run(values, is_large)
        np.testing.assert_allclose(result['again'], 2 * factor * values[1:])
        np.testing.assert_allclose(result['sum'], 8 * factor * values[1:])


def test_side_effects_checks_and_randomness_stay(slimmed):
    loaded = tf.saved_model.load(str(slimmed[0]))
    before = int(loaded.calls)
    loaded.run([1.0], True)
    assert int(loaded.calls) == before + 1
    with pytest.raises(tf.errors.InvalidArgumentError, match='`values` must not be empty'):
        loaded.run(np.zeros([0], np.float32), True)
    first, second = loaded.random()
    assert float(first) != float(second)


def test_there_are_fewer_nodes_and_functions(slimmed):
    folder, n_nodes_before, n_functions_before = slimmed
    nodes, functions = nodes_and_functions(folder)
    assert len(nodes) < 0.8 * n_nodes_before
    assert len(functions) <= n_functions_before - 2  # the two repeated branches


def test_branches_stay_calls(slimmed):
    nodes, _ = nodes_and_functions(slimmed[0])
    flags = [node.attr['_lower_using_switch_merge'].b for node in nodes
             if node.op in ('If', 'StatelessIf', 'While', 'StatelessWhile')]
    assert len(flags) >= 3 and not any(flags)


def test_slimming_twice_changes_nothing(slimmed):
    nodes, functions = nodes_and_functions(slimmed[0])
    slimming.slim(slimmed[0])
    again = nodes_and_functions(slimmed[0])
    assert (len(again[0]), len(again[1])) == (len(nodes), len(functions))
