import dataclasses
import json
import os

import numpy as np
import pytest

from metro_tf import version
from metro_tf.tools import writers

POSES = writers.PhotoPoses(
    file_name='grüße [1, 2].jpg', image_shape=(40, 60),
    boxes=np.array([[1, 2, 3, 4, 0.5]], np.float32),
    poses3d=np.array([[[300, 0, 3000], [-300, 0, 5000]]], np.float32),
    poses2d=np.array([[[10, 20], [30, 1 / 3]]], np.float32), joint_names=('pelv', 'neck'),
    joint_edges=((0, 1),), intrinsics=np.diag([50.0, 50.0, 1.0]), fov_degrees=55.0)
EMPTY = dataclasses.replace(
    POSES, boxes=np.zeros([0, 5]), poses3d=np.zeros([0, 2, 3]), poses2d=np.zeros([0, 2, 2]))


def make_document(poses=POSES):
    return writers.pose_document(
        poses, model={'name': 'm', 'version': '1'}, settings={'num_aug': 5})


def test_distance_and_extent():
    # The mean joint is (0, 0, 4000).
    np.testing.assert_allclose(POSES.distances_mm, [4000])
    np.testing.assert_allclose(POSES.extents_mm, [[600, 0, 2000]])


def test_nobody():
    assert EMPTY.distances_mm.shape == (0,) and EMPTY.extents_mm.shape == (0, 3)
    assert make_document(EMPTY)['people'] == []


@pytest.mark.parametrize('name, value', [
    ('boxes', np.zeros([1, 4])), ('poses3d', np.zeros([2, 2, 3])),
    ('poses2d', np.zeros([1, 3, 2])), ('intrinsics', np.zeros([4, 4])),
    ('uncertainty_mm', np.zeros([1, 3]))])
def test_shapes_are_checked(name, value):
    with pytest.raises(ValueError, match=f'`{name}` must have shape .* Received: shape='):
        dataclasses.replace(POSES, **{name: value})


def test_document():
    document = make_document()
    assert document['people'] == [{
        'score': 0.5, 'box_px': [1, 2, 3, 4], 'distance_mm': 4000, 'extent_mm': [600, 0, 2000],
        'joints3d_mm': {'pelv': [300, 0, 3000], 'neck': [-300, 0, 5000]},
        'joints2d_px': {'pelv': [10, 20], 'neck': [30, 0.3333]}}]
    assert document['library'] == {'name': 'metro_tf', 'version': version.VERSION}
    assert document['settings'] == {'num_aug': 5}
    assert document['skeleton'] == {'joint_names': ['pelv', 'neck'], 'joint_edges': [[0, 1]]}
    assert 'z forward' in document['camera']['frame']


def test_uncertainty_of_models_that_tell_it():
    unsure = dataclasses.replace(POSES, uncertainty_mm=np.array([[12.345678, 60]]))
    person, = make_document(unsure)['people']
    assert person.pop('uncertainty_mm') == {'pelv': 12.3457, 'neck': 60}
    assert [person] == make_document()['people']
    nobody = dataclasses.replace(EMPTY, uncertainty_mm=np.zeros([0, 2]))
    assert make_document(nobody)['people'] == []


def test_file_says_the_same_as_the_document(tmp_path):
    writers.write_json(tmp_path / 'a.json', make_document())
    text = (tmp_path / 'a.json').read_text(encoding='utf-8')
    assert json.loads(text) == make_document()
    assert '"pelv": [ 300.0, 0.0, 3000.0 ]' in text


def test_numbers_that_json_cannot_hold_become_null(tmp_path):
    poses3d = POSES.poses3d.copy()
    poses3d[0, 1] = np.nan, np.inf, 1
    writers.write_json(
        tmp_path / 'a.json', make_document(dataclasses.replace(POSES, poses3d=poses3d)))
    text = (tmp_path / 'a.json').read_text(encoding='utf-8')
    assert json.loads(text)['people'][0]['joints3d_mm']['neck'] == [None, None, 1]
    assert '"neck": [ null, null, 1.0 ]' in text


def test_write_replaces_and_leaves_nothing_else(tmp_path):
    for content in (b'old, longer', b'new'):
        writers.write_bytes(tmp_path / 'a', content)
    assert (tmp_path / 'a').read_bytes() == b'new'
    assert [path.name for path in tmp_path.iterdir()] == ['a']


def test_permissions_follow_the_umask(tmp_path):
    writers.write_bytes(tmp_path / 'a', b'')
    (tmp_path / 'plain').write_bytes(b'')
    assert (tmp_path / 'a').stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_failure_keeps_the_old_file_and_no_other(tmp_path, monkeypatch):
    writers.write_bytes(tmp_path / 'a', b'old')

    def fail(source, target):
        raise OSError('disk full')
    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='disk full'):
        writers.write_bytes(tmp_path / 'a', b'new')
    assert (tmp_path / 'a').read_bytes() == b'old'
    assert [path.name for path in tmp_path.iterdir()] == ['a']


@pytest.mark.parametrize('paths, stems', [
    (['a.jpg', 'b.png'], ['a', 'b']),
    (['x/a.jpg', 'y/a.jpg', 'a.png'], ['a', 'a_2', 'a_3']),
    (['x/a.jpg', 'y/a.jpg', 'a_2.jpg'], ['a', 'a_2', 'a_2_2'])])
def test_stems_are_distinct(paths, stems):
    assert writers.output_stems(paths, 'out') == stems


def test_no_photo_is_overwritten(tmp_path):
    paths = [tmp_path / 'a.jpg', tmp_path / 'a_poses.png']
    assert writers.output_stems(paths, tmp_path) == ['a_2', 'a_poses']
    assert writers.output_stems(paths, tmp_path / 'out') == ['a', 'a_poses']


def test_arrays_round_trip_and_leave_nothing_else(tmp_path):
    arrays = {'a': np.arange(6, dtype=np.float16).reshape(2, 3), 'names': np.array(['x', 'yz'])}
    writers.write_arrays(tmp_path / 'a.npz', {**arrays, 'number': np.float32(0.5)})
    with np.load(tmp_path / 'a.npz', allow_pickle=False) as loaded:
        assert sorted(loaded) == ['a', 'names', 'number']
        assert loaded['a'].dtype == np.float16 and loaded['number'] == 0.5
        for name, array in arrays.items():
            np.testing.assert_array_equal(loaded[name], array)
    assert os.listdir(tmp_path) == ['a.npz']
