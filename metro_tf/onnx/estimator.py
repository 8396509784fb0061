"""The whole chain from full images to people in the world, in NumPy; see `metro_tf.estimator`.

People of all images lie in one flat array with the index of their image, sorted by it.
"""

import inspect
import pathlib

import numpy as np

from metro_tf import arguments as call_arguments
from metro_tf.onnx import (
    calibration, detector, distortion, geometry, model_folder, plausibility, prediction, tta)

# As in `metro_tf.estimator`.
_MIN_DEPTH_MM = np.float32(1)
_DETECT_SUMMARY = 'Finds people and estimates their poses.'
_ESTIMATE_SUMMARY = 'Estimates the poses of people in given boxes, in their order.'
_RETURNS = """Returns:
    Dict of {container}:
    boxes: float32 [people, 5], left, top, width, height in px and score (detect_* only).
    poses3d: float32 [people, joints, 3], mm, world frame; [people, num_aug, joints, 3] with
        average_aug=False.
    poses2d: float32 [people, joints, 2] (or [people, num_aug, joints, 2]), px in the given image.
    detection_indices: int32 [people], the number of the detection (or given box) in its image.
    uncertainty: float32 [people, joints] (or [people, num_aug, joints]), mm, the standard
        deviation of each joint under its heatmaps (only of a model that tells it).

Raises:
    ValueError: If the type, the shape or a value of an argument does not fit."""


def _method(name, summary):
    def method(self, *positional, **named):
        arguments = call_arguments.bind_arrays(name, positional, named)
        if call_arguments.is_batched(name):
            return self._run(arguments)
        people = self._run(_as_batch(name, arguments))
        return {key: values[0] for key, values in people.items()}

    is_batched = call_arguments.is_batched(name)
    container = 'lists with an array per image' if is_batched else 'arrays'
    method.__name__ = name
    method.__doc__ = call_arguments.documentation(
        name, summary, _RETURNS.format(container=container))
    signature = call_arguments.python_signature(name)
    method.__signature__ = signature.replace(parameters=[
        inspect.Parameter('self', inspect.Parameter.POSITIONAL_OR_KEYWORD),
        *signature.parameters.values()])
    return method


class PoseEstimator:
    """Absolute 3D poses of all people in images, without TensorFlow.

    The four methods are those of `metro_tf.PoseEstimator` with the same arguments and, within
    1 mm, the same results; as NumPy arrays, and in the batched methods as lists with an array per
    image. Several threads may call one estimator at the same time.

    Args:
        folder: Folder that `metro-tf export-onnx` wrote.
        quantised: Whether to use the crop network with 8-bit weights: smaller, less exact.
        n_threads: Number of threads of a network; None leaves it to onnxruntime.

    Attributes:
        metadata: Dict, what the model says of itself.
        joint_names: Tuple of strings.
        joint_edges: Tuple of pairs of joint indices.
        skeletons: Dict from the name of a joint convention, a valid value of the argument
            `skeleton`, to a dict of its `joint_names`, `joint_edges` and `indices` among the
            model's joints.

    Raises:
        ValueError: If the folder or `n_threads` is unusable.
    """

    def __init__(self, folder, quantised=False, n_threads=None):
        if n_threads is not None and n_threads < 1:
            raise ValueError(f'`n_threads` must be at least 1. Received: n_threads={n_threads}')
        folder = pathlib.Path(folder)
        description = model_folder.read_description(folder)
        self.metadata = description['metadata']
        self.joint_names = tuple(description['joint_names'])
        self.joint_edges = tuple(map(tuple, description['joint_edges']))
        self.skeletons = description['skeletons']
        self._config = description['config']
        self._bone_lengths_mm = description['mean_bone_lengths_mm']
        file_name = 'crop_model_int8.onnx' if quantised else 'crop_model.onnx'
        self._predictor = prediction.PosePredictor(
            model_folder.OnnxNetwork(folder / file_name, n_threads),
            description['output_shapes'], description['input_resolution'],
            description['mirror_mapping'], **self._settings('max_angle', 'angle_spread'))
        self._detector = description['detector'] and detector.PersonDetector(
            model_folder.OnnxNetwork(folder / 'detector.onnx', n_threads),
            description['detector']['input_side_px'])

    detect_poses = _method('detect_poses', _DETECT_SUMMARY)
    detect_poses_batched = _method('detect_poses_batched', _DETECT_SUMMARY)
    estimate_poses = _method('estimate_poses', _ESTIMATE_SUMMARY)
    estimate_poses_batched = _method('estimate_poses_batched', _ESTIMATE_SUMMARY)

    def _settings(self, *names):
        return {name: self._config[name] for name in names}

    def _run(self, arguments):
        """Results of a batched call as lists per image."""
        arguments = {
            name: value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
            for name, value in arguments.items()}
        images = arguments.pop('images')
        calibration.require(
            min(images.shape[1:3]) > 0, '`images` must have at least one pixel.', images.shape)
        if 'boxes' in arguments:
            people, image_index = self._estimate(images, **arguments)
            del people['boxes']
        else:
            people, image_index = self._detect(images, **arguments)
        splits = np.searchsorted(image_index, np.arange(1, len(images)))
        return {
            name: np.split(values, splits) if len(images) else []
            for name, values in people.items()}

    def _estimate(self, images, boxes, **arguments):
        calibration.require(
            len(boxes) == len(images), '`boxes` must have one row per image.', len(boxes), 'for',
            len(images), 'images')
        flat, image_index, indices = _flat(boxes, 4)
        calibration.require(
            np.all(flat[:, 2:] > 0) and np.all(np.isfinite(flat)),
            '`boxes` must be finite with positive width and height.', flat)
        scored = np.pad(flat, [[0, 0], [0, 1]], constant_values=1)
        return self._finish(images, scored, image_index, indices, **arguments)

    def _detect(
            self, images, detector_threshold, detector_nms_iou_threshold, max_detections,
            detector_flip_aug, **arguments):
        calibration.require(
            max_detections >= -1, '`max_detections` must be -1 (all) or at least 0.',
            max_detections)
        detections = [np.zeros([0, 5], np.float32)] * len(images)
        if self._detector:
            detections = self._detector.predict_multi_image(
                images, detector_threshold, detector_nms_iou_threshold, detector_flip_aug)
        # Detections come by descending score.
        kept = None if max_detections == -1 else max_detections
        return self._finish(
            images, *_flat([boxes[:kept] for boxes in detections], 5), **arguments)

    def _finish(
            self, images, boxes, image_index, detection_indices, average_aug, skeleton,
            suppress_implausible_poses, **arguments):
        """From boxes with scores to the results: predicts, filters, selects and averages."""
        calibration.require(
            skeleton == '' or skeleton in self.skeletons,
            f'`skeleton` must be empty or one of {sorted(self.skeletons)}.', skeleton)
        poses_cam, people = self._predict_people(images, boxes, image_index, **arguments)
        people = {'boxes': boxes, **people, 'detection_indices': detection_indices}
        if suppress_implausible_poses:
            kept = self._plausible_people(poses_cam, people['poses2d'], boxes, image_index)
            people = {name: values[kept] for name, values in people.items()}
            image_index = image_index[kept]
        return self._selected(people, skeleton, average_aug), image_index

    def _predict_people(
            self, images, boxes, image_index, intrinsic_matrix, distortion_coeffs,
            extrinsic_matrix, world_up_vector, default_fov_degrees, **arguments):
        """Poses in the camera frame, and a dict of results, all `[n, num_aug, joints, ...]`."""
        cameras = calibration.prepare_cameras(
            images.shape, intrinsic_matrix, distortion_coeffs, extrinsic_matrix,
            world_up_vector=world_up_vector, default_fov_degrees=default_fov_degrees)
        for name, minimum in (
                ('num_aug', 1), ('antialias_factor', 1), ('internal_batch_size', 0)):
            calibration.require(
                arguments[name] >= minimum, f'`{name}` must be at least {minimum}.',
                arguments[name])
        cameras = cameras.per_person(image_index)
        outputs = self._predictor.predict(images, image_index, boxes, cameras, **arguments)
        poses = outputs.pop('poses')
        n_people, num_aug, n_joints, _ = poses.shape
        points = poses.reshape(n_people, num_aug * n_joints, 3)
        depth = np.maximum(points[..., 2], _MIN_DEPTH_MM)
        points_norm = distortion.distort(
            points[..., 0] / depth, points[..., 1] / depth,
            distortion.make_lens(cameras.distortion_coeffs))
        poses2d = geometry.to_pixels(np.stack(points_norm, axis=-1), cameras.intrinsics)
        poses3d = geometry.camera_to_world(points, cameras.extrinsics)
        return poses, {
            'poses3d': poses3d.reshape(poses.shape),
            'poses2d': poses2d.reshape(n_people, num_aug, n_joints, 2), **outputs}

    def _plausible_people(self, poses, poses2d, boxes, image_index):
        """Indices of plausible people, by image and descending score, without repetitions."""
        edges, bone_lengths = self.joint_edges, self._bone_lengths_mm
        if bone_lengths is None:
            edges, bone_lengths = (), ()
        is_plausible = plausibility.plausible_poses(
            poses, poses2d, boxes, edges, bone_lengths, **self._settings(
                'bone_min_ratio', 'bone_max_ratio', 'bone_tolerance_mm', 'consistency_mm',
                'min_box_overlap'))
        return plausibility.suppress_similar_poses(
            poses.mean(axis=1), boxes[:, 4], image_index, is_plausible,
            **self._settings('nms_distance_mm', 'nms_similarity', 'max_poses'))

    def _selected(self, people, skeleton, average_aug):
        """Results with the joints of a skeleton, averaged over the augmentations if asked for."""
        people = dict(people)
        averages = {
            'poses3d': lambda poses: poses.mean(axis=1),
            'poses2d': lambda poses: poses.mean(axis=1), 'uncertainty': tta.average_uncertainty}
        for name in averages.keys() & people.keys():
            if skeleton:
                people[name] = people[name][:, :, self.skeletons[skeleton]['indices']]
            if average_aug:
                people[name] = averages[name](people[name])
        return people


def _as_batch(method_name, arguments):
    """Arguments of a batched method from those for one image."""
    batch = {}
    for argument in call_arguments.arguments_of(method_name):
        name = argument.name_in(method_name)
        is_shared = argument.batching == 'shared'
        batch[argument.name_in(f'{method_name}_batched')] = (
            arguments[name] if is_shared else arguments[name][np.newaxis])
    return batch


def _flat(boxes_per_image, n_columns):
    """Boxes `[n, 4 or 5]` of all images, the image of each, and its number in the image."""
    lengths = [len(boxes) for boxes in boxes_per_image]
    flat = np.concatenate([np.zeros([0, n_columns], np.float32), *boxes_per_image])
    image_index = np.repeat(np.arange(len(lengths)), lengths)
    indices = np.concatenate([np.zeros(0, np.int32), *(
        np.arange(length, dtype=np.int32) for length in lengths)])
    return flat, image_index, indices
