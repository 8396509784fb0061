"""The SavedModel folders of the TensorFlow release.

Only the checkpoint in the folder is read, not the graph. It lists every variable with its name and
with the attributes that lead to it.
"""

import pathlib
import re

from google.protobuf import message
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from training.original_weights import layouts, release

_GRAPH_KEY = '_CHECKPOINTABLE_OBJECT_GRAPH'
# Names of networks, which come before those of their layers.
_NETWORK_NAME = re.compile(r'^(.*/)?efficientnetv2-[^/]+/')


def read(folder):
    """Reads the crop model in a SavedModel of MeTRAbs.

    Args:
        folder: Folder of a whole pose estimator, with the attribute `crop_model`, or of a crop
            model alone.

    Returns:
        `release.Release`.

    Raises:
        ValueError: If the folder holds no checkpoint, is damaged, or two weights have one name.
    """
    path = pathlib.Path(folder) / 'variables' / 'variables'
    if not path.with_name('variables.index').is_file():
        raise ValueError(
            f'`folder` must be a SavedModel with variables/variables.index. Received: {folder}')
    try:
        return _read(_Objects(tf.train.load_checkpoint(str(path))))
    except (tf.errors.OpError, RuntimeError, IndexError, message.DecodeError) as error:
        raise ValueError(
            f'`folder` must be an undamaged SavedModel. Received: {folder}: {error}') from error


def _read(objects):
    crop_model = objects.child(0, 'crop_model') or 0
    tensors, others = {}, []
    for variable in objects.variables_below(crop_model):
        if not objects.dtype(variable).is_floating:
            others.append(variable.full_name)
            continue
        name = _NETWORK_NAME.sub('', variable.full_name)
        if name in tensors:
            raise ValueError(
                f'`folder` must hold variables of distinct names. Received: {name!r} twice')
        tensors[name] = objects.value(variable)
    return release.Release(
        layouts.TENSORFLOW, _with_heads(tensors, objects, crop_model), tuple(sorted(others)),
        **_joints(objects, crop_model), skeletons=_skeletons(objects))


def _with_heads(tensors, objects, crop_model):
    """Names the variables of the heads, which Keras has counted through, by their attributes."""
    names = {}
    for part in ('kernel', 'bias'):
        variable = objects.variable(crop_model, 'heatmap_heads', 'conv_final', part)
        if variable is not None:
            names[variable.full_name] = f'{layouts.HEADS.tensorflow}/{part}'
    return {names.get(name, name): value for name, value in tensors.items()}


def _joints(objects, crop_model):
    found = {
        name: objects.variable(crop_model, name) or objects.variable(0, name)
        for name in ('joint_names', 'joint_edges', 'input_resolution')}
    names, edges, side = (
        None if variable is None else objects.value(variable) for variable in found.values())
    return {
        'joint_names': None if names is None else release.texts(names),
        'joint_edges': None if edges is None else release.edges(edges),
        'crop_side_px': None if side is None else int(side)}


def _skeletons(objects):
    tables = {'names': 'per_skeleton_joint_names', 'indices': 'per_skeleton_indices'}
    found = {key: objects.child(0, attribute) for key, attribute in tables.items()}
    if None in found.values():
        return {}
    return {
        skeleton: (
            release.texts(objects.value(objects.variable(found['names'], skeleton))),
            release.indices(objects.value(objects.variable(found['indices'], skeleton))))
        for skeleton in objects.names_of_children(found['names'])
        if objects.variable(found['names'], skeleton) is not None
        and objects.variable(found['indices'], skeleton) is not None}


class _Objects:
    """The objects in a checkpoint, by number; 0 is the root."""

    def __init__(self, reader):
        self._reader = reader
        self._nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
            reader.get_tensor(_GRAPH_KEY)).nodes

    def child(self, i_object, *names):
        """Number of the object that a chain of attributes leads to, or None."""
        for name in names:
            matches = [child.node_id for child in self._nodes[i_object].children
                       if child.local_name == name]
            if not matches:
                return None
            i_object = matches[0]
        return i_object

    def names_of_children(self, i_object):
        """Names of the attributes of an object."""
        return [child.local_name for child in self._nodes[i_object].children]

    def variable(self, i_object, *names):
        """The variable that a chain of attributes leads to, or None."""
        i_object = self.child(i_object, *names)
        return None if i_object is None else self._variable(i_object)

    def variables_below(self, i_object):
        """All variables that an object's attributes lead to, each once."""
        seen, waiting = {i_object}, [i_object]
        while waiting:
            children = {child.node_id for child in self._nodes[waiting.pop()].children} - seen
            seen |= children
            waiting += children
        found = (self._variable(i_found) for i_found in sorted(seen))
        return [variable for variable in found if variable is not None]

    def _variable(self, i_object):
        for attribute in self._nodes[i_object].attributes:
            if attribute.name == 'VARIABLE_VALUE':
                return attribute
        return None

    def dtype(self, variable):
        """The TensorFlow type of a variable."""
        return self._reader.get_variable_to_dtype_map()[variable.checkpoint_key]

    def value(self, variable):
        """The value of a variable as a NumPy array or scalar."""
        return self._reader.get_tensor(variable.checkpoint_key)
