"""Predictions of records as files, and their way into the protocols."""

import dataclasses
import json

import numpy as np
import pytest

from metro_tf import models, skeleton
from tests.training.test_evaluate import CONFIG, JOINTS, bank, data_dir, make_model  # noqa: F401
from tests.training.test_train_program import make_person
from training import pipeline, predict, score
from training.datasets import records
from training.evaluation import predictors, ten_crop

NAMES = ['S9/Eating 1.54138969/000000', 'S9/Photo.55011271/000064', 'S11/Eating.54138969/000128']


@pytest.fixture(name='h36m_dir', scope='module')
def fixture_h36m_dir(tmp_path_factory):
    """Records of three people with names of Human3.6M; the last one has no pelvis."""
    folder = tmp_path_factory.mktemp('h36m')
    people = [dataclasses.replace(make_person(i), name=name) for i, name in enumerate(NAMES)]
    coords3d = people[2].coords3d_cam.copy()
    coords3d[JOINTS.index('pelv')] = np.nan
    people[2] = dataclasses.replace(people[2], coords3d_cam=coords3d)
    records.write_shard(folder / 'a.tfrecord', people)
    return folder


def views(folder, bank, n_people=-1):  # noqa: F811
    source = records.read_dataset(folder).take(n_people)
    return ten_crop.views_dataset(CONFIG, source, bank, ten_crop.ONE_VIEW)


def test_poses_lie_in_the_frame_of_the_photo(data_dir, bank):  # noqa: F811
    model = make_model(models.Metrabs)
    names, predicted, labels = predict.predict(model, views(data_dir / 'synth', bank))
    source = records.read_dataset(data_dir / 'synth')
    stored = [example['coords3d_cam'].numpy() for example in source]
    assert names == [example['name'].numpy().decode() for example in source]
    np.testing.assert_allclose(labels, stored, atol=0.1)
    # Errors do not depend on the frame; they are those in the frame of the crop.
    [(inputs, crop_labels)] = pipeline.evaluation_dataset(CONFIG, source, bank)
    in_crop = model(inputs) - crop_labels['coords3d_cam']
    np.testing.assert_allclose(
        np.linalg.norm(predicted - labels, axis=-1), np.linalg.norm(in_crop, axis=-1), rtol=1e-3)
    assert np.abs(predicted - model(inputs)).max() > 1


def test_true_depth_is_that_of_the_crop_camera(data_dir, bank):  # noqa: F811
    model = make_model(models.Pose25D)
    dataset = views(data_dir / 'synth', bank)
    _, predicted, labels = predict.predict(model, dataset, 'true_root_depth')
    [(inputs, crop_labels)] = pipeline.evaluation_dataset(
        CONFIG, records.read_dataset(data_dir / 'synth'), bank)
    way = predictors.make_predictors(model)['true_root_depth']
    in_crop = way(inputs, crop_labels)[0] - crop_labels['coords3d_cam']
    np.testing.assert_allclose(
        np.linalg.norm(predicted - labels, axis=-1), np.linalg.norm(in_crop, axis=-1), rtol=1e-3)


def test_unknown_depth_is_refused(h36m_dir, bank):  # noqa: F811
    model = make_model(models.Pose25D)
    with pytest.raises(ValueError, match='`poses_by`.*depth.*S11/Eating'):
        predict.predict(model, views(h36m_dir, bank), 'true_root_depth')


def test_unknown_way_is_refused(h36m_dir, bank):  # noqa: F811
    with pytest.raises(ValueError, match="`poses_by` must be one of.*'bones'"):
        predict.predict(make_model(models.Metrabs), views(h36m_dir, bank), 'bones')


def make_tables(names, benchmark, joint_names=JOINTS.joint_names):
    poses = np.arange(len(names) * len(joint_names) * 3.0).reshape(len(names), -1, 3)
    return poses, predict.make_tables(
        names, poses, poses + 1, joint_names, predict.BENCHMARKS[benchmark])


def test_joints_and_columns_of_a_benchmark():
    poses, (predicted, labels) = make_tables(NAMES, 'human36m')
    wanted = skeleton.CONVENTIONS['h36m_17'].joint_names
    assert tuple(predicted['joint_names']) == tuple(labels['joint_names']) == wanted
    columns = [JOINTS.index(name) for name in wanted]
    np.testing.assert_array_equal(predicted['coords3d_cam'], poses[:, columns])
    np.testing.assert_array_equal(labels['coords3d_cam'], poses[:, columns] + 1)
    assert set(predicted) == {'names', 'joint_names', 'coords3d_cam'}
    assert labels['action'].tolist() == ['Eating', 'Photo', 'Eating']
    assert labels['sequence'].tolist() == [name[:-7] for name in NAMES]
    assert labels['frame_number'].tolist() == [0, 64, 128]


@pytest.mark.parametrize('benchmark, name, columns', [
    ('mpi_inf_3dhp', 'TS1/activity 3/000017', {'sequence': 'TS1', 'activity': 3}),
    ('humaneva', 'S2/Walking_1 C1/000010', {'subject': 'S2', 'action': 'Walking'}),
    ('human36m', 'S1/WalkingDog 1.60457274/000005', {
        'sequence': 'S1/WalkingDog 1.60457274', 'action': 'WalkingDog', 'frame_number': 5}),
    ('threedpw', 'test/walk_00/00003/1', {}), ('kth', 'a/Sequence 1 camera 1/00001', {})])
def test_columns_in_names(benchmark, name, columns):
    _, (_, labels) = make_tables([name], benchmark)
    found = {key: labels[key][0] for key in set(labels) - {'names', 'joint_names', 'coords3d_cam'}}
    assert found == columns


def test_joints_have_the_names_of_the_convention():
    # Its head is the model's top of the head, its thorax the neck.
    poses, (predicted, _) = make_tables(['S2/Walking_1 C1/000010'], 'humaneva')
    names = predicted['joint_names'].tolist()
    for own, of_model in (('head', 'htop'), ('thor', 'neck')):
        np.testing.assert_array_equal(
            predicted['coords3d_cam'][:, names.index(own)], poses[:, JOINTS.index(of_model)])


@pytest.mark.parametrize('names, joint_names, message', [
    (['S9/Eating 1.54138969/000000', 'photo 7'], JOINTS.joint_names, "'photo 7' and 0 others"),
    (NAMES, ('nose', 'leye', 'reye'), 'must have joints of h36m_17')])
def test_what_does_not_fit_is_refused(names, joint_names, message):
    with pytest.raises(ValueError, match=message):
        make_tables(names, 'human36m', joint_names)


def test_program_writes_what_the_score_program_reads(data_dir, h36m_dir, tmp_path, capsys):  # noqa: F811, E501
    make_model(models.Metrabs).save(tmp_path / 'model.keras')
    files = [tmp_path / 'predictions.npz', tmp_path / 'labels.npz']
    arguments = [
        str(tmp_path / 'model.keras'), '--config', str(data_dir / 'tiny.py'),
        '--background-dir', str(data_dir / 'photos'), '--records-dir', str(h36m_dir),
        '--first', '2', '--benchmark', 'human36m', '--out', str(files[0]),
        '--labels-out', str(files[1])]
    assert predict.main(arguments) == 0
    assert '2 people, 17 joints' in capsys.readouterr().out
    assert score.main([
        'human36m', '--predictions', str(files[0]), '--labels', str(files[1]),
        '--out', str(tmp_path / 'scores.json')]) == 0
    predicted, labels = (np.load(path)['coords3d_cam'] for path in files)
    errors = np.linalg.norm((predicted - predicted[:, :1]) - (labels - labels[:, :1]), axis=-1)
    scores = json.loads((tmp_path / 'scores.json').read_text())
    np.testing.assert_allclose(scores['mpjpe_mm']['mean_of_poses'], errors.mean(), rtol=1e-4)
    assert predict.main([*arguments, '--poses-by', 'bones']) == 2
    assert 'training.predict: `poses_by`' in capsys.readouterr().err
