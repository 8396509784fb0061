"""Scores a crop model on the LSPET hold-out (2D), on rendered people (3D) and on own records.

Example:
    python -m training.evaluate runs/default_crop_model/crop_model.keras \\
        --config training/configs/default_crop_model.py --synth-dir records/holdout \\
        --lspet-dir lspet --background-dir backgrounds/no_people --out scores.json

LSPET: PCK at 0.2 of the torso of the projected 3D output; the box is that of the annotated
joints, enlarged by the factor that `training.datasets.lspet` states. Synthetic: mean joint errors
in mm and the relative error of the distance from the camera. Own records (--records-dir) get
the scores that their labels allow.
"""

import argparse
import json
import os
import pathlib

import tensorflow as tf
import tqdm

from metro_tf import metrics, models, skeleton
from metro_tf.geometry import camera
from training import pipeline, run
from training.augment import background
from training.config import TrainConfig
from training.datasets import lspet, records


def evaluate(crop_model, dataset, progress_label=''):
    """Runs the model over a dataset and returns its scores.

    Args:
        crop_model: `metro_tf.models.Metrabs`.
        dataset: Batches of `pipeline.evaluation_dataset`.
        progress_label: Text before the progress bar.

    Returns:
        Dict from score to float: errors in mm, shares in [0, 1]. Scores without any labelled
        joint in the dataset are left out.
    """
    scores3d = [
        metrics.MPJPE(name='mpjpe_mm'), metrics.MPJPE('procrustes', name='pa_mpjpe_mm'),
        metrics.MPJPE('none', name='absolute_mpjpe_mm'), metrics.PCK(name='pck_150'),
        metrics.AUC(name='auc_150'), metrics.DistanceError()]
    torso_pck = metrics.TorsoPCK(skeleton.METRO_24.joint_names)
    predict = tf.function(crop_model)
    n_3d = n_2d = 0
    for inputs, labels in tqdm.tqdm(dataset, desc=progress_label):
        poses = predict(inputs)
        mask3d, mask2d = labels['joint_validity_mask_3d'], labels['joint_validity_mask_2d']
        n_3d += int(tf.reduce_sum(tf.cast(tf.reduce_any(mask3d, axis=1), tf.int32)))
        n_2d += int(tf.reduce_sum(tf.cast(tf.reduce_any(mask2d, axis=1), tf.int32)))
        for score in scores3d:
            score.update_state(labels['coords3d_cam'], poses, mask3d)
        projected = camera.project(poses, inputs['intrinsics'])
        torso_pck.update_state(labels['coords2d'], projected, mask2d)
    result = {'n_examples_2d': n_2d, 'torso_pck_0.2': float(torso_pck.result())}
    if n_3d:
        result['n_examples_3d'] = n_3d
        result.update({score.name: float(score.result()) for score in scores3d})
    return result


def main():
    """Reads the arguments, evaluates, prints and writes the scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('crop_model', help='a .keras file written by training.train')
    parser.add_argument('--config', required=True, help='the file that the model was trained with')
    parser.add_argument('--synth-dir', help='records of people that were not trained on')
    parser.add_argument('--lspet-dir', help='folder of LSPET')
    parser.add_argument(
        '--records-dir', action='append', default=[],
        help='records of training.import_folder that were not trained on; repeatable')
    parser.add_argument('--background-dir', action='append', default=[], help='repeatable')
    parser.add_argument('--first', type=int, help='number of examples to take, default all')
    parser.add_argument('--out', help='JSON file for the scores')
    args = parser.parse_args()
    config = run.load_config(args.config, TrainConfig)
    crop_model = models.load_crop_model(args.crop_model)
    bank = background.load_bank(args.background_dir)
    sources = {}
    if args.lspet_dir:
        sources['lspet_holdout'] = lspet.make_dataset(args.lspet_dir, 'holdout', args.first)
    if args.synth_dir:
        synthetic = records.read_dataset(args.synth_dir)
        sources['synthetic_holdout'] = synthetic.take(args.first or -1)
    for folder in args.records_dir:
        sources[folder] = records.read_dataset(folder).take(args.first or -1)
    scores = {
        name: evaluate(crop_model, pipeline.evaluation_dataset(config, source, bank), name)
        for name, source in sources.items()}
    text = json.dumps(scores, indent=2)
    print(text)
    if args.out:
        path = pathlib.Path(args.out)
        temporary = path.with_name(f'unfinished-{path.name}')
        temporary.write_text(text + '\n')
        os.replace(temporary, path)


if __name__ == '__main__':
    main()
