"""Scores crop models on the LSPET hold-out (2D), on rendered people (3D) and on own records.

Example:
    python -m training.evaluate runs/default_crop_model/crop_model.keras \\
        --config training/configs/default_crop_model.py --synth-dir records/holdout \\
        --lspet-dir lspet --background-dir backgrounds/no_people --out scores.json
    python -m training.evaluate runs/metro/crop_model.keras runs/metrabs/crop_model.keras \\
        --truncation --config training/configs/default_crop_model.py --synth-dir records/holdout \\
        --background-dir backgrounds/no_people --out truncation.json --plot truncation.png

LSPET: PCK at 0.2 of the torso of the projected 3D output; the box is that of the annotated
joints, enlarged by the factor that `training.datasets.lspet` states. Synthetic: mean joint errors
in mm and the relative error of the distance from the camera. Own records (--records-dir) get
the scores that their labels allow. Those joints of the model count that are labelled. MeTRo and
coordinate regression have no absolute poses; 2.5D and coarse-to-fine models are scored with the
root depth from bone lengths and with the true one.

--truncation: errors of rendered people of whom 0 to 60 % of the joints are cut off, for the joints
inside and outside the crop, of several models on the same views.

--protocol margipose: PCK, MPJPE and AUC as in MargiPose's paper, without and with Procrustes, for
MargiPose and MeTRAbs; see `training.evaluation.margipose_protocol`. --label-version scores the
same predictions against other labels as well.
"""

import argparse
import json

from metro_tf import models
from metro_tf.models import builder
from metro_tf.tools import argument_types, writers
from training import pipeline, run
from training.augment import background
from training.config import TrainConfig
from training.datasets import lspet, records
from training.evaluation import label_versions, margipose_protocol, report, ten_crop, truncation
from training.evaluation.scores import evaluate


def evaluate_truncation(crop_models, source, bank, seed):
    """Curves of several models, see `truncation.evaluate`.

    Args:
        crop_models: Dict from name to crop model.
        source, bank, seed: See `truncation.evaluate`.

    Returns:
        Dict from name to rows; a second way to get poses from a model has the name of the
        model with that of the way in brackets.
    """
    curves = {}
    for name, crop_model in crop_models.items():
        ways = truncation.evaluate(crop_model, source, bank, seed, progress_label=name)
        for i_way, (way, rows) in enumerate(ways.items()):
            curves[name if i_way == 0 else f'{name} ({way.replace("_", " ")})'] = rows
    return curves


def evaluate_protocol(crop_model, config, sources, bank, versions, *, joints, views,
                      photo_height_px):
    """Scores of `margipose_protocol.evaluate` for every source, with the settings they depend on.

    Args:
        crop_model, joints: See `margipose_protocol.evaluate`.
        config: `TrainConfig`.
        sources: Dict from name to unbatched dataset of examples.
        bank, views, photo_height_px: See `ten_crop.views_dataset`.
        versions: The `label_versions` of `margipose_protocol.evaluate`.

    Returns:
        Dict of JSON types: `protocol`, `joints`, `n_crops`, `photo_height_px` (None where it makes
        no difference), and in `scores` the result for each name.
    """
    scores = {}
    for name, source in sources.items():
        dataset = ten_crop.views_dataset(
            config, source, bank, views, photo_height_px=photo_height_px)
        scores[name] = margipose_protocol.evaluate(crop_model, dataset, joints, versions, name)
    return {
        'protocol': 'margipose', 'joints': joints, 'n_crops': len(views),
        'photo_height_px': photo_height_px if len(views) > 1 else None, 'scores': scores}


def _run_protocol(args, crop_model, config, sources, bank):
    """Evaluates as the arguments say and prints the tables."""
    result = evaluate_protocol(
        crop_model, config, sources, bank, _read_label_versions(args),
        joints=args.joints or 'common_14',
        views=ten_crop.TEN_VIEWS if args.multi_crop else ten_crop.ONE_VIEW,
        photo_height_px=args.photo_height or ten_crop.PHOTO_HEIGHT_PX)
    for name, scores in result['scores'].items():
        print(f'{name}\n\n{margipose_protocol.table(scores)}\n')
    return result


def _read_label_versions(args):
    """Dict from name to `LabelVersion`."""
    if not args.label_version:
        return {}
    [folder] = _record_dirs(args).values()
    names = label_versions.read_example_names(folder)
    return {
        version: label_versions.read(path, margipose_protocol.JOINTS.joint_names, names)
        for version, path in args.label_version}


def _record_dirs(args):
    """Folders of records by name."""
    named = {'synthetic_holdout': args.synth_dir} if args.synth_dir else {}
    return {**named, **{folder: folder for folder in args.records_dir}}


def _sources(args, joint_names):
    """Datasets by name, of as many examples as asked for."""
    sources = {}
    if args.lspet_dir:
        sources['lspet_holdout'] = lspet.make_dataset(
            args.lspet_dir, 'holdout', args.first, joint_names)
    for name, folder in _record_dirs(args).items():
        sources[name] = records.read_dataset(folder, joint_names).take(args.first or -1)
    return sources


def _parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'crop_model', nargs='+', help='releases or files of crop models; several with '
        '--truncation')
    parser.add_argument(
        '--config', required=True, help='the file that the (first) model was trained with')
    parser.add_argument('--synth-dir', help='records of people that were not trained on')
    parser.add_argument('--lspet-dir', help='folder of LSPET')
    parser.add_argument(
        '--records-dir', action='append', default=[],
        help='records of training.import_folder that were not trained on; repeatable')
    parser.add_argument('--background-dir', action='append', default=[], help='repeatable')
    parser.add_argument('--first', type=int, help='number of examples to take, default all')
    parser.add_argument(
        '--flip', action='store_true', help='average the predictions for crop and mirror image')
    parser.add_argument(
        '--truncation', action='store_true', help='errors of people who are cut off')
    parser.add_argument('--plot', help='PNG file for the curves of --truncation')
    parser.add_argument('--out', help='JSON file for the scores')
    _add_protocol_arguments(parser)
    args = parser.parse_args()
    if args.truncation:
        if not args.synth_dir or args.lspet_dir or args.records_dir or args.flip or args.protocol:
            parser.error(
                '--truncation takes --synth-dir, and no other data, no --flip and no --protocol')
    elif len(args.crop_model) > 1 or args.plot:
        parser.error('several models and --plot need --truncation')
    _check_protocol_arguments(parser, args)
    return args


def _add_protocol_arguments(parser):
    group = parser.add_argument_group('the protocol of a paper')
    group.add_argument('--protocol', choices=['margipose'])
    group.add_argument(
        '--multi-crop', action='store_true', help='average the poses of ten crops per person')
    group.add_argument(
        '--photo-height', type=float, metavar='PX', help='height of the photo in the pixels by '
        f'which the ten crops are moved: {ten_crop.PHOTO_HEIGHT_PX:.0f} as on MPI-INF-3DHP '
        '(default), 1000 on Human3.6M')
    group.add_argument(
        '--joints', choices=list(margipose_protocol.JOINT_SETS),
        help='the joints to score: common_14 as on MPI-INF-3DHP (default), or all 17 as on '
        'Human3.6M')
    group.add_argument(
        '--label-version', action='append', default=[], type=argument_types.named_path,
        metavar='NAME=FILE', help='NPZ file of other labels for all examples of the one data set: '
        'names [n], coords3d_cam [n, joints, 3] in mm, joint_names [joints]; repeatable')


def _check_protocol_arguments(parser, args):
    has_own_options = bool(
        args.multi_crop or args.photo_height is not None or args.joints or args.label_version)
    names = [margipose_protocol.OWN_LABELS, *(name for name, _ in args.label_version)]
    if not args.protocol:
        if has_own_options:
            parser.error(
                '--multi-crop, --photo-height, --joints and --label-version need --protocol')
    elif args.lspet_dir or args.flip or not _record_dirs(args):
        parser.error(
            '--protocol takes --synth-dir or --records-dir, and no --lspet-dir and no --flip')
    elif args.photo_height is not None and not (args.multi_crop and args.photo_height > 0):
        parser.error('--photo-height must be positive and needs --multi-crop')
    elif args.label_version and len(_record_dirs(args)) > 1:
        parser.error('--label-version takes one data set')
    elif len(set(names)) < len(names):
        parser.error(
            f'names of --label-version must be distinct and not {margipose_protocol.OWN_LABELS}')


def main():
    """Reads the arguments, evaluates, prints and writes the scores."""
    args = _parse_args()
    if args.plot:
        report.check_plots_available()
    config = run.load_config(args.config, TrainConfig)
    crop_models = {path: models.load_crop_model(path) for path in args.crop_model}
    for path, crop_model in crop_models.items():
        builder.check_joints(crop_model.joint_names, config.model, 'crop_model', path)
    bank = background.load_bank(args.background_dir)
    sources = _sources(args, config.model.skeleton.joint_names)
    if args.truncation:
        scores = evaluate_truncation(
            crop_models, sources['synthetic_holdout'], bank, config.seed)
        print(report.truncation_table(scores))
        if args.plot:
            writers.write_bytes(args.plot, report.truncation_plot(scores))
    elif args.protocol:
        scores = _run_protocol(args, *crop_models.values(), config, sources, bank)
    else:
        [crop_model] = crop_models.values()
        scores = {
            name: evaluate(
                crop_model, pipeline.evaluation_dataset(config, source, bank), name,
                flip_testing=args.flip)
            for name, source in sources.items()}
        print(json.dumps(scores, indent=2))
    if args.out:
        writers.write_text(args.out, json.dumps(scores, indent=2) + '\n')


if __name__ == '__main__':
    main()
