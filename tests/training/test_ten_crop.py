"""The views of a person that MargiPose's evaluation averages over."""

import dataclasses

import cv2
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.config import HeatmapConfig
from metro_tf.cropping import view
from tests.helpers import run_in_graph
from tests.training.test_augment import make_example
from tests.training.test_train_program import make_person
from training import pipeline
from training.augment import background
from training.config import ModelConfig, TrainConfig
from training.datasets import records
from training.evaluation import ten_crop

SIDE = 64
MIRROR = skeleton.METRO_24.mirror_mapping
SEED = tf.constant([3, 4], tf.int64)
CONFIG = TrainConfig(name='tiny', model=ModelConfig(heatmap=HeatmapConfig(SIDE, 16)))
# What the published evaluation does, in its order.
OFFSETS = [(0, 0), (-8, 0), (0, -8), (8, 0), (0, 8)] * 2
IS_MIRRORED = [False] * 5 + [True] * 5


def true_view_poses(example, offsets_px=OFFSETS, is_mirrored=IS_MIRRORED, mirror_mapping=MIRROR):
    """The person in the frames of the ten cameras, `[10, joints, 3]`, by the library's cameras.

    Offsets are in px of the stored image.
    """
    boxes = np.stack([example['box'].numpy() + [*offset, 0, 0] for offset in offsets_px])
    n_views = len(boxes)
    rotations, _ = view.virtual_cameras(
        boxes, np.stack([example['intrinsics']] * n_views), np.zeros([n_views, 5]),
        np.stack([example['camera_up']] * n_views), SIDE)
    poses = np.einsum('vij,pj->vpi', rotations, example['coords3d_cam'])
    mirrored = poses[:, list(mirror_mapping)] * [-1, 1, 1]
    return np.where(np.reshape(is_mirrored, [-1, 1, 1]), mirrored, poses).astype(np.float32)


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """Seven people, the second without alpha."""
    people = [make_person(i) for i in range(7)]
    people[1] = dataclasses.replace(people[1], alpha=None)
    folder = tmp_path_factory.mktemp('records')
    records.write_shard(folder / 'a.tfrecord', people)
    return records.read_dataset(folder)


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    rng = np.random.default_rng(0)
    for i in range(3):
        cv2.imwrite(str(folder / f'{i}.jpg'), rng.integers(0, 255, [70, 72, 3]).astype(np.uint8))
    return background.load_bank([folder])


@pytest.fixture(scope='module')
def batches(source, bank):
    # The stored images are as high as the photo whose pixels the offsets count.
    return list(ten_crop.views_dataset(CONFIG, source, bank, photo_height_px=96))


def test_views_are_the_published_ones_in_their_order():
    assert ten_crop.TEN_VIEWS == tuple(zip(OFFSETS, IS_MIRRORED))
    assert ten_crop.ONE_VIEW == (((0, 0), False),)
    assert ten_crop.PHOTO_HEIGHT_PX == 768


def test_every_view_looks_at_the_moved_centre_of_the_box():
    example = {**make_example(), 'frame': tf.constant([-50.0, -40.0, 500.0, 384.0])}
    views = ten_crop.CropViews(SIDE, MIRROR)(example, SEED)['views']
    centers = np.array([
        crop_view['crop_to_image'] @ [[SIDE / 2], [SIDE / 2], [1.0]] for crop_view in views])
    box = example['box'].numpy()
    # The photo is half as high as the one in whose pixels the offsets are.
    expected = box[:2] + box[2:] / 2 + np.array(OFFSETS) / 2
    np.testing.assert_allclose(centers[:, :2, 0] / centers[:, 2], expected, atol=1e-2)
    assert [bool(crop_view['is_mirrored']) for crop_view in views] == IS_MIRRORED
    signs = np.linalg.det([crop_view['camera_to_crop'] for crop_view in views])
    np.testing.assert_allclose(signs, np.where(IS_MIRRORED, -1, 1), atol=1e-5)


def test_height_of_the_photo_scales_the_offsets():
    example = make_example()  # a photo of 90 rows
    views = ten_crop.CropViews(SIDE, MIRROR, photo_height_px=45.0)(example, SEED)['views']
    poses = np.stack([crop_view['coords3d_cam'] for crop_view in views])
    doubled = true_view_poses(example, 2 * np.array(OFFSETS))
    np.testing.assert_allclose(poses, doubled, atol=0.01)


def test_first_view_is_the_crop_of_the_ordinary_evaluation(source, bank, batches):
    ordinary = list(pipeline.evaluation_dataset(CONFIG, source, bank))
    [(inputs, _)] = ordinary
    for name in ('image', 'intrinsics'):
        first = np.concatenate([batch[name][:, 0] for batch in batches])
        np.testing.assert_array_equal(first, inputs[name], err_msg=name)
    [single] = ten_crop.views_dataset(CONFIG, source, bank, ten_crop.ONE_VIEW)
    np.testing.assert_array_equal(single['image'][:, 0], inputs['image'])


def test_batches_hold_every_example_once(batches):
    assert [batch['image'].shape for batch in batches] == [(5, 10, 64, 64, 3), (2, 10, 64, 64, 3)]
    names = [name for batch in batches for name in batch['name'].numpy()]
    assert names == [f'p{i}'.encode() for i in range(7)]


def test_labels_stay_in_the_frame_of_the_photo(source, batches):
    for name in ('coords3d_cam', 'joint_validity_mask_3d'):
        labels = np.concatenate([batch[name] for batch in batches])
        np.testing.assert_array_equal(labels, [example[name] for example in source], err_msg=name)


def test_mirrored_crops_are_mirror_images_about_the_principal_point(batches):
    images = batches[0]['image'].numpy()[1]  # nobody's background: exactly the same picture
    assert images[:5].std() > 0.1
    # Column 32 is the principal point's; column 0 has no partner.
    np.testing.assert_allclose(images[5:, :, 1:], images[:5, :, :0:-1], atol=1e-4)


def test_true_poses_come_back_from_every_view(source, batches):
    examples = list(source)
    poses = np.stack([true_view_poses(example) for example in examples[:5]])
    expected = np.stack([example['coords3d_cam'] for example in examples[:5]])
    back = ten_crop.undo_views(poses, batches[0], MIRROR)
    np.testing.assert_allclose(
        back, np.broadcast_to(expected[:, np.newaxis], back.shape), atol=0.01)


@pytest.mark.parametrize('in_graph', [False, True])
def test_mean_of_views_by_hand(in_graph):
    """Two views of two joints; the first joint is the root."""
    poses = np.float32([[[[0, 0, 3000], [10, 0, 3100]], [[50, 7, 2000], [80, 7, 2000]]]])
    mean = run_in_graph(lambda poses: ten_crop.mean_of_views(poses, 0), poses) if in_graph else (
        ten_crop.mean_of_views(poses, 0))
    np.testing.assert_allclose(mean, [[[0, 0, 0], [20, 0, 50]]])
    np.testing.assert_allclose(
        ten_crop.mean_of_views(poses, 1), [[[-20, 0, -50], [0, 0, 0]]])


def test_error_texts():
    with pytest.raises(ValueError, match='`photo_height_px` must be a positive.*=0'):
        ten_crop.CropViews(SIDE, MIRROR, photo_height_px=0)
    with pytest.raises(ValueError, match='`i_root` must be an index into 2 joints.*i_root=2'):
        ten_crop.mean_of_views(np.zeros([1, 10, 2, 3], np.float32), 2)
    with pytest.raises(ValueError, match=r'`poses` must have a shape that ends in \(any, any, 3\)'):
        ten_crop.mean_of_views(np.zeros([2, 3], np.float32), 0)
