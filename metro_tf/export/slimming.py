"""Smaller graphs in a written SavedModel: what loading and the first call cost is per node.

Python code that builds graphs makes a new constant for every literal and repeats common
expressions; every branch of a conditional is traced on its own. Here repeated nodes are merged,
as are repeated functions, and conditionals and loops stay calls: TensorFlow then prepares a branch
only when it is first taken, instead of merging all of them into one graph that every call walks.
"""

import collections
import pathlib

from tensorflow.core.protobuf import saved_model_pb2

# Operations whose result depends on their inputs and attributes alone.
_PURE = {
    'Abs', 'Add', 'AddV2', 'All', 'Any', 'Cast', 'ConcatV2', 'Const', 'Cos', 'Equal', 'Exp',
    'ExpandDims', 'Fill', 'FloorMod', 'FloorDiv', 'GatherV2', 'Greater', 'GreaterEqual',
    'Identity', 'Less', 'LessEqual', 'Log', 'LogicalAnd', 'LogicalNot', 'LogicalOr', 'Maximum',
    'Mean', 'Minimum', 'Mul', 'Neg', 'NotEqual', 'OnesLike', 'Pack', 'Prod', 'Range', 'RealDiv',
    'Reciprocal', 'Reshape', 'Rsqrt', 'SelectV2', 'Shape', 'Sin', 'Size', 'Sqrt', 'Square',
    'Squeeze', 'StridedSlice', 'Sub', 'Sum', 'Tan', 'Tile', 'Transpose', 'Unpack', 'ZerosLike'}
_ACCELERATED = {'AvgPool', 'Conv2D', 'DepthwiseConv2dNative', 'MaxPool'}
_CONTROL_FLOW = {'Case', 'If', 'StatelessCase', 'StatelessIf', 'StatelessWhile', 'While'}
_LOWERING = '_lower_using_switch_merge'
# Attributes without influence on results; they differ between equal nodes.
_NOTES = ('_output_shapes', '_has_manual_control_dependencies', '_construction_context')


def slim(folder):
    """Rewrites the graphs of a SavedModel; its results stay the same.

    Args:
        folder: Path of the SavedModel.
    """
    path = pathlib.Path(folder) / 'saved_model.pb'
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in saved_model.meta_graphs:
        library = meta_graph.graph_def.library
        for function in library.function:
            _merge_nodes(function)
        public = set(meta_graph.object_graph_def.concrete_functions)
        _merge_functions(meta_graph.graph_def, public)
        _keep_calls(library)
    path.write_bytes(saved_model.SerializeToString(deterministic=True))


def _merge_nodes(function):
    """Merges equal nodes of a function and drops those that nothing needs."""
    new_names, known, kept = {}, {}, []
    for node in _in_order(function):
        for note in _NOTES:
            node.attr.pop(note, None)
        for i, source in enumerate(node.input):
            node.input[i] = _renamed(source, new_names)
        key = _content(node)
        if node.op in _PURE and key in known:
            new_names[node.name] = known[key]
        else:
            known[key] = node.name
            kept.append(node)
    for results in (function.ret, function.control_ret):
        for name, source in list(results.items()):
            results[name] = _renamed(source, new_names)
    used = _used_names(function, kept)
    nodes = [node for node in kept if node.name in used or node.op not in _PURE]
    del function.node_def[:]
    function.node_def.extend(nodes)


def _in_order(function):
    """Copies of the nodes, every one behind its sources."""
    nodes = {}
    for node in function.node_def:
        copy = type(node)()
        copy.CopyFrom(node)
        nodes[node.name] = copy
    ordered, state = [], {}
    for root in nodes:
        pending = [root]
        while pending:
            name = pending[-1]
            sources = [] if name in state else [
                source for source in map(_node_name, nodes[name].input)
                if source in nodes and source not in state]
            state.setdefault(name, 'entered')
            if sources:
                pending += sources
            else:
                pending.pop()
                if state[name] != 'done':
                    state[name] = 'done'
                    ordered.append(nodes[name])
    return ordered


def _used_names(function, nodes):
    by_name = {node.name: node for node in nodes}
    pending = [_node_name(source) for source in (
        *function.ret.values(), *function.control_ret.values())]
    pending += [node.name for node in nodes if node.op not in _PURE]
    used = set()
    while pending:
        name = pending.pop()
        if name not in used and name in by_name:
            used.add(name)
            pending += map(_node_name, by_name[name].input)
    return used


def _merge_functions(graph_def, public):
    """Leaves one of each group of functions with equal bodies, until no two are equal."""
    while True:
        groups = collections.defaultdict(list)
        for function in graph_def.library.function:
            groups[_canonical(function)].append(function)
        new_names = {}
        for group in groups.values():
            group.sort(key=lambda function: function.signature.name not in public)
            new_names.update({
                function.signature.name: group[0].signature.name for function in group[1:]
                if function.signature.name not in public})
        if not new_names:
            return
        functions = [function for function in graph_def.library.function
                     if function.signature.name not in new_names]
        nodes = list(graph_def.node) + [
            node for function in functions for node in function.node_def]
        for node in nodes:
            _rename_functions(node, new_names)
        functions = [type(function).FromString(function.SerializeToString())
                     for function in functions]
        del graph_def.library.function[:]
        graph_def.library.function.extend(functions)


def _keep_calls(library):
    """Marks conditionals and loops to stay calls unless they hold accelerated operations."""
    functions = {function.signature.name: function for function in library.function}

    def is_accelerated(node):
        """Whether a node is an accelerated operation or holds one."""
        branches = [value.func.name for value in node.attr.values() if value.func.name]
        return node.op in _ACCELERATED or node.op in _CONTROL_FLOW and any(
            is_accelerated(inner) for name in branches for inner in functions[name].node_def)

    for function in functions.values():
        for node in function.node_def:
            if _LOWERING in node.attr:
                node.attr[_LOWERING].b = is_accelerated(node)


def _rename_functions(node, new_names):
    for value in node.attr.values():
        for function in (value.func, *value.list.func):
            if function.name in new_names:
                function.name = new_names[function.name]


def _canonical(function):
    """Bytes that are equal for functions that differ only in their names of things."""
    copy = type(function)()
    copy.CopyFrom(function)
    names = {argument.name: f'argument{i}'
             for i, argument in enumerate(copy.signature.input_arg)}
    names.update({node.name: f'node{i}' for i, node in enumerate(copy.node_def)})
    results = {argument.name: f'result{i}'
               for i, argument in enumerate(copy.signature.output_arg)}
    copy.signature.name = ''
    for arguments in (copy.signature.input_arg, copy.signature.output_arg):
        for i, argument in enumerate(arguments):
            argument.name = f'argument{i}'
    del copy.signature.control_output[:]
    for node in copy.node_def:
        node.name = names[node.name]
        node.ClearField('experimental_debug_info')
        for i, source in enumerate(node.input):
            node.input[i] = _renamed(source, names)
    returned = {results[name]: _renamed(source, names) for name, source in copy.ret.items()}
    controls = sorted(_renamed(source, names) for source in copy.control_ret.values())
    copy.ClearField('ret')
    copy.ClearField('control_ret')
    copy.ClearField('attr')
    # Functions whose arguments have other known shapes are others.
    shapes = [copy.arg_attr[i].attr['_output_shapes'].SerializeToString(deterministic=True)
              for i in range(len(copy.signature.input_arg))]
    copy.ClearField('arg_attr')
    return (tuple(shapes), copy.SerializeToString(deterministic=True),
            tuple(sorted(returned.items())), tuple(controls))


def _content(node):
    copy = type(node)()
    copy.CopyFrom(node)
    copy.ClearField('name')
    copy.ClearField('experimental_debug_info')
    return copy.SerializeToString(deterministic=True)


def _renamed(source, new_names):
    """Name of a tensor (`node:output:0`), of a control input (`^node`) or of an argument."""
    prefix = '^' if source.startswith('^') else ''
    name, separator, rest = source[len(prefix):].partition(':')
    return prefix + new_names.get(name, name) + separator + rest


def _node_name(source):
    return source.lstrip('^').partition(':')[0]
