"""Memory and time of marginal against volumetric heatmap heads, forward and backward.

    python -m tests.benchmarks.heads [--n-repeats 10] [--batch-size 16] [--n-channels 128]

From feature maps of n x n cells, both heads make the coordinates of 17 joints by one 1x1
convolution and soft-argmax: volumetric to n channels per joint, the planes of a volume of n x n x n
cells, as in Metrabs and Metro; marginal to 3 channels per joint, the planes xy, zy and xz. The
columns of residual blocks that MargiPose has in place of this convolution are not part of it.
Backward is the whole step from features to a loss on the coordinates and its gradients with respect
to features and weights.

Every case runs in a process of its own: its memory is the peak resident memory of that process
during the steps, minus what it held before them, the features included. Times are those of the
fastest step but the first. Linux only.
"""

import argparse
import ctypes
import json
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from metro_tf.geometry import cuboid
from metro_tf.layers import heatmap_heads, marginal_heatmaps

N_JOINTS, STRIDE_PX = 17, 8
CELL_COUNTS = (32, 64)
HEADS, PASSES = ('volumetric', 'marginal'), ('forward', 'backward')


def main():
    """Runs all cases and prints one line for each number of cells and pass."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--n-repeats', type=int, default=10, help='timed steps per case')
    parser.add_argument('--batch-size', type=int, default=16, help='feature maps per step')
    parser.add_argument('--n-channels', type=int, default=128, help='channels of the features')
    parser.add_argument('--n-threads', type=int, default=2, help='threads of TensorFlow')
    parser.add_argument('--case', nargs=3, metavar=('HEAD', 'CELLS', 'PASS'), help='only this one')
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(args, args.case[0], int(args.case[1]), args.case[2])))
        return
    print(f'{"cells":>5} {"pass":9} {"volumetric MiB":>14} {"marginal":>8} {"ratio":>6} '
          f'{"volumetric ms":>13} {"marginal":>8} {"ratio":>6}')
    for n_cells in CELL_COUNTS:
        for which_pass in PASSES:
            (volume_mib, volume_ms), (marginal_mib, marginal_ms) = (
                in_own_process(head, n_cells, which_pass) for head in HEADS)
            print(f'{n_cells:5} {which_pass:9} {volume_mib:14.0f} {marginal_mib:8.1f} '
                  f'{volume_mib / marginal_mib:6.1f} {volume_ms:13.0f} {marginal_ms:8.1f} '
                  f'{volume_ms / marginal_ms:6.1f}', flush=True)


def in_own_process(head, n_cells, which_pass):
    """Result of `measure` in a new process with the arguments of this one."""
    output = subprocess.run(
        [sys.executable, '-m', 'tests.benchmarks.heads', *sys.argv[1:], '--case', head,
         str(n_cells), which_pass], check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(args, head, n_cells, which_pass):
    """Growth of the peak memory in MiB and fastest time in ms of a case."""
    tf.config.threading.set_intra_op_parallelism_threads(args.n_threads)
    small_step = make_step(head, 4, which_pass, args)
    small_step()  # so that the libraries' own memory does not count
    step = make_step(head, n_cells, which_pass, args)
    before = reset_peak_memory()
    step()
    times = []
    for _ in range(args.n_repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return peak_memory_mib() - before, 1000 * min(times)


def make_step(head, n_cells, which_pass, args):
    """Function without arguments that runs a head once on fixed features."""
    rng = np.random.default_rng(0)
    features = tf.constant(rng.normal(
        size=[args.batch_size, n_cells, n_cells, args.n_channels]).astype(np.float32))
    targets = tf.constant(
        rng.uniform(-1, 1, [args.batch_size, N_JOINTS, 3]).astype(np.float32))
    layer, predict = {'volumetric': volumetric_head, 'marginal': marginal_head}[head](n_cells)
    layer.build(features.shape)
    weights = [getattr(weight, 'value', weight) if keras.__version__ >= '3' else weight
               for weight in layer.trainable_weights]

    @tf.function(input_signature=[tf.TensorSpec(features.shape)], autograph=False)
    def forward(features):
        return predict(features)

    @tf.function(input_signature=[tf.TensorSpec(features.shape)], autograph=False)
    def backward(features):
        with tf.GradientTape() as tape:
            tape.watch(features)
            loss = tf.reduce_mean(tf.abs(predict(features) - targets))
        return tape.gradient(loss, [features, *weights])

    function = {'forward': forward, 'backward': backward}[which_pass]
    function.get_concrete_function()
    return lambda: function(features)


def volumetric_head(n_cells):
    """A layer with weights, and the function from features to coordinates."""
    layer = heatmap_heads.MetricHeatmapHead(
        N_JOINTS, n_cells * STRIDE_PX, STRIDE_PX, n_depth_cells=n_cells, box_size_mm=2.0)
    return layer, layer


def marginal_head(n_cells):
    """A layer with weights, and the function from features to coordinates."""
    n_planes = len(cuboid.PLANES)
    layer = keras.layers.Conv2D(n_planes * N_JOINTS, 1)
    heatmaps = marginal_heatmaps.MarginalHeatmaps()
    return layer, lambda features: heatmaps(tf.reshape(
        layer(features), [-1, n_cells, n_cells, n_planes, N_JOINTS]))['coords']


def reset_peak_memory():
    """Returns freed memory to the system, starts the peak anew and returns it in MiB."""
    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path('/proc/self/clear_refs').write_text('5')
    return peak_memory_mib()


def peak_memory_mib():
    """Peak resident memory of this process since the last reset."""
    lines = pathlib.Path('/proc/self/status').read_text().splitlines()
    peak, = (line for line in lines if line.startswith('VmHWM:'))
    return int(peak.split()[1]) / 1024


if __name__ == '__main__':
    main()
