"""Smaller graphs in a written SavedModel: what loading and the first call cost is per node.

Python code that builds graphs makes a new constant for every literal and repeats common
expressions; every branch of a conditional is traced on its own. Here repeated nodes are merged,
as are repeated functions, and conditionals and loops stay calls: TensorFlow then prepares a branch
only when it is first taken, instead of merging all of them into one graph that every call walks.
Calls of other functions than networks become branches, too.
"""

import collections
import pathlib

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

from metro_tf.export import folding

# Operations whose result depends on their inputs and attributes alone.
_PURE = {
    'Abs', 'Add', 'AddV2', 'All', 'Any', 'Cast', 'ConcatV2', 'Const', 'Cos', 'Equal', 'Exp',
    'ExpandDims', 'Fill', 'FloorMod', 'FloorDiv', 'GatherV2', 'Greater', 'GreaterEqual',
    'Identity', 'Less', 'LessEqual', 'Log', 'LogicalAnd', 'LogicalNot', 'LogicalOr', 'Maximum',
    'Mean', 'Minimum', 'Mul', 'Neg', 'NotEqual', 'OnesLike', 'Pack', 'Placeholder', 'Prod',
    'Range', 'RealDiv', 'Reciprocal', 'Reshape', 'Rsqrt', 'SelectV2', 'Shape', 'Sin', 'Size',
    'Sqrt', 'Square', 'Squeeze', 'StridedSlice', 'Sub', 'Sum', 'Tan', 'Tile', 'Transpose',
    'Unpack', 'ZerosLike'}
_ACCELERATED = {'AvgPool', 'Conv2D', 'DepthwiseConv2dNative', 'MaxPool'}
_CONTROL_FLOW = {'Case', 'If', 'StatelessCase', 'StatelessIf', 'StatelessWhile', 'While'}
_CALLS = {'PartitionedCall': 'StatelessCase', 'StatefulPartitionedCall': 'Case'}
_LOWERING = '_lower_using_switch_merge'
# Attributes without influence on results; they differ between equal nodes.
_NOTES = ('_output_shapes', '_has_manual_control_dependencies', '_construction_context')


def slim(folder):
    """Rewrites the graphs of a SavedModel, and its fingerprint; its results stay the same.

    Args:
        folder: Path of the SavedModel.
    """
    path = pathlib.Path(folder) / 'saved_model.pb'
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in saved_model.meta_graphs:
        library = meta_graph.graph_def.library
        public = set(meta_graph.object_graph_def.concrete_functions)
        _refuse_saving(meta_graph)
        _merge_wrappers(library, public)
        _defer_calls(library)
        for function in library.function:
            _merge_nodes(function)
        _merge_functions(meta_graph.graph_def, public)
        _keep_calls(library)
        for function in library.function:
            _shorten_names(function, function.signature.name in public)
    path.write_bytes(saved_model.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(folder))


def _refuse_saving(meta_graph):
    """Lets the function by which a session would save the variables again fail.

    It has several nodes for each variable, and nothing that reads models uses it.
    """
    saver = folding.node_name(meta_graph.saver_def.save_tensor_name)
    names = {node.attr['f'].func.name for node in meta_graph.graph_def.node if node.name == saver}
    for function in meta_graph.graph_def.library.function:
        if function.signature.name in names:
            del function.node_def[:]
            function.node_def.extend([
                folding.constant('is_allowed', False),
                folding.constant('reason', 'A session cannot save the variables of this model.')])
            failure = function.node_def.add(
                name='failure', op='Assert',
                input=['is_allowed:output:0', 'reason:output:0'])
            failure.attr['T'].list.type.append(tf.string.as_datatype_enum)
            failure.attr['summarize'].i = 3
            for name in list(function.ret):
                function.ret[name] = function.signature.input_arg[0].name
            function.ClearField('control_ret')
            function.control_ret[failure.name] = failure.name
            function.signature.control_output[:] = [failure.name]


def _merge_wrappers(library, public):
    """Gives functions that only call another one, which nothing else calls, the body of that one.

    Every function on the way to the others costs, since it is loaded with copies of them.
    """
    functions = {function.signature.name: function for function in library.function}
    n_uses = collections.Counter(
        value.name for function in functions.values() for node in function.node_def
        for value in _functions_in(node))
    for wrapper in list(functions.values()):
        call = _only_call(wrapper)
        name = call.attr['f'].func.name if call else None
        if name and n_uses[name] == 1 and name not in public:
            _take_body(wrapper, call, functions.pop(name))
    _replace_functions(library, functions.values())


def _only_call(function):
    """The call of another function, if the function does nothing else; or None."""
    calls = [node for node in function.node_def if node.op in _CALLS]
    others = {node.op for node in function.node_def if node.op not in _CALLS}
    is_plain = len(calls) == 1 and others <= {'Identity', 'NoOp'} and not any(
        source.startswith('^') for source in calls[0].input)
    return calls[0] if is_plain else None


def _take_body(wrapper, call, called):
    """Replaces a wrapper's body by that of the function that it calls."""
    identities = {node.name: node.input[0] for node in wrapper.node_def if node.op == 'Identity'}

    def origin(source):
        """The argument or result that a source passes on."""
        while folding.node_name(source) in identities:
            source = identities[folding.node_name(source)]
        return source

    new_names = {argument.name: origin(source)
                 for argument, source in zip(called.signature.input_arg, call.input)}
    new_names.update({node.name: f'{call.name}/{node.name}' for node in called.node_def})
    results = [argument.name for argument in called.signature.output_arg]
    for name, source in list(wrapper.ret.items()):
        source = origin(source)
        if folding.node_name(source) == call.name:
            source = _renamed(
                called.ret[results[int(source.rpartition(':')[2])]], new_names)
        wrapper.ret[name] = source
    del wrapper.node_def[:]
    for node in called.node_def:
        node.name = new_names[node.name]
        _rename_inputs(node, new_names)
        wrapper.node_def.append(node)
    wrapper.ClearField('control_ret')
    for name, source in called.control_ret.items():
        wrapper.control_ret[name] = _renamed(source, new_names)
    del wrapper.signature.control_output[:]
    wrapper.signature.control_output.extend(called.signature.control_output)


def _defer_calls(library):
    """Turns calls of functions into cases of one branch, except for networks.

    A called function becomes a part of its caller, and the whole is optimised at the first call.
    That pays for networks. A branch is prepared when it is first taken, and not optimised.
    """
    functions = {function.signature.name: function for function in library.function}
    networks = {name for name, function in functions.items()
                if any(node.op in _ACCELERATED for node in function.node_def)}
    for name in networks:
        # A part of a branch would not be optimised.
        functions[name].attr['_noinline'].b = True
    for function in functions.values():
        calls = [node for node in function.node_def
                 if node.op in _CALLS and node.attr['f'].func.name not in networks]
        if calls:
            # The optimiser would turn a case with a constant index into a call that it takes to
            # have no side effects. It leaves this operation alone, which passes constants on.
            zero = folding.constant('branch/zero', 0)
            index = tf.compat.v1.NodeDef(
                name='branch/index', op='GuaranteeConst', input=[f'{zero.name}:output:0'])
            index.attr['T'].type = tf.int32.as_datatype_enum
            function.node_def.extend([zero, index])
        for call in calls:
            _make_only_branch(call, index)


def _make_only_branch(call, index):
    """Makes a call of a function a case with the index of a node."""
    call.op = _CALLS[call.op]
    call.input.insert(0, f'{index.name}:output:0')
    call.attr['branches'].list.func.add().CopyFrom(call.attr['f'].func)
    n_missing = len(call.attr['Tout'].list.type) - len(call.attr['_output_shapes'].list.shape)
    call.attr['output_shapes'].list.shape.extend([
        *call.attr['_output_shapes'].list.shape, *(n_missing * [tf.TensorShape(None).as_proto()])])
    call.attr[_LOWERING].b = False
    for name in ('f', 'config', 'config_proto', 'executor_type'):
        call.attr.pop(name, None)


def _merge_nodes(function):
    """Merges equal nodes of a function and drops those that nothing needs."""
    new_names, known, kept = {}, {}, []
    for node in _in_order(function):
        for note in _NOTES:
            node.attr.pop(note, None)
        _rename_inputs(node, new_names)
        key = _content(node)
        if node.op in _PURE and key in known:
            new_names[node.name] = known[key]
        else:
            known[key] = node.name
            kept.append(node)
    _rename_results(function, new_names)
    used = _used_names(function, kept)
    nodes = [node for node in kept if node.name in used or node.op not in _PURE]
    del function.node_def[:]
    function.node_def.extend(nodes)


def _shorten_names(function, is_public):
    """Numbers the nodes: every copy of a function has all names, and short ones take no memory.

    Arguments and results are numbered, too, unless the function is public.
    """
    new_names = {node.name: f'n{i}' for i, node in enumerate(function.node_def)}
    if not is_public:
        signature = function.signature
        for i, argument in enumerate(signature.input_arg):
            new_names[argument.name] = f'a{i}'
            argument.name = f'a{i}'
            function.arg_attr[i].attr.pop('_user_specified_name', None)
        results = [function.ret[argument.name] for argument in signature.output_arg]
        function.ClearField('ret')
        for i, (argument, source) in enumerate(zip(signature.output_arg, results)):
            argument.name = f'r{i}'
            function.ret[argument.name] = source
    for node in function.node_def:
        node.name = new_names[node.name]
        _rename_inputs(node, new_names)
    _rename_results(function, new_names)


def _rename_inputs(node, new_names):
    for i, source in enumerate(node.input):
        node.input[i] = _renamed(source, new_names)


def _rename_results(function, new_names):
    for results in (function.ret, function.control_ret):
        for name, source in list(results.items()):
            results[name] = _renamed(source, new_names)


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
                source for source in map(folding.node_name, nodes[name].input)
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
    pending = [folding.node_name(source) for source in (
        *function.ret.values(), *function.control_ret.values())]
    pending += [node.name for node in nodes if node.op not in _PURE]
    used = set()
    while pending:
        name = pending.pop()
        if name not in used and name in by_name:
            used.add(name)
            pending += map(folding.node_name, by_name[name].input)
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
        _replace_functions(graph_def.library, functions)


def _replace_functions(library, functions):
    """Leaves some of a library's functions, as copies: originals go with their list."""
    copies = [type(function).FromString(function.SerializeToString()) for function in functions]
    del library.function[:]
    library.function.extend(copies)


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
    for function in _functions_in(node):
        function.name = new_names.get(function.name, function.name)


def _functions_in(node):
    """The attributes of a node that name functions."""
    return [function for value in node.attr.values()
            for function in (value.func, *value.list.func) if function.name]


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
        _rename_inputs(node, names)
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
