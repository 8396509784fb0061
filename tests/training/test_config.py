import dataclasses

import pytest

from metro_tf.config import HeatmapConfig
from training.config import LossConfig, ModelConfig, OptimizerConfig, TrainConfig
from training.detection.config import DetectorTrainConfig

TWO_STRIDES = ModelConfig(heatmap=HeatmapConfig(64, 32, test_stride_px=8), top_down_channels=0)


def make_config(**kwargs):
    return TrainConfig(**{
        'name': 'tiny', 'n_steps': 100, 'steps_per_epoch': 20, 'batch_size_3d': 4,
        'batch_size_2d': 2, 'warmup_steps': 0, **kwargs})


@pytest.mark.parametrize('kwargs, message', [
    ({'schedule': 'step'}, '`schedule` must be one of .* Received: schedule=.step.'),
    ({'epsilon': 0}, '`epsilon` must be a positive finite number. Received: epsilon=0'),
    ({'accumulation_steps': 0}, '`accumulation_steps` must be a positive integer. Received: .*0'),
    ({'accumulation_steps': 1.5}, '`accumulation_steps` must be a positive integer.*1.5'),
    ({'ema_momentum': 1.1}, '`ema_momentum` must be None or in .0, 1.. Received: .*1.1'),
    ({'loss_scale': -1.0}, '`loss_scale` must be a positive finite number. Received: .*-1.0'),
    ({'max_kernel_norm': 0}, '`max_kernel_norm` must be a positive .*max_kernel_norm=0'),
    ({'schedule': 'dual', 'accumulation_steps': 2}, "'dual' cannot be .*accumulation_steps=2"),
    ({'schedule': 'dual', 'ema_momentum': 0.9}, "'dual' cannot be combined.*ema_momentum=0.9"),
    ({'schedule': 'one_cycle', 'accumulation_steps': 2},
     "`accumulation_steps` must be left alone with the `schedule` 'one_cycle'.*steps=2"),
    ({'schedule': 'one_cycle', 'epsilon': 1e-3}, '`epsilon` must be left alone .*epsilon=0.001'),
    ({'schedule': 'one_cycle', 'decay_all_weights': True}, '`decay_all_weights` must be left'),
    ({'schedule': 'constant_rmsprop', 'epsilon': 1e-8},
     "`epsilon` must be left alone with the `schedule` 'constant_rmsprop'.*RMSprop.*=1e-08"),
    ({'schedule': 'constant_rmsprop', 'accumulation_steps': 2}, '`accumulation_steps` must be l')])
def test_bad_optimizer_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**kwargs)


@pytest.mark.parametrize('kwargs, message', [
    ({'clip_norm': 0}, '`clip_norm` must be a positive finite number. Received: clip_norm=0'),
    ({'weight_decay': -0.1}, '`weight_decay` must be a finite number, not negative. .*=-0.1'),
    ({'progress_bar': 'none'}, '`progress_bar` must be one of .* Received: progress_bar=.none.'),
    ({'steps_per_epoch': 30}, '`steps_per_epoch` must divide `n_steps`. Received: .*=30'),
    ({'warmup_steps': 5, 'optimizer': OptimizerConfig('two_phase')},
     '`warmup_steps` must be 0 unless .* Received: warmup_steps=5'),
    ({'optimizer': OptimizerConfig(loss_scale=128.0)},
     "`loss_scale` must be None unless .* Received: loss_scale=128.0, .*='float32'"),
    ({'optimizer': OptimizerConfig(accumulation_steps=4)},
     '`accumulation_steps` must divide `batch_size_2d`. Received: .*=4, batch_size_2d=2'),
    ({'optimizer': OptimizerConfig('one_cycle')},
     "`weight_decay` must be 0 with the `schedule` 'one_cycle'.*weight_decay=0.02"),
    ({'optimizer': OptimizerConfig('one_cycle'), 'weight_decay': 0.0, 'warmup_steps': 5},
     '`warmup_steps` must be 0 unless'),
    ({'optimizer': OptimizerConfig('constant_rmsprop')},
     "`weight_decay` must be 0 with the `schedule` 'constant_rmsprop', whose RMSprop does"),
    ({'optimizer': OptimizerConfig('constant_rmsprop'), 'weight_decay': 0.0, 'warmup_steps': 5},
     '`warmup_steps` must be 0 unless'),
    ({'ghost_batch_sizes': (4, 2), 'model': ModelConfig(kind='margipose')},
     r'`ghost_batch_sizes` must be \(\) for MargiPose.*ghost_batch_sizes=\(4, 2\)'),
    ({'own_share': 1.0}, '`own_share` must be between 0 and 1. Received: own_share=1.0'),
    ({'ghost_batch_sizes': (4, 3)}, '`ghost_batch_sizes` must .*micro-.batch, 6. Received: .*4, 3'),
    ({'ghost_batch_sizes': (6, 0)}, '`ghost_batch_sizes` must be positive'),
    ({'ghost_batch_sizes': (4, 2), 'optimizer': OptimizerConfig(accumulation_steps=2)},
     '`ghost_batch_sizes` must .*batch, 3. Received'),
    ({'frozen_batch_norm_steps': 30},
     '`frozen_batch_norm_steps` must be a multiple .* Received: frozen_batch_norm_steps=30'),
    ({'frozen_batch_norm_steps': 120}, 'at most `n_steps`. Received: .*=120'),
    ({'frozen_batch_norm_steps': -20}, 'at most `n_steps`. Received: .*=-20'),
    ({'frozen_batch_norm_steps': 20, 'model': TWO_STRIDES},
     '`frozen_batch_norm_steps` must be 0 with a `test_stride_px`.*test_stride_px=8')])
def test_bad_train_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_config(**kwargs)


def test_good_combinations_are_taken():
    config = make_config(
        clip_norm=None, mixed_precision='mixed_float16', ghost_batch_sizes=(2, 1),
        frozen_batch_norm_steps=100, optimizer=OptimizerConfig(
            'two_phase', accumulation_steps=2, loss_scale=128.0, ema_momentum=1.0))
    assert not config.optimizer.averages_weights
    assert OptimizerConfig(ema_momentum=0.99).averages_weights
    assert dataclasses.replace(config, frozen_batch_norm_steps=20)


def test_blocks_need_a_top_down_path():
    with pytest.raises(ValueError, match='`top_down_blocks` must be 0 .*top_down_blocks=2'):
        ModelConfig(top_down_channels=0, top_down_blocks=2)


def test_a_detector_shares_the_checks():
    with pytest.raises(ValueError, match='`max_kernel_norm` must be None for a detector.*=20.0'):
        DetectorTrainConfig('tiny', optimizer=OptimizerConfig(max_kernel_norm=20.0))
    with pytest.raises(ValueError, match='`accumulation_steps` must divide `batch_size`. '):
        DetectorTrainConfig('tiny', batch_size=3, optimizer=OptimizerConfig(accumulation_steps=2))
    with pytest.raises(ValueError, match="`schedule` of a detector must not be 'dual'"):
        DetectorTrainConfig('tiny', warmup_steps=0, optimizer=OptimizerConfig('dual'))
    with pytest.raises(ValueError, match='`clip_norm` must be a positive'):
        DetectorTrainConfig('tiny', clip_norm=-1.0)


@pytest.mark.parametrize('make, message', [
    (lambda: LossConfig(generation='R21'), '`generation` must be one of .* Received: .*R21'),
    (lambda: LossConfig(reduction='sum'), '`reduction` must be one of .* Received: .*sum'),
    (lambda: LossConfig(relative=-1.0), '`relative` must be a finite number from 0 on. .*-1.0'),
    (lambda: LossConfig(image=float('nan')), '`image` must be a finite number .* Received: .*nan')])
def test_bad_settings_of_losses_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_setting_is_an_error():
    with pytest.raises(TypeError, match='unexpected keyword argument .absolut.'):
        LossConfig(absolut=1.0)
