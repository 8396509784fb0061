"""Reads the folders that `metro_tf.export.export_onnx` writes."""

import json

import onnxruntime

FORMAT_VERSION = 1
_KEYS = (
    'metadata', 'input_resolution', 'joint_names', 'joint_edges', 'mirror_mapping', 'skeletons',
    'mean_bone_lengths_mm', 'config', 'output_shapes', 'detector')


class OnnxNetwork:
    """A network file, called with named arrays, that gives a dict of arrays.

    Args:
        path: Path of the ONNX file.
        n_threads: Number of threads within an operation; None leaves it to onnxruntime.

    Raises:
        ValueError: If there is no such file, or it is none that onnxruntime can run.
    """

    def __init__(self, path, n_threads=None):
        if not path.is_file():
            raise ValueError(f'`folder` must hold the file {path.name}. Received: {path.parent}')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads or 0
        # Threads that spin between two calls take time from the NumPy code in between.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=['CPUExecutionProvider'])
        except Exception as error:  # onnxruntime has no common class for its errors
            raise ValueError(
                f'`folder` must hold usable networks. Received: {path}, {error}') from error
        self._output_names = [output.name for output in self._session.get_outputs()]

    def __call__(self, **inputs):
        return dict(zip(self._output_names, self._session.run(None, inputs)))


def read_description(folder):
    """Reads what a folder says of its model.

    Args:
        folder: `pathlib.Path`.

    Returns:
        Dict, the content of `model.json`.

    Raises:
        ValueError: If it is not there, unreadable, incomplete or of another version.
    """
    path = folder / 'model.json'
    if not path.is_file():
        raise ValueError(
            '`folder` must be one that `metro-tf export-onnx` wrote, with a file model.json. '
            f'Received: {folder}')
    try:
        description = json.loads(path.read_text(encoding='utf-8'))
        version = description['format_version']
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'`folder` must hold a readable model.json. Received: {path}') from error
    missing = [key for key in _KEYS if key not in description]
    if version != FORMAT_VERSION or missing:
        raise ValueError(
            f'`folder` must hold a complete model.json of format_version {FORMAT_VERSION}. '
            f'Received: {path}, format_version={version}, missing: {missing}')
    return description
