"""What a session holds in memory: one copy of the weights, where the C library gives memory back."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
from pathlib import Path
import numpy as np, onnx.parser
from onnx import numpy_helper
from onnxattr.session import Session

def megabytes():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024

def model(count):
    chain = " ".join(f"h{i + 1} = MatMul(h{i}, w{i})" for i in range(count))
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N,1024] h0) => (float[N,1024] h%d) { %s }'
    proto = onnx.parser.parse_model(text % (count, chain))
    for at in range(count):
        weight = np.random.default_rng(at).normal(size=(1024, 1024)).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(weight, f"w{at}"))
    return proto

sessions = [Session(model(1))]
before = megabytes()
sessions.append(Session(model(16)))
sessions.append(Session(model(1)))
print(megabytes() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries return memory by themselves")
def test_weights_are_held_once():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    weights = 16 * 4 + 4
    assert weights <= float(ran.stdout) < 1.5 * weights
