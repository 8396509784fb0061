"""Exports: a folder that TensorFlow alone can run, without this package.

An export holds graphs over constants and a few variables with names, not the Python objects that
made them; see `freeze` for why.
"""

import dataclasses
import json
import pathlib
import shutil
import tempfile

import tensorflow as tf

from metro_tf import crop_network
from metro_tf import estimator as estimator_lib
from metro_tf import version as version_lib
from metro_tf.export import freeze, slimming

_DETECTOR_SPECS = [
    tf.TensorSpec([None, None, None, 3], tf.uint8, 'images'),
    tf.TensorSpec([], tf.float32, 'threshold'), tf.TensorSpec([], tf.float32, 'nms_iou_threshold'),
    tf.TensorSpec([], tf.bool, 'flip_aug'), tf.TensorSpec([], tf.bool, 'bothflip_aug')]
_PACKAGE_DIR = pathlib.Path(__file__).resolve().parent.parent


def save(
        estimator, path, *, model_name='', model_version='', details=None, fold=True,
        overwrite=False):
    """Writes an estimator as a SavedModel that needs nothing but TensorFlow.

    `tf.saved_model.load(path)` gives an object with the methods `detect_poses`, `estimate_poses`,
    `detect_poses_batched` and `estimate_poses_batched` of `PoseEstimator` and its attributes
    `joint_names`, `joint_edges`, `per_skeleton_joint_names`, `per_skeleton_joint_edges` and
    `per_skeleton_indices`; `crop_model` with `predict_multi`, `input_resolution`, `joint_names`
    and `joint_edges`; and `metadata`, a JSON string. All attributes are tensors or dicts of them.

    Without Python code of ours, TensorFlow alone checks types: it refuses float tensors as images,
    but turns float arrays of NumPy into uint8 silently, so make sure of the type.

    For serving there are two signatures with dense arguments and results, padded with zeros after
    the `n_people` first of each image: `serving_default` (images) and `estimate_poses` (images,
    boxes, n_boxes).

    Methods and signatures give uncertainties if the estimator does.

    The folder appears under its name when it is complete, never half-written.

    Args:
        estimator: `PoseEstimator`.
        path: Folder to write, e.g. `saved_models/default/1`.
        model_name: String for the metadata.
        model_version: String for the metadata.
        details: JSON-compatible dict for the metadata, e.g. scores and training configuration.
        fold: See `freeze.freeze`.
        overwrite: Whether to replace an existing folder.

    Raises:
        ValueError: If the folder exists and `overwrite` is False.
    """
    path = pathlib.Path(path)
    if path.exists() and not overwrite:
        raise ValueError(f'`path` must not exist unless `overwrite` is set. Received: {path}')
    exported = _exported_module(_frozen_estimator(estimator, fold))
    exported.metadata = _variable(json.dumps(
        _metadata(estimator, model_name, model_version, details), sort_keys=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
    try:
        tf.saved_model.save(exported, str(temporary / 'new'), signatures=_signatures(exported))
        slimming.slim(temporary / 'new')
        if path.exists():
            path.rename(temporary / 'old')
        (temporary / 'new').rename(path)
    finally:
        shutil.rmtree(temporary)


def load(name_or_path='default'):
    """Loads an export.

    Args:
        name_or_path: Name of a model that comes with the package, optionally with a version
            (`default`, `default/1`); or the path of any export.

    Returns:
        The loaded SavedModel; see `save` for what it has.

    Raises:
        ValueError: If there is no such model, or the folder holds none.
    """
    return tf.saved_model.load(str(find(name_or_path)))


def find(name_or_path='default'):
    """Path of an export, without loading it; arguments and errors are those of `load`.

    Returns:
        `pathlib.Path` of the folder.
    """
    named = _named_models()
    name = str(name_or_path)
    if name in named:
        return named[name]
    path = pathlib.Path(name_or_path)
    if (path / 'saved_model.pb').is_file():
        return path
    if path.exists():
        raise ValueError(
            '`name_or_path` must be the folder of a SavedModel, which has a file saved_model.pb. '
            f'Received: {path}')
    raise ValueError(
        f'`name_or_path` must be the path of a SavedModel or one of {sorted(named)}. '
        f'Received: {name!r}')


def _named_models():
    """Dict from `name/version`, and `name` for the highest version, to folder."""
    models = {}
    # The copy in an installed package goes before the one in a checkout.
    for folder in (_PACKAGE_DIR.parent / 'saved_models', _PACKAGE_DIR / 'saved_models'):
        versions = sorted(
            (file.parent for file in folder.glob('*/*/saved_model.pb')), key=_version_key)
        for version in versions:
            models[version.parent.name] = version
            models[f'{version.parent.name}/{version.name}'] = version
    return models


def _version_key(folder):
    """Sorts `10` behind `9` and `1.10` behind `1.9`."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part)
            for part in folder.name.split('.')]


def _frozen_estimator(estimator, fold):
    return estimator_lib.PoseEstimator(
        _FrozenCropModel(estimator.crop_model, fold),
        None if estimator.detector is None else _FrozenDetector(estimator.detector, fold),
        mean_bone_lengths_mm=estimator.mean_bone_lengths_mm,
        **dataclasses.asdict(estimator.config))


class _FrozenCropModel:
    def __init__(self, network, fold):
        self.input_resolution = network.input_resolution
        self.joint_names = network.joint_names
        self.joint_edges = network.joint_edges
        self.mirror_mapping = network.mirror_mapping
        self._predict = freeze.freeze(
            lambda image, intrinsics: [
                network.predict(image, intrinsics)[name] for name in network.output_shapes],
            network.tensor_specs(), fold)

    def __call__(self, image, intrinsics):
        return self._predict(image, intrinsics)[0]

    def predict_with_uncertainty(self, image, intrinsics):
        """See `crop_network.CropNetwork`; for networks that predict uncertainties."""
        return self._predict(image, intrinsics)


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


def _signatures(module):
    images_spec = tf.TensorSpec([None, None, None, 3], tf.uint8, 'images')
    boxes_spec = tf.TensorSpec([None, None, 4], tf.float32, 'boxes')

    @tf.function(input_signature=[images_spec], autograph=False)
    def detect(images):
        """`detect_poses_batched` with default arguments and dense results."""
        return _dense(module.detect_poses_batched(images))

    @tf.function(
        input_signature=[images_spec, boxes_spec, tf.TensorSpec([None], tf.int32, 'n_boxes')],
        autograph=False)
    def estimate(images, boxes, n_boxes):
        """`estimate_poses_batched` with default arguments and dense boxes and results."""
        boxes = tf.RaggedTensor.from_tensor(boxes, lengths=tf.cast(n_boxes, tf.int64))
        return _dense(module.estimate_poses_batched(images, boxes))

    return {'serving_default': detect, 'estimate_poses': estimate}


def _dense(people):
    n_people = tf.cast(people['poses3d'].row_lengths(), tf.int32)
    return {**{name: value.to_tensor() for name, value in people.items()}, 'n_people': n_people}


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
        'mean_bone_lengths_mm': estimator.mean_bone_lengths_mm,
        'config': dataclasses.asdict(estimator.config), 'details': details or {}}


def _variable(value):
    return tf.Variable(value, trainable=False)
