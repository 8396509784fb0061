"""The example `fit_skeleton_to_volumes.py`: its functions, and as a user would run it."""

import json
import pathlib
import runpy
import sys

import numpy as np
import pytest
import tensorflow as tf

from metro_tf.geometry import camera, root_depth, voxels
from metro_tf.layers import volumetric_heatmaps
from metro_tf.tools import volumes

PATH = pathlib.Path(__file__).parents[1] / 'examples' / 'fit_skeleton_to_volumes.py'
EXAMPLE = runpy.run_path(str(PATH))
SIDE, N_CELLS, N_DEPTH_CELLS = 128, 32, 32
NAMES = ('pelv', 'neck', 'lsho', 'lelb', 'lwri')
EDGES = np.int32([[0, 1], [1, 2], [2, 3], [3, 4]])
INTRINSICS = np.float32([[280, 0, 64], [0, 280, 64], [0, 0, 1]])
# Relative to the pelvis, mm, in the frame of the crop's camera.
POSE_MM = np.float32(
    [[0, 0, 0], [0, -500, 20], [160, -480, 0], [300, -300, 150], [420, -120, -20]])
TRUE_MM = POSE_MM + np.float32([-200, 200, 3800])
# A quarter turn about the vertical axis.
CROP_TO_CAMERA = np.float32([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])


def draw_blobs(coords25d):
    volume = volumetric_heatmaps.VolumetricTargets(SIDE, N_CELLS, N_DEPTH_CELLS)(coords25d[None])
    return voxels.split_joints(volume, N_DEPTH_CELLS)[0].numpy().transpose(2, 3, 0, 1)


def make_person(i_corrupted=None, wrong_by_mm=0.0):
    """Noisy volumes of a known pose; one joint may have a higher blob at a wrong depth."""
    coords25d = np.concatenate(
        [camera.project(TRUE_MM, INTRINSICS), POSE_MM[:, 2:]], axis=-1).astype(np.float32)
    values = 0.9 * draw_blobs(coords25d)
    if i_corrupted is not None:
        wrong = coords25d + np.float32([0, 0, wrong_by_mm])
        values[i_corrupted] += draw_blobs(wrong)[i_corrupted]
    values += np.random.default_rng(0).normal(0, 0.03, values.shape)
    return as_person(np.float32(values))


def as_person(values):
    decoded = volumetric_heatmaps.VolumeDecoding(SIDE, N_DEPTH_CELLS)(
        values.transpose(2, 3, 0, 1).reshape(1, N_CELLS, N_CELLS, -1))[0]
    lengths_mm = np.linalg.norm(POSE_MM[1:] - POSE_MM[:-1], axis=-1)
    depth_mm = root_depth.from_bone_lengths(
        decoded, INTRINSICS, EDGES, lengths_mm, tf.ones(len(NAMES)), i_root_joint=0)
    coords3d_crop = root_depth.to_camera_frame(decoded, INTRINSICS, depth_mm, i_root_joint=0)
    near, far = voxels.DEPTH_RANGE_MM
    centers_px = np.float32(np.arange(N_CELLS) + 0.5) * (SIDE / N_CELLS)
    step_mm = (far - near) / N_DEPTH_CELLS
    return volumes.PersonVolumes(
        volumes=values.astype(np.float16), meaning=volumes.SCORES, x_px=centers_px,
        y_px=centers_px, z_mm=np.float32(near + (np.arange(N_DEPTH_CELLS) + 0.5) * step_mm),
        coords25d=decoded.numpy(), coords3d_cam=coords3d_crop.numpy() @ CROP_TO_CAMERA.T,
        root_depth_mm=np.float32(depth_mm - decoded[0, 2]), intrinsics=INTRINSICS,
        crop_to_camera=CROP_TO_CAMERA, crop=np.zeros([SIDE, SIDE, 3], np.uint8),
        joint_names=np.array(NAMES), joint_edges=EDGES, bone_lengths_mm=np.float32(lengths_mm))


def relative_errors(pose):
    """Distances `[joints]` to the true joints in mm, both relative to the pelvis."""
    true_mm = TRUE_MM @ CROP_TO_CAMERA.T
    return np.linalg.norm((pose - pose[0]) - (true_mm - true_mm[0]), axis=-1)


@pytest.mark.parametrize('i_corrupted, wrong_by_mm', [(4, -500), (3, 500)])
def test_right_bone_lengths_overrule_a_wrong_peak(i_corrupted, wrong_by_mm):
    person = make_person(i_corrupted, wrong_by_mm)
    assert relative_errors(person.coords3d_cam)[i_corrupted] > 400
    fitted = EXAMPLE['fit'](person, person.bone_lengths_mm, n_steps=80)
    np.testing.assert_allclose(
        EXAMPLE['measured_lengths'](fitted, EDGES), person.bone_lengths_mm, atol=0.01)
    assert relative_errors(fitted)[i_corrupted] < 120
    assert relative_errors(fitted).mean() < 0.6 * relative_errors(person.coords3d_cam).mean()


def test_good_volumes_keep_the_pose():
    person = make_person()
    fitted = EXAMPLE['fit'](person, person.bone_lengths_mm, n_steps=80)
    assert relative_errors(fitted).max() < 80  # cells are 54 mm wide at this distance, 62 deep
    # Only the size of the whole tells the distance.
    np.testing.assert_allclose(np.linalg.norm(fitted.mean(axis=0)), 3800, rtol=0.1)


def test_given_lengths_are_kept_whatever_they_are():
    person = make_person()
    fitted = EXAMPLE['fit'](person, 1.2 * person.bone_lengths_mm, n_steps=5)
    np.testing.assert_allclose(
        EXAMPLE['measured_lengths'](fitted, EDGES), 1.2 * person.bone_lengths_mm, atol=0.01)


def test_wrong_number_of_lengths():
    with pytest.raises(ValueError, match='`bone_lengths_mm` must have one length for each of 4 '
                                         r'bones. Received: shape=\(3,\)'):
        EXAMPLE['fit'](make_person(), [1.0, 2.0, 3.0])


def test_paths_in_any_order_and_direction():
    i_root, paths = EXAMPLE['paths_from_root'](4, [[3, 0], [1, 2], [1, 0]])
    assert i_root == 3
    # 3 -> 0 along bone 0, then against bone 2 to joint 1, then along bone 1 to joint 2.
    np.testing.assert_array_equal(paths, [[1, 0, 0], [1, 0, -1], [1, 1, -1], [0, 0, 0]])


@pytest.mark.parametrize('n_joints, edges, complaint', [
    (3, [[0, 1]], 'must be a tree over all 3 joints, at least two. Received: 1 edges'),
    (1, np.zeros([0, 2], int), 'must be a tree over all 1 joints'),
    (4, [[0, 1], [1, 0], [2, 3]], 'Received: only 2 of 4 joints are connected')])
def test_edges_that_are_no_tree(n_joints, edges, complaint):
    with pytest.raises(ValueError, match=complaint):
        EXAMPLE['paths_from_root'](n_joints, edges)


def test_interpolation_by_hand():
    values = np.zeros([2, 2, 2, 3], np.float32)
    values[0, 1, 0, 2], values[1, 0, 1, 1] = 8, 4
    cells = tf.constant([[[2, 0, 1], [1, 1, 0]], [[1.5, 0.5, 0.5], [1, 0.25, 0]],
                         [[9, -9, 9], [1.5, 1, 0.5]]], tf.float32)
    expected = [[8, 4], [1, 1], [8, 1]]
    np.testing.assert_allclose(EXAMPLE['values_at'](values, cells), expected, rtol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(cells)
        value = EXAMPLE['values_at'](values, cells)[1, 0]
    np.testing.assert_allclose(tape.gradient(value, cells)[1, 0], [2, -2, 2], rtol=1e-6)


def test_cells_agree_with_the_file():
    person = make_person()
    points = person.coords3d_cam @ person.crop_to_camera
    np.testing.assert_allclose(
        EXAMPLE['to_cells'](points[None], person.root_depth_mm[None], person)[0],
        person.to_cells(person.coords25d), atol=1e-2)


def test_smoothing_keeps_the_sum_inside_and_spreads_by_its_width():
    values = np.zeros([1, 21, 21, 21], np.float32)
    values[0, 10, 10, 12] = 1
    smoothed = EXAMPLE['smooth'](values, 1.5).numpy()[0]
    assert smoothed.sum() == pytest.approx(1, abs=1e-4)
    along_x = smoothed.sum((0, 1))
    mean = along_x @ np.arange(21)
    assert mean == pytest.approx(12, abs=1e-3)
    assert along_x @ (np.arange(21) - mean) ** 2 == pytest.approx(1.5 ** 2, rel=1e-2)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    volumes.write('person.npz', make_person())

    def run_example(*arguments):
        monkeypatch.setattr(sys, 'argv', ['example', 'person.npz', *map(str, arguments)])
        # A few steps suffice to see all parts work.
        monkeypatch.setitem(EXAMPLE['fit'].__kwdefaults__, 'n_steps', 3)
        EXAMPLE['main']()
        return capsys.readouterr().out.splitlines()
    return run_example


def test_as_a_program(run, tmp_path):
    lines = run('--out', 'f.json', '--picture', 'f.png')
    assert lines[0].startswith('joints moved by ') and lines[0].endswith(' mm on average')
    assert lines[1].startswith('bone lengths of the decoded pose are off by ')
    assert lines[2] == (
        'bone lengths of the fitted pose are off by 0.0 mm on average, 0.0 mm at most')
    document = json.loads((tmp_path / 'f.json').read_text(encoding='utf-8'))
    poses = [np.array(list(document[key].values())) for key in ('decoded_mm', 'fitted_mm')]
    np.testing.assert_allclose(poses[0], make_person().coords3d_cam, atol=0.01)
    assert float(lines[0].split()[3]) == pytest.approx(
        np.linalg.norm(poses[1] - poses[0], axis=-1).mean(), abs=0.51)
    assert list(document['fitted_mm']) == list(NAMES)
    assert (tmp_path / 'f.png').read_bytes().startswith(b'\x89PNG\r\n\x1a\n')


def test_own_bone_lengths(run, tmp_path):
    lengths = {'pelv-neck': 520, 'neck-lsho': 150, 'lsho-lelb': 300, 'lelb-lwri': 260.5}
    (tmp_path / 'own.json').write_text(json.dumps({**lengths, 'lhip-lkne': 1}))
    run('--bone-lengths', 'own.json')
    document = json.loads((tmp_path / 'fitted.json').read_text(encoding='utf-8'))
    assert document['bone_lengths_mm'] == pytest.approx(lengths, abs=0.01)
    del lengths['lsho-lelb'], lengths['pelv-neck']
    (tmp_path / 'own.json').write_text(json.dumps(lengths))
    with pytest.raises(ValueError, match='own.json: these bones must have a length: '
                                         'pelv-neck, lsho-lelb'):
        run('--bone-lengths', 'own.json')
