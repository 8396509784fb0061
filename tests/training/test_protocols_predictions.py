"""Files of predictions and labels, and what pairs them."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from tests.training import protocol_tables
from training.evaluation.protocols import predictions

NAN = float('nan')
JOINTS = ('pelv', 'neck')
COORDS = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [NAN, NAN, NAN]]])
ARRAYS = {
    'names': ['b', 'ä'], 'joint_names': JOINTS, 'coords3d_cam': COORDS, 'action': ['Eating', 'Sit'],
    'is_valid': [True, False], 'area': [2, 3.5], 'frame_names': ['f', 'g', 'h']}


def write_npz(path, arrays):
    np.savez(path, **arrays)


def write_hdf5(path, arrays):
    with h5py.File(path, 'w') as file:
        for name, values in arrays.items():
            values = np.asarray(values)
            file.create_dataset(
                name, data=values.astype(object) if values.dtype.kind == 'U' else values,
                dtype=h5py.string_dtype() if values.dtype.kind == 'U' else None)


def write_json(path, arrays):
    arrays = {name: np.asarray(values) for name, values in arrays.items()}
    document = {name: arrays.pop(name).tolist() for name in ('joint_names', 'frame_names')
                if name in arrays}
    names = arrays.pop('names')
    document['entries'] = [
        {'name': str(name), **{key: values[i].tolist() for key, values in arrays.items()}}
        for i, name in enumerate(names)]
    path.write_text(json.dumps(document).replace('NaN', 'null'), 'utf-8')


WRITERS = {'a.npz': write_npz, 'a.h5': write_hdf5, 'a.hdf5': write_hdf5, 'a.json': write_json}


def make(names, coords=0.0, path='poses.npz', **columns):
    values = np.zeros([len(names), 2, 3]) + coords
    return protocol_tables.make_table(
        JOINTS, {'coords3d_cam': values}, names=names, path=path, **columns)


@pytest.mark.parametrize('file_name', WRITERS)
def test_all_kinds_of_files_hold_the_same(tmp_path, file_name):
    WRITERS[file_name](tmp_path / file_name, ARRAYS)
    table = predictions.read(tmp_path / file_name)
    assert table.names == ('b', 'ä') and table.joint_names == JOINTS
    assert table.frame_names == ('f', 'g', 'h')
    np.testing.assert_array_equal(table.coords('coords3d_cam', JOINTS), COORDS)
    np.testing.assert_array_equal(table.texts('action'), ['Eating', 'Sit'])
    np.testing.assert_array_equal(table.is_valid, [True, False])
    np.testing.assert_array_equal(table.column('area'), [2, 3.5])


def test_joints_come_by_name():
    table = make(['a'], [[1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(
        table.coords('coords3d_cam', ['neck', 'pelv']), [[[2, 2, 2], [1, 1, 1]]])
    np.testing.assert_array_equal(table.coords('coords3d_cam', ['neck']), [[[2, 2, 2]]])
    with pytest.raises(ValueError, match='must contain neck, head, lhip. Received: joints without '
                                         'head, lhip in poses.npz'):
        table.coords('coords3d_cam', ['neck', 'head', 'lhip'])


def test_a_null_joint_is_missing(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps({'joint_names': JOINTS, 'entries': [
        {'name': 'a', 'coords2d': [None, [1, 2]]}, {'name': 'b', 'coords2d': [[3, None], None]}]}))
    np.testing.assert_array_equal(
        predictions.read(path).coords('coords2d', JOINTS),
        [[[NAN, NAN], [1, 2]], [[3, NAN], [NAN, NAN]]])


@pytest.mark.parametrize('entry, message', [
    ({'coords3d_cam': [[1, 2, 3]]}, "1 in place of 2 joints in 'x' in .*a.json"),
    ({'coords3d_cam': [[1, 2, 3], [1, 2]]}, "`coords3d_cam` .* in 'x' in .*a.json"),
    ({'coords3d_cam': [[1, 2], [1, 2]]}, "`coords3d_cam` .* in 'x' in .*a.json"),
    ({'coords3d_cam': [[1, 2, 3], 'ab']}, "`coords3d_cam` .* in 'x' in .*a.json"),
    ({'coords3d_cam': 5}, "`coords3d_cam` .* in 'x' in .*a.json"),
    ({'box': [1]}, "`box` .*another shape .* in 'x' in .*a.json"),
    ({'area': 2}, "`area` must have one form .*'area' in 'first' in .*a.json")])
def test_a_wrong_entry_is_named(tmp_path, entry, message):
    path = tmp_path / 'a.json'
    first = {'name': 'first', 'coords3d_cam': [[1, 2, 3]] * 2, 'box': [1, 2]}
    path.write_text(json.dumps({
        'joint_names': JOINTS, 'entries': [first, {**first, 'name': 'x', **entry}]}))
    with pytest.raises(ValueError, match=message):
        predictions.read(path)


@pytest.mark.parametrize('changes, message', [
    ({'coords3d_cam': COORDS[:, :1]},
     r"must be 2 joints of 3 numbers, .*Received: float64 \(1, 3\) in 'b', 'ä' in .*a.npz"),
    ({'coords3d_cam': COORDS[..., :2]}, r'Received: float64 \(2, 2\)'),
    ({'coords3d_cam': COORDS[:1]}, r'`coords3d_cam` must have one row for each of the 2 names'),
    ({'area': 3.0}, r'`area` must have one row for each of the 2 names. Received: shape=\(\) in '),
    ({'coords3d_cam': COORDS.astype(str)}, 'Received: <U'),
    ({'names': ['a', 'a']}, "`names` must be distinct. Received: 'a' more than once in .*a.npz"),
    ({'joint_names': ['neck', 'neck']}, "`joint_names` must be distinct. Received: 'neck' more"),
    ({'frame_names': ['f', 'f']}, "`frame_names` must be distinct. Received: 'f' more than once"),
    ({'names': 'a'}, '`names` must be a list of strings'),
    ({'names': np.array(['a', None])}, 'must be a readable .npz file. Received: .*a.npz')])
def test_wrong_arrays_are_named(tmp_path, changes, message):
    write_npz(tmp_path / 'a.npz', {**ARRAYS, **changes})
    with pytest.raises(ValueError, match=message):
        predictions.read(tmp_path / 'a.npz')


@pytest.mark.parametrize('file_name', WRITERS)
@pytest.mark.parametrize('content', [b'', b'{"joint_names": []', b'[]', b'{}', b'\xff\xfe'])
def test_files_must_be_readable(tmp_path, file_name, content):
    path = tmp_path / file_name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'`path` must be a readable .* file. .*{file_name}'):
        predictions.read(path)
    path.unlink()
    with pytest.raises(ValueError, match=f'`path` must be a readable .* file. .*{file_name}'):
        predictions.read(path)


def test_files_must_be_of_a_known_kind(tmp_path):
    with pytest.raises(ValueError, match='must end with .npz, .h5, .hdf5, .json. Received: a.mat'):
        predictions.read('a.mat')
    np.savez(tmp_path / 'a.npz', names=['a'])
    with pytest.raises(ValueError, match='`joint_names` must be a list of strings. .*without one'):
        predictions.read(tmp_path / 'a.npz')


def test_missing_column():
    with pytest.raises(ValueError, match='needs `action`. Received: coords3d_cam in poses.npz'):
        make(['a']).column('action')


def test_predictions_must_be_finite():
    table = make(['a', 'b', 'c'], np.array([0, NAN, np.inf])[:, np.newaxis, np.newaxis])
    with pytest.raises(ValueError, match="`coords3d_cam` must be finite. Received: others in "
                                         "'b', 'c' in poses.npz"):
        table.predicted('coords3d_cam', JOINTS)


def test_columns_of_one_value_per_row():
    table = make(['a', 'b'], score=[1, NAN], action=[['x'], ['y']], area=[1, 2])
    np.testing.assert_array_equal(table.numbers('area'), [1.0, 2.0])
    with pytest.raises(ValueError, match="`score` must be finite. Received: others in 'b' in pos"):
        table.numbers('score')
    for read in (table.texts, table.values, table.numbers):
        with pytest.raises(ValueError, match=r'`action` must be one value per row. Received: '
                                             r'shape=\(2, 1\) in poses.npz'):
            read('action')


def test_matching_follows_the_order_of_the_labels():
    predicted = make(['b', 'c', 'a'], np.arange(3)[:, np.newaxis, np.newaxis])
    labels = make(['a', 'b', 'c'], is_valid=[True, True, False])
    predicted, labels, coverage = predictions.match(predicted, labels)
    assert predicted.names == labels.names == ('a', 'b')
    np.testing.assert_array_equal(predicted.columns['coords3d_cam'][:, 0, 0], [2, 0])
    assert coverage == {'n_labelled': 2, 'n_scored': 2, 'share': 1.0, 'n_unknown': 0}


def test_invalid_labels_need_no_prediction():
    _, labels, _ = predictions.match(make(['a']), make(['a', 'b'], is_valid=[1, 0]))
    assert labels.names == ('a',)


@pytest.mark.parametrize('names, problem', [
    (['a'], "'b', 'c' missing in mine.json"),
    (['a', 'b', 'c', 'd'], "'d' unknown in mine.json"),
    (['c', 'd'], "'a', 'b' missing; 'd' unknown in mine.json"),
    ([*'abcdefghij'], r"'d', 'e', 'f', 'g', 'h' and 2 more \(7 in all\) unknown in mine.json")])
def test_other_names_are_refused_and_counted(names, problem):
    with pytest.raises(ValueError, match=rf'`names` must be those of the labels .*: {problem}'):
        predictions.match(make(names, path='mine.json'), make(['a', 'b', 'c']))


def test_partial_predictions_are_scored_on_request():
    predicted, labels, coverage = predictions.match(
        make(['c', 'x', 'y']), make(['a', 'b', 'c', 'd']), allow_partial=True)
    assert predicted.names == labels.names == ('c',)
    assert coverage == {'n_labelled': 4, 'n_scored': 1, 'share': 0.25, 'n_unknown': 2}
    with pytest.raises(ValueError, match='must have one of the labels. Received: none in poses'):
        predictions.match(make(['x']), make(['a']), allow_partial=True)


def with_frames(frames, of_people, **columns):
    return protocol_tables.make_table(
        JOINTS, {'coords3d_cam': np.zeros([len(of_people), 2, 3])}, frame_names=frames,
        frame=np.array(of_people, str), **columns)


def test_people_are_grouped_by_frame():
    predicted, labels, frames, coverage = predictions.match_frames(
        with_frames(['g', 'f', 'h'], ['h', 'f', 'h', 'f']),
        with_frames(['f', 'g', 'h'], ['g', 'f', 'g'], is_valid=[True, False, True]))
    assert frames == ['f', 'g', 'h'] and coverage['n_scored'] == 3
    rows = predictions.rows_of_frames(predicted, frames)
    assert [row.tolist() for row in rows] == [[1, 3], [], [0, 2]]
    rows = predictions.rows_of_frames(labels, frames)
    assert [row.tolist() for row in rows] == [[], [0, 1], []]


def test_frames_without_people():
    nobody = with_frames(['f', 'g'], [])
    _, _, frames, _ = predictions.match_frames(nobody, with_frames(['f', 'g'], ['f']))
    assert [row.size for row in predictions.rows_of_frames(nobody, frames)] == [0, 0]


def test_frames_must_fit():
    with pytest.raises(ValueError, match='needs `frame_names`, all frames looked at. .*none in'):
        predictions.match_frames(with_frames(None, ['f']), with_frames(['f'], ['f']))
    with pytest.raises(ValueError, match="`frame` must be among `frame_names`. Received: 'g' in"):
        predictions.match_frames(with_frames(['f'], ['g']), with_frames(['f'], ['f']))
    with pytest.raises(ValueError, match="`frame_names` must be those of .*: 'g' missing in"):
        predictions.match_frames(with_frames(['f'], ['f']), with_frames(['f', 'g'], ['f']))
    predicted, _, _, coverage = predictions.match_frames(
        with_frames(['f', 'x'], ['f', 'x']), with_frames(['f', 'g'], ['f']), allow_partial=True)
    assert predicted.names == ('0',) and coverage['share'] == 0.5


def test_another_version_of_the_labels():
    labels = make(['a', 'b'], action=['x', 'y'])
    version = make(['b', 'a'], np.array([1, 2])[:, np.newaxis, np.newaxis], path='old.npz')
    changed = predictions.with_labels(labels, version, 'coords3d_cam')
    np.testing.assert_array_equal(changed.column('coords3d_cam')[:, 0, 0], [2, 1])
    assert changed.texts('action').tolist() == ['x', 'y'] and changed.names == ('a', 'b')
    with pytest.raises(ValueError, match="'b' missing in old.npz"):
        predictions.with_labels(labels, make(['a'], path='old.npz'), 'coords3d_cam')


def test_scoring_needs_no_tensorflow():
    code = 'import sys, training.score; assert not {"tensorflow", "keras"} & {*sys.modules}'
    subprocess.run([sys.executable, '-c', code], check=True)
