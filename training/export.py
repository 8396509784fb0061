"""Packs a trained crop model and a person detector into one SavedModel.

Example:
    python -m training.export runs/default_crop_model/crop_model.keras \\
        --detector runs/default_detector/detector.keras --synth-dir records/train \\
        --config training/configs/default_crop_model.py --scores scores.json \\
        --out saved_models/default/3

The mean bone lengths for the plausibility filter are measured on the training records. Own
records do instead of rendered people (--synth-dir) if their 3D labels show every bone.
"""

import argparse
import dataclasses
import json
import pathlib

import numpy as np
import tensorflow as tf

from metro_tf import export, models
from metro_tf.detection import PersonDetector
from metro_tf.estimator import PoseEstimator
from training import run
from training.config import TrainConfig
from training.datasets import records


def mean_bone_lengths(poses, masks, edges):
    """Mean length of every bone over the poses where both of its ends are valid.

    Args:
        poses: Float array `[n, J, 3]`, mm.
        masks: Boolean array `[n, J]`.
        edges: Sequence of pairs of joint indices.

    Returns:
        List of floats, mm, one per edge.

    Raises:
        ValueError: If a bone is never seen.
    """
    lengths = []
    for a, b in edges:
        is_valid = masks[:, a] & masks[:, b]
        if not is_valid.any():
            raise ValueError(f'`poses` must show every bone. Received: no valid bone {(a, b)}')
        bones = poses[is_valid, a] - poses[is_valid, b]
        lengths.append(float(np.linalg.norm(bones, axis=1).mean()))
    return lengths


def read_poses(synth_dir):
    """All poses of a folder of records, without decoding their images.

    Returns:
        Float array `[n, J, 3]`, mm, and boolean array `[n, J]`.
    """
    def pose(serialized):
        example = records.parse(serialized)
        return example['coords3d_cam'], example['joint_validity_mask_3d']
    batches = list(records.read_serialized(synth_dir).map(pose, tf.data.AUTOTUNE).batch(1000))
    return [np.concatenate(parts) for parts in zip(*batches)]


def export_model(crop_model_path, detector_path, synth_dir, out, details, overwrite=False):
    """Builds the estimator and writes it.

    Args:
        crop_model_path: `.keras` file of a `Metrabs` model.
        detector_path: `.keras` file of a detector network, or None for no detector.
        synth_dir: Folder of records for the mean bone lengths, or None to export without them:
            the plausibility filter then leaves bones out.
        out: Folder `<name>/<version>` to write.
        details: JSON-compatible dict that goes into the metadata.
        overwrite: Whether to replace an existing folder.
    """
    out = pathlib.Path(out)
    crop_model = models.load_crop_model(crop_model_path)
    bone_lengths = mean_bone_lengths(
        *read_poses(synth_dir), crop_model.joint_edges) if synth_dir else None
    detector = PersonDetector.load(detector_path) if detector_path else None
    estimator = PoseEstimator(crop_model, detector, mean_bone_lengths_mm=bone_lengths)
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
    args = parser.parse_args()
    details = {'training': dataclasses.asdict(run.load_config(args.config, TrainConfig))}
    if args.scores:
        details['scores'] = json.loads(pathlib.Path(args.scores).read_text())
    export_model(
        args.crop_model, args.detector, args.synth_dir, args.out, details, args.overwrite)
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
