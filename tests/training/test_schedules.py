import keras
import numpy as np
import pytest

from training import schedules


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
