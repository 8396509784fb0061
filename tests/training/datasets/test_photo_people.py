"""Photos with several people: items, examples, and what is reported."""

import numpy as np
import pytest

from tests.training.datasets import fixtures
from training.datasets import photo_people

NAMES = ('nose', 'lwri')


def make_photo(path, *names, coords2d=((30, 40), (50, 60))):
    fixtures.write_photo(path, size=(100, 80))
    return photo_people.Photo(
        str(path), tuple({'name': name, 'coords2d': np.float32(coords2d)} for name in names))


def test_items_hold_photos_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_people, 'PHOTOS_PER_ITEM', 2)
    photos = [make_photo(tmp_path / f'{i}.png', str(i)) for i in range(5)]
    items = photo_people.make_items(photos, 'train', pytest.fail)
    assert [(item.name, item.n_frames) for item in items] == [
        ('train/000000', 2), ('train/000002', 2), ('train/000004', 1)]
    assert [photo for item in items for photo in item.content] == photos
    assert photo_people.make_items([], 'train', pytest.fail) == ()


def test_people_of_the_same_name_are_reported(tmp_path):
    problems = []
    photos = [make_photo(tmp_path / 'a.png', 'x', 'y'), make_photo(tmp_path / 'b.png', 'x')]
    item, = photo_people.make_items(photos, 'train', problems.append)
    assert [[person['name'] for person in photo.people] for photo in item.content] == [
        ['x', 'y'], []]
    assert [str(problem) for problem in problems] == [
        f'{tmp_path}/b.png: x: occurs more than once, only the first is kept']
    assert not problems[0].is_expected


def test_people_of_whom_nothing_is_inside_are_reported(tmp_path):
    photo = make_photo(tmp_path / 'a.png', 'in')
    outside = {'name': 'out', 'coords2d': np.float32([[101, 40], [102, 90]])}
    # The enlarged box reaches into the photo, but the joints do not.
    beside = {'name': 'beside', 'coords2d': np.float32([[99.6, 40], [160, 90]])}
    partly = {'name': 'partly', 'coords2d': np.float32([[99.4, 40], [160, np.nan]])}
    photo = photo_people.Photo(photo.path, photo.people + (outside, beside, partly))
    problems = []
    examples = list(photo_people.examples([photo], NAMES, problems.append))
    assert [example.name for example in examples] == ['in', 'partly']
    assert [(problem.item, problem.is_expected) for problem in problems] == [
        ('out', True), ('beside', True)]
    np.testing.assert_array_equal(examples[1].visibility, [1, 0])


def test_missing_photos_are_reported_and_those_without_people_not_read(tmp_path):
    photo = make_photo(tmp_path / 'a.png', 'x')
    missing = photo_people.Photo(str(tmp_path / 'b.png'), photo.people)
    nobody = photo_people.Photo(str(tmp_path / 'c.png'), ())
    problems = []
    examples = photo_people.examples([missing, nobody, photo], NAMES, problems.append)
    assert [example.name for example in examples] == ['x']
    assert [str(problem) for problem in problems] == [f'{tmp_path}/b.png: missing']


def test_counts_are_expected_problems():
    problems = []
    photo_people.report_counts('a.json', {'crowds': 3, 'people without joints': 0}, problems.append)
    assert [str(problem) for problem in problems] == ['a.json: 3 crowds, left out']
    assert problems[0].is_expected
