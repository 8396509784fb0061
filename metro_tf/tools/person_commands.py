"""`metro-tf heatmaps` and `metro-tf volumes`: what a crop model makes of one person in a photo."""

import pathlib

from metro_tf.tools import argument_types, loading, writers

_HEATMAPS_DESCRIPTION = """\
Shows where a crop model takes the joints of one person to be, and how sure it is of them. Draws a
picture with a row for each joint: its heatmaps on the planes xy, zy and xz, where z is the depth,
away from the camera. Dashed lines cross at the predicted position. Beside the name is the standard
deviation of the joint in space, if the model tells it: the wider the heatmaps, the larger."""
_HEATMAPS_EPILOG = """\
examples:
  metro-tf heatmaps photo.jpg --crop-model default
  metro-tf heatmaps photo.jpg --crop-model crop_model.keras --joints lwri,rwri --out wrists.png
  metro-tf heatmaps photo.jpg --crop-model crop_model.keras --box 210,40,180,400

A crop model is a release such as default, an .npz file with its weights, or a .keras file that
training.train wrote. Of Metrabs, the heatmap of the 2D head is drawn over the photo; beside it are
the sums of the metric volume, which has its own scale, along z, x and y. Of MargiPose and
AbsoluteMargiPose the last stage is shown, with xy over the photo. Of CoarseToFine, Decoupled and
Pose25D these are the largest values of the volume along z, x and y.
Write --box=-20,40,180,400 if the first number is negative.

How to read it: one compact spot means that the network is sure. Two spots, often left and right of
a person, are two opinions, and the prediction lies between them, or at the higher one in
CoarseToFine and Decoupled.

exit code: 0 if the picture was written, 2 if an argument or a file was bad or nobody was found."""
_VOLUMES_DESCRIPTION = """\
Writes the volumes of one person, a value for every joint, pixel cell and depth, into an NPZ file
with all that is needed to use them: where the voxels are, the camera, the decoded joints. A picture
shows, if wanted, the largest values along each axis, and all joints in space."""
_VOLUMES_EPILOG = """\
examples:
  metro-tf volumes photo.jpg --crop-model crop_model.keras
  metro-tf volumes photo.jpg --crop-model crop_model.keras --out person.npz --picture person.png
  metro-tf volumes photo.jpg --crop-model crop_model.keras --joints lwri,rwri --box 210,40,180,400

A crop model is a release, an .npz file with its weights, or a .keras file that training.train
wrote. It is a CoarseToFine or Decoupled, whose values are scores, about 1 at a joint and 0
elsewhere, or a Pose25D, whose values are probabilities. Those of CoarseToFine are of the last
stage. docs/api.md lists the arrays of the file.
Write --box=-20,40,180,400 if the first number is negative.

exit code: 0 if all was written, 2 if an argument or a file was bad or nobody was found."""


def add_heatmaps(commands):
    """Adds `heatmaps` to the subparsers of a command line. Returns its parser."""
    parser = argument_types.add_command(
        commands, 'heatmaps', help='draw the heatmaps of a person in a photo',
        description=_HEATMAPS_DESCRIPTION, epilog=_HEATMAPS_EPILOG)
    _add_photo_arguments(parser)
    parser.add_argument(
        '--out', metavar='FILE', type=pathlib.Path,
        help='PNG file to write (default: the photo\'s name with _heatmaps.png, in the current '
             'folder)')
    _add_detector_arguments(parser)
    return parser


def add_volumes(commands):
    """Adds `volumes` to the subparsers of a command line. Returns its parser."""
    parser = argument_types.add_command(
        commands, 'volumes', help='write the volumes of a person in a photo',
        description=_VOLUMES_DESCRIPTION, epilog=_VOLUMES_EPILOG)
    _add_photo_arguments(parser)
    parser.add_argument(
        '--out', metavar='FILE', type=pathlib.Path,
        help='NPZ file to write (default: the photo\'s name with _volumes.npz, in the current '
             'folder)')
    parser.add_argument(
        '--picture', metavar='FILE', type=pathlib.Path,
        help='PNG file to draw the volumes into (default: none)')
    _add_detector_arguments(parser)
    return parser


def run_heatmaps(arguments, load_model):
    """Runs `heatmaps`.

    Args:
        arguments: What the parser of `add_heatmaps` parsed.
        load_model: See `cli.main`.

    Returns:
        String, what to tell the user.

    Raises:
        ValueError: If an argument or a file is bad, or nobody is found.
        OSError: If something cannot be written.
    """
    from metro_tf.tools import draw, images
    draw.check_available()
    images.check_header(arguments.photo)
    path = _output_path(arguments.out, '_heatmaps.png', '--out', arguments.photo)
    loading.quiet_tensorflow()
    from metro_tf.tools import draw_heatmaps, heatmaps
    crop_model = heatmaps.load_crop_model(arguments.crop_model)
    box, person = _look_at_person(arguments, load_model, crop_model, heatmaps.of_person)
    writers.write_bytes(path, draw_heatmaps.draw_picture(person, _title(arguments)))
    spread = '' if person.uncertainty_mm is None else (
        f', mean standard deviation {person.uncertainty_mm.mean():.0f} mm')
    return f'{arguments.photo}: box {_text(box)} (px){spread} -> {path}'


def run_volumes(arguments, load_model):
    """Runs `volumes`; see `run_heatmaps`."""
    from metro_tf.tools import draw, images
    images.check_header(arguments.photo)
    path = _output_path(arguments.out, '_volumes.npz', '--out', arguments.photo)
    written = [path]
    if arguments.picture:
        draw.check_available(', or leave out `--picture`')
        written.append(_output_path(arguments.picture, '.png', '--picture', arguments.photo))
    loading.quiet_tensorflow()
    from metro_tf.tools import draw_volumes, volumes
    crop_model = volumes.load_crop_model(arguments.crop_model)
    box, person = _look_at_person(arguments, load_model, crop_model, volumes.of_person)
    if arguments.picture:
        writers.write_bytes(
            arguments.picture, draw_volumes.draw_picture(person, _title(arguments)))
    volumes.write(path, person)
    n_joints, n_depths, n_rows, n_columns = person.volumes.shape
    return (
        f'{arguments.photo}: box {_text(box)} (px), {n_joints} joints, '
        f'{n_columns} x {n_rows} x {n_depths} voxels of {person.meaning} -> '
        + ', '.join(map(str, written)))


def _add_photo_arguments(parser):
    parser.add_argument('photo', metavar='PHOTO', help='image file, e.g. JPEG, PNG, WebP or TIFF')
    parser.add_argument(
        '--crop-model', required=True, metavar='MODEL',
        help='release (default), .npz or .keras file of the crop model')
    parser.add_argument(
        '--box', metavar='LEFT,TOP,WIDTH,HEIGHT', type=argument_types.box,
        help='where the person is, px (default: the surest detection of --model)')
    parser.add_argument(
        '--joints', default=(), metavar='NAME,NAME', type=argument_types.names,
        help='which joints, in this order (default: all of the crop model)')


def _add_detector_arguments(parser):
    argument_types.add_fov(parser)
    parser.add_argument(
        '--model', default='default', metavar='NAME_OR_PATH',
        help='model whose detector finds the person, without --box (default: %(default)s)')


def _output_path(path, ending, option, photo):
    """Where to write, by default the photo's name with an ending, in the current folder."""
    photo = pathlib.Path(photo)
    path = path or pathlib.Path(f'{photo.stem}{ending}')
    suffix = pathlib.Path(f'file{ending}').suffix
    if path.suffix.lower() != suffix:
        raise ValueError(f'`{option}` must end in {suffix}. Received: {path}')
    if path.resolve() == photo.resolve():
        raise ValueError(f'`{option}` must not be the photo itself. Received: {path}')
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f'`{option}` must be a file in an existing folder. Received: {path}')
    return path


def _look_at_person(arguments, load_model, crop_model, of_person):
    """The box of the person, and what `of_person` makes of it."""
    from metro_tf.tools import images, person_crops
    image = images.read_image(arguments.photo)
    indices = person_crops.joint_indices(arguments.joints, crop_model.joint_names)
    box = arguments.box
    if box is None:
        model = loading.load(arguments.model, load_model)
        with loading.explained(f'{arguments.photo}: the model refused this photo'):
            box = model.surest_box(image)
    if box is None:
        raise ValueError(
            f'{arguments.photo}: nobody found. Tell where the person is with `--box`.')
    return box, of_person(image, box, crop_model, arguments.fov, indices)


def _title(arguments):
    return f'{pathlib.Path(arguments.photo).name}, {pathlib.Path(arguments.crop_model).name}'


def _text(box):
    return ', '.join(f'{value:.0f}' for value in box[:4])
