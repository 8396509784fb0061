import keras
import numpy as np
import pytest

from training import schedules
from training.config import OptimizerConfig, TrainConfig


def test_values_at_the_corners():
    schedule = schedules.WarmupCosine(0.5, n_steps=110, warmup_steps=10, final_fraction=0.02)
    actual = [float(schedule(step)) for step in (0, 4, 10, 60, 110, 500)]
    np.testing.assert_allclose(actual, [0.05, 0.25, 0.5, 0.255, 0.01, 0.01], rtol=1e-5)


def test_revives_from_its_config():
    schedule = schedules.WarmupCosine(0.1, 50, 5)
    config = keras.optimizers.schedules.serialize(schedule)
    assert keras.optimizers.schedules.deserialize(config).get_config() == schedule.get_config()


def test_refuses_a_warmup_as_long_as_the_run():
    with pytest.raises(ValueError, match='`warmup_steps` must be in .0, n_steps.'):
        schedules.WarmupCosine(0.1, n_steps=10, warmup_steps=10)


def test_two_phases_of_metrabs():
    schedule = schedules.TwoPhaseDecay(0.3, n_steps=1000)
    # 460 is half of the first phase: 0.3 / sqrt(3). Then b / 30, and b / 100 at the end.
    actual = [float(schedule(step)) for step in (0, 460, 919.999, 920, 960, 1000)]
    np.testing.assert_allclose(
        actual, [0.3, 0.173205, 0.1, 0.01, 0.01 * np.sqrt(0.3), 0.003], rtol=1e-4)


def test_dual_schedules_of_metrabs():
    heads, backbone = schedules.make_dual_schedules(0.3, n_steps=1000)
    np.testing.assert_allclose(
        [float(heads(step)) for step in (0, 250, 500, 1000)], [0.3, 0.173205, 0.01, 0.003],
        rtol=1e-4)
    np.testing.assert_allclose(
        [float(backbone(step)) for step in (0, 500, 1000)], [0.01, 0.01 * np.sqrt(0.3), 0.003],
        rtol=1e-4)


@pytest.mark.parametrize('name, values', [
    ('warmup_cosine', [0.1, 0.2, 0.2 * 0.505, 0.002]),
    ('two_phase', [0.2, 0.2 * 3 ** (-1 / 92), 0.2 * 3 ** (-51 / 92), 0.2 / 30 * 0.3 ** (9 / 8)])])
def test_config_chooses_the_schedule(name, values):
    warmup_steps = {'warmup_cosine': 2, 'two_phase': 0}[name]
    config = TrainConfig(
        name='', n_steps=100, steps_per_epoch=50, learning_rate=0.2, warmup_steps=warmup_steps,
        optimizer=OptimizerConfig(schedule=name))
    schedule = schedules.make_schedule(config)
    np.testing.assert_allclose(
        [float(schedule(step)) for step in (0, 1, 51, 101)], values, rtol=1e-5)


def test_two_phases_revive_and_refuse_an_impossible_fraction():
    schedule = schedules.TwoPhaseDecay(0.1, 50, 0.5)
    config = keras.optimizers.schedules.serialize(schedule)
    assert keras.optimizers.schedules.deserialize(config).get_config() == schedule.get_config()
    with pytest.raises(ValueError, match='`first_fraction` must be in .0, 1.. Received: .*=1'):
        schedules.TwoPhaseDecay(0.1, 50, 1)


def test_one_cycle_at_its_milestones():
    schedule = schedules.OneCycle(2.0, n_steps=101)
    # Steps are counted from 1. The milestones are 1, 45.45, 90.9 and 101; 23.225 is halfway up.
    finished = [0, 22.225, 44.45, 89.9, 100, 500]
    np.testing.assert_allclose(
        [float(schedule(step)) for step in finished], [0.2, 1.1, 2.0, 0.2, 2e-4, 2e-4], rtol=1e-3)
    np.testing.assert_allclose(
        [float(schedule.momentum(step)) for step in finished],
        [0.9, 0.875, 0.85, 0.9, 0.9, 0.9], rtol=1e-5)
    revived = keras.optimizers.schedules.deserialize(
        keras.optimizers.schedules.serialize(schedule))
    assert isinstance(revived, schedules.OneCycle)
    assert revived.get_config() == {'peak': 2.0, 'n_steps': 101}


def test_one_cycle_needs_three_steps():
    assert np.isfinite(float(schedules.OneCycle(1.0, 3)(2)))
    with pytest.raises(ValueError, match='`n_steps` must be at least 3. Received: n_steps=2'):
        schedules.OneCycle(1.0, 2)
