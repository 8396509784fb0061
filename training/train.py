"""Trains a crop model.

Example:
    python -m training.train training/configs/default_crop_model.py --synth-dir records/train \\
        --lspet-dir lspet --background-dir backgrounds/no_people --out-dir runs

The run can be killed at any moment: the same command goes on from the last finished epoch.
"""

import argparse
import dataclasses
import importlib.util
import json
import pathlib

import keras
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.backbones import builder, top_down
from metro_tf.models import Metrabs
from training import callbacks, pipeline, schedules, trainer
from training.config import TrainConfig


def load_config(path):
    """Loads the `TrainConfig` that the function `config` of a Python file returns.

    Raises:
        ValueError: If the file or its function is missing or returns something else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f'`config` must be a Python file. Received: {path} does not exist')
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.config() if hasattr(module, 'config') else None
    if not isinstance(config, TrainConfig):
        raise ValueError(
            f'{path} must define a function `config` that returns a TrainConfig. '
            f'Received: {config!r}')
    return config


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
    optimizer = keras.optimizers.AdamW(
        schedules.WarmupCosine(config.learning_rate, config.n_steps, config.warmup_steps),
        weight_decay=config.weight_decay, global_clipnorm=config.clip_norm)
    optimizer.exclude_from_weight_decay(var_names=['bias', 'gamma', 'beta'])
    pose_trainer.compile(optimizer=optimizer, jit_compile=False)
    optimizer.build(pose_trainer.trainable_variables)
    return pose_trainer


def train(config, synth_dir, lspet_dir, background_dirs, out_dir):
    """Runs or resumes the training; writes checkpoints, curves and the model to its folder.

    Returns:
        The folder `out_dir/<name>`.
    """
    run_dir = pathlib.Path(out_dir) / config.name
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / 'config.json').write_text(json.dumps(dataclasses.asdict(config), indent=2) + '\n')
    pose_trainer = build_trainer(config)
    state = callbacks.TrainingState(pose_trainer, run_dir / 'state')
    n_done = state.restore()
    dataset = pipeline.training_dataset(
        config, synth_dir, lspet_dir, background_dirs, n_done * config.steps_per_epoch)
    pose_trainer.fit(
        dataset, initial_epoch=n_done, epochs=config.n_steps // config.steps_per_epoch,
        steps_per_epoch=config.steps_per_epoch, verbose=2, callbacks=[
            callbacks.StopOnNonFinite(), state,
            callbacks.SaveCropModel(pose_trainer.crop_model, run_dir / 'crop_model.keras'),
            keras.callbacks.CSVLogger(str(run_dir / 'curves.csv'), append=n_done > 0),
            keras.callbacks.TensorBoard(str(run_dir / 'tensorboard'), write_graph=False)])
    return run_dir


def main():
    """Reads the arguments and trains."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a file of training/configs')
    parser.add_argument('--synth-dir', required=True, help='records of training.synthetic.generate')
    parser.add_argument('--lspet-dir', required=True, help='folder of LSPET')
    parser.add_argument(
        '--background-dir', required=True, action='append', help='folder of photos; repeatable')
    parser.add_argument('--out-dir', default='runs', help='results go to a folder in it')
    args = parser.parse_args()
    run_dir = train(
        load_config(args.config), args.synth_dir, args.lspet_dir, args.background_dir,
        args.out_dir)
    print(f'Finished. Model, curves and checkpoints are in {run_dir}')


if __name__ == '__main__':
    main()
