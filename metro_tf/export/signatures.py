"""Signatures for serving: dense, named tensors in and out, of one graph with the methods.

    serving_default  image_bytes [N]
    predict_encoded  image_bytes [N], options, ignore_broken_images
    predict_images   images [N, H, W, 3], options
    predict_boxes    images [N, H, W, 3], boxes [N, M, 4], n_boxes [N], options
    model_info       skeleton

Options are the arguments of `detect_poses_batched`, in `predict_boxes` of
`estimate_poses_batched`, without `average_aug`: results are always averaged. They may be left
out where the runtime knows defaults. Results are `boxes` [N, M, 5] (not of `predict_boxes`),
`poses3d` [N, M, J, 3], `poses2d` [N, M, J, 2], `detection_indices` [N, M], `uncertainty` [N, M, J]
of an estimator that gives it, and `n_people` [N]: zeros stand behind the first `n_people`.
"""

import inspect

import numpy as np
import tensorflow as tf

from metro_tf import arguments, calibration, call_spec
from metro_tf.export import encoded_images

NAMES = ('serving_default', 'predict_encoded', 'predict_images', 'predict_boxes', 'model_info')
_DETECT, _ESTIMATE = 'detect_poses_batched', 'estimate_poses_batched'
_CAMERA_NAMES = tuple(
    argument.name for argument in arguments.ARGUMENTS if argument.batching == 'broadcast')
_BYTES_SPEC = tf.TensorSpec([None], tf.string, 'image_bytes')
_IMAGES_SPEC = tf.TensorSpec([None, None, None, 3], tf.uint8, 'images')
_BOXES_SPECS = (
    tf.TensorSpec([None, None, 4], tf.float32, 'boxes'), tf.TensorSpec([None], tf.int32, 'n_boxes'))


# Of each person; averaged, since the shapes of a signature's results should be known.
_RESULT_SHAPES = {
    'boxes': (5,), 'poses3d': (None, 3), 'poses2d': (None, 2), 'detection_indices': (),
    'uncertainty': (None,)}


def options_of(method_name):
    """The arguments of a batched method that its signature takes as options.

    Returns:
        Tuple of `arguments.Argument`.
    """
    return tuple(argument for argument in arguments.arguments_of(method_name)
                 if argument.name not in ('image', 'boxes', 'average_aug'))


def defaults_of(method_name):
    """Dict from the names of these options to tensors of their defaults."""
    return {
        argument.name: tf.constant(argument.default_in(method_name), argument.dtype)
        for argument in options_of(method_name)}


def make_signatures(module, selections):
    """The signatures of an export.

    Args:
        module: Object with the `tf.function`s `detect_poses_batched` and `estimate_poses_batched`
            and the string variable `metadata`.
        selections: `crop_network.JointSelections` of the model.

    Returns:
        Dict from the names above to `tf.function`s.
    """
    encoded = _predict_encoded(module.detect_poses_batched)
    return {
        'serving_default': _serving_default(encoded), 'predict_encoded': encoded,
        'predict_images': _predict_images(module.detect_poses_batched),
        'predict_boxes': _predict_boxes(module.estimate_poses_batched),
        'model_info': _model_info(module.metadata, selections)}


def _serving_default(encoded):
    @tf.function(input_signature=[_BYTES_SPEC], autograph=False)
    def serving_default(image_bytes):
        """`predict_encoded` with the defaults of all options."""
        return encoded(image_bytes)

    return serving_default


def _predict_encoded(detect):
    def predict_encoded(image_bytes, ignore_broken_images, **options):
        """`detect` for images of any sizes."""
        images = encoded_images.DecodedImages(image_bytes)
        checks = images.check(ignore_broken_images) + tuple(
            calibration.check_count(name, options[name], tf.size(image_bytes))
            for name in _CAMERA_NAMES)
        with tf.control_dependencies(checks):
            sizes = tf.identity(images.sizes)
        return _padded(*_by_size(detect, images, sizes, options), tf.size(image_bytes))

    return _function(predict_encoded, [_BYTES_SPEC], _DETECT, ignore_broken_images=False)


def _predict_images(detect):
    def predict_images(images, **options):
        """`detect` with dense results."""
        return _dense(detect(images, average_aug=True, **options))

    return _function(predict_images, [_IMAGES_SPEC], _DETECT)


def _predict_boxes(estimate):
    def predict_boxes(images, boxes, n_boxes, **options):
        """`estimate` with dense boxes and results."""
        check = calibration.require(
            tf.reduce_all((n_boxes >= 0) & (n_boxes <= tf.shape(boxes)[1])),
            '`n_boxes` must be between 0 and the number of boxes given per image.', [n_boxes])
        with tf.control_dependencies([check]):
            lengths = tf.cast(n_boxes, tf.int64)
        boxes = tf.RaggedTensor.from_tensor(boxes, lengths=lengths)
        return _dense(estimate(images, boxes, average_aug=True, **options))

    return _function(predict_boxes, [_IMAGES_SPEC, *_BOXES_SPECS], _ESTIMATE)


def _function(python_function, specs, method_name, **more_defaults):
    """`tf.function` with required arguments, the options of a method and further ones."""
    options = options_of(method_name)
    defaults = {**defaults_of(method_name), **{
        name: tf.constant(value) for name, value in more_defaults.items()}}
    specs = [
        *specs, *(call_spec.tensor_spec(option, method_name) for option in options),
        *(tf.TensorSpec([], defaults[name].dtype, name) for name in more_defaults)]

    def function(*values):
        return python_function(**{spec.name: value for spec, value in zip(specs, values)})

    function.__name__ = python_function.__name__
    function.__signature__ = inspect.Signature([
        inspect.Parameter(
            spec.name, inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=defaults.get(spec.name, arguments.REQUIRED)) for spec in specs])
    return tf.function(function, input_signature=specs, autograph=False)


def _model_info(metadata, selections):
    skeletons = [selections.skeletons[name] for name in selections.names]
    joint_names, n_joints = _padded_rows([skeleton.joint_names for skeleton in skeletons], [], '')
    joint_edges, n_edges = _padded_rows([skeleton.edges for skeleton in skeletons], [2], 0)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, 'skeleton')], autograph=False)
    def model_info(skeleton):
        """Joints of a convention, and the metadata."""
        i_skeleton = tf.argmax(_is_known(selections, skeleton), output_type=tf.int32)
        return {
            'joint_names': tf.constant(joint_names)[i_skeleton, :tf.constant(n_joints)[i_skeleton]],
            'joint_edges': tf.constant(joint_edges)[i_skeleton, :tf.constant(n_edges)[i_skeleton]],
            'metadata': tf.identity(metadata)}

    return model_info


def _is_known(selections, skeleton):
    """Which of the conventions is asked for; fails if none is."""
    matches = selections.matches(skeleton)
    check = calibration.require(
        tf.reduce_any(matches),
        f'`skeleton` must be empty or one of {sorted(filter(None, selections.names))}.',
        [skeleton])
    with tf.control_dependencies([check]):
        return tf.identity(matches)


def _padded_rows(rows, tail_shape, padding):
    """Array `[rows, longest, ...]` of lists, and their lengths."""
    lengths = np.array([len(row) for row in rows], np.int32)
    dtype = np.int32 if padding == 0 else object
    padded = np.full([len(rows), max(lengths.max(), 1), *tail_shape], padding, dtype)
    for target, row in zip(padded, rows):
        target[:len(row)] = np.reshape(row, [len(row), *tail_shape])
    return padded, lengths


def _by_size(detect, images, sizes, options):
    """Calls `detect` for the images of each size together.

    Returns:
        Dict of results, one row per person, and two int32 tensors: the image of each and the
        number within the image.
    """
    whole = tf.cast(tf.where(sizes[:, 0] > 0)[:, 0], tf.int32)
    sizes = tf.cast(tf.gather(sizes, whole), tf.int64)
    kinds, i_kind = tf.unique(sizes[:, 0] * 2 ** 32 + sizes[:, 1])
    # Once even without any image: the options are checked, and results get their shapes.
    n_calls = tf.maximum(tf.size(kinds), 1)

    def detect_next(i_call, results):
        """Adds the people in the images of the next size."""
        members = tf.boolean_mask(whole, tf.equal(i_kind, i_call))
        people = detect(
            images.stack(members), average_aug=True, **_options_for(members, options))
        rows = people['poses3d']
        i_member = tf.cast(rows.value_rowids(), tf.int32)
        starts = tf.gather(tf.cast(rows.row_starts(), tf.int32), i_member)
        columns = {
            **{name: values.values for name, values in people.items()},
            'i_image': tf.gather(members, i_member),
            'i_person': tf.range(tf.size(i_member)) - starts}
        return i_call + 1, {
            name: results[name].write(i_call, columns[name]) for name in results}

    arrays = {
        name: tf.TensorArray(dtype, n_calls, infer_shape=False, element_shape=[None, *tail])
        for name, (dtype, tail) in _columns(detect).items()}
    _, arrays = tf.while_loop(
        lambda i_call, results: i_call < n_calls, detect_next, (0, arrays), parallel_iterations=1)
    results = {name: array.concat() for name, array in arrays.items()}
    return results, results.pop('i_image'), results.pop('i_person')


def _columns(detect):
    """Types and shapes of the results per person, and of the two indices."""
    outputs = detect.get_concrete_function().structured_outputs
    index = tf.int32, ()
    return {**{name: (spec.dtype, _RESULT_SHAPES[name]) for name, spec in outputs.items()},
            'i_image': index, 'i_person': index}


def _options_for(members, options):
    """The options of some images."""
    cameras = {
        name: calibration.gather_broadcast(options[name], members) for name in _CAMERA_NAMES}
    return {**options, **cameras}


def _padded(people, i_image, i_person, n_images):
    """Dense results from rows in any order."""
    n_people = tf.math.unsorted_segment_sum(tf.ones_like(i_image), i_image, n_images)
    most_people = tf.maximum(tf.reduce_max(n_people), 0)
    indices = tf.stack([i_image, i_person], axis=1)
    return {
        **{name: tf.scatter_nd(indices, values, tf.concat(
            [[n_images, most_people], tf.shape(values)[1:]], axis=0))
           for name, values in people.items()},
        'n_people': n_people}


def _dense(people):
    n_people = tf.cast(people['poses3d'].row_lengths(), tf.int32)
    return {
        **{name: tf.ensure_shape(rows.to_tensor(), [None, None, *_RESULT_SHAPES[name]])
           for name, rows in people.items()},
        'n_people': n_people}
