"""Settings for all tests: TensorFlow's start-up notes are hidden, random numbers repeat."""

import dataclasses
import functools
import gc
import os
import random

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import keras  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.python.framework import ops  # noqa: E402

from metro_tf.backbones import builder, hourglass  # noqa: E402
from tests.backbones import probes  # noqa: E402

PUBLISHED_N_MODULES = hourglass._N_MODULES


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope='module')
def _graphs_released():
    """Frees the networks and graphs of the tests before: those of all would take gigabytes.

    What lives on, modules above all, is spared from later garbage collections, each of which would
    look at all of it.
    """
    for kept in (probes.network, probes.restrided_probe):
        kept.cache_clear()
    release_graphs()
    gc.freeze()


@pytest.fixture
def releases_graphs():
    """Frees what a test of a large network leaves, for a module that has several."""
    yield
    release_graphs()


@pytest.fixture(autouse=True, scope='module')
def _graphs_as_written():
    """Leaves out TensorFlow's optimiser of graphs: most run once, and take less time than it.

    Tests of exports, where it matters, take it back in.
    """
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})
    yield
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': False})


@pytest.fixture(autouse=True, scope='session')
def _published_networks_kept():
    """Backbones are rebuilt from published networks, which take as long to build: once, then.

    Only their structure matters. The heavy ones are not kept: they take half a gigabyte.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, family in builder.FAMILIES.items():
            if name not in probes.HEAVY:
                monkeypatch.setitem(builder.FAMILIES, name, dataclasses.replace(
                    family, make_network=_kept(family.make_network)))
        yield


@pytest.fixture(autouse=True, scope='module')
def _thin_hourglasses():
    """Builds hourglasses from single modules instead of three in a row: as good, where it is not
    the network that is tested.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(hourglass, '_N_MODULES', 1)
        yield


@pytest.fixture
def published_hourglasses(monkeypatch):
    """Takes `_thin_hourglasses` back for one test."""
    monkeypatch.setattr(hourglass, '_N_MODULES', PUBLISHED_N_MODULES)


def release_graphs():
    """Frees networks and graphs that nobody uses any more.

    TensorFlow keeps the gradients of `tf.custom_gradient` in a registry for ever, and with each its
    whole graph (tensorflow/tensorflow#97697); every swish has one. They are taken out here.
    """
    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith('CustomGradient-')]:
        del registered[name]
    keras.backend.clear_session()
    gc.collect()


def _kept(make_network):
    """Function that makes a network once; random numbers after it are the same each time."""
    @functools.lru_cache(maxsize=None)
    def make(policy_name):
        return make_network()

    def make_or_reuse():
        seed = random.getrandbits(31)
        network = make(keras.mixed_precision.global_policy().name)
        keras.utils.set_random_seed(seed)
        return network
    return make_or_reuse


@pytest.fixture
def dtype_policy():
    """Function that sets the global dtype policy until the end of the test."""
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy('float32')
