"""A small SavedModel with the signatures of an export, whose results tell what it was given.

An image has as many people as its first value tells, 0 to 255. Person p of an image has, among
others, `poses3d` (default_fov_degrees + p, focal length, num_aug) for each joint.
"""

import inspect
import io
import json

from PIL import Image
import numpy as np
import tensorflow as tf

from metro_tf import arguments as arguments_lib

JOINT_NAMES = ('pelv', 'neck', 'htop')
JOINT_EDGES = ((0, 1), (1, 2))
METADATA = {
    'model_name': 'small', 'model_version': '3', 'joint_names': list(JOINT_NAMES),
    'skeletons': ['pair']}


def write(folder, **biases_mm):
    """Writes SavedModels into folders; each adds its bias to all coordinates in space.

    Args:
        folder: Folder for the folders.
        **biases_mm: `v1=5.0` is the bias of version 1.
    """
    module = tf.Module()
    module.bias_mm = bias_mm = tf.Variable(0.0)
    module.functions = {
        'serving_default': _function('serving_default', bias_mm, ['image_bytes']),
        'predict_encoded': _function(
            'predict_encoded', bias_mm,
            ['image_bytes', *_options('detect_poses_batched'), 'ignore_broken_images']),
        'predict_images': _function(
            'predict_images', bias_mm, ['images', *_options('detect_poses_batched')]),
        'predict_boxes': _function(
            'predict_boxes', bias_mm,
            ['images', 'boxes', 'n_boxes', *_options('estimate_poses_batched')]),
        'model_info': _model_info()}
    for name, value in biases_mm.items():
        bias_mm.assign(value)
        tf.saved_model.save(
            module, str(folder / name.removeprefix('v')), signatures=module.functions)


def image(n_people, height=4, width=6):
    """uint8 array of an image with so many people."""
    pixels = np.full([height, width, 3], 7, np.uint8)
    pixels[0, 0, 0] = n_people
    return pixels


def png(n_people, **size):
    """Bytes of a PNG file of `image`."""
    content = io.BytesIO()
    Image.fromarray(image(n_people, **size)).save(content, 'PNG')
    return content.getvalue()


def _options(method_name):
    return {
        argument.name_in(method_name): argument
        for argument in arguments_lib.arguments_of(method_name)
        if argument.name not in ('image', 'boxes', 'average_aug')}


_REQUIRED_SPECS = {
    'image_bytes': tf.TensorSpec([None], tf.string, 'image_bytes'),
    'images': tf.TensorSpec([None, None, None, 3], tf.uint8, 'images'),
    'boxes': tf.TensorSpec([None, None, 4], tf.float32, 'boxes'),
    'n_boxes': tf.TensorSpec([None], tf.int32, 'n_boxes')}


def _function(signature_name, bias_mm, names):
    method_name = 'estimate_poses_batched' if 'boxes' in names else 'detect_poses_batched'
    options = _options(method_name)
    defaults = {
        name: tf.constant(argument.default_in(method_name), argument.dtype)
        for name, argument in options.items()}
    specs = {
        **_REQUIRED_SPECS, 'ignore_broken_images': tf.TensorSpec([], tf.bool),
        **{name: tf.TensorSpec(argument.shape_in(method_name), argument.dtype, name)
           for name, argument in options.items()}}
    own_defaults = {**defaults, 'ignore_broken_images': tf.constant(False)}

    def function(*values):
        return _people({**own_defaults, **dict(zip(names, values))}, bias_mm)

    function.__name__ = signature_name
    function.__signature__ = inspect.Signature([
        inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=own_defaults.get(name, inspect.Parameter.empty)) for name in names])
    return tf.function(
        function, autograph=False, input_signature=[specs[name] for name in names])


def _people(given, bias_mm):
    counts, sizes = _counts_and_sizes(given)
    most_people, n_images = tf.reduce_max(counts), tf.shape(counts)[0]
    most_people = tf.maximum(most_people, 0)
    n_joints = _count_joints(given['skeleton'])
    number = tf.cast(tf.range(most_people), tf.float32)[tf.newaxis]
    is_there = tf.cast(number < tf.cast(counts, tf.float32)[:, tf.newaxis], tf.float32)

    def per_person(*values):
        """Values per image, person or all, as `[n_images, most_people, values]`."""
        values = [tf.broadcast_to(tf.cast(value, tf.float32), [n_images, most_people])
                  for value in values]
        return tf.stack(values, axis=-1) * is_there[..., tf.newaxis]

    def for_all_joints(values):
        return tf.repeat(values[:, :, tf.newaxis], n_joints, axis=2)

    num_aug = tf.cast(given['num_aug'], tf.float32)
    poses3d = per_person(
        bias_mm + given['default_fov_degrees'] + number,
        bias_mm + given['intrinsic_matrix'][:, :1, 0], bias_mm + num_aug)
    results = {
        'poses3d': for_all_joints(poses3d),
        'poses2d': for_all_joints(per_person(
            given['suppress_implausible_poses'], given['distortion_coeffs'][:, :1])),
        'detection_indices': tf.cast(per_person(number)[..., 0], tf.int32),
        'uncertainty': for_all_joints(per_person(given['extrinsic_matrix'][:, 2, 3:]))[..., 0],
        'n_people': counts}
    if 'boxes' in given:
        # The boxes come back as the first two coordinates in the image.
        results['poses2d'] = for_all_joints(given['boxes'][:, :most_people, :2])
    else:
        results['boxes'] = per_person(
            number, sizes[:, 1:], sizes[:, :1], given['max_detections'],
            given['detector_threshold'])
    return results


def _counts_and_sizes(given):
    if 'n_boxes' in given:
        sizes = tf.repeat(tf.shape(given['images'])[tf.newaxis, 1:3], tf.size(given['n_boxes']), 0)
        return tf.identity(given['n_boxes']), sizes
    if 'images' in given:
        images = given['images']
        sizes = tf.repeat(tf.shape(images)[tf.newaxis, 1:3], tf.shape(images)[0], axis=0)
        return tf.cast(images[:, 0, 0, 0], tf.int32), sizes

    def look_at(content):
        def decode():
            decoded = tf.io.decode_image(content, channels=3, expand_animations=False)
            return tf.cast(decoded[0, 0, 0], tf.int32), tf.shape(decoded)[:2]
        is_ignored = given['ignore_broken_images'] & tf.equal(tf.strings.length(content), 0)
        return tf.cond(is_ignored, lambda: (tf.constant(0), tf.constant([0, 0])), decode)

    return tf.map_fn(look_at, given['image_bytes'], fn_output_signature=(
        tf.TensorSpec([], tf.int32), tf.TensorSpec([2], tf.int32)))


def _count_joints(skeleton):
    is_known = tf.debugging.Assert(
        tf.reduce_any(tf.equal(skeleton, ['', 'pair'])), ['`skeleton` is unknown:', skeleton])
    with tf.control_dependencies([is_known]):
        return tf.where(tf.equal(skeleton, 'pair'), 2, len(JOINT_NAMES))


def _model_info():
    @tf.function(input_signature=[tf.TensorSpec([], tf.string, 'skeleton')], autograph=False)
    def model_info(skeleton):
        n_joints = _count_joints(skeleton)
        return {
            'joint_names': tf.constant(JOINT_NAMES)[:n_joints],
            'joint_edges': tf.constant(JOINT_EDGES, tf.int32)[:n_joints - 1],
            'metadata': tf.constant(json.dumps(METADATA))}
    return model_info
