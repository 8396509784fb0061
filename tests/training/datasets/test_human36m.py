"""Human3.6M: labels fall on the video's pixels, quirks are handled, problems are told."""

import pathlib
import shutil

import numpy as np
import pytest

from metro_tf import skeleton
from tests.training.datasets import fixtures, human36m_fixture
from training.datasets import human36m, human36m_metadata

CAMERAS = human36m_metadata.CAMERAS[:2]
JOINTS = skeleton.CONVENTIONS['h36m_25'].joint_names


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp('h36m') / 'source'
    human36m_fixture.write_all(folder)
    return folder


@pytest.fixture
def source(original, tmp_path):
    """A copy that a test may damage."""
    return pathlib.Path(shutil.copytree(original, tmp_path / 'source'))


def make_reader(source, **settings):
    return human36m.Human36MReader(
        str(source), **{'cameras': CAMERAS, 'step': 1, 'min_movement_mm': 0.0, **settings})


def read_subject(source, subject, **settings):
    return fixtures.read_all(make_reader(source, subjects=(subject,), **settings))


def world_coords(i_frame):
    pose = human36m_fixture.make_poses()[i_frame]
    return pose[[human36m_fixture.NAMES_32.index(name) for name in JOINTS]]


def camera_of(source, subject, name):
    return human36m_metadata.read(source / 'metadata.xml').cameras[subject, name]


def red_spot(photo):
    """Position (x, y) of what is red in a photo, px."""
    weight = np.maximum(photo[..., 0].astype(float) - photo[..., 1:].max(axis=-1) - 60, 0)
    rows, columns = np.mgrid[:photo.shape[0], :photo.shape[1]]
    return np.array([np.sum(columns * weight), np.sum(rows * weight)]) / weight.sum()


def test_camera_has_the_published_check_values():
    camera = human36m_metadata.make_camera(
        np.array([-1.383828, -3.167343, 0.413636, 1841.107, 4955.285, 1563.445]),
        np.arange(9.0))
    np.testing.assert_allclose(camera.rotation, [
        [-0.915362, 0.401808, 0.025748], [0.051548, 0.180374, -0.982246],
        [-0.399319, -0.897784, -0.185820]], atol=2e-6)
    np.testing.assert_allclose(
        camera.to_camera_frame(np.array([1841.107, 4955.285, 1563.445])), 0, atol=1e-9)
    np.testing.assert_array_equal(camera.intrinsics, [[0, 0, 2], [0, 1, 3], [0, 0, 1]])
    assert camera.distortion == (4, 5, 7, 8, 6)  # stored as k1 k2 k3 p1 p2
    assert camera.tangential_factor == 1


def test_metadata(original):
    metadata = human36m_metadata.read(original / 'metadata.xml')
    assert [(take.subject, take.action, take.subaction, take.name) for take in metadata.takes] == [
        ('S1', 'Directions', 1, 'Directions 1'), ('S1', 'TakingPhoto', 1, 'TakingPhoto 1'),
        ('S9', 'Greeting', 1, 'Greeting 1'), ('S9', 'Greeting', 2, 'Greeting'),
        ('S11', 'Directions', 2, 'Directions')]
    assert {take.n_frames for take in metadata.takes} == {human36m_fixture.N_FRAMES}
    assert len(metadata.cameras) == 44


def test_items(original):
    problems = []
    items = make_reader(original, split='test', step=3).items(problems.append)
    assert [(item.name, item.n_frames) for item in items] == [
        ('S9/Greeting 1.54138969', 4), ('S9/Greeting 1.55011271', 4),
        ('S9/Greeting.54138969', 4), ('S9/Greeting.55011271', 4),
        ('S11/Directions.55011271', 4)]
    assert [(problem.item, problem.text, problem.is_expected) for problem in problems] == [
        ('S11/Directions.54138969', 'damaged in all copies, left out', True)]


def test_labels_by_hand(original):
    examples, problems = read_subject(original, 'S1')
    assert problems == []
    assert len(examples) == 2 * 2 * human36m_fixture.N_FRAMES
    example = examples[3]
    assert example.name == 'S1/Directions 1.54138969/000003'
    position = human36m_fixture.POSITIONS[0]
    rotation, translation = fixtures.look_at(position, (0, 0, 1000))
    coords3d = world_coords(3) @ rotation.T + translation
    np.testing.assert_allclose(example.coords3d_cam, coords3d, atol=1e-2)
    np.testing.assert_allclose(example.camera_up, rotation[:, 2], atol=1e-6)
    fx, fy, cx, cy = human36m_fixture.INTRINSICS[:4]
    expected = coords3d[:, :2] / coords3d[:, 2:] * [fx, fy] + [cx, cy]
    np.testing.assert_allclose(
        fixtures.photo_points(example, human36m_fixture.PHOTO_SIZE), expected, atol=1e-3)
    fixtures.check_projection(example)


def test_undistorted_pictures_show_the_joints_at_their_labels(original):
    for example in read_subject(original, 'S1')[0][::7]:
        wrist = example.coords2d[JOINTS.index('lwri')]
        np.testing.assert_allclose(red_spot(example.image), wrist, atol=1.0)


def test_boxes_are_those_of_the_masks(original):
    example = read_subject(original, 'S1')[0][3]
    camera = camera_of(original, 'S1', CAMERAS[0])
    stored = human36m_fixture.boxes_of(human36m_fixture.make_poses(), camera)[3]
    expected = camera.undistort_box(stored - [0.5, 0.5, 0, 0])
    np.testing.assert_allclose(
        fixtures.photo_box(example, human36m_fixture.PHOTO_SIZE), expected, atol=1e-3)


def test_records_give_the_same_labels(original, tmp_path):
    examples, _ = read_subject(original, 'S1', step=4)
    fixtures.check_round_trip(examples, tmp_path)


def test_shifted_takes_of_s9_are_moved_onto_the_video(original):
    examples, problems = read_subject(original, 'S9')
    assert problems == []
    for example in examples:
        wrist = example.coords2d[JOINTS.index('lwri')]
        np.testing.assert_allclose(red_spot(example.image), wrist, atol=1.0)
    good, shifted = examples[5], examples[25]
    assert (good.name, shifted.name) == (
        'S9/Greeting 1.54138969/000005', 'S9/Greeting.54138969/000005')
    np.testing.assert_allclose(shifted.coords3d_cam, good.coords3d_cam, atol=1e-2)
    size = human36m_fixture.PHOTO_SIZE
    boxes = [fixtures.photo_box(example, size) for example in (good, shifted)]
    np.testing.assert_allclose(boxes[1], boxes[0], atol=6)  # the depth differs by up to 200 mm


def test_shift_can_be_kept(original):
    corrected = read_subject(original, 'S9')[0][25]
    kept = read_subject(original, 'S9', correct_s9=False)[0][25]
    rotation, _ = fixtures.look_at(human36m_fixture.POSITIONS[0], (0, 0, 1000))
    np.testing.assert_allclose(
        kept.coords3d_cam - corrected.coords3d_cam, np.tile(200 * rotation[:, 0], (25, 1)),
        atol=1e-2)
    camera = camera_of(original, 'S9', CAMERAS[0])
    stored = human36m_fixture.boxes_of(human36m_fixture.make_poses() + [200, 0, 0], camera)[5]
    np.testing.assert_allclose(
        fixtures.photo_box(kept, human36m_fixture.PHOTO_SIZE),
        camera.undistort_box(stored - [0.5, 0.5, 0, 0]), atol=1e-3)


@pytest.mark.parametrize('settings, frames', [
    ({'step': 4}, [0, 4, 8]),
    ({'min_movement_mm': 100.0}, [0, 3, 6, 9]),  # 45 mm per frame
    ({'step': 2, 'min_movement_mm': 100.0}, [0, 4, 8]),
    ({'step': None, 'min_movement_mm': None}, [0, 5]),
    ({'step': None, 'min_movement_mm': None, 'split': 'test'}, [0])])
def test_choice_of_frames(original, settings, frames):
    examples, _ = read_subject(original, 'S1', cameras=CAMERAS[1:], **settings)
    assert [int(example.name[-6:]) for example in examples[:len(examples) // 2]] == frames


def test_archives_may_give_the_folders_their_names(source):
    expected, _ = read_subject(source, 'S1', step=5)
    subject = source / 'S1'
    (subject / 'MyPoseFeatures/D3_Positions').rename(subject / 'Poses_D3_Positions')
    (subject / 'MySegmentsMat/ground_truth_bb').rename(subject / 'Segments_mat_gt_bb')
    (source / 'Release-v1.2').mkdir()
    (source / 'metadata.xml').rename(source / 'Release-v1.2/metadata.xml')
    examples, problems = read_subject(source, 'S1', step=5)
    assert problems == []
    assert [example.name for example in examples] == [example.name for example in expected]
    np.testing.assert_array_equal(examples[1].box, expected[1].box)


def test_the_shorter_of_poses_and_video_counts(source):
    poses = human36m_fixture.make_poses(12)
    human36m_fixture.write_poses(
        source / 'S1/MyPoseFeatures/D3_Positions/Directions 1.cdf', poses)
    human36m_fixture.write_poses(
        source / 'S1/MyPoseFeatures/D3_Positions/TakingPhoto 1.cdf', poses[:7])
    examples, problems = read_subject(source, 'S1', cameras=CAMERAS[:1])
    assert len(examples) == 10 + 7
    assert problems == []


def test_very_different_lengths_are_reported(source):
    human36m_fixture.write_poses(
        source / 'S1/MyPoseFeatures/D3_Positions/Directions 1.cdf',
        human36m_fixture.make_poses(30))
    examples, problems = read_subject(source, 'S1', cameras=CAMERAS[:1])
    assert len(examples) == 20
    assert [problem.text for problem in problems] == [
        'has 10 frames for 30 poses; the first 10 are read',
        'has boxes of 10 of 30 frames; the joints give the others']


def test_without_boxes_the_joints_give_them(source):
    shutil.rmtree(source / 'S1/MySegmentsMat')
    examples, problems = read_subject(source, 'S1')
    assert problems == []
    example = examples[3]
    first, last = example.coords2d.min(axis=0), example.coords2d.max(axis=0)
    np.testing.assert_allclose(example.box[2:], 1.2 * (last - first), rtol=1e-5)
    np.testing.assert_allclose(example.box[:2] + example.box[2:] / 2, (first + last) / 2, rtol=1e-5)


def damage_boxes(source):
    fixtures.write_cut_off(
        source / 'S1/MySegmentsMat/ground_truth_bb/Directions 1.54138969.mat', 3000)


def damage_video(source):
    path = source / 'S1/Videos/Directions 1.54138969.mp4'
    fixtures.write_cut_off(path, path.stat().st_size // 2)


def damage_poses(source):
    fixtures.write_cut_off(source / 'S1/MyPoseFeatures/D3_Positions/Directions 1.cdf', 500)


def drop_joints(source):
    human36m_fixture.write_poses(
        source / 'S1/MyPoseFeatures/D3_Positions/Directions 1.cdf',
        human36m_fixture.make_poses()[:, :17])


def move_far_away(source):
    human36m_fixture.write_poses(
        source / 'S1/MyPoseFeatures/D3_Positions/Directions 1.cdf',
        human36m_fixture.make_poses() + [0, 0, 9000])
    shutil.rmtree(source / 'S1/MySegmentsMat')


def remove(path):
    return lambda source: (source / path).unlink()


@pytest.mark.parametrize('damage, n_left, path, item, text', [
    (remove('S1/Videos/Directions 1.54138969.mp4'), 10,
     'S1/Videos/Directions 1.54138969.mp4', '', 'missing'),
    (damage_video, 10, 'S1/Videos/Directions 1.54138969.mp4', 'frame 0',
     'the video ends before frame 0; the rest is left out'),
    (remove('S1/MyPoseFeatures/D3_Positions/Directions 1.cdf'), 10,
     'S1/MyPoseFeatures/D3_Positions/Directions 1.cdf', '', 'missing'),
    (damage_poses, 10, 'S1/MyPoseFeatures/D3_Positions/Directions 1.cdf', '', 'damaged: '),
    (drop_joints, 10, 'S1/MyPoseFeatures/D3_Positions/Directions 1.cdf', '',
     '`Pose` must have shape (1, frames, 96). Received: (1, 10, 51); left out'),
    (move_far_away, 10, 'S1/Videos/Directions 1.54138969.mp4', 'frames 0-9',
     'the person is outside, left out'),
    (remove('S1/MySegmentsMat/ground_truth_bb/Directions 1.54138969.mat'), 20,
     'S1/MySegmentsMat/ground_truth_bb/Directions 1.54138969.mat', '',
     'missing; the joints give the boxes'),
    (damage_boxes, 20, 'S1/MySegmentsMat/ground_truth_bb/Directions 1.54138969.mat', '',
     'damaged: ')])
def test_problems(source, damage, n_left, path, item, text):
    damage(source)
    examples, problems = read_subject(source, 'S1', cameras=CAMERAS[:1])
    assert len(examples) == n_left
    assert len(problems) == 1
    assert (problems[0].path, problems[0].item) == (str(source / path), item)
    assert problems[0].text.startswith(text)
    assert not problems[0].is_expected


def test_missing_subjects_are_reported(original):
    examples, problems = read_subject(original, 'S5')
    assert examples == []
    assert [str(problem) for problem in problems] == [f'{original}/S5: missing']


def test_damaged_metadata(source):
    human36m_fixture.write_metadata(source / 'metadata.xml', n_numbers=299)
    with pytest.raises(ValueError, match='must be the metadata of Human3.6M. .* 300 numbers'):
        make_reader(source).items(print)
    (source / 'metadata.xml').write_text('<a></a>')
    with pytest.raises(ValueError, match='must be the metadata of Human3.6M'):
        make_reader(source).items(print)
    (source / 'metadata.xml').unlink()
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds metadata.xml'):
        make_reader(source).items(print)


def test_expected_counts(original):
    reader = human36m.Human36MReader(str(original))
    assert reader.expected_counts() == {'items': 5 * 30 * 4}
    assert human36m.Human36MReader(str(original), split='test').expected_counts() == {
        'items': 2 * 30 * 4 - 1}
    assert make_reader(original, cameras=CAMERAS[1:], subjects=('S11',)).expected_counts() == {
        'items': 30}


@pytest.mark.parametrize('settings, message', [
    ({'split': 'val'}, "`split` must be one of .'train', 'test'.. Received: split='val'"),
    ({'subjects': ('S2',)}, '`subjects` must be distinct ones of'),
    ({'cameras': ('1', '1')}, '`cameras` must be distinct ones of'),
    ({'step': 0}, '`step` must be at least 1. Received: step=0'),
    ({'min_movement_mm': -1.0}, '`min_movement_mm` must not be negative')])
def test_unknown_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        make_reader('x', **settings)
