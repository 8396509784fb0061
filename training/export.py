"""Packs a trained crop model and a person detector into one SavedModel, with weights beside it.

Example:
    python -m training.export runs/default_crop_model/crop_model.keras \\
        --detector runs/default_detector/detector.keras --synth-dir records/train \\
        --config training/configs/default_crop_model.py --scores scores.json \\
        --out saved_models/default/6

The weights for `metro_tf.models.load_crop_model` go to `<name>_keras/<version>`, here
saved_models/default_keras/6, in files that every Keras version reads.

The mean bone lengths for the plausibility filter are measured on the training records. Own
records do instead of rendered people (--synth-dir) if their 3D labels show every bone.
"""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import tempfile

from metro_tf import export, models, releases, weights
from metro_tf.detection import PersonDetector, center_net
from metro_tf.estimator import PoseEstimator
from metro_tf.models import builder
from metro_tf.tools import writers
from training import run
from training.config import TrainConfig
from training.datasets import bone_lengths


def export_model(
        crop_model_path, detector_path, synth_dir, out, config, details, *, card=None,
        overwrite=False, uncertainty=False):
    """Builds the estimator and writes it and its weights; both or, after an error, none.

    Args:
        crop_model_path: Release or file of a crop model of absolute poses (see
            `models.load_crop_model`).
        detector_path: Release or file of a detector (see `center_net.load`), or None for no
            detector.
        synth_dir: Folder of records for the mean bone lengths, or None to export without them:
            the plausibility filter then leaves bones out.
        out: Folder `<name>/<version>` to write.
        config: `ModelConfig` that describes the crop model.
        details: JSON-compatible dict that goes into the metadata.
        card: Model card, see `metro_tf.export.card.check_card`.
        overwrite: Whether to replace existing folders.
        uncertainty: Whether results hold the uncertainty of every joint.

    Returns:
        Paths of the folders of the export and of the weights.

    Raises:
        ValueError: If the model is not the one of the config or offers no uncertainty that is
            asked for, the card is none, or a folder exists.
    """
    out = pathlib.Path(out).absolute()
    folders = out, releases.weights_folder(out)
    for folder in folders:
        if folder.exists() and not overwrite:
            raise ValueError(
                f'`out` must not exist unless `overwrite` is set. Received: {folder} exists')
    crop_model = models.load_crop_model(crop_model_path)
    builder.check_joints(crop_model.joint_names, config, 'crop_model', crop_model_path)
    arrays = {releases.CROP_MODEL: weights.to_arrays(
        crop_model, builder.describe(crop_model, config))}
    lengths = bone_lengths.mean_bone_lengths(
        [synth_dir], crop_model.skeleton) if synth_dir else None
    detector = PersonDetector.load(detector_path) if detector_path else None
    if detector:
        arrays[releases.DETECTOR] = weights.to_arrays(
            detector.model, center_net.describe(detector.model))
    estimator = PoseEstimator(
        crop_model, detector, mean_bone_lengths_mm=lengths, uncertainty=uncertainty)
    with replaced(*folders) as (new_export, new_weights):
        for name, content in arrays.items():
            writers.write_arrays(new_weights / f'{name}.npz', content)
        export.save(
            estimator, new_export, model_name=out.parent.name, model_version=out.name,
            details=details, card=card, overwrite=True)
    return folders


@contextlib.contextmanager
def replaced(*folders):
    """Gives empty folders, which replace others if all goes well; else everything stays.

    Args:
        *folders: Paths `<name>/<version>` with the same folder above them.
    """
    root = folders[0].parent.parent
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.unfinished.', dir=root) as temporary:
        new, old = ([pathlib.Path(temporary) / f'{kind}_{i}' for i in range(len(folders))]
                    for kind in ('new', 'old'))
        for folder in new:
            folder.mkdir()
        yield new
        moved = []
        try:
            for pair in [*zip(folders, old), *zip(new, folders)]:
                if pair[0].exists():
                    pair[1].parent.mkdir(parents=True, exist_ok=True)
                    pair[0].rename(pair[1])
                    moved.append(pair)
        except BaseException:
            for source, target in reversed(moved):
                target.rename(source)
            raise


def main():
    """Reads the arguments and exports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('crop_model', help='release or file of a crop model')
    parser.add_argument('--detector', help='release or file of a detector')
    parser.add_argument('--synth-dir', help='records of the training; none: bones go unchecked')
    parser.add_argument('--config', required=True, help='the file that the model was trained with')
    parser.add_argument('--scores', help='JSON file of training.evaluate, for the metadata')
    parser.add_argument('--card', help='JSON file with the model card, see docs/api.md')
    parser.add_argument('--out', required=True, help='folder to write, <name>/<version>')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing folder')
    parser.add_argument(
        '--uncertainty', action='store_true', help='results also tell how sure each joint is')
    args = parser.parse_args()
    config = run.load_config(args.config, TrainConfig)
    details = {'training': dataclasses.asdict(config)}
    if args.scores:
        details['scores'] = json.loads(pathlib.Path(args.scores).read_text())
    card = json.loads(pathlib.Path(args.card).read_text()) if args.card else None
    folders = export_model(
        args.crop_model, args.detector, args.synth_dir, args.out, config.model, details, card=card,
        overwrite=args.overwrite, uncertainty=args.uncertainty)
    for folder in folders:
        print(f'Wrote {folder}')


if __name__ == '__main__':
    main()
