"""Human3.6M as VideoPose3D and h36m-fetch store it: the same labels as from the data set itself."""

import pathlib
import pickle
import shutil

import cv2
import h5py
import numpy as np
import pytest

from metro_tf import skeleton
from tests.training.datasets import fixtures, human36m_fixture
from training.datasets import human36m, human36m_metadata, human36m_processed

CAMERAS = human36m_metadata.CAMERAS[:2]
JOINTS = skeleton.CONVENTIONS['h36m_25'].joint_names


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp('h36m') / 'source'
    human36m_fixture.write_all(folder)
    return folder


@pytest.fixture
def source(original, tmp_path):
    return pathlib.Path(shutil.copytree(original, tmp_path / 'source'))


def write_archive(folder, **changes):
    """`data_3d_h36m.npz`, whose names are without Walking- and Taking-."""
    poses = (human36m_fixture.make_poses() / 1000).astype(np.float32)
    shifted = poses + np.float32([0.2, 0, 0])
    positions = {
        'S1': {'Directions 1': poses, 'Photo 1': poses},
        'S9': {'Greeting 1': poses, 'Greeting': shifted}, **changes}
    np.savez(folder / 'data_3d_h36m.npz', positions_3d=positions)


def read_videopose(folder, subject):
    return fixtures.read_all(human36m_processed.Human36MVideoPoseReader(
        str(folder), subjects=(subject,), cameras=CAMERAS, step=5, min_movement_mm=0.0))


@pytest.mark.parametrize('subject', ['S1', 'S9'])
def test_videopose3d_archive_gives_the_same_examples(source, subject, tmp_path):
    write_archive(source)
    expected, _ = fixtures.read_all(human36m.Human36MReader(
        str(source), subjects=(subject,), cameras=CAMERAS, step=5, min_movement_mm=0.0))
    shutil.rmtree(source / subject / 'MyPoseFeatures')
    examples, problems = read_videopose(source, subject)
    assert problems == []
    assert [example.name for example in examples] == [example.name for example in expected]
    for example, other in zip(examples, expected):
        np.testing.assert_allclose(example.coords3d_cam, other.coords3d_cam, atol=0.01)
        np.testing.assert_allclose(example.box, other.box, atol=0.01)
    fixtures.check_round_trip(examples, tmp_path)


def test_take_that_the_archive_lacks_is_left_out(source):
    write_archive(source)
    examples, problems = read_videopose(source, 'S11')
    assert examples == []
    assert [problem.item for problem in problems] == [
        'S11/Directions.54138969', 'S11/Directions.55011271']
    assert all(problem.is_expected for problem in problems)
    reader = human36m_processed.Human36MVideoPoseReader(str(source), split='test')
    assert reader.expected_counts() == {'items': 2 * 30 * 4 - 4}


@pytest.mark.parametrize('changes, text', [
    ({'S1': {'Photo 1': np.zeros([10, 32, 3], np.float32)}}, ': S1 Directions 1: missing'),
    ({'S1': {'Directions 1': np.zeros([10, 17, 3]), 'Photo 1': np.zeros([10, 32, 3])}},
     ': S1 Directions 1: has shape (10, 17, 3) instead of (frames, 32, 3), left out')])
def test_problems_of_the_archive(source, changes, text):
    write_archive(source, **changes)
    _, problems = read_videopose(source, 'S1')
    assert [str(problem) for problem in problems[:2]] == [
        f'{source}/data_3d_h36m.npz{text}'] * 2  # one for each camera


def test_damaged_archives(tmp_path):
    path = tmp_path / 'a.npz'
    with pytest.raises(ValueError, match='a.npz'):
        human36m_processed.read_archive(path)
    np.savez(path, positions_3d=np.zeros(3))
    with pytest.raises(ValueError, match='must hold the dict `positions_3d`'):
        human36m_processed.read_archive(path)
    np.savez(path, positions_3d=np.array(pickle.PicklingError('code'), object))
    with pytest.raises(ValueError, match='refused'):
        human36m_processed.read_archive(path)


def write_fetch(folder, metadata_path):
    """The folders of h36m-fetch with frames 1 and 6 of the takes in `human36m_fixture`."""
    cameras = human36m_metadata.read(metadata_path).cameras
    poses = human36m_fixture.make_poses()[[0, 5]]
    for subject, take in (('S1', 'Directions-1'), ('S9', 'Greeting-1'), ('S9', 'Greeting-2')):
        shift = [200.0 * (take == 'Greeting-2'), 0, 0]
        own_cameras = {name: cameras[subject, name] for name in CAMERAS}
        write_fetch_take(folder / subject / take, own_cameras, poses, poses + shift)


def write_fetch_take(folder, cameras, video_poses, poses):
    for name, camera in cameras.items():
        for number, photo in zip((1, 6), human36m_fixture.draw_video(video_poses, camera)):
            path = folder / 'imageSequence' / name / f'img_{number:06d}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), photo[..., ::-1])
    with h5py.File(folder / 'annot.h5', 'w') as file:
        file['pose/3d'] = np.concatenate([
            camera.to_camera_frame(poses) for camera in cameras.values()])
        file['frame'] = [1, 6] * len(cameras)
        file['camera'] = np.repeat([int(name) for name in cameras], 2)
        for name, camera in cameras.items():
            K = camera.intrinsics
            file[f'intrinsics/{name}'] = [K[0, 0], K[0, 2], K[1, 1], K[1, 2]]


@pytest.fixture
def fetched(source):
    write_fetch(source / 'processed', source / 'metadata.xml')
    return source / 'processed'


def read_fetch(folder, subject, **settings):
    return fixtures.read_all(human36m_processed.Human36MFetchReader(
        str(folder), subjects=(subject,), cameras=CAMERAS, **settings))


def test_fetched_folders_with_metadata_give_the_same_labels(source, fetched, tmp_path):
    for subject in ('S1', 'S9'):
        expected, _ = fixtures.read_all(human36m.Human36MReader(
            str(source), subjects=(subject,), cameras=CAMERAS, step=5, min_movement_mm=0.0))
        expected = {example.name: example for example in expected}
        examples, problems = read_fetch(fetched, subject)
        assert problems == []
        for example in examples:
            _, take, camera, frame = example.name.split('/')
            name = {'Directions-1': 'Directions 1', 'Greeting-1': 'Greeting 1',
                    'Greeting-2': 'Greeting'}[take]
            other = expected[f'{subject}/{name}.{camera}/{int(frame) - 1:06d}']
            np.testing.assert_allclose(example.coords3d_cam, other.coords3d_cam, atol=0.01)
            np.testing.assert_allclose(example.camera_up, other.camera_up, atol=1e-6)
            fixtures.check_projection(example)
            np.testing.assert_allclose(
                *(fixtures.photo_points(either, human36m_fixture.PHOTO_SIZE)
                  for either in (example, other)), atol=1e-3)
    assert len(examples) == 8
    fixtures.check_round_trip(examples, tmp_path)


def test_fetched_folders_without_metadata_have_fitted_cameras(source, fetched):
    (source / 'metadata.xml').unlink()
    examples, problems = read_fetch(fetched, 'S1')
    assert problems == []
    assert [example.name for example in examples] == [
        f'S1/Directions-1/{camera}/{frame:06d}' for camera in CAMERAS for frame in (1, 6)]
    fx, fy, cx, cy = human36m_fixture.INTRINSICS[:4]
    coords3d = examples[1].coords3d_cam
    np.testing.assert_allclose(
        fixtures.photo_points(examples[1], human36m_fixture.PHOTO_SIZE),
        coords3d[:, :2] / coords3d[:, 2:] * [fx, fy] + [cx, cy], atol=1e-3)
    np.testing.assert_array_equal(examples[1].camera_up, [0, -1, 0])


def test_shifted_takes_need_metadata(source, fetched):
    (source / 'metadata.xml').unlink()
    examples, problems = read_fetch(fetched, 'S9')
    assert {example.name.split('/')[1] for example in examples} == {'Greeting-1'}
    assert [problem.text for problem in problems] == [
        'cannot be moved back without metadata.xml, left out'] * 2
    examples, problems = read_fetch(fetched, 'S9', correct_s9=False)
    assert len(examples) == 8 and problems == []


def change(name, value):
    def damage(folder):
        with h5py.File(folder / 'annot.h5', 'r+') as file:
            del file[name]
            file[name] = value
    return damage


def remove_key(name):
    def damage(folder):
        with h5py.File(folder / 'annot.h5', 'r+') as file:
            del file[name]
    return damage


@pytest.mark.parametrize('damage, n_left, text', [
    (lambda folder: fixtures.write_cut_off(folder / 'annot.h5', 1000), 0,
     'annot.h5: missing or damaged: '),
    (lambda folder: (folder / 'annot.h5').unlink(), 0, 'annot.h5: missing or damaged: '),
    (remove_key('pose/3d'), 0, 'annot.h5: missing or damaged: '),
    (change('frame', [1, 6, 1]), 0,
     'annot.h5: `pose/3d`, `frame` and `camera` must have shapes (n, 32, 3), (n) and (n). '),
    (change('frame', [1, 6, 1, 1]), 3, 'annot.h5: camera 55011271: frame 1 there more than once; '),
    (lambda folder: (folder / 'imageSequence/54138969/img_000006.jpg').unlink(), 3,
     'imageSequence/54138969/img_000006.jpg: missing'),
    (lambda folder: fixtures.write_cut_off(
        folder / 'imageSequence/54138969/img_000006.jpg', 900), 3,
     'imageSequence/54138969/img_000006.jpg: damaged, or no photo'),
    (remove_key('intrinsics/55011271'), 2,
     'annot.h5: camera 55011271: missing, its frames are left out')])
def test_problems_of_fetched_folders(source, fetched, damage, n_left, text):
    (source / 'metadata.xml').unlink()
    damage(fetched / 'S1/Directions-1')
    examples, problems = read_fetch(fetched, 'S1')
    assert len(examples) == n_left
    assert len(problems) == 1
    assert str(problems[0]).startswith(f'{fetched}/S1/Directions-1/{text}')


def test_strange_and_missing_folders(fetched):
    (fetched / 'S1/Dancing-1').mkdir()
    examples, problems = fixtures.read_all(human36m_processed.Human36MFetchReader(
        str(fetched), subjects=('S1', 'S5'), cameras=CAMERAS))
    assert len(examples) == 4
    assert [str(problem) for problem in problems] == [
        f'{fetched}/S5: missing', f'{fetched}/S1/Dancing-1: no folder of a take, left out']
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds S9 or S11'):
        human36m_processed.Human36MFetchReader(str(fetched / 'S1'), split='test').items(print)
    with pytest.raises(ValueError, match='`split` must be one of'):
        human36m_processed.Human36MFetchReader('x', split='val')


def test_expected_counts(fetched):
    reader = human36m_processed.Human36MFetchReader(str(fetched))
    assert reader.expected_counts() == {'items': 150}
    assert [item.n_frames for item in read_items(fetched)] == [4]


def read_items(folder):
    return human36m_processed.Human36MFetchReader(str(folder), subjects=('S1',)).items(print)
