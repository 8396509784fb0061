"""MATLAB files: lists of one are lists, nothing that is absent or empty surprises."""

import numpy as np
import scipy.io

from training.datasets import matlab


def load(path, values, names):
    scipy.io.savemat(path, values)
    problems = []
    return matlab.load(path, names, problems.append), problems


def test_lists_of_any_length_are_lists(tmp_path):
    one, two = {'id': 3.0}, np.empty([1, 2], [('id', object)])
    two[0, 0], two[0, 1] = (1.0,), (2.0,)
    (one, two, none), problems = load(
        tmp_path / 'a.mat', {'one': {'point': one}, 'two': {'point': two},
                             'none': {'point': np.zeros([0, 0])}}, ['one', 'two', 'none'])
    assert problems == []
    ids = [[matlab.entry(point, 'id') for point in matlab.entries(matlab.first(value), 'point')]
           for value in (one, two, none)]
    assert ids == [[3.0], [1.0, 2.0], []]


def test_what_is_absent_or_empty_is_none(tmp_path):
    (struct,), _ = load(
        tmp_path / 'a.mat', {'a': {'empty': np.zeros([0, 0]), 'text': 'jpg', 'flag': '1'}}, ['a'])
    struct = matlab.first(struct)
    assert [matlab.entry(struct, name) for name in ('empty', 'absent', 'text', 'flag')] == [
        None, None, 'jpg', '1']
    assert matlab.entry(None, 'x') is None and len(matlab.entries(None, 'x')) == 0


def test_missing_and_damaged_files_are_reported(tmp_path):
    path = tmp_path / 'a.mat'
    problems = []
    assert matlab.load(path, ['a'], problems.append) is None
    scipy.io.savemat(path, {'a': np.random.default_rng(0).normal(size=[50, 50])},
                     do_compression=True)
    whole = path.read_bytes()
    for n_bytes in (0, 60, 130, 2000):
        path.write_bytes(whole[:n_bytes])
        assert matlab.load(path, ['a'], problems.append) is None
    path.write_bytes(whole)
    assert matlab.load(path, ['a', 'b'], problems.append) is None
    assert [problem.path for problem in problems] == [str(path)] * 6
    assert problems[0].text == 'missing'
    assert all('damaged' in problem.text for problem in problems[1:])
    assert problems[5].text == 'damaged: b missing'
