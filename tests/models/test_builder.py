import dataclasses
import json

import numpy as np
import pytest

from metro_tf import models, skeleton, weights
from metro_tf.config import HeatmapConfig
from metro_tf.models import builder
from metro_tf.models.config import ModelConfig
from tests.models import common

N_BONES = len(skeleton.METRO_24.edges)
LENGTHS = tuple(100.0 + i for i in range(N_BONES))
TINY = {
    'backbone': 'compact_resnet', 'top_down_channels': 0, 'heatmap': HeatmapConfig(64, 32)}
MARGINAL = {
    'kind': 'margipose', 'top_down_channels': 0, 'heatmap': HeatmapConfig(64, 8), 'n_stages': 1,
    'n_inner_channels': 8}
HOURGLASS = {
    'kind': 'coarse_to_fine', 'backbone': 'hourglass', 'depths': (1, 8), 'n_channels': 8,
    'n_levels': 1, 'heatmap': HeatmapConfig(32, 4)}
HANDS = skeleton.from_paths('lhan rhan lwri rwri', 'lwri-lhan rwri-rhan')


def test_the_config_chooses_the_joints():
    config = ModelConfig(skeleton=HANDS, **TINY)
    model = builder.build_crop_model(config)
    assert model.joint_names == HANDS.joint_names and model.joint_edges == HANDS.edges
    assert model.predict_logits(np.zeros([1, 64, 64, 3], np.float32))[1].shape[-1] == 4
    builder.check_joints(model.joint_names, config, 'crop_model', 'a.keras')
    with pytest.raises(ValueError, match='`crop_model` must have the joints that the config '
                                         "describes, .'pelv'.*Received: a.keras with .'lhan', "):
        builder.check_joints(model.joint_names, ModelConfig(), 'crop_model', 'a.keras')


def test_joints_of_an_autoencoder_must_be_those_of_the_config(tmp_path):
    path = tmp_path / 'latents.keras'
    models.AffineAutoencoder(HANDS.joint_names, 1, 0).save(path)
    config = ModelConfig(latent_mode='direct', autoencoder=str(path), skeleton=HANDS)
    assert builder.load_autoencoder(config).joint_names == HANDS.joint_names
    with pytest.raises(ValueError, match="joints of the config, .'pelv'.*AffineAuto.*'lhan'"):
        builder.load_autoencoder(dataclasses.replace(config, skeleton=skeleton.METRO_24))


def test_the_kind_chooses_the_model():
    model = builder.build_crop_model(ModelConfig(
        kind='pose25d', bone_lengths_mm=LENGTHS, **TINY))
    assert isinstance(model, models.Pose25D) and model.bone_lengths_mm == LENGTHS
    assert isinstance(
        builder.build_crop_model(ModelConfig(kind='metro', **TINY)), models.Metro)
    model = builder.build_crop_model(ModelConfig(
        weak_perspective=True, mix_3d_inside_fov=0.0, **TINY))
    assert isinstance(model, models.Metrabs)
    assert model.reconstruction.weak_perspective and model.reconstruction.mix_3d_inside_fov == 0
    with pytest.raises(ValueError, match='`bone_lengths_mm` must be given.*Received: None'):
        builder.build_crop_model(ModelConfig(kind='pose25d'))


def test_margipose_of_a_truncated_backbone():
    model = builder.build_crop_model(ModelConfig(
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
    model = builder.build_crop_model(ModelConfig(backbone='compact_resnet', **kwargs))
    assert model.backbone.output_shape[-1] == model.heads.n_channels == 16
    assert not model.heads.axis_permutation
    # The published bones: thigh, pelvis to spine and spine to neck.
    index = skeleton.METRO_24.index
    assert model.reconstruction.height_edges == tuple(
        (index(a), index(b)) for a, b in (('lhip', 'lkne'), ('pelv', 'spin'), ('spin', 'neck')))
    kwargs.update(
        kind='absolute_margipose', weak_perspective=True, mix_3d_inside_fov=0.25,
        heatmap=HeatmapConfig(64, 8, box_size_mm=2000.0))
    model = builder.build_crop_model(ModelConfig(backbone='compact_resnet', **kwargs))
    assert isinstance(model, models.AbsoluteMargiPose)
    assert model.heatmap_config.box_size_mm == 2000
    assert model.reconstruction.weak_perspective
    assert model.reconstruction.mix_3d_inside_fov == 0.25


def test_margipose_whose_settings_do_not_fit():
    def build(**changes):
        return builder.build_crop_model(ModelConfig(**{
            **MARGINAL, 'backbone': 'resnet18', **changes}))
    with pytest.raises(ValueError, match="`height_edges` must be pairs of joints.*'lfoo'"):
        build(height_edges=(('lfoo', 'lkne'),))
    with pytest.raises(ValueError, match='`stride_px` .16. must be the stride of `backbone`'):
        build(heatmap=HeatmapConfig(64, 16))
    with pytest.raises(ValueError, match='`n_inner_channels` must be a multiple of 4'):
        build(n_inner_channels=6)
    with pytest.raises(ValueError, match="`name` must be one of .*'inception_v4'"):
        build(backbone='inception_v4', top_down_channels=16)


def save_heatmap_network(path, **changes):
    model = builder.build_crop_model(ModelConfig(**{
        **HOURGLASS, 'depths': (1,), 'hourglass_variant': 'uniform', **changes}))
    model.save(str(path))
    return model


def test_the_models_of_coarse_to_fine(tmp_path):
    model = builder.build_crop_model(ModelConfig(
        **HOURGLASS, decoding='refined', bone_lengths_mm=LENGTHS))
    assert isinstance(model, models.CoarseToFine) and model.backbone.name.endswith('paper')
    assert model.depths == (1, 8) and model.bone_lengths_mm == LENGTHS
    assert (model.decoding, model.heatmap_config.stride_px) == ('refined', 4)
    assert [output.shape[-1] for output in model.backbone.outputs] == [24, 24 * 8]
    flat = save_heatmap_network(tmp_path / 'a.keras')
    assert not flat.is_absolute and flat.backbone.name.endswith('uniform')
    decoupled = builder.build_crop_model(ModelConfig(**{
        **HOURGLASS, 'kind': 'decoupled', 'heatmap_network': str(tmp_path / 'a.keras'),
        'bone_lengths_mm': LENGTHS}))
    assert isinstance(decoupled, models.Decoupled) and decoupled.depths == (1, 8)
    for saved, loaded in zip(
            flat.get_weights(), decoupled.heatmap_network.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, loaded)
    regression = builder.build_crop_model(ModelConfig(
        kind='coordinate_regression', backbone='hourglass', n_channels=8, n_levels=2,
        relative_to='parent', heatmap=HeatmapConfig(32, 16)))
    assert isinstance(regression, models.CoordinateRegression)
    assert regression.relative_to == 'parent' and regression.backbone.output_shape[1] == 2


def test_heatmap_networks_that_do_not_fit_are_refused(tmp_path):
    def build(path, **changes):
        return builder.build_crop_model(ModelConfig(**{
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


def through_npz(model, config, path):
    """The model from a file of weights with everything that is needed to build it."""
    np.savez(path, **weights.to_arrays(model, builder.describe(model, config)))
    return builder.load_file(path)


def check_equal(actual, expected):
    assert type(actual) is type(expected)
    found, wanted = weights.variables(actual), weights.variables(expected)
    assert set(found) == set(wanted)
    for name, variable in wanted.items():
        np.testing.assert_array_equal(found[name].numpy(), variable.numpy(), err_msg=name)
    side = expected.input_resolution
    inputs = {
        'image': np.random.default_rng(0).random((2, side, side, 3)).astype(np.float32),
        'intrinsics': np.tile(np.float32([[100, 0, 32], [0, 100, 32], [0, 0, 1]]), (2, 1, 1))}
    np.testing.assert_array_equal(actual(inputs), expected(inputs))


VOLUMES = {'backbone': 'compact_resnet', 'top_down_channels': 8, 'heatmap': HeatmapConfig(64, 8)}


@pytest.mark.parametrize('config', [
    ModelConfig(**VOLUMES, skeleton=HANDS, top_down_blocks=1),
    ModelConfig(**VOLUMES, kind='metro'),
    ModelConfig(**VOLUMES, kind='pose25d', bone_lengths_mm=LENGTHS),
    ModelConfig(**{**TINY, 'backbone': 'mobilenet_v3_small'}),
    ModelConfig(**TINY, weak_perspective=True, mix_3d_inside_fov=0.25),
    ModelConfig('compact_resnet', 0, heatmap=HeatmapConfig(64, 32, test_stride_px=16)),
    ModelConfig(**MARGINAL, backbone='resnet18', height_edges=(('lhip', 'lkne'),)),
    ModelConfig(**{**MARGINAL, **VOLUMES, 'kind': 'absolute_margipose', 'n_stages': 2}),
    ModelConfig(**HOURGLASS, bone_lengths_mm=LENGTHS),
    ModelConfig(**{**HOURGLASS, 'depths': (1,), 'hourglass_variant': 'uniform'}),
    ModelConfig(
        kind='coordinate_regression', backbone='hourglass', n_channels=8, n_levels=2,
        heatmap=HeatmapConfig(32, 16))], ids=lambda config: f'{config.kind}, {config.backbone}')
def test_every_kind_comes_back_from_its_weights(config, tmp_path):
    model = common.with_random_weights(builder.build_crop_model(config))
    check_equal(through_npz(model, config, tmp_path / 'crop_model.npz'), model)


@pytest.mark.parametrize('sizes', [
    {'depths': (1, 1), 'n_levels': 2},
    {'depths': (1,), 'hourglass_variant': 'uniform', 'n_channels': 12}])
def test_decoupled_models_need_no_file_of_their_first_network(sizes, tmp_path):
    save_heatmap_network(tmp_path / 'a.keras', **sizes)
    config = ModelConfig(**{
        **HOURGLASS, 'kind': 'decoupled', 'heatmap_network': str(tmp_path / 'a.keras'),
        'bone_lengths_mm': LENGTHS})
    model = common.with_random_weights(builder.build_crop_model(config))
    (tmp_path / 'a.keras').unlink()
    check_equal(through_npz(model, config, tmp_path / 'crop_model.npz'), model)
    description, _ = weights.read(tmp_path / 'crop_model.npz')
    assert description['model']['heatmap_network'] == 'a.keras'  # no path of a machine


def test_first_networks_may_come_from_weights(tmp_path):
    config = ModelConfig(**{**HOURGLASS, 'depths': (1,)})
    first = builder.build_crop_model(config)
    through_npz(first, config, tmp_path / 'first.npz')
    decoupled = builder.build_crop_model(ModelConfig(**{
        **HOURGLASS, 'kind': 'decoupled', 'heatmap_network': str(tmp_path / 'first.npz'),
        'bone_lengths_mm': LENGTHS}))
    for saved, loaded in zip(
            first.get_weights(), decoupled.heatmap_network.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, loaded)


@pytest.mark.parametrize('mode, model_cls', [
    ('direct', models.LatentMetrabs), ('hybrid', models.LatentMetrabs),
    ('regularized', models.Metrabs)])
def test_latent_points_need_no_file_of_the_autoencoder(mode, model_cls, tmp_path):
    path = tmp_path / 'latents.keras'
    models.AffineAutoencoder(HANDS.joint_names, 1, 1).save(path)
    config = ModelConfig(**VOLUMES, skeleton=HANDS, latent_mode=mode, autoencoder=str(path))
    model = common.with_random_weights(builder.build_crop_model(config))
    path.unlink()
    loaded = through_npz(model, config, tmp_path / 'crop_model.npz')
    assert type(loaded) is model_cls
    check_equal(loaded, model)


def test_files_of_first_weights_and_missing_bone_lengths_do_not_matter(tmp_path):
    """A training measures the lengths, and its config does not know them."""
    lengths = ModelConfig(**VOLUMES, kind='pose25d', bone_lengths_mm=LENGTHS)
    model = builder.build_crop_model(lengths)
    config = dataclasses.replace(
        lengths, bone_lengths_mm=None, backbone_weights='/home/someone/backbone.h5')
    check_equal(through_npz(model, config, tmp_path / 'crop_model.npz'), model)
    assert 'someone' not in json.dumps(builder.describe(model, config))


def test_a_config_of_another_model_is_refused():
    config = ModelConfig(**VOLUMES)
    model = builder.build_crop_model(config)
    for changes, message in (
            ({'kind': 'metro'}, 'Received: another class, Metrabs instead of Metro'),
            ({'skeleton': HANDS}, "another joint_names, .'pelv'.* instead of .'lhan'"),
            ({'mix_3d_inside_fov': 0.1}, 'another mix_3d_inside_fov, 0.5 instead of 0.1'),
            ({'top_down_blocks': 1}, "than `config` describes, which lacks '.*top_down_block0"),
            ({'top_down_channels': 4}, r"with '.*' of shape .* instead of \(")):
        with pytest.raises(ValueError, match=message):
            builder.describe(model, dataclasses.replace(config, **changes))


def test_descriptions_of_something_else_are_refused():
    message = '`description` must describe a crop model of this version'
    for description in ({}, {'model': 3}, {'model': {'heatmap': {'depth': 3}}}):
        with pytest.raises(ValueError, match=message):
            builder.build_described(description)


def test_files_of_other_models_are_refused(tmp_path):
    models.AffineAutoencoder(HANDS.joint_names, 1, 1).save(tmp_path / 'latents.keras')
    with pytest.raises(ValueError, match='must hold a crop model. Received: .*AffineAutoencoder'):
        builder.load_file(tmp_path / 'latents.keras')
