"""SURREAL: mirrored pictures are repaired, clips of one frame, masks, monsters, problems."""

import numpy as np
import pytest
import scipy.io

from metro_tf import skeleton
from tests.training.datasets import fixtures
from training.datasets import surreal

SMPL = skeleton.CONVENTIONS['smpl_24']
CAMERA_POSITION = np.array([7.0, -1.0, 0.2])
# World to camera as stored, whose determinant is -1.
STORED_ROTATION = np.array([[0.0, 0, -1], [0, 1, 0], [-1, 0, 0]])


def make_joints(n_frames):
    """Joints `[frames, 24, 3]` in m, up is -y; the person faces the camera and moves sideways."""
    standing = fixtures.standing(SMPL.joint_names)[:, [0, 2, 1]] * [1, -1, 1] / 1000
    return np.stack([standing + [0, 0, 0.05 * i] for i in range(n_frames)])


def stored_points(joints):
    """Px `[frames, 24, 2]` in the stored pictures."""
    points = (joints - CAMERA_POSITION) @ STORED_ROTATION.T
    return 600 * points[..., :2] / points[..., 2:] + [160, 120]


def write_clip(folder, number, n_frames, n_video_frames=None):
    stem = f'{folder.name}_c{number:04d}'
    folder.mkdir(parents=True, exist_ok=True)
    joints = make_joints(n_frames)
    points = stored_points(joints)
    # As MATLAB does, a last axis of length 1 is left out.
    squeezed = [np.squeeze(array.transpose(2, 1, 0)) if n_frames == 1 else array.transpose(2, 1, 0)
                for array in (np.round(points), joints)]
    scipy.io.savemat(folder / f'{stem}_info.mat', {
        'joints2D': squeezed[0].astype(np.float32), 'joints3D': squeezed[1].astype(np.float32),
        'camLoc': CAMERA_POSITION.reshape(3, 1), 'camDist': 5.0, 'gender': np.ones([n_frames, 1]),
        'sequence': folder.name, 'clipNo': number, 'zrot': np.zeros([n_frames, 1])})
    photos, masks = [], {}
    for i_frame in range(n_frames):
        photo = np.full([240, 320, 3], 90, np.uint8)
        fixtures.draw_person(photo, points[i_frame], SMPL.edges)
        masks[f'segm_{i_frame + 1}'] = np.where(photo[..., 0] > 90, 7, 0).astype(np.uint8)
        photo[:20, :20] = (0, 0, 250)  # marks the stored picture's left corner
        photos.append(photo)
    scipy.io.savemat(folder / f'{stem}_segm.mat', masks, do_compression=True)
    fixtures.write_video(folder / f'{stem}.mp4', photos[:n_video_frames])


@pytest.fixture
def sequence_dir(tmp_path):
    folder = tmp_path / 'surreal' / 'cmu' / 'train' / 'run0' / '01_01'
    write_clip(folder, 1, 3)
    write_clip(folder, 2, 1)
    return folder


def make_reader(sequence_dir, **settings):
    return surreal.SurrealReader(str(sequence_dir.parents[3]), **{'step': 2, **settings})


def test_examples_of_a_sequence(sequence_dir, tmp_path):
    reader = make_reader(sequence_dir)
    items = reader.items(pytest.fail)
    assert [(item.name, item.n_frames) for item in items] == [('train/run0/01_01', 100)]
    examples, problems = fixtures.read_all(reader)
    assert problems == []
    assert [example.name for example in examples] == [
        f'train/run0/01_01/{name}' for name in ('c0001/000', 'c0001/002', 'c0002/000')]
    for example in examples:
        assert example.joint_names == skeleton.vocabulary_names('smpl_24')
        fixtures.check_projection(example)
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


def test_mirrored_pictures_are_repaired(sequence_dir):
    example = fixtures.read_all(make_reader(sequence_dir))[0][0]
    assert example.frame[2:].tolist() == [320, 240]  # not scaled down
    # The stored column x is the column 319 - x now, and names stay.
    expected = stored_points(make_joints(1))[0] * [-1, 1] + [319, 0]
    np.testing.assert_allclose(
        fixtures.to_photo(example, example.coords2d), expected, atol=0.01)
    left_corner, right_corner = example.image[5, :10].mean(axis=0), example.image[5, -10:].mean(0)
    assert right_corner[2] > 200 > left_corner[2]
    # Somebody who faces the camera has the left hand at the right of the picture.
    joints = dict(zip(SMPL.joint_names, example.coords2d))
    assert joints['lwri'][0] > joints['rwri'][0]
    np.testing.assert_array_equal(example.camera_up, [0, -1, 0])


def test_camera_by_hand(sequence_dir):
    coords3d, camera = surreal.read_labels(sequence_dir / '01_01_c0001_info.mat')
    assert np.linalg.det(camera.rotation) == pytest.approx(1)
    np.testing.assert_allclose(coords3d[0, 7], [0, -90, 130], atol=1e-3)  # left ankle, mm
    # The point (3, -1, 0.4) m is 4 m before the camera and by 0.2 m at its right, at its height.
    point = camera.to_camera_frame(np.array([3000, -1000, 400.0]))
    np.testing.assert_allclose(point, [200, 0, 4000])
    np.testing.assert_allclose(camera.project(point), [159 + 30, 120])


def test_single_frame_is_not_mixed_up_with_an_axis(sequence_dir):
    path = sequence_dir / '01_01_c0002_info.mat'
    assert scipy.io.loadmat(path)['joints3D'].shape == (3, 24)
    coords3d, _ = surreal.read_labels(path)
    np.testing.assert_allclose(coords3d, make_joints(1) * 1000, atol=1e-3)


def test_masks_give_alpha_and_box(sequence_dir):
    example = fixtures.read_all(make_reader(sequence_dir))[0][0]
    assert set(np.unique(example.alpha)) == {0, 255}
    assert example.alpha[5, -5] == 0  # the mark is no part of the person
    rows, columns = np.nonzero(example.alpha)
    np.testing.assert_allclose(example.box, [
        columns.min() - 0.5, rows.min() - 0.5, np.ptp(columns) + 1, np.ptp(rows) + 1])
    # Where alpha is, the picture is light.
    assert example.image[example.alpha > 0].mean() > 180 > example.image[rows.max(), 0].mean()


def problem_texts(reader):
    examples, problems = fixtures.read_all(reader)
    return [(str(problem.path)[-20:], problem.item, problem.text, problem.is_expected)
            for problem in problems], examples


@pytest.mark.parametrize('name, is_monster', [
    ('18_05', True), ('19_11', True), ('143_21', True), ('ung_143_21', True),
    ('118_05', False), ('143_20', False), ('18', False)])
def test_monsters_are_left_out(sequence_dir, name, is_monster):
    write_clip(sequence_dir.parent / name, 1, 1)
    problems = []
    names = [item.name for item in make_reader(sequence_dir).items(problems.append)]
    assert (f'train/run0/{name}' in names) != is_monster
    assert [(problem.text, problem.is_expected) for problem in problems] == [
        ('shows a monster, left out', True)] * is_monster


def test_damaged_labels(sequence_dir):
    info = sequence_dir / '01_01_c0001_info.mat'
    info.write_bytes(info.read_bytes()[:500])
    scipy.io.savemat(sequence_dir / '01_01_c0002_info.mat', {'joints3D': np.zeros([3, 23, 2])})
    problems, examples = problem_texts(make_reader(sequence_dir))
    assert [problem[0] for problem in problems] == ['01_01_c0001_info.mat', '01_01_c0002_info.mat']
    assert all('must hold `joints3D` [3, 24, frames]' in problem[2] for problem in problems)
    assert not any(problem[3] for problem in problems) and not examples


def test_missing_masks_leave_examples_without_alpha(sequence_dir):
    (sequence_dir / '01_01_c0001_segm.mat').unlink()
    scipy.io.savemat(
        sequence_dir / '01_01_c0002_segm.mat', {'segm_1': np.zeros([24, 32], np.uint8)})
    problems, examples = problem_texts(make_reader(sequence_dir))
    assert problems == [
        ('01_01_c0001_segm.mat', '',
         'missing or damaged, examples have no alpha: FileNotFoundError', False),
        ('01_01_c0002_segm.mat', 'segm_1',
         'missing or of another size, the example has no alpha', False)]
    assert [example.alpha for example in examples] == [None] * 3
    # The box is that of the joints, enlarged by a fifth.
    np.testing.assert_allclose(
        examples[0].box[2], np.ptp(examples[0].coords2d, axis=0)[0] * 1.2, rtol=1e-3)


def test_people_who_are_not_seen_and_short_videos(sequence_dir):
    masks = scipy.io.loadmat(sequence_dir / '01_01_c0001_segm.mat')
    masks = {name: value * 0 for name, value in masks.items() if name.startswith('segm')}
    scipy.io.savemat(sequence_dir / '01_01_c0001_segm.mat', masks)
    write_clip(sequence_dir, 2, 3, n_video_frames=1)
    (sequence_dir.parent / 'empty').mkdir()
    problems, examples = problem_texts(make_reader(sequence_dir))
    assert problems == [
        (str(sequence_dir.parent / 'empty')[-20:], '', 'holds no *_info.mat', False),
        (str(sequence_dir / '01_01_c0001.mp4')[-20:], 'frames 0, 2',
         'the person is outside the picture, left out', True),
        (str(sequence_dir / '01_01_c0002.mp4')[-20:], 'frame 1',
         'the video ends before frame 2; the rest is left out', False)]
    assert len(examples) == 1


def test_people_behind_the_camera_are_not_seen():
    camera = surreal.photo_camera.PhotoCamera(np.eye(3))
    photo, joints = np.zeros([240, 320, 3], np.uint8), np.zeros([24, 3])
    assert surreal._example(photo, 'a', joints - [0, 0, 500], camera, None) is None


def test_wrong_settings(tmp_path):
    with pytest.raises(ValueError, match=r"`split` must be one of .*Received: split='dev'"):
        surreal.SurrealReader('x', split='dev')
    with pytest.raises(ValueError, match='`run` must be 0, 1 or 2. Received: run=3'):
        surreal.SurrealReader('x', run=3)
    with pytest.raises(ValueError, match='`step` must be at least 1. Received: step=0'):
        surreal.SurrealReader('x', step=0)
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds cmu/val/run1'):
        surreal.SurrealReader(str(tmp_path), split='val', run=1).items(pytest.fail)
