"""From a call of one of the estimator's methods to the dense inputs of a signature."""

import io

from PIL import Image
import numpy as np

from metro_tf import arguments as arguments_lib

_NO_COEFFS = 5


def of_call(method_name, positional, named, should_encode):
    """Inputs for a call of one of the four methods.

    Args:
        method_name: One of `arguments.METHOD_NAMES`.
        positional: Sequence of positional arguments.
        named: Dict of named ones.
        should_encode: Whether images are better sent as files than as arrays, where the model
            takes both.

    Returns:
        Tuple of the signature's name, a dict from input names to arrays, and the number of images.
        Files are arrays of bytes of the type object.

    Raises:
        ValueError: If an argument is missing, unknown or does not fit.
    """
    values = _batched(method_name, arguments_lib.bind_arrays(method_name, positional, named))
    options = _options(values)
    images = options.pop('images')
    if 0 in images.shape[1:]:
        raise ValueError(
            f'Images must have at least one pixel. Received: shape={images.shape[1:]}')
    if 'boxes' in options:
        boxes, n_boxes = _dense_boxes(options.pop('boxes'), len(images))
        inputs = {'images': images, 'boxes': boxes, 'n_boxes': n_boxes, **options}
        return 'predict_boxes', inputs, len(images)
    if should_encode:
        files = _bytes_array([_png(image) for image in images])
        return 'predict_encoded', _encoded_inputs(files, options, False), len(images)
    return 'predict_images', {'images': images, **options}, len(images)


def of_files(image_bytes, ignore_broken_images, named):
    """Inputs for encoded images.

    Args:
        image_bytes: Sequence of bytes, the content of image files.
        ignore_broken_images: Whether a broken image has zero people, instead of failing.
        named: Dict of the other arguments, those of `detect_poses_batched` without `images`.

    Returns:
        As `of_call`.

    Raises:
        ValueError: If an argument is unknown or does not fit.
    """
    is_sequence = isinstance(image_bytes, (list, tuple))
    if not is_sequence or not all(isinstance(content, bytes) for content in image_bytes):
        raise ValueError(
            '`image_bytes` must be a list of bytes, the content of image files. '
            f'Received: {type(image_bytes).__name__}')
    if not isinstance(ignore_broken_images, (bool, np.bool_)):
        raise ValueError(
            '`ignore_broken_images` must be True or False. Received: '
            f'ignore_broken_images={ignore_broken_images!r}')
    stand_in = np.zeros([len(image_bytes), 1, 1, 3], np.uint8)
    options = _options(
        arguments_lib.bind_arrays('detect_poses_batched', [], {'images': stand_in, **named}))
    del options['images']
    inputs = _encoded_inputs(_bytes_array(image_bytes), options, ignore_broken_images)
    return 'predict_encoded', inputs, len(image_bytes)


def _batched(method_name, values):
    """Values under the names and with the axes of the method for several images."""
    if arguments_lib.is_batched(method_name):
        return values
    add_axis = {
        'shared': lambda value: value, 'ragged': lambda value: [value],
        'stacked': lambda value: value[np.newaxis], 'broadcast': lambda value: value[np.newaxis]}
    return {
        argument.name_in(f'{method_name}_batched'): add_axis[argument.batching](value)
        for argument, value in zip(arguments_lib.arguments_of(method_name), values.values())}


def _options(values):
    """What a server takes: always averaging, and no axis of size zero, which JSON loses."""
    values = dict(values)
    if not values.pop('average_aug'):
        raise ValueError(
            '`average_aug` must be True, since a server gives averages only. '
            'Received: average_aug=False')
    coeffs = values['distortion_coeffs']
    if coeffs.shape[-1] == 0:
        values['distortion_coeffs'] = np.zeros([*coeffs.shape[:-1], _NO_COEFFS], np.float32)
    return values


def _dense_boxes(rows, n_images):
    """Boxes padded with zeros, at least one per image, and their true number."""
    if len(rows) != n_images:
        raise ValueError(
            f'`boxes` must have one entry per image. Received: {len(rows)} entries for '
            f'{n_images} images')
    n_boxes = np.array([len(row) for row in rows], np.int32)
    boxes = np.zeros([n_images, max(1, n_boxes.max(initial=0)), 4], np.float32)
    for padded, row in zip(boxes, rows):
        padded[:len(row)] = row
    return boxes, n_boxes


def _encoded_inputs(files, options, ignore_broken_images):
    return {
        'image_bytes': files, **options, 'ignore_broken_images': np.asarray(ignore_broken_images)}


def _png(image):
    content = io.BytesIO()
    # The lowest level: the higher ones take far longer than sending a few more bytes.
    Image.fromarray(image).save(content, 'PNG', compress_level=1)
    return content.getvalue()


def _bytes_array(contents):
    array = np.empty(len(contents), object)
    array[:] = contents
    return array
