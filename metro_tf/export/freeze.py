"""Networks as constant graphs: variables become constants, batch normalisation disappears.

A small network in a plain graph is bound by the overhead per operation, not by arithmetic. The
frozen form has fewer operations, and its constant weights let the graph optimiser fuse
convolution, bias and activation. It also frees the export from the Keras object tree, which
makes up most of the loading time of a SavedModel.
"""

import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from metro_tf.export import folding


def freeze(function, input_specs, fold=True):
    """Turns a function over variables into one over constants.

    Args:
        function: Callable from tensors to a flat list of tensors, e.g. a network in inference
            mode.
        input_specs: Sequence of `tf.TensorSpec`, one per argument.
        fold: Whether to evaluate constant expressions once, and to merge batch normalisations
            (and any other per-channel scaling and shift) into the convolutions before them.

    Returns:
        Callable with the same arguments that returns a list of tensors.
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
    output_shapes = [tensor.shape for tensor in concrete.outputs]
    return _as_function(graph_def, input_names, output_names, output_shapes)


def _as_function(graph_def, input_names, output_names, output_shapes):
    wrapped = tf.compat.v1.wrap_function(
        lambda: tf.graph_util.import_graph_def(graph_def, name=''), [])
    pruned = wrapped.prune(
        [wrapped.graph.as_graph_element(name) for name in input_names],
        [wrapped.graph.as_graph_element(name) for name in output_names])

    def call(*tensors):
        outputs = pruned(*tensors)
        return [tf.ensure_shape(output, shape) if output.shape.rank is None else output
                for output, shape in zip(outputs, output_shapes)]

    return call
