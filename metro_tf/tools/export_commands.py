"""`metro-tf export-onnx` and `metro-tf export-tflite`: models for use without TensorFlow."""

import contextlib
import logging
import pathlib

from metro_tf.tools import argument_types, loading, writers

_ONNX_DESCRIPTION = """\
Converts the networks of a model to ONNX. Writes into the folder of --out:

  crop_model.onnx         the network that sees crops of people, in 32-bit floats
  crop_model_int8.onnx    the same with convolutions in 8 bits: a quarter of the size, less exact
  detector.onnx           the network that finds people
  model.json              all else: joints, settings, what the model says of itself"""
_ONNX_EPILOG = """\
examples:
  metro-tf export-onnx --out onnx_model
  metro-tf export-onnx path/to/saved_model --out onnx_model --overwrite

Needs the packages of `pip install 'metro-tf[export]'`. metro_tf.onnx.PoseEstimator runs the folder
with NumPy, OpenCV and onnxruntime, see docs/onnx.md.

exit code: 0 if all was written, 2 if an argument was bad or the model cannot be converted."""
_TFLITE_DESCRIPTION = """\
Converts the network that sees crops of people to TFLite, for phones and small devices. The detector
and all around the networks are not part of the file."""
_TFLITE_EPILOG = """\
examples:
  metro-tf export-tflite --out crop_model.tflite

docs/onnx.md tells its inputs and outputs.

exit code: 0 if the file was written, 2 if an argument was bad or the model cannot be converted."""


def add_onnx(commands):
    """Adds `export-onnx` to the subparsers of a command line. Returns its parser."""
    parser = argument_types.add_command(
        commands, 'export-onnx', help='convert a model to ONNX',
        description=_ONNX_DESCRIPTION, epilog=_ONNX_EPILOG)
    argument_types.add_model(parser)
    parser.add_argument(
        '--out', required=True, metavar='DIR', type=pathlib.Path, help='folder to write')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace the folder if it exists')
    return parser


def add_tflite(commands):
    """Adds `export-tflite` to the subparsers of a command line. Returns its parser."""
    parser = argument_types.add_command(
        commands, 'export-tflite', help='convert the crop network of a model to TFLite',
        description=_TFLITE_DESCRIPTION, epilog=_TFLITE_EPILOG)
    argument_types.add_model(parser)
    parser.add_argument(
        '--out', required=True, metavar='FILE', type=pathlib.Path,
        help='.tflite file to write; an existing one is replaced')
    return parser


def run_onnx(arguments, load_model):
    """Runs `export-onnx`.

    Args:
        arguments: What the parser of `add_onnx` parsed.
        load_model: Not used; networks are not among what other models offer.

    Returns:
        String, what to tell the user.

    Raises:
        ValueError: If an argument is bad or the model cannot be converted.
        OSError: If something cannot be written.
    """
    if arguments.out.exists() and not arguments.overwrite:
        raise ValueError(
            f'`--out` must be a new folder unless there is `--overwrite`. Received: '
            f'{arguments.out}')
    loading.quiet_tensorflow()
    from metro_tf.export import onnx
    with _quiet_converters(), loading.explained(f'{arguments.model!r} cannot be converted'):
        onnx.export_onnx(arguments.model, arguments.out, overwrite=arguments.overwrite)
    files = sorted(arguments.out.iterdir())
    return '\n'.join(_line(file) for file in files)


def run_tflite(arguments, load_model):
    """Runs `export-tflite`; see `run_onnx`."""
    if arguments.out.suffix != '.tflite' or not arguments.out.parent.is_dir():
        raise ValueError(
            '`--out` must be a file in an existing folder whose name ends in .tflite. '
            f'Received: {arguments.out}')
    loading.quiet_tensorflow()
    from metro_tf.export import tflite
    with _quiet_converters(), loading.explained(f'{arguments.model!r} cannot be converted'):
        content = tflite.convert(arguments.model)
    writers.write_bytes(arguments.out, content)
    return _line(arguments.out)


@contextlib.contextmanager
def _quiet_converters():
    """Hides the advice of the converters to their own users."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(previous)


def _line(path):
    return f'{path}   {path.stat().st_size / 1e6:.2f} MB'
