"""The NumPy chain gives what the TensorFlow chain gives, and refuses what it refuses."""

from concurrent import futures
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import metro_tf
from metro_tf import arguments as call_arguments
from metro_tf import onnx
from metro_tf.export import onnx as onnx_export
from metro_tf.tools import images as image_files
from tests import fakes, test_estimator
from tests.cropping import test_warp
from tests.onnx import conftest

INTRINSICS = np.float32([[150, 0, 80], [0, 150, 60], [0, 0, 1]])
EXTRINSICS = test_estimator.extrinsics(0.3, (100, -200, 300))
BOXES = np.float32([[20, 30, 60, 70], [90, 10, 50, 90], [-20, 60, 60, 90]])
PHOTO = pathlib.Path(__file__).parents[2] / 'examples' / 'photos' / 'astronaut.jpg'

# Runs without any help of this process; what it finds imported must not be TensorFlow.
STRANGER = '''
import sys
import numpy as np
from metro_tf import onnx
model = onnx.PoseEstimator(sys.argv[1], n_threads=1)
people = model.detect_poses(np.load(sys.argv[2]))
np.save(sys.argv[3], people['poses3d'])
heavy = {name.split('.')[0] for name in sys.modules} & {
    'tensorflow', 'keras', 'tensorflow_core', 'tf2onnx', 'onnx'}
print(sorted(heavy))
'''


def spotted_image(*corners):
    """Dark waves with ever darker spots, each a cell of the detector, who sees people in them.

    It sees 64 x 48 px of the image between bars of 8 px, so that a cell of 8 px has 20 px here.
    """
    image = test_warp.smooth_image(120, 160) // 4
    for i, (x, y) in enumerate(corners):
        image[y:y + 20, x:x + 20] = 255 - 10 * i
    return image


IMAGE = spotted_image((20, 40), (100, 60))


@pytest.fixture(scope='module')
def model(forms):
    return onnx.PoseEstimator(forms.folder)


def assert_same_people(actual, expected, atol=0.5):
    """To 0.5 mm and px, well below the promised 1 mm; indices exactly."""
    assert set(actual) == set(expected)
    for name in expected:
        wanted = expected[name].numpy()
        assert actual[name].dtype == wanted.dtype and actual[name].shape == wanted.shape
        np.testing.assert_allclose(actual[name], wanted, atol=atol, err_msg=name)
    np.testing.assert_array_equal(actual['detection_indices'], expected['detection_indices'])


def image_of(people, i_image):
    return {name: values[i_image] for name, values in people.items()}


@pytest.mark.parametrize('kwargs', [
    {}, {'num_aug': 1, 'average_aug': False}, {'skeleton': 'lsp_14', 'max_detections': 1},
    {'distortion_coeffs': test_warp.LENS, 'intrinsic_matrix': INTRINSICS},
    {'extrinsic_matrix': EXTRINSICS, 'world_up_vector': (0.2, 0.1, 1), 'num_aug': 4},
    {'internal_batch_size': 1, 'antialias_factor': 2, 'suppress_implausible_poses': False},
    {'internal_batch_size': 0, 'detector_nms_iou_threshold': 0.1},
    {'detector_threshold': 0.995, 'default_fov_degrees': 40.0}])
def test_detected_poses_agree_with_the_export(model, forms, kwargs):
    expected = forms.loaded.detect_poses(IMAGE, **{
        name: np.float32(value) if isinstance(value, (float, tuple)) else value
        for name, value in kwargs.items()})
    assert len(expected['boxes']) > 0
    assert_same_people(model.detect_poses(IMAGE, **kwargs), expected)


@pytest.mark.parametrize('kwargs', [
    {}, {'suppress_implausible_poses': True, 'average_aug': False, 'skeleton': 'coco_17'},
    {'distortion_coeffs': [-0.2, 0.05], 'antialias_factor': 3, 'num_aug': 2}])
def test_poses_in_given_boxes_agree_with_the_export(model, forms, kwargs):
    expected = forms.estimator.estimate_poses(IMAGE, BOXES, **kwargs)
    assert_same_people(model.estimate_poses(IMAGE, BOXES, **kwargs), expected)


def test_batches_agree_with_the_export(model, forms):
    images = np.stack([IMAGE, np.zeros_like(IMAGE), spotted_image((40, 40))])
    intrinsics = np.stack([INTRINSICS, np.full([3, 3], -1, np.float32), 2 * INTRINSICS])
    intrinsics[2, 2, 2] = 1
    expected = forms.estimator.detect_poses_batched(images, intrinsics)
    actual = model.detect_poses_batched(images, intrinsics)
    assert [len(boxes) for boxes in actual['boxes']] == [2, 0, 1]
    for i in range(3):
        assert_same_people(image_of(actual, i), image_of(expected, i))


def test_batches_of_boxes_agree_with_the_export(model, forms):
    images, boxes = np.stack([IMAGE] * 3), [BOXES[:2], BOXES[:0], BOXES[2:]]
    expected = forms.estimator.estimate_poses_batched(images, boxes, num_aug=2)
    actual = model.estimate_poses_batched(images, boxes, num_aug=2)
    assert set(actual) == set(expected) and 'boxes' not in actual
    for i in range(3):
        np.testing.assert_allclose(actual['poses3d'][i], expected['poses3d'][i], atol=0.5)
    np.testing.assert_array_equal(actual['detection_indices'][0], [0, 1])


def test_images_without_people_and_no_images(model):
    people = model.detect_poses(np.zeros([50, 60, 3], np.uint8))
    assert people['poses3d'].shape == (0, 7, 3) and people['uncertainty'].shape == (0, 7)
    assert model.estimate_poses(IMAGE, BOXES[:0], average_aug=False)['poses2d'].shape == (
        0, 5, 7, 2)
    for values in model.detect_poses_batched(np.zeros([0, 50, 60, 3], np.uint8)).values():
        assert values == []


def test_results_worked_out_by_hand(model):
    # As in tests/test_estimator.py: the neck is 16 / 336 * 3000 mm above the pelvis.
    people = model.estimate_poses(
        np.zeros([480, 640, 3], np.uint8), [test_estimator.BOX], test_estimator.INTRINSICS,
        num_aug=1)
    np.testing.assert_allclose(people['poses3d'][0, 0], [0, 0, 3000], atol=0.01)
    np.testing.assert_allclose(people['poses3d'][0, 1], [0, -142.857, 3000], atol=0.01)
    np.testing.assert_allclose(people['uncertainty'][0], np.arange(10, 80, 10), atol=0.01)


@pytest.mark.parametrize('image_size', [(1, 1), (1, 50), (7, 3)])
@pytest.mark.parametrize('antialias_factor', [1, 3])
def test_small_images_agree_with_the_python_object(model, forms, image_size, antialias_factor):
    arguments = (np.full([*image_size, 3], 255, np.uint8), [(0.0, 0.0, 1.0, 1.0)])
    kwargs = {'antialias_factor': antialias_factor, 'num_aug': 2}
    expected = forms.estimator.estimate_poses(*arguments, **kwargs)
    assert_same_people(model.estimate_poses(*arguments, **kwargs), expected)


@pytest.mark.parametrize('name, value, message', test_estimator.BAD_CAMERA)
def test_bad_values_are_named_as_by_the_export(model, name, value, message):
    with pytest.raises(ValueError, match=message):
        model.detect_poses(IMAGE, **{name: value})


@pytest.mark.parametrize('box', [(1, 1, 0, 5), (1, 1, 5, np.nan), (np.inf, 1, 5, 5)])
def test_bad_boxes_are_named(model, box):
    with pytest.raises(ValueError, match='`boxes` must be finite with pos'):
        model.estimate_poses(IMAGE, [BOXES[0], box])


def test_counts_must_fit(model):
    images = np.stack([IMAGE] * 3)
    with pytest.raises(ValueError, match='`boxes` must have one row per image.* 1 for 3 images'):
        model.estimate_poses_batched(images, [BOXES])
    with pytest.raises(ValueError, match='`intrinsic_matrix` must be given once or once per'):
        model.detect_poses_batched(images, np.stack([INTRINSICS] * 2))


@pytest.mark.parametrize('image, message', [
    (IMAGE.astype(np.float32), '`image` must be uint8 with shape'),
    (IMAGE[0], '`image` must be uint8 with shape'),
    (np.zeros([0, 5, 3], np.uint8), '`images` must have at least one pixel')])
def test_wrong_images_are_refused(model, image, message):
    with pytest.raises(ValueError, match=message):
        model.detect_poses(image)


def test_signatures_are_those_of_the_table(model):
    for name in call_arguments.METHOD_NAMES:
        method = getattr(model, name)
        expected = getattr(metro_tf.PoseEstimator, name)
        assert method.__doc__.split('Returns')[0] == expected.__doc__.split('Returns')[0]
        assert list(method.__signature__.parameters)[1:] == list(
            expected.__signature__.parameters)[1:]


def test_attributes_are_those_of_the_export(model, forms):
    assert model.metadata == json.loads(forms.loaded.metadata.numpy())
    assert model.joint_names == fakes.JOINT_NAMES and model.joint_edges == fakes.JOINT_EDGES
    skeleton = model.skeletons['coco_17']
    names = forms.loaded.per_skeleton_joint_names['coco_17'].numpy()
    assert [name.encode() for name in skeleton['joint_names']] == names.tolist()
    assert [model.joint_names[i] for i in skeleton['indices']] == skeleton['joint_names']


def test_a_model_without_detector_finds_nobody(tmp_path):
    estimator = metro_tf.PoseEstimator(conftest.ConvertibleCropModel())
    metro_tf.export.save(estimator, tmp_path / 'export')
    onnx_export.export_onnx(tmp_path / 'export', tmp_path / 'onnx')
    model = onnx.PoseEstimator(tmp_path / 'onnx')
    assert model.detect_poses(IMAGE)['boxes'].shape == (0, 5)
    assert 'uncertainty' not in model.estimate_poses(IMAGE, BOXES)


def test_eight_bits_are_close(model, forms):
    quantised = onnx.PoseEstimator(forms.folder, quantised=True)
    people, expected = (each.detect_poses(IMAGE) for each in (quantised, model))
    np.testing.assert_allclose(people['poses3d'], expected['poses3d'], atol=30)


def test_tensorflow_is_not_imported(model, forms, tmp_path):
    np.save(tmp_path / 'image.npy', IMAGE)
    script = tmp_path / 'stranger.py'
    script.write_text(STRANGER)
    result = subprocess.run(
        [sys.executable, str(script), str(forms.folder), 'image.npy', 'poses.npy'], cwd=tmp_path,
        check=True, capture_output=True, text=True)
    assert result.stdout.strip() == '[]'
    np.testing.assert_allclose(
        np.load(tmp_path / 'poses.npy'), model.detect_poses(IMAGE)['poses3d'], atol=0.01)


@pytest.mark.parametrize('change, message', [
    (lambda folder: shutil.rmtree(folder), '`folder` must be one that .* wrote'),
    (lambda folder: (folder / 'model.json').write_text('{'), 'must hold a readable model.json'),
    (lambda folder: (folder / 'model.json').write_text('{"format_version": 1}'),
     'must hold a complete model.json of format_version 1.*metadata'),
    (lambda folder: (folder / 'crop_model.onnx').unlink(), 'must hold the file crop_model.onnx'),
    (lambda folder: (folder / 'detector.onnx').write_bytes(b'no'), 'must hold usable networks')])
def test_damaged_folders_are_refused(forms, tmp_path, change, message):
    folder = shutil.copytree(forms.folder, tmp_path / 'onnx')
    change(folder)
    with pytest.raises(ValueError, match=message):
        onnx.PoseEstimator(folder)


def test_other_versions_of_the_format_are_refused(forms, tmp_path):
    folder = shutil.copytree(forms.folder, tmp_path / 'onnx')
    description = json.loads((folder / 'model.json').read_text())
    (folder / 'model.json').write_text(json.dumps({**description, 'format_version': 2}))
    with pytest.raises(ValueError, match='format_version=2'):
        onnx.PoseEstimator(folder)


def test_several_threads_may_share_an_estimator(model):
    images = [spotted_image((20 * i, 20 * i)) for i in range(1, 5)]
    expected = [model.detect_poses(image)['poses3d'] for image in images]
    with futures.ThreadPoolExecutor(4) as pool:
        actual = list(pool.map(lambda i: model.detect_poses(images[i % 4]), range(16)))
    for i, people in enumerate(actual):
        assert len(people['poses3d']) == 1
        np.testing.assert_allclose(people['poses3d'], expected[i % 4], atol=1e-3)


def test_numbers_of_threads(forms):
    with pytest.raises(ValueError, match='`n_threads` must be at least 1. Received: n_threads=0'):
        onnx.PoseEstimator(forms.folder, n_threads=0)


@pytest.mark.slow
def test_the_default_model_agrees_on_a_photo(tmp_path):
    onnx_export.export_onnx('default', tmp_path / 'onnx')
    model, loaded = onnx.PoseEstimator(tmp_path / 'onnx'), metro_tf.load('default')
    image = image_files.read_image(PHOTO)
    expected = loaded.detect_poses(image, detector_threshold=tf.constant(0.2))
    assert len(expected['boxes']) > 0
    assert_same_people(model.detect_poses(image, detector_threshold=0.2), expected, atol=1)
