"""Predicts all people of whole photos and writes the files that training.score compares.

Examples:
    python -m training.predict_photos mupots --source MultiPersonTestSet \\
        --out predictions.npz --labels-out labels.npz
    python -m training.score mupots --predictions predictions.npz --labels labels.npz
    python -m training.predict_photos coco --source coco --split val --model runs/own/1 \\
        --threshold 0.05 --out predictions.npz --labels-out labels.npz

For benchmarks that match people across photos: MuPoTS-3D and COCO keypoints. The model is a
release or an export with a detector, and must have the joints of the benchmark as a skeleton. It is
called as MeTRAbs was for its published scores: detections of the photo and of its mirror image,
crops sampled twice as finely per side, and no filter of implausible poses.

Photos that are missing or damaged are named at the end and are not among the predictions; the exit
code is 2 then, as for wrong arguments.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import numpy as np  # noqa: E402
import tqdm  # noqa: E402

import metro_tf  # noqa: E402
from metro_tf.tools import argument_types, loading, writers  # noqa: E402
from training.datasets.readers import READERS  # noqa: E402
from training.evaluation import labelled_photos  # noqa: E402

# The published predictions of MuPoTS, besides the threshold and the augmentations.
_PUBLISHED_OPTIONS = {
    'detector_nms_iou_threshold': 0.7, 'detector_flip_aug': True, 'antialias_factor': 2,
    'suppress_implausible_poses': False}


def predict(model, photos, convention, report, **options):
    """Predicts the people in photos.

    Args:
        model: What `metro_tf.load` gives.
        photos: Sequence of `labelled_photos.LabelledPhoto`.
        convention: Name of one of the model's skeletons.
        report: Function that takes a `reader.Problem`, here about photos that are left out.
        **options: More arguments of `detect_poses`.

    Returns:
        Dict from name to array, predictions in the form of `protocols.predictions`, with the
        detector's `score`.

    Raises:
        ValueError: If the model does not have the skeleton.
    """
    exported = loading.ExportedModel(model, '')
    if convention not in exported.skeletons:
        raise ValueError(
            f'The model must have the skeleton {convention}. Received: one with '
            f'{", ".join(exported.skeletons) or "none"}')
    joint_names, _ = exported.joints(convention)
    frame_names, people, columns = [], [], []
    for photo in tqdm.tqdm(photos, desc='photos'):
        image = photo.read(report)
        if image is None:
            continue
        camera = {} if photo.intrinsics is None else {
            'intrinsic_matrix': np.float32(photo.intrinsics)}
        found = model.detect_poses(image, skeleton=convention, **camera, **options)
        frame_names.append(photo.name)
        people += [(photo.name, i) for i in range(len(found['boxes']))]
        columns.append([np.asarray(found[key]) for key in ('poses2d', 'poses3d', 'boxes')])
    coords2d, coords3d_cam, boxes = (
        np.concatenate(parts) for parts in zip(
            [np.zeros([0, len(joint_names), 2], np.float32),
             np.zeros([0, len(joint_names), 3], np.float32), np.zeros([0, 5], np.float32)],
            *columns))
    return {
        **labelled_photos.people_names(people, frame_names), 'joint_names': np.array(joint_names),
        'coords2d': coords2d, 'coords3d_cam': coords3d_cam, 'score': boxes[:, 4]}


def main(argv=None):
    """Reads the arguments, predicts and writes the files. Returns the exit code."""
    args = _parse_args(argv)
    convention = READERS[args.benchmark].CONVENTION
    problems = []
    try:
        for path in filter(None, (args.out, args.labels_out)):
            _check_out(path)
        model = metro_tf.load(args.model)
        photos = args.photos(args, problems.append)
        labels = labelled_photos.label_table(photos, convention)
        if args.labels_out:
            _write(args.labels_out, labels)
        predicted = predict(
            model, photos, convention, problems.append, num_aug=args.num_aug,
            detector_threshold=args.threshold, default_fov_degrees=args.fov, **_PUBLISHED_OPTIONS)
        _write(args.out, predicted)
    except ValueError as error:
        print(*problems, f'training.predict_photos: {error}', sep='\n', file=sys.stderr)
        return 2
    for problem in problems:
        print(problem, file=sys.stderr)
    return 0 if len(predicted['frame_names']) == len(photos) else 2


def _check_out(path):
    """Tells at the beginning, not after an hour, that a file cannot be written."""
    path = pathlib.Path(path)
    if path.suffix != '.npz' or path.is_dir() or not path.parent.is_dir():
        raise ValueError(
            f'`--out` and `--labels-out` must end in .npz and be in an existing folder. '
            f'Received: {path}')


def _write(path, table):
    writers.write_arrays(path, table)
    print(f'{len(table["names"])} people in {len(table["frame_names"])} photos -> {path}')


def _mupots_photos(args, report):
    return labelled_photos.mupots_photos(args.source, args.step, report)


def _coco_photos(args, report):
    return labelled_photos.coco_photos(args.source, args.split, args.year, report)


def _parse_args(argv):
    parser = argparse.ArgumentParser(
        prog='training.predict_photos', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmarks = parser.add_subparsers(dest='benchmark', metavar='BENCHMARK', required=True)
    mupots = benchmarks.add_parser('mupots', help='MuPoTS-3D')
    mupots.add_argument(
        '--source', required=True, metavar='DIR', help='folder with TS1, ..., TS20')
    mupots.add_argument(
        '--step', default=1, type=argument_types.positive_int, metavar='N',
        help='take every Nth frame of a sequence (default: %(default)s)')
    mupots.set_defaults(photos=_mupots_photos)
    coco = benchmarks.add_parser('coco', help='COCO keypoints')
    coco.add_argument(
        '--source', required=True, metavar='DIR',
        help='folder with annotations and the folder of the photos')
    coco.add_argument('--split', default='val', choices=['train', 'val'])
    coco.add_argument('--year', default=2017, type=int, choices=[2014, 2017])
    coco.set_defaults(photos=_coco_photos)
    for benchmark in (mupots, coco):
        _add_common_arguments(benchmark)
    return parser.parse_args(argv)


def _add_common_arguments(parser):
    parser.add_argument(
        '--model', default='default', metavar='NAME_OR_PATH',
        help='release or path of an export (default: %(default)s)')
    argument_types.add_fov(parser)
    parser.add_argument(
        '--num-aug', default=5, type=argument_types.positive_int, metavar='N',
        help='average over N variants of each person (default: %(default)s)')
    parser.add_argument(
        '--threshold', default=0.2, type=argument_types.number_between(0, 1), metavar='X',
        help='least score of a person (default: %(default)g, as published for MuPoTS)')
    parser.add_argument('--out', required=True, help='NPZ file for the predictions')
    parser.add_argument('--labels-out', help='NPZ file for the labels')


if __name__ == '__main__':
    sys.exit(main())
