"""COCO keypoints: crowds, unlabelled joints, the selection of MeTRAbs, double ids."""

import json

import numpy as np
import pytest

from metro_tf import skeleton
from tests.training.datasets import fixtures
from training.datasets import coco

JOINTS = skeleton.CONVENTIONS['coco_17']
SIZE = (640, 480)
INTRINSICS = np.array([[500.0, 0, 220], [0, 500, 240], [0, 0, 1]])
ANNOTATIONS = 'annotations/person_keypoints_val2017.json'


def person2d(x=0):
    return fixtures.seen_person(JOINTS.joint_names, INTRINSICS)[1] + [x, 0]


def make_person(number, image_id, x=0, flags=(2,) * 17, **changes):
    flags = np.array(flags)
    keypoints = np.concatenate([np.round(person2d(x), 1), np.ones([17, 1])], axis=1)
    keypoints = np.where(flags[:, np.newaxis] > 0, keypoints, 0)
    keypoints[:, 2] = flags
    return {
        'id': number, 'image_id': image_id, 'category_id': 1, 'iscrowd': 0, 'area': 900.5,
        'bbox': [150.0 + x, 60.0, 120.5, 330.0], 'segmentation': [[1.5, 2.0, 3.0, 4.0, 5.0, 6.0]],
        'num_keypoints': int((flags > 0).sum()), 'keypoints': keypoints.ravel().tolist(), **changes}


def make_content():
    crowd = make_person(
        900, 42, flags=[0] * 17, iscrowd=1, segmentation={'counts': [9, 8], 'size': [480, 640]})
    return {
        'info': {'year': 2017}, 'licenses': [{'id': 3}],
        'images': [
            {'id': image_id, 'file_name': f'{image_id:012}.jpg', 'width': 640, 'height': 480,
             'license': 3} for image_id in (42, 9, 100)],
        'annotations': [
            crowd, make_person(7, 42, flags=[0, 1, 2] + [2] * 14), make_person(6, 42, x=150),
            make_person(8, 9), make_person(5, 9, flags=[0] * 17)],
        'categories': [{'id': 1, 'name': 'person', 'keypoints': [], 'skeleton': [[16, 14]]}]}


def write(folder, content):
    (folder / 'annotations').mkdir(parents=True, exist_ok=True)
    (folder / ANNOTATIONS).write_text(json.dumps(content))
    fixtures.write_photo(
        folder / 'val2017/000000000042.jpg', [person2d(), person2d(150)], JOINTS.edges, SIZE)
    fixtures.write_photo(folder / 'val2017/000000000009.jpg', [person2d()], JOINTS.edges, SIZE)


@pytest.fixture
def source_dir(tmp_path):
    write(tmp_path / 'coco', make_content())
    return tmp_path / 'coco'


def read(source_dir, **settings):
    return fixtures.read_all(coco.CocoReader(str(source_dir), split='val', **settings))


def test_examples(source_dir, tmp_path):
    examples, problems = read(source_dir)
    assert [example.name for example in examples] == [
        'val2017/000000000009/8', 'val2017/000000000042/7', 'val2017/000000000042/6']
    assert [str(problem) for problem in problems] == [
        f'{source_dir}/{ANNOTATIONS}: 1 people without joints, left out',
        f'{source_dir}/{ANNOTATIONS}: 1 crowds, left out']
    assert all(problem.is_expected for problem in problems)
    assert examples[1].joint_names == JOINTS.joint_names
    points = fixtures.photo_points(examples[1], SIZE)
    assert np.isnan(points[0]).all()
    np.testing.assert_allclose(points[1:], np.round(person2d(), 1)[1:], atol=1e-3)
    np.testing.assert_array_equal(examples[1].visibility, [0, 0, 1] + [1] * 14)
    assert examples[1].coords3d_cam is None
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


def test_boxes_count_from_the_corner_of_the_first_pixel(source_dir):
    example = read(source_dir)[0][0]
    np.testing.assert_allclose(
        fixtures.photo_box(example, SIZE), [149.5, 59.5, 120.5, 330], atol=1e-3)


def test_photos_can_be_in_a_folder_of_images(source_dir):
    (source_dir / 'images').mkdir()
    (source_dir / 'val2017').rename(source_dir / 'images/val2017')
    assert len(read(source_dir)[0]) == 3


def test_selection_of_metrabs(tmp_path):
    content = make_content()
    few = [2] * 6 + [0] * 11  # a third visible, less than half labelled
    hidden = [2] * 5 + [1] * 12  # all labelled, less than a third visible
    just = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 2, 2, 1, 1, 2, 1]  # 6 visible, 9 labelled
    content['annotations'] = [
        make_person(1, 9, flags=few), make_person(2, 9, flags=hidden), make_person(3, 9),
        make_person(4, 42), make_person(5, 42, x=40), make_person(6, 42, x=260),
        make_person(7, 100), make_person(8, 100, x=300, flags=just)]
    small = content['annotations'][6]['keypoints']
    content['annotations'][6]['keypoints'] = [value * 0.4 if i % 3 < 2 else value
                                              for i, value in enumerate(small)]
    write(tmp_path, content)
    fixtures.write_photo(tmp_path / 'val2017/000000000100.jpg', size=SIZE)
    examples, problems = read(tmp_path, selection='metrabs')
    # The others are poorly labelled (1, 2), close to each other (4, 5), or small (7).
    assert [example.name.rpartition('/')[2] for example in examples] == ['3', '6', '8']
    assert sorted(problem.text for problem in problems) == [
        '2 people with few joints, left out',
        '3 people who are small or close to others, left out']


def test_known_counts():
    assert coco.CocoReader('', 'val').expected_counts() == {'examples': 6352}
    assert coco.CocoReader('', 'train').expected_counts() == {'examples': 149813}
    assert coco.CocoReader('', 'train', selection='metrabs').expected_counts() == {}
    assert coco.CocoReader('', 'train', year=2014).expected_counts() == {}


def test_wrong_annotations_are_reported(tmp_path):
    content = make_content()
    content['images'].append(content['images'][0])
    rows = content['annotations']
    rows += [rows[1], make_person(10, 77), make_person(11, 9, keypoints=[1, 2, 2] * 19),
             make_person(12, 9, bbox=[1, 2, 3]), make_person(13, 9, keypoints=['a'] * 51),
             make_person(14, 9, bbox=[700, 60, 50, 50]), {'id': 15, 'image_id': 9}]
    write(tmp_path, content)
    examples, problems = read(tmp_path)
    assert len(examples) == 3
    wrong = [problem for problem in problems if not problem.is_expected]
    assert [(problem.item, problem.text) for problem in wrong] == [
        ('image 42', 'occurs more than once, the first is kept'),
        ('annotation 7', 'occurs more than once, the first is kept'),
        ('image 77', 'not listed, its annotations are left out'),
        ('annotation 11', 'must have 17 joints and a box, left out'),
        ('annotation 12', 'must have 17 joints and a box, left out'),
        ('annotation 13', 'must have 17 joints and a box, left out'),
        ('annotation 15', 'must have 17 joints and a box, left out')]
    assert (problems[-1].item, problems[-1].text) == (
        'val2017/000000000009/14', 'nothing of the person is inside, left out')


@pytest.mark.parametrize('text', [
    '', '{"images": [', '[]', '{"images": []}', '{"images": [{}], "annotations": []}'])
def test_damaged_files_are_reported(source_dir, text):
    (source_dir / ANNOTATIONS).write_text(text)
    examples, problems = read(source_dir)
    assert examples == [] and len(problems) == 1
    assert str(problems[0]).startswith(
        f'{source_dir}/{ANNOTATIONS}: missing, damaged, or of another format: ')


def test_wrong_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`split` must be one of .* Received: split='test'"):
        coco.CocoReader('x', split='test')
    with pytest.raises(ValueError, match='`year` must be one of .* Received: year=2015'):
        coco.CocoReader('x', year=2015)
    with pytest.raises(ValueError, match='`selection` must be one of'):
        coco.CocoReader('x', selection='some')
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds annotations/'):
        coco.CocoReader(str(tmp_path)).items(pytest.fail)
