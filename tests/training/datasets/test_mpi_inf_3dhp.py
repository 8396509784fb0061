"""MPI-INF-3DHP, training part: labels, calibration, masks, choice of frames, problems."""

import numpy as np
import pytest
import scipy.io

from metro_tf import skeleton
from tests.training.datasets import fixtures
from training.datasets import mpi_inf_3dhp

JOINTS = skeleton.CONVENTIONS['mpi_inf_3dhp_28'].joint_names
SIZE = 128
K = np.array([[1497.693 / 16, 0, 1024.704 / 16], [0, 1497.103 / 16, 1051.394 / 16], [0, 0, 1]])
N_FRAMES = 10
I_FLASH, I_OUTSIDE = 4, 8
MOVED_IN_3D_ONLY = [JOINTS.index(name) for name in ('lhip', 'rhip', 'spin')]
# Left, top, right, bottom of the person, the upper and the lower clothes in mask videos.
MASKS = ((20, 10, 90, 120), (30, 30, 70, 60), (30, 70, 70, 110))


def make_poses():
    """World coordinates `[frames, 28, 3]`, y up, mm: a walk by 45 mm per frame along x."""
    further = {'spi4': 'spi3', 'lfoo': 'lank', 'rfoo': 'rank'}
    standing = fixtures.standing([further.get(name, name) for name in JOINTS])
    poses = standing[:, [0, 2, 1]] * [1, 1, -1] + np.arange(N_FRAMES)[:, np.newaxis, np.newaxis] * [
        45.0, 0, 0]
    poses[I_OUTSIDE] += [0, 2500, 0]
    return poses


def camera_pose(i_camera):
    """Rotation and translation of a camera on a circle around the person."""
    angle = 2 * np.pi * i_camera / 14
    position = (4200 * np.cos(angle), 1500, 4200 * np.sin(angle))
    return fixtures.look_at(position, (200, 950, 0), up=(0, 1, 0))


def calibration_text():
    """The text of a `camera.calibration` file, with blanks at the ends of matrix lines."""
    lines = ['Skeletool Camera Calibration File V1.0']
    for i_camera in range(14):
        rotation, translation = camera_pose(i_camera)
        matrices = np.eye(4), np.eye(4)
        matrices[0][:3, :3], matrices[1][:3, :3], matrices[1][:3, 3] = K, rotation, translation
        intrinsic, extrinsic = (
            ' '.join(map(repr, map(float, matrix.ravel()))) + ' ' for matrix in matrices)
        lines += [
            f'name          {i_camera}', '  sensor      10 10', f'  size        {SIZE} {SIZE}',
            '  animated    0', f'  intrinsic   {intrinsic}', f'  extrinsic   {extrinsic}',
            '  radial      0']
    return '\n'.join(lines) + '\n'


def make_labels(n_cameras=14):
    """Dict of the variables of `annot.mat`."""
    cells = {name: np.empty([n_cameras, 1], object) for name in ('annot2', 'annot3', 'univ_annot3')}
    for i_camera in range(n_cameras):
        rotation, translation = camera_pose(i_camera)
        coords3d = make_poses() @ rotation.T + translation
        points = coords3d @ K.T
        coords2d = points[..., :2] / points[..., 2:]
        coords2d[:, MOVED_IN_3D_ONLY] += 1.0
        root = coords3d[:, JOINTS.index('pelv')][:, np.newaxis]
        labels = (coords2d, coords3d, root + 0.9 * (coords3d - root))
        for name, value in zip(cells, labels):
            cells[name][i_camera, 0] = value.reshape(N_FRAMES, -1)
    return {
        **cells, 'cameras': np.arange(n_cameras)[:, np.newaxis],
        'frames': np.arange(N_FRAMES)[:, np.newaxis]}


def write_sequence(folder, cameras=(0, 8), mask_dir='FGmasks'):
    """Writes a sequence with the videos of some cameras."""
    folder.mkdir(parents=True)
    labels = make_labels()
    scipy.io.savemat(folder / 'annot.mat', labels)
    (folder / 'camera.calibration').write_text(calibration_text())
    edges = skeleton.CONVENTIONS['mpi_inf_3dhp_28'].edges
    for i_camera in cameras:
        photos = [
            fixtures.draw_person(np.full([SIZE, SIZE, 3], 70, np.uint8), points, edges)
            for points in labels['annot2'][i_camera, 0].reshape(N_FRAMES, -1, 2)]
        photos[I_FLASH][:50] = 255
        mask = np.zeros([SIZE, SIZE, 3], np.uint8)
        for channel, (left, top, right, bottom) in enumerate(MASKS):
            mask[top:bottom, left:right, channel] = 200
        name = f'video_{i_camera}.avi'
        fixtures.write_video(folder / 'imageSequence' / name, photos, 'MJPG')
        fixtures.write_video(folder / mask_dir / name, [mask] * N_FRAMES, 'MJPG')


@pytest.fixture
def source(tmp_path):
    write_sequence(tmp_path / 'source' / 'S7' / 'Seq1')
    return tmp_path / 'source'


def read(source, **settings):
    settings = {
        'cameras': (8,), 'step': 1, 'min_movement_mm': 0.0, 'require_inside': False,
        'drop_flashes': False, **settings}
    examples, problems = fixtures.read_all(
        mpi_inf_3dhp.MpiInf3dhpReader(str(source), **settings))
    return examples, [problem for problem in problems if not problem.path.endswith(
        tuple(f'S{i}/Seq{j}' for i in range(1, 9) for j in (1, 2)))]


def frame_numbers(examples):
    return [int(example.name[-6:]) for example in examples]


def test_published_calibration(tmp_path):
    path = tmp_path / 'camera.calibration'
    path.write_text(
        'Skeletool Camera Calibration File V1.0\n'
        'name          0\n  sensor      10 10\n  size        2048 2048\n  animated    0\n'
        '  intrinsic   1497.693 0 1024.704 0 0 1497.103 1051.394 0 0 0 1 0 0 0 0 1 \n'
        '  extrinsic   0.9650164 0.00488022 0.262144 -562.8666 -0.004488035 -0.9993728 0.0351275 '
        '1398.138 0.262151 -0.0350751 -0.9643891 3852.623 0 0 0 1 \n  radial      0\n')
    camera, size = mpi_inf_3dhp.read_calibration(path)[0]
    assert size == (2048, 2048)
    np.testing.assert_allclose(
        camera.intrinsics, [[1497.693, 0, 1024.704], [0, 1497.103, 1051.394], [0, 0, 1]])
    np.testing.assert_allclose(camera.rotation[1], [-0.004488, -0.999373, 0.035128], atol=1e-6)
    # The origin of the world, and up, which is almost -y in the camera.
    np.testing.assert_allclose(
        camera.to_camera_frame(np.zeros(3)), [-562.8666, 1398.138, 3852.623])
    np.testing.assert_allclose(
        camera.direction_in_camera_frame([0, 1, 0]), [0.00488022, -0.9993728, -0.0350751])


def test_labels_by_hand(source, tmp_path):
    examples, problems = read(source)
    assert problems == []
    assert frame_numbers(examples) == list(range(N_FRAMES))
    example = examples[3]
    assert example.name == 'S7/Seq1/video_8/000003'
    rotation, translation = camera_pose(8)
    coords3d = make_poses()[3] @ rotation.T + translation
    np.testing.assert_allclose(example.coords3d_cam, coords3d, atol=1e-2)
    np.testing.assert_allclose(example.camera_up, rotation[:, 1], atol=1e-6)
    assert example.camera_up[1] < -0.9
    points = fixtures.photo_points(example, (SIZE, SIZE))
    annot2 = make_labels()['annot2'][8, 0].reshape(N_FRAMES, -1, 2)[3]
    annot2[MOVED_IN_3D_ONLY] -= 1.0
    np.testing.assert_allclose(points, annot2, atol=1e-3)
    fixtures.check_projection(example)
    fixtures.check_round_trip(examples, tmp_path)


def test_universal_labels_keep_the_2d_labels_of_the_data_set(source):
    example = read(source, labels='univ_annot3')[0][3]
    true = read(source)[0][3]
    pelvis = JOINTS.index('pelv')
    np.testing.assert_allclose(
        example.coords3d_cam - example.coords3d_cam[pelvis],
        0.9 * (true.coords3d_cam - true.coords3d_cam[pelvis]), atol=1e-2)
    np.testing.assert_allclose(
        fixtures.photo_points(example, (SIZE, SIZE)),
        make_labels()['annot2'][8, 0].reshape(N_FRAMES, -1, 2)[3], atol=1e-3)


@pytest.mark.parametrize('settings, frames', [
    ({'step': 3}, [0, 3, 6, 9]),
    ({'require_inside': True}, [0, 1, 2, 3, 4, 5, 6, 7, 9]),
    ({'drop_flashes': True}, [0, 1, 2, 3, 5, 6, 7, 8, 9]),
    ({'require_inside': True, 'min_movement_mm': 130.0}, [0, 3, 6, 9])])
def test_choice_of_frames(source, settings, frames):
    assert frame_numbers(read(source, **settings)[0]) == frames


def test_left_out_frames_are_expected_problems(source):
    _, problems = read(source, require_inside=True, drop_flashes=True)
    assert [(problem.item, problem.text, problem.is_expected) for problem in problems] == [
        (f'frame {I_OUTSIDE}', 'a joint is outside, left out', True),
        (f'frame {I_FLASH}', 'overexposed by a flash, left out', True)]
    assert problems[0].path == str(source / 'S7/Seq1/imageSequence/video_8.avi')


@pytest.mark.parametrize('share, is_flash', [(0.3, False), (0.4, True)])
def test_flash_by_hand(share, is_flash):
    photo = np.full([100, 10, 3], 250, np.uint8)
    photo[:int(share * 100)] = 251
    assert mpi_inf_3dhp.is_overexposed(photo) == is_flash


def window_masks(example):
    """The masks of an example at the centres of the three rectangles, as `[rectangle, mask]`."""
    scale = example.frame[2:] / SIZE
    layers = np.concatenate([example.alpha[..., np.newaxis], example.clothing_masks], axis=-1)
    centers = np.array([[(left + right) / 2, (top + bottom) / 2]
                        for left, top, right, bottom in (*MASKS, (0, 0, 16, 60))])
    x, y = np.round((centers + 0.5) * scale - 0.5 + example.frame[:2]).astype(int).T
    return layers[y, x]


def test_masks(source):
    example = read(source)[0][3]
    np.testing.assert_array_equal(window_masks(example), [
        [255, 0, 0], [255, 255, 0], [255, 0, 255], [0, 0, 0]])
    assert set(np.unique(example.alpha)) == {0, 255}


@pytest.mark.parametrize('subject, sequence, has_alpha, has_clothes, has_lower', [
    ('S1', 'Seq1', True, False, False), ('S1', 'Seq2', False, True, False),
    ('S2', 'Seq2', True, True, True), ('S7', 'Seq2', True, False, False)])
def test_masks_that_do_not_exist(tmp_path, subject, sequence, has_alpha, has_clothes, has_lower):
    write_sequence(tmp_path / subject / sequence, cameras=(0,), mask_dir='FGmaks')
    example = read(tmp_path, cameras=(0,))[0][0]
    assert (example.alpha is not None) == has_alpha
    assert (example.clothing_masks is not None) == has_clothes
    lower = np.zeros([1, 1]) if example.clothing_masks is None else example.clothing_masks[..., 1]
    assert lower.any() == has_lower


def test_masks_can_be_left_out(source):
    assert read(source, with_masks=False)[0][0].alpha is None


def test_mask_video_that_is_missing_or_short(source):
    path = source / 'S7/Seq1/FGmasks/video_8.avi'
    mask = np.full([SIZE // 2, SIZE // 2, 3], 200, np.uint8)  # half the size of the video
    fixtures.write_video(path, [mask] * 4, 'MJPG')
    examples, problems = read(source, step=2)
    assert [example.alpha is not None for example in examples] == [True, True, False, False, False]
    assert examples[0].alpha.shape == examples[0].image.shape[:2]
    assert [str(problem) for problem in problems] == [
        f'{path}: frame 4: the video ends before frame 4; the rest is left out']
    path.unlink()
    examples, problems = read(source, step=2)
    assert [example.alpha for example in examples] == [None] * 5
    assert [str(problem) for problem in problems] == [f'{path}: missing']


def replace_labels(change):
    def damage(folder):
        scipy.io.savemat(folder / 'annot.mat', change(make_labels()))
    return damage


def drop_joints(labels):
    labels['annot3'][8, 0] = labels['annot3'][8, 0][:, :51]
    return labels


def remove(name):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize('damage, n_left, text', [
    (remove('annot.mat'), 0, 'annot.mat: missing'),
    (lambda folder: fixtures.write_cut_off(folder / 'annot.mat', 90000), 0, 'annot.mat: damaged'),
    (replace_labels(lambda labels: {'cameras': labels['cameras']}), 0,
     'annot.mat: damaged: annot2, annot3 missing'),
    (replace_labels(lambda labels: make_labels(8)), 0, 'annot.mat: camera 8: missing'),
    (replace_labels(drop_joints), 0, 'annot.mat: camera 8: labels must have shapes (n, 56) and '
     '(n, 84), but have (10, 56) and (10, 51); left out'),
    (remove('camera.calibration'), 0, 'camera.calibration: missing or damaged: FileNotFoundError'),
    (lambda folder: (folder / 'camera.calibration').write_text(calibration_text()[:3000]), 0,
     'camera.calibration: missing or damaged: '),
    (lambda folder: (folder / 'camera.calibration').write_text(
        '\n'.join(calibration_text().split('\n')[:15])), 0,
     'camera.calibration: camera 8 is missing'),
    (remove('imageSequence/video_8.avi'), 0, 'imageSequence/video_8.avi: missing'),
    (lambda folder: fixtures.write_video(
        folder / 'imageSequence/video_8.avi', [np.zeros([SIZE, SIZE, 3], np.uint8)] * 6, 'MJPG'), 6,
     'imageSequence/video_8.avi: frame 6: the video ends before frame 6; the rest is left out')])
def test_problems(source, damage, n_left, text):
    damage(source / 'S7/Seq1')
    examples, problems = read(source)
    assert len(examples) == n_left
    assert len(problems) == 1
    assert str(problems[0]).startswith(f'{source}/S7/Seq1/{text}')
    assert not problems[0].is_expected


def test_person_outside_is_reported(source):
    labels = make_labels()
    rows = labels['annot3'][8, 0].reshape(N_FRAMES, -1, 3)
    rows[2] += [9000, 0, 0]
    scipy.io.savemat(source / 'S7/Seq1/annot.mat', labels)
    examples, problems = read(source)
    assert frame_numbers(examples) == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert [str(problem) for problem in problems] == [
        f'{source}/S7/Seq1/imageSequence/video_8.avi: frame 2: the person is outside, left out']


@pytest.mark.parametrize('sequence, i_camera, n_frames', [
    ('Seq1', 2, 6188), ('Seq2', 2, 3911), ('Seq2', 3, 6145)])
def test_table_limits_the_frames(tmp_path, sequence, i_camera, n_frames):
    (tmp_path / 'S6' / sequence).mkdir(parents=True)
    reader = mpi_inf_3dhp.MpiInf3dhpReader(str(tmp_path), cameras=(i_camera,), step=1)
    problems = []
    items = reader.items(problems.append)
    assert [(item.name, item.n_frames) for item in items] == [
        (f'S6/{sequence}/video_{i_camera}', n_frames)]
    assert len(problems) == 13  # the other sequences of S1 to S7 are missing
    assert problems[0].text == 'missing'


@pytest.mark.parametrize('split, n_sequences', [
    ('train', 14), ('val', 2), ('all', 16), ('margipose_train', 14), ('margipose_val', 2)])
def test_expected_counts(split, n_sequences):
    reader = mpi_inf_3dhp.MpiInf3dhpReader('x', split=split)
    assert reader.expected_counts() == {'items': 14 * n_sequences}


@pytest.mark.parametrize('settings, message', [
    ({'split': 'test'}, "`split` must be one of .* Received: split='test'"),
    ({'labels': 'annot2'}, '`labels` must be one of'),
    ({'cameras': (14,)}, '`cameras` must be distinct ones of'),
    ({'step': 0}, '`step` must be a positive'),
    ({'min_movement_mm': -1.0}, '`min_movement_mm` must not be negative')])
def test_unknown_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        mpi_inf_3dhp.MpiInf3dhpReader('x', **settings)


def test_source_must_hold_a_sequence(tmp_path):
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds S8/Seq1 or'):
        mpi_inf_3dhp.MpiInf3dhpReader(str(tmp_path), split='val').items(print)
