"""LSP, LSP Extended and HR-LSPET: two meanings of the third value, two layouts."""

import json

import numpy as np
import pytest
import scipy.io

from metro_tf import skeleton
from tests.training.datasets import fixtures
from training.datasets import lsp

JOINTS = skeleton.CONVENTIONS['lsp_14']
SIZE = (160, 180)
INTRINSICS = np.array([[260.0, 0, 80], [0, 260, 95], [0, 0, 1]])


def person2d(number):
    coords2d = fixtures.seen_person(JOINTS.joint_names, INTRINSICS)[1]
    return coords2d + [number % 7, 0]


def make_joints(n, third):
    """Array `[14, 3, n]`, pixels counted from 1."""
    return np.stack([
        np.concatenate([person2d(number) + 1, np.full([14, 1], third)], axis=1)
        for number in range(1, n + 1)], axis=2)


def write_photos(folder, names):
    for i, name in enumerate(names, start=1):
        fixtures.write_photo(folder / name, [person2d(i)], JOINTS.edges, SIZE)


@pytest.fixture
def lsp_dir(tmp_path):
    """1002 photos, of which the first two and the last two exist; 1 means occluded."""
    joints = make_joints(1002, 0.0)
    joints[3, 2, 0] = 1
    folder = tmp_path / 'lsp'
    folder.mkdir()
    scipy.io.savemat(folder / 'joints.mat', {'joints': joints.transpose(1, 0, 2)})
    write_photos(folder / 'images', [f'im{number:04}.jpg' for number in (1, 2, 1001, 1002)])
    return folder


def test_lsp(lsp_dir, tmp_path):
    reader = lsp.LspReader(str(lsp_dir))
    examples, problems = fixtures.read_all(reader)
    assert [example.name for example in examples] == ['im0001', 'im0002']
    assert len(problems) == 998 and str(problems[0]) == f'{lsp_dir}/images/im0003.jpg: missing'
    assert [item.name for item in reader.items(pytest.fail)] == [
        'train/000000', 'train/000250', 'train/000500', 'train/000750']
    np.testing.assert_allclose(fixtures.photo_points(examples[0], SIZE), person2d(1), atol=1e-3)
    np.testing.assert_array_equal(examples[0].visibility, [1, 1, 1, 0] + [1] * 10)
    assert np.isfinite(examples[0].coords2d).all()
    assert examples[0].joint_names == JOINTS.joint_names
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


def test_the_test_split_begins_at_1001(lsp_dir):
    reader = lsp.LspReader(str(lsp_dir), split='test')
    examples, problems = fixtures.read_all(reader)
    assert [example.name for example in examples] == ['im1001', 'im1002']
    assert [problem.text for problem in problems] == [
        'damaged: labels of 1002 photos, but photos up to 2000 wanted']
    assert reader.expected_counts() == {'examples': 1000}
    assert lsp.LspReader('', split='all').expected_counts() == {'examples': 2000}


@pytest.fixture
def lspet_dir(tmp_path):
    """Five photos; 0 means that the coordinates are meaningless."""
    joints = make_joints(5, 1.0)
    joints[0, :, 0] = [-322, 900, 0]
    joints[3:, 2, 2] = 0
    folder = tmp_path / 'lspet'
    folder.mkdir()
    scipy.io.savemat(folder / 'joints.mat', {'joints': joints})
    (folder / 'splits.json').write_text(json.dumps(
        {'train': [1, 3], 'holdout': [4, 5], 'train_twins_of_holdout': [2]}))
    write_photos(folder / 'images', [f'im{number:05}.jpg' for number in range(1, 6)])
    return folder


def test_lspet(lspet_dir, tmp_path):
    reader = lsp.LspetReader(str(lspet_dir))
    assert reader.expected_counts() == {'examples': 10000}
    examples, problems = fixtures.read_all(reader)
    assert [example.name for example in examples] == ['im00001', 'im00002', 'im00004', 'im00005']
    assert [(problem.text, problem.is_expected) for problem in problems] == [
        ('damaged: labels of 5 photos, but photos up to 10000 wanted', False),
        ('1 photos with fewer than 4 joints, left out', True)]
    assert np.isnan(examples[0].coords2d[0]).all() and np.isfinite(examples[0].coords2d[1:]).all()
    np.testing.assert_array_equal(examples[0].visibility, [0] + [1] * 13)
    np.testing.assert_allclose(
        fixtures.photo_points(examples[1], SIZE), person2d(2), atol=1e-3)
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


@pytest.mark.parametrize('split, names', [
    ('train', ['im00001', 'im00003']), ('holdout', ['im00004', 'im00005'])])
def test_splits_of_lspet(lspet_dir, split, names):
    reader = lsp.LspetReader(str(lspet_dir), split=split, min_joints=3)
    assert reader.expected_counts() == {}
    examples, problems = fixtures.read_all(reader)
    assert [example.name for example in examples] == names and problems == []


def test_hr_lspet_has_png_files_beside_its_labels(lspet_dir):
    for path in (lspet_dir / 'images').iterdir():
        path.unlink()
    write_photos(lspet_dir, [f'im{number:05}.png' for number in range(1, 5)])
    examples, problems = fixtures.read_all(lsp.LspetReader(str(lspet_dir), split='holdout'))
    assert [example.name for example in examples] == ['im00004']
    assert [str(problem) for problem in problems] == [f'{lspet_dir}/im00005.png: missing']


@pytest.mark.parametrize('reader_class, folder_name, text', [
    (lsp.LspReader, 'lspet', 'joints must have the shape (3, 14) x n, but has (14, 3, 5)'),
    (lsp.LspetReader, 'lsp', 'joints must have the shape (14, 3) x n, but has (3, 14, 1002)')])
def test_labels_of_the_other_release_are_reported(
        lsp_dir, lspet_dir, tmp_path, reader_class, folder_name, text):
    examples, problems = fixtures.read_all(reader_class(str(tmp_path / folder_name)))
    assert examples == [] and [problem.text for problem in problems] == [text]


def test_damaged_labels_are_reported(lsp_dir, lspet_dir):
    for folder, reader_class in ((lsp_dir, lsp.LspReader), (lspet_dir, lsp.LspetReader)):
        fixtures.write_cut_off(folder / 'joints.mat', 500)
        examples, problems = fixtures.read_all(reader_class(str(folder)))
        assert examples == [] and len(problems) == 1
        assert str(problems[0]).startswith(f'{folder}/joints.mat: damaged')


def test_wrong_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`split` must be one of .* Received: split='holdout'"):
        lsp.LspReader('x', split='holdout')
    with pytest.raises(ValueError, match="`split` must be one of .* Received: split='test'"):
        lsp.LspetReader('x', split='test')
    with pytest.raises(ValueError, match='`min_joints` must be a positive'):
        lsp.LspetReader('x', min_joints=-1)
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds joints.mat'):
        lsp.LspReader(str(tmp_path)).items(pytest.fail)
