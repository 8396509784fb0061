"""MPI-INF-3DHP, test part: fitted cameras, valid frames, both kinds of labels."""

import h5py
import numpy as np
import pytest

from metro_tf import skeleton
from tests.training.datasets import fixtures
from training.datasets import mpi_inf_3dhp_test

CONVENTION = skeleton.CONVENTIONS['mpi_inf_3dhp_17']
SIZE = (256, 256)
K = np.array([[1500.172 / 8, 0, 1017.387 / 8], [0, 1500.837 / 8, 1043.032 / 8], [0, 0, 1]])
IS_VALID = [1, 0, 1, 1]
ACTIVITIES = [1, 1, 3, 7]


def make_labels():
    """Labels `[frames, 17, ...]`: 2D, 3D and 3D of the universal size."""
    people = [
        fixtures.seen_person(CONVENTION.joint_names, K, (3500, 200 * i_frame - 300, 1400))
        for i_frame in range(len(IS_VALID))]
    coords3d, coords2d = (np.stack(part) for part in zip(*people))
    root = coords3d[:, 14:15]
    return coords2d, coords3d, root + 1.1 * (coords3d - root)


def write_sequence(folder):
    labels = make_labels()
    folder.mkdir(parents=True)
    for i_frame, coords2d in enumerate(labels[0]):
        fixtures.write_photo(
            folder / f'imageSequence/img_{i_frame + 1:06d}.jpg', [coords2d], CONVENTION.edges,
            SIZE, shade=50 + 10 * i_frame)
    with h5py.File(folder / 'annot_data.mat', 'w', userblock_size=512) as file:
        for name, value in zip(('annot2', 'annot3', 'univ_annot3'), labels):
            file[name] = value[:, np.newaxis]
        file['valid_frame'] = np.array(IS_VALID, float)[:, np.newaxis]
        file['activity_annotation'] = np.array(ACTIVITIES, float)[:, np.newaxis]
        file['bb_crop'] = np.zeros([len(IS_VALID), 34])
    with open(folder / 'annot_data.mat', 'r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file, Platform: GLNXA64')


@pytest.fixture
def source(tmp_path):
    write_sequence(tmp_path / 'source' / 'TS1')
    return tmp_path / 'source'


def read(source, **settings):
    return fixtures.read_all(mpi_inf_3dhp_test.MpiInf3dhpTestReader(
        str(source), **{'sequences': ('TS1',), **settings}))


def test_labels_by_hand(source, tmp_path):
    examples, problems = read(source)
    assert [example.name for example in examples] == [
        'TS1/activity 1/000001', 'TS1/activity 3/000003', 'TS1/activity 7/000004']
    assert [(problem.item, problem.text, problem.is_expected) for problem in problems] == [
        ('1 frames', 'not valid for the evaluation, left out', True)]
    coords2d, coords3d, _ = make_labels()
    example = examples[1]
    assert abs(int(example.image[0, 0, 0]) - 70) < 3  # the third picture
    np.testing.assert_allclose(example.coords3d_cam, coords3d[2], atol=1e-2)
    np.testing.assert_allclose(fixtures.photo_points(example, SIZE), coords2d[2], atol=1e-3)
    fixtures.check_projection(example)
    fixtures.check_round_trip(examples, tmp_path)


def test_universal_labels(source):
    examples, _ = read(source, labels='univ_annot3')
    coords2d, _, universal = make_labels()
    np.testing.assert_allclose(examples[1].coords3d_cam, universal[2], atol=1e-2)
    np.testing.assert_allclose(fixtures.photo_points(examples[1], SIZE), coords2d[2], atol=1e-3)


def test_all_frames(source):
    examples, problems = read(source, only_valid=False)
    assert len(examples) == 4 and problems == []


def test_up_in_the_published_cameras():
    # The cameras hang about level; the studio's looks down by asin(0.2078) = 12 degrees.
    np.testing.assert_allclose(
        mpi_inf_3dhp_test.world_up('TS2'), [0.0616098, -0.976233, -0.20778], atol=1e-4)
    np.testing.assert_allclose(
        mpi_inf_3dhp_test.world_up('TS6'), [-0.00921, -0.995039, -0.099062], atol=1e-4)


def replace(name, value):
    def damage(folder):
        with h5py.File(folder / 'annot_data.mat', 'r+') as file:
            del file[name]
            file[name] = value
    return damage


@pytest.mark.parametrize('damage, n_left, text', [
    (lambda folder: (folder / 'annot_data.mat').unlink(), 0, 'annot_data.mat: missing or damaged'),
    (lambda folder: fixtures.write_cut_off(folder / 'annot_data.mat', 4000), 0,
     'annot_data.mat: missing or damaged: '),
    (replace('annot3', np.zeros([4, 1, 28, 3])), 0,
     'annot_data.mat: `annot3` must have shape (4, 1, 17, 3). Received: (4, 1, 28, 3); left out'),
    (replace('annot2', np.zeros([3, 1, 17, 2])), 0, 'annot_data.mat: `annot2` must have shape'),
    (replace('annot3', np.ones([4, 1, 17, 3])), 0,
     'annot_data.mat: `coords3d_cam` must have points in different directions. Received: 68'),
    (lambda folder: (folder / 'imageSequence/img_000003.jpg').unlink(), 2,
     'imageSequence/img_000003.jpg: missing'),
    (lambda folder: fixtures.write_cut_off(folder / 'imageSequence/img_000003.jpg', 700), 2,
     'imageSequence/img_000003.jpg: damaged, or no photo')])
def test_problems(source, damage, n_left, text):
    damage(source / 'TS1')
    examples, problems = read(source)
    problems = [problem for problem in problems if not problem.is_expected]
    assert len(examples) == n_left
    assert len(problems) == 1
    assert str(problems[0]).startswith(f'{source}/TS1/{text}')


def test_person_outside_is_reported(source):
    fixtures.write_photo(source / 'TS1/imageSequence/img_000003.jpg', size=(20, 20))
    examples, problems = read(source)
    assert len(examples) == 2
    assert str(problems[1]) == (
        f'{source}/TS1/imageSequence/img_000003.jpg: the person is outside, left out')


def test_missing_sequences(source):
    examples, problems = read(source, sequences=('TS1', 'TS5'))
    assert len(examples) == 3
    assert str(problems[0]) == f'{source}/TS5: missing'
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds TS6. '):
        read(source, sequences=('TS6',))


def test_expected_counts():
    reader = mpi_inf_3dhp_test.MpiInf3dhpTestReader('x')
    assert reader.expected_counts() == {'items': 6, 'examples': 2929}
    reader = mpi_inf_3dhp_test.MpiInf3dhpTestReader('x', sequences=('TS5',), only_valid=False)
    assert reader.expected_counts() == {'items': 1}


@pytest.mark.parametrize('settings, message', [
    ({'sequences': ('TS7',)}, '`sequences` must be distinct ones of'),
    ({'labels': 'annot2'}, "`labels` must be one of .* Received: labels='annot2'")])
def test_unknown_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        mpi_inf_3dhp_test.MpiInf3dhpTestReader('x', **settings)
