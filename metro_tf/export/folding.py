"""Folding of inference graphs: constants evaluated, per-channel operations merged.

Works on the `GraphDef` and thus on every network, whichever Keras version traced it (one gives
fused batch normalisations, the other a product and a sum with computed factors).
"""

import collections

import numpy as np
import tensorflow as tf

_CONVOLUTIONS = ('Conv2D', 'DepthwiseConv2dNative')
_BATCH_NORMS = ('FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3')
# The only operations that are evaluated at export: pure ones, which occur around weights.
_FOLDABLE = {
    'Add', 'AddV2', 'BiasAdd', 'Cast', 'ConcatV2', 'Const', 'Div', 'Exp', 'ExpandDims', 'Identity',
    'MatMul', 'Mul', 'Neg', 'Pack', 'Range', 'RealDiv', 'Reshape', 'Rsqrt', 'Sqrt', 'Square',
    'Squeeze', 'StridedSlice', 'Sub', 'Transpose'}


def fold(graph_def, input_names, output_names):
    """Evaluates constant expressions and merges per-channel operations into convolutions.

    A chain of batch normalisations, products and sums with one constant per channel behind a
    convolution becomes its weights and one `BiasAdd`.

    Args:
        graph_def: `GraphDef` without variables.
        input_names: Names of the tensors that are fed (`node:0`); their nodes are kept.
        output_names: Names of the tensors that are wanted.

    Returns:
        `GraphDef` that computes the same outputs up to rounding.
    """
    kept_nodes = [node_name(name) for name in (*output_names, *input_names)]
    graph_def = _evaluate_constants(_without_trivial_waits(graph_def))
    graph_def = _merge_channel_operations(graph_def, set(kept_nodes))
    return _without_unused(graph_def, kept_nodes)


def _without_trivial_waits(graph_def):
    """Drops control inputs from constants, which are left over from reading variables."""
    by_name = {node.name: node for node in graph_def.node}
    known = {}

    def is_trivial(name):
        """Whether waiting for a node is waiting for constants only."""
        if name not in known:
            node = by_name[name]
            known[name] = node.op == 'Const' or node.op in ('NoOp', 'Identity') and all(
                is_trivial(node_name(source)) for source in node.input)
        return known[name]

    nodes = []
    for node in graph_def.node:
        nodes.append(tf.compat.v1.NodeDef.FromString(node.SerializeToString()))
        sources = [source for source in node.input
                   if not (source.startswith('^') and is_trivial(source[1:]))]
        del nodes[-1].input[:]
        nodes[-1].input.extend(sources)
    return _with_nodes(graph_def, nodes)


def _evaluate_constants(graph_def):
    """Replaces maximal constant expressions by their values."""
    constant_names = _constant_nodes(graph_def)
    operations = {node.name: node.op for node in graph_def.node}
    roots = sorted({
        name for node in graph_def.node if node.name not in constant_names
        for name in node.input
        if name in constant_names and operations[name] != 'Const'})
    values = _run(graph_def, roots)
    return _with_nodes(graph_def, [
        constant(node.name, values[node.name]) if node.name in values else node
        for node in graph_def.node])


def _constant_nodes(graph_def):
    """Names of nodes that depend on nothing but constants, through foldable operations."""
    by_name = {node.name: node for node in graph_def.node}
    known = {}

    def is_constant(name):
        """Whether a node can be computed from constants."""
        if name not in known:
            node = by_name[name]
            known[name] = node.op in _FOLDABLE and all(
                is_constant(node_name(source)) and not source.startswith('^')
                for source in node.input)
        return known[name]

    return {node.name for node in graph_def.node if is_constant(node.name)}


def _run(graph_def, node_names):
    """Values of nodes, as a dict from name to array."""
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name='')
        with tf.compat.v1.Session(graph=graph) as session:
            return dict(zip(node_names, session.run([f'{name}:0' for name in node_names])))


def _merge_channel_operations(graph_def, kept_nodes):
    by_name = {node.name: node for node in graph_def.node}
    consumers = collections.defaultdict(list)
    for node in graph_def.node:
        for source in node.input:
            consumers[node_name(source)].append(node)
    replaced, added = {}, []
    for conv in graph_def.node:
        chain = _channel_operations_after(conv, by_name, consumers, kept_nodes)
        if chain:
            last, scale, shift = chain
            bias_add, *others = _convolution_with_bias(conv, last.name, by_name, scale, shift)
            replaced[last.name] = bias_add
            added += others
    return _with_nodes(
        graph_def, [replaced.get(node.name, node) for node in graph_def.node] + added)


def _channel_operations_after(conv, by_name, consumers, kept_nodes):
    """Last node of the chain behind a convolution, with the chain's scale and shift, or None."""
    weights = _constant_value(conv.input[1], by_name) if conv.op in _CONVOLUTIONS else None
    if weights is None or conv.attr['data_format'].s != b'NHWC':
        return None
    n_channels = _n_output_channels(conv, weights)
    scale, shift, last = np.ones(n_channels), np.zeros(n_channels), conv
    while last.name not in kept_nodes and len(consumers[last.name]) == 1:
        operation = consumers[last.name][0]
        step = _scale_and_shift(operation, last.name, by_name, n_channels)
        if step is None:
            break
        scale, shift, last = scale * step[0], shift * step[0] + step[1], operation
    return None if last is conv else (last, scale, shift)


def _convolution_with_bias(conv, name, by_name, scale, shift):
    """Nodes that compute `scale * conv(x) + shift`; the first one carries `name`."""
    weights = _constant_value(conv.input[1], by_name)
    weight_scale = scale if conv.op == 'Conv2D' else scale.reshape(weights.shape[2:])
    new_weights = constant(f'{name}/weights', (weights * weight_scale).astype(weights.dtype))
    new_shift = constant(f'{name}/shift', shift.astype(weights.dtype))
    new_conv = tf.compat.v1.NodeDef()
    new_conv.CopyFrom(conv)
    new_conv.name = f'{name}/convolution'
    new_conv.input[1] = new_weights.name
    bias_add = tf.compat.v1.NodeDef(
        name=name, op='BiasAdd', input=[new_conv.name, new_shift.name])
    bias_add.attr['T'].CopyFrom(conv.attr['T'])
    bias_add.attr['data_format'].s = b'NHWC'
    return bias_add, new_conv, new_weights, new_shift


def _scale_and_shift(node, source, by_name, n_channels):
    """What `node` does to each channel of the node `source`, or None if it is something else."""
    if node.op in _BATCH_NORMS:
        return _batch_norm_scale_and_shift(node, by_name)
    is_first = node.input[0] == source
    if node.op not in ('Mul', 'AddV2', 'Add', 'BiasAdd', 'Sub') or len(node.input) != 2 or (
            node.op == 'Sub' and not is_first):
        return None
    value = _constant_value(node.input[1 if is_first else 0], by_name)
    if value is None or value.ndim > 4 or not (
            value.size == 1 or value.size == value.shape[-1] == n_channels):
        return None
    value = np.broadcast_to(value.astype(np.float64).reshape(-1), [n_channels])
    if node.op == 'Mul':
        return value, 0.0
    return 1.0, -value if node.op == 'Sub' else value


def _batch_norm_scale_and_shift(node, by_name):
    parameters = [_constant_value(name, by_name) for name in node.input[1:5]]
    if node.attr['is_training'].b or any(value is None for value in parameters):
        return None
    gamma, beta, mean, variance = (value.astype(np.float64) for value in parameters)
    scale = gamma / np.sqrt(variance + node.attr['epsilon'].f)
    return scale, beta - mean * scale


def _n_output_channels(conv, weights):
    return weights.shape[3] if conv.op == 'Conv2D' else weights.shape[2] * weights.shape[3]


def _constant_value(name, by_name):
    node = by_name.get(name)
    return tf.make_ndarray(node.attr['value'].tensor) if node and node.op == 'Const' else None


def constant(name, value):
    """Node that gives a constant.

    Args:
        name: Its name.
        value: Array, or what `tf.make_tensor_proto` takes.

    Returns:
        `NodeDef`.
    """
    tensor = tf.make_tensor_proto(value)
    node = tf.compat.v1.NodeDef(name=name, op='Const')
    node.attr['dtype'].type = tensor.dtype
    node.attr['value'].tensor.CopyFrom(tensor)
    return node


def _without_unused(graph_def, kept_nodes):
    by_name = {node.name: node for node in graph_def.node}
    used, pending = set(), list(kept_nodes)
    while pending:
        name = pending.pop()
        if name not in used:
            used.add(name)
            pending += [node_name(source) for source in by_name[name].input]
    return _with_nodes(graph_def, [node for node in graph_def.node if node.name in used])


def _with_nodes(graph_def, nodes):
    return tf.compat.v1.GraphDef(
        node=nodes, versions=graph_def.versions, library=graph_def.library)


def node_name(tensor_name):
    """Name of the node of a tensor (`node:0`, `node:output:0`) or control input (`^node`)."""
    return tensor_name.lstrip('^').partition(':')[0]
