"""HumanEva: calibration, the common time, motion capture in two formats, partition, problems."""

import numpy as np
import pytest
import scipy.io

from metro_tf import skeleton
from tests.training.datasets import fixtures, test_c3d, test_humaneva_body
from training.datasets import humaneva, humaneva_body

EDGES = skeleton.CONVENTIONS['humaneva_15'].edges
FOCAL, CENTER = (500.0, 510.0), (320.0, 240.0)
DISTORTION = (-0.2, 0.1, 0.001, -0.002, 0.01)
# Per frame of the motion capture, the person moves by so many mm towards +x.
SPEED = 2.0
N_VIDEO_FRAMES = 20


def make_camera(n_camera):
    return fixtures.look_at([4000, 800 * n_camera, 1400], [0, 0, 1000])


def write_camera(path, n_camera):
    rotation, translation = make_camera(n_camera)
    numbers = [*FOCAL, *CENTER, 0.0, *DISTORTION, *rotation.ravel(), *translation]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(f'{number:.9f}' for number in numbers))


def make_mocap(n_frames):
    points, labels = test_humaneva_body.make_points(n_frames)
    return points + np.arange(n_frames)[:, np.newaxis, np.newaxis] * [SPEED, 0, 0], labels


def save_mocap(path, points, labels):
    """The `.mat` file as MATLAB's reader of C3D files leaves it: structs of cells of texts."""
    cell = np.empty([1, len(labels)], object)
    cell[0] = labels
    parameters = struct_array([('USED', float(len(labels))), ('LABELS', cell)], 'data')
    groups = struct_array(
        [('ANALOG', struct_array([('USED', 0.0)], 'data')), ('POINT', parameters)], 'Parameter')
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {
        'Markers': points, 'VideoFrameRate': 120.0, 'ParameterGroup': groups})


def struct_array(entries, field):
    array = np.empty([1, len(entries)], [('name', object), (field, object)])
    for i, (name, value) in enumerate(entries):
        name_cell = np.empty([1, 1], object)
        name_cell[0, 0] = name
        array[0, i]['name'], array[0, i][field] = name_cell, value
    return array


def joints_at(frame):
    """Joints `[15, 3]` at a frame of the common time, see the offsets in `subject_dir`."""
    mocap_frame = 11 + (frame - 1) * 2  # from 1
    shift = [SPEED * (mocap_frame - 1), 0, 0]
    return np.array([
        test_humaneva_body.EXPECTED[name] for name in humaneva_body.JOINT_NAMES]) + shift


@pytest.fixture
def subject_dir(tmp_path, monkeypatch):
    """S1 with Walking only, of which frames 6..8 are validation and 9..12 training."""
    monkeypatch.setattr(humaneva, 'PARTITION', {'Walking': ((8, 12), (8, 12), (8, 12))})
    monkeypatch.setattr(humaneva, 'SUBJECTS', ('S1',))
    folder = tmp_path / 'humaneva' / 'S1'
    # C2's video began last: its frame 1 is the common frame 1. C1 has one more frame before it,
    # and the motion capture ten.
    for n_camera, (video_frame, mocap_frame) in {1: (4, 15), 2: (1, 11)}.items():
        path = folder / 'Sync_Data' / f'Walking_1_(C{n_camera}).ofs'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{video_frame}\n{mocap_frame}\n2.0\n')
        write_camera(folder / 'Calibration_Data' / f'C{n_camera}.cal', n_camera)
    points, labels = make_mocap(50)
    save_mocap(folder / 'Mocap_Data' / 'Walking_1.mat', points, labels)
    (folder / 'Mocap_Data' / 'Static.c3d').write_bytes(
        test_c3d.file_content(*test_humaneva_body.make_points(2)))
    (folder / 'Mocap_Data' / 'S1.mp').write_text(
        '$BodyMass = 70\n$LShoulderOffset = 40\n$RShoulderOffset = 4.0e1\n')
    camera = humaneva.read_camera(folder / 'Calibration_Data' / 'C1.cal')
    photos = []
    for i_frame in range(N_VIDEO_FRAMES):
        photo = np.full([480, 640, 3], 40 + 10 * i_frame, np.uint8)
        points2d = camera.project(camera.to_camera_frame(joints_at(i_frame)))
        photos.append(fixtures.draw_person(photo, points2d, EDGES))
    fixtures.write_video(folder / 'Image_Data' / 'Walking_1_(C1).avi', photos, 'MJPG')
    return folder


def make_reader(subject_dir, **settings):
    return humaneva.HumanEvaReader(
        str(subject_dir.parent), **{'cameras': ('C1',), 'step': 2, **settings})


def problem_texts(reader):
    examples, problems = fixtures.read_all(reader)
    return [(problem.path.split('/')[-1], problem.item, problem.text, problem.is_expected)
            for problem in problems], examples


def test_examples_of_a_video(subject_dir, tmp_path):
    reader = make_reader(subject_dir)
    items = reader.items(pytest.fail)
    assert [(item.name, item.n_frames) for item in items] == [('S1/Walking_1 C1', 2)]
    examples, problems = fixtures.read_all(reader)
    assert problems == []
    # The common frames 9 and 11 are frames 10 and 12 of the video, from 1.
    assert [example.name for example in examples] == [
        'S1/Walking_1 C1/000010', 'S1/Walking_1 C1/000012']
    backgrounds = [example.image[2, 2].mean() for example in examples]
    np.testing.assert_allclose(backgrounds, [130, 150], atol=4)
    for example, frame in zip(examples, (9, 11)):
        assert example.joint_names == skeleton.vocabulary_names('humaneva_15')
        fixtures.check_projection(example)
        rotation, translation = make_camera(1)
        np.testing.assert_allclose(
            example.coords3d_cam, joints_at(frame) @ rotation.T + translation, atol=0.01)
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


def test_units_and_axes(subject_dir):
    example = problem_texts(make_reader(subject_dir))[1][0]
    joints = dict(zip(humaneva_body.JOINT_NAMES, example.coords3d_cam))
    up = joints['lkne'] - joints['lank']
    assert np.linalg.norm(up) == pytest.approx(400, abs=0.01)
    np.testing.assert_allclose(example.camera_up, up / 400, atol=1e-5)
    assert joints['lsho'][0] > joints['rsho'][0]  # walks towards the camera
    # Labels fall on the limbs that are drawn, after the lens was taken out.
    columns, rows = np.round(example.coords2d[[3, 6, 9, 12]]).astype(int).T
    assert example.image[rows, columns].mean() > 190


def test_validation_part_and_other_cameras(subject_dir):
    reader = make_reader(subject_dir, split='validation', step=1)
    assert [example.name[-6:] for example in problem_texts(reader)[1]] == [
        '000007', '000008', '000009']
    problems, examples = problem_texts(make_reader(subject_dir, cameras=('C2',)))
    assert problems == [('Walking_1_(C2).avi', '', 'missing', False)] and not examples


def test_capture_in_c3d_gives_the_same(subject_dir):
    before = problem_texts(make_reader(subject_dir))[1]
    (subject_dir / 'Mocap_Data' / 'Walking_1.mat').unlink()
    (subject_dir / 'Mocap_Data' / 'Walking_1.c3d').write_bytes(
        test_c3d.file_content(*make_mocap(50)))
    after = problem_texts(make_reader(subject_dir))[1]
    assert len(before) == len(after) == 2
    np.testing.assert_allclose(after[1].coords3d_cam, before[1].coords3d_cam, atol=1e-2)


def test_lost_markers(subject_dir):
    points, labels = make_mocap(50)
    points[26, labels.index('LFIN')] = 0  # frame 9 is at frame 27 of the capture, from 1
    save_mocap(subject_dir / 'Mocap_Data' / 'Walking_1.mat', points, labels)
    problems, examples = problem_texts(make_reader(subject_dir))
    assert problems == [('Walking_1', 'frame 9', 'markers were lost, left out', True)]
    assert [example.name[-6:] for example in examples] == ['000012']


def test_truncated_capture_and_video(subject_dir):
    points, labels = make_mocap(30)
    save_mocap(subject_dir / 'Mocap_Data' / 'Walking_1.mat', points, labels)
    problems, examples = problem_texts(make_reader(subject_dir))
    assert problems == [(
        'Walking_1', 'frame 11', 'the motion capture ends after its frame 30, left out', False)]
    assert len(examples) == 1
    fixtures.write_video(
        subject_dir / 'Image_Data' / 'Walking_1_(C1).avi', [np.zeros([480, 640, 3], np.uint8)] * 5,
        'MJPG')
    assert problem_texts(make_reader(subject_dir))[0][1] == (
        'Walking_1_(C1).avi', 'frame 5',
        'the video ends before frame 9; the rest is left out', False)


def test_known_faults(subject_dir, monkeypatch):
    monkeypatch.setattr(humaneva, '_WITHOUT_HEAD', (('S1', 'Walking'),))
    problems, examples = problem_texts(make_reader(subject_dir))
    assert problems == [('S1', 'Walking_1', 'the head is known to be wrong, left out', True)]
    assert np.isnan(examples[0].coords3d_cam).any(axis=1).tolist() == [False] * 14 + [True]
    assert np.isnan(examples[0].coords2d[14]).all() and examples[0].visibility[14] == 0
    monkeypatch.setattr(humaneva, '_WITHOUT_MOCAP', (('S1', 'Walking'),))
    problems, examples = problem_texts(make_reader(subject_dir))
    assert problems == [
        ('S1', 'Walking', 'known to have damaged motion capture, left out', True)]
    assert examples == []


def test_the_published_faults_and_partition():
    assert humaneva._WITHOUT_MOCAP == (('S3', 'ThrowCatch'),)
    assert humaneva._WITHOUT_HEAD == (('S3', 'Walking'),)
    counts = {split: 0 for split in humaneva.SPLITS}
    for split in counts:
        reader = humaneva.HumanEvaReader('x', split=split, step=1)
        counts[split] = sum(
            len(reader._frames(subject, action))
            for subject in humaneva.SUBJECTS for action in humaneva.PARTITION)
    # The sum of all a is 6865, that of all b 13843; the first five frames belong to neither part.
    assert counts == {'train': 13843 - 6865, 'validation': 6865 - 15 * 5}
    assert humaneva.HumanEvaReader('x').expected_counts() == {'items': 14 * 3}


def test_timeline_when_the_capture_began_last(tmp_path):
    # At the first frame of the video, the motion capture would be at frame 1 - 2 * 81 = -161.
    (tmp_path / 'Box_1_(C1).ofs').write_text('82 1 2.0')
    (tmp_path / 'Box_1_(BW1).ofs').write_text('81 1 2.0')
    timeline = humaneva.read_timeline(tmp_path, 'Box_1', 'C1')
    assert timeline == humaneva.Timeline(82, 1.0, 2.0)
    assert humaneva.read_timeline(tmp_path, 'Box_1', 'BW1').video_start == 81
    np.testing.assert_array_equal(timeline.video_frames(np.array([1, 6])), [81, 86])
    np.testing.assert_array_equal(timeline.mocap_positions(np.array([1, 6])), [0, 10])


def test_timeline_with_different_rates(tmp_path):
    (tmp_path / 'Box_1_(C1).ofs').write_text('5 41 2.0')
    (tmp_path / 'Box_1_(C2).ofs').write_text('3 41 1.9')
    # C2 is at its first frame when the capture is at 41 - 1.95 * 2.
    timeline = humaneva.read_timeline(tmp_path, 'Box_1', 'C1')
    assert (timeline.video_start, timeline.mocap_rate) == (3, 1.95)
    assert timeline.mocap_start == pytest.approx(37.1)


def test_skew_is_a_factor_on_the_focal_length(tmp_path):
    numbers = [500, 510, 320, 240, 0.01, *DISTORTION, *np.eye(3).ravel(), 1, 2, 3]
    (tmp_path / 'C1.cal').write_text(' '.join(map(str, numbers)))
    camera = humaneva.read_camera(tmp_path / 'C1.cal')
    np.testing.assert_array_equal(camera.intrinsics, [[500, 5, 320], [0, 510, 240], [0, 0, 1]])
    np.testing.assert_array_equal(camera.translation, [1, 2, 3])
    assert camera.distortion == DISTORTION


@pytest.mark.parametrize('name, content, text', [
    ('Calibration_Data/C1.cal', '1 2 3', 'C1.cal must hold 22 finite numbers. Received: 3'),
    ('Calibration_Data/C1.cal', None, 'C1.cal is missing'),
    ('Calibration_Data/C1.cal', 'x', 'C1.cal must hold 22 numbers. Received: could not convert'),
    ('Sync_Data/Walking_1_(C1).ofs', None, 'Walking_1_(C1).ofs is missing'),
    ('Sync_Data/Walking_1_(C1).ofs', '1 2 nan', '(C1).ofs must hold 3 finite numbers'),
    ('Mocap_Data/Walking_1.mat', None, 'Walking_1.mat and Walking_1.c3d are missing'),
    ('Mocap_Data/Walking_1.mat', 'x', 'Walking_1.mat must hold `Markers` [frames, points, 3]'),
    ('Mocap_Data/Static.c3d', None, 'Static.mat and Static.c3d are missing'),
    ('Mocap_Data/Static.c3d', 'x', 'Static.c3d must be a C3D file'),
    ('Mocap_Data/S1.mp', None, 'S1.mp is missing'),
    ('Mocap_Data/S1.mp', '$LShoulderOffset = 4', 'S1.mp must tell RShoulderOffset')])
def test_missing_and_damaged_files(subject_dir, name, content, text):
    path = subject_dir / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    problems, examples = problem_texts(make_reader(subject_dir))
    assert len(problems) == 1 and problems[0][:2] == ('S1', 'Walking_1') and not problems[0][3]
    assert text in problems[0][2] and not examples


def test_measures_may_lie_beside_the_folders(subject_dir):
    (subject_dir / 'Mocap_Data' / 'S1.mp').rename(subject_dir / 'S1.mp')
    measures = humaneva.read_measures(subject_dir)
    assert measures.shoulder_offsets == {'L': 40, 'R': 40}
    assert measures.torso_radius == pytest.approx(180)


def test_missing_subject_and_people_outside(subject_dir, monkeypatch):
    rotation, _ = make_camera(1)
    numbers = [*FOCAL, *CENTER, 0, *DISTORTION, *rotation.ravel(), 9000, 0, 4000]
    (subject_dir / 'Calibration_Data' / 'C1.cal').write_text(' '.join(map(str, numbers)))
    monkeypatch.setattr(humaneva, 'SUBJECTS', ('S1', 'S2'))
    problems, examples = problem_texts(make_reader(subject_dir))
    assert problems == [
        ('S2', '', 'missing', False),
        ('Walking_1_(C1).avi', 'frames 10, 12', 'the person is outside the picture, left out',
         False)]
    assert examples == []


def test_wrong_settings(tmp_path):
    with pytest.raises(ValueError, match=r"`split` must be one of .*Received: split='test'"):
        humaneva.HumanEvaReader('x', split='test')
    with pytest.raises(ValueError, match=r"`cameras` must be one of .*Received: cameras='C4'"):
        humaneva.HumanEvaReader('x', cameras=('C1', 'C4'))
    with pytest.raises(ValueError, match='`step` must be at least 1. Received: step=0'):
        humaneva.HumanEvaReader('x', step=0)
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds S1 or S2'):
        humaneva.HumanEvaReader(str(tmp_path)).items(pytest.fail)
