"""Exports: a folder that TensorFlow alone can run, without this package.

An export holds graphs over constants and a few variables with names, not the Python objects that
made them; see `freeze` for why.
"""

import dataclasses
import json

import tensorflow as tf

from metro_tf import crop_network
from metro_tf import estimator as estimator_lib
from metro_tf import releases
from metro_tf import version as version_lib
from metro_tf.detection import person_detector
from metro_tf.export import card as card_lib
from metro_tf.export import folders, freeze, signatures, slimming, warmup

_DETECTOR_SPECS = [
    tf.TensorSpec([None, None, None, 3], tf.uint8, 'images'),
    tf.TensorSpec([], tf.float32, 'threshold'), tf.TensorSpec([], tf.float32, 'nms_iou_threshold'),
    tf.TensorSpec([], tf.bool, 'flip_aug'), tf.TensorSpec([], tf.bool, 'bothflip_aug')]


def save(
        estimator, path, *, model_name='', model_version='', details=None, card=None,
        fold=True, overwrite=False):
    """Writes an estimator as a SavedModel that needs nothing but TensorFlow.

    `tf.saved_model.load(path)` gives an object with the methods `detect_poses`, `estimate_poses`,
    `detect_poses_batched` and `estimate_poses_batched` of `PoseEstimator` and its attributes
    `joint_names`, `joint_edges`, `per_skeleton_joint_names`, `per_skeleton_joint_edges` and
    `per_skeleton_indices`; `crop_model` with `predict_multi`, `input_resolution`, `joint_names`
    and `joint_edges`; and `metadata`, a JSON string. All attributes are tensors or dicts of them.
    The networks alone are `crop_model.network`, the function `predict` of
    `crop_network.CropNetwork`, and, if the detector is a `PersonDetector`, `detector.network`, its
    function of this name, with `detector.input_side_px`.

    Without Python code of ours, TensorFlow alone checks types: it refuses float tensors as images,
    but turns float arrays of NumPy into uint8 silently, so make sure of the type.

    For serving there are the signatures of `signatures`, and requests to warm a server up. Methods
    and signatures give uncertainties if the estimator does.

    The folder appears under its name when it is complete, never half-written.

    Args:
        estimator: `PoseEstimator`.
        path: Folder to write, e.g. `saved_models/default/1`.
        model_name: String for the metadata.
        model_version: String for the metadata.
        details: JSON-compatible dict for the metadata, e.g. scores and training configuration.
        card: Model card for the metadata, see `card.check_card`.
        fold: See `freeze.freeze`.
        overwrite: Whether to replace an existing folder.

    Raises:
        ValueError: If the card is none, or the folder exists and `overwrite` is False.
    """
    card = card_lib.check_card(card)
    with folders.written_whole(path, overwrite) as folder:
        exported = _exported_module(_frozen_estimator(estimator, fold))
        exported.metadata = _variable(json.dumps({
            **_metadata(estimator, model_name, model_version, details), 'card': card}))
        selections = crop_network.JointSelections(
            estimator.crop_model.joint_names, estimator.crop_model.joint_edges)
        tf.saved_model.save(
            exported, str(folder), signatures=signatures.make_signatures(exported, selections))
        slimming.slim(folder)
        warmup.write(folder, model_name)


def load(name_or_path='default'):
    """Loads an export.

    Args:
        name_or_path: Name of a model that comes with the package, optionally with a version
            (`default`, `default/1`); or the path of any export.

    Returns:
        The loaded SavedModel; see `save` for what it has.

    Raises:
        ValueError: If there is no such model, or the folder holds none or a damaged one.
    """
    folder = releases.find(name_or_path)
    try:
        return tf.saved_model.load(str(folder))
    except Exception as error:  # Damage shows in many ways, by errors of many types.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f'`name_or_path` must be a whole SavedModel; a file in it is damaged or missing. '
            f'Received: {folder} ({reason})') from error


def _frozen_estimator(estimator, fold):
    return estimator_lib.PoseEstimator(
        _FrozenCropModel(estimator.crop_model, fold),
        _frozen_detector(estimator.detector, fold),
        mean_bone_lengths_mm=estimator.mean_bone_lengths_mm,
        **dataclasses.asdict(estimator.config))


class _FrozenCropModel:
    def __init__(self, network, fold):
        self.input_resolution = network.input_resolution
        self.joint_names = network.joint_names
        self.joint_edges = network.joint_edges
        self.mirror_mapping = network.mirror_mapping
        self._predict = _frozen_outputs(
            network.predict, list(network.output_shapes), network.tensor_specs(), fold)

    def __call__(self, image, intrinsics):
        return self._predict(image, intrinsics)[0]

    def predict_with_uncertainty(self, image, intrinsics):
        """See `crop_network.CropNetwork`; for networks that predict uncertainties."""
        return self._predict(image, intrinsics)


def _frozen_detector(detector, fold):
    if not isinstance(detector, person_detector.PersonDetector):
        return None if detector is None else _FrozenDetector(detector, fold)
    return person_detector.PersonDetector(
        _FrozenCenterNet(detector.network, fold), detector.input_side_px)


class _FrozenCenterNet:
    def __init__(self, network, fold):
        self._names = sorted(network.get_concrete_function().structured_outputs)
        self._predict = _frozen_outputs(
            network, self._names, [person_detector.NETWORK_SPEC], fold)

    def __call__(self, image, training):
        return dict(zip(self._names, self._predict(image)))


def _frozen_outputs(network, names, input_specs, fold):
    """A frozen network with a list of the named outputs of one that gives a dict."""
    def outputs(*tensors):
        results = network(*tensors)
        return [results[name] for name in names]

    return freeze.freeze(outputs, input_specs, fold)


class _FrozenDetector:
    def __init__(self, detector, fold):
        def predict(*arguments):
            """The detector's boxes as values and row splits, since a graph returns tensors."""
            boxes = detector.predict_multi_image(*arguments)
            return [boxes.values, tf.cast(boxes.row_splits, tf.int64)]

        self._predict = freeze.freeze(predict, _DETECTOR_SPECS, fold)

    def predict_multi_image(
            self, images, threshold, nms_iou_threshold, flip_aug=False, bothflip_aug=False):
        """See `detection.Detector`."""
        arguments = (images, threshold, nms_iou_threshold, flip_aug, bothflip_aug)
        values, row_splits = self._predict(*(
            tf.convert_to_tensor(value, spec.dtype)
            for value, spec in zip(arguments, _DETECTOR_SPECS)))
        return tf.RaggedTensor.from_row_splits(values, row_splits, validate=False)


def _exported_module(estimator):
    """Functions and variables with the names of the API, and nothing else."""
    module = tf.Module(name='metro_tf_export')
    for name, function in estimator.functions.items():
        setattr(module, name, function)
    module.joint_names = _variable(estimator.joint_names)
    module.joint_edges = _variable(estimator.joint_edges)
    for name in ('per_skeleton_joint_names', 'per_skeleton_joint_edges', 'per_skeleton_indices'):
        values = getattr(estimator, name)
        setattr(module, name, {skeleton: _variable(value) for skeleton, value in values.items()})
    module.crop_model = tf.Module(name='crop_model')
    module.crop_model.predict_multi = _predict_multi(estimator.crop_model)
    module.crop_model.input_resolution = _variable(estimator.crop_model.input_resolution)
    module.crop_model.joint_names = _variable(estimator.joint_names)
    module.crop_model.joint_edges = _variable(estimator.joint_edges)
    module.crop_model.network = estimator.crop_model.predict
    detector = estimator.detector
    if isinstance(detector, person_detector.PersonDetector):
        module.detector = tf.Module(name='detector')
        module.detector.network = detector.network
        module.detector.input_side_px = _variable(detector.input_side_px)
    return module


def _predict_multi(network):
    @tf.function(autograph=False)
    def predict_multi(image, intrinsic_matrix):
        """See `CropNetwork.predict_multi`; without its checks."""
        return network.predict(crop_network.to_unit_range(image), intrinsic_matrix)['poses']

    # The first one is tried first for arguments that are not tensors.
    for dtype in crop_network.IMAGE_DTYPES:
        predict_multi.get_concrete_function(*network.tensor_specs(dtype))
    return predict_multi


def _metadata(estimator, model_name, model_version, details):
    return {
        'model_name': model_name, 'model_version': model_version,
        'library': 'metro_tf', 'library_version': version_lib.VERSION,
        'tensorflow_version': tf.__version__,
        'input_resolution': estimator.crop_model.input_resolution,
        'joint_names': list(estimator.crop_model.joint_names),
        'joint_edges': [list(edge) for edge in estimator.crop_model.joint_edges],
        'skeletons': sorted(estimator.per_skeleton_joint_names),
        'has_detector': estimator.detector is not None,
        'mirror_mapping': list(estimator.crop_model.mirror_mapping),
        'mean_bone_lengths_mm': estimator.mean_bone_lengths_mm,
        'fingerprint': card_lib.fingerprint(estimator),
        'config': dataclasses.asdict(estimator.config), 'details': details or {}}


def _variable(value):
    return tf.Variable(value, trainable=False)
