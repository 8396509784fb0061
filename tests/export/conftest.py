"""Settings for these tests."""

import pytest


@pytest.fixture(autouse=True, scope='module')
def _graphs_as_written():
    """Users' graphs meet TensorFlow's optimiser, so it stays in."""
