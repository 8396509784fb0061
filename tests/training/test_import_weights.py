"""The program, on releases that the tests write."""

import sys

import numpy as np
import pytest

from metro_tf import models
from tests.backbones import probes
from tests.training.original_weights import numpy_networks, released_files, tiny_networks
from training import import_weights
from training.original_weights import layouts

NAMES = ('pelv_a', 'lhip_a', 'rhip_a', 'pelv_b', 'lhip_b', 'rhip_b')
EDGES = ((0, 1), (0, 2), (3, 4), (3, 5))
SKELETONS = {'b_3': (('pelv', 'rhip', 'lhip'), (3, 5, 4))}
N_DEPTH = 8


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    """A SavedModel of a MobileNetV3 small of six joints, and its weights."""
    name = 'mobilenet_v3_small_1024'
    tensors = tiny_networks.random_weights(
        probes.restrided(name, 32), layouts.LAYOUTS[name], n_joints=6, n_depth=N_DEPTH)
    folder = tmp_path_factory.mktemp('release') / 'model'
    released_files.write_saved_model(folder, tensors, NAMES, EDGES, 128, SKELETONS)
    return folder, tensors


def run(monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', ['import_weights', *map(str, args)])
    import_weights.main()


@pytest.mark.parametrize('suffix', ['npz', 'keras'])
def test_a_saved_model_becomes_a_crop_model(release, tmp_path, monkeypatch, capsys, suffix):
    folder, tensors = release
    out = tmp_path / 'new' / f'crop_model.{suffix}'
    run(monkeypatch, folder, '--skeleton', 'b_3', '--out', out)
    printed = capsys.readouterr().out
    assert f'{len(tensors)} weights of mobilenet_v3_small_1024 and its heads taken over' in printed
    assert '3 of 6 joints: pelv rhip lhip\n' in printed and f'Wrote {out}' in printed
    model = models.load_crop_model(out)
    assert isinstance(model, models.Metrabs) and model.input_resolution == 128
    assert model.skeleton.joint_names == ('pelv', 'rhip', 'lhip')
    assert model.skeleton.edges == ((0, 2), (0, 1))
    images = np.random.default_rng(1).random((2, 128, 128, 3), np.float32)
    features = numpy_networks.mobilenet_v3_small(tensors, images)
    channels = features @ tensors['heatmap_heads/conv_final/kernel'][0, 0]
    channels += tensors['heatmap_heads/conv_final/bias']
    logits2d, logits3d = model.predict_logits(images)
    scale = np.std(channels)
    np.testing.assert_allclose(logits2d, channels[..., [3, 5, 4]], atol=1e-4 * scale)
    np.testing.assert_allclose(
        logits3d[..., -1, :], channels[..., [51, 53, 52]], atol=1e-4 * scale)
    poses = model({'image': images, 'intrinsics': np.float32([np.diag([100, 100, 1])] * 2)})
    assert poses.shape == (2, 3, 3) and np.all(np.isfinite(poses))


def test_an_unshifted_backbone_is_decoded_as_a_shifted_one(release, tmp_path, monkeypatch):
    out = tmp_path / 'crop_model.keras'
    run(monkeypatch, release[0], '--skeleton', 'b_3', '--unshifted', '--out', out)
    model = models.load_crop_model(out)
    assert model.heatmap_config.centered
    paddings = {layouts.recent_name(layer.name): layer.explicit_padding
                for layer in model.backbone.layers
                if hasattr(layer, 'explicit_padding')}
    assert paddings['expanded_conv_8_depthwise'] == (2, 2) and paddings['conv'] == (0, 1)


def test_refusals(release, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match='`out` must end in .keras for an unshifted backbone. Rec'):
        run(monkeypatch, release[0], '--unshifted', '--out', tmp_path / 'a.npz')
    with pytest.raises(ValueError, match='`out` must end in .npz or .keras. Received: out=a.h5'):
        run(monkeypatch, release[0], '--out', 'a.h5')
    with pytest.raises(ValueError, match='`path` must be a folder or file that exists'):
        run(monkeypatch, tmp_path / 'none', '--out', 'a.npz')
    with pytest.raises(ValueError, match=r"several times \['lhip', 'pelv', 'rhip'\]; .*\['b_3'\]"):
        run(monkeypatch, release[0], '--out', 'a.npz')


def test_pytorch_needs_the_side_of_the_crop(tmp_path):
    folder = tmp_path / 'model'
    tensors = {'backbone.1.0.0.weight': np.zeros([24, 3, 3, 3], np.float32),
               'heatmap_heads.conv_final.bias': np.zeros(27, np.float32)}
    released_files.write_torch_folder(folder, tensors, ['pelv', 'lhip', 'rhip'], EDGES[:2])
    with pytest.raises(ValueError, match='`crop_side_px` must be given for a release that does'):
        import_weights.import_crop_model(folder)


@pytest.mark.slow
def test_a_torch_folder_becomes_a_crop_model(tmp_path):
    table = layouts.LAYOUTS['efficientnet_v2_s']
    tensors = tiny_networks.random_weights(
        probes.restrided('efficientnet_v2_s', 32), table, n_joints=6, n_depth=N_DEPTH)
    rows = {name: (row, i) for row in [*table, layouts.HEADS]
            for i, name in enumerate(row.source_names(layouts.TENSORFLOW))}
    renamed = {
        rows[name][0].source_names(layouts.PYTORCH)[rows[name][1]]:
            released_files.to_torch(name, value) for name, value in tensors.items()}
    renamed['backbone.1.0.1.num_batches_tracked'] = np.array(7, np.int64)
    folder = tmp_path / 'model'
    released_files.write_torch_folder(folder, renamed, NAMES, EDGES, SKELETONS)
    model, config, summary = import_weights.import_crop_model(
        folder, convention='b_3', crop_side_px=64)
    assert config.backbone == 'efficientnet_v2_s' and config.bn_momentum == 0.9
    assert 'no weights, not read: backbone.1.0.1.num_batches_tracked' in summary
    images = np.random.default_rng(1).random((1, 64, 64, 3), np.float32)
    expected = numpy_networks.efficientnet_v2(
        tensors, images, numpy_networks.efficientnet_v2_s_blocks())
    np.testing.assert_allclose(model.backbone(images), expected, atol=1e-4 * np.std(expected))
