import dataclasses

import numpy as np
import pytest

from metro_tf import models, skeleton
from metro_tf.config import HeatmapConfig
from tests.training.test_train_program import make_person
from training import crop_models
from training.config import LossConfig, ModelConfig, TrainConfig
from training.datasets import bone_lengths, records

N_BONES = len(skeleton.METRO_24.edges)
LENGTHS = tuple(100.0 + i for i in range(N_BONES))
TINY = {'top_down_channels': 0, 'heatmap': HeatmapConfig(64, 32)}


@pytest.fixture
def record_dir(tmp_path):
    """Two people, one without a left wrist, and an example without 3D labels."""
    people = [make_person(i) for i in range(3)]
    people[1].coords3d_cam[skeleton.METRO_24.index('lwri')] = np.nan
    people[2] = dataclasses.replace(people[2], coords3d_cam=None)
    records.write_shard(tmp_path / 'a.tfrecord', people)
    return tmp_path


def lengths_of(person):
    ends = person.coords3d_cam[np.array(skeleton.METRO_24.edges)]
    return np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)


def test_bone_lengths_are_means_over_the_valid_ones(record_dir):
    found = bone_lengths.mean_bone_lengths([record_dir], skeleton.METRO_24)
    first, second = lengths_of(make_person(0)), lengths_of(make_person(1))
    expected = (first + second) / 2
    i_forearm = skeleton.METRO_24.edges.index(
        (skeleton.METRO_24.index('lelb'), skeleton.METRO_24.index('lwri')))
    expected[i_forearm] = first[i_forearm]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert all(isinstance(length, float) for length in found)


def test_a_bone_without_any_example_is_named(tmp_path):
    person = make_person(0)
    person.coords3d_cam[skeleton.METRO_24.index('nose')] = np.nan
    records.write_shard(tmp_path / 'a.tfrecord', [person])
    with pytest.raises(ValueError, match='`record_dirs` must hold each bone.*head-nose.*nose-leye'):
        bone_lengths.mean_bone_lengths([tmp_path], skeleton.METRO_24)


def test_bones_of_other_skeletons_are_found_by_name(record_dir):
    joints = skeleton.from_paths('lkne rkne lank rank', 'lkne-lank rank-rkne')
    index = skeleton.METRO_24.index
    shins = [
        skeleton.METRO_24.edges.index((index(f'{side}kne'), index(f'{side}ank'))) for side in 'lr']
    expected = np.array(bone_lengths.mean_bone_lengths([record_dir], skeleton.METRO_24))[shins]
    np.testing.assert_allclose(bone_lengths.mean_bone_lengths([record_dir], joints), expected)
    assert bone_lengths.mean_bone_lengths([record_dir], skeleton.Skeleton(('nose',), ())) == ()
    config = TrainConfig('tiny', model=ModelConfig(kind='pose25d', skeleton=joints))
    completed = crop_models.with_bone_lengths(config, [record_dir])
    np.testing.assert_allclose(completed.model.bone_lengths_mm, expected)
    lacking = skeleton.from_paths('lkne rkne lfoo rfoo', 'lkne-lfoo rkne-rfoo')
    with pytest.raises(ValueError, match='`record_dirs` must hold each bone.*lkne-lfoo'):
        bone_lengths.mean_bone_lengths([record_dir], lacking)


HANDS = skeleton.from_paths('lhan rhan lwri rwri', 'lwri-lhan rwri-rhan')


def test_the_config_chooses_the_joints():
    config = ModelConfig(skeleton=HANDS, **TINY)
    model = crop_models.build_crop_model(config)
    assert model.joint_names == HANDS.joint_names and model.joint_edges == HANDS.edges
    assert model.predict_logits(np.zeros([1, 64, 64, 3], np.float32))[1].shape[-1] == 4
    crop_models.check_joints(model.joint_names, config, 'crop_model', 'a.keras')
    with pytest.raises(ValueError, match='`crop_model` must have the joints that the config '
                                         "describes, .'pelv'.*Received: a.keras with .'lhan', "):
        crop_models.check_joints(model.joint_names, ModelConfig(), 'crop_model', 'a.keras')


def test_joints_of_an_autoencoder_must_be_those_of_the_config(tmp_path):
    path = tmp_path / 'latents.keras'
    models.AffineAutoencoder(HANDS.joint_names, 1, 0).save(path)
    config = ModelConfig(latent_mode='direct', autoencoder=str(path), skeleton=HANDS)
    assert crop_models.load_autoencoder(config).joint_names == HANDS.joint_names
    with pytest.raises(ValueError, match="joints of the config, .'pelv'.*AffineAuto.*'lhan'"):
        crop_models.load_autoencoder(dataclasses.replace(config, skeleton=skeleton.METRO_24))


def test_a_config_gets_the_lengths_that_it_lacks(record_dir):
    config = TrainConfig('tiny', model=ModelConfig(kind='pose25d'))
    completed = crop_models.with_bone_lengths(config, [None, record_dir])
    assert completed.model.bone_lengths_mm == bone_lengths.mean_bone_lengths(
        [record_dir], skeleton.METRO_24)
    assert dataclasses.replace(completed, model=config.model) == config
    assert crop_models.with_bone_lengths(completed, []) is completed
    other = TrainConfig('tiny')
    assert crop_models.with_bone_lengths(other, []) is other


def test_the_kind_chooses_the_model():
    model = crop_models.build_crop_model(ModelConfig(
        kind='pose25d', bone_lengths_mm=LENGTHS, **TINY))
    assert isinstance(model, models.Pose25D) and model.bone_lengths_mm == LENGTHS
    assert isinstance(
        crop_models.build_crop_model(ModelConfig(kind='metro', **TINY)), models.Metro)
    model = crop_models.build_crop_model(ModelConfig(
        weak_perspective=True, mix_3d_inside_fov=0.0, **TINY))
    assert isinstance(model, models.Metrabs)
    assert model.reconstruction.weak_perspective and model.reconstruction.mix_3d_inside_fov == 0
    with pytest.raises(ValueError, match='`bone_lengths_mm` must be given.*Received: None'):
        crop_models.build_crop_model(ModelConfig(kind='pose25d'))


MARGINAL = {
    'kind': 'margipose', 'top_down_channels': 0, 'heatmap': HeatmapConfig(64, 8), 'n_stages': 1,
    'n_inner_channels': 8}


def test_margipose_of_a_truncated_backbone():
    model = crop_models.build_crop_model(ModelConfig(
        backbone='resnet18', height_edges=(('lhip', 'lkne'), ('neck', 'pelv')), height_mm=800.0,
        **MARGINAL))
    assert isinstance(model, models.MargiPose) and model.backbone.name == 'resnet18_truncated'
    config = model.get_config()
    index = skeleton.METRO_24.index
    assert config['height_edges'] == [
        [index('lhip'), index('lkne')], [index('neck'), index('pelv')]]
    assert config['height_mm'] == 800 and config['crop_side_px'] == 64
    assert (config['n_stages'], config['axis_permutation'], config['n_inner_channels']) == (
        1, True, 8)
    assert ModelConfig(backbone='inception_v4', **MARGINAL).is_truncated
    assert not ModelConfig(backbone='resnet50').is_truncated


def test_margipose_of_a_backbone_with_a_top_down_path():
    kwargs = {**MARGINAL, 'top_down_channels': 16, 'axis_permutation': False}
    model = crop_models.build_crop_model(ModelConfig(backbone='compact_resnet', **kwargs))
    assert model.backbone.output_shape[-1] == model.heads.n_channels == 16
    assert not model.heads.axis_permutation
    # The published bones: thigh, pelvis to spine and spine to neck.
    index = skeleton.METRO_24.index
    assert model.reconstruction.height_edges == tuple(
        (index(a), index(b)) for a, b in (('lhip', 'lkne'), ('pelv', 'spin'), ('spin', 'neck')))
    kwargs.update(
        kind='absolute_margipose', weak_perspective=True, mix_3d_inside_fov=0.25,
        heatmap=HeatmapConfig(64, 8, box_size_mm=2000.0))
    model = crop_models.build_crop_model(ModelConfig(backbone='compact_resnet', **kwargs))
    assert isinstance(model, models.AbsoluteMargiPose)
    assert model.heatmap_config.box_size_mm == 2000
    assert model.reconstruction.weak_perspective
    assert model.reconstruction.mix_3d_inside_fov == 0.25


def test_margipose_whose_settings_do_not_fit():
    def build(**changes):
        return crop_models.build_crop_model(ModelConfig(**{
            **MARGINAL, 'backbone': 'resnet18', **changes}))
    with pytest.raises(ValueError, match="`height_edges` must be pairs of joints.*'lfoo'"):
        build(height_edges=(('lfoo', 'lkne'),))
    with pytest.raises(ValueError, match='`stride_px` .16. must be the stride of `backbone`'):
        build(heatmap=HeatmapConfig(64, 16))
    with pytest.raises(ValueError, match='`n_inner_channels` must be a multiple of 4'):
        build(n_inner_channels=6)
    with pytest.raises(ValueError, match="`name` must be one of .*'inception_v4'"):
        build(backbone='inception_v4', top_down_channels=16)


HOURGLASS = {
    'kind': 'coarse_to_fine', 'backbone': 'hourglass', 'depths': (1, 8), 'n_channels': 8,
    'n_levels': 1, 'heatmap': HeatmapConfig(32, 4)}


def save_heatmap_network(path, **changes):
    model = crop_models.build_crop_model(ModelConfig(**{
        **HOURGLASS, 'depths': (1,), 'hourglass_variant': 'uniform', **changes}))
    model.save(str(path))
    return model


def test_the_models_of_coarse_to_fine(tmp_path):
    model = crop_models.build_crop_model(ModelConfig(
        **HOURGLASS, decoding='refined', bone_lengths_mm=LENGTHS))
    assert isinstance(model, models.CoarseToFine) and model.backbone.name.endswith('paper')
    assert model.depths == (1, 8) and model.bone_lengths_mm == LENGTHS
    assert (model.decoding, model.heatmap_config.stride_px) == ('refined', 4)
    assert [output.shape[-1] for output in model.backbone.outputs] == [24, 24 * 8]
    flat = save_heatmap_network(tmp_path / 'a.keras')
    assert not flat.is_absolute and flat.backbone.name.endswith('uniform')
    decoupled = crop_models.build_crop_model(ModelConfig(**{
        **HOURGLASS, 'kind': 'decoupled', 'heatmap_network': str(tmp_path / 'a.keras'),
        'bone_lengths_mm': LENGTHS}))
    assert isinstance(decoupled, models.Decoupled) and decoupled.depths == (1, 8)
    for saved, loaded in zip(
            flat.get_weights(), decoupled.heatmap_network.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, loaded)
    regression = crop_models.build_crop_model(ModelConfig(
        kind='coordinate_regression', backbone='hourglass', n_channels=8, n_levels=2,
        relative_to='parent', heatmap=HeatmapConfig(32, 16)))
    assert isinstance(regression, models.CoordinateRegression)
    assert regression.relative_to == 'parent' and regression.backbone.output_shape[1] == 2


def test_bone_lengths_are_measured_for_volumes_with_depth(record_dir):
    config = TrainConfig('tiny', model=ModelConfig(**HOURGLASS))
    completed = crop_models.with_bone_lengths(config, [record_dir])
    assert completed.model.bone_lengths_mm == bone_lengths.mean_bone_lengths(
        [record_dir], skeleton.METRO_24)
    flat = TrainConfig('tiny', model=ModelConfig(**{**HOURGLASS, 'depths': (1, 1)}))
    assert crop_models.with_bone_lengths(flat, [record_dir]) is flat


def test_heatmap_networks_that_do_not_fit_are_refused(tmp_path):
    def build(path, **changes):
        return crop_models.build_crop_model(ModelConfig(**{
            **HOURGLASS, 'kind': 'decoupled', 'heatmap_network': str(path),
            'bone_lengths_mm': LENGTHS, **changes}))
    with pytest.raises(ValueError, match='`heatmap_network` must be a .keras .*a.keras does not'):
        build(tmp_path / 'a.keras')
    save_heatmap_network(tmp_path / 'flat.keras')
    with pytest.raises(ValueError, match='`heatmap_network` must be one of crops .*64 px.*32 px'):
        build(tmp_path / 'flat.keras', heatmap=HeatmapConfig(64, 4))
    hands = skeleton.from_paths('pelv lhan rhan', 'pelv-lhan pelv-rhan')
    with pytest.raises(ValueError, match="`heatmap_network` must have the joints .*'lhan'"):
        build(tmp_path / 'flat.keras', skeleton=hands, bone_lengths_mm=(1.0, 1.0))
    save_heatmap_network(tmp_path / 'deep.keras', depths=(1, 8), bone_lengths_mm=LENGTHS)
    with pytest.raises(ValueError, match='`heatmap_network` must be a CoarseToFine without depth'):
        build(tmp_path / 'deep.keras')


@pytest.mark.parametrize('changes, message', [
    ({'backbone': 'resnet50'}, "`backbone` must be 'hourglass' for the kinds .*kind='coarse_to_f"),
    ({'kind': 'metrabs', 'depths': ModelConfig.depths, 'n_channels': 256, 'n_levels': 4},
     "`backbone` must be 'hourglass' for .*, and for no other. .*kind='metrabs'"),
    ({'kind': 'decoupled'}, "`heatmap_network` must be given where `kind` is 'decoupled'"),
    ({'heatmap_network': 'a.keras'}, "`heatmap_network` must be left .* not 'decoupled'"),
    ({'kind': 'coordinate_regression'}, '`depths` must be left alone .*depths=.1, 8.'),
    ({'kind': 'decoupled', 'heatmap_network': 'a', 'hourglass_variant': 'uniform'},
     "`hourglass_variant` must be left alone where `kind` is not 'coarse_to_fine'"),
    ({'relative_to': 'parent'}, "`relative_to` must be left .* not 'coordinate_regression'"),
    ({'top_down_channels': 32}, "`top_down_channels` must be left alone where the backbone is 'h"),
    ({'bn_momentum': 0.9}, '`bn_momentum` must be left alone'),
    ({'backbone_weights': 'a.h5'}, '`backbone_weights` must be left alone'),
    ({'depths': (1, 1), 'bone_lengths_mm': LENGTHS}, '`bone_lengths_mm` must be left alone where '
     'the last of `depths` is 1'),
    ({'heatmap': HeatmapConfig(64, 4, 12)}, '`n_depth_cells` must be left alone'),
    ({'heatmap': HeatmapConfig(64, 4, box_size_mm=2000.0)}, '`box_size_mm` must be left alone'),
    ({'depths': ()}, '`depths` must be the cells .*depths=..'),
    ({'depths': (1, 3)}, '`depths` must be the cells .*depths=.1, 3.'),
    ({'decoding': 'mean'}, '`decoding` must be one of .*decoding=.mean.'),
    ({'hourglass_variant': 'wide'}, '`hourglass_variant` must be one of'),
    ({'relative_to': 'neck'}, '`relative_to` must be one of')])
def test_bad_settings_of_hourglasses_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**{**HOURGLASS, **changes})


@pytest.mark.parametrize('make, message', [
    (lambda: ModelConfig(n_stages=2),
     "`n_stages` must be left alone where `kind` is not 'margipose' or 'absolute_margipose'. "
     "Received: n_stages=2, kind='metrabs'"),
    (lambda: ModelConfig(kind='metro', axis_permutation=False), '`axis_permutation` must be left'),
    (lambda: ModelConfig(kind='pose25d', n_inner_channels=48), '`n_inner_channels` must be left'),
    (lambda: ModelConfig(kind='absolute_margipose', height_mm=900.0),
     "`height_mm` must be left alone where `kind` is not 'margipose'. "),
    (lambda: ModelConfig(kind='margipose', mix_3d_inside_fov=0.2), '`mix_3d_inside_fov` must be'),
    (lambda: ModelConfig(kind='margipose', heatmap=HeatmapConfig(64, 8, box_size_mm=2000.0)),
     '`box_size_mm` must be left alone .*box_size_mm=2000.0, kind=.margipose.'),
    (lambda: ModelConfig(kind='absolute_margipose', heatmap=HeatmapConfig(64, 8, 12)),
     '`n_depth_cells` must be left alone .*n_depth_cells=12'),
    (lambda: ModelConfig(kind='margipose', heatmap=HeatmapConfig(64, 8, centered=False)),
     '`centered` must be left alone'),
    (lambda: ModelConfig(**MARGINAL, backbone='inception_v4', bn_momentum=0.9),
     '`bn_momentum` must be left alone where the backbone is a truncated one. '
     "Received: bn_momentum=0.9, backbone='inception_v4'"),
    (lambda: ModelConfig(kind='openpose'), '`kind` must be one of .* Received: kind=.openpose.'),
    (lambda: ModelConfig(kind='metro', weak_perspective=True),
     "`weak_perspective` must be left alone where `kind` is not 'metrabs' or 'absolute_margipose'. "
     "Received: weak_perspective=True, kind='metro'"),
    (lambda: ModelConfig(bone_lengths_mm=LENGTHS), '`bone_lengths_mm` must be left alone'),
    (lambda: ModelConfig(skeleton=('nose',)), '`skeleton` must be a metro_tf.skeleton.Skeleton. '),
    (lambda: ModelConfig(skeleton=skeleton.Skeleton(('nose', 'lkne'), ())),
     "`skeleton` must have the joints of both sides.* Received: .'lkne'. without"),
    (lambda: ModelConfig(skeleton=skeleton.Skeleton(('heel',), ())), "`name` must be .*'heel'"),
    (lambda: LossConfig(generation='R21'), '`generation` must be one of .* Received: .*R21'),
    (lambda: LossConfig(reduction='sum'), '`reduction` must be one of .* Received: .*sum'),
    (lambda: LossConfig(relative=-1.0), '`relative` must be a finite number from 0 on. .*-1.0'),
    (lambda: LossConfig(image=float('nan')), '`image` must be a finite number .* Received: .*nan')])
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_setting_is_an_error():
    with pytest.raises(TypeError, match='unexpected keyword argument .absolut.'):
        LossConfig(absolut=1.0)
