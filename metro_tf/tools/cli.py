"""The command `metro-tf`: 3D poses of the people in photos, without writing code."""

import argparse
import os
import pathlib
import sys
import time

from metro_tf import version
from metro_tf.tools import (
    argument_types, export_commands, loading, model_info, person_commands, writers)

EXIT_OK, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 2, 130

_DESCRIPTION = 'Absolute, metric-scale 3D poses of the people in photos.'
_EPILOG = """\
examples:
  metro-tf detect photo.jpg                     poses of all people in a photo
  metro-tf detect photos/*.jpg --out results    many photos, results into a folder
  metro-tf info                                 what the default model predicts
  metro-tf heatmaps photo.jpg --crop-model crop_model.keras    what a crop model looks at
  metro-tf volumes photo.jpg --crop-model crop_model.keras     its volumes, into a file
  metro-tf export-onnx --out onnx_model         the default model without TensorFlow

`metro-tf COMMAND --help` explains the options of a command."""
_DETECT_DESCRIPTION = """\
Finds all people in each photo and estimates where every joint is in space: in millimetres, in the
frame of the camera (x right, y down, z forward). Writes for photo.jpg into the folder of --out:

  photo.json         boxes, joints by name in mm and px, the assumed camera, model and version
  photo_poses.png    the photo with the skeletons drawn in, beside a 3D view"""
_DETECT_EPILOG = """\
examples:
  metro-tf detect photo.jpg
  metro-tf detect photos/*.jpg --out results --no-pictures    only the numbers
  metro-tf detect phone.jpg --fov 70           if you know the camera: distances depend on it
  metro-tf detect crowd.jpg --threshold 0.2    finds more people, and more that are none
  metro-tf detect photo.jpg --skeleton coco_17 --num-aug 1    other joints; faster, less exact
  metro-tf detect photo.jpg --server http://localhost:8501    by a model server

A photo does not tell its camera's field of view, and without it nobody can tell how far away
people are. Halving the (tangent of the half) angle doubles the distance. 55 degrees is typical;
a phone's main camera has about 65 to 70 along the longer side, a telephoto lens 10 to 30.

exit code: 0 if every photo was processed, 2 if an argument or a photo was bad (the other photos
are still processed)."""
_INFO_EPILOG = """\
examples:
  metro-tf info
  metro-tf info path/to/saved_model"""


def main(argv=None, load_model=None):
    """Runs the command line.

    Args:
        argv: Sequence of strings, the arguments after the program's name. None takes those of the
            process.
        load_model: Function from the name or path of a model to the model. None takes the
            package's own.

    Returns:
        Int, the exit code: 0, or 2 if anything that was asked for could not be done.

    Raises:
        SystemExit: With code 2 on unusable arguments, with 0 after `--help`.
    """
    arguments = _make_parser().parse_args(argv)
    try:
        code = arguments.run(arguments, load_model)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        _complain('interrupted')
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INTERRUPTED


def _make_parser():
    parser = argparse.ArgumentParser(
        prog='metro-tf', description=_DESCRIPTION, epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--version', action='version', version=f'metro-tf {version.VERSION}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    detect = argument_types.add_command(
        commands, 'detect', help='find people in photos and their 3D poses',
        description=_DETECT_DESCRIPTION, epilog=_DETECT_EPILOG)
    _add_detect_arguments(detect)
    detect.set_defaults(run=_run_detect)
    person_commands.add_heatmaps(commands).set_defaults(
        run=_telling(person_commands.run_heatmaps))
    person_commands.add_volumes(commands).set_defaults(
        run=_telling(person_commands.run_volumes))
    export_commands.add_onnx(commands).set_defaults(run=_telling(export_commands.run_onnx))
    export_commands.add_tflite(commands).set_defaults(run=_telling(export_commands.run_tflite))
    info = argument_types.add_command(
        commands, 'info', help='describe a model', epilog=_INFO_EPILOG,
        description='Tells what a model predicts, how it was made and how good it is.')
    argument_types.add_model(info)
    info.set_defaults(run=_telling(model_info.run))
    return parser


def _add_detect_arguments(parser):
    parser.add_argument(
        'photos', nargs='+', metavar='PHOTO', help='image file, e.g. JPEG, PNG, WebP or TIFF')
    parser.add_argument(
        '--out', default='metro_output', metavar='DIR', type=pathlib.Path,
        help='folder for the results, made if needed (default: %(default)s)')
    parser.add_argument(
        '--model', default='default', metavar='NAME_OR_PATH',
        help='name of a model or path of a SavedModel; with --server its name there '
             '(default: %(default)s)')
    parser.add_argument(
        '--server', metavar='URL',
        help='let a server of TensorFlow Serving do the work: http://host:8501 (REST) or '
             'grpc://host:8500')
    argument_types.add_fov(parser)
    parser.add_argument(
        '--num-aug', default=5, metavar='N', type=argument_types.positive_int,
        help='average over N variants of each person; 1 is fastest (default: %(default)s)')
    parser.add_argument(
        '--skeleton', default='', metavar='NAME',
        help='joint convention, see `metro-tf info` (default: all joints of the model)')
    parser.add_argument(
        '--threshold', default=0.3, metavar='X', type=argument_types.number_between(0, 1),
        help='least score of a person, between 0 and 1 (default: %(default)g)')
    parser.add_argument(
        '--no-pictures', action='store_true', help='write only the JSON files (faster)')


def _run_detect(arguments, load_model):
    try:
        _prepare_output(arguments)
        jobs = _jobs_with_usable_files(arguments)
        if jobs:
            model = _load(arguments, load_model)
            model.check_skeleton(arguments.skeleton)
    except (ValueError, OSError) as error:
        _complain(loading.message_of(error))
        return EXIT_BAD_INPUT
    numbered = list(enumerate(jobs, 1))
    done = _attempt_each(
        numbered, lambda job: _detect_in_photo(job, len(numbered), model, arguments))
    n_failed = len(arguments.photos) - len(done)
    if n_failed:
        _complain(f'{n_failed} of {len(arguments.photos)} photos could not be processed')
    return EXIT_BAD_INPUT if n_failed else EXIT_OK


def _load(arguments, load_model):
    """The model that is asked for, on a server or here."""
    if arguments.server is None:
        return loading.load(arguments.model, load_model)
    loading.quiet_tensorflow()
    from metro_tf.tools import served_model
    return served_model.ServedModel(arguments.server, arguments.model)


def _jobs_with_usable_files(arguments):
    """Pairs of photo and output stem. Bad files are told here, before a model is loaded."""
    from metro_tf.tools import images
    stems = writers.output_stems(arguments.photos, arguments.out)
    return _attempt_each(
        zip(arguments.photos, stems), lambda job: images.check_header(job[0]))


def _attempt_each(jobs, function):
    """Calls `function` with each job, tells what went wrong, and returns the jobs that worked."""
    successful = []
    for job in jobs:
        try:
            function(job)
            successful.append(job)
        except (ValueError, OSError) as error:
            _complain(loading.message_of(error))
    return successful


def _prepare_output(arguments):
    if not arguments.no_pictures:
        from metro_tf.tools import draw
        draw.check_available(', or leave them out with `--no-pictures`')
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f'{arguments.out}: cannot be used as folder for the results ({error.strerror}). '
            'Choose another one with `--out`.') from error


def _detect_in_photo(job, n_photos, model, arguments):
    from metro_tf.tools import draw, images
    number, (photo, stem) = job
    start = time.perf_counter()
    image = images.read_image(photo)
    with loading.explained(f'{photo}: the model refused this photo'):
        poses = model.detect(image, pathlib.Path(photo).name, arguments)
    json_path, picture_path = (arguments.out / name for name in writers.output_names(stem))
    settings = {
        'num_aug': arguments.num_aug, 'detector_threshold': arguments.threshold,
        'skeleton': arguments.skeleton}
    document = writers.pose_document(poses, model=model.identity, settings=settings)
    written = [json_path]
    if not arguments.no_pictures:
        writers.write_bytes(picture_path, draw.draw_picture(image, poses))
        written.append(picture_path)
    writers.write_json(json_path, document)
    seconds = time.perf_counter() - start
    print(f'[{number}/{n_photos}] {photo}: {_n_people(poses)}, {seconds:.1f} s', flush=True)
    print(_table(poses) + '      -> ' + ', '.join(str(path) for path in written), flush=True)


def _n_people(poses):
    return {0: 'nobody found', 1: '1 person'}.get(len(poses.boxes), f'{len(poses.boxes)} people')


def _table(poses):
    """One line per person; empty without people."""
    if not len(poses.boxes):
        return ''
    lines = [
        '      person  score   box: left, top, width, height (px)   distance   '
        'extent: width x height x depth']
    rows = zip(poses.boxes, poses.distances_mm / 1000, poses.extents_mm / 1000)
    for number, (box, distance, extent) in enumerate(rows, 1):
        box_text = ', '.join(f'{value:.0f}' for value in box[:4])
        extent_text = ' x '.join(f'{value:.2f}' for value in extent)
        lines.append(
            f'      {number:>6}  {box[4]:>5.2f}   {box_text:<34}   {distance:>6.2f} m   '
            f'{extent_text} m')
    return '\n'.join(lines) + '\n'


def _telling(command):
    """Makes a command tell its result or what went wrong."""
    def run(arguments, load_model):
        try:
            text = command(arguments, load_model)
        except (ValueError, OSError) as error:
            _complain(loading.message_of(error))
            return EXIT_BAD_INPUT
        print(text)
        return EXIT_OK
    return run


def _complain(message):
    print(f'metro-tf: {message}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
