"""Packs a trained crop model and a person detector into one SavedModel.

Example:
    python -m training.export runs/default_crop_model/crop_model.keras \\
        --detector runs/default_detector/detector.keras --synth-dir records/train \\
        --config training/configs/default_crop_model.py --scores scores.json \\
        --out saved_models/default/5

The mean bone lengths for the plausibility filter are measured on the training records. Own
records do instead of rendered people (--synth-dir) if their 3D labels show every bone.
"""

import argparse
import dataclasses
import json
import pathlib

from metro_tf import export, models
from metro_tf.detection import PersonDetector
from metro_tf.estimator import PoseEstimator
from training import crop_models, run
from training.config import TrainConfig
from training.datasets import bone_lengths


def export_model(
        crop_model_path, detector_path, synth_dir, out, details, *, overwrite=False,
        uncertainty=False):
    """Builds the estimator and writes it.

    Args:
        crop_model_path: `.keras` file of a crop model of absolute poses.
        detector_path: `.keras` file of a detector network, or None for no detector.
        synth_dir: Folder of records for the mean bone lengths, or None to export without them:
            the plausibility filter then leaves bones out.
        out: Folder `<name>/<version>` to write.
        details: JSON-compatible dict that goes into the metadata.
        overwrite: Whether to replace an existing folder.
        uncertainty: Whether results hold the uncertainty of every joint.

    Raises:
        ValueError: If the model offers no uncertainty that is asked for, or the folder exists.
    """
    out = pathlib.Path(out)
    crop_model = models.load_crop_model(crop_model_path)
    lengths = bone_lengths.mean_bone_lengths(
        [synth_dir], crop_model.skeleton) if synth_dir else None
    detector = PersonDetector.load(detector_path) if detector_path else None
    estimator = PoseEstimator(
        crop_model, detector, mean_bone_lengths_mm=lengths, uncertainty=uncertainty)
    export.save(
        estimator, out, model_name=out.parent.name, model_version=out.name, details=details,
        overwrite=overwrite)


def main():
    """Reads the arguments and exports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('crop_model', help='a .keras file written by training.train')
    parser.add_argument('--detector', help='a .keras file written by training.train_detector')
    parser.add_argument('--synth-dir', help='records of the training; none: bones go unchecked')
    parser.add_argument('--config', required=True, help='the file that the model was trained with')
    parser.add_argument('--scores', help='JSON file of training.evaluate, for the metadata')
    parser.add_argument('--out', required=True, help='folder to write, <name>/<version>')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing folder')
    parser.add_argument(
        '--uncertainty', action='store_true', help='results also tell how sure each joint is')
    args = parser.parse_args()
    config = run.load_config(args.config, TrainConfig)
    crop_models.check_joints_of_file(args.crop_model, config.model, 'crop_model')
    details = {'training': dataclasses.asdict(config)}
    if args.scores:
        details['scores'] = json.loads(pathlib.Path(args.scores).read_text())
    export_model(
        args.crop_model, args.detector, args.synth_dir, args.out, details,
        overwrite=args.overwrite, uncertainty=args.uncertainty)
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
