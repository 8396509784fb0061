"""The same work by all runtimes: Python object, SavedModel, session, ONNX and TFLite.

    python -m tests.benchmarks.runtimes [--model NAME_OR_PATH] [--num-aug N] [--rounds N]

Poses of 1, 4 and 16 people in given boxes of one 640 x 480 image. Prints for every runtime the
median time of a call in ms, its ratio to the floor and the people per second. The floor is the bare
crop network, a frozen graph in TensorFlow, on as many crops. Rows that say "network" have crops as
input, too; the others start from the image. All are measured in turn, so that other work on the
machine affects them alike; CPU is the ratio of the CPU times of all threads.

The Python object is left out for a model whose weights do not lie beside it.
"""

import argparse
import functools
import json
import pathlib
import tempfile
import time

import numpy as np
import tensorflow as tf

import metro_tf
from metro_tf import models, onnx, releases
from metro_tf.export import onnx as onnx_export
from metro_tf.export import saved_model, tflite
from tests.benchmarks import estimator as estimator_benchmark

_N_PEOPLE = (1, 4, 16)
_WARM_UP_ROUNDS = 3
_CROPS_PER_CALL = 64


def load_runtimes(path, num_aug):
    """Functions from image and boxes to poses, by the names of their rows.

    Args:
        path: Path of an export.
        num_aug: Test-time augmentations per person.

    Returns:
        Dict; the first entry is the SavedModel.
    """
    model = saved_model.load(path)
    runtimes = {'SavedModel callable': model}
    try:
        crop_model = models.load_crop_model(path)
    except ValueError as error:
        print(f'no Python object: {error}')
    else:
        metadata = json.loads(model.metadata.numpy())
        runtimes['Python object'] = metro_tf.PoseEstimator(
            crop_model, mean_bone_lengths_mm=metadata['mean_bone_lengths_mm'],
            **metadata['config'])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder) / 'onnx'
        onnx_export.export_onnx(path, folder)
        runtimes['ONNX fp32'] = onnx.PoseEstimator(folder)
        runtimes['ONNX int8'] = onnx.PoseEstimator(folder, quantised=True)
    functions = {name: held_method(runtime, num_aug) for name, runtime in runtimes.items()}
    functions['C++ session'] = session_function(path, num_aug)
    return functions


def held_method(runtime, num_aug):
    """`estimate_poses` of an object; an export's method alone would not keep its variables."""
    return lambda image, boxes: runtime.estimate_poses(image, boxes, num_aug=num_aug)


def session_function(path, num_aug):
    """The signature `predict_boxes` in a session, without Python functions, as a server runs it."""
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        meta_graph = tf.compat.v1.saved_model.loader.load(session, ['serve'], str(path))
    signature = meta_graph.signature_def['predict_boxes']
    inputs = {name: info.name for name, info in signature.inputs.items()}
    outputs = {name: info.name for name, info in signature.outputs.items()}

    def estimate(image, boxes):
        """Results of one call."""
        return session.run(outputs, {
            inputs['images']: image[np.newaxis], inputs['boxes']: boxes[np.newaxis],
            inputs['n_boxes']: [len(boxes)], inputs['num_aug']: num_aug})

    return estimate


def load_networks(path):
    """The bare crop network as a frozen graph, which is the floor, and in TFLite."""
    model = saved_model.load(path)
    interpreter = tf.lite.Interpreter(model_content=tflite.convert(path), num_threads=2)
    run = interpreter.get_signature_runner('serving_default')

    def frozen(image, intrinsics, model=model):  # holds the model, which holds the weights
        """Poses by TensorFlow."""
        return model.crop_model.network(tf.constant(image), tf.constant(intrinsics))

    return {
        'floor: frozen crop network': frozen,
        'TFLite network': lambda image, intrinsics: run(
            image=image, intrinsic_matrix=intrinsics)}


def crop_batches(n_people, num_aug, side_px):
    """Crops of noise and their intrinsics, in batches as the estimator makes them."""
    rng = np.random.default_rng(0)
    n_crops, per_call = n_people * num_aug, max(_CROPS_PER_CALL // num_aug, 1) * num_aug
    intrinsics = np.float32([[300, 0, side_px / 2], [0, 300, side_px / 2], [0, 0, 1]])
    sizes = [min(per_call, n_crops - start) for start in range(0, n_crops, per_call)]
    return [(rng.random([n, side_px, side_px, 3], np.float32), np.tile(intrinsics, [n, 1, 1]))
            for n in sizes]


def on_batches(network, batches):
    """Function without arguments that runs a network on all batches."""
    def run():
        for batch in batches:
            network(*batch)
    return run


def measure(functions, n_rounds):
    """Median wall and CPU time of functions without arguments, s: dict from their names."""
    times = {name: [] for name in functions}
    for _ in range(_WARM_UP_ROUNDS + n_rounds):
        for name, function in functions.items():
            start = np.array([time.perf_counter(), time.process_time()])
            function()
            times[name].append([time.perf_counter(), time.process_time()] - start)
    return {name: np.median(rows[_WARM_UP_ROUNDS:], axis=0) for name, rows in times.items()}


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='default', help='name or path of an export')
    parser.add_argument('--num-aug', default=5, type=int, help='augmentations per person')
    parser.add_argument('--rounds', default=15, type=int, help='timed calls of each')
    arguments = parser.parse_args()
    path = releases.find(arguments.model)
    runtimes, networks = load_runtimes(path, arguments.num_aug), load_networks(path)
    side_px = int(saved_model.load(path).crop_model.input_resolution)
    for n_people in _N_PEOPLE:
        case = estimator_benchmark.Case(1, 640, 480, n_people, arguments.num_aug, float('nan'))
        rng = np.random.default_rng(0)
        image = rng.integers(0, 255, [case.height, case.width, 3]).astype(np.uint8)
        boxes = estimator_benchmark.boxes_of(case, rng)[0]
        batches = crop_batches(n_people, arguments.num_aug, side_px)
        times = measure({
            **{name: on_batches(network, batches) for name, network in networks.items()},
            **{name: functools.partial(runtime, image, boxes)
               for name, runtime in runtimes.items()}}, arguments.rounds)
        floor = times['floor: frozen crop network']
        print(f'\n{case.name:<40} {"ms":>8} {"ratio":>6} {"CPU":>6} {"people/s":>9}')
        for name, (seconds, cpu_seconds) in times.items():
            print(f'{name:<40} {1000 * seconds:8.1f} {seconds / floor[0]:6.2f} '
                  f'{cpu_seconds / floor[1]:6.2f} {n_people / seconds:9.1f}')


if __name__ == '__main__':
    main()
