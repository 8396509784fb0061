"""From an export to ONNX files, which run without TensorFlow; see `metro_tf.onnx`.

Only the networks are converted. What is around them, image handling, cameras and filtering, is
cheap and done in NumPy and OpenCV.
"""

import json

from metro_tf.export import folders, networks

# onnxruntime knows this set of operators since 1.12.
_OPSET = 17


def export_onnx(name_or_path, out_dir, *, overwrite=False):
    """Converts the networks of an export to ONNX.

    The folder holds, with S and J for the side of the crops and the number of joints:
    `crop_model.onnx`: `image` float32 `[n, S, S, 3]` in [0, 1] and `intrinsic_matrix` float32
    `[n, 3, 3]` to `poses` `[n, J, 3]`, mm, and, of a model that tells it, `uncertainty` `[n, J]`;
    `crop_model_int8.onnx`: the same with convolutions in 8 bits, whose ranges are found anew in
    each call;
    `detector.onnx`, if the model has a detector: `image` float32 `[n, h, w, 3]` in [0, 1], h and w
    multiples of 32, to the grids `logits`, `offset` and `log_size` (see `detection.decoding`);
    `model.json`: all else that `metro_tf.onnx.PoseEstimator` needs.

    The folder appears under its name when it is complete, never half-written.

    Args:
        name_or_path: See `saved_model.load`.
        out_dir: Folder to write.
        overwrite: Whether to replace an existing folder.

    Raises:
        ValueError: If the export cannot be converted, the folder exists and `overwrite` is False,
            or one of the packages tf2onnx, onnx and onnxruntime is missing.
    """
    networks.check_packages('tf2onnx', 'onnx', 'onnxruntime')
    loaded = networks.load(name_or_path)
    has_detector = loaded.metadata['has_detector']
    if has_detector and loaded.detector is None:
        raise ValueError(
            '`name_or_path` must be an export without detector or with a '
            f'`metro_tf.PersonDetector`, no other. Received: {name_or_path}')
    with folders.written_whole(out_dir, overwrite) as folder:
        (folder / 'crop_model.onnx').write_bytes(_convert(loaded.crop_model))
        _quantise(folder / 'crop_model.onnx', folder / 'crop_model_int8.onnx')
        if has_detector:
            (folder / 'detector.onnx').write_bytes(_convert(loaded.detector))
        (folder / 'model.json').write_text(
            json.dumps(_description(loaded.model, loaded.metadata), indent=1) + '\n',
            encoding='utf-8')


def _convert(function):
    """Bytes of the ONNX model of a `tf.function` with fixed signature that gives a dict."""
    import onnx
    import tf2onnx
    try:
        model, _ = tf2onnx.convert.from_function(
            function, input_signature=function.input_signature, opset=_OPSET)
        # Some operations that it cannot convert are left in the graph.
        onnx.checker.check_model(model)
    except Exception as error:  # of many types, not all of them documented
        raise ValueError(
            '`name_or_path` must be an export whose networks have only operations that tf2onnx '
            f'can convert. Received: {error}') from error
    for node in model.graph.node:
        if node.op_type == 'Resize':
            _use_current_resizing(node)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = 'n'
    return model.SerializeToString()


def _use_current_resizing(node):
    """Replaces a deprecated mode of nearest neighbours by an equal one.

    Both take source pixel floor((x + 0.5) / scale), the new one as the rounded position
    (x + 0.5) / scale - 0.5 with halves going up.
    """
    modes = {attribute.name: attribute for attribute in node.attribute}
    if modes['coordinate_transformation_mode'].s == b'tf_half_pixel_for_nn':
        modes['coordinate_transformation_mode'].s = b'half_pixel'
        modes['nearest_mode'].s = b'round_prefer_ceil'


def _quantise(path, out_path):
    """Writes a network with convolutions in 8 bits. All else is geometry, which needs floats.

    The first convolution stays in floats: it holds few weights, and with it in 8 bits poses
    deviate almost twice as far.
    """
    import onnx
    from onnxruntime import quantization
    nodes = onnx.load(path).graph.node
    first = next((node.name for node in nodes if node.op_type == 'Conv'), None)
    quantization.quantize_dynamic(
        path, out_path, op_types_to_quantize=['Conv'], nodes_to_exclude=[first],
        weight_type=quantization.QuantType.QUInt8)


def _description(model, metadata):
    """Content of `model.json`."""
    from metro_tf.onnx import model_folder
    n_joints = len(metadata['joint_names'])
    uncertainty = {'uncertainty': [n_joints]} if metadata['config']['uncertainty'] else {}
    names = ('input_resolution', 'joint_names', 'joint_edges', 'mirror_mapping',
             'mean_bone_lengths_mm', 'config')
    return {
        'format_version': model_folder.FORMAT_VERSION, **{name: metadata[name] for name in names},
        'skeletons': {name: _skeleton(model, name) for name in metadata['skeletons']},
        'output_shapes': {'poses': [n_joints, 3], **uncertainty},
        'detector': {'input_side_px': int(model.detector.input_side_px)}
        if metadata['has_detector'] else None,
        'metadata': metadata}


def _skeleton(model, name):
    joint_names = model.per_skeleton_joint_names[name].numpy()
    return {
        'joint_names': [joint_name.decode() for joint_name in joint_names],
        'joint_edges': model.per_skeleton_joint_edges[name].numpy().tolist(),
        'indices': model.per_skeleton_indices[name].numpy().tolist()}
