"""How many threads a session has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from pathlib import Path
import onnx.parser
from onnxattr.session import Session

def threads():
    return int(Path("/proc/self/status").read_text().split("Threads:")[1].split()[0])

text = '<ir_version: 8, opset_import: ["": 17]> g (float[N,2] x) => (float[N,2] y) { y = Tanh(x) }'
sessions = [Session(onnx.parser.parse_model(text))]
before = threads()
sessions.append(Session(onnx.parser.parse_model(text)))
print(threads() - before)
"""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="threads are counted in /proc")
@pytest.mark.parametrize(
    ("said", "more"),
    [("1", 0), ("4", 3), (" 3,2", 2), ("0", CORES - 1), ("all", CORES - 1), (None, CORES - 1)],
)
def test_the_environment_says_how_many_threads_a_session_has(said, more):
    """The thread that runs a session is one of its threads."""
    assert counted(SCRIPT, said) == more


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="threads are counted in /proc")
def test_a_session_has_no_more_threads_than_the_process_has_cores():
    """As in a container that was given some of the cores."""
    one = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    assert counted(one + SCRIPT, None) == 0


def counted(script, said):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {} if said is None else {"OMP_NUM_THREADS": said}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    return int(ran.stdout)
