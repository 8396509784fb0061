"""Training steps per dtype policy: forward, backward and update on one repeated batch.

    python -m tests.benchmarks.training_steps [--n-repeats 10] [--only resnet50_256]

Prints images per second of `fit`'s own train function and the ratio to float32, for the default
crop network, MobileNetV3-small and ResNet-50, in float32 and mixed_bfloat16. All policies of a
network are measured in turns, so that whatever else the machine does concerns all alike; the
fastest step of each counts.

Half precision needs instructions of the CPU for it: `lscpu` lists avx512_bf16 or amx_bf16, and
avx512_fp16 or amx_fp16. Without them mixed_float16 takes some seventy times as long as float32, so
it is measured with `--policy mixed_float16` only. Updates that its loss scale skips cost the same.
"""

import argparse
import dataclasses
import time

import numpy as np
import tensorflow as tf

from metro_tf.config import HeatmapConfig
from training import config as config_lib
from training import train
from training.config import ModelConfig, TrainConfig
from training.configs import comparison, default_crop_model

N_JOINTS = 24


def make_configs():
    """Dict from name to `TrainConfig`, of which the network and the batch size count."""
    def resnet50(side):
        return TrainConfig(
            name='resnet50', batch_size_3d=8, batch_size_2d=8, model=ModelConfig(
                backbone='resnet50', top_down_channels=0, heatmap=HeatmapConfig(side, 32)))
    return {
        'default_128': default_crop_model.config(),
        'mobilenet_v3_small_96': comparison.config(),
        'resnet50_160': resnet50(160), 'resnet50_256': resnet50(256)}


def main():
    """Measures every network in every policy and prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--n-repeats', type=int, default=10, help='timed steps per case')
    parser.add_argument('--n-threads', type=int, default=2, help='threads of TensorFlow')
    parser.add_argument(
        '--only', action='append', choices=sorted(make_configs()), help='repeatable')
    parser.add_argument(
        '--policy', action='append', choices=config_lib.DTYPE_POLICIES,
        help='repeatable, default mixed_bfloat16; float32 is always measured')
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.n_threads)
    wanted = ['float32', *(args.policy or ['mixed_bfloat16'])]
    policies = [policy for policy in config_lib.DTYPE_POLICIES if policy in wanted]
    print(f'{"network":22} {"batch":>5} {"policy":15} {"images/s":>8} {"ms/step":>8} '
          f'{"to float32":>10}')
    for name, config in make_configs().items():
        if args.only is None or name in args.only:
            report(name, config, policies, args.n_repeats)


def report(name, config, policies, n_repeats):
    """Times one network in all policies and prints a line for each."""
    n_examples = config.batch_size_3d + config.batch_size_2d
    seconds = fastest_steps(
        {policy: make_step(config, policy) for policy in policies}, n_repeats)
    for policy in policies:
        print(f'{name:22} {n_examples:5} {policy:15} {n_examples / seconds[policy]:8.1f} '
              f'{1000 * seconds[policy]:8.0f} {seconds["float32"] / seconds[policy]:10.2f}',
              flush=True)


def make_step(config, policy):
    """Function without arguments that runs one training step."""
    trainer = train.build_trainer(dataclasses.replace(config, mixed_precision=policy))
    batches = iter(tf.data.Dataset.from_tensors(make_batch(config)).repeat())
    trainer.make_train_function()

    def step():
        logs = trainer.train_function(batches)
        return {name: float(value) for name, value in logs.items()}  # waits for the result
    return step


def make_batch(config):
    """Inputs and labels of random images and standing people, half of them with 2D labels only."""
    rng = np.random.default_rng(0)
    side = config.model.heatmap.crop_side_px
    n_3d, n_examples = config.batch_size_3d, config.batch_size_3d + config.batch_size_2d
    has_3d = np.arange(n_examples)[:, np.newaxis] < np.full(N_JOINTS, n_3d)
    poses = np.float32(rng.normal(0, [200, 400, 200], (n_examples, N_JOINTS, 3)) + [0, 0, 4000])
    focal = np.float32([[1.5 * side, 0, side / 2], [0, 1.5 * side, side / 2], [0, 0, 1]])
    coords2d = poses[..., :2] / poses[..., 2:] * focal[0, 0] + side / 2
    inputs = {
        'image': np.float32(rng.random((n_examples, side, side, 3))),
        'intrinsics': np.tile(focal, (n_examples, 1, 1))}
    labels = {
        'coords3d_cam': np.where(has_3d[..., np.newaxis], poses, np.float32(0)),
        'coords2d': coords2d, 'joint_validity_mask_3d': has_3d,
        'joint_validity_mask_2d': np.ones_like(has_3d)}
    return inputs, labels


def fastest_steps(steps, n_repeats):
    """Smallest wall time of each function in seconds, after warm-up, measured in turns."""
    for step in steps.values():
        for _ in range(2):
            step()
    times = {name: [] for name in steps}
    for _ in range(n_repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in times.items()}


if __name__ == '__main__':
    main()
