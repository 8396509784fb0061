"""MuCo-3DHP: chunks with true poses from MPI-INF-3DHP, and the processed JSON file."""

import json

import h5py
import numpy as np
import pytest
import scipy.io

from metro_tf import skeleton
from tests.training.datasets import fixtures
from training.datasets import muco

MPI_17 = skeleton.CONVENTIONS['mpi_inf_3dhp_17']
NAMES = MPI_17.joint_names + ('rhan', 'lhan', 'rtoe', 'ltoe')
EDGES = MPI_17.edges + ((4, 17), (7, 18), (10, 19), (13, 20))
SIZE = (512, 512)  # instead of 2048, for speed
INTRINSICS = np.array([[375.0, 0, 256], [0, 378, 260], [0, 0, 1]])
# The 28 joints of MPI-INF-3DHP by the names of the fixtures; what is missing there is near.
NAMES_28 = (
    'spi3 thor spi2 spin pelv neck head htop lcla lsho lelb lwri lhan rcla rsho relb rwri rhan '
    'lhip lkne lank lank ltoe rhip rkne rank rank rtoe').split()
# World: y up; the camera stands at (500, 1000, -4500) and looks along z.
ROTATION = np.diag([1.0, -1.0, -1.0]) @ np.diag([-1.0, 1.0, -1.0])
TRANSLATION = np.array([500.0, 1000.0, 4500.0])
N_FRAMES = 4
# Subject, sequence, camera and frame of the people of composites 1, 2 and so on.
ORIGINS = [[(1, 1, 0, 0), (1, 1, 0, 3), (1, 2, 0, 1), (1, 2, 0, 2)],
           [(1, 2, 0, 3), (1, 1, 0, 1), (1, 1, 0, 2), (1, 2, 0, 0)]]


def pose(sequence, frame, names=NAMES_28):
    """Joints in the camera frame, mm; every sequence and frame has its own place and depth."""
    world = fixtures.standing(names)[:, [1, 2, 0]] + [0, -950, 0]
    world = world + [700 * frame - 900, 0, -250 * frame + 1500 * (sequence - 1)]
    return world @ ROTATION.T + TRANSLATION


def project(coords3d_cam):
    points = coords3d_cam @ INTRINSICS.T
    return points[..., :2] / points[..., 2:]


def write_3dhp(folder):
    """Two sequences with two cameras, of which the first one is used."""
    def matrix_line(key, matrix):
        return f'  {key} ' + ' '.join(f'{value:.9g}' for value in matrix.ravel()) + ' \n'
    intrinsic, extrinsic = np.eye(4), np.eye(4)
    intrinsic[:3, :3], extrinsic[:3, :3], extrinsic[:3, 3] = INTRINSICS, ROTATION, TRANSLATION
    camera = '  sensor 10 10\n  size 2048 2048\n  animated 0\n' + matrix_line(
        'intrinsic', intrinsic) + matrix_line('extrinsic', extrinsic) + '  radial 0\n'
    for sequence in (1, 2):
        path = folder / f'S1/Seq{sequence}'
        path.mkdir(parents=True)
        cells = np.empty([2, 1], object)
        for i_camera in range(2):
            cells[i_camera, 0] = np.stack(
                [pose(sequence, frame).ravel() for frame in range(N_FRAMES)]) + 9 * i_camera
        scipy.io.savemat(path / 'annot.mat', {'annot3': cells, 'annot2': cells})
        (path / 'camera.calibration').write_text(
            'Skeletool Camera Calibration File V1.0\n' + ''.join(
                f'name {i}\n{camera}' for i in range(2)))


def write_index(path):
    """sampled_dataset_info.mat of version 7.3: cells of cells, all axes reversed."""
    with h5py.File(path, 'w', userblock_size=512) as file:
        references = file.create_group('#refs#')

        def store(values):
            dataset = references.create_dataset(f'r{len(references)}', data=values)
            return dataset.ref
        index = np.empty([4, len(ORIGINS)], object)
        for i_composite, people in enumerate(ORIGINS):
            for i_person, origin in enumerate(people):
                cell = np.empty([6, 1], object)
                for i_cell in range(6):
                    cell[i_cell, 0] = store(np.float64(origin)[:, np.newaxis])
                inner = references.create_dataset(
                    f'c{len(references)}', shape=cell.shape, dtype=h5py.ref_dtype)
                inner[...] = cell
                index[i_person, i_composite] = inner.ref
        file.create_dataset('composite_info', data=index, dtype=h5py.ref_dtype)
    with open(path, 'r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file, Platform: GLNXA64')


def front_to_back(i_composite):
    """Sequence and frame of the people, and their joints `[4, 21, 3]`."""
    people = [(sequence, frame) for _, sequence, _, frame in ORIGINS[i_composite]]
    people.sort(key=lambda origin: pose(*origin, ['pelv'])[0, 2])
    return people, np.stack([pose(*origin, NAMES) for origin in people])


def write_chunk(folder):
    poses = np.stack([front_to_back(i)[1] for i in range(2)])
    names = np.empty([1, 2], object)
    names[0] = '000001.jpg', '000002.jpg'
    scipy.io.savemat(folder / 'chunk_00001_annot.mat', {
        'img_names': names, 'joint_loc2': project(poses).transpose(3, 2, 1, 0),
        'joint_loc3': (poses - poses[:, :, 14:15]).transpose(3, 2, 1, 0)})
    for i in range(2):
        fixtures.write_photo(folder / names[0, i], project(poses[i][::-1]), EDGES, SIZE)


@pytest.fixture
def folders(tmp_path):
    """Folders of MuCo-3DHP and of MPI-INF-3DHP."""
    folder = tmp_path / 'muco'
    (folder / 'unaugmented_set_001').mkdir(parents=True)
    write_chunk(folder / 'unaugmented_set_001')
    write_index(folder / 'sampled_dataset_info.mat')
    write_3dhp(tmp_path / '3dhp')
    return folder, tmp_path / '3dhp'


def test_chunks_alone_have_2d_labels(folders, tmp_path):
    reader = muco.MucoReader(str(folders[0]))
    assert [item.name for item in reader.items(pytest.fail)] == [
        'unaugmented_set_001/chunk_00001_annot']
    examples, problems = fixtures.read_all(reader)
    assert problems == []
    assert [example.name for example in examples] == [
        f'unaugmented_set_001/00000{i}/{k}' for i in (1, 2) for k in range(4)]
    assert examples[0].joint_names == NAMES and examples[0].coords3d_cam is None
    np.testing.assert_allclose(
        fixtures.photo_points(examples[5], SIZE), project(front_to_back(1)[1][1]), atol=0.01)
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


def test_true_poses_are_looked_up(folders, tmp_path):
    reader = muco.MucoReader(str(folders[0]), mpi_inf_3dhp_dir=str(folders[1]))
    examples, problems = fixtures.read_all(reader)
    assert problems == [] and len(examples) == 8
    for i, example in enumerate(examples):
        np.testing.assert_allclose(
            example.coords3d_cam, front_to_back(i // 4)[1][i % 4], rtol=1e-5)
        np.testing.assert_array_equal(example.camera_up, [0, -1, 0])
        fixtures.check_projection(example)
    # By hand: frame 2 of sequence 2 has its pelvis at (500, 0, 1000) in the world.
    pelvis = examples[2].coords3d_cam[14]
    assert front_to_back(0)[0][2] == (2, 2)
    np.testing.assert_allclose(pelvis, [0, 1000, 5500], atol=0.01)
    np.testing.assert_allclose(
        fixtures.photo_points(examples[2], SIZE)[14],
        [256, 260 + 378 * 1000 / 5500], atol=0.01)
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


def test_labels_that_do_not_agree_are_reported(folders):
    path = folders[0] / 'unaugmented_set_001/chunk_00001_annot.mat'
    content = scipy.io.loadmat(path)
    content['joint_loc2'][0, :, 1, 0] += 40
    scipy.io.savemat(path, {name: content[name] for name in ('img_names', 'joint_loc2')})
    reader = muco.MucoReader(str(folders[0]), mpi_inf_3dhp_dir=str(folders[1]))
    examples, problems = fixtures.read_all(reader)
    assert len(examples) == 7
    assert [(problem.item, problem.text) for problem in problems] == [(
        'unaugmented_set_001/000001/1', '3D labels are 40 px off the 2D labels, left out')]


def test_missing_sources_are_reported(folders, tmp_path):
    (folders[1] / 'S1/Seq2/annot.mat').unlink()
    reader = muco.MucoReader(str(folders[0]), mpi_inf_3dhp_dir=str(folders[1]))
    examples, problems = fixtures.read_all(reader)
    assert examples == [] and len(problems) == 2
    assert 'no 3D labels, left out' in problems[0].text
    assert f'{folders[1]}/S1/Seq2/annot.mat: missing' in problems[0].text
    fixtures.write_cut_off(folders[0] / 'sampled_dataset_info.mat', 3000)
    examples, problems = fixtures.read_all(reader)
    assert examples == [] and 'OSError' in problems[0].text


def test_damaged_chunks_are_reported(folders):
    reader = muco.MucoReader(str(folders[0]))
    path = folders[0] / 'unaugmented_set_001/chunk_00001_annot.mat'
    content = scipy.io.loadmat(path)
    scipy.io.savemat(path, {
        'img_names': content['img_names'], 'joint_loc2': content['joint_loc2'][:, :17]})
    examples, problems = fixtures.read_all(reader)
    assert examples == [] and [problem.text for problem in problems] == [
        'joint_loc2 must have the shape (2, 21, 4, 2), but has (2, 17, 4, 2)']
    fixtures.write_cut_off(path, 200)
    examples, problems = fixtures.read_all(reader)
    assert examples == [] and 'damaged' in problems[0].text
    path.unlink()
    examples, problems = fixtures.read_all(reader)
    assert examples == [] and 'no files chunk_00001_annot.mat' in problems[0].text


def test_chunks_of_one_composite(folders):
    path = folders[0] / 'unaugmented_set_001/chunk_00001_annot.mat'
    content = scipy.io.loadmat(path)
    scipy.io.savemat(path, {
        'img_names': content['img_names'][:, :1], 'joint_loc2': content['joint_loc2'][..., 0]})
    examples, problems = fixtures.read_all(muco.MucoReader(str(folders[0])))
    assert len(examples) == 4 and problems == []


def make_content():
    people, poses = front_to_back(0)
    return {
        'images': [
            {'id': 5, 'file_name': 'augmented_set/a/000001.jpg', 'width': 2048, 'height': 2048,
             'f': [375.0, 378.0], 'c': [256.0, 260.0]},
            {'id': 4, 'file_name': 'unaugmented_set/000001.jpg', 'width': 2048, 'height': 2048,
             'f': [375.0, 378.0], 'c': [256.0, 260.0]}],
        'annotations': [
            {'id': i, 'image_id': 4 + i // 2, 'bbox': [30.0, 50.0, 100.0, 220.0],
             'keypoints_img': project(poses[i]).tolist(), 'keypoints_cam': poses[i].tolist(),
             'keypoints_vis': [1.0] * 20 + [0.0]} for i in range(4)]}


@pytest.fixture
def processed_dir(tmp_path):
    folder = tmp_path / 'muco'
    folder.mkdir()
    (folder / 'MuCo-3DHP.json').write_text(json.dumps(make_content()))
    for name in ('augmented_set/a/000001.jpg', 'unaugmented_set/000001.jpg'):
        fixtures.write_photo(folder / name, size=SIZE)
    return folder


def test_processed(processed_dir, tmp_path):
    examples, problems = fixtures.read_all(muco.MucoProcessedReader(str(processed_dir)))
    assert problems == []
    assert [example.name for example in examples] == [
        'augmented_set/a/000001/2', 'augmented_set/a/000001/3', 'unaugmented_set/000001/0',
        'unaugmented_set/000001/1']
    np.testing.assert_allclose(examples[0].coords3d_cam, front_to_back(0)[1][2], rtol=1e-5)
    np.testing.assert_allclose(
        fixtures.photo_box(examples[0], SIZE), [29.5, 49.5, 100, 220], atol=0.01)
    np.testing.assert_array_equal(examples[0].visibility, [1] * 20 + [0])
    for example in examples:
        fixtures.check_projection(example)
    (tmp_path / 'records').mkdir()
    fixtures.check_round_trip(examples, tmp_path / 'records')


@pytest.mark.parametrize('subset, n_people', [('augmented', 2), ('unaugmented', 2)])
def test_subsets_of_processed(processed_dir, subset, n_people):
    reader = muco.MucoProcessedReader(str(processed_dir), subset=subset)
    examples, _ = fixtures.read_all(reader)
    assert len(examples) == n_people
    assert all(example.name.startswith(subset) for example in examples)


def test_wrong_annotations_of_processed_are_reported(processed_dir):
    content = make_content()
    del content['images'][0]['f']
    content['annotations'][0]['keypoints_cam'].pop()
    del content['annotations'][1]['bbox']
    (processed_dir / 'MuCo-3DHP.json').write_text(json.dumps(content))
    examples, problems = fixtures.read_all(muco.MucoProcessedReader(str(processed_dir)))
    assert examples == []
    assert [(problem.item, problem.text) for problem in problems] == [
        ('image 5', 'no camera f and c, its people are left out'),
        ('annotation 0', 'must have 21 joints in 2D and 3D and a box, left out'),
        ('annotation 1', 'must have 21 joints in 2D and 3D and a box, left out')]
    fixtures.write_cut_off(processed_dir / 'MuCo-3DHP.json', 1000)
    examples, problems = fixtures.read_all(muco.MucoProcessedReader(str(processed_dir)))
    assert examples == [] and 'damaged' in problems[0].text


def test_wrong_settings_are_refused(folders, tmp_path):
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds augmented'):
        muco.MucoReader(str(folders[0]), composites='augmented_set_001').items(pytest.fail)
    with pytest.raises(ValueError, match='`mpi_inf_3dhp_dir` must be the folder .* Received: .*=x'):
        muco.MucoReader(str(folders[0]), mpi_inf_3dhp_dir='x').items(pytest.fail)
    (folders[0] / 'sampled_dataset_info.mat').unlink()
    with pytest.raises(ValueError, match='the folder that holds sampled_dataset_info.mat'):
        muco.MucoReader(str(folders[0]), mpi_inf_3dhp_dir='x').items(pytest.fail)
    with pytest.raises(ValueError, match='`subset` must be one of'):
        muco.MucoProcessedReader('x', subset='some')
    with pytest.raises(ValueError, match='`source_dir` must be the folder that holds MuCo-3DHP'):
        muco.MucoProcessedReader(str(tmp_path)).items(pytest.fail)
