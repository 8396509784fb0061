"""Networks as lean graphs: batch normalisation disappears, and weights are held once.

A small network in a plain graph is bound by the overhead per operation, not by arithmetic. The
frozen form has fewer operations, and lets the graph optimiser fuse convolution, bias and
activation. It also frees the export from the Keras object tree, which makes up most of the
loading time of a SavedModel.

Large weights are not part of the functions: TensorFlow copies the constants of a function into
all functions that call it, when it loads them and again when it prepares them. They stand
in one tensor instead, which functions are given and from which they take the parts without copying.
(Not in a variable: loaded functions do not keep variables alive.)
"""

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from metro_tf.export import folding

# Weights from this size on are held apart.
_LARGE_BYTES = 1024
# Floats in 64 bytes, to which TensorFlow aligns tensors: parts that begin there are not copied.
_ROW = 16


class FrozenNetwork(tf.Module):
    """A network whose weights no longer change, callable with tensors.

    Args:
        graph_def: `GraphDef` without variables.
        input_specs: Sequence of `tf.TensorSpec`, one per argument.
        input_names: Names of the tensors that are fed (`node:0`).
        output_names: Names of the tensors that are wanted.
        output_shapes: Sequence of their `tf.TensorShape`.

    Attributes:
        weights: Float32 tensor `[rows, 16]`, the large weights one after the other.
    """

    def __init__(self, graph_def, input_specs, input_names, output_names, output_shapes):
        super().__init__(name='frozen_network')
        graph_def, large = _without_large_weights(graph_def)
        rows = [weights.reshape(-1, _ROW) for weights in large.values()]
        self.weights = tf.constant(np.concatenate([np.zeros([0, _ROW], np.float32), *rows]))

        def run(*tensors):
            inputs = dict(zip(input_names, tensors))
            if large:
                parts = tf.split(tf.identity(self.weights), [len(part) for part in rows])
                inputs.update({
                    f'{name}:0': tf.reshape(part, large[name].shape)
                    for name, part in zip(large, parts)})
            outputs = tf.graph_util.import_graph_def(graph_def, inputs, output_names, name='')
            return [tf.ensure_shape(output, shape) if output.shape.rank is None else output
                    for output, shape in zip(outputs, output_shapes)]

        self._run = tf.function(run, input_signature=input_specs, autograph=False)

    def __call__(self, *tensors):
        return self._run(*tensors)


def freeze(function, input_specs, fold=True):
    """Turns a function over variables into one over constants.

    Args:
        function: Callable from tensors to a flat list of tensors, e.g. a network in inference
            mode.
        input_specs: Sequence of `tf.TensorSpec`, one per argument.
        fold: Whether to evaluate constant expressions once, and to merge batch normalisations
            (and any other per-channel scaling and shift) into the convolutions before them.

    Returns:
        `FrozenNetwork` with the same arguments that returns a list of tensors.
    """
    concrete = tf.function(
        function, input_signature=input_specs, autograph=False).get_concrete_function()
    frozen = convert_to_constants.convert_variables_to_constants_v2(
        concrete, lower_control_flow=False)
    graph_def = frozen.graph.as_graph_def()
    input_names = [tensor.name for tensor in frozen.inputs]
    output_names = [tensor.name for tensor in frozen.outputs]
    if fold:
        graph_def = folding.fold(graph_def, input_names, output_names)
    return FrozenNetwork(
        graph_def, input_specs, input_names, output_names,
        [tensor.shape for tensor in concrete.outputs])


def _without_large_weights(graph_def):
    """The graph without its large constants, and a dict from their names to arrays."""
    nodes, large = [], {}
    for node in graph_def.node:
        weights = tf.make_ndarray(node.attr['value'].tensor) if node.op == 'Const' else None
        if _is_large(weights):
            large[node.name] = weights
        else:
            nodes.append(node)
    return tf.compat.v1.GraphDef(
        node=nodes, versions=graph_def.versions, library=graph_def.library), large


def _is_large(weights):
    return (weights is not None and weights.dtype == np.float32
            and weights.nbytes >= _LARGE_BYTES and weights.size % _ROW == 0)
