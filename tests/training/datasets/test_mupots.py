"""MuPoTS-3D: cells of structs, invalid people, occluded joints, a camera fitted to the labels."""

import numpy as np
import pytest
import scipy.io

from metro_tf import skeleton
from tests.training.datasets import fixtures
from training.datasets import mupots, photo_camera

JOINTS = skeleton.CONVENTIONS['mpi_inf_3dhp_17']
SIZE = (640, 480)
INTRINSICS = np.array([[500.0, 0, 320], [0, 510, 250], [0, 0, 1]])
N_FRAMES = 3


def pose(i_frame, i_person):
    coords3d_cam, _ = fixtures.seen_person(JOINTS.joint_names, INTRINSICS)
    return coords3d_cam + [900 * i_person - 400, 0, 100 * i_frame + 300 * i_person]


def project(coords3d_cam):
    points = coords3d_cam @ INTRINSICS.T
    return points[..., :2] / points[..., 2:]


def make_labels():
    """Cells `[frames, 2]`; the second person is invalid in frame 1."""
    annotations, occlusion = np.empty([2, N_FRAMES, 2], object)
    for i_frame, i_person in np.ndindex(N_FRAMES, 2):
        coords3d = pose(i_frame, i_person)
        pelvis = coords3d[14:15]
        annotations[i_frame, i_person] = {
            'annot2': project(coords3d).T, 'annot3': coords3d.T,
            'univ_annot3': (pelvis + 0.9 * (coords3d - pelvis)).T,
            'isValidFrame': np.uint8((i_frame, i_person) != (1, 1))}
        occlusion[i_frame, i_person] = np.float64([[i_person == 1 and i in (4, 7)
                                                    for i in range(17)]])
    annotations[1, 1]['annot2'] = annotations[1, 1]['annot2'] * np.nan
    return annotations, occlusion


def write_sequence(folder, annotations, occlusion):
    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / 'annot.mat', {'annotations': annotations})
    scipy.io.savemat(folder / 'occlusion.mat', {'occlusion_labels': occlusion})
    for i_frame in range(N_FRAMES):
        people = [project(pose(i_frame, i_person)) for i_person in range(2)]
        fixtures.write_photo(folder / f'img_{i_frame:06}.jpg', people, JOINTS.edges, SIZE)


@pytest.fixture
def source_dir(tmp_path):
    for name in ('TS1', 'TS2'):
        write_sequence(tmp_path / 'mupots/MultiPersonTestSet' / name, *make_labels())
    return tmp_path / 'mupots'


def read(source_dir, **settings):
    """Examples, and problems besides those of sequences that are not there."""
    examples, problems = fixtures.read_all(mupots.MupotsReader(str(source_dir), **settings))
    return examples, [
        problem for problem in problems
        if not (problem.text == 'missing' and problem.path.rpartition('/')[2].startswith('TS'))]


def test_examples(source_dir, tmp_path):
    examples, problems = read(source_dir)
    assert [example.name for example in examples] == [
        f'TS{i}/{name}' for i in (1, 2)
        for name in ('000000/0', '000000/1', '000001/0', '000002/0', '000002/1')]
    assert [(problem.text, problem.is_expected) for problem in problems] == [
        ('1 labels of people out of sight, left out', True)] * 2
    example = examples[1]
    assert example.joint_names == JOINTS.joint_names
    np.testing.assert_allclose(example.coords3d_cam, pose(0, 1), rtol=1e-6)
    np.testing.assert_allclose(
        fixtures.photo_points(example, SIZE), project(pose(0, 1)), atol=0.01)
    np.testing.assert_array_equal(np.flatnonzero(example.visibility == 0), [4, 7])
    assert examples[0].visibility.all()
    for example in examples:
        fixtures.check_projection(example)
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


def test_camera_is_found_from_labels():
    # By hand: 500 * 100 / 4000 + 320 = 332.5 and 510 * -200 / 4000 + 250 = 224.5.
    coords3d = np.array([[100.0, -200, 4000], [0, 0, 3000], [-600, 800, 2000]])
    coords2d = project(coords3d)
    np.testing.assert_allclose(coords2d[0], [332.5, 224.5])
    np.testing.assert_allclose(
        photo_camera.fit_intrinsics(coords2d, coords3d), INTRINSICS, atol=1e-9)


def test_universal_poses_do_not_project(source_dir):
    metric, universal = read(source_dir)[0][0], read(source_dir, labels='univ_annot3')[0][0]
    np.testing.assert_array_equal(universal.coords2d, metric.coords2d)
    pelvis = metric.coords3d_cam[14]
    np.testing.assert_allclose(universal.coords3d_cam[14], pelvis, rtol=1e-6)
    np.testing.assert_allclose(
        universal.coords3d_cam - pelvis, 0.9 * (metric.coords3d_cam - pelvis), atol=1e-2)


def test_steps_begin_with_the_first_frame(source_dir):
    reader = mupots.MupotsReader(str(source_dir), step=2)
    assert [(item.name, item.n_frames) for item in reader.items(lambda problem: None)] == [
        ('TS1', 2), ('TS2', 2)]
    assert [example.name for example in read(source_dir, step=2)[0]][:4] == [
        'TS1/000000/0', 'TS1/000000/1', 'TS1/000002/0', 'TS1/000002/1']


def test_missing_sequences_are_reported(source_dir):
    problems = []
    reader = mupots.MupotsReader(str(source_dir))
    assert len(reader.items(problems.append)) == 2
    folder = source_dir / 'MultiPersonTestSet'
    assert [str(problem) for problem in problems] == [
        f'{folder}/TS{i}: missing' for i in range(3, 21)]
    assert reader.expected_counts() == {'items': 20}
    assert len(mupots.MupotsReader(str(folder)).items(lambda problem: None)) == 2


def test_missing_photos_and_photos_without_labels_are_reported(source_dir):
    folder = source_dir / 'MultiPersonTestSet'
    (folder / 'TS1/img_000002.jpg').unlink()
    fixtures.write_photo(folder / 'TS2/img_000003.jpg', size=SIZE)
    examples, problems = read(source_dir)
    assert len(examples) == 8
    assert [(str(problem), problem.is_expected) for problem in problems[1::2]] == [
        (f'{folder}/TS1/img_000002.jpg: missing', False),
        (f'{folder}/TS2: photos without labels after 3', True)]


def test_wrong_labels_are_reported(source_dir):
    folder = source_dir / 'MultiPersonTestSet/TS1'
    annotations, occlusion = make_labels()
    annotations[0, 0]['annot3'] = annotations[0, 0]['annot3'][:, :16]
    annotations[2, 1] = np.zeros([0, 0])
    write_sequence(folder, annotations, occlusion[:2])
    examples, problems = read(source_dir)
    assert [example.name for example in examples][:3] == [
        'TS1/000000/1', 'TS1/000001/0', 'TS1/000002/0']
    assert examples[0].visibility.all()
    assert [(problem.item, problem.text) for problem in problems[:3]] == [
        ('', '(2, 2) labels instead of (3, 2), all are left out'),
        ('frame 0, person 0',
         'annot3 must have the shape (3, 17), but has (3, 16); the person is left out'),
        ('', '3 labels of people out of sight, left out')]


def test_labels_that_no_camera_fits_are_reported(source_dir):
    annotations, occlusion = make_labels()
    for cell in annotations.ravel():
        cell['annot2'] = cell['annot2'][:, ::-1]
    write_sequence(source_dir / 'MultiPersonTestSet/TS1', annotations, occlusion)
    examples, problems = read(source_dir)
    assert len(examples) == 5
    assert 'no camera projects annot3 to annot2 (median error' in problems[0].text


def test_damaged_files_are_reported(source_dir):
    folder = source_dir / 'MultiPersonTestSet'
    (folder / 'TS1/occlusion.mat').unlink()
    fixtures.write_cut_off(folder / 'TS2/annot.mat', 700)
    examples, problems = read(source_dir)
    assert len(examples) == 5
    assert str(problems[0]) == f'{folder}/TS1/occlusion.mat: missing'
    assert str(problems[2]).startswith(f'{folder}/TS2/annot.mat: damaged')


def test_nobody_with_labels_is_reported(source_dir):
    annotations, occlusion = make_labels()
    for cell in annotations.ravel():
        cell['isValidFrame'] = 0
    write_sequence(source_dir / 'MultiPersonTestSet/TS1', annotations, occlusion)
    examples, problems = read(source_dir)
    assert len(examples) == 5 and problems[0].text == 'no person has labels'


def test_wrong_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match='`step` must be a positive .* Received: step=0'):
        mupots.MupotsReader('x', step=0)
    with pytest.raises(ValueError, match="`labels` must be one of .* Received: labels='annot2'"):
        mupots.MupotsReader('x', labels='annot2')
    with pytest.raises(ValueError, match='must be the folder that holds TS1 or MultiPersonTest'):
        mupots.MupotsReader(str(tmp_path)).items(pytest.fail)
