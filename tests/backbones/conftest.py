"""Settings for the tests of backbones."""

import pytest

from tests.backbones import probes


@pytest.fixture(autouse=True, scope='module')
def _networks_released():
    """Forgets the networks that a module's tests share."""
    yield
    for cached in (probes.network, probes.restrided, probes.restrided_probe):
        cached.cache_clear()


@pytest.fixture(autouse=True, scope='module')
def _thin_hourglasses():
    """Leaves hourglasses as they are, in place of the fixture for all other tests."""
