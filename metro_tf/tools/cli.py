"""The command `metro-tf`: 3D poses of the people in photos, without writing code."""

import argparse
import os
import pathlib
import sys
import time

from metro_tf import version
from metro_tf.tools import argument_types, loading, writers

EXIT_OK, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 2, 130

# What the metadata repeat of a model's attributes.
_INFO_SHOWN_BEFORE = ('model_name', 'model_version', 'joint_names', 'joint_edges', 'skeletons')
_KEY_WIDTH = 22

_DESCRIPTION = 'Absolute, metric-scale 3D poses of the people in photos.'
_EPILOG = """\
examples:
  metro-tf detect photo.jpg                     poses of all people in a photo
  metro-tf detect photos/*.jpg --out results    many photos, results into a folder
  metro-tf info                                 what the default model predicts
  metro-tf heatmaps photo.jpg --crop-model crop_model.keras    what a crop model looks at

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

A photo does not tell its camera's field of view, and without it nobody can tell how far away
people are. Halving the (tangent of the half) angle doubles the distance. 55 degrees is typical;
a phone's main camera has about 65 to 70 along the longer side, a telephoto lens 10 to 30.

exit code: 0 if every photo was processed, 2 if an argument or a photo was bad (the other photos
are still processed)."""
_HEATMAPS_DESCRIPTION = """\
Shows where a crop model takes the joints of one person to be, and how sure it is of them. Draws a
picture with a row for each joint: its heatmaps on the planes xy, zy and xz, where z is the depth,
away from the camera. Dashed lines cross at the predicted position. Beside the name is the standard
deviation of the joint in space: the wider the heatmaps, the larger."""
_HEATMAPS_EPILOG = """\
examples:
  metro-tf heatmaps photo.jpg --crop-model runs/own/crop_model.keras
  metro-tf heatmaps photo.jpg --crop-model crop_model.keras --joints lwri,rwri --out wrists.png
  metro-tf heatmaps photo.jpg --crop-model crop_model.keras --box 210,40,180,400

A crop model is a .keras file that training.train wrote. Of Metrabs, the heatmap of the 2D head is
drawn over the photo; beside it are the sums of the metric volume, which has its own scale, along z,
x and y. Of MargiPose and AbsoluteMargiPose the last stage is shown, with xy over the photo.
Write --box=-20,40,180,400 if the first number is negative.

How to read it: one compact spot means that the network is sure. Two spots, often left and right of
a person, are two opinions, and the prediction lies between them.

exit code: 0 if the picture was written, 2 if an argument or a file was bad or nobody was found."""
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
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog='metro-tf', description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw)
    parser.add_argument(
        '--version', action='version', version=f'metro-tf {version.VERSION}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    detect = commands.add_parser(
        'detect', help='find people in photos and their 3D poses', formatter_class=raw,
        description=_DETECT_DESCRIPTION, epilog=_DETECT_EPILOG)
    _add_detect_arguments(detect)
    detect.set_defaults(run=_run_detect)
    heatmaps = commands.add_parser(
        'heatmaps', help='draw the heatmaps of a person in a photo', formatter_class=raw,
        description=_HEATMAPS_DESCRIPTION, epilog=_HEATMAPS_EPILOG)
    _add_heatmaps_arguments(heatmaps)
    heatmaps.set_defaults(run=_run_heatmaps)
    info = commands.add_parser(
        'info', help='describe a model', formatter_class=raw, epilog=_INFO_EPILOG,
        description='Tells what a model predicts, how it was made and how good it is.')
    info.add_argument(
        'model', nargs='?', default='default', metavar='MODEL',
        help='name or path of a model (default: %(default)s)')
    info.set_defaults(run=_run_info)
    return parser


def _add_detect_arguments(parser):
    parser.add_argument(
        'photos', nargs='+', metavar='PHOTO', help='image file, e.g. JPEG, PNG, WebP or TIFF')
    parser.add_argument(
        '--out', default='metro_output', metavar='DIR', type=pathlib.Path,
        help='folder for the results, made if needed (default: %(default)s)')
    parser.add_argument(
        '--model', default='default', metavar='NAME_OR_PATH',
        help='name of a model or path of a SavedModel (default: %(default)s)')
    _add_fov_argument(parser)
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


def _add_heatmaps_arguments(parser):
    parser.add_argument('photo', metavar='PHOTO', help='image file, e.g. JPEG, PNG, WebP or TIFF')
    parser.add_argument(
        '--crop-model', required=True, metavar='FILE', help='.keras file of the crop model')
    parser.add_argument(
        '--box', metavar='LEFT,TOP,WIDTH,HEIGHT', type=argument_types.box,
        help='where the person is, px (default: the surest detection of --model)')
    parser.add_argument(
        '--joints', default=(), metavar='NAME,NAME', type=argument_types.names,
        help='which joints, in this order (default: all of the crop model)')
    parser.add_argument(
        '--out', metavar='FILE', type=pathlib.Path,
        help='PNG file to write (default: the photo\'s name with _heatmaps.png, in the current '
             'folder)')
    _add_fov_argument(parser)
    parser.add_argument(
        '--model', default='default', metavar='NAME_OR_PATH',
        help='model whose detector finds the person, without --box (default: %(default)s)')


def _add_fov_argument(parser):
    parser.add_argument(
        '--fov', default=55.0, metavar='DEG', type=argument_types.number_between(0, 180),
        help='field of view along the longer side of the photo, degrees (default: %(default)g)')


def _run_detect(arguments, load_model):
    try:
        _prepare_output(arguments)
        jobs = _jobs_with_usable_files(arguments)
        if jobs:
            model = loading.load(arguments.model, load_model)
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


def _run_heatmaps(arguments, load_model):
    try:
        path = _heatmap_path(arguments)
        loading.quiet_tensorflow()
        person, box = _look_at_person(arguments, load_model)
        from metro_tf.tools import draw_heatmaps
        title = f'{pathlib.Path(arguments.photo).name}, {pathlib.Path(arguments.crop_model).name}'
        writers.write_bytes(path, draw_heatmaps.draw_picture(person, title))
    except (ValueError, OSError) as error:
        _complain(loading.message_of(error))
        return EXIT_BAD_INPUT
    box_text = ', '.join(f'{value:.0f}' for value in box[:4])
    print(f'{arguments.photo}: box {box_text} (px), mean standard deviation '
          f'{person.uncertainty_mm.mean():.0f} mm -> {path}')
    return EXIT_OK


def _heatmap_path(arguments):
    """Where to write. Everything that can be checked without a model is checked here."""
    from metro_tf.tools import draw, images
    draw.check_available()
    images.check_header(arguments.photo)
    photo = pathlib.Path(arguments.photo)
    path = arguments.out or pathlib.Path(f'{photo.stem}_heatmaps.png')
    if path.suffix.lower() != '.png':
        raise ValueError(f'`--out` must end in .png. Received: {path}')
    if path.resolve() == photo.resolve():
        raise ValueError(f'`--out` must not be the photo itself. Received: {path}')
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f'`--out` must be a file in an existing folder. Received: {path}')
    return path


def _look_at_person(arguments, load_model):
    """Heatmaps of the person, and the box."""
    from metro_tf.tools import heatmaps, images
    image = images.read_image(arguments.photo)
    crop_model = heatmaps.load_crop_model(arguments.crop_model)
    indices = heatmaps.joint_indices(arguments.joints, crop_model.joint_names)
    box = arguments.box
    if box is None:
        model = loading.load(arguments.model, load_model)
        with loading.explained(f'{arguments.photo}: the model refused this photo'):
            box = model.surest_box(image)
    if box is None:
        raise ValueError(
            f'{arguments.photo}: nobody found. Tell where the person is with `--box`.')
    return heatmaps.of_person(image, box, crop_model, arguments.fov, indices), box


def _run_info(arguments, load_model):
    try:
        model = loading.load(arguments.model, load_model)
    except ValueError as error:
        _complain(loading.message_of(error))
        return EXIT_BAD_INPUT
    names, edges = model.joints('')
    print(f'model      {model.identity["name"]}, version {model.identity["version"]}')
    print(f'joints     {len(names)}, with {len(edges)} bones: {" ".join(names)}')
    print('skeletons  for --skeleton:')
    for skeleton in model.skeletons:
        print(f'    {skeleton:<{_KEY_WIDTH}} {len(model.joints(skeleton)[0])} joints')
    details = {
        key: value for key, value in model.metadata.items()
        if key not in _INFO_SHOWN_BEFORE}
    if details:
        print('details')
        _print_nested(details, indent=4)
    return EXIT_OK


def _print_nested(values, indent):
    for key, value in values.items():
        if isinstance(value, dict):
            print(f'{"":{indent}}{key}')
            _print_nested(value, indent + 4)
        else:
            print(f'{"":{indent}}{key:<{_KEY_WIDTH}} {_rounded(value)}')


def _rounded(value):
    if isinstance(value, list):
        return ' '.join(str(_rounded(item)) for item in value)
    return f'{value:.5g}' if isinstance(value, float) else value


def _complain(message):
    print(f'metro-tf: {message}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
