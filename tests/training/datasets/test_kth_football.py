"""KTH Football: order of the numbers, distant cameras, problems."""

import cv2
import numpy as np
import pytest

from metro_tf import skeleton
from tests.training.datasets import fixtures
from training.datasets import kth_football

LSP = skeleton.CONVENTIONS['lsp_14']
N_FRAMES = 3
# For each camera: to the right and down in the world, and px for each m.
AXES = [
    (np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, -1.0]), 140.0),
    (np.array([-1.0, 0.0, 0.0]), np.array([0.0, 0.1, -0.995]), 120.0),
    (np.array([0.8, -0.6, 0.0]), np.array([0.0, 0.0, -1.0]), 100.0)]


def affine_camera(i_camera, i_frame):
    """Matrix `[2, 4]` in px that count from 1, for m."""
    right, down, scale = AXES[i_camera]
    linear = scale * np.stack([right, down])
    return np.concatenate([linear, [[200 + 5 * i_frame], [250 + i_camera]]], axis=1)


def make_arrays():
    """Joints in m about the body's centre, and in px from 1, and cameras."""
    joints = fixtures.standing(LSP.joint_names) / 1000 - [0, 0, 0.95]
    coords3d = np.stack([joints + [0.01 * i, 0, 0] for i in range(N_FRAMES)])
    cameras = np.array([[affine_camera(c, i) for c in range(3)] for i in range(N_FRAMES)])
    coords2d = np.einsum('tcxw,tjw->tcjx', cameras[..., :3], coords3d) + cameras[:, :, None, :, 3]
    return coords3d, coords2d, cameras


def write_numbers(path, array):
    path.write_text('\n'.join(f'{value:.6f}' for value in array.ravel()) + '\n')


@pytest.fixture
def sequence_dir(tmp_path):
    folder = tmp_path / 'kth' / 'player2sequence1' / 'Sequence 1'
    folder.mkdir(parents=True)
    coords3d, coords2d, cameras = make_arrays()
    write_numbers(folder / 'positions3d.txt', coords3d)
    write_numbers(folder / 'positions2d.txt', coords2d)
    write_numbers(folder / 'cameras.txt', cameras.swapaxes(2, 3))  # columns one after the other
    for i_camera in range(3):
        photo_dir = folder / f'Camera {i_camera + 1}'
        photo_dir.mkdir()
        for i_frame in range(N_FRAMES):
            photo = np.full([640, 480, 3], (60, 110, 50 + i_frame), np.uint8)
            fixtures.draw_person(photo, coords2d[i_frame, i_camera] - 1, LSP.edges)
            cv2.imwrite(str(photo_dir / f'{i_frame + 1:05d}.png'), photo[..., ::-1])
    return folder


def make_reader(sequence_dir, **settings):
    return kth_football.KthFootballReader(str(sequence_dir.parents[1]), **settings)


def test_examples_of_a_sequence(sequence_dir, tmp_path):
    reader = make_reader(sequence_dir, step=2)
    items = reader.items(pytest.fail)
    assert [(item.name, item.n_frames) for item in items] == [
        (f'player2sequence1/Sequence 1 camera {i}', 2) for i in (1, 2, 3)]
    examples, problems = fixtures.read_all(reader)
    assert problems == []
    assert [example.name for example in examples[:2]] == [
        'player2sequence1/Sequence 1 camera 1/00001', 'player2sequence1/Sequence 1 camera 1/00003']
    assert len(examples) == 6
    for example in examples:
        assert example.joint_names == LSP.joint_names
        fixtures.check_projection(example, atol=0.1)
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


def test_units_and_axes(sequence_dir):
    example = fixtures.read_all(make_reader(sequence_dir))[0][0]
    joints = dict(zip(LSP.joint_names, example.coords3d_cam))
    np.testing.assert_allclose(  # 420 mm up and 10 mm to the left in the picture
        joints['lank'] - joints['lkne'], [10, 420, 30], atol=0.1)
    np.testing.assert_allclose(example.camera_up, [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(np.mean(example.coords3d_cam[:, 2]), 100e3, rtol=1e-5)
    # The camera looks along -x, from where the person's left, +y, is at the right.
    assert joints['lsho'][0] > joints['rsho'][0]


def test_labels_are_close_to_what_the_affine_camera_sees(sequence_dir):
    _, coords2d, _ = make_arrays()
    for example in fixtures.read_all(make_reader(sequence_dir))[0][::N_FRAMES]:
        i_camera = int(example.name.split('camera ')[1][0]) - 1
        scale = example.frame[2] / 480
        photo_points = (example.coords2d - example.frame[:2] + 0.5) / scale - 0.5
        np.testing.assert_allclose(photo_points, coords2d[0, i_camera] - 1, atol=0.7)


def test_numbers_are_read_in_columns(tmp_path):
    write_numbers(tmp_path / 'positions3d.txt', np.arange(2 * 14 * 3) / 100)
    write_numbers(tmp_path / 'positions2d.txt', np.arange(2 * 3 * 14 * 2))
    write_numbers(tmp_path / 'cameras.txt', np.arange(2 * 3 * 4 * 2))
    coords3d, coords2d, cameras = kth_football.read_labels(tmp_path)
    np.testing.assert_allclose(coords3d[1, 2], [480, 490, 500])
    np.testing.assert_allclose(coords2d[1, 2, 3], [145, 146])  # 84 + 56 + 6, from 1
    np.testing.assert_allclose(cameras[0, 1], [[.008, .010, .012, 13], [.009, .011, .013, 14]])


def test_distant_camera_by_hand():
    matrix = np.array([[0.2, 0, 0, 100], [0, 0, -0.2, 200]])
    camera = kth_football.distant_camera(matrix, np.array([0, 0, 1000.0]), 1e5)
    np.testing.assert_allclose(camera.intrinsics, [[20000, 0, 100], [0, 20000, 0], [0, 0, 1]])
    np.testing.assert_allclose(camera.rotation, [[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    # By y = 500 mm behind the centre of the body; the affine camera sees it at (120, -60).
    point = camera.to_camera_frame(np.array([[100, 500, 1300.0]]))
    np.testing.assert_allclose(point, [[100, -300, 100500]])
    np.testing.assert_allclose(camera.project(point), [[119.9005, -59.7015]], atol=1e-4)


@pytest.mark.parametrize('distance_mm', [2e4, 1e5])
def test_distant_camera_differs_by_depth_over_distance(distance_mm):
    rng = np.random.default_rng(0)
    for _ in range(20):
        matrix = np.concatenate(
            [rng.normal(size=[2, 3]) * 0.2, rng.uniform(0, 500, [2, 1])], axis=1)
        center = rng.normal(size=3) * 1000
        camera = kth_football.distant_camera(matrix, center, distance_mm)
        assert np.linalg.det(camera.rotation) == pytest.approx(1)
        assert camera.intrinsics[1, 0] == 0 and camera.intrinsics[0, 0] > 0
        points = center + rng.uniform(-900, 900, [50, 3])
        affine = points @ matrix[:, :3].T + matrix[:, 3]
        points_cam = camera.to_camera_frame(points)
        middle = matrix[:, :3] @ center + matrix[:, 3]
        shares = np.abs(points_cam[:, 2:] / distance_mm - 1)
        np.testing.assert_array_less(
            np.abs(camera.project(points_cam) - affine),
            np.abs(affine - middle) * shares / (1 - shares) + 1e-6)


def problem_texts(reader):
    examples, problems = fixtures.read_all(reader)
    return [str(problem) for problem in problems], examples


def test_missing_and_damaged_photos_and_folders(sequence_dir):
    (sequence_dir / 'Camera 1' / '00002.png').unlink()
    (sequence_dir / 'Camera 2' / '00001.png').write_bytes(b'no photo')
    (sequence_dir / 'Camera 2' / '00004.png').write_bytes(b'one too many')
    for path in (sequence_dir / 'Camera 3').iterdir():
        path.unlink()
    texts, examples = problem_texts(make_reader(sequence_dir))
    assert [text.split('Sequence 1/')[1].split(': cannot')[0] for text in texts] == [
        'Camera 3: missing, or without photos', 'Camera 1/00002.png: missing',
        'Camera 2: 4 photos but 3 labels, the rest is left out',
        'Camera 2/00001.png: damaged, or no photo']
    assert len(examples) == 4


@pytest.mark.parametrize('name, content, text', [
    ('positions3d.txt', '1\n2\n', '42 finite numbers for each frame. Received: 2 numbers'),
    ('positions2d.txt', 'nan\n' * 84, '84 numbers, 0 of them finite'),
    ('cameras.txt', 'x y', 'cameras.txt must hold one number in each line. could not convert'),
    ('cameras.txt', '1\n' * 24, 'the same number of frames. Received: [3, 3, 1]'),
    ('cameras.txt', None, 'cameras.txt is missing'),
    ('cameras.txt', '', '24 finite numbers for each frame. Received: 0 numbers')])
def test_damaged_labels_are_told_for_each_camera(sequence_dir, name, content, text):
    (sequence_dir / name).unlink()
    if content is not None:
        (sequence_dir / name).write_text(content)
    texts, examples = problem_texts(make_reader(sequence_dir))
    assert len(texts) == 3 and not examples
    assert all(text in line and str(sequence_dir) in line for line in texts)


def test_wrong_labels_of_photos_are_left_out(sequence_dir):
    _, coords2d, cameras = make_arrays()
    coords2d[0] += 40
    cameras[1, 0, :, :3] = 0
    cameras[2, :, :, 3] += 1000
    coords2d[2] += 1000
    write_numbers(sequence_dir / 'positions2d.txt', coords2d)
    write_numbers(sequence_dir / 'cameras.txt', cameras.swapaxes(2, 3))
    texts, examples = problem_texts(make_reader(sequence_dir))
    assert [text.split('Camera ')[1] for text in texts if 'Camera 1' in text] == [
        '1/00001.png: 2D and 3D labels differ by 57 px, left out',
        '1/00002.png: the camera is damaged, left out',
        '1/00003.png: the person is outside the photo, left out']
    assert [example.name[-14:] for example in examples] == ['camera 2/00002', 'camera 3/00002']


def test_labels_in_another_unit_are_told(sequence_dir):
    coords3d, _, cameras = make_arrays()
    cameras[..., :3] /= 10
    write_numbers(sequence_dir / 'positions3d.txt', coords3d * 10)
    write_numbers(sequence_dir / 'cameras.txt', cameras.swapaxes(2, 3))
    texts, _ = problem_texts(make_reader(sequence_dir))
    assert len(texts) == 3 and 'positions3d.txt: shins of 4212 mm, check the unit' in texts[0]


def test_wrong_settings(tmp_path):
    with pytest.raises(ValueError, match='`step` must be at least 1. Received: step=0'):
        kth_football.KthFootballReader('x', step=0)
    with pytest.raises(ValueError, match='`distance_m` must be at least 10. Received: .*=1'):
        kth_football.KthFootballReader('x', distance_m=1)
    with pytest.raises(ValueError, match='`source_dir` must be a folder above those that hold'):
        kth_football.KthFootballReader(str(tmp_path)).items(pytest.fail)
