import dataclasses
import sys

import keras
import numpy as np
import pytest

from metro_tf import models
from metro_tf.config import HeatmapConfig
from metro_tf.models import builder
from tests.models import common
from training import extend, layer_weights
from training.config import ModelConfig

CONFIG = ModelConfig(
    backbone='compact_resnet', top_down_channels=8, heatmap=HeatmapConfig(64, 8))
CONFIG_FILE = '''
from metro_tf.config import HeatmapConfig
from training.config import ModelConfig, TrainConfig


def config():
    return TrainConfig(name='larger', model=ModelConfig(
        backbone='compact_resnet', top_down_channels=8, top_down_blocks=2,
        heatmap=HeatmapConfig(64, 8)))
'''


def make_backbone():
    image = keras.Input((None, None, 3), name='image')
    x = keras.layers.AveragePooling2D(common.STRIDE)(image)
    return keras.Model(image, keras.layers.Conv2D(6, 3, padding='same', name='conv')(x))


@pytest.mark.parametrize('model_cls', [models.Metrabs, models.Metro, models.Pose25D])
def test_kept_joints_are_predicted_as_before(model_cls):
    extra = common.EXTRA_SETTINGS.get(model_cls, {})
    old = common.with_random_weights(model_cls(make_backbone(), **{**common.SETTINGS, **extra}))
    names, edges = ('lkne', 'rsho', 'pelv', 'rkne', 'neck'), ((0, 2), (2, 4), (4, 1))
    new = model_cls(make_backbone(), **{
        **common.SETTINGS, 'joint_names': names, 'edges': edges, **extra})
    note = extend.take_over(new, old)
    assert 'joints taken over: rsho, pelv, neck\nnew joints: lkne, rkne' in note
    assert 'joints left out: lsho' in note
    inputs = common.make_inputs()
    kept_old, kept_new = [3, 0, 1], [1, 2, 4]
    outputs_old, outputs_new = (model.predict_heatmaps(inputs) for model in (old, new))
    for name, values in outputs_old.items():
        if name in ('coords2d', 'coords3d_rel', 'coords25d'):
            np.testing.assert_allclose(
                outputs_new[name].numpy()[:, kept_new], values.numpy()[:, kept_old], rtol=1e-5,
                atol=1e-3)
        if name.startswith('logits'):
            np.testing.assert_allclose(
                outputs_new[name].numpy()[..., kept_new], values.numpy()[..., kept_old], atol=1e-5)


def test_new_blocks_leave_the_features_as_they_are():
    old = common.with_random_weights(builder.build_crop_model(CONFIG))
    new = builder.build_crop_model(dataclasses.replace(CONFIG, top_down_blocks=2))
    note = extend.take_over(new, old)
    assert 'new blocks: top_down_block0, top_down_block1\nblocks left out: none' in note
    inputs = common.make_inputs(2)
    for name, values in old.predict_heatmaps(inputs).items():
        if name != 'coords3d_cam':  # badly conditioned without training
            np.testing.assert_allclose(
                new.predict_heatmaps(inputs)[name], values, rtol=1e-5, atol=1e-5)
    back = builder.build_crop_model(CONFIG)
    assert 'blocks left out: top_down_block0, top_down_block1' in extend.take_over(back, new)
    for weight, expected in zip(back.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_the_strides_may_differ():
    """A finished model of stride 32 gets stride 4 outside of training."""
    plain = dataclasses.replace(CONFIG, top_down_channels=0)
    old, new = (
        builder.build_crop_model(dataclasses.replace(plain, heatmap=heatmap))
        for heatmap in (HeatmapConfig(64, 32), HeatmapConfig(64, 32, test_stride_px=4)))
    extend.take_over(new, common.with_random_weights(old))
    for weight, expected in zip(new.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    image = common.make_inputs(2)['image']
    assert new.predict_logits(image)[0].shape == (2, 16, 16, 24)
    coarse = [model.predict_logits(image, training=True)[1] for model in (old, new)]
    assert coarse[0].shape == (2, 2, 2, 8, 24)
    np.testing.assert_allclose(coarse[1], coarse[0], rtol=1e-3, atol=1e-3)


def test_a_top_down_path_has_one_stride():
    heatmap = HeatmapConfig(64, 8, test_stride_px=4)
    with pytest.raises(ValueError, match='`test_stride_px` must be None with a top-down path'):
        builder.build_crop_model(dataclasses.replace(CONFIG, heatmap=heatmap))


def test_other_differences_are_errors_that_name_the_layer():
    old = builder.build_crop_model(CONFIG)
    wider = builder.build_crop_model(dataclasses.replace(CONFIG, top_down_channels=6))
    with pytest.raises(ValueError, match='`old_model` must have the features and depth cells'):
        extend.take_over(wider, old)
    with pytest.raises(ValueError, match=r'layer lateral_32 with the shapes \[\(1, 1, 192, 8\)\] '):
        layer_weights.take_over_layers(wider.backbone, old.backbone)
    image = keras.Input((64, 64, 3))
    smaller = keras.Model(image, keras.layers.Conv2D(3, 1, name='lateral_32')(image))
    with pytest.raises(ValueError, match='layer lateral_16 is missing in the finished model'):
        layer_weights.take_over_layers(old.backbone, smaller)
    with pytest.raises(ValueError, match='layer lateral_16 is missing in the new model'):
        layer_weights.take_over_layers(smaller, old.backbone)
    with pytest.raises(ValueError, match='must be a Metro as the new model. Received: Metrabs'):
        extend.take_over(common.make_model(models.Metro), old)


def test_a_part_of_a_block_is_no_block():
    def make(names):
        image = x = keras.Input((4, 4, 2))
        for name in names:
            x = keras.layers.Conv2D(2, 1, name=name)(x)
        return keras.Model(image, x)

    with pytest.raises(ValueError, match='layer a_block0_second_conv is missing in the finished'):
        layer_weights.take_over_layers(
            make(['a_block0_first_conv', 'a_block0_second_conv']), make(['a_block0_first_conv']))


def test_layers_of_nested_models_count():
    image = keras.Input((4, 4, 2))
    inner = keras.Model(image, keras.layers.Conv2D(2, 1, name='in')(image))
    outer_image = keras.Input((4, 4, 2))
    x = keras.layers.ReLU()(inner(outer_image))
    outer = keras.Model(outer_image, keras.layers.Conv2D(2, 1, name='out')(x))
    assert list(layer_weights.weighted_layers(outer)) == ['in', 'out']
    clashing = keras.Model(outer_image, keras.layers.Conv2D(2, 1, name='in')(x))
    with pytest.raises(ValueError, match=r"distinct names. Received: several \['in'\]"):
        layer_weights.weighted_layers(clashing)


def test_program(tmp_path, monkeypatch, capsys):
    old = common.with_random_weights(builder.build_crop_model(CONFIG))
    old.save(tmp_path / 'finished.keras')
    (tmp_path / 'larger.py').write_text(CONFIG_FILE)
    monkeypatch.setattr(sys, 'argv', [
        'extend', '--start-from', str(tmp_path / 'finished.keras'),
        '--config', str(tmp_path / 'larger.py'), '--out', str(tmp_path / 'first.keras')])
    extend.main()
    assert 'new blocks: top_down_block0, top_down_block1' in capsys.readouterr().out
    first = models.load_crop_model(tmp_path / 'first.keras')
    image = common.make_inputs(1)['image']
    for actual, expected in zip(
            first.predict_logits(image), old.predict_logits(image), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
