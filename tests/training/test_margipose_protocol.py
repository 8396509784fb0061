"""MargiPose's scores: by hand, by a slow second implementation, and of models from files."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf import losses, models, skeleton
from metro_tf.geometry import cuboid
from tests.helpers import run_in_graph
from tests.models import common
from tests.training.test_evaluate import CONFIG, bank, data_dir, make_model  # noqa: F401
from tests.training.test_ten_crop import IS_MIRRORED, OFFSETS, true_view_poses
from training import evaluate
from training.datasets import example as example_lib
from training.datasets import records
from training.evaluation import label_versions, margipose_protocol, ten_crop

JOINTS = skeleton.CONVENTIONS['mpi_inf_3dhp_17']
PELVIS, SPINE, HEAD = 14, 15, 16
NAN = float('nan')
NAMES = ('mpjpe_mm', 'pck_150', 'auc_150')
SINGLE = {'offsets_px': OFFSETS[:1], 'is_mirrored': IS_MIRRORED[:1]}


def poses_at_distances(distances):
    """True and predicted poses `[1, 17, 3]` with these distances after the pelvis is aligned."""
    true = np.random.default_rng(0).normal(size=[1, 17, 3]).astype(np.float32) * 300
    pred = true + np.float32([5, 6, 7000])
    pred[0, range(17), np.arange(17) % 3] += distances
    return true, pred, np.ones([1, 17], bool)


def score(batch, joints='common_14'):
    scores, is_counted = margipose_protocol.FrameScores(joints)(*batch)
    return {name: values.numpy() for name, values in scores.items()}, is_counted.numpy()


def test_joints_are_the_published_ones():
    assert margipose_protocol.JOINT_SETS == {
        'common_14': ('htop', 'neck', 'rsho', 'relb', 'rwri', 'lsho', 'lelb', 'lwri', 'rhip',
                      'rkne', 'rank', 'lhip', 'lkne', 'lank'),
        'all': ('htop', 'neck', 'rsho', 'relb', 'rwri', 'lsho', 'lelb', 'lwri', 'rhip', 'rkne',
                'rank', 'lhip', 'lkne', 'lank', 'pelv', 'spin', 'head')}


def test_scores_by_hand():
    distances = np.zeros(17)
    distances[[0, 3, 7, HEAD]] = [77, 160, 149, 40]
    scores, is_counted = score(poses_at_distances(distances))
    assert is_counted.tolist() == [True]
    assert scores['mpjpe_mm'] == pytest.approx(386 / 14, abs=1e-3)
    assert scores['pck_150'] == pytest.approx(13 / 14)
    # Above 77 there are the 15 thresholds 80, ..., 150; above 149 there is one.
    assert scores['auc_150'] == pytest.approx((11 * 30 + 15 + 1) / 31 / 14, abs=1e-4)
    scores, _ = score(poses_at_distances(distances), 'all')
    assert scores['mpjpe_mm'] == pytest.approx(426 / 17, abs=1e-3)
    assert scores['pck_150'] == pytest.approx(16 / 17)
    # The head beats the 22 thresholds 45, ..., 150; the pelvis does not beat 0.
    assert scores['auc_150'] == pytest.approx((13 * 30 + 15 + 1 + 22) / 31 / 17, abs=1e-4)


@pytest.mark.parametrize('joints', ['common_14', 'all'])
def test_perfect_poses_do_not_beat_the_threshold_of_0(joints):
    true, _, mask = poses_at_distances(np.zeros(17))
    scores, _ = score((true, true, mask), joints)
    assert scores['auc_150'] == pytest.approx(30 / 31)
    assert scores['mpjpe_mm'] == 0 and scores['pck_150'] == scores['pa_pck_150'] == 1
    assert scores['pa_mpjpe_mm'] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize('distance, pck, n_thresholds', [
    (150, 0, 0), (149, 1, 1), (145, 1, 1), (144, 1, 2), (5, 1, 29), (4.5, 1, 30), (1e4, 0, 0)])
def test_thresholds_are_strict(distance, pck, n_thresholds):
    true = np.zeros([1, 17, 3], np.float32)
    pred = true.copy()
    pred[0, :PELVIS, 0] = distance
    scores, _ = score((true, pred, np.ones([1, 17], bool)))
    assert scores['pck_150'] == pck
    assert scores['auc_150'] == pytest.approx(n_thresholds / 31, abs=1e-6)


def test_joints_without_label_have_no_effect():
    distances = np.zeros(17)
    distances[[0, 3, 5]] = [60, 160, 9999]
    true, pred, mask = poses_at_distances(distances)
    mask[0, [5, SPINE]] = False
    true[~mask] = NAN
    scores, is_counted = score((true, pred, mask))
    assert is_counted.tolist() == [True]
    assert scores['mpjpe_mm'] == pytest.approx(220 / 13, abs=1e-3)
    assert scores['pck_150'] == pytest.approx(12 / 13)
    expected = slow_procrustes_errors(true[0][mask[0]], pred[0][mask[0]])[:13]
    assert scores['pa_mpjpe_mm'] == pytest.approx(expected.mean(), abs=0.01)


def test_frames_need_the_pelvis_and_a_scored_joint():
    mask = np.ones([4, 17], bool)
    mask[1, PELVIS] = False
    mask[2, :PELVIS] = False
    mask[3] = False
    true, pred, _ = [np.tile(array, [4, 1, 1]) for array in poses_at_distances(np.full(17, 30.0))]
    true[~mask] = NAN
    scores, is_counted = score((true, pred, mask))
    assert is_counted.tolist() == [True, False, False, False]
    assert all(np.isfinite(values).all() for values in scores.values())
    assert score((true, pred, mask), 'all')[1].tolist() == [True, False, True, False]


def slow_procrustes_errors(true, pred):
    """Distances after the best similarity, reflections allowed, as scipy's procrustes finds it."""
    true_mean, pred_mean = true.mean(axis=0), pred.mean(axis=0)
    true_size, pred_size = np.linalg.norm(true - true_mean), np.linalg.norm(pred - pred_mean)
    a, b = (true - true_mean) / true_size, (pred - pred_mean) / pred_size
    u, singular_values, v = np.linalg.svd(b.T @ a)
    aligned = singular_values.sum() * true_size * (b @ u @ v) + true_mean
    return np.linalg.norm(aligned - true, axis=-1)


@pytest.mark.parametrize('in_graph', [False, True])
@pytest.mark.parametrize('joints, n_scored', [('common_14', 14), ('all', 17)])
def test_procrustes_by_a_slow_implementation(joints, n_scored, in_graph):
    rng = np.random.default_rng(1)
    true = rng.normal(size=[6, 17, 3]) * 250
    pred = 0.6 * true @ np.diag([1, 1, -1]) + rng.normal(size=true.shape) * 120 + 3000
    arrays = true.astype(np.float32), pred.astype(np.float32), np.ones([6, 17], bool)
    frame_scores = margipose_protocol.FrameScores(joints)
    scores, _ = run_in_graph(frame_scores, *arrays) if in_graph else frame_scores(*arrays)
    scores = {name: values.numpy() for name, values in scores.items()}
    for i in range(6):
        errors = slow_procrustes_errors(true[i], pred[i])[:n_scored]
        is_below = [[error < 5 * n for n in range(31)] for error in errors]
        assert scores['pa_mpjpe_mm'][i] == pytest.approx(errors.mean(), abs=0.02)
        assert scores['pa_pck_150'][i] == pytest.approx(np.mean(errors < 150))
        assert scores['pa_auc_150'][i] == pytest.approx(np.mean(is_below), abs=1e-5)


def test_procrustes_takes_unscored_joints_into_account():
    true, pred, mask = poses_at_distances(np.zeros(17))
    pred[0, HEAD] += 500
    assert score((true, pred, mask))[0]['mpjpe_mm'] == pytest.approx(0, abs=0.01)
    assert score((true, pred, mask))[0]['pa_mpjpe_mm'] > 5


def test_mirrored_and_scaled_skeletons_have_no_error_after_procrustes():
    true, _, mask = poses_at_distances(np.zeros(17))
    scores, _ = score((true, 3 * true * np.float32([-1, 1, 1]), mask))
    assert scores['pa_mpjpe_mm'] == pytest.approx(0, abs=0.02)
    assert scores['mpjpe_mm'] > 100


def test_procrustes_keeps_the_size_of_the_truth():
    true, _, mask = poses_at_distances(np.zeros(17))
    pred = true + np.random.default_rng(2).normal(size=true.shape).astype(np.float32) * 60
    errors = [score(batch)[0]['pa_mpjpe_mm'][0] for batch in (
        (true, pred, mask), (true, 5 * pred, mask), (2 * true, pred, mask))]
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)
    assert errors[2] == pytest.approx(2 * errors[0], rel=1e-3)


# Models that know the true poses.


def next_poses(model, n):
    """The next rows of the truth, in the order in which batches come."""
    start = model.position.read_value()
    model.position.assign_add(n)
    return model.truth[start:start + n]


class TrueMetrabs(models.Metrabs):
    """Predicts what it was told, row after row."""

    def call(self, inputs, training=False):
        return next_poses(self, tf.shape(inputs['image'])[0])


class TrueMargiPose(models.MargiPose):
    """Predicts what it was told, at the root depth that it is given."""

    def call(self, inputs, training=False):
        truth = next_poses(self, tf.shape(inputs['image'])[0])
        i_root = self.joint_names.index('pelv')
        scale = inputs['root_depth_mm'] / truth[:, i_root, 2]
        return truth * scale[:, tf.newaxis, tf.newaxis]


def make_true_model(model_cls, source, joints=skeleton.METRO_24, **view_kwargs):
    """A model that knows the views of all examples of the source."""
    model = model_cls(
        common.make_backbone(), joints.joint_names, joints.edges, common.SIDE, common.STRIDE,
        **({'n_inner_channels': 8, 'n_stages': 1} if model_cls is TrueMargiPose else {}))
    model.truth = tf.constant(np.concatenate([
        true_view_poses(example, mirror_mapping=joints.mirror_mapping, **view_kwargs)
        for example in source]))
    model.position = tf.Variable(0)
    return model


def views_of(source, bank, views=ten_crop.TEN_VIEWS, config=CONFIG):  # noqa: F811
    # The stored images are as high as the photo.
    return ten_crop.views_dataset(config, source, bank, views, photo_height_px=300)


@pytest.fixture(scope='module')
def source(data_dir):  # noqa: F811
    """Five people of 24 joints."""
    return records.read_dataset(data_dir / 'synth')


@pytest.fixture(scope='module')
def ten_views(source, bank):  # noqa: F811
    return list(views_of(source, bank))


@pytest.fixture(scope='module')
def one_view(source, bank):  # noqa: F811
    return list(views_of(source, bank, ten_crop.ONE_VIEW))


def check_perfect(scores):
    assert scores['n_frames'] == 5
    assert scores['mpjpe_mm'] == pytest.approx(0, abs=0.01)
    assert scores['pa_mpjpe_mm'] == pytest.approx(0, abs=0.02)
    assert scores['pck_150'] == scores['pa_pck_150'] == 1
    assert scores['auc_150'] == pytest.approx(30 / 31)


@pytest.mark.parametrize('joints', ['common_14', 'all'])
def test_true_absolute_poses_have_no_error_in_ten_crops(source, ten_views, joints):
    model = make_true_model(TrueMetrabs, source)
    scores = margipose_protocol.evaluate(model, ten_views, joints)
    assert {version: list(ways) for version, ways in scores.items()} == {'records': ['absolute']}
    check_perfect(scores['records']['absolute'])


def test_a_wrong_offset_or_flip_has_an_error(source, ten_views):
    for changes in ({'is_mirrored': [False] * 10},
                    {'offsets_px': [(8 * x, 8 * y) for x, y in OFFSETS]}):
        model = make_true_model(TrueMetrabs, source, **changes)
        scores = margipose_protocol.evaluate(model, ten_views)['records']['absolute']
        assert scores['mpjpe_mm'] > 1


def coords_at_universal_scale(coords3d_cam, joints=skeleton.METRO_24):
    """Poses scaled about the camera to 920 mm from the left knee to the neck."""
    bones = [('lhip', 'lkne'), ('pelv', 'spin'), ('spin', 'neck')]
    edges = [[joints.index(name) for name in bone] for bone in bones]
    heights = sum(
        np.linalg.norm(coords3d_cam[:, i] - coords3d_cam[:, j], axis=-1) for i, j in edges)
    return coords3d_cam * (920 / heights)[:, np.newaxis, np.newaxis]


def version_of(source, coords3d_cam):
    """Labels `[examples, 24, 3]` as a version with the joints of the protocol."""
    names = [example['name'].numpy().decode() for example in source]
    return label_versions.LabelVersion(
        {name: row for row, name in enumerate(names)}, example_lib.select_joints(
            coords3d_cam.astype(np.float32), skeleton.METRO_24.joint_names, JOINTS.joint_names))


def test_true_cuboid_poses_have_no_error_at_their_scale_in_ten_crops(source, ten_views):
    """At the universal scale, that is for labels of this scale; with the true depth, for all."""
    coords = np.stack([example['coords3d_cam'] for example in source])
    universal = coords_at_universal_scale(coords)
    model = make_true_model(TrueMargiPose, source)
    scores = margipose_protocol.evaluate(
        model, ten_views, label_versions={'universal': version_of(source, universal)})
    assert list(scores) == ['records', 'universal']
    for version in scores.values():
        assert list(version) == ['universal_scale', 'true_root_depth']
        check_perfect(version['true_root_depth'])
    check_perfect(scores['universal']['universal_scale'])
    columns = [skeleton.METRO_24.index(name) for name in JOINTS.joint_names]
    relative, expected = [(x - x[:, :1])[:, columns[:14]] for x in (universal, coords)]
    assert scores['records']['universal_scale']['mpjpe_mm'] == pytest.approx(
        np.linalg.norm(relative - expected, axis=-1).mean(), rel=1e-4)


def test_joints_of_any_order_are_found_by_name(data_dir, bank):  # noqa: F811
    joints = skeleton.from_paths(' '.join(JOINTS.joint_names[::-1]), 'pelv-neck')
    source = records.read_dataset(data_dir / 'synth', joints.joint_names)
    config = example_config(joints)
    model = make_true_model(TrueMetrabs, source, joints, **SINGLE)
    views = views_of(source, bank, ten_crop.ONE_VIEW, config)
    check_perfect(margipose_protocol.evaluate(model, views)['records']['absolute'])


def example_config(joints):
    model_config = CONFIG.model
    return type(CONFIG)(name='tiny', model=type(model_config)(
        heatmap=model_config.heatmap, skeleton=joints))


def test_frames_weigh_alike_whatever_their_labels(source, one_view):
    """Two labelled joints with 100 mm each in one frame, and none with an error elsewhere."""
    coords = np.stack([example['coords3d_cam'] for example in source])
    version = version_of(source, coords)
    version.coords3d_cam[0, 2:14] = NAN
    version.coords3d_cam[0, :2, 0] += 100
    version.coords3d_cam[3, PELVIS] = NAN
    model = make_true_model(TrueMetrabs, source, **SINGLE)
    scores = margipose_protocol.evaluate(model, one_view, label_versions={'few': version})
    check_perfect(scores['records']['absolute'])
    assert scores['few']['absolute']['n_frames'] == 4
    assert scores['few']['absolute']['mpjpe_mm'] == pytest.approx(100 / 4, abs=0.01)


def test_versions_without_labels_have_no_scores(source, one_view):
    version = version_of(source, np.full([5, 24, 3], NAN))
    model = make_true_model(TrueMargiPose, source, **SINGLE)
    scores = margipose_protocol.evaluate(model, one_view, label_versions={'none': version})
    assert scores['none'] == {
        'universal_scale': {'n_frames': 0}, 'true_root_depth': {'n_frames': 0}}
    check_perfect(scores['records']['true_root_depth'])
    assert '| none    | universal scale | 0      | -     |' in margipose_protocol.table(scores)


@pytest.mark.parametrize('model_cls', [
    models.MargiPose, models.AbsoluteMargiPose, models.Metrabs])
def test_one_view_gives_the_poses_of_the_model(one_view, model_cls):
    [batch] = one_view
    model = make_margipose(model_cls) if 'Margi' in model_cls.__name__ else make_model(model_cls)
    inputs = {name: batch[name][:, 0] for name in ('image', 'intrinsics')}
    depths = np.float32([2000, 2500, 3000, 3500, 4000])
    expected = {'absolute': model(inputs)}
    if model_cls is models.MargiPose:
        expected = {
            'universal_scale': model(inputs),
            'true_root_depth': model({**inputs, 'root_depth_mm': depths}) / depths.reshape(5, 1, 1)}
    actual = margipose_protocol.predict_views(model, batch)
    assert set(actual) == set(expected)
    for way, poses in expected.items():
        back = np.einsum('bpc,bcd->bpd', poses, batch['camera_to_crop'][:, 0])
        np.testing.assert_allclose(actual[way][:, 0], back, rtol=1e-3, atol=0.5, err_msg=way)


def make_margipose(model_cls=models.MargiPose):
    """A random model of 4 x 4 cells."""
    keras.utils.set_random_seed(0)
    return make_model(model_cls, n_stages=1, n_inner_channels=8)


def test_table_has_the_units_of_the_paper():
    values = {'n_frames': 7, **{
        prefix + name: value for prefix in ('', 'pa_')
        for name, value in zip(NAMES, (93.74, 0.847, 0.463))}}
    assert margipose_protocol.table({'records': {'true_root_depth': values}}).splitlines() == [
        '| labels  | poses           | frames | PCK % | MPJPE mm | AUC % | PA-PCK % | PA-MPJPE mm '
        '| PA-AUC % |',
        '|---------|-----------------|--------|-------|----------|-------|----------|-------------'
        '|----------|',
        '| records | true root depth | 7      | 84.7  | 93.7     | 46.3  | 84.7     | 93.7        '
        '| 46.3     |']


@pytest.mark.parametrize('model_cls, kwargs', [
    (models.Metro, {}), (models.Pose25D, {}), (models.LatentMetrabs, {'n_latents': 3})])
def test_other_models_are_refused(model_cls, kwargs):
    with pytest.raises(ValueError, match="`crop_model` must be one of .'AbsoluteMargiPose', "
                                         f"'MargiPose', 'Metrabs'.. .*={model_cls.__name__}"):
        margipose_protocol.evaluate(make_model(model_cls, **kwargs), [])


def test_error_texts():
    lonely = common.make_model(models.Metrabs)  # pelvis, neck and shoulders
    with pytest.raises(ValueError, match="`crop_model` must have the joints .'htop'.*without "
                                         "..*'spin', 'head'"):
        margipose_protocol.evaluate(lonely, [])
    with pytest.raises(ValueError, match="`joints` must be one of .'all', 'common_14'.*='14'"):
        margipose_protocol.FrameScores('14')
    poses, mask = np.zeros([1, 16, 3], np.float32), np.ones([1, 16], bool)
    with pytest.raises(ValueError, match=r'`coords_true` must have a shape that ends in \(17, 3\)'):
        margipose_protocol.FrameScores()(poses, poses, mask)


# The program.


def train_a_little(model, batch, n_steps=8):
    """Fits a new model to a batch of crops by the published losses; returns their curve."""
    optimizer, curve = keras.optimizers.Adam(3e-3), []
    optimizer.build(model.trainable_variables)
    inputs = {name: batch[name][:, 0] for name in ('image', 'intrinsics')}
    coords3d = np.einsum('bpc,bdc->bpd', batch['coords3d_cam'], batch['camera_to_crop'][:, 0])
    coords = cuboid.from_camera_frame(
        coords3d, inputs['intrinsics'], coords3d[:, 0, 2], common.SIDE)
    for _ in range(n_steps):
        with tf.GradientTape() as tape:
            stages = model.predict_stages(inputs['image'], training=True)
            loss = losses.marginal_loss(
                coords, stages, batch['joint_validity_mask_3d'], tf.ones([5], tf.bool))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        curve.append(float(loss))
    return curve


def run_program(monkeypatch, data_dir, *arguments):  # noqa: F811
    monkeypatch.setattr('sys.argv', [
        'evaluate', *map(str, arguments), '--config', str(data_dir / 'tiny.py'),
        '--background-dir', str(data_dir / 'photos')])
    evaluate.main()


def write_labels(path, source, coords3d_cam):
    names = [example['name'].numpy().decode() for example in source]
    np.savez(path, names=names[::-1], coords3d_cam=coords3d_cam[::-1],
             joint_names=skeleton.METRO_24.joint_names)


@pytest.mark.slow
def test_program_scores_a_trained_model_against_two_versions_of_labels(
        data_dir, source, one_view, tmp_path, monkeypatch, capsys):  # noqa: F811
    model = make_margipose()
    curve = train_a_little(model, one_view[0])
    assert curve[-1] < curve[0]
    model.save(str(tmp_path / 'model.keras'))
    coords = np.stack([example['coords3d_cam'] for example in source])
    write_labels(tmp_path / 'old.npz', source, coords[:, :, ::-1])
    run_program(
        monkeypatch, data_dir, tmp_path / 'model.keras', '--synth-dir', data_dir / 'synth',
        '--protocol', 'margipose', '--joints', 'all', '--label-version',
        f'old={tmp_path / "old.npz"}', '--out', tmp_path / 'scores.json')
    result = json.loads((tmp_path / 'scores.json').read_text())
    scores = result.pop('scores')['synthetic_holdout']
    assert result == {
        'protocol': 'margipose', 'joints': 'all', 'n_crops': 1, 'photo_height_px': None}
    assert margipose_protocol.table(scores) in capsys.readouterr().out
    columns = [skeleton.METRO_24.index(name) for name in JOINTS.joint_names]
    inputs = {name: one_view[0][name][:, 0] for name in ('image', 'intrinsics')}
    poses = np.einsum('bpc,bcd->bpd', model(inputs), one_view[0]['camera_to_crop'][:, 0])
    for version, true in (('records', coords), ('old', coords[:, :, ::-1])):
        assert scores[version]['universal_scale']['n_frames'] == 5
        errors = np.linalg.norm(
            (poses - poses[:, :1] - true + true[:, :1])[:, columns], axis=-1)
        assert scores[version]['universal_scale']['mpjpe_mm'] == pytest.approx(
            errors.mean(), rel=1e-3)
        aligned = [slow_procrustes_errors(*pair) for pair in zip(true[:, columns],
                                                                 poses[:, columns])]
        assert scores[version]['universal_scale']['pa_mpjpe_mm'] == pytest.approx(
            np.mean(aligned), rel=1e-3)


@pytest.mark.slow
def test_program_averages_ten_crops(data_dir, tmp_path, monkeypatch):  # noqa: F811
    make_model(models.Metrabs).save(str(tmp_path / 'model.keras'))
    run_program(
        monkeypatch, data_dir, tmp_path / 'model.keras', '--records-dir', data_dir / 'synth',
        '--protocol', 'margipose', '--multi-crop', '--photo-height', 300, '--first', 3, '--out',
        tmp_path / 'scores.json')
    result = json.loads((tmp_path / 'scores.json').read_text())
    scores = result.pop('scores')[str(data_dir / 'synth')]
    assert result == {
        'protocol': 'margipose', 'joints': 'common_14', 'n_crops': 10, 'photo_height_px': 300}
    assert {version: list(ways) for version, ways in scores.items()} == {'records': ['absolute']}
    assert scores['records']['absolute']['n_frames'] == 3
    assert 0 < scores['records']['absolute']['pa_mpjpe_mm'] < (
        scores['records']['absolute']['mpjpe_mm'])


def test_program_names_a_file_with_wrong_labels(
        data_dir, source, tmp_path, monkeypatch):  # noqa: F811
    make_model(models.Metrabs).save(str(tmp_path / 'model.keras'))
    write_labels(tmp_path / 'old.npz', list(source)[1:], np.zeros([4, 24, 3]))
    with pytest.raises(ValueError, match="'p0' missing in .*old.npz"):
        run_program(
            monkeypatch, data_dir, tmp_path / 'model.keras', '--synth-dir', data_dir / 'synth',
            '--protocol', 'margipose', '--label-version', f'old={tmp_path / "old.npz"}')


PROTOCOL = ('--protocol', 'margipose')
SYNTH = ('--synth-dir', 'a')


@pytest.mark.parametrize('arguments, message', [
    ((*SYNTH, '--multi-crop'), '--joints and --label-version need --protocol'),
    ((*SYNTH, '--photo-height', '9'), '--joints and --label-version need --protocol'),
    ((*SYNTH, '--joints', 'all'), '--joints and --label-version need --protocol'),
    ((*SYNTH, '--label-version', 'a=b'), '--joints and --label-version need --protocol'),
    (PROTOCOL, '--protocol takes --synth-dir or --records-dir'),
    ((*PROTOCOL, *SYNTH, '--lspet-dir', 'b'), 'no --lspet-dir and no --flip'),
    ((*PROTOCOL, *SYNTH, '--flip'), 'no --lspet-dir and no --flip'),
    ((*PROTOCOL, *SYNTH, '--truncation'), 'no --flip and no --protocol'),
    (('second.keras', *PROTOCOL, *SYNTH), 'several models and --plot need --truncation'),
    ((*PROTOCOL, *SYNTH, '--photo-height', '9'), 'must be positive and needs --multi-crop'),
    ((*PROTOCOL, *SYNTH, '--multi-crop', '--photo-height', '0'), 'must be positive and needs'),
    ((*PROTOCOL, *SYNTH, '--records-dir', 'b', '--label-version', 'a=b'),
     '--label-version takes one data set'),
    ((*PROTOCOL, *SYNTH, '--label-version', 'records=b'), 'must be distinct and not records'),
    ((*PROTOCOL, *SYNTH, *(2 * ('--label-version', 'a=b'))), 'must be distinct and not records'),
    ((*PROTOCOL, *SYNTH, '--label-version', 'b'), 'must be NAME=FILE. Received: b'),
    ((*PROTOCOL, *SYNTH, '--joints', '14'), "invalid choice: '14'"),
    (('--protocol', 'mupots', *SYNTH), "invalid choice: 'mupots'")])
def test_program_refuses_options_that_nobody_reads(
        data_dir, monkeypatch, capsys, arguments, message):  # noqa: F811
    with pytest.raises(SystemExit):
        run_program(monkeypatch, data_dir, 'model.keras', *arguments)
    assert message in capsys.readouterr().err
