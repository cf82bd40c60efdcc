"""What sessions hold in memory: the weights as often as runs read them, where the C library gives memory back."""

import platform
import subprocess
import sys

import pytest

MODEL = """
import ctypes
from pathlib import Path
import numpy as np, onnx.parser
from onnx import numpy_helper
from onnxattr import GradientInput
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
"""
#: The model alone: its products are packed, and the session of a small one gives back what else there was.
SESSION = """
sessions = [Session(model(1))]
before = megabytes()
sessions.append(Session(model(16)))
sessions.append(Session(model(1)))
print(megabytes() - before)
"""
#: Its gradient, which packs them for either direction; the method has the model itself before and after.
METHOD = """
x = np.ones((1, 1024), np.float32)
GradientInput(model(1), progress=False)(x, 0)
large = GradientInput(model(16), progress=False)
ctypes.CDLL(None).malloc_trim(0)
before = megabytes()
large(x, 0)
print(megabytes() - before)
"""
WEIGHTS = 16 * 4 + 4


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries return memory by themselves")
@pytest.mark.parametrize(("measured", "copies"), [(SESSION, 1), (METHOD, 2)], ids=["model", "gradient"])
def test_weights_are_held_as_often_as_they_are_read(measured, copies):
    ran = subprocess.run([sys.executable, "-c", MODEL + measured], capture_output=True, text=True, check=True)
    assert (copies - 0.2) * WEIGHTS <= float(ran.stdout) < (copies + 0.5) * WEIGHTS
