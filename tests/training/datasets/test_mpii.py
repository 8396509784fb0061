"""MPII: nested MATLAB structs in which anything may be absent."""

import numpy as np
import pytest
import scipy.io

from metro_tf import skeleton
from tests.training.datasets import fixtures
from training.datasets import mpii

JOINTS = skeleton.CONVENTIONS['mpii_16']
SIZE = (640, 480)
INTRINSICS = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
EMPTY = np.zeros([0, 0])
# As the true file has it: head and neck lack the flag, the others have numbers or texts.
FLAGS = [1.0] * 6 + ['1', '0', EMPTY, EMPTY] + [1.0, 0.0, '1', np.uint8(1), 1.0, 1.0]


def struct_array(rows):
    """A MATLAB struct array."""
    array = np.empty([1, len(rows)], [(name, object) for name in rows[0]])
    for i, row in enumerate(rows):
        array[0, i] = tuple(row.values())
    return array


def cells(values):
    """A MATLAB cell array of one column."""
    array = np.empty([len(values), 1], object)
    array[:, 0] = values
    return array


def make_points(coords2d, i_joints=range(16), **changes):
    """The points of a person, whose pixels count from 1."""
    return struct_array([
        {'x': coords2d[i, 0] + 1, 'y': coords2d[i, 1] + 1, 'id': float(i), 'is_visible': FLAGS[i],
         **changes} for i in i_joints])


def make_person(points, scale=1.5):
    return {'x1': 10.0, 'y1': 10.0, 'x2': 30.0, 'y2': 40.0,
            'annopoints': EMPTY if points is None else {'point': points},
            'scale': EMPTY if scale is None else scale, 'objpos': {'x': 301.0, 'y': 221.0}}


def person2d(x=0):
    return fixtures.seen_person(JOINTS.joint_names, INTRINSICS)[1] + [x, 0]


def write(folder, photos):
    """Writes the data set; `photos` are tuples of name, people, is_training, single people."""
    names, people, is_training, single = zip(*photos)
    scipy.io.savemat(folder / mpii.ANNOTATIONS, {'RELEASE': {
        'annolist': struct_array([
            {'image': {'name': name}, 'annorect': struct_array(rows) if rows else EMPTY,
             'vidx': float(i)} for i, (name, rows) in enumerate(zip(names, people))]),
        'img_train': np.float64([is_training]),
        'single_person': cells([np.float64(numbers).reshape(-1, 1) for numbers in single]),
        'version': '12'}})
    for name in names:
        fixtures.write_photo(folder / 'images' / name, [person2d()], JOINTS.edges, SIZE)


@pytest.fixture
def source_dir(tmp_path):
    folder = tmp_path / 'mpii'
    folder.mkdir()
    write(folder, [
        ('015.jpg', [make_person(make_points(person2d())), make_person(None)], 1, [1]),
        ('016.jpg', [make_person(make_points(person2d(), [0, 1, 9, 8])),
                     make_person(make_points(person2d(), [3, 4, 5]))], 1, []),
        ('017.jpg', [{'x1': 1.0, 'annopoints': EMPTY}], 0, []),
        ('018.jpg', [], 1, [])])
    return folder


def test_examples(source_dir, tmp_path):
    examples, problems = fixtures.read_all(mpii.MpiiReader(str(source_dir)))
    assert [example.name for example in examples] == ['015/1', '016/1']
    assert [str(problem) for problem in problems] == [
        f'{source_dir}/{mpii.ANNOTATIONS}: {text}, left out' for text in (
            '1 training people without joints', '1 people with fewer than 4 joints')]
    assert all(problem.is_expected for problem in problems)
    assert examples[0].joint_names == JOINTS.joint_names
    np.testing.assert_allclose(fixtures.photo_points(examples[0], SIZE), person2d(), atol=1e-3)
    np.testing.assert_array_equal(
        examples[0].visibility, [1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(
        np.flatnonzero(np.isfinite(examples[1].coords2d[:, 0])), [0, 1, 8, 9])
    np.testing.assert_array_equal(np.flatnonzero(examples[1].visibility), [0, 1, 8, 9])
    assert examples[0].coords3d_cam is None
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


def test_pixels_count_from_1_in_the_file(tmp_path):
    coords2d = np.float64([[100, 50], [140, 90], [100, 90], [140, 50]])
    points = make_points(np.concatenate([coords2d, np.zeros([12, 2])]), range(4))
    write(tmp_path, [('a.jpg', [make_person(points)], 1, [1])])
    example, = fixtures.read_all(mpii.MpiiReader(str(tmp_path)))[0]
    # The file says 101 for what is 100 when the first pixel is 0; boxes are 1.2 times the joints'.
    np.testing.assert_allclose(example.coords2d[0] - example.frame[:2], [100, 50])
    np.testing.assert_allclose(fixtures.photo_box(example, SIZE), [96, 46, 48, 48])


def test_box_by_scale(source_dir):
    example = fixtures.read_all(mpii.MpiiReader(str(source_dir), box='scale'))[0][0]
    # Side 1.5 * 200 = 300, centre (300, 220 + 0.075 * 300).
    np.testing.assert_allclose(
        fixtures.photo_box(example, SIZE), [150, 92.5, 300, 300], atol=1e-3)


def test_single_people_only(source_dir):
    examples, problems = fixtures.read_all(
        mpii.MpiiReader(str(source_dir), single_person_only=True, min_joints=3))
    assert [example.name for example in examples] == ['015/1']
    assert str(problems[1]).endswith('2 people close to others, left out')


def test_a_file_of_one_photo_and_one_person(tmp_path):
    write(tmp_path, [('a.jpg', [make_person(make_points(person2d()))], 1, [1])])
    for settings in ({}, {'single_person_only': True}):
        examples, problems = fixtures.read_all(mpii.MpiiReader(str(tmp_path), **settings))
        assert len(examples) == 1 and problems == []


def test_wrong_points_and_missing_scales_are_reported(tmp_path):
    points = make_points(person2d(), [0, 1, 2, 3, 3])
    points[0, 0]['id'], points[0, 1]['x'] = 16.0, EMPTY
    write(tmp_path, [('a.jpg', [make_person(points, scale=None)], 1, [1])])
    examples, problems = fixtures.read_all(
        mpii.MpiiReader(str(tmp_path), box='scale', min_joints=2))
    assert examples == []
    assert [problem.item for problem in problems] == ['a.jpg, person 1'] * 4
    assert 'joint 16.0 at' in problems[0].text and 'joint 1.0 at None' in problems[1].text
    assert problems[2].text == 'joint 3.0 occurs more than once, only the first is kept'
    assert problems[3].text == 'no scale or centre, left out'
    assert not any(problem.is_expected for problem in problems)
    examples, _ = fixtures.read_all(mpii.MpiiReader(str(tmp_path), min_joints=2))
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(examples[0].coords2d[:, 0])), [2, 3])


def test_missing_photos_and_people_outside_are_reported(source_dir):
    (source_dir / 'images/015.jpg').unlink()
    fixtures.write_photo(source_dir / 'images/016.jpg', size=(20, 10))
    examples, problems = fixtures.read_all(mpii.MpiiReader(str(source_dir)))
    assert examples == []
    assert [str(problem) for problem in problems[2:]] == [
        f'{source_dir}/images/015.jpg: missing',
        f'{source_dir}/images/016.jpg: 016/1: nothing of the person is inside, left out']


def test_damaged_files_are_reported(source_dir):
    path = source_dir / mpii.ANNOTATIONS
    scipy.io.savemat(path, {'RELEASE': {
        'annolist': struct_array([{'image': {'name': 'a.jpg'}}]), 'img_train': np.ones([1, 2]),
        'single_person': cells([EMPTY])}})
    examples, problems = fixtures.read_all(mpii.MpiiReader(str(source_dir)))
    assert examples == [] and 'differ in length' in problems[0].text
    fixtures.write_cut_off(path, 300)
    examples, problems = fixtures.read_all(mpii.MpiiReader(str(source_dir)))
    assert examples == [] and 'damaged' in problems[0].text


def test_wrong_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`box` must be one of .* Received: box='head'"):
        mpii.MpiiReader('x', box='head')
    with pytest.raises(ValueError, match='`min_joints` must be a positive'):
        mpii.MpiiReader('x', min_joints=0)
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds mpii_human'):
        mpii.MpiiReader(str(tmp_path)).items(pytest.fail)
