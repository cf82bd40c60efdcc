"""Fixtures of several test modules."""

import gc
import os

import pytest
from support import kept, one_thread  # noqa: F401  (one_thread before anything imports NumPy)
from support.command_line import cli_folder  # noqa: F401
from support.quiet_sessions import use_quiet_sessions
from support.refusals import nothing_runs  # noqa: F401
from support.written_files import mlp_folder  # noqa: F401

# Its assertions then show their values, like those of the test modules.
pytest.register_assert_rewrite("support.explained")


def pytest_configure():
    """What takes a fifth of the processor time otherwise.

    Graphs are full of small objects, and Python looks for garbage after each 700 new ones; idle threads of sessions
    wait in a loop.
    """
    gc.set_threshold(20_000, 10, 10)
    use_quiet_sessions()


def pytest_collection_finish():
    """What is there before the first test stays to the end: looking for garbage skips it."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def fresh_keras():
    """Keras without the names and the random state that other tests have left; garbage is Python's own business."""
    keras = pytest.importorskip("keras")
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)


@pytest.fixture(scope="session")
def table_model():
    """A pipeline that was fitted on an array and converted with a table; without skl2onnx its tests are skipped."""
    from support import named_columns

    return named_columns.table_model()


@pytest.fixture(scope="session", autouse=True)
def run_folder(tmp_path_factory):
    """A folder of this run of the tests, the same for all its workers; nothing is left in it from another run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kept"
    folder.mkdir(exist_ok=True)
    kept.use(folder)
    return folder
