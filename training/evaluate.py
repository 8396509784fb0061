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
the scores that their labels allow. Those joints of the model count that are labelled. MeTRo has no
absolute poses; 2.5D models are scored with the root depth from bone lengths and with the true one.

--truncation: errors of rendered people of whom 0 to 60 % of the joints are cut off, for the joints
inside and outside the crop, of several models on the same views.
"""

import argparse
import json

from metro_tf import models
from metro_tf.tools import writers
from training import crop_models as crop_models_lib
from training import pipeline, run
from training.augment import background
from training.config import TrainConfig
from training.datasets import lspet, records
from training.evaluation import report, truncation
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


def _sources(args, joint_names):
    """Datasets by name, of as many examples as asked for."""
    sources = {}
    if args.lspet_dir:
        sources['lspet_holdout'] = lspet.make_dataset(
            args.lspet_dir, 'holdout', args.first, joint_names)
    named = {'synthetic_holdout': args.synth_dir} if args.synth_dir else {}
    for name, folder in {**named, **{folder: folder for folder in args.records_dir}}.items():
        sources[name] = records.read_dataset(folder, joint_names).take(args.first or -1)
    return sources


def _parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'crop_model', nargs='+', help='.keras files written by training.train; several with '
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
    args = parser.parse_args()
    if args.truncation:
        if not args.synth_dir or args.lspet_dir or args.records_dir or args.flip:
            parser.error('--truncation takes --synth-dir, and no other data and no --flip')
    elif len(args.crop_model) > 1 or args.plot:
        parser.error('several models and --plot need --truncation')
    return args


def main():
    """Reads the arguments, evaluates, prints and writes the scores."""
    args = _parse_args()
    if args.plot:
        report.check_plots_available()
    config = run.load_config(args.config, TrainConfig)
    crop_models = {path: models.load_crop_model(path) for path in args.crop_model}
    for path, crop_model in crop_models.items():
        crop_models_lib.check_joints(crop_model.joint_names, config.model, 'crop_model', path)
    bank = background.load_bank(args.background_dir)
    sources = _sources(args, config.model.skeleton.joint_names)
    if args.truncation:
        scores = evaluate_truncation(
            crop_models, sources['synthetic_holdout'], bank, config.seed)
        print(report.truncation_table(scores))
        if args.plot:
            writers.write_bytes(args.plot, report.truncation_plot(scores))
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
