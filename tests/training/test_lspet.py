import json

import cv2
import numpy as np
import pytest
import scipy.io
import tensorflow as tf

from metro_tf import skeleton
from training.datasets import lspet


@pytest.fixture
def lspet_dir(tmp_path):
    """Five images in the layout of the release; image 2 is a twin, image 3 has three joints."""
    rng = np.random.default_rng(0)
    joints = np.zeros([14, 3, 5])
    joints[:, :2] = rng.uniform(10, 40, size=[14, 2, 5])
    joints[:, 2] = 1
    joints[3:, 2, 2] = 0
    joints[0, :, 0] = [-500, 900, 0]  # not annotated: the coordinates are meaningless
    scipy.io.savemat(tmp_path / 'joints.mat', {'joints': joints})
    (tmp_path / 'splits.json').write_text(json.dumps(
        {'train': [1, 4], 'holdout': [5, 5], 'train_twins_of_holdout': [2]}))
    (tmp_path / 'images').mkdir()
    for number in range(1, 6):
        image = np.full([50, 48 + number, 3], 20 * number, np.uint8)
        cv2.imwrite(str(tmp_path / f'images/im{number:05}.jpg'), image)
    return tmp_path


def test_splits_leave_out_twins(lspet_dir):
    assert lspet.read_split(lspet_dir, 'train') == [1, 3, 4]
    assert lspet.read_split(lspet_dir, 'holdout') == [5]


def test_meaningless_coordinates_are_missing(lspet_dir):
    coords2d = lspet.read_annotations(lspet_dir)
    assert coords2d.shape == (5, 14, 2)
    assert np.isnan(coords2d[0, 0]).all() and np.isfinite(coords2d[0, 1:]).all()


def test_examples_have_named_joints_box_and_camera(lspet_dir):
    examples = list(lspet.make_dataset(lspet_dir, 'train'))
    assert [example['name'] for example in examples] == [b'im00001', b'im00004']
    example = examples[0]
    index = skeleton.METRO_24.index
    annotated = lspet.read_annotations(lspet_dir)[0]
    np.testing.assert_allclose(example['coords2d'][index('lelb')], annotated[10])
    np.testing.assert_allclose(example['coords2d'][index('htop')], annotated[13])
    mask = example['joint_validity_mask_2d'].numpy()
    assert not mask[index('rank')] and not mask[index('nose')] and mask.sum() == 13
    np.testing.assert_allclose(example['coords2d'].numpy()[~mask], 0)
    assert not example['has_3d'] and not example['joint_validity_mask_3d'].numpy().any()
    assert example['image'].shape == (50, 49, 3)
    np.testing.assert_allclose(example['intrinsics'][0, 2], 24.5)
    np.testing.assert_allclose(example['intrinsics'][0, 0], 25 / np.tan(np.radians(4)), rtol=1e-5)


def test_joints_come_in_the_wanted_order(lspet_dir):
    wanted = ('lhan', 'htop', 'lelb')
    example, _ = lspet.make_dataset(lspet_dir, 'train', joint_names=wanted)
    annotated = lspet.read_annotations(lspet_dir)[0]
    np.testing.assert_array_equal(
        example['coords2d'], [[0, 0], annotated[13], annotated[10]])
    np.testing.assert_array_equal(example['joint_validity_mask_2d'], [False, True, True])
    np.testing.assert_array_equal(example['visibility'], [0, 1, 1])
    assert example['coords3d_cam'].shape == (3, 3)
    assert example['joint_validity_mask_3d'].shape == (3,)


def test_shuffled_images_come_without_end_and_from_any_place_on(lspet_dir):
    source = lspet.make_source(lspet_dir, 'train')

    def names(first, n):
        dataset = source.shuffled((3, 0), first).take(n)
        return [example['name'].numpy() for example in dataset]
    whole = names(0, 20)
    assert whole == names(0, 20)
    assert names(7, 13) == whole[7:]
    assert whole.count(b'im00001') == whole.count(b'im00004') == 10
    assert whole != whole[:2] * 10


def test_photos_that_are_missing_or_damaged_are_named(lspet_dir):
    source = lspet.make_source(lspet_dir, 'train')
    path = lspet_dir / 'images/im00004.jpg'
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(tf.errors.InvalidArgumentError, match='photo is damaged.*im00004.jpg'):
        list(source.in_order())
    path.unlink()
    with pytest.raises(tf.errors.InvalidArgumentError, match='or gone.*im00004.jpg'):
        list(source.in_order())
    with pytest.raises(ValueError, match='must hold the photos.*1 of 2 are missing.*im00004.jpg'):
        lspet.make_source(lspet_dir, 'train')


def test_boxes_are_enlarged_about_their_centre():
    box = lspet.boxes_of(np.float32([[[10, 20], [30, 60], [np.nan, np.nan]]]))
    np.testing.assert_allclose(box, [[20 - 11.5, 40 - 23, 23, 46]], rtol=1e-5)


def test_error_texts(lspet_dir, tmp_path):
    with pytest.raises(ValueError, match="`split` must be 'train' or 'holdout'.*'test'"):
        lspet.read_split(lspet_dir, 'test')
    with pytest.raises(ValueError, match='must hold joints.mat.*does not exist'):
        lspet.read_annotations(tmp_path / 'nowhere')
    scipy.io.savemat(lspet_dir / 'joints.mat', {'joints': np.zeros([3, 14, 2])})
    with pytest.raises(ValueError, match='array `joints` of shape'):
        lspet.read_annotations(lspet_dir)
