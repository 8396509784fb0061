"""Files in the forms of the releases, written by hand: no original file is at hand."""

import io
import json
import pickle
import zipfile

import numpy as np
import tensorflow as tf

HEADS = 'heatmap_heads/conv_final'


def write_saved_model(folder, tensors, joint_names, joint_edges, side, skeletons=(), network=''):
    """Writes a SavedModel like that of a pose estimator.

    Args:
        folder: Path of the folder.
        tensors: Dict from names such as `blocks_0/conv2d/kernel` to arrays, with those of `HEADS`.
        joint_names, joint_edges, side: What the crop model tells.
        skeletons: Dict from names of conventions to pairs of joint names and indices.
        network: What comes before the names of the backbone.
    """
    root, crop_model = tf.Module(), tf.Module()
    crop_model.heatmap_heads = tf.Module()
    crop_model.heatmap_heads.conv_final = tf.Module()
    for part in ('kernel', 'bias'):
        setattr(crop_model.heatmap_heads.conv_final, part, tf.Variable(
            tensors[f'{HEADS}/{part}'], name=f'metrabs/metrabs_heads/conv2d_3/{part}'))
    crop_model.backbone = [
        tf.Variable(value, name=network + name) for name, value in tensors.items()
        if not name.startswith(HEADS)]
    crop_model.joint_names = tf.Variable(list(joint_names), trainable=False)
    crop_model.joint_edges = tf.Variable(np.int64(joint_edges), trainable=False)
    crop_model.input_resolution = tf.Variable(np.int32(side), trainable=False)
    root.crop_model = crop_model
    root.joint_names, root.joint_edges = crop_model.joint_names, crop_model.joint_edges
    root.detector = tf.Module()
    root.detector.kernel = tf.Variable([1.0], name='stem/conv2d/kernel')
    root.per_skeleton_joint_names = {
        key: tf.Variable(list(names)) for key, (names, _) in dict(skeletons).items()}
    root.per_skeleton_indices = {
        key: tf.Variable(np.int32(indices)) for key, (_, indices) in dict(skeletons).items()}
    tf.saved_model.save(root, str(folder))


def to_torch(name, array):
    """A kernel with the order of axes of PyTorch, by the name that it has in TensorFlow."""
    if array.ndim < 4:
        return array
    return array.transpose((2, 3, 0, 1) if 'depthwise' in name else (3, 2, 0, 1))


def torch_bytes(tensors, storage='FloatStorage', global_names=None):
    """The bytes that `torch.save` writes for a state dict, in protocol 2.

    Args:
        tensors: Dict from names to arrays.
        storage: Name of the class of the storages of floats.
        global_names: Dict from names of functions to others that are written in their stead.
    """
    tensors = {name: np.array(array, order='C') for name, array in tensors.items()}
    text = b'\x80\x02' + _global('collections', 'OrderedDict') + b')R('
    for i, (name, array) in enumerate(tensors.items()):
        kind = 'LongStorage' if array.dtype == np.int64 else storage
        strides = [stride // array.itemsize for stride in array.strides]
        text += _text(name) + _global('torch._utils', '_rebuild_tensor_v2')
        text += b'((' + _text('storage') + _global('torch', kind) + _text(str(i))
        text += _text('cpu') + _int(array.size) + b'tQ' + _int(0)
        text += _ints(array.shape) + _ints(strides) + b'\x89'
        text += _global('collections', 'OrderedDict') + b')RtR'
    # What PyTorch adds to a state dict: an attribute with the versions of its modules.
    text += b'u}' + _text('_metadata') + _global('collections', 'OrderedDict') + b')Rsb.'
    for name, other in (global_names or {}).items():
        text = text.replace(name.encode(), other.encode())
    return zip_bytes({'archive/data.pkl': text, 'archive/byteorder': b'little', **{
        f'archive/data/{i}': array.tobytes() for i, array in enumerate(tensors.values())}})


def zip_bytes(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w') as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def _global(module, name):
    return f'c{module}\n{name}\n'.encode()


def _text(value):
    return b'X' + len(value.encode()).to_bytes(4, 'little') + value.encode()


def _int(value):
    return b'J' + int(value).to_bytes(4, 'little', signed=True)


def _ints(values):
    return b'(' + b''.join(map(_int, values)) + b't'


def safetensors_bytes(tensors, dtypes):
    """The bytes of a `.safetensors` file.

    Args:
        tensors: Dict from names to arrays.
        dtypes: Dict from names to what the file calls their type.
    """
    header, data = {'__metadata__': {'format': 'pt'}}, b''
    for name, array in tensors.items():
        numbers = np.ascontiguousarray(array).tobytes()
        header[name] = {
            'dtype': dtypes[name], 'shape': list(array.shape),
            'data_offsets': [len(data), len(data) + len(numbers)]}
        data += numbers
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, 'little') + text + data


def write_torch_folder(folder, tensors, joint_names=None, joint_edges=None, skeletons=None):
    """Writes a folder like that of the PyTorch release.

    Args:
        folder: Path of the folder, which is made.
        tensors: Dict from names to arrays.
        joint_names, joint_edges: What `joint_info.npz` tells; without names there is none.
        skeletons: Dict from names of conventions to pairs of joint names and indices, or None.
    """
    folder.mkdir()
    (folder / 'ckpt.pt').write_bytes(torch_bytes(tensors))
    if joint_names is not None:
        np.savez(folder / 'joint_info.npz', joint_names=np.array(joint_names),
                 joint_edges=np.array(joint_edges))
    if skeletons is not None:
        infos = {key: {'names': list(names), 'indices': list(indices), 'edges': []}
                 for key, (names, indices) in skeletons.items()}
        (folder / 'skeleton_infos.pkl').write_bytes(pickle.dumps(infos))
