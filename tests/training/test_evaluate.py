"""Scores of all kinds of crop models, whole and cut off, against values worked out by hand."""

import dataclasses
import json

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import metrics, models, skeleton
from metro_tf.backbones import hourglass
from metro_tf.config import HeatmapConfig
from metro_tf.geometry import camera
from tests.helpers import run_in_graph
from tests.models import common
from tests.training.test_train_program import make_person
from training import evaluate, pipeline
from training.augment import background
from training.config import ModelConfig, TrainConfig
from training.datasets import records
from training.evaluation import predictors, report, truncation

JOINTS = skeleton.METRO_24
CONFIG = TrainConfig(
    name='tiny', model=ModelConfig(heatmap=HeatmapConfig(common.SIDE, common.STRIDE)))
CONFIG_FILE = """
from metro_tf.config import HeatmapConfig
from metro_tf.geometry import camera
from training.config import ModelConfig, TrainConfig


def config():
    return TrainConfig(name='tiny', model=ModelConfig(heatmap=HeatmapConfig(64, 16)))
"""


def make_model(model_cls, **kwargs):
    """A random model with the joints of the records, on 64 px."""
    if model_cls is models.Pose25D:
        kwargs.setdefault('bone_lengths_mm', [300.0] * len(JOINTS.edges))
    return model_cls(
        common.make_backbone(), JOINTS.joint_names, JOINTS.edges, common.SIDE, common.STRIDE,
        **kwargs)


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
    """Folder with records of five people and photos."""
    root = tmp_path_factory.mktemp('data')
    for name in ('synth', 'photos'):
        (root / name).mkdir()
    photo = np.float32([-100, -100, 300, 300])  # of which a part is stored
    records.write_shard(root / 'synth/a.tfrecord', [
        dataclasses.replace(make_person(i), frame=photo) for i in range(5)])
    rng = np.random.default_rng(0)
    for i in range(3):
        photo = rng.integers(0, 255, [70, 72, 3]).astype(np.uint8)
        cv2.imwrite(str(root / f'photos/{i}.jpg'), photo)
    (root / 'tiny.py').write_text(CONFIG_FILE)
    return root


@pytest.fixture(scope='module')
def bank(data_dir):
    return background.load_bank([data_dir / 'photos'])


@pytest.fixture(scope='module')
def batches(data_dir, bank):
    """The people in batches of three and two."""
    source = records.read_dataset(data_dir / 'synth')
    return pipeline.evaluation_dataset(CONFIG, source, bank, batch_size=3)


def without_joint(batches, i_joint):
    """The batches, the first person of each without a joint's label."""
    def drop(inputs, labels):
        mask = labels['joint_validity_mask_3d'].numpy()
        mask[0, i_joint] = False
        return inputs, {**labels, 'joint_validity_mask_3d': tf.constant(mask)}
    return [drop(*batch) for batch in batches]


def test_metrabs_gets_all_scores(batches):
    model = make_model(models.Metrabs)
    scores = evaluate.evaluate(model, batches)
    assert set(scores) == {
        'n_examples_2d', 'torso_pck_0.2', 'n_examples_3d', 'mpjpe_mm', 'pa_mpjpe_mm', 'pck_150',
        'auc_150', 'ncps_150', 'absolute_mpjpe_mm', 'mean_position_mm', 'distance_error'}
    assert scores['n_examples_2d'] == scores['n_examples_3d'] == 5
    errors = [
        np.linalg.norm(model(inputs).numpy() - labels['coords3d_cam'].numpy(), axis=-1)
        for inputs, labels in batches]
    np.testing.assert_allclose(
        scores['absolute_mpjpe_mm'], np.concatenate(errors).mean(), rtol=1e-4)


def test_a_model_without_torso_gets_the_other_scores(data_dir, bank):
    joints = skeleton.from_paths('rhan lhan nose', 'nose-lhan nose-rhan')
    config = dataclasses.replace(
        CONFIG, model=dataclasses.replace(CONFIG.model, skeleton=joints))
    source = records.read_dataset(data_dir / 'synth', joints.joint_names)
    [(inputs, labels)] = batches = list(pipeline.evaluation_dataset(config, source, bank))
    np.testing.assert_array_equal(labels['joint_validity_mask_3d'], [[False, False, True]] * 5)
    model = models.Metrabs(
        common.make_backbone(), joints.joint_names, joints.edges, common.SIDE, common.STRIDE)
    scores = evaluate.evaluate(model, batches)
    assert scores['n_examples_3d'] == 5 and not {'n_examples_2d', 'torso_pck_0.2'} & set(scores)
    error = np.linalg.norm((model(inputs) - labels['coords3d_cam'])[:, 2], axis=-1).mean()
    np.testing.assert_allclose(scores['absolute_mpjpe_mm'], error, rtol=1e-4)
    row, = truncation.evaluate(model, source, bank, 1, shares=(0.0,))['absolute']
    assert row['n_people'] == row['n_joints_inside'] == 5


def test_metro_is_scored_up_to_a_translation_only(batches):
    model = make_model(models.Metro)
    scores = evaluate.evaluate(model, batches)
    assert set(scores) == {
        'n_examples_3d', 'mpjpe_mm', 'pa_mpjpe_mm', 'pck_150', 'auc_150', 'ncps_150'}
    errors = []
    for inputs, labels in batches:
        relative = [
            x.numpy() - x.numpy().mean(axis=1, keepdims=True)
            for x in (model(inputs), labels['coords3d_cam'])]
        errors.append(np.linalg.norm(relative[0] - relative[1], axis=-1))
    np.testing.assert_allclose(scores['mpjpe_mm'], np.concatenate(errors).mean(), rtol=1e-4)


def test_pose25d_is_scored_with_both_root_depths(batches):
    model = make_model(models.Pose25D)
    scores = evaluate.evaluate(model, batches)
    true_depth = scores.pop('true_root_depth')
    assert set(scores) - set(true_depth) == {'n_examples_2d', 'torso_pck_0.2'}
    assert true_depth['n_examples_3d'] == 5
    way = predictors.make_predictors(model)['true_root_depth']
    for inputs, labels in batches:
        poses, _ = way(inputs, labels)
        np.testing.assert_allclose(
            tf.reduce_mean(poses[..., 2], axis=1),
            tf.reduce_mean(labels['coords3d_cam'][..., 2], axis=1), rtol=1e-5)
    assert abs(scores['absolute_mpjpe_mm'] - true_depth['absolute_mpjpe_mm']) > 1.0


def test_margipose_is_scored_at_its_scale_and_with_the_true_depth(batches):
    model = make_model(models.MargiPose, n_stages=1, n_inner_channels=4)
    i_pelvis = JOINTS.index('pelv')
    scores = evaluate.evaluate(model, without_joint(batches, i_pelvis))
    true_depth = scores.pop('true_root_depth')
    assert scores['n_examples_3d'] == 5 and true_depth['n_examples_3d'] == 3
    assert set(scores) - set(true_depth) == {'n_examples_2d', 'torso_pck_0.2'}
    ways = predictors.make_predictors(model)
    assert list(ways) == ['universal_scale', 'true_root_depth']
    for inputs, labels in batches:
        own, given = (way(inputs, labels)[0].numpy() for way in ways.values())
        np.testing.assert_array_equal(own, model(inputs))
        root_depth = labels['coords3d_cam'][:, i_pelvis, 2]
        np.testing.assert_allclose(
            given, model({**inputs, 'root_depth_mm': root_depth}), rtol=1e-5)
        ratio = given[..., 2:] / own[..., 2:]  # poses are proportional to the root's depth
        np.testing.assert_allclose(given, ratio[:, :1] * own, rtol=1e-4)


def test_absolute_margipose_needs_no_depth(batches):
    model = make_model(models.AbsoluteMargiPose, n_stages=1, n_inner_channels=4)
    scores = evaluate.evaluate(model, batches)
    assert list(predictors.make_predictors(model)) == ['absolute']
    assert scores['n_examples_2d'] == scores['n_examples_3d'] == 5
    assert 'absolute_mpjpe_mm' in scores and 'true_root_depth' not in scores


def make_volume_model(depths):
    lengths = [300.0] * len(JOINTS.edges) if depths[-1] > 1 else None
    backbone = hourglass.build_stacked_hourglass(
        JOINTS.n_joints, depths, common.SIDE, n_channels=8, n_levels=1)
    return models.CoarseToFine(
        backbone, JOINTS.joint_names, JOINTS.edges, common.SIDE, depths=depths,
        bone_lengths_mm=lengths)


def make_decoupled():
    volume_network = hourglass.build_volume_network(
        JOINTS.n_joints, (8,), common.SIDE // 4, n_channels=8, n_levels=1)
    return models.Decoupled(
        make_volume_model((1,)).backbone, volume_network, JOINTS.joint_names, JOINTS.edges,
        common.SIDE, depths=(8,), bone_lengths_mm=[300.0] * len(JOINTS.edges))


@pytest.mark.parametrize('make', [lambda: make_volume_model((1, 8)), make_decoupled])
def test_volumes_are_scored_by_bones_and_with_the_true_depth(batches, make):
    model, i_pelvis = make(), JOINTS.index('pelv')
    ways = predictors.make_predictors(model)
    assert list(ways) == ['bone_lengths', 'true_root_depth']
    scores = evaluate.evaluate(model, without_joint(batches, i_pelvis))
    true_depth = scores.pop('true_root_depth')
    assert scores['n_examples_3d'] == 5 and true_depth['n_examples_3d'] == 3
    assert set(scores) - set(true_depth) == {'n_examples_2d', 'torso_pck_0.2'}
    for inputs, labels in batches:
        own, given = (way(inputs, labels)[0].numpy() for way in ways.values())
        np.testing.assert_array_equal(own, model(inputs))
        root_depth = labels['coords3d_cam'][:, i_pelvis, 2]
        np.testing.assert_allclose(
            given, model({**inputs, 'root_depth_mm': root_depth}), rtol=1e-5)
        # By the same for all joints of a person, poses move along their rays.
        moved = given[..., 2] - own[..., 2]
        np.testing.assert_allclose(moved, moved[:, :1] + 0 * moved, atol=1.0)
        assert np.abs(moved).min() > 10


def test_regressed_coordinates_are_scored_up_to_a_translation(batches):
    model = models.CoordinateRegression(
        hourglass.build_encoder(common.SIDE, n_channels=8, n_levels=1), JOINTS.joint_names,
        JOINTS.edges, common.SIDE, 8, n_hidden=8)
    assert list(predictors.make_predictors(model)) == ['relative']
    assert 'absolute_mpjpe_mm' not in evaluate.evaluate(model, batches)


def test_2d_heatmaps_have_no_poses_to_score(batches):
    with pytest.raises(ValueError, match=r'`crop_model` must predict poses.*depths=\(1, 1\)'):
        evaluate.evaluate(make_volume_model((1, 1)), batches)


def test_the_root_is_the_pelvis_or_what_pose25d_says():
    assert predictors.root_index(make_model(models.Pose25D)) is None
    assert predictors.root_index(make_model(models.Pose25D, i_root_joint=3)) == 3
    joints = skeleton.from_paths('lkne rkne lank rank', 'lkne-lank rank-rkne')
    model = models.MargiPose(
        common.make_backbone(), joints.joint_names, joints.edges, common.SIDE, common.STRIDE,
        n_stages=1, n_inner_channels=4, height_edges=[[0, 2]])
    with pytest.raises(ValueError, match='`crop_model` must predict the joint `pelv`'):
        predictors.root_index(model)


@pytest.mark.parametrize('i_root_joint, n_known', [(None, 3), (0, 5), (2, 3)])
def test_people_of_unknown_root_depth_do_not_count(batches, i_root_joint, n_known):
    model = make_model(models.Pose25D, i_root_joint=i_root_joint)
    scores = evaluate.evaluate(model, without_joint(batches, 2))
    assert scores['n_examples_3d'] == 5
    assert scores['true_root_depth']['n_examples_3d'] == n_known


def test_true_root_depth_by_hand():
    labels = {
        'coords3d_cam': tf.constant([[[0., 0, 1000], [0, 0, 2000]], [[0, 0, 500], [0, 0, 0]]]),
        'joint_validity_mask_3d': tf.constant([[True, True], [True, False]])}
    depth, is_known = predictors.true_root_depth(labels)
    np.testing.assert_array_equal(depth, [1500, 0])
    np.testing.assert_array_equal(is_known, [True, False])
    depth, is_known = predictors.true_root_depth(labels, 0)
    np.testing.assert_array_equal(depth, [1000, 500])
    np.testing.assert_array_equal(is_known, [True, True])


@pytest.mark.parametrize('model_cls', [models.Metro, models.Metrabs, models.Pose25D])
def test_flip_testing_averages_with_the_mirror_image(batches, model_cls):
    model = make_model(model_cls)
    [(inputs, labels), _] = batches
    intrinsics = inputs['intrinsics'].numpy()
    intrinsics[:, 0, 2] = 63 - intrinsics[:, 0, 2]
    mirrored = {'image': inputs['image'][:, :, ::-1], 'intrinsics': intrinsics}
    for name, way in predictors.make_predictors(model).items():
        flipped = predictors.make_predictors(model, flip_testing=True)[name]
        mirror_mapping = list(JOINTS.mirror_mapping)
        back = way(mirrored, labels)[0].numpy()[:, mirror_mapping] * [-1, 1, 1]
        expected = (way(inputs, labels)[0].numpy() + back) / 2
        np.testing.assert_allclose(flipped(inputs, labels)[0], expected, rtol=1e-4, atol=0.1)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match='`crop_model` must be one of .*Metro.*Sequential'):
        predictors.make_predictors(keras.Sequential())


# A crop of 100 px with offsets of 10, 20, 30 and 40 px from the centre at (50, 50).
CROSS = np.float32([[60, 50], [50, 70], [20, 50], [50, 10]])


@pytest.mark.parametrize('share, expected', [
    (0.0, 1.0),  # all are inside at zoom 1, where the box fills the crop
    (0.25, np.sqrt(50.5 / 40 * 50.5 / 30)),  # between the zooms at which -40 and -30 leave
    (0.5, np.sqrt(50.5 / 30 * 49.5 / 20)),  # the crop ends half a pixel earlier on the far side
    (0.6, np.sqrt(50.5 / 30 * 49.5 / 20)),  # 2.4 joints are 2
    (0.75, np.sqrt(49.5 / 20 * 49.5 / 10)),
    (0.99, np.sqrt(49.5 / 20 * 49.5 / 10))])  # one stays
def test_zoom_cuts_the_share_by_hand(share, expected):
    mask = np.ones(4, bool)
    zoom = truncation.zoom_that_cuts(CROSS, mask, 100, share)
    np.testing.assert_allclose(zoom, expected, rtol=1e-6)
    in_graph = run_in_graph(
        lambda coords, mask: truncation.zoom_that_cuts(coords, mask, 100, share), CROSS, mask)
    np.testing.assert_allclose(in_graph, expected, rtol=1e-6)
    inside = camera.is_within_image(50 + zoom * (CROSS - 50), 100).numpy()
    assert (~inside).sum() == min(round(share * 4), 3)


def test_zoom_leaves_out_invalid_joints_and_widens_where_nothing_shall_be_cut():
    mask = np.array([True, True, True, False])
    zoom = truncation.zoom_that_cuts(CROSS, mask, 100, 0.34)  # one of three
    np.testing.assert_allclose(zoom, np.sqrt(50.5 / 30 * 49.5 / 20), rtol=1e-6)
    wide = 50 + 2 * (CROSS - 50)
    np.testing.assert_allclose(
        truncation.zoom_that_cuts(wide, np.ones(4, bool), 100, 0.0), 0.999 * 50.5 / 80, rtol=1e-6)
    for share in (0.0, 0.5):
        assert truncation.zoom_that_cuts(CROSS, np.zeros(4, bool), 100, share) == 1.0
    centre = np.float32([[50, 50]])
    assert truncation.zoom_that_cuts(centre, [True], 100, 0.9) == 1.0


def test_crop_reaches_half_a_pixel_beyond_the_outer_pixel_centres():
    points = np.float32([[-0.4, 0], [-0.6, 0], [99.4, 99.4], [0, 99.6], [50, 50]])
    np.testing.assert_array_equal(
        camera.is_within_image(points, 100), [True, False, True, False, True])


@pytest.mark.parametrize('share', [0.0, 0.3, 0.6])
def test_views_cut_off_the_asked_share_of_every_person(data_dir, bank, share):
    source = records.read_dataset(data_dir / 'synth')
    n_outside = []
    for _, labels in truncation.truncated_dataset(source, bank, 64, share, seed=3):
        inside = camera.is_within_image(labels['coords2d'], 64).numpy()
        n_outside += list((~inside).sum(axis=1))
    assert n_outside == [round(share * 24)] * 5


def test_views_do_not_depend_on_the_size_of_the_crop_and_repeat(data_dir, bank):
    source = records.read_dataset(data_dir / 'synth')
    [(inputs, labels)], [(large_inputs, large_labels)], [(again, _)] = [
        list(truncation.truncated_dataset(source, bank, side, 0.4, seed=3))
        for side in (64, 128, 64)]
    assert large_inputs['image'].shape[1] == 128
    np.testing.assert_allclose(
        labels['coords3d_cam'], large_labels['coords3d_cam'], rtol=1e-3, atol=1.0)
    focal, large_focal = [x['intrinsics'][:, 0, 0] for x in (inputs, large_inputs)]
    np.testing.assert_allclose(2 * focal, large_focal, rtol=0.05)
    np.testing.assert_array_equal(inputs['image'], again['image'])


def test_without_a_cut_the_crop_is_that_of_the_evaluation(data_dir, bank):
    def with_wide_box(example):
        box = example['box']
        return {**example, 'box': tf.concat([box[:2] - 0.1 * box[2:], 1.2 * box[2:]], axis=0)}

    source = records.read_dataset(data_dir / 'synth').map(with_wide_box)
    [(inputs, _)] = truncation.truncated_dataset(source, bank, 64, 0.0, CONFIG.seed)
    [(whole, labels)] = pipeline.evaluation_dataset(CONFIG, source, bank)
    assert camera.is_within_image(labels['coords2d'], 64).numpy().all()
    np.testing.assert_allclose(inputs['image'], whole['image'], atol=1e-5)


@pytest.mark.parametrize('pixel, depth, is_valid, expected', [
    ([10, 20], 1000, True, True), ([9.4, 20], 1000, True, False),
    ([9.6, 19.6], 1000, True, True), ([39.4, 59.4], 1000, True, True),
    ([39.6, 30], 1000, True, False), ([20, 59.6], 1000, True, False),
    ([20, 30], -1000, True, False),  # behind the camera
    ([0, 0], 1000, False, True)])  # the other joint is in the photo
def test_whole_people_have_all_joints_in_the_photo(pixel, depth, is_valid, expected):
    """The photo begins at (10, 20) of the stored image and measures 30 x 40 px; f = 100."""
    pixels = np.float32([[25, 40], pixel])
    depths = np.float32([[1000], [depth]])
    example = {
        'coords3d_cam': np.concatenate([pixels * depths / 100, depths], axis=1),
        'joint_validity_mask_3d': np.array([True, is_valid]),
        'intrinsics': np.diag(np.float32([100, 100, 1])), 'frame': np.float32([10, 20, 30, 40])}
    example = {name: tf.constant(value) for name, value in example.items()}
    assert bool(truncation.is_whole(example)) == expected
    unlabelled = {**example, 'joint_validity_mask_3d': tf.constant([False, False])}
    assert not truncation.is_whole(unlabelled)


@pytest.mark.parametrize('share', [-0.1, 1.0])
def test_a_share_must_leave_something(share):
    with pytest.raises(ValueError, match='`share` must be at least 0 and below 1. Received'):
        truncation.TruncatedCropView(64, share)


def test_summary_by_hand():
    """Two people of three joints: errors along x, whose mean over the valid joints counts."""
    true = np.zeros([2, 3, 3], np.float32)
    true[..., 2] = 3000
    pred = true.copy()
    pred[0, :, 0] = [10, 20, 60]  # mean 30: relative errors 20, 10, 30
    pred[1, :, 0] = [5, 15, 1000]  # the last joint is not labelled; mean 10: relative 5, 5
    mask = np.array([[True, True, True], [True, True, False]])
    inside = np.array([[True, True, False], [False, True, False]])
    summary = truncation.summarize(true, pred, mask, inside, is_absolute=True)
    assert summary == {
        'n_people': 2, 'n_joints_inside': 3, 'n_joints_outside': 2,
        'mpjpe_mm_inside': pytest.approx((20 + 10 + 5) / 3),
        'mpjpe_mm_outside': pytest.approx((30 + 5) / 2), 'mpjpe_mm': pytest.approx(70 / 5),
        'absolute_mpjpe_mm_inside': pytest.approx((10 + 20 + 15) / 3),
        'absolute_mpjpe_mm_outside': pytest.approx((60 + 5) / 2),
        'absolute_mpjpe_mm': pytest.approx(110 / 5)}
    everything = np.ones_like(inside)
    relative = truncation.summarize(true, pred, mask, everything, is_absolute=False)
    assert relative == {
        'n_people': 2, 'n_joints_inside': 5, 'n_joints_outside': 0,
        'mpjpe_mm_inside': pytest.approx(70 / 5), 'mpjpe_mm_outside': None,
        'mpjpe_mm': pytest.approx(70 / 5)}


def test_curves_begin_with_the_ordinary_error(data_dir, bank, batches):
    source = records.read_dataset(data_dir / 'synth')
    model = make_model(models.Metro)
    rows = truncation.evaluate(model, source, bank, CONFIG.seed, shares=(0.0, 0.5))['relative']
    assert [row['share'] for row in rows] == [0.0, 0.5]
    assert [row['n_joints_outside'] for row in rows] == [0, 5 * 12]
    errors = []
    for inputs, labels in truncation.truncated_dataset(source, bank, 64, 0.5, CONFIG.seed):
        errors.append(metrics.joint_errors(
            labels['coords3d_cam'], model(inputs), labels['joint_validity_mask_3d']).numpy())
    np.testing.assert_allclose(rows[1]['mpjpe_mm'], np.concatenate(errors).mean(), rtol=1e-4)


def test_truncation_needs_3d_labels(data_dir, bank):
    source = records.read_dataset(data_dir / 'synth').map(lambda example: {
        **example, 'joint_validity_mask_3d': tf.zeros([24], tf.bool)})
    with pytest.raises(ValueError, match='`source` must have people with 3D labels who are'):
        truncation.evaluate(make_model(models.Metro), source, bank, 1, shares=(0.5,))


def run_program(monkeypatch, data_dir, *arguments):
    monkeypatch.setattr('sys.argv', [
        'evaluate', *map(str, arguments), '--config', str(data_dir / 'tiny.py'),
        '--background-dir', str(data_dir / 'photos'), '--synth-dir', str(data_dir / 'synth')])
    evaluate.main()


def test_program_compares_models_on_people_who_are_cut_off(
        data_dir, tmp_path, monkeypatch, capsys):
    paths = [str(tmp_path / f'{name}.keras') for name in ('metro', 'pose25d')]
    for path, model_cls in zip(paths, (models.Metro, models.Pose25D)):
        make_model(model_cls).save(path)
    run_program(
        monkeypatch, data_dir, *paths, '--truncation', '--first', 2, '--out',
        tmp_path / 'curves.json', '--plot', tmp_path / 'curves.png')
    curves = json.loads((tmp_path / 'curves.json').read_text())
    assert list(curves) == [*paths, f'{paths[1]} (true root depth)']
    for rows in curves.values():
        assert [row['share'] for row in rows] == list(truncation.SHARES)
        assert [row['n_joints_outside'] for row in rows] == [0, 4, 10, 14, 20, 24, 28]
    assert 'absolute_mpjpe_mm' not in curves[paths[0]][0]
    bones, depth = curves[paths[1]], curves[f'{paths[1]} (true root depth)']
    assert bones[3]['absolute_mpjpe_mm_outside'] != depth[3]['absolute_mpjpe_mm_outside']
    picture = cv2.imread(str(tmp_path / 'curves.png'))
    assert picture is not None and picture.std() > 1
    assert len(capsys.readouterr().out.splitlines()) == 2 + 3 * len(truncation.SHARES)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'curves.json', 'curves.png', 'metro.keras', 'pose25d.keras']


def test_program_scores_one_model(data_dir, tmp_path, monkeypatch, capsys):
    path = tmp_path / 'metro.keras'
    make_model(models.Metro).save(str(path))
    run_program(monkeypatch, data_dir, path, '--first', 2, '--flip', '--out', tmp_path / 's.json')
    scores = json.loads((tmp_path / 's.json').read_text())
    assert scores == json.loads(capsys.readouterr().out)
    assert scores['synthetic_holdout']['n_examples_3d'] == 2


def test_program_needs_models_of_the_joints_of_the_config(data_dir, tmp_path, monkeypatch):
    path = tmp_path / 'hands.keras'
    models.Metro(
        common.make_backbone(), ('lhan', 'rhan'), (), common.SIDE, common.STRIDE).save(str(path))
    with pytest.raises(ValueError, match="`crop_model` must have the joints that the config .*"
                                         "Received: .*hands.keras with .'lhan', 'rhan'"):
        run_program(monkeypatch, data_dir, path)


@pytest.mark.parametrize('arguments, message', [
    (['a.keras', 'b.keras'], 'several models and --plot need --truncation'),
    (['a.keras', '--plot', 'p.png'], 'several models and --plot need --truncation'),
    (['a.keras', '--truncation', '--flip'], '--truncation takes --synth-dir, and no other data'),
    (['a.keras', '--truncation', '--lspet-dir', 'x'], '--truncation takes --synth-dir')])
def test_program_refuses_options_that_nobody_reads(
        data_dir, monkeypatch, capsys, arguments, message):
    with pytest.raises(SystemExit):
        run_program(monkeypatch, data_dir, *arguments)
    assert message in capsys.readouterr().err


def test_missing_matplotlib_is_told_before_any_work(data_dir, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'matplotlib', None)
    with pytest.raises(ValueError, match='Curves need Matplotlib'):
        run_program(
            monkeypatch, data_dir, 'nowhere.keras', '--truncation', '--plot', 'curves.png')


def test_table():
    assert report.markdown_table(['model', 'mm'], [['a', 12.34], ['long name', None]]) == (
        '| model     | mm   |\n'
        '|-----------|------|\n'
        '| a         | 12.3 |\n'
        '| long name | -    |')
