"""CMU Panoptic: centimetres, y down, confidence, several people, broken videos, problems."""

import json

import numpy as np
import pytest

from metro_tf import skeleton
from tests.training.datasets import fixtures
from training.datasets import panoptic

SEQUENCE = '160422_ultimatum1'
N_FRAMES = 5
INTRINSICS = np.array([[350.0, 0, 240], [0, 350, 135], [0, 0, 1]])  # for a quarter of full size
DISTORTION = [-0.5, 0.1, 0.01, -0.02, 0.03]
EDGES = skeleton.CONVENTIONS['coco_19'].edges


def make_joints(shift_cm=(0, 0, 0)):
    """Joints `[19, 3]` in cm, up is -y."""
    standing = fixtures.standing(panoptic.JOINT_NAMES)[:, [0, 2, 1]] * [1, -1, 1] / 10
    return standing + shift_cm


def make_camera():
    """Rotation and translation (cm) of a camera at (350, -150, 20) cm that looks at the middle."""
    return fixtures.look_at([350, -150, 20], [0, -100, 0], up=(0, -1, 0))


def body(body_id, joints, confidence=0.7):
    rows = np.concatenate([joints, np.full([19, 1], confidence)], axis=1)
    return {'id': body_id, 'joints19': rows.ravel().tolist()}


def write_frame(folder, number, bodies):
    path = folder / 'hdPose3d_stage1_coco19' / f'body3DScene_{number:08d}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        'version': 0.7, 'univTime': 53541.542, 'fpsType': 'hd_29_97', 'bodies': bodies}))
    return path


def project(joints_cm):
    """Px `[19, 2]` by the formula of OpenCV, written out here."""
    rotation, translation = make_camera()
    points = joints_cm @ rotation.T + translation
    (x, y), (k1, k2, p1, p2, k3) = (points[:, :2] / points[:, 2:]).T, DISTORTION
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2 ** 2 + k3 * r2 ** 3
    distorted = np.stack([
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], axis=1)
    return distorted * 350 + [240, 135]


@pytest.fixture
def sequence_dir(tmp_path):
    folder = tmp_path / 'panoptic' / SEQUENCE
    people = make_joints(), make_joints([40, 0, 70])
    for number in range(N_FRAMES):
        write_frame(folder, number, [body(0, people[0]), body(3, people[1])])
    rotation, translation = make_camera()
    camera = {
        'type': 'hd', 'resolution': [480, 270], 'panel': 0, 'node': 3, 'K': INTRINSICS.tolist(),
        'distCoef': DISTORTION, 'R': rotation.tolist(), 't': translation.reshape(3, 1).tolist()}
    cameras = [{**camera, 'name': f'00_{number:02d}'} for number in (3, 20)]
    cameras.append({**camera, 'type': 'vga', 'name': '01_03'})
    (folder / f'calibration_{SEQUENCE}.json').write_text(json.dumps(
        {'calibDataSource': SEQUENCE, 'cameras': cameras}))
    photo = np.full([270, 480, 3], 80, np.uint8)
    for joints in people:
        fixtures.draw_person(photo, project(joints), EDGES)
    photos = [np.minimum(photo + 20.0 * i, 255).astype(np.uint8) for i in range(N_FRAMES)]
    fixtures.write_video(folder / 'hdVideos' / 'hd_00_03.mp4', photos)
    return folder


def make_reader(sequence_dir, **settings):
    return panoptic.PanopticReader(
        str(sequence_dir.parent), **{'cameras': (3,), 'step': 2, **settings})


def problem_texts(reader):
    examples, problems = fixtures.read_all(reader)
    return [(problem.path.split('/')[-1], problem.item, problem.text, problem.is_expected)
            for problem in problems], examples


def test_examples_of_a_video(sequence_dir, tmp_path):
    reader = make_reader(sequence_dir)
    items = reader.items(pytest.fail)
    assert [(item.name, item.n_frames) for item in items] == [(f'{SEQUENCE}/hd_00_03', 3)]
    examples, problems = fixtures.read_all(reader)
    assert problems == []
    assert [example.name for example in examples] == [
        f'{SEQUENCE}/hd_00_03/{frame:08d} person {number}'
        for frame in (0, 2, 4) for number in (0, 3)]
    for example in examples:
        assert example.joint_names == panoptic.JOINT_NAMES
        fixtures.check_projection(example)
    backgrounds = [example.image[2, 2].mean() for example in examples[::2]]
    np.testing.assert_allclose(backgrounds, [80, 120, 160], atol=6)
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


def test_units_and_axes(sequence_dir):
    example = fixtures.read_all(make_reader(sequence_dir))[0][0]
    joints = dict(zip(panoptic.JOINT_NAMES, example.coords3d_cam))
    assert np.linalg.norm(joints['lkne'] - joints['lank']) == pytest.approx(421.2, abs=0.1)
    # The camera is at a height of 1.5 m and looks down to 1 m in 3.5 m of distance.
    distance = np.linalg.norm([350, 50, 20])
    np.testing.assert_allclose(example.camera_up[[0, 2]], [0, -50 / distance], atol=1e-5)
    np.testing.assert_allclose(
        np.linalg.norm(joints['pelv']), np.linalg.norm([3500, 550, 200]), rtol=1e-5)
    assert joints['lwri'][0] > joints['rwri'][0]  # faces the camera


def test_labels_fit_the_photo_freed_of_distortion(sequence_dir):
    example = fixtures.read_all(make_reader(sequence_dir))[0][1]
    camera = panoptic.read_camera(sequence_dir / f'calibration_{SEQUENCE}.json', '00_03')
    joints = make_joints([40, 0, 70])
    coords3d = camera.to_camera_frame(joints * 10)
    np.testing.assert_allclose(camera.project(coords3d), project(joints), atol=1e-6)
    # Limbs are drawn, 5 px wide, where the lens puts them. They are bright at the labels, and not
    # where the labels would be without the lens.
    indices = [panoptic.JOINT_NAMES.index(name) for name in ('lkne', 'lelb', 'lwri')]
    offsets = project(joints) - camera.project_undistorted(coords3d)
    assert np.linalg.norm(offsets[indices], axis=1).min() > 4
    assert brightness(example, example.coords2d[indices]) > 180
    assert brightness(example, (example.coords2d + offsets)[indices]) < 120


def brightness(example, points):
    columns, rows = np.round(points).astype(int).T
    return example.image[rows, columns].mean()


def test_joints_that_were_not_detected_are_missing(sequence_dir):
    people = body(0, make_joints()), body(1, np.zeros([19, 3]), -1)
    for i_joint, confidence in ((4, -1), (5, 0.1), (7, 0.11)):
        people[0]['joints19'][4 * i_joint + 3] = confidence
    write_frame(sequence_dir, 0, people)
    problems, examples = problem_texts(make_reader(sequence_dir, step=100))
    missing = np.isnan(examples[0].coords3d_cam[:, 0])
    assert [panoptic.JOINT_NAMES[i] for i in np.flatnonzero(missing)] == ['lelb', 'lwri']
    assert len(examples) == 1
    assert problems == [(
        'hdPose3d_stage1_coco19', 'camera 00_03', '1 times, a person is outside the picture or '
        'has fewer than 4 joints, left out', True)]


def test_people_outside_and_behind_are_left_out(sequence_dir):
    write_frame(sequence_dir, 0, [
        body(0, make_joints([900, 0, 0])), body(1, make_joints([0, 0, 3000])),
        body(2, make_joints())])
    problems, examples = problem_texts(make_reader(sequence_dir, step=100))
    assert [example.name[-1] for example in examples] == ['2']
    assert problems[0][2].startswith('2 times')


def test_damaged_labels(sequence_dir):
    write_frame(sequence_dir, 0, [
        body(0, make_joints()), body(0, make_joints()), {'id': 1, 'joints19': [0.0] * 57}])
    write_frame(sequence_dir, 2, []).write_text('{"bodies": [')
    write_frame(sequence_dir, 4, [{'id': 1}])
    problems, examples = problem_texts(make_reader(sequence_dir))
    assert [problem[:2] for problem in problems] == [
        ('body3DScene_00000000.json', 'person 0'), ('body3DScene_00000000.json', 'person 1'),
        ('body3DScene_00000002.json', ''), ('body3DScene_00000004.json', '')]
    assert problems[0][2] == 'occurs twice, left out'
    assert problems[1][2] == 'must have 76 numbers but has shape (57,), left out'
    assert problems[2][2].startswith('damaged, left out. JSONDecodeError')
    assert problems[3][2] == "damaged, left out. KeyError: 'joints19'"
    assert not any(problem[3] for problem in problems) and len(examples) == 1


def test_gaps_and_short_videos(sequence_dir):
    labels = sequence_dir / 'hdPose3d_stage1_coco19'
    (labels / 'body3DScene_00000002.json').unlink()
    write_frame(sequence_dir, 6, [])
    problems, examples = problem_texts(make_reader(sequence_dir))
    assert problems == [
        ('hdPose3d_stage1_coco19', 'frame 2', 'missing, left out', False),
        ('hd_00_03.mp4', 'frame 5', 'the video ends before frame 6; the rest is left out', False)]
    assert len(examples) == 4
    problems, _ = problem_texts(make_reader(sequence_dir, cameras=(20,), step=3))
    assert problems == [('hd_00_20.mp4', '', 'missing', False)]


def test_sequence_without_wanted_frames(sequence_dir):
    for path in (sequence_dir / 'hdPose3d_stage1_coco19').iterdir():
        path.unlink()
    problems, examples = problem_texts(make_reader(sequence_dir))
    assert problems == [('hdPose3d_stage1_coco19', '', 'holds no wanted frame', False)]
    assert examples == []


def test_missing_and_damaged_cameras(sequence_dir):
    problems, _ = problem_texts(make_reader(sequence_dir, cameras=(4,)))
    assert problems == [(
        f'calibration_{SEQUENCE}.json', 'camera 00_04',
        "the file must hold the HD camera. Received: ['00_03', '00_20']", False)]
    path = sequence_dir / 'calibration_b.json'
    path.write_text(json.dumps({'cameras': [{'name': '00_03', 'type': 'hd', 'K': [1]}]}))
    with pytest.raises(ValueError, match=r'must have numbers K \[3, 3\], .*Received: ValueError'):
        panoptic.read_camera(path, '00_03')
    path = sequence_dir / 'calibration_c.json'
    path.write_text('[]')
    with pytest.raises(ValueError, match='must hold a list `cameras` .*Received: TypeError'):
        panoptic.read_camera(path, '00_03')


def test_broken_videos_are_left_out(tmp_path):
    write_frame(tmp_path / '171204_pose3', 0, [])
    problems = []
    reader = panoptic.PanopticReader(str(tmp_path), cameras=(19, 20))
    assert [item.name for item in reader.items(problems.append)] == ['171204_pose3/hd_00_19']
    assert [(problem.path.split('/')[-1], problem.text, problem.is_expected)
            for problem in problems] == [
                ('hd_00_20.mp4', 'known to be broken, left out', True)]


def test_wrong_settings(sequence_dir, tmp_path):
    with pytest.raises(ValueError, match=r'`cameras` must be numbers from 0 to 30. .*=\(31,\)'):
        panoptic.PanopticReader('x', cameras=(31,))
    with pytest.raises(ValueError, match='`step` must be at least 1. Received: step=0'):
        panoptic.PanopticReader('x', step=0)
    with pytest.raises(ValueError, match=r"must hold SEQUENCE/hdPose3d.*sequences \[\]$"):
        panoptic.PanopticReader(str(tmp_path)).items(pytest.fail)
    with pytest.raises(ValueError, match=rf"sequences \['{SEQUENCE}'\] without \['a'\]"):
        make_reader(sequence_dir, sequences=('a',)).items(pytest.fail)
