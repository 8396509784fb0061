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


class Nested(tf.Module):
    """Functions in functions: a network, a function with two users, and one with one user."""

    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(tf.ones([1, 1, 2, 2]))
        self.calls = tf.Variable(0)
        self._network = tf.function(
            lambda x: tf.nn.conv2d(x, self.weights, 1, 'SAME'),
            input_signature=[tf.TensorSpec([None, None, None, 2])])
        self._count = tf.function(lambda: self.calls.assign_add(1), input_signature=[])

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 2])])
    def run(self, image):
        return {'n_calls': self._count(), 'image': self._network(image) + self._shared(image)}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 2], name='image')])
    def serve(self, image):
        difference = tf.reduce_max(image) - tf.reduce_min(image)
        return {'first': image - self._shared(image), 'second': difference, 'same': image}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 2])])
    def _shared(self, image):
        with tf.control_dependencies([self._count()]):
            return 2.0 * image


@pytest.fixture(scope='module')
def nested(tmp_path_factory):
    folder = tmp_path_factory.mktemp('slimming') / 'nested'
    model = Nested()
    tf.saved_model.save(model, str(folder), signatures={'serve': model.serve})
    slimming.slim(folder)
    return folder


IMAGE = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)


def test_functions_in_functions_compute_the_same(nested):
    loaded = tf.saved_model.load(str(nested))
    result = loaded.run(IMAGE)
    assert int(result['n_calls']) == 1 and int(loaded.calls) == 2
    np.testing.assert_allclose(
        result['image'], IMAGE.sum(axis=-1, keepdims=True) + 2 * IMAGE)
    for result in (loaded.serve(IMAGE), loaded.signatures['serve'](image=tf.constant(IMAGE))):
        np.testing.assert_allclose(result['first'], -IMAGE)
        np.testing.assert_allclose(result['same'], IMAGE)
        assert float(result['second']) == 7


def test_calls_become_branches_except_those_of_networks(nested):
    nodes, functions = nodes_and_functions(nested)
    [network] = [function for function in functions
                 if any(node.op == 'Conv2D' for node in function.node_def)]
    called = {node.attr['f'].func.name for node in nodes
              if node.op in ('PartitionedCall', 'StatefulPartitionedCall')}
    assert called == {network.signature.name}
    assert network.attr['_noinline'].b
    branches = [node for node in nodes if node.op in ('Case', 'StatelessCase')]
    assert len(branches) >= 3
    assert not any(node.attr['_lower_using_switch_merge'].b for node in branches)


def test_wrapper_of_a_signature_takes_the_body(tmp_path):
    class Served(tf.Module):
        pass

    served = tf.function(
        lambda x, y: {'sum': x + y, 'x': x}, input_signature=[
            tf.TensorSpec([], tf.float32, 'x'), tf.TensorSpec([], tf.float32, 'y')])
    tf.saved_model.save(Served(), str(tmp_path), signatures={'served': served})
    slimming.slim(tmp_path)
    nodes, functions = nodes_and_functions(tmp_path)
    assert not any(node.op in ('Case', 'StatelessCase') for node in nodes)
    [wrapper] = [function for function in functions
                 if 'signature_wrapper' in function.signature.name]
    assert [node.op for node in wrapper.node_def].count('AddV2') == 1
    loaded = tf.saved_model.load(str(tmp_path))
    result = loaded.signatures['served'](x=tf.constant(1.0), y=tf.constant(2.0))
    assert (float(result['sum']), float(result['x'])) == (3, 1)


def test_names_are_short(nested):
    nodes, functions = nodes_and_functions(nested)
    assert max(len(node.name) for node in nodes) <= 4
    for function in functions:
        names = [node.name for node in function.node_def]
        assert len(set(names)) == len(names)


def test_sessions_read_the_variables_but_do_not_save_them(nested, tmp_path):
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        meta_graph = v1.saved_model.loader.load(session, ['serve'], str(nested))
        signature = meta_graph.signature_def['serve']
        result = session.run(
            signature.outputs['first'].name, {signature.inputs['image'].name: IMAGE})
        np.testing.assert_allclose(result, -IMAGE)
        saver = meta_graph.saver_def
        with pytest.raises(tf.errors.InvalidArgumentError, match='cannot save the variables'):
            session.run(
                saver.save_tensor_name, {saver.filename_tensor_name: str(tmp_path / 'again')})
