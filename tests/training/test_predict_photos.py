"""Predictions of whole photos as files, and their way into the protocols."""

import json

import numpy as np
import pytest

import metro_tf
from metro_tf import skeleton
from tests.training.datasets import test_coco, test_mupots
from tests.training.test_labelled_photos import coco_dir, mupots_dir  # noqa: F401
from training import predict_photos, score
from training.evaluation import labelled_photos

N_FRAMES = 6


class StandIn:
    """Takes the place of an export: gives people one after the other, photo by photo.

    Args:
        convention: Its only skeleton.
        people: List by photo of lists of people: `coords3d_cam`, `coords2d`, `score`.
    """

    def __init__(self, convention, people):
        known = skeleton.CONVENTIONS[convention]
        self.per_skeleton_joint_names = {'': [], convention: np.array(known.joint_names, 'S')}
        self.per_skeleton_joint_edges = {'': [], convention: known.edges}
        self._people = list(people)
        self.calls = []

    def detect_poses(self, image, **options):
        self.calls.append((image, options))
        people = self._people[len(self.calls) - 1]
        return {
            'poses3d': np.float32([person[0] for person in people]).reshape(-1, 17, 3),
            'poses2d': np.float32([person[1] for person in people]).reshape(-1, 17, 2),
            'boxes': np.float32([[0, 0, 9, 9, person[2]] for person in people]).reshape(-1, 5)}


def run(monkeypatch, model, *arguments):
    monkeypatch.setattr(metro_tf, 'load', lambda name: model)
    return predict_photos.main([str(argument) for argument in arguments])


def mupots_people(labels_off_by=0.0):
    """Both people of each frame of both sequences, in the other order, the second one shifted."""
    def person(i_frame, i_person):
        pose = test_mupots.pose(i_frame, i_person)
        return pose + [0, 0, labels_off_by * i_person], test_mupots.project(pose), 0.9
    return [[person(i % 3, 1), person(i % 3, 0)] for i in range(N_FRAMES)]


def test_mupots_from_photos_to_scores(mupots_dir, tmp_path, monkeypatch, capsys):  # noqa: F811
    model = StandIn('mpi_inf_3dhp_17', mupots_people(labels_off_by=120))
    files = [tmp_path / 'predictions.npz', tmp_path / 'labels.npz']
    assert run(monkeypatch, model, 'mupots', '--source', mupots_dir, '--out', files[0],
               '--labels-out', files[1], '--num-aug', 2) == 0
    printed = capsys.readouterr()
    assert f'10 people in 6 photos -> {files[1]}' in printed.out
    assert f'12 people in 6 photos -> {files[0]}' in printed.out and 'TS20: missing' in printed.err
    for image, options in model.calls:
        intrinsics = options.pop('intrinsic_matrix')
        np.testing.assert_allclose(intrinsics, test_mupots.INTRINSICS, rtol=1e-4)
        assert image.shape == (480, 640, 3)
        assert options == {
            'skeleton': 'mpi_inf_3dhp_17', 'num_aug': 2, 'detector_threshold': 0.2,
            'default_fov_degrees': 55.0, 'detector_nms_iou_threshold': 0.7,
            'detector_flip_aug': True, 'antialias_factor': 2, 'suppress_implausible_poses': False}
    assert score.main([
        'mupots', '--predictions', str(files[0]), '--labels', str(files[1]),
        '--out', str(tmp_path / 'scores.json')]) == 0
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert scores['recall'] == 1 and scores['n_annotated'] == 10
    metric = scores['variants']['metric']
    # The second person is labelled in two of three frames: 4 of 10 are 120 mm too far.
    np.testing.assert_allclose(metric['absolute']['mean']['mpjpe_mm_matched'], 48, rtol=1e-4)
    np.testing.assert_allclose(
        metric['root_relative']['mean']['mpjpe_mm_matched'], 0, atol=1e-2)


def test_coco_from_photos_to_scores(coco_dir, tmp_path, monkeypatch):  # noqa: F811
    def person(x):
        return np.zeros([17, 3]), test_coco.person2d(x), 0.5
    model = StandIn('coco_17', [[person(0)], [person(150), person(0)], []])
    files = [tmp_path / 'predictions.npz', tmp_path / 'labels.npz']
    assert run(monkeypatch, model, 'coco', '--source', coco_dir, '--out', files[0],
               '--labels-out', files[1], '--threshold', 0.05, '--fov', 70) == 0
    assert 'intrinsic_matrix' not in model.calls[0][1]
    assert model.calls[0][1]['default_fov_degrees'] == 70
    assert model.calls[0][1]['detector_threshold'] == 0.05
    predicted = np.load(files[0])
    assert predicted['frame_names'].tolist() == [f'{i:012}.jpg' for i in (9, 42, 100)]
    np.testing.assert_array_equal(predicted['score'], [0.5] * 3)
    assert score.main([
        'coco', '--predictions', str(files[0]), '--labels', str(files[1]),
        '--out', str(tmp_path / 'scores.json')]) == 0
    scores = json.loads((tmp_path / 'scores.json').read_text())['scores']
    assert scores['ap'] == pytest.approx(1) and scores['ar'] == pytest.approx(1)


def test_nobody_is_found(coco_dir):  # noqa: F811
    photos = labelled_photos.coco_photos(str(coco_dir), 'val', 2017, None)
    table = predict_photos.predict(StandIn('coco_17', [[]] * 3), photos, 'coco_17', None)
    assert table['names'].shape == (0,) and len(table['frame_names']) == 3
    assert table['coords2d'].shape == (0, 17, 2) and table['coords3d_cam'].shape == (0, 17, 3)


def test_a_damaged_photo_is_left_out(mupots_dir, tmp_path, monkeypatch, capsys):  # noqa: F811
    (mupots_dir / 'TS1/img_000001.jpg').write_bytes(b'\xff\xd8 cut off')
    people = mupots_people()
    model = StandIn('mpi_inf_3dhp_17', people[:1] + people[2:])
    files = [tmp_path / 'predictions.npz', tmp_path / 'labels.npz']
    assert run(monkeypatch, model, 'mupots', '--source', mupots_dir, '--out', files[0],
               '--labels-out', files[1]) == 2
    assert 'TS1/img_000001.jpg: damaged, or no photo' in capsys.readouterr().err
    assert 'TS1/000001' not in np.load(files[0])['frame_names']
    arguments = ['mupots', '--predictions', str(files[0]), '--labels', str(files[1])]
    assert score.main(arguments) == 2
    assert "'TS1/000001' missing" in capsys.readouterr().err
    assert score.main([*arguments, '--allow-partial']) == 0


def test_wrong_arguments_are_told_at_once(mupots_dir, tmp_path, monkeypatch, capsys):  # noqa: F811
    def message(*arguments, model=StandIn('mpi_inf_3dhp_17', [])):
        assert run(monkeypatch, model, 'mupots', *arguments) == 2
        assert not model.calls
        return capsys.readouterr().err
    source = ('--source', mupots_dir)
    out = ('--out', tmp_path / 'predictions.npz')
    assert 'must end in .npz and be in an existing folder. Received: ' in message(
        *source, '--out', tmp_path / 'none/predictions.npz')
    assert 'Received: predictions.h5' in message(*source, '--out', 'predictions.h5')
    assert '`source_dir` must be the folder that holds TS1' in message(
        '--source', tmp_path / 'other', *out)
    text = message(*source, *out, model=StandIn('coco_17', []))
    assert 'must have the skeleton mpi_inf_3dhp_17. Received: one with coco_17' in text
    assert not (tmp_path / 'predictions.npz').exists()


def test_default_model(coco_dir):  # noqa: F811
    photos = labelled_photos.coco_photos(str(coco_dir), 'val', 2017, None)[:1]
    table = predict_photos.predict(
        metro_tf.load(), photos, 'coco_17', None, num_aug=1, detector_threshold=0.01,
        max_detections=2, suppress_implausible_poses=False)
    assert tuple(table['joint_names']) == skeleton.CONVENTIONS['coco_17'].joint_names
    assert len(table['names']) == 2 and np.all(np.isfinite(table['coords3d_cam']))
    assert table['coords2d'].shape == (2, 17, 2) and np.all(table['score'] >= 0.01)
