"""Requests that a server of models runs before it takes others, since first calls are slow.

TensorFlow Serving reads them from a file of `PredictionLog` messages beside the model. These are
encoded by hand here, so that writing them needs no package of the server.
"""

import pathlib

import numpy as np
import tensorflow as tf

from metro_tf.export import signatures

PATH = 'assets.extra/tf_serving_warmup_requests'
_HEIGHT_PX, _WIDTH_PX = 48, 64
# Somebody is found even in noise, so that the network of the poses runs.
_FIND_SOMEBODY = {
    'num_aug': tf.constant(1), 'detector_threshold': tf.constant(0.0),
    'max_detections': tf.constant(1), 'suppress_implausible_poses': tf.constant(False)}


def write(folder, model_name):
    """Writes one request for every signature.

    Args:
        folder: Path of a SavedModel with the signatures of `signatures`.
        model_name: String, the name that requests give the model.
    """
    path = pathlib.Path(folder) / PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature_name, inputs in requests().items():
            writer.write(_prediction_log(model_name or 'model', signature_name, inputs))


def requests():
    """Dict from the name of each signature to a dict from its inputs to tensors."""
    noise = np.random.default_rng(0).integers(0, 256, [_HEIGHT_PX, _WIDTH_PX, 3]).astype(np.uint8)
    image_bytes = {'image_bytes': tf.io.encode_jpeg(noise)[tf.newaxis]}
    images = {'images': tf.constant(noise[np.newaxis])}
    box = tf.constant([[[0.0, 0.0, _WIDTH_PX, _HEIGHT_PX]]])
    boxes = {'boxes': box, 'n_boxes': tf.constant([1])}
    detect = {**signatures.defaults_of('detect_poses_batched'), **_FIND_SOMEBODY}
    estimate = signatures.defaults_of('estimate_poses_batched')
    return {
        'serving_default': image_bytes,
        'predict_encoded': {
            **image_bytes, **detect, 'ignore_broken_images': tf.constant(False)},
        'predict_images': {**images, **detect},
        'predict_boxes': {**images, **boxes, **estimate},
        'model_info': {'skeleton': tf.constant('')}}


def _prediction_log(model_name, signature_name, inputs):
    """Bytes of a `PredictionLog` with a `PredictLog` with a `PredictRequest`."""
    model_spec = _field(1, model_name.encode()) + _field(3, signature_name.encode())
    request = _field(1, model_spec)
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value.numpy(), value.dtype, value.shape)
        request += _field(2, _field(1, name.encode()) + _field(2, tensor.SerializeToString()))
    return _field(6, _field(1, request))


def _field(number, content):
    """A field of a protocol buffer that holds bytes: text or another message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value):
    low, high = value & 127, value >> 7
    return bytes([low | 128]) + _varint(high) if high else bytes([low])
