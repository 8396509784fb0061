"""Settings for all tests: TensorFlow's start-up notes are hidden, random numbers repeat."""

import gc
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import keras  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def pytest_collection_finish():
    """Spares what is loaded by now, modules above all, from every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope='module')
def _graphs_released():
    """Frees the networks and graphs of a module's tests: those of all would take gigabytes."""
    yield
    keras.backend.clear_session()
    gc.collect()


@pytest.fixture(autouse=True, scope='module')
def _graphs_as_written():
    """Leaves out TensorFlow's optimiser of graphs: most run once, and take less time than it.

    Tests of exports, where it matters, take it back in.
    """
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})
    yield
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': False})


@pytest.fixture
def dtype_policy():
    """Function that sets the global dtype policy until the end of the test."""
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy('float32')
