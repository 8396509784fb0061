import keras
import pytest


@pytest.fixture
def dtype_policy():
    """Function that sets the global dtype policy until the end of the test."""
    before = keras.mixed_precision.global_policy() if hasattr(
        keras.mixed_precision, 'global_policy') else keras.mixed_precision.dtype_policy()
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy(before)
