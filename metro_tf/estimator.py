"""From full images to people in the world: detection, crops, prediction, filtering.

The whole chain is one graph with unknown image sizes and numbers of people, so nothing is traced
anew for a new size. People of all images lie in one flat array with the index of their image.
"""

import dataclasses
import inspect
import math

import tensorflow as tf

from metro_tf import arguments as arguments_lib
from metro_tf import calibration, call_spec, crop_network, plausibility, prediction, tta
from metro_tf.calibration import require
from metro_tf.detection import protocol
from metro_tf.geometry import camera, distortion


@dataclasses.dataclass(frozen=True)
class EstimatorConfig:
    """Settings of the chain; stored in every export. Defaults are the published ones (MeTRAbs).

    Args:
        max_angle: Largest roll of test-time augmentation, radians.
        angle_spread: See `tta.parameters`.
        bone_min_ratio: See `plausibility.are_bones_plausible`, as are the next two.
        bone_max_ratio: Largest plausible ratio of a bone to its typical length.
        bone_tolerance_mm: Deviations of bone lengths up to this are always plausible.
        consistency_mm: See `plausibility.are_augmentations_consistent`.
        min_box_overlap: See `plausibility.is_consistent_with_box`.
        nms_distance_mm: See `plausibility.suppress_similar_poses`, as are the next two.
        nms_similarity: The similarity up to which two poses count as different people.
        max_poses: Largest number of people per image after filtering.
        uncertainty: Whether results hold the uncertainty of every joint, see
            `models.crop_model.CropModel.uncertainty_mm`.
    """
    max_angle: float = math.radians(25)
    angle_spread: str = 'narrow'
    bone_min_ratio: float = plausibility.BONE_MIN_RATIO
    bone_max_ratio: float = plausibility.BONE_MAX_RATIO
    bone_tolerance_mm: float = plausibility.BONE_TOLERANCE_MM
    consistency_mm: float = plausibility.CONSISTENCY_MM
    min_box_overlap: float = plausibility.MIN_BOX_OVERLAP
    nms_distance_mm: float = plausibility.NMS_DISTANCE_MM
    nms_similarity: float = plausibility.NMS_SIMILARITY
    max_poses: int = plausibility.MAX_POSES
    uncertainty: bool = False

    def __post_init__(self):
        # Fails on an unknown spread or a setting of the wrong type.
        tta.parameters(1, max_angle=self.max_angle, angle_spread=self.angle_spread)
        if not 0 <= self.bone_min_ratio <= self.bone_max_ratio:
            raise ValueError(
                '`bone_min_ratio` must be between 0 and `bone_max_ratio`. Received: '
                f'bone_min_ratio={self.bone_min_ratio}, bone_max_ratio={self.bone_max_ratio}')
        if not isinstance(self.uncertainty, bool):
            raise ValueError(
                '`uncertainty` must be True or False, since results have other keys with it. '
                f'Received: uncertainty={self.uncertainty!r}')

    def of_function(self, *names):
        """Dict of some of the settings, for use as keyword arguments."""
        return {name: getattr(self, name) for name in names}


_DETECT_SUMMARY = 'Finds people and estimates their poses.'
_ESTIMATE_SUMMARY = 'Estimates the poses of people in given boxes, in their order.'
_RETURNS = """Returns:
    Dict, one row per person{ragged}:
    boxes: float32 [5], left, top, width, height in px and score (detect_* only).
    poses3d: float32 [joints, 3], mm, world frame; [num_aug, joints, 3] with average_aug=False.
    poses2d: float32 [joints, 2] (or [num_aug, joints, 2]), px in the given, distorted image.
    detection_indices: int32, the number of the person's detection (or given box) in its image.
    uncertainty: float32 [joints] (or [num_aug, joints]), mm, the standard deviation of each joint
        under its heatmaps (only of an estimator with uncertainty=True).
    People are in the order of detections or boxes; after suppression of implausible poses, in
    descending order of score.

Raises:
    ValueError: If the type or shape of an argument does not fit.
    tf.errors.InvalidArgumentError: If a value does not fit."""


def _method(name, summary):
    def method(self, *positional, **named):
        return self.functions[name](*call_spec.bind(name, positional, named))

    ragged = ', ragged: [n_images, (n_people), ...]' if arguments_lib.is_batched(name) else ''
    method.__name__ = name
    method.__doc__ = arguments_lib.documentation(name, summary, _RETURNS.format(ragged=ragged))
    signature = arguments_lib.python_signature(name)
    method.__signature__ = signature.replace(parameters=[
        inspect.Parameter('self', inspect.Parameter.POSITIONAL_OR_KEYWORD),
        *signature.parameters.values()])
    return method


class PoseEstimator(tf.Module):
    """Absolute 3D poses of all people in images.

    Four methods: `detect_poses` and `estimate_poses` (people given as boxes) for one image, and
    `detect_poses_batched` and `estimate_poses_batched` for several of one size. Names, order and
    defaults of their arguments are those of MeTRAbs; `help` on a method lists them.

    Conventions: image pixels have integer centres. Camera frame: x right, y down, z forward, mm.
    `extrinsic_matrix` maps world to camera; with the default identity, results are in the camera
    frame and (0, -1, 0) is up. People in one image never influence those in another.

    Bounded memory: at most `max(1, internal_batch_size // num_aug)` people are predicted at once.

    Args:
        crop_model: See `crop_network.CropNetwork`. Not a model of poses up to a translation, as
            `models.Metro` is.
        detector: Object that follows `detection.Detector`, or None, which detects nobody.
        mean_bone_lengths_mm: Sequence with the typical length of each of the model's edges, for
            the plausibility filter. None skips its test of bones.
        **settings: Fields of `EstimatorConfig`.

    Attributes:
        crop_model: `crop_network.CropNetwork`, with the method `predict_multi`.
        detector: As given.
        config: `EstimatorConfig`.
        mean_bone_lengths_mm: As given.
        joint_names: String tensor `[joints]`.
        joint_edges: Int32 tensor `[bones, 2]`.
        per_skeleton_joint_names: Dict from the name of a joint convention to string tensor. These
            are the valid values of the argument `skeleton`.
        per_skeleton_joint_edges: Dict to int32 tensors.
        per_skeleton_indices: Dict to int32 tensors, indices among the model's joints.
        functions: Dict from method name to the `tf.function` behind it.
    """

    def __init__(self, crop_model, detector=None, *, mean_bone_lengths_mm=None, **settings):
        super().__init__(name='pose_estimator')
        self.config = EstimatorConfig(**settings)
        self.crop_model = crop_network.CropNetwork(
            _checked_absolute(crop_model), self.config.uncertainty)
        self.detector = None if detector is None else protocol.check_detector(detector)
        self.mean_bone_lengths_mm = _checked_bone_lengths(
            mean_bone_lengths_mm, self.crop_model.joint_edges)
        self._selections = crop_network.JointSelections(
            self.crop_model.joint_names, self.crop_model.joint_edges)
        self._set_joint_attributes()
        self._predictor = prediction.PosePredictor(
            self.crop_model, self.config.max_angle, self.config.angle_spread)
        # Functions of their own, so that the methods share their graphs.
        self._predict_people = tf.function(
            self._predict_people_graph, autograph=False, input_signature=_PREDICT_SPECS)
        self._plausible_people = tf.function(
            self._plausible_people_graph, autograph=False, input_signature=[
                tf.TensorSpec([None, None, self._n_joints, 3]),
                tf.TensorSpec([None, None, self._n_joints, 2]),
                tf.TensorSpec([None, 5]), tf.TensorSpec([None], tf.int32)])
        batched = {name: self._make_batched_function(name)
                   for name in arguments_lib.METHOD_NAMES if arguments_lib.is_batched(name)}
        self.functions = {name: batched.get(name) or _for_one_image(name, batched)
                          for name in arguments_lib.METHOD_NAMES}

    def _set_joint_attributes(self):
        selections = self._selections
        named = {name: selections.skeletons[name] for name in selections.names if name}
        self.joint_names = tf.constant(self.crop_model.joint_names)
        self.joint_edges = _edge_tensor(self.crop_model.joint_edges)
        self.per_skeleton_joint_names = {
            name: tf.constant(skeleton.joint_names) for name, skeleton in named.items()}
        self.per_skeleton_joint_edges = {
            name: _edge_tensor(skeleton.edges) for name, skeleton in named.items()}
        self.per_skeleton_indices = {
            name: tf.constant(selections.indices[name], tf.int32) for name in named}

    detect_poses = _method('detect_poses', _DETECT_SUMMARY)
    detect_poses_batched = _method('detect_poses_batched', _DETECT_SUMMARY)
    estimate_poses = _method('estimate_poses', _ESTIMATE_SUMMARY)
    estimate_poses_batched = _method('estimate_poses_batched', _ESTIMATE_SUMMARY)

    @property
    def _n_joints(self):
        return len(self.crop_model.joint_names)

    def _make_batched_function(self, method_name):
        def function(*values):
            named = _named(method_name, values)
            people, image_index = (
                self._estimate(**named) if 'boxes' in named else self._detect(**named))
            row_splits = _row_splits(image_index, tf.shape(named['image'])[0])
            return {
                name: tf.RaggedTensor.from_row_splits(values, row_splits, validate=False)
                for name, values in people.items()}

        return _method_function(method_name, function)

    def _estimate(self, image, boxes, **arguments):
        """People in ragged boxes: dict of one row per person, and their images."""
        n_images = tf.shape(image)[0]
        count_check = require(
            tf.equal(boxes.nrows(out_type=tf.int32), n_images),
            '`boxes` must have one row per image.', [boxes.nrows(), 'for', n_images, 'images'])
        image_index, boxes = tf.cast(boxes.value_rowids(), tf.int32), boxes.values
        box_check = require(
            tf.reduce_all(boxes[:, 2:] > 0) & tf.reduce_all(tf.math.is_finite(boxes)),
            '`boxes` must be finite with positive width and height.', [boxes])
        with tf.control_dependencies([count_check, box_check]):
            scored_boxes = tf.pad(boxes, [[0, 0], [0, 1]], constant_values=1.0)
        indices = _index_within_image(image_index, n_images)
        people, image_index = self._finish(
            image, scored_boxes, image_index, indices, **arguments)
        del people['boxes']
        return people, image_index

    def _detect(
            self, image, detector_threshold, detector_nms_iou_threshold, max_detections,
            detector_flip_aug, **arguments):
        """People that the detector finds: dict of one row per person, and their images."""
        n_images = tf.shape(image)[0]
        if self.detector is None:
            detections = protocol.no_detections(n_images)
        else:
            detections = self.detector.predict_multi_image(
                image, detector_threshold, detector_nms_iou_threshold, detector_flip_aug, False)
        boxes = tf.ensure_shape(detections.values, [None, 5])
        image_index = tf.cast(detections.value_rowids(), tf.int32)
        indices = _index_within_image(image_index, n_images)
        check = require(max_detections >= -1, '`max_detections` must be -1 (all) or at least 0.',
                        [max_detections])
        with tf.control_dependencies([check]):
            kept = tf.cond(
                max_detections < 0, lambda: tf.range(tf.size(image_index)),
                lambda: _most_confident(boxes[:, 4], image_index, max_detections))
        return self._finish(
            image, *(tf.gather(x, kept) for x in (boxes, image_index, indices)), **arguments)

    def _finish(
            self, image, boxes, image_index, detection_indices, average_aug, skeleton,
            suppress_implausible_poses, **arguments):
        """From boxes with scores to the results: predicts, filters, selects and averages."""
        is_known = self._selections.matches(skeleton)
        check = require(
            tf.reduce_any(is_known), '`skeleton` must be empty or one of '
            f'{sorted(self.per_skeleton_joint_names)}.', [skeleton])
        with tf.control_dependencies([check]):
            skeleton = tf.identity(skeleton)
        poses_cam, predictions = self._predict_people(
            image, boxes, image_index, *(arguments[name] for name in _PREDICT_ARGUMENTS))
        people = {'boxes': boxes, **predictions, 'detection_indices': detection_indices}
        kept = tf.cond(
            suppress_implausible_poses,
            lambda: self._plausible_people(poses_cam, people['poses2d'], boxes, image_index),
            lambda: tf.range(tf.size(image_index)))
        people = {name: tf.gather(values, kept) for name, values in people.items()}
        return self._selected(people, skeleton, average_aug), tf.gather(image_index, kept)

    def _selected(self, people, skeleton, average_aug):
        """Results with the joints of a skeleton, averaged over the augmentations if asked for."""
        people = dict(people)
        for name in ('poses3d', 'poses2d'):
            poses = self._selections.select(people[name], skeleton)
            people[name] = tf.cond(
                average_aug, lambda: tf.reduce_mean(poses, axis=1), lambda: poses)
        if self.config.uncertainty:
            uncertainty = self._selections.select(
                people['uncertainty'][..., tf.newaxis], skeleton)[..., 0]
            people['uncertainty'] = tf.cond(
                average_aug, lambda: tta.average_uncertainty(uncertainty), lambda: uncertainty)
        return people

    def _predict_people_graph(
            self, images, boxes, image_index, intrinsic_matrix, distortion_coeffs,
            extrinsic_matrix, world_up_vector, default_fov_degrees, internal_batch_size,
            antialias_factor, num_aug):
        """Poses in the camera frame, and a dict of results, all `[n, num_aug, joints, ...]`."""
        cameras = calibration.prepare_cameras(
            tf.shape(images), intrinsic_matrix, distortion_coeffs, extrinsic_matrix,
            world_up_vector, default_fov_degrees).per_person(image_index)
        checks = [
            require(value >= minimum, f'`{name}` must be at least {minimum}.', [value])
            for name, value, minimum in (
                ('num_aug', num_aug, 1), ('antialias_factor', antialias_factor, 1),
                ('internal_batch_size', internal_batch_size, 0))]
        with tf.control_dependencies(checks):
            num_aug = tf.identity(num_aug)
        outputs = self._predictor.predict(
            images, image_index, boxes, cameras, num_aug, antialias_factor, internal_batch_size)
        poses = outputs.pop('poses')
        points = tf.reshape(poses, [-1, num_aug * self._n_joints, 3])
        points_norm = points[..., :2] / tf.maximum(points[..., 2:], _MIN_DEPTH_MM)
        poses2d = camera.to_pixels(
            distortion.distort_points(points_norm, cameras.distortion_coeffs), cameras.intrinsics)
        poses_world = camera.camera_to_world(points, cameras.extrinsics)
        shape = [-1, num_aug, self._n_joints]
        return poses, {
            'poses3d': tf.reshape(poses_world, [*shape, 3]),
            'poses2d': tf.reshape(poses2d, [*shape, 2]), **outputs}

    def _plausible_people_graph(self, poses, poses2d, boxes, image_index):
        """Indices of plausible people, by image and descending score, without repetitions."""
        edges, bone_lengths = self.crop_model.joint_edges, self.mean_bone_lengths_mm
        if bone_lengths is None:
            edges, bone_lengths = (), ()
        is_plausible = plausibility.plausible_poses(
            poses, poses2d, boxes, edges, bone_lengths, **self.config.of_function(
                'bone_min_ratio', 'bone_max_ratio', 'bone_tolerance_mm', 'consistency_mm',
                'min_box_overlap'))
        return plausibility.suppress_similar_poses(
            tf.reduce_mean(poses, axis=1), boxes[:, 4], image_index, is_plausible,
            **self.config.of_function('nms_distance_mm', 'nms_similarity', 'max_poses'))


# Depths are raised to this before the division, as in `geometry.camera.project`.
_MIN_DEPTH_MM = 1.0
_PREDICT_ARGUMENTS = (
    'intrinsic_matrix', 'distortion_coeffs', 'extrinsic_matrix', 'world_up_vector',
    'default_fov_degrees', 'internal_batch_size', 'antialias_factor', 'num_aug')
_PREDICT_SPECS = [
    tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec([None, 5]),
    tf.TensorSpec([None], tf.int32), *(
        call_spec.tensor_spec(argument, 'detect_poses_batched')
        for argument in arguments_lib.ARGUMENTS
        if argument.name in _PREDICT_ARGUMENTS)]


def _for_one_image(method_name, batched):
    """The function of a method for one image: a call of the one for several."""
    batched_name = f'{method_name}_batched'

    def function(*values):
        named = _named(method_name, values)
        for argument in arguments_lib.arguments_of(method_name):
            if argument.batching in ('stacked', 'broadcast'):
                named[argument.name] = named[argument.name][tf.newaxis]
        if 'boxes' in named:
            boxes = named['boxes']
            named['boxes'] = tf.RaggedTensor.from_row_splits(
                boxes, tf.stack([0, tf.shape(boxes, tf.int64)[0]]), validate=False)
        people = batched[batched_name](*(
            named[argument.name] for argument in arguments_lib.arguments_of(batched_name)))
        return {name: rows.values for name, rows in people.items()}

    return _method_function(method_name, function)


def _method_function(method_name, function):
    """`tf.function` with the arguments of a method."""
    function.__name__ = method_name
    function.__signature__ = arguments_lib.python_signature(method_name)
    return tf.function(
        function, input_signature=call_spec.tensor_specs(method_name), autograph=False)


def _named(method_name, values):
    """Dict from the names of a method's arguments to their values."""
    arguments = arguments_lib.arguments_of(method_name)
    return {argument.name: value for argument, value in zip(arguments, values)}


def _index_within_image(image_index, n_images):
    """Position of each person among those of the same image; `image_index` is sorted."""
    starts = _row_splits(image_index, n_images)[:-1]
    return tf.range(tf.size(image_index)) - tf.gather(tf.cast(starts, tf.int32), image_index)


def _row_splits(image_index, n_images):
    """Row splits of a ragged tensor whose flat values belong to sorted images."""
    return tf.searchsorted(image_index, tf.range(n_images + 1), out_type=tf.int64)


def _most_confident(scores, image_index, max_per_image):
    """Sorted indices of the highest scores of every image; equal scores keep their order."""
    order = tf.argsort(scores, direction='DESCENDING', stable=True)
    order = tf.gather(order, tf.argsort(tf.gather(image_index, order), stable=True))
    sorted_index = tf.gather(image_index, order)
    rank = tf.range(tf.size(order)) - tf.searchsorted(sorted_index, sorted_index)
    return tf.sort(tf.boolean_mask(order, rank < max_per_image))


def _edge_tensor(edges):
    return tf.reshape(tf.constant(edges, tf.int32), [-1, 2])


def _checked_absolute(crop_model):
    if not getattr(crop_model, 'is_absolute', True):
        raise ValueError(
            '`crop_model` must predict positions in front of the camera, such as Metrabs. '
            f'Received: {type(crop_model).__name__}, which predicts no positions')
    return crop_model


def _checked_bone_lengths(mean_bone_lengths_mm, edges):
    if mean_bone_lengths_mm is None:
        return None
    lengths = tuple(float(length) for length in mean_bone_lengths_mm)
    if len(lengths) != len(edges) or not all(0 < length < math.inf for length in lengths):
        raise ValueError(
            f'`mean_bone_lengths_mm` must hold one positive length for each of the {len(edges)} '
            f'edges. Received: {lengths}')
    return lengths
