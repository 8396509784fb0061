"""Speed of whole calls against the bare crop network on the same crops, and of the start.

    python -m tests.benchmarks.estimator [--model NAME_OR_PATH]

Prints one row per case: median times in ms, their ratio, the ratio of CPU times (of all threads
together, the one to compare on a busy machine), and the ratio of the published code in time. Both
sides of a ratio are measured in turn, so that other work on the machine affects them alike. Without
an argument the default model is measured.
"""

import argparse
import dataclasses
import pathlib
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf

from metro_tf import releases
from metro_tf.export import saved_model

_ROUNDS = 30
_WARM_UP_ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: images of one size, people per image, augmentations, published ratio."""
    n_images: int
    width: int
    height: int
    n_boxes: int
    num_aug: int
    published_ratio: float
    is_distorted: bool = False

    @property
    def name(self):
        """Short text for the table."""
        lens = ', lens' if self.is_distorted else ''
        return (f'{self.n_images} x {self.width}x{self.height}, {self.n_boxes} boxes, '
                f'num_aug {self.num_aug}{lens}')


CASES = (
    Case(1, 640, 480, 1, 1, 2.8), Case(1, 640, 480, 4, 1, 2.0), Case(1, 640, 480, 4, 5, 2.1),
    Case(1, 640, 480, 16, 1, 2.2), Case(1, 640, 480, 16, 5, 2.0), Case(8, 640, 480, 4, 1, 3.9),
    Case(8, 640, 480, 4, 5, 2.5), Case(1, 1920, 1080, 4, 1, 5.3), Case(1, 1920, 1080, 4, 5, 3.9),
    Case(1, 640, 480, 4, 1, float('nan'), is_distorted=True))

_START = '''
import sys, time
import numpy as np
import tensorflow as tf

def memory():
    [line] = [line for line in open('/proc/self/status') if line.startswith('VmRSS')]
    return int(line.split()[1]) / 1024

photo = tf.io.decode_image(tf.io.read_file(sys.argv[2]), channels=3, expand_animations=False)
image = tf.cast(tf.image.resize(photo, [480, 640]), tf.uint8).numpy()
memories, times = [memory()], [time.perf_counter()]
model = tf.saved_model.load(sys.argv[1])
times.append(time.perf_counter())
memories.append(memory())
for _ in range(2):
    model.detect_poses(image)
    times.append(time.perf_counter())
    memories.append(memory())
print(*np.diff(times), *memories[:3])
'''
_PHOTO = pathlib.Path(__file__).parents[2] / 'examples/photos/astronaut.jpg'


def boxes_of(case, rng):
    """Float32 array `[n_images, n_boxes, 4]`: people of a third to two thirds of the height."""
    height = rng.uniform(0.33, 0.67, [case.n_images, case.n_boxes]) * case.height
    size = np.stack([height / 2, height], axis=-1)
    corner = rng.uniform(0, 1, size.shape) * ([case.width, case.height] - size)
    return np.concatenate([corner, size], axis=-1).astype(np.float32)


def prepare(model, case):
    """Functions without arguments that make the whole call, and those of the network alone."""
    rng = np.random.default_rng(0)
    images = tf.constant(rng.integers(
        0, 255, [case.n_images, case.height, case.width, 3]).astype(np.uint8))
    boxes = tf.constant(boxes_of(case, rng))
    coeffs = tf.constant([[-0.2, 0.05, 0.001, 0.001, 0.0]] if case.is_distorted else [[0.0]])
    if case.n_images == 1:
        def whole():
            model.estimate_poses(
                images[0], boxes[0], num_aug=case.num_aug, distortion_coeffs=coeffs[0])
    else:
        ragged = tf.RaggedTensor.from_tensor(boxes)

        def whole():
            model.estimate_poses_batched(
                images, ragged, num_aug=case.num_aug, distortion_coeffs=coeffs)
    side = int(model.crop_model.input_resolution)
    n_crops = case.n_images * case.n_boxes * case.num_aug
    per_call = 64 // case.num_aug * case.num_aug
    batches = [
        (tf.constant(rng.uniform(0, 1, [n, side, side, 3]).astype(np.float32)),
         tf.tile(tf.constant([[[300.0, 0, side / 2], [0, 300, side / 2], [0, 0, 1]]]), [n, 1, 1]))
        for n in (min(per_call, n_crops - start) for start in range(0, n_crops, per_call))]

    def network():
        for crops, intrinsics in batches:
            model.crop_model.predict_multi(crops, intrinsics)

    return whole, network


def median_times(*functions):
    """Medians in ms, measured in turn: array `[n_functions, 2]` of wall and CPU time."""
    times = []
    for _ in range(_WARM_UP_ROUNDS + _ROUNDS):
        row = []
        for function in functions:
            start = np.array([time.perf_counter(), time.process_time()])
            function()
            row.append([time.perf_counter(), time.process_time()] - start)
        times.append(row)
    return 1000 * np.median(times[_WARM_UP_ROUNDS:], axis=0)


def report_start(path):
    """Prints size on disk, and loading and first calls in an interpreter of their own."""
    n_bytes = sum(file.stat().st_size for file in pathlib.Path(path).rglob('*') if file.is_file())
    output = subprocess.run(
        [sys.executable, '-I', '-c', _START, str(path), str(_PHOTO)], check=True,
        capture_output=True,
        text=True).stdout
    load, first, second, *memories = map(float, output.split())
    print(f'size {n_bytes / 1e6:.1f} MB, load {load:.2f} s, first detect_poses {first:.2f} s, '
          f'second {1000 * second:.0f} ms')
    print('resident memory in MiB: {:.0f} with TensorFlow imported, {:.0f} after loading, {:.0f} '
          'after the first call'.format(*memories))


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='default', help='name or path of an export')
    path = releases.find(parser.parse_args().model)
    report_start(path)
    model = saved_model.load(path)
    print(f'{"case":<46} {"call":>8} {"network":>8} {"ratio":>6} {"CPU":>6} {"published":>9}')
    for case in CASES:
        whole, network = median_times(*prepare(model, case))
        ratio, cpu_ratio = whole / network
        print(f'{case.name:<46} {whole[0]:8.1f} {network[0]:8.1f} {ratio:6.2f} {cpu_ratio:6.2f} '
              f'{case.published_ratio:9.1f}')


if __name__ == '__main__':
    main()
