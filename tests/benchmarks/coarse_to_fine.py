"""Memory and time of training steps of coarse-to-fine networks, and memory of their targets.

    python -m tests.benchmarks.coarse_to_fine [--n-repeats 1] [--batch-sizes 2 4]
        [--n-channels 256] [--n-levels 4] [--crop-side 256] [--only NAME ...]

A step draws its targets, runs forward and backward in float32, and updates all weights by RMSprop.
The decoupled architecture is trained in two parts: a network of 2D heatmaps, and one from drawn
heatmaps to volumes. The last columns follow from memory by a straight line over the batch sizes:
what an example takes, and the largest batch in 24 GiB.

The targets of four stages are measured by the loss on given volumes and its gradient: with targets
drawn where they are needed, and with float32 volumes that have been drawn before and are kept.

Every case runs in a process of its own: its memory is the peak resident memory of that process,
minus what it held before the network, or before the targets. Network, gradients, the state of the
optimizer and TensorFlow's graph are part of it. On a GPU it will differ. Times are those of the
fastest step but the first. Linux only.
"""

import argparse
import functools
import json
import subprocess
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from metro_tf import losses
from metro_tf.backbones import hourglass
from metro_tf.layers import volumetric_heatmaps
from metro_tf.models import CoordinateRegression, coarse_to_fine
from tests.benchmarks import heads

N_JOINTS = coarse_to_fine.JOINTS.n_joints
GPU_MIB = 24 * 1024
STACKS = {
    'one_stack_32': (32,), 'one_stack_64': (64,), 'two_stacks_1_64': (1, 64),
    'two_stacks_64_64': (64, 64), 'three_stacks_1_2_64': (1, 2, 64),
    'four_stacks_1_2_4_64': (1, 2, 4, 64), 'decoupled_heatmaps_1_1': (1, 1)}
VOLUME_NETWORKS = {'decoupled_volumes_1_64': (1, 64)}
REGRESSION = 'coordinate_regression'
NETWORKS = (REGRESSION, *STACKS, *VOLUME_NETWORKS)
TARGETS = ('targets_drawn', 'targets_stored')
TARGET_DEPTHS = (1, 2, 4, 64)
# The published update: epsilon is 1e-8 outside the root.
OPTIMIZER = {'learning_rate': 2.5e-4, 'rho': 0.99, 'epsilon': 1e-16}


def main():
    """Runs all cases and prints one line for each network and for each way with targets."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--n-repeats', type=int, default=1, help='timed steps per case')
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[2, 4])
    parser.add_argument('--n-channels', type=int, default=256, help='width of the hourglasses')
    parser.add_argument('--n-levels', type=int, default=4, help='halvings of the resolution')
    parser.add_argument('--crop-side', type=int, default=256, help='px')
    parser.add_argument('--n-threads', type=int, default=2, help='threads of TensorFlow')
    parser.add_argument('--only', nargs='+', choices=(*NETWORKS, *TARGETS))
    parser.add_argument('--case', nargs=2, metavar=('NAME', 'BATCH_SIZE'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(args, args.case[0], int(args.case[1]))))
        return
    print(f'{"case":22} ' + ' '.join(f'{f"MiB at {n}":>10}' for n in args.batch_sizes)
          + f' {f"s at {args.batch_sizes[-1]}":>8} {"MiB each":>9} {"in 24 GiB":>9}')
    for name in args.only or (*NETWORKS, *TARGETS):
        results = [in_own_process(name, batch_size) for batch_size in args.batch_sizes]
        print(row(name, args.batch_sizes, results), flush=True)


def in_own_process(name, batch_size):
    """Result of `measure` in a new process with the arguments of this one."""
    output = subprocess.run(
        [sys.executable, '-m', 'tests.benchmarks.coarse_to_fine', *sys.argv[1:], '--case', name,
         str(batch_size)], check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def row(name, batch_sizes, results):
    """Line of the table from pairs of memory in MiB and seconds, one for each batch size."""
    memories = [memory for memory, _ in results]
    line = f'{name:22} ' + ' '.join(f'{memory:10.1f}' for memory in memories)
    line += f' {results[-1][1]:8.3f}'
    if len(batch_sizes) == 1 or name in TARGETS:
        return line
    slope, at_zero = np.polyfit(batch_sizes, memories, 1)
    largest = int((GPU_MIB - at_zero) / slope) if slope > 0 else '-'
    return f'{line} {slope:9.0f} {largest:>9}'


def measure(args, name, batch_size):
    """Growth of the peak memory in MiB and fastest time in seconds of a case."""
    tf.config.threading.set_intra_op_parallelism_threads(args.n_threads)
    small = argparse.Namespace(n_channels=4, n_levels=1, crop_side=16)
    make_step(small, name, 1)[1]()  # so that the libraries' own memory does not count
    before, step = make_step(args, name, batch_size)
    step()
    times = []
    for _ in range(args.n_repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return heads.peak_memory_mib() - before, min(times)


def make_step(args, name, batch_size):
    """Memory in MiB before what is measured, and function without arguments that runs a step."""
    if name in TARGETS:
        return make_target_step(args, name == 'targets_stored', batch_size)
    before = heads.reset_peak_memory()
    network, compute_loss = make_network(args, name, batch_size)
    optimizer = keras.optimizers.RMSprop(**OPTIMIZER)
    optimizer.build(network.trainable_variables)
    variables = [variable if isinstance(variable, tf.Variable) else variable.value
                 for variable in network.trainable_variables]

    @tf.function(input_signature=[], autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = compute_loss()
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables))
        return loss

    return before, step


def make_network(args, name, batch_size):
    """A network and the function without arguments that computes the loss of a fixed batch."""
    image = tf.constant(np.random.default_rng(0).random(
        [batch_size, args.crop_side, args.crop_side, 3]), tf.float32)
    sizes = {'n_channels': args.n_channels, 'n_levels': args.n_levels}
    coords25d, mask = random_poses(args, batch_size)
    if name == REGRESSION:
        network = CoordinateRegression(
            hourglass.build_encoder(args.crop_side, **sizes), crop_side_px=args.crop_side,
            stride_px=hourglass.STEM_STRIDE * 2 ** args.n_levels)
        return network, lambda: tf.reduce_mean(tf.square(
            network.predict_heatmaps(image, training=True)['offsets'] - coords25d / 1000))
    if name in STACKS:
        depths, inputs = STACKS[name], lambda: image
        network = hourglass.build_stacked_hourglass(N_JOINTS, depths, args.crop_side, **sizes)
    else:
        depths, heatmap_drawing = VOLUME_NETWORKS[name], make_drawings(args, (1,))[0]
        n_cells = args.crop_side // hourglass.STEM_STRIDE
        network = hourglass.build_volume_network(N_JOINTS, depths, n_cells, **sizes)
        inputs = functools.partial(heatmap_drawing, coords25d, mask)
    drawings = make_drawings(args, depths)
    return network, lambda: drawn_loss(
        tf.nest.flatten(network(inputs(), training=True)), drawings, coords25d, mask)


def drawn_loss(volumes, drawings, coords25d, mask):
    """Loss of all stages with targets that are drawn where they are needed."""
    return tf.add_n([
        losses.volumetric_loss(stage, drawing.profiles(coords25d, mask), mask)
        for stage, drawing in zip(volumes, drawings)])


def make_target_step(args, is_stored, batch_size):
    """Like `make_step`, for the loss on given volumes and its gradient."""
    coords25d, mask = random_poses(args, batch_size)
    drawings = make_drawings(args, TARGET_DEPTHS)
    n_cells = args.crop_side // hourglass.STEM_STRIDE
    # Made by NumPy: TensorFlow would keep the memory of what it needs on the way to random numbers.
    rng = np.random.default_rng(1)
    volumes = [
        tf.constant(rng.random([batch_size, n_cells, n_cells, N_JOINTS * depth], np.float32))
        for depth in TARGET_DEPTHS]
    before = heads.reset_peak_memory()
    stored = [drawing(coords25d, mask) for drawing in drawings] if is_stored else None

    @tf.function(autograph=False)
    def step(volumes, stored):
        with tf.GradientTape() as tape:
            tape.watch(volumes)
            if is_stored:
                loss = tf.add_n([
                    tf.reduce_mean(tf.square(stage - target))
                    for stage, target in zip(volumes, stored)])
            else:
                loss = drawn_loss(volumes, drawings, coords25d, mask)
        return tape.gradient(loss, volumes)

    return before, lambda: step(volumes, stored)


def make_drawings(args, depths):
    """Layers that draw the targets of every stage."""
    n_cells = args.crop_side // hourglass.STEM_STRIDE
    return [volumetric_heatmaps.VolumetricTargets(args.crop_side, n_cells, depth)
            for depth in depths]


def random_poses(args, batch_size):
    """Pixels and relative depths `[batch, joints, 3]`, and a mask of all."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, args.crop_side, [batch_size, N_JOINTS, 2])
    depths = rng.uniform(-900, 900, [batch_size, N_JOINTS, 1])
    coords25d = tf.constant(np.concatenate([pixels, depths], axis=-1), tf.float32)
    return coords25d, tf.ones([batch_size, N_JOINTS], tf.bool)


if __name__ == '__main__':
    main()
