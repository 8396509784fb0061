"""Trains a crop model.

Example:
    python -m training.train training/configs/default_crop_model.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people --out-dir runs

The run can be killed at any moment: the same command goes on from the last finished epoch.

Own data: --records-3d-dir and --records-2d-dir take what training.import_folder writes, in place
of rendered people and LSPET or besides them; `own_share` of the config then says how many.

Several data sets: a config that names them (`datasets_3d`, `datasets_2d`) takes the folder of each
by --records NAME=DIR. The data sets of the other arguments are called synth, lspet, records_3d and
records_2d.
"""

import argparse
import dataclasses
import functools
import json
import pathlib

import keras
import tensorflow as tf

from metro_tf import models, skeleton
from metro_tf.models import builder
from metro_tf.tools import argument_types
from training import (
    backbone_changes, callbacks, crop_models, mixing, pipeline, randomness, run, trainers)
from training.config import TrainConfig


def build_trainer(config, start_from=None):
    """Builds the compiled trainer with all variables, its optimiser's included.

    Args:
        config: `TrainConfig`.
        start_from: Release or file of a crop model of the same kind and joints (see
            `models.load_crop_model`), whose weights are the first ones; or None.
    """
    keras.mixed_precision.set_global_policy(config.mixed_precision)
    randomness.set_seed(config.seed)
    crop_model = builder.build_crop_model(config.model, functools.partial(
        backbone_changes.adapt_backbone, ghost_batch_sizes=config.ghost_batch_sizes,
        max_kernel_norm=config.optimizer.max_kernel_norm))
    if start_from is not None:
        finished = run.load_first_model(models.load_crop_model, start_from)
        run.start_from(crop_model, finished, start_from)
        builder.check_joints(finished.joint_names, config.model, 'start_from', start_from)
    pose_trainer = trainers.build(
        crop_model, config.loss, config.seed, builder.load_autoencoder(config.model))
    heads = [layer for layer in crop_model.layers if layer is not crop_model.backbone]
    run.compile_trainer(pose_trainer, config, crop_model.backbone, heads)
    return pose_trainer


def train(config, synth_dir, lspet_dir, background_dirs, out_dir, *, records_3d_dir=None,
          records_2d_dir=None, record_dirs=None, cutout_dirs=(), start_from=None):
    """Runs or resumes the training; writes checkpoints, curves and the model to its folder.

    Args:
        config: `TrainConfig`.
        synth_dir, lspet_dir, background_dirs, records_3d_dir, records_2d_dir, record_dirs,
            cutout_dirs: See `pipeline.training_dataset`.
        out_dir: Folder of all runs.
        start_from: See `build_trainer`; without effect where a run is resumed.

    Returns:
        The folder `out_dir/<name>`.

    Raises:
        ValueError: If the folder holds checkpoints of a model of other joints, or `start_from`
            does not fit, or the data do not.
    """
    run_dir = pathlib.Path(out_dir) / config.name
    check_resumable(config, run_dir)
    folders = mixing.name_folders(
        synth_dir, lspet_dir, records_3d_dir, records_2d_dir, record_dirs)
    names_3d = mixing.names_of_kinds(config, folders)['3d']
    config = crop_models.with_bone_lengths(config, [folders[name] for name in names_3d])
    saved_model = run.in_float32(builder.build_crop_model, config.model)
    pose_trainer = build_trainer(config, start_from)

    def make_batches(first_step):
        return pipeline.training_dataset(
            config, synth_dir, lspet_dir, background_dirs, first_step,
            records_3d_dir=records_3d_dir, records_2d_dir=records_2d_dir,
            record_dirs=record_dirs, cutout_dirs=cutout_dirs)

    run.fit(
        pose_trainer, pose_trainer.crop_model, saved_model, config, make_batches, run_dir,
        'crop_model.keras', extra_callbacks=frozen_batch_norm(config, run_dir))
    return run_dir


def check_resumable(config, run_dir):
    """Checks that checkpoints in the folder of a run are of a model of the config's joints.

    Their number alone is not enough, and is all that restoring them checks.

    Args:
        config: `TrainConfig`.
        run_dir: Folder of the run, which need not exist.

    Raises:
        ValueError: If the joints differ.
    """
    path = pathlib.Path(run_dir) / 'config.json'
    if path.is_file() and tf.train.latest_checkpoint(str(path.with_name('state'))):
        # Runs from before there were other skeletons do not name theirs.
        found = json.loads(path.read_text()).get('model', {}).get('skeleton')
        trained = tuple(found['joint_names']) if found else skeleton.METRO_24.joint_names
        wanted = config.model.skeleton.joint_names
        if trained != wanted:
            raise ValueError(
                f'`skeleton` must have the joints of the checkpoints in {path.parent}, {trained}; '
                f'another training needs another name. Received: {wanted}')


def frozen_batch_norm(config, run_dir):
    """List of the callback for the last steps in inference mode, if there are such steps."""
    n_steps = config.frozen_batch_norm_steps
    first_epoch = (config.n_steps - n_steps) // config.steps_per_epoch
    checkpoint_path = run_dir / 'before_frozen_batch_norm'
    return [callbacks.FrozenBatchNorm(first_epoch, checkpoint_path)] if n_steps else []


def main():
    """Reads the arguments and trains."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a file of training/configs')
    parser.add_argument('--synth-dir', help='records of training.synthetic.generate')
    parser.add_argument('--lspet-dir', help='folder of LSPET')
    parser.add_argument('--records-3d-dir', help='own records with 3D labels')
    parser.add_argument('--records-2d-dir', help='own records with 2D labels only')
    parser.add_argument(
        '--records', action='append', default=[], type=_named_folder, metavar='NAME=DIR',
        help='records of a data set that the config names; repeatable')
    parser.add_argument(
        '--background-dir', required=True, action='append', help='folder of photos; repeatable')
    parser.add_argument(
        '--cutout-dir', action='append', default=[],
        help='folder of cut-out objects for published occlusion; repeatable')
    parser.add_argument(
        '--start-from', help='release or file of a crop model whose weights are the first ones')
    parser.add_argument(
        '--backbone-weights', help='weights file that the backbone starts from, e.g. of ImageNet')
    parser.add_argument('--out-dir', default='runs', help='results go to a folder in it')
    args = parser.parse_args()
    if len(dict(args.records)) < len(args.records):
        parser.error(f'names of --records must be distinct. Received: {args.records}')
    config = run.load_config(args.config, TrainConfig)
    if args.backbone_weights:
        config = dataclasses.replace(config, model=dataclasses.replace(
            config.model, backbone_weights=args.backbone_weights))
    run_dir = train(
        config, args.synth_dir, args.lspet_dir, args.background_dir, args.out_dir,
        records_3d_dir=args.records_3d_dir, records_2d_dir=args.records_2d_dir,
        record_dirs=dict(args.records), cutout_dirs=args.cutout_dir, start_from=args.start_from)
    print(f'Finished. Model, curves and checkpoints are in {run_dir}')


def _named_folder(text):
    return argument_types.named_path(text, 'NAME=DIR')


if __name__ == '__main__':
    main()
