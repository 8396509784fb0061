"""The networks of an export, for conversion into other formats."""

import importlib
import json
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from metro_tf.export import saved_model


class LoadedNetworks(NamedTuple):
    """An export with its networks as functions over constants, without calls of others.

    Args:
        model: What `saved_model.load` gives.
        metadata: Dict, what it says of itself.
        crop_model: `tf.function` from `image` float32 `[n, S, S, 3]` and `intrinsic_matrix` float32
            `[n, 3, 3]`, n being any, to a dict of `poses` and, if the model tells it,
            `uncertainty`.
        detector: `tf.function` from `image` float32 `[n, h, w, 3]` to a dict of grids. None
            without a detector, and with one that is no `PersonDetector`.
    """
    model: Any
    metadata: dict
    crop_model: Any
    detector: Any


def load(name_or_path):
    """Loads an export for conversion.

    Args:
        name_or_path: See `saved_model.load`.

    Returns:
        `LoadedNetworks`.

    Raises:
        ValueError: If it cannot be loaded, or has no crop network as a function of its own.
    """
    model = saved_model.load(name_or_path)
    if not hasattr(model.crop_model, 'network'):
        raise ValueError(
            '`name_or_path` must be an export with the function `crop_model.network`, which those '
            f'of earlier versions lack. Received: {name_or_path}')
    metadata = json.loads(model.metadata.numpy())
    side_px = metadata['input_resolution']
    crop_model = _over_constants(model.crop_model.network, [
        tf.TensorSpec([None, side_px, side_px, 3], name='image'),
        tf.TensorSpec([None, 3, 3], name='intrinsic_matrix')])
    detector = _over_constants(
        model.detector.network, [tf.TensorSpec([None, None, None, 3], name='image')]
    ) if hasattr(model, 'detector') else None
    return LoadedNetworks(model, metadata, crop_model, detector)


def check_packages(*names):
    """Raises a `ValueError` that tells how to install a package which cannot be imported."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(
                f'The package {name} is missing. Install it with '
                "`pip install 'metro-tf[export]'`.") from error


def _over_constants(function, specs):
    """`tf.function` without variables that gives the dict which `function` gives."""
    concrete = function.get_concrete_function(*specs)
    frozen = convert_to_constants.convert_variables_to_constants_v2(
        concrete, aggressive_inlining=True)
    names = sorted(concrete.structured_outputs)

    def network(*inputs):
        """The operations themselves, and not a call, so that all shapes are inferred anew."""
        fed = {tensor.name: value for tensor, value in zip(frozen.inputs, inputs)}
        outputs = tf.graph_util.import_graph_def(
            frozen.graph.as_graph_def(), fed, [tensor.name for tensor in frozen.outputs], name='')
        return dict(zip(names, outputs))

    return tf.function(network, input_signature=specs, autograph=False)
