"""Networks with imported weights compute what the release computes."""

import re

import numpy as np
import pytest

from metro_tf import skeleton as skeleton_lib
from tests.backbones import probes
from tests.training.original_weights import numpy_networks, released_files, tiny_networks
from training.original_weights import joints, layouts, release, transfer

NAMES = ('lhip', 'rhip', 'pelv')
EDGES = ((2, 0), (2, 1))
ALL = joints.Selection(skeleton_lib.Skeleton(NAMES, EDGES), (0, 1, 2), 3)


def images(side=tiny_networks.SIDE):
    return np.random.default_rng(1).random((2, side, side, 3), np.float32)


def tiny_release(naming=layouts.TENSORFLOW, **changes):
    """A release of the tiny network: the weights in TensorFlow's form, and the `Release`."""
    tensors = {**tiny_networks.random_weights(
        tiny_networks.metrabs(NAMES, EDGES).backbone, tiny_networks.TABLE, 3), **changes}
    tensors = {name: value for name, value in tensors.items() if value is not None}
    if naming == layouts.TENSORFLOW:
        return tensors, release.Release(naming, tensors)
    return tensors, release.Release(naming, {
        tiny_networks.torch_name(name): released_files.to_torch(name, value)
        for name, value in tensors.items()})


@pytest.mark.parametrize('naming', [layouts.TENSORFLOW, layouts.PYTORCH])
@pytest.mark.parametrize('centred_stride, blocks', [
    (None, tiny_networks.BLOCKS), (0, tiny_networks.UNSHIFTED_BLOCKS)])
def test_features_of_an_efficientnet(naming, centred_stride, blocks):
    tensors, found = tiny_release(naming)
    model = tiny_networks.metrabs(NAMES, EDGES, centred_stride)
    n_weights = transfer.take_over(model, tiny_networks.TABLE, found, ALL)
    assert n_weights == len(tensors) == len(model.backbone.weights) + 2
    expected = numpy_networks.efficientnet_v2(tensors, images(), blocks)
    assert expected.shape == (2, 8, 8, 1280) and np.std(expected) > 0.05
    np.testing.assert_allclose(model.backbone(images()), expected, atol=1e-4)


def test_the_shift_is_seen():
    tensors, _ = tiny_release()
    shifted, unshifted = (
        numpy_networks.efficientnet_v2(tensors, images(), blocks)
        for blocks in (tiny_networks.BLOCKS, tiny_networks.UNSHIFTED_BLOCKS))
    assert np.abs(shifted - unshifted).max() > 0.1


def test_logits_are_ours():
    """2D heatmaps come first, then all joints of the first depth."""
    tensors, found = tiny_release()
    model = tiny_networks.metrabs(NAMES, EDGES)
    transfer.take_over(model, tiny_networks.TABLE, found, ALL)
    features = numpy_networks.efficientnet_v2(tensors, images(), tiny_networks.BLOCKS)
    channels = features @ tensors['heatmap_heads/conv_final/kernel'][0, 0]
    channels += tensors['heatmap_heads/conv_final/bias']
    logits2d, logits3d = model.predict_logits(images())
    np.testing.assert_allclose(logits2d, channels[..., :3], atol=2e-3)
    for i_depth in range(tiny_networks.N_DEPTH):
        first = 3 + 3 * i_depth
        np.testing.assert_allclose(
            logits3d[..., i_depth, :], channels[..., first:first + 3], atol=2e-3)


def test_selected_joints_keep_their_heatmaps():
    _, found = tiny_release()
    whole = tiny_networks.metrabs(NAMES, EDGES)
    transfer.take_over(whole, tiny_networks.TABLE, found, ALL)
    part = tiny_networks.metrabs(('pelv', 'lhip'), ((0, 1),))
    selection = joints.Selection(part.skeleton, (2, 0), 3)
    transfer.take_over(part, tiny_networks.TABLE, found, selection)
    for ours, wanted in zip(part.predict_logits(images()), whole.predict_logits(images())):
        np.testing.assert_allclose(ours, np.asarray(wanted)[..., [2, 0]], atol=1e-5)


def test_number_of_depths():
    _, found = tiny_release()
    assert transfer.n_depth_cells(found, 3) == tiny_networks.N_DEPTH
    with pytest.raises(ValueError, match='Received: 15 channels for 4 joints'):
        transfer.n_depth_cells(found, 4)
    with pytest.raises(ValueError, match='Received: 15 channels for 15 joints'):
        transfer.n_depth_cells(found, 15)
    with pytest.raises(ValueError, match='Received: no heatmap_heads/conv_final/bias among 0'):
        transfer.n_depth_cells(release.Release(layouts.TENSORFLOW, {}), 3)


def test_all_that_does_not_fit_is_listed_and_nothing_is_changed():
    model = tiny_networks.metrabs(NAMES, EDGES)
    before = model.get_weights()
    _, found = tiny_release(**{
        'stem/conv2d/kernel': None, 'blocks_0/conv2d/kernel': None,
        'blocks_4/se/conv2d/bias': np.zeros(7, np.float32), 'blocks_9/x': np.zeros(1, np.float32)})
    n_wanted = len(before)
    with pytest.raises(ValueError, match=re.escape(
            f'Received: {n_wanted - 3} of {n_wanted} fit; '
            '2 missing: blocks_0/conv2d/kernel, stem/conv2d/kernel; 1 left over: blocks_9/x; '
            '1 of another shape: blocks_4/se/conv2d/bias (7,) instead of (6,)')):
        transfer.take_over(model, tiny_networks.TABLE, found, ALL)
    for value, wanted in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_kernels_of_the_other_axis_order_are_refused():
    """Kernels of TensorFlow under the names of PyTorch; all but vectors are noticed."""
    tensors, _ = tiny_release()
    found = release.Release(layouts.PYTORCH, {
        tiny_networks.torch_name(name): value for name, value in tensors.items()})
    with pytest.raises(ValueError, match=(
            r'57 of 75 fit; 18 of another shape: backbone\.1\.0\.0\.weight')):
        transfer.take_over(tiny_networks.metrabs(NAMES, EDGES), tiny_networks.TABLE, found, ALL)


def test_tables_must_be_in_order():
    _, found = tiny_release()
    table = [*tiny_networks.TABLE[:2], *tiny_networks.TABLE[4:6], *tiny_networks.TABLE[2:4],
             *tiny_networks.TABLE[6:]]
    with pytest.raises(ValueError, match='must have the layers of the backbone in their order'):
        transfer.take_over(tiny_networks.metrabs(NAMES, EDGES), table, found, ALL)


def with_random_weights(backbone, table):
    tensors = tiny_networks.random_weights(backbone, table, n_joints=3)
    layers = [layer for layer in backbone.layers if layer.weights]
    for layer, row in zip(layers, table, strict=True):
        layer.set_weights([tensors[name] for name in row.source_names(layouts.TENSORFLOW)])
    return tensors


def test_features_of_a_mobilenet():
    backbone = probes.restrided('mobilenet_v3_small_1024', 32)
    tensors = with_random_weights(backbone, layouts.LAYOUTS['mobilenet_v3_small_1024'])
    expected = numpy_networks.mobilenet_v3_small(tensors, images(128))
    assert expected.shape == (2, 4, 4, 1024) and np.std(expected) > 0.05
    np.testing.assert_allclose(backbone(images(128)), expected, atol=1e-4 * np.std(expected))


@pytest.mark.slow
def test_features_of_efficientnet_v2_s():
    backbone = probes.restrided('efficientnet_v2_s', 32)
    tensors = with_random_weights(backbone, layouts.LAYOUTS['efficientnet_v2_s'])
    expected = numpy_networks.efficientnet_v2(
        tensors, images(), numpy_networks.efficientnet_v2_s_blocks())
    assert expected.shape == (2, 2, 2, 1280) and np.std(expected) > 0.05
    np.testing.assert_allclose(backbone(images()), expected, atol=1e-4 * np.std(expected))


@pytest.mark.parametrize('name', [
    'mobilenet_v3_small_1024', 'mobilenet_v3_large_1280',
    *[pytest.param(name, marks=pytest.mark.slow)
      for name in ('efficientnet_v2_s', *probes.HEAVY)]])
def test_tables_are_those_of_our_backbones(name, releases_graphs):
    layers = [layer for layer in probes.restrided(name, 32).layers if layer.weights]
    rows = layouts.LAYOUTS[name]
    assert [layouts.recent_name(layer.name) for layer in layers] == [row.name for row in rows]
    n_weights = [len(row.source_names(layouts.TENSORFLOW)) for row in rows]
    assert n_weights == [len(layer.weights) for layer in layers]
