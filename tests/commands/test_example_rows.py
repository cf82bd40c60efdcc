"""The small programs for Python and Node take rows of any length, and name the inputs that they do not feed."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from support.node_program import NODE, ROOT
from support.tiny_graphs import parse

from onnxattr import GradientInput

PROGRAMS = [[sys.executable, "examples/python_only_onnxruntime.py"], NODE]
BODY = "{ h = Tanh(x) m = ReduceMean<keepdims=0>(h, axes) y = Mul(m, m) }"
SHAPES = {"T,2": (5, 2), "2,T": (2, 5), "T,S": (3, 4), "5,2": (5, 2)}


def ran(program, file, csv, lines):
    np.savetxt(csv, lines, delimiter=",")
    return subprocess.run([*program, file, csv], cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("sizes", SHAPES)
def test_a_series_of_any_length(program, sizes, tmp_path):
    row = np.random.default_rng(0).normal(size=SHAPES[sizes]).astype(np.float32)
    axes = {"T,2": 1, "5,2": 1}.get(sizes, 2)
    model = parse(f"m (float[N,{sizes}] x) => (float[N,K] y) <int64[1] axes = {{{axes}}}> {BODY}")
    method = GradientInput(model)
    method.export(tmp_path / "e.onnx")
    found = json.loads(ran(program, tmp_path / "e.onnx", tmp_path / "row.csv", row).stdout)["attribution"]
    np.testing.assert_array_equal(np.float32(found), method.explain(row[None]).ravel())


@pytest.mark.parametrize("program", PROGRAMS)
def test_other_inputs_are_named(program, tmp_path):
    model = parse("m (float[N,1] age, float[N,1] job) => (float[N,1] y) { y = Mul(age, job) }")
    GradientInput(model, operator="regression").export(tmp_path / "e.onnx")
    said = ran(program, tmp_path / "e.onnx", tmp_path / "row.csv", np.ones((1, 1)))
    assert said.returncode
    assert "more inputs than age: job. Feed each by its name" in said.stderr


LINES = {
    "an empty field at the end": ("1,2,\n", "something else than numbers|could not convert"),
    "an empty field": ("1,,3\n", "something else than numbers|could not convert"),
    "names": ("a,b,c\n1,2,3\n", "something else than numbers|could not convert"),
    "lines of two lengths": ("1,2,3\n4,5\n6,7,8,9\n", "line 2|number of columns changed"),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", LINES)
def test_what_is_no_row_is_refused(program, name, tmp_path):
    """Missing values are no zeros, and nothing moves up to where they were."""
    text, expected = LINES[name]
    GradientInput(parse("m (float[N,T,S] x) => (float[N,T,S] y) { y = Tanh(x) }")).export(
        tmp_path / "e.onnx", target="weights"
    )
    (tmp_path / "row.csv").write_text(text)
    said = subprocess.run(
        [*program, tmp_path / "e.onnx", tmp_path / "row.csv"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert said.returncode
    assert re.search(expected, said.stderr), said.stderr


@pytest.mark.parametrize("name", ["../secret", "sub/../../secret", "/etc/passwd", "fifo", "absent", None])
@pytest.mark.parametrize("program", PROGRAMS)
def test_weights_elsewhere_are_not_read(program, name, tmp_path):
    """The file says that its weights are elsewhere: they are neither looked at nor waited for."""
    GradientInput(parse("m (float[N,3] x) => (float[N,3] y) { y = Tanh(x) }")).export(tmp_path / "e.onnx")
    hostile = onnx.load(tmp_path / "e.onnx")
    os.mkfifo(tmp_path / "fifo")
    for key, value in [("onnxattr.data_sha256", "0" * 64)] + ([("onnxattr.data", name)] if name else []):
        hostile.metadata_props.add(key=key, value=value)
    onnx.save(hostile, tmp_path / "e.onnx")
    (tmp_path / "row.csv").write_text("1,2,3\n")
    said = subprocess.run(
        [*program, tmp_path / "e.onnx", tmp_path / "row.csv"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert said.returncode
    assert "names weights that are not beside it" in said.stderr
