"""3DPW: Python 2 pickles in metres, cameras that move, people without camera pose or unseen."""

import pickle

import numpy as np
import pytest

from metro_tf import skeleton
from tests.training.datasets import fixtures
from training.datasets import threedpw

SMPL = skeleton.CONVENTIONS['smpl_24']
SIZE = (640, 480)
INTRINSICS = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
N_FRAMES = 4


def camera_pose(i_frame):
    """World to camera in m, `[4, 4]`; the camera walks towards the people."""
    rotation, translation = fixtures.look_at(
        (3500 - 200 * i_frame, 300, 1500), (0, 300 - 100 * i_frame, 950))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation / 1000
    return pose


def world_joints(i_person):
    """Joints `[24, 3]` in m."""
    return fixtures.standing(SMPL.joint_names) / 1000 + [0, 0.9 * i_person, 0]


def camera_joints(i_frame, i_person):
    """Joints `[24, 3]` in the camera frame, mm."""
    pose = camera_pose(i_frame)
    return 1000 * (world_joints(i_person) @ pose[:3, :3].T + pose[:3, 3])


def project(coords3d_cam):
    points = coords3d_cam @ INTRINSICS.T
    return points[..., :2] / points[..., 2:]


def make_sequence():
    """The keys of a real file. Person 1 has no camera pose in frame 1 and is unseen in frame 2."""
    poses2d = np.ones([2, N_FRAMES, 3, 18])
    poses2d[1, 2] = 0
    is_valid = np.ones([2, N_FRAMES], np.int64)
    is_valid[1, 1] = 0
    return {
        'sequence': 'walk_00', 'genders': ['m', 'f'],
        'jointPositions': [np.tile(world_joints(i).reshape(1, 72), [N_FRAMES, 1]) for i in (0, 1)],
        'poses': [np.zeros([N_FRAMES, 72])] * 2, 'trans': [np.zeros([N_FRAMES, 3])] * 2,
        'betas': [np.zeros(10), np.zeros(300)], 'texture_maps': [],
        'poses2d': list(poses2d), 'campose_valid': list(is_valid),
        'cam_poses': np.stack([camera_pose(i) for i in range(N_FRAMES)]),
        'cam_intrinsics': INTRINSICS, 'img_frame_ids': np.arange(N_FRAMES) * 2}


def write(folder, split='train', name='walk_00', sequence=None):
    path = folder / 'sequenceFiles' / split / f'{name}.pkl'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(make_sequence() if sequence is None else sequence, protocol=2))
    for i_frame in range(N_FRAMES):
        people = [project(camera_joints(i_frame, i)) for i in (0, 1)]
        fixtures.write_photo(
            folder / f'imageFiles/{name}/image_{i_frame:05}.jpg', people, SMPL.edges, SIZE)
    return path


@pytest.fixture
def source_dir(tmp_path):
    write(tmp_path / '3dpw')
    return tmp_path / '3dpw'


def read(source_dir, **settings):
    return fixtures.read_all(threedpw.ThreedpwReader(str(source_dir), **settings))


def test_examples(source_dir, tmp_path):
    examples, problems = read(source_dir)
    assert [example.name for example in examples] == [
        f'train/walk_00/{name}' for name in (
            '00000/0', '00000/1', '00001/0', '00002/0', '00003/0', '00003/1')]
    assert [(problem.text, problem.is_expected) for problem in problems] == [
        ('1 people in frames without camera pose, left out', True),
        ('1 people whom no detector saw, left out', True)]
    # Spine joint 2 of SMPL is what other skeletons call the spine.
    assert examples[0].joint_names == skeleton.vocabulary_names('smpl_24')
    for example, (i_frame, i_person) in zip(
            examples, ((0, 0), (0, 1), (1, 0), (2, 0), (3, 0), (3, 1))):
        expected = camera_joints(i_frame, i_person)
        np.testing.assert_allclose(example.coords3d_cam, expected, atol=0.01)
        np.testing.assert_allclose(
            fixtures.photo_points(example, SIZE), project(expected), atol=0.01)
        fixtures.check_projection(example)
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


def test_units_and_axes_by_hand(tmp_path):
    # The camera is at (0, 0, -4) m and looks along z; x is right, and y down.
    sequence = make_sequence()
    pose = np.eye(4)
    pose[2, 3] = 4.0
    joints = np.tile([0.1, -0.2, 0.0], [24, 1])
    joints[23] = [0.5, 0.4, 1.0]
    sequence.update({
        'cam_poses': np.stack([pose] * N_FRAMES),
        'jointPositions': [np.tile(joints.reshape(1, 72), [N_FRAMES, 1])] * 2})
    write(tmp_path, sequence=sequence)
    example = read(tmp_path)[0][0]
    np.testing.assert_allclose(example.coords3d_cam[[0, 23]], [[100, -200, 4000], [500, 400, 5000]])
    np.testing.assert_allclose(
        fixtures.photo_points(example, SIZE)[[0, 23]], [[332.5, 215], [370, 280]], atol=1e-3)


def test_unseen_people_can_be_kept(source_dir):
    examples, problems = read(source_dir, seen_only=False)
    assert len(examples) == 7 and examples[4].name == 'train/walk_00/00002/1'
    assert len(problems) == 1


def test_steps_and_splits(source_dir):
    write(source_dir, 'test', 'run_01')
    examples, _ = read(source_dir, split='test', step=3)
    assert [example.name for example in examples] == [
        f'test/run_01/{name}' for name in ('00000/0', '00000/1', '00003/0', '00003/1')]
    problems = []
    reader = threedpw.ThreedpwReader(str(source_dir), split='all', step=3)
    assert [(item.name, item.n_frames) for item in reader.items(problems.append)] == [
        ('train/walk_00', 2), ('test/run_01', 2)]
    assert [str(problem) for problem in problems] == [
        f'{source_dir}/sequenceFiles/validation: missing, or no .pkl files']
    assert reader.expected_counts() == {'items': 60}
    assert threedpw.ThreedpwReader('', split='validation').expected_counts() == {'items': 12}


def test_missing_photos_and_photos_without_labels_are_reported(source_dir):
    folder = source_dir / 'imageFiles/walk_00'
    (folder / 'image_00003.jpg').unlink()
    examples, problems = read(source_dir)
    assert len(examples) == 4
    assert str(problems[-1]) == f'{folder}/image_00003.jpg: missing'
    for i_frame in (3, 4):
        fixtures.write_photo(folder / f'image_{i_frame:05}.jpg', size=SIZE)
    examples, problems = read(source_dir)
    assert len(examples) == 6 and str(problems[-1]) == f'{folder}: photos without labels after 4'


@pytest.mark.parametrize('key, value, text', [
    ('jointPositions', [np.zeros([N_FRAMES, 69])] * 2,
     r'`jointPositions` must have the shape (-1, 4, 72). Received: shape=(2, 4, 69)'),
    ('jointPositions', [np.zeros([N_FRAMES, 72]), np.zeros([3, 72])],
     '`jointPositions` must have the shape (-1, 4, 72). Received: shape=()'),
    ('poses2d', [np.ones([N_FRAMES, 3, 18])],
     '`poses2d` must have the shape (2, 4, 3, 18). Received: shape=(1, 4, 3, 18)'),
    ('campose_valid', None, '`campose_valid` must have the shape (2, 4). Received: shape=()'),
    ('cam_poses', np.zeros([4, 3, 4]),
     '`cam_poses` must have the shape (-1, 4, 4). Received: shape=(4, 3, 4)')])
def test_wrong_labels_are_reported(tmp_path, key, value, text):
    path = write(tmp_path, sequence={**make_sequence(), key: value})
    examples, problems = read(tmp_path)
    assert examples == [] and [str(problem) for problem in problems] == [f'{path}: {text}']


def test_missing_keys_and_other_content_are_reported(tmp_path):
    sequence = make_sequence()
    del sequence['cam_intrinsics']
    write(tmp_path, sequence=sequence)
    assert '`cam_intrinsics` must have the shape (3, 3)' in str(read(tmp_path)[1][0])
    write(tmp_path, sequence=[1, 2])
    assert '`cam_poses` must have the shape' in str(read(tmp_path)[1][0])


def test_damaged_and_malicious_files_are_reported(source_dir, tmp_path):
    path = source_dir / 'sequenceFiles/train/walk_00.pkl'
    fixtures.write_cut_off(path, 900)
    examples, problems = read(source_dir)
    assert examples == [] and len(problems) == 1
    assert '`path` must be a file of NumPy arrays' in str(problems[0])
    path.write_bytes(b'cos\nsystem\n(S"touch ' + str(tmp_path).encode() + b'/made"\ntR.')
    examples, problems = read(source_dir)
    assert examples == [] and 'os.system is refused' in str(problems[0])
    assert not (tmp_path / 'made').exists()


def test_people_behind_the_camera_are_reported(tmp_path):
    sequence = make_sequence()
    sequence['jointPositions'][1] = sequence['jointPositions'][1] + np.tile([9.0, 0, 0], 24)
    write(tmp_path, sequence=sequence)
    examples, problems = read(tmp_path)
    assert [example.name.rpartition('/')[2] for example in examples] == ['0'] * 4
    assert [problem.item for problem in problems[2:]] == [
        'train/walk_00/00000/1', 'train/walk_00/00003/1']
    assert problems[2].text == 'nothing of the person is inside, left out'


def test_wrong_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`split` must be one of .* Received: split='val'"):
        threedpw.ThreedpwReader('x', split='val')
    with pytest.raises(ValueError, match='`step` must be a positive'):
        threedpw.ThreedpwReader('x', step=-1)
    with pytest.raises(ValueError, match='must be the folder that holds sequenceFiles'):
        threedpw.ThreedpwReader(str(tmp_path)).items(pytest.fail)
