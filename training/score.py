"""Scores stored predictions by the protocol of a benchmark, beside published scores.

Example:
    python -m training.score human36m --predictions predictions.npz --labels h36m_test.npz \\
        --out scores.json
    python -m training.score mpi_inf_3dhp --predictions predictions.h5 --labels 3dhp_test.h5 \\
        --label-version first=3dhp_first_release.npz
    python -m training.score mupots --predictions predictions.json --labels mupots.npz

`python -m training.score PROTOCOL --help` tells what the labels of a protocol must hold, and how
it scores. Files of predictions and labels have one form, NPZ, HDF5 or JSON: `names` (one per pose,
the same in both files), `joint_names`, and `coords3d_cam` [n, joints, 3] in mm or `coords2d`
[n, joints, 2] in px; see docs/evaluation.md. Joints are found by name, so a file may hold others.

Predictions that are missing, unknown, NaN or there twice end the program with exit code 2. With
--allow-partial, missing and unknown ones are left out, and the output tells what share is scored.
"""

import argparse
import sys

from metro_tf.tools import argument_types, writers
from training.evaluation.protocols import (
    coco, human36m, humaneva, kth, lsp, mpi_inf_3dhp, mpii, mupots, predictions, threedpw)

PROTOCOLS = {
    'human36m': human36m, 'mpi_inf_3dhp': mpi_inf_3dhp, 'mupots': mupots, 'threedpw': threedpw,
    'humaneva': humaneva, 'kth': kth, 'mpii': mpii, 'coco': coco, 'lsp': lsp}
_COMMON_ARGUMENTS = ('protocol', 'predictions', 'labels', 'allow_partial', 'out')


def score(protocol, predictions_path, labels_path, *, allow_partial=False, **options):
    """Scores a file of predictions.

    Args:
        protocol: Key of `PROTOCOLS`.
        predictions_path, labels_path: See `predictions.read`.
        allow_partial: See `predictions.match`.
        **options: Those of the protocol's `evaluate`.

    Returns:
        Dict of JSON types.

    Raises:
        ValueError: If a file cannot be read or does not fit.
    """
    return PROTOCOLS[protocol].evaluate(
        predictions.read(predictions_path), predictions.read(labels_path),
        allow_partial=allow_partial, **options)


def _parse_args(arguments):
    parser = argparse.ArgumentParser(
        prog='training.score', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    protocols = parser.add_subparsers(dest='protocol', metavar='PROTOCOL', required=True)
    for name, module in PROTOCOLS.items():
        protocol = protocols.add_parser(
            name, help=module.__doc__.splitlines()[0], description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        protocol.add_argument('--predictions', required=True, metavar='FILE')
        protocol.add_argument('--labels', required=True, metavar='FILE')
        _add_options(protocol, name)
        protocol.add_argument(
            '--allow-partial', action='store_true',
            help='score what both files have, and say what share of the labels that is')
        protocol.add_argument('--out', metavar='FILE', help='JSON file for the scores')
    return parser.parse_args(arguments)


def _add_options(parser, protocol):
    if protocol == 'mpi_inf_3dhp':
        parser.add_argument(
            '--label-scale', choices=list(mpi_inf_3dhp.LABEL_SCALES), default='universal',
            help='labels to compare with (default: %(default)s)')
        parser.add_argument(
            '--joints', choices=list(mpi_inf_3dhp.JOINT_SETS), default='official',
            help='joints that count (default: %(default)s)')
        parser.add_argument(
            '--label-version', action='append', default=[], type=_named_version,
            metavar='NAME=FILE', help='other coordinates for all labels, scored as well: names, '
            'joint_names and the coordinates of --label-scale; repeatable')
    elif protocol == 'threedpw':
        parser.add_argument(
            '--rules', choices=threedpw.RULES, default='challenge',
            help='which joints and scores (default: %(default)s)')


def _named_version(text):
    form = f'NAME=FILE, with another name than {mpi_inf_3dhp.OWN_LABELS}'
    name, path = argument_types.named_path(text, form)
    if name == mpi_inf_3dhp.OWN_LABELS:
        raise argparse.ArgumentTypeError(f'must be {form}. Received: {text}')
    return name, path


def _options(args):
    options = {
        name: value for name, value in vars(args).items() if name not in _COMMON_ARGUMENTS}
    if 'label_version' in options:
        options['versions'] = {
            name: predictions.read(path) for name, path in options.pop('label_version')}
    return options


def main(arguments=None):
    """Reads the arguments, scores, prints the tables and writes the scores.

    Args:
        arguments: List of texts, or None for those of the command line.

    Returns:
        Exit code: 0, or 2 for a file that does not fit.
    """
    args = _parse_args(arguments)
    try:
        scores = score(
            args.protocol, args.predictions, args.labels, allow_partial=args.allow_partial,
            **_options(args))
    except ValueError as error:
        print(f'training.score: {error}', file=sys.stderr)
        return 2
    print(PROTOCOLS[args.protocol].tables(scores))
    if args.out:
        writers.write_json(args.out, scores)
    return 0


if __name__ == '__main__':
    sys.exit(main())
