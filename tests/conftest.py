"""Fixtures of several test modules."""

import pytest


@pytest.fixture
def fresh_keras():
    """Keras without the names and the random state that other tests have left."""
    keras = pytest.importorskip("keras")
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
