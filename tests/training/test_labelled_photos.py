"""Photos and labels of benchmarks that match people across whole photos."""

import json

from PIL import Image
import numpy as np
import pytest

from metro_tf import skeleton
from tests.training.datasets import fixtures, test_coco, test_mupots
from training.evaluation import labelled_photos

SEQUENCES = ('TS1', 'TS6')


@pytest.fixture
def mupots_dir(tmp_path):
    """Two sequences with three frames of two people, one of whom is out of sight in frame 1."""
    for name in SEQUENCES:
        test_mupots.write_sequence(tmp_path / 'mupots' / name, *test_mupots.make_labels())
    return tmp_path / 'mupots'


@pytest.fixture
def coco_dir(tmp_path):
    """Three photos: one person and one without joints, two and a crowd, nobody."""
    test_coco.write(tmp_path / 'coco', test_coco.make_content())
    fixtures.write_photo(tmp_path / 'coco/val2017/000000000100.jpg', size=test_coco.SIZE)
    return tmp_path / 'coco'


def mupots(folder, step=1):
    problems = []
    photos = labelled_photos.mupots_photos(str(folder), step, problems.append)
    return photos, [problem for problem in problems if problem.text != 'missing']


def coco(folder):
    problems = []
    return labelled_photos.coco_photos(str(folder), 'val', 2017, problems.append), problems


def test_photos_of_mupots(mupots_dir):
    photos, problems = mupots(mupots_dir)
    assert not problems
    assert [photo.name for photo in photos] == [
        f'{sequence}/{i:06}' for sequence in SEQUENCES for i in range(3)]
    assert [len(photo.people) for photo in photos] == [2, 1, 2] * 2
    for photo in photos:
        np.testing.assert_allclose(photo.intrinsics, test_mupots.INTRINSICS, rtol=1e-4)
    second = photos[2].people[1]
    pose = test_mupots.pose(2, 1)
    np.testing.assert_allclose(second['coords3d_cam'], pose, rtol=1e-6)
    np.testing.assert_allclose(second['coords2d'], test_mupots.project(pose), rtol=1e-5)
    np.testing.assert_allclose(
        second['coords3d_univ'], pose[14] + 0.9 * (pose - pose[14]), rtol=1e-5)
    assert second['sequence'] == 'TS1'


def test_dark_sequences_are_brightened(mupots_dir):
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3) * 51
    for name in SEQUENCES:
        Image.fromarray(image).save(mupots_dir / name / 'img_000000.jpg', 'png')
    photos, _ = mupots(mupots_dir)
    # By hand: 255 (51 / 255)^0.67 = 255 exp(-1.0783) = 86.75.
    np.testing.assert_array_equal(
        photos[0].read(None), [[[0, 87, 138], [181, 220, 255]]])
    np.testing.assert_array_equal(photos[3].read(None), image)


def test_every_second_frame(mupots_dir):
    assert [photo.name for photo in mupots(mupots_dir, step=2)[0]] == [
        f'{sequence}/{i:06}' for sequence in SEQUENCES for i in (0, 2)]


def test_sequence_with_damaged_labels_is_left_out(mupots_dir):
    (mupots_dir / 'TS1/annot.mat').write_bytes(b'MATLAB')
    photos, problems = mupots(mupots_dir)
    assert {photo.name.partition('/')[0] for photo in photos} == {'TS6'}
    assert len(problems) == 1 and problems[0].path.endswith('TS1/annot.mat')


def test_photos_of_coco(coco_dir):
    photos, problems = coco(coco_dir)
    assert not problems
    assert [photo.name for photo in photos] == [
        f'{i:012}.jpg' for i in (9, 42, 100)]
    assert [len(photo.people) for photo in photos] == [2, 3, 0]
    assert photos[0].intrinsics is None and photos[0].read(None).shape == (480, 640, 3)
    crowd, person, _ = photos[1].people
    assert crowd['is_crowd'] and np.all(np.isnan(crowd['coords2d']))
    assert not person['is_crowd'] and person['area'] == 900.5
    np.testing.assert_array_equal(person['box'], np.float32([150, 60, 120.5, 330]))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(person['coords2d'][:, 0])), [0])
    np.testing.assert_allclose(
        person['coords2d'][1:], np.round(test_coco.person2d(), 1)[1:], rtol=1e-6)


def test_coco_people_without_an_area_are_reported(coco_dir):
    path = coco_dir / test_coco.ANNOTATIONS
    content = json.loads(path.read_text())
    del content['annotations'][3]['area']
    content['annotations'][4]['bbox'] = [1, 2]
    path.write_text(json.dumps(content))
    photos, problems = coco(coco_dir)
    assert [len(photo.people) for photo in photos] == [0, 3, 0]
    assert [(problem.item, problem.text) for problem in problems] == [
        ('annotation 8', 'must have an area, left out'),
        ('annotation 5', 'must have 17 joints and a box, left out')]


def test_label_table(coco_dir):
    table = labelled_photos.label_table(coco(coco_dir)[0], 'coco_17')
    assert table['names'].tolist() == [
        '000000000009.jpg/0', '000000000009.jpg/1',
        *(f'000000000042.jpg/{i}' for i in range(3))]
    assert table['frame'].tolist() == ['000000000009.jpg'] * 2 + ['000000000042.jpg'] * 3
    assert table['frame_names'].tolist() == [f'{i:012}.jpg' for i in (9, 42, 100)]
    assert tuple(table['joint_names']) == skeleton.CONVENTIONS['coco_17'].joint_names
    assert table['coords2d'].shape == (5, 17, 2) and table['box'].shape == (5, 4)
    np.testing.assert_array_equal(table['is_crowd'], [False, False, True, False, False])


def test_nobody_is_labelled(coco_dir):
    photos = [photo for photo in coco(coco_dir)[0] if not photo.people]
    with pytest.raises(ValueError, match='labelled people. Received: 1 photos without'):
        labelled_photos.label_table(photos, 'coco_17')
