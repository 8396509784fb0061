"""Calls are bound to the table, with NumPy alone."""

import subprocess
import sys

import numpy as np
import pytest

from metro_tf import arguments

IMAGE = np.zeros([4, 6, 3], np.uint8)
BOX = (1.0, 2.0, 3.0, 4.0)


def test_needs_no_tensorflow():
    script = 'import sys; from metro_tf import arguments; print("tensorflow" in sys.modules)'
    output = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == 'False'


@pytest.mark.parametrize('method_name, names, shape', [
    ('detect_poses', ('image', 'intrinsic_matrix'), (3, 3)),
    ('estimate_poses_batched', ('images', 'boxes'), (None, None, 4))])
def test_names_and_shapes_of_a_method(method_name, names, shape):
    some = arguments.arguments_of(method_name)[:2]
    assert tuple(argument.name_in(method_name) for argument in some) == names
    assert some[1].shape_in(method_name) == shape


def test_defaults_differ_between_methods():
    by_name = {argument.name: argument for argument in arguments.ARGUMENTS}
    suppress = by_name['suppress_implausible_poses']
    assert suppress.default_in('detect_poses') is True
    assert suppress.default_in('estimate_poses') is False
    coeffs = by_name['distortion_coeffs']
    assert coeffs.default_in('detect_poses') == (0.0,) * 5
    assert coeffs.default_in('detect_poses_batched') == ((0.0,) * 5,)


def test_python_signature_and_documentation():
    signature = arguments.python_signature('estimate_poses')
    assert list(signature.parameters)[:2] == ['image', 'boxes']
    assert signature.parameters['boxes'].default is arguments.REQUIRED
    assert signature.parameters['num_aug'].default == 5
    text = arguments.documentation('estimate_poses_batched', 'Summary.', 'Returns:\n    Dict.')
    assert text.startswith('Summary.\n\nArgs:\n    images: uint8 (None, None, None, 3).')
    assert '    num_aug: int32 (). Test-time augmentations per person. Default: 5.' in text
    assert text.endswith('\n\nReturns:\n    Dict.')


def test_arrays_of_a_call():
    bound = arguments.bind_arrays('detect_poses', [IMAGE], {
        'intrinsic_matrix': np.eye(3), 'num_aug': np.int64(3), 'default_fov_degrees': 60,
        'skeleton': b'coco_17'})
    assert list(bound)[:2] == ['image', 'intrinsic_matrix']
    assert bound['image'] is IMAGE
    assert bound['intrinsic_matrix'].dtype == np.float32
    assert (bound['num_aug'].dtype, int(bound['num_aug'])) == (np.int32, 3)
    assert float(bound['default_fov_degrees']) == 60
    assert bound['skeleton'].item() == 'coco_17'
    assert bound['max_detections'] == -1 and bound['average_aug'].dtype == bool


@pytest.mark.parametrize('boxes', [
    [[BOX], []], [np.array([BOX]), np.zeros([0, 4])], [[list(BOX)], np.zeros([0])]])
def test_boxes_of_a_batch_are_an_array_per_image(boxes):
    rows = arguments.bind_arrays(
        'estimate_poses_batched', [np.stack([IMAGE] * 2), boxes], {})['boxes']
    assert [row.shape for row in rows] == [(1, 4), (0, 4)]
    np.testing.assert_array_equal(rows[0][0], np.float32(BOX))


def test_dense_boxes_of_a_batch():
    rows = arguments.bind_arrays(
        'estimate_poses_batched', [np.stack([IMAGE] * 2), np.ones([2, 3, 4])], {})['boxes']
    assert [(row.shape, row.dtype) for row in rows] == [((3, 4), np.float32)] * 2


@pytest.mark.parametrize('named, message', [
    ({'image': IMAGE / 255}, r'`image` must be uint8 with shape \(None, None, 3\). '
     r'Received: float64 with shape \(4, 6, 3\)'),
    ({'image': IMAGE[0]}, r'`image` must be uint8 .* Received: uint8 with shape \(6, 3\)'),
    ({'boxes': [[1, 2, 3]]}, r'`boxes` must be float32 .* Received: float32 with shape \(1, 3\)'),
    ({'boxes': [[1, 2, 3], [1]]}, '`boxes` must be float32 .* Received: list with shape that is'),
    ({'boxes': 'all'}, '`boxes` must be float32'),
    ({'num_aug': 2.5}, r'`num_aug` must be int32 with shape \(\). Received: float with shape'),
    ({'num_aug': True}, '`num_aug` must be int32'),
    ({'average_aug': 1}, '`average_aug` must be bool'),
    ({'skeleton': 17}, r'`skeleton` must be string with shape \(\). Received: int'),
    ({'extrinsic_matrix': np.eye(3)}, r'`extrinsic_matrix` must be float32 with shape \(4, 4\)'),
    ({'numaug': 1}, '`estimate_poses` takes the arguments .*matrix.* Received: .*numaug')])
def test_bad_arguments_are_named(named, message):
    with pytest.raises(ValueError, match=message):
        arguments.bind_arrays('estimate_poses', [], {'image': IMAGE, 'boxes': [BOX], **named})


def test_missing_arguments_and_uneven_batches_are_named():
    with pytest.raises(ValueError, match="takes the arguments.*Received: .*'boxes'"):
        arguments.bind_arrays('estimate_poses', [IMAGE], {})
    with pytest.raises(ValueError, match='`boxes` must be float32 with shape .None, None, 4'):
        arguments.bind_arrays(
            'estimate_poses_batched', [IMAGE[np.newaxis], [[(1.0, 2.0, 3.0)]]], {})
