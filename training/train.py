"""Trains a crop model.

Example:
    python -m training.train training/configs/default_crop_model.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people --out-dir runs

The run can be killed at any moment: the same command goes on from the last finished epoch.

Own data: --records-3d-dir and --records-2d-dir take what training.import_folder writes, in place
of rendered people and LSPET or besides them; each of two sources then gives half of its kind.
"""

import argparse
import dataclasses
import pathlib

import keras
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.backbones import builder, top_down
from metro_tf.models import Metrabs
from training import pipeline, run, schedules, trainer
from training.config import TrainConfig


def build_crop_model(config):
    """Builds the crop model with its weights.

    Args:
        config: `ModelConfig`.
    """
    stride_px = config.heatmap.stride_px
    if config.top_down_channels:
        backbone = top_down.build_top_down(
            config.backbone, stride_px, config.top_down_channels, config.backbone_weights,
            bn_momentum=config.bn_momentum)
    else:
        backbone = builder.build_backbone(
            config.backbone, stride_px, config.backbone_weights, bn_momentum=config.bn_momentum)
    joints = skeleton.METRO_24
    model = Metrabs(
        backbone, joints.joint_names, joints.edges, **dataclasses.asdict(config.heatmap))
    side = config.heatmap.crop_side_px
    model({'image': tf.zeros([1, side, side, 3]), 'intrinsics': tf.eye(3, batch_shape=[1])})
    return model


def build_trainer(config):
    """Builds the compiled trainer with all variables, its optimiser's included."""
    keras.mixed_precision.set_global_policy(config.mixed_precision)
    keras.utils.set_random_seed(config.seed)
    pose_trainer = trainer.PoseTrainer(build_crop_model(config.model), config.loss)
    optimizer = run.build_optimizer(
        config, schedules.WarmupCosine(config.learning_rate, config.n_steps, config.warmup_steps))
    pose_trainer.compile(optimizer=optimizer, jit_compile=False)
    optimizer.build(pose_trainer.trainable_variables)
    return pose_trainer


def train(config, synth_dir, lspet_dir, background_dirs, out_dir, *, records_3d_dir=None,
          records_2d_dir=None, start_from=None):
    """Runs or resumes the training; writes checkpoints, curves and the model to its folder.

    Args:
        config: `TrainConfig`.
        synth_dir, lspet_dir, background_dirs, records_3d_dir, records_2d_dir: See
            `pipeline.training_dataset`.
        out_dir: Folder of all runs.
        start_from: See `run.start_from`; without effect where a run is resumed.

    Returns:
        The folder `out_dir/<name>`.
    """
    run_dir = pathlib.Path(out_dir) / config.name
    saved_model = run.in_float32(build_crop_model, config.model)
    pose_trainer = build_trainer(config)
    run.start_from(pose_trainer.crop_model, start_from)

    def make_batches(first_step):
        return pipeline.training_dataset(
            config, synth_dir, lspet_dir, background_dirs, first_step,
            records_3d_dir=records_3d_dir, records_2d_dir=records_2d_dir)

    run.fit(
        pose_trainer, pose_trainer.crop_model, saved_model, config, make_batches, run_dir,
        'crop_model.keras')
    return run_dir


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
        '--background-dir', required=True, action='append', help='folder of photos; repeatable')
    parser.add_argument(
        '--start-from', help='.keras file of a crop model whose weights are the first ones')
    parser.add_argument('--out-dir', default='runs', help='results go to a folder in it')
    args = parser.parse_args()
    run_dir = train(
        run.load_config(args.config, TrainConfig), args.synth_dir, args.lspet_dir,
        args.background_dir, args.out_dir, records_3d_dir=args.records_3d_dir,
        records_2d_dir=args.records_2d_dir, start_from=args.start_from)
    print(f'Finished. Model, curves and checkpoints are in {run_dir}')


if __name__ == '__main__':
    main()
