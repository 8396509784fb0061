"""Crop sampling against an OpenCV chain that does the same: decode, pyramid, warp, encode.

    python -m tests.benchmarks.crops [--n-repeats 30] [--side 160] [--n-threads 2]

Prints the fastest wall and CPU time of both and the ratios. CPU times of all threads together
are the ones to compare on a busy machine. The last column is the mean difference of the
pictures in display values; OpenCV rounds positions to 1/32 px.
"""

import argparse
import time

import cv2
import numpy as np
import tensorflow as tf

from metro_tf.cropping import pixel_source, view, warp
from metro_tf.geometry import camera

GAMMA = 0.8
NO_LENS = np.zeros(5, np.float32)
LENS = np.float32([-0.1, 0.02, 0.001, 0.001, 0])
IMAGE_SIZES = ((640, 480), (1920, 1080))
BOX_COUNTS = (4, 16)


def main():
    """Runs all cases and prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--n-repeats', type=int, default=30, help='timed runs per case')
    parser.add_argument('--side', type=int, default=160, help='crop side in px')
    parser.add_argument('--n-threads', type=int, default=2, help='threads of both libraries')
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.n_threads)
    cv2.setNumThreads(args.n_threads)
    sample_with_tensorflow = make_tensorflow_sampler(args.side)
    print(f'{"case":32} {"ours ms":>8} {"cpu":>6} {"OpenCV ms":>9} {"cpu":>6} '
          f'{"ratio":>6} {"cpu":>5} {"difference":>10}')
    for width, height in IMAGE_SIZES:
        for n_boxes in BOX_COUNTS:
            for lens_name, coeffs in (('pinhole', NO_LENS), ('lens', LENS)):
                case = make_case(width, height, n_boxes, coeffs, args.side)
                report(f'{width}x{height}, {n_boxes} boxes, {lens_name}', case,
                       sample_with_tensorflow, args)


def report(name, case, sample_with_tensorflow, args):
    """Times one case and prints its line."""
    ours = sample_with_tensorflow(case['images'], *case['cameras'].values()).numpy()
    theirs = sample_with_opencv(case, args.side)
    wall, cpu = fastest(
        lambda: sample_with_tensorflow(case['images'], *case['cameras'].values()), args.n_repeats)
    cv_wall, cv_cpu = fastest(lambda: sample_with_opencv(case, args.side), args.n_repeats)
    print(f'{name:32} {wall:8.2f} {cpu:6.1f} {cv_wall:9.2f} {cv_cpu:6.1f} {wall / cv_wall:6.2f} '
          f'{cpu / cv_cpu:5.2f} {np.abs(ours - theirs).mean():10.4f}', flush=True)


def make_case(width, height, n_boxes, coeffs, side):
    """A smooth random image and boxes of standing people of mixed size."""
    rng = np.random.default_rng(n_boxes)
    image = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 3)
    image = cv2.normalize(image, None, 40, 255, cv2.NORM_MINMAX)
    box_heights = rng.uniform(0.3, 0.7, n_boxes) * height
    box_widths = 0.4 * box_heights
    boxes = np.float32(np.stack([
        rng.uniform(0, width - box_widths), rng.uniform(0, height - box_heights), box_widths,
        box_heights], axis=1))
    intrinsics = np.tile(camera.intrinsics_from_fov(55.0, (height, width)), (n_boxes, 1, 1))
    coeffs = np.tile(coeffs, (n_boxes, 1))
    rotations, scales = view.virtual_cameras(boxes, intrinsics, coeffs, (0.0, -1.0, 0.0), side)
    cameras = {
        'intrinsics': intrinsics, 'distortion_coeffs': coeffs,
        'crop_intrinsics': view.crop_intrinsics(intrinsics, scales, side).numpy(),
        'rotations': rotations.numpy(), 'scales': scales.numpy()}
    return {'images': tf.constant(image[np.newaxis]), 'image': image, 'cameras': cameras}


def make_tensorflow_sampler(side):
    """The sampler as an export runs it: no size but the crop's is known."""
    spec = [tf.TensorSpec([None, None, None, 3], tf.uint8)] + [
        tf.TensorSpec(shape) for shape in (
            [None, 3, 3], [None, None], [None, 3, 3], [None, 3, 3], [None])]

    @tf.function(input_signature=spec)
    def sample(images, intrinsics, distortion_coeffs, crop_intrinsics, rotations, scales):
        return warp.sample_crops(
            images, tf.zeros_like(scales, tf.int32), intrinsics, distortion_coeffs,
            crop_intrinsics, rotations=rotations, scales=scales,
            gamma=tf.ones_like(scales) * GAMMA, crop_side_px=side)

    return sample


def sample_with_opencv(case, side):
    """The same crops with OpenCV, one after the other, from a pyramid of the whole image."""
    decoding = np.float32((np.arange(256) / 255) ** pixel_source.DISPLAY_GAMMA)
    cameras = case['cameras']
    levels = np.clip(np.floor(-np.log2(cameras['scales'])), 0, 2).astype(int)
    pyramid = [cv2.LUT(case['image'], decoding)]
    for _ in range(levels.max(initial=0)):
        height, width = pyramid[-1].shape[:2]
        pyramid.append(cv2.resize(
            pyramid[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    crops = [
        cv2.pow(warp_with_opencv(pyramid[level], 2 ** level, side, *matrices),
                GAMMA / pixel_source.DISPLAY_GAMMA)
        for level, *matrices in zip(
            levels, cameras['intrinsics'], cameras['distortion_coeffs'],
            cameras['crop_intrinsics'], cameras['rotations'])]
    return np.stack(crops)


def warp_with_opencv(light, cell_px, side, intrinsics, coeffs, crop_intrinsics, rotation):
    """One crop from one pyramid level in linear light."""
    shift = (1 / cell_px - 1) / 2
    level_intrinsics = np.float64(
        [[1 / cell_px, 0, shift], [0, 1 / cell_px, shift], [0, 0, 1]]) @ intrinsics
    if coeffs.any():
        maps = cv2.initUndistortRectifyMap(
            level_intrinsics, coeffs, rotation, crop_intrinsics, (side, side), cv2.CV_32FC1)
        return cv2.remap(light, *maps, cv2.INTER_LINEAR)
    homography = level_intrinsics @ np.linalg.inv(np.float64(crop_intrinsics) @ rotation)
    return cv2.warpPerspective(
        light, homography, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def fastest(function, n_repeats):
    """Smallest wall and CPU time of a call in ms, after warm-up."""
    for _ in range(3):
        function()
    times = []
    for _ in range(n_repeats):
        start = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return tuple(1000 * np.min(times, axis=0))


if __name__ == '__main__':
    main()
