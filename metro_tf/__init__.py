"""Absolute, metric-scale 3D human pose estimation from single RGB images.

    import metro_tf

    model = metro_tf.load()
    people = model.detect_poses(image)  # uint8 [height, width, 3]
    people['poses3d']  # [n_people, joints, 3], mm in the camera frame: x right, y down, z forward

Names are imported when they are first used, so that the command line answers without TensorFlow.
"""

import importlib

from metro_tf.version import VERSION as __version__

# Public name: module that defines it, or the module itself.
_HOMES = {
    'load': 'metro_tf.export.saved_model',
    'PoseEstimator': 'metro_tf.estimator',
    'EstimatorConfig': 'metro_tf.estimator',
    'HeatmapConfig': 'metro_tf.config',
    'Metrabs': 'metro_tf.models',
    'Metro': 'metro_tf.models',
    'Pose25D': 'metro_tf.models',
    'LatentMetrabs': 'metro_tf.models',
    'MargiPose': 'metro_tf.models',
    'AbsoluteMargiPose': 'metro_tf.models',
    'PersonDetector': 'metro_tf.detection',
    'Skeleton': 'metro_tf.skeleton',
    'crop_people': 'metro_tf.cropping.people',
    'uncrop_poses': 'metro_tf.cropping.people',
    'export': '', 'geometry': '', 'losses': '', 'metrics': '', 'serving': '',
    'skeleton': ''}

__all__ = [
    '__version__', 'load', 'PoseEstimator', 'EstimatorConfig', 'HeatmapConfig', 'Metrabs', 'Metro',
    'Pose25D', 'LatentMetrabs', 'MargiPose', 'AbsoluteMargiPose', 'PersonDetector', 'Skeleton',
    'crop_people', 'uncrop_poses', 'export', 'geometry', 'losses', 'metrics', 'serving',
    'skeleton']


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f'Module metro_tf has no attribute {name!r}')
    home = _HOMES[name]
    if not home:
        return importlib.import_module(f'metro_tf.{name}')
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
