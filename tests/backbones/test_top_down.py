import keras
import numpy as np
import pytest
import tensorflow as tf

from metro_tf.backbones import builder, top_down
from tests.backbones import probes


def random_images(side=64):
    return np.random.default_rng(0).random((2, side, side, 3)).astype(np.float32)


@pytest.mark.parametrize('output_stride', [4, 8, 16])
def test_features(output_stride):
    model = top_down.build_top_down('mobilenet_v3_small', output_stride, n_channels=24)
    features = model(random_images())
    assert features.shape == (2, 64 // output_stride, 64 // output_stride, 24)
    assert np.std(features) > 0


def test_revives_and_trains(tmp_path):
    model = top_down.build_top_down('mobilenet_v3_small', 8, n_channels=16, n_refinements=2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(random_images(), training=True)))
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert np.all(np.isfinite(gradient))
    model.save(tmp_path / 'model.keras')
    revived = keras.models.load_model(tmp_path / 'model.keras')
    np.testing.assert_allclose(revived(random_images()), model(random_images()), atol=1e-5)


def test_all_levels_count():
    """A pixel change is felt at once nearby and, through the coarse levels, far away."""
    keras.utils.set_random_seed(0)
    model = top_down.build_top_down('mobilenet_v3_small', 8, n_channels=16)
    taps = [top_down.find_layer(model, name).output
            for stride, name in builder.FAMILIES['mobilenet_v3_small'].taps.items() if stride > 4]
    shapes = [keras.Model(model.input, tap)(random_images()).shape[1] for tap in taps]
    assert shapes == [8, 4]
    images = random_images(256)
    changed = images.copy()
    changed[:, :8, :8] = 1 - changed[:, :8, :8]
    difference = np.abs(model(changed) - model(images)).max((0, 3))
    assert difference[0, 0] > 0 and difference[16, 16] > 0


def test_momentum_reaches_all_normalisations():
    model = top_down.build_top_down(
        'mobilenet_v3_small', 8, n_channels=16, n_refinements=2, n_blocks=1, bn_momentum=0.98)
    norms = [layer for layer in model.layers
             if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 34 + 3 + 4 + 2 and {norm.momentum for norm in norms} == {0.98}


def test_blocks_come_last_and_begin_as_the_identity():
    model = top_down.build_top_down('mobilenet_v3_small', 8, n_channels=16, n_blocks=2)
    assert tuple(model.output_shape) == (None, None, None, 16)
    before = model.get_layer('refine_0_relu').output
    values = keras.Model(model.input, [before, model.output])(random_images())
    assert np.std(values[0]) > 0
    np.testing.assert_array_equal(values[0], values[1])
    convs = [model.get_layer(f'top_down_block{i}_{name}_conv')
             for i in (0, 1) for name in ('first', 'second')]
    assert {conv.get_weights()[0].shape for conv in convs} == {(3, 3, 16, 16)}


def test_weights_are_those_of_the_backbone(tmp_path):
    source = builder.build_backbone('mobilenet_v3_small')
    path = str(tmp_path / 'backbone.weights.h5')
    source.save_weights(path)
    model = top_down.build_top_down('mobilenet_v3_small', 8, n_channels=16, weights=path)
    loaded = {weight.shape[-1]: weight for weight in top_down.find_layer(
        model, 'expanded_conv_2_project').get_weights()}
    wanted = top_down.find_layer(source, 'expanded_conv_2_project').get_weights()
    np.testing.assert_array_equal(loaded[24], wanted[0])


@pytest.mark.parametrize('name', probes.families())
def test_taps_exist_in_all_families(name, releases_graphs):
    backbone = probes.restrided(name, 32)
    for stride, layer_name in builder.FAMILIES[name].taps.items():
        tap = top_down.find_layer(backbone, layer_name).output
        features = keras.Model(backbone.input, tap)(random_images())
        assert features.shape[1:3] == (64 // stride, 64 // stride)


def test_refusals():
    with pytest.raises(ValueError, match='`output_stride` must be one of'):
        top_down.build_top_down('mobilenet_v3_small', 32)
    with pytest.raises(ValueError, match='`n_channels` must be a positive'):
        top_down.build_top_down('mobilenet_v3_small', n_channels=0)
    with pytest.raises(ValueError, match='`name` must be a layer of the backbone'):
        top_down.find_layer(keras.Sequential(), 'x')
