"""An explainer's file runs once before it gets its name: what fails leaves no file, what cannot be tried is said."""

import signal
import subprocess
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from support.small_models import build, cnn_nchw, mlp, node, two_inputs
from support.tiny_graphs import parse

import onnxattr
import onnxattr.attributions as attributions
from onnxattr import cli
from onnxattr.attributions.triton import export_triton
from onnxattr.autodiff.standard import STANDARD
from onnxattr.errors import ModelError
from onnxattr.loading.weights.files import write_model

SMALL = {"IntegratedGradients": {"steps": 3}, "SmoothGrad": {"nb_samples": 3}, "VarGrad": {"nb_samples": 3}}
pytestmark = pytest.mark.filterwarnings("error")


def make(method, model, **options):
    return getattr(attributions, method)(model, **SMALL.get(method, {}) | options)


IDS = """g (int64[N,T] ids, float[N,T] mask) => (float[N,4] y)
    <float[2,4] w = {1, 2, 3, 4, 5, 6, 7, 8}, int64[1] one = {1}, int64[1] two = {2}> {
    e = Gather(w, ids) u = Unsqueeze(mask, two) m = Mul(e, u) t = Tanh(m) y = ReduceSum<keepdims = 0>(t, one)
}"""
CONVOLVED = """g (float[N,1,H,W] x) => (float[N,2] y) <float[2,1,30,30] w, int64[2] axes = {2, 3}> {
    c = Conv(x, w) y = ReduceMax<keepdims = 0>(c, axes) }"""
LOOKED_UP = """g (int64[N,T] ids) => (float[N,4] y) <float[1,4] w = {1, 2, 3, 4}, int64[1] one = {1}> {
    e = Gather(w, ids) t = Tanh(e) y = ReduceSum<keepdims = 0>(t, one) }"""


def convolved() -> onnx.ModelProto:
    model = parse(CONVOLVED.replace("<float[2,1,30,30] w, ", "<"))
    weights = np.random.default_rng(0).normal(size=(2, 1, 30, 30)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    return model


MODELS = {
    "dense": (lambda: mlp().model, {}),
    "images": (lambda: cnn_nchw().model, {}),
    "two inputs": (lambda: two_inputs().model, {"reducer": None}),
    "token ids": (lambda: parse(IDS), {"wrt": "e"}),
    "token ids of one word": (lambda: parse(LOOKED_UP), {"wrt": "e"}),
    "images of 30 pixels at least": (convolved, {}),
}


@pytest.mark.parametrize("rendering", ["batch", "loop"])
@pytest.mark.parametrize("method", ["IntegratedGradients", "SmoothGrad"])
@pytest.mark.parametrize("model", MODELS)
def test_what_runs_is_written(model, method, rendering, tmp_path):
    source, options = MODELS[model]
    explainer = make(method, source(), **options)
    explainer.export(tmp_path / "e.onnx", rendering)
    written = onnx.load(tmp_path / "e.onnx")
    assert written.metadata_props.pop().key == "onnxattr.record"
    assert written == explainer.explainer(rendering)


@pytest.mark.parametrize("target", ["labels", "weights"])
def test_baselines_and_targets(target, tmp_path):
    make("IntegratedGradients", mlp().model).export(tmp_path / "e.onnx", target=target, baseline_input=True)
    export_triton(make("SmoothGrad", mlp().model), tmp_path / "triton", target=target)
    assert (tmp_path / "triton" / "1" / "model.onnx").exists()


def broken(op, node, ct):
    """A gradient that no run can compute: a Reshape of two elements to three."""
    wrong = op.Reshape(op.Expand(ct, op.Concat(op.Shape(op.Shape(ct)), op.Shape(ct), axis=0)), [-1, 7, 11])
    return (op.Add(ct, op.ReduceSum(wrong, keepdims=0)),)


def failing(model=None) -> attributions.Saliency:
    method = attributions.Saliency(mlp().model if model is None else model)
    rules = STANDARD | {"Relu": broken, "Tanh": broken, "MatMul": STANDARD["MatMul"]}
    object.__setattr__(method._plan.request.method, "rules", rules)
    return method


def test_what_fails_leaves_no_file(tmp_path):
    method = failing()
    with pytest.raises(ModelError, match=r"is not written. Run on inputs of shapes .* Pass check=False"):
        method.export(tmp_path / "e.onnx")
    with pytest.raises(ModelError, match="is not written"):
        export_triton(method, tmp_path / "triton")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.onnx").write_bytes(b"what was there")
    with pytest.raises(ModelError, match="is not written"):
        method.export(tmp_path / "old.onnx")
    assert (tmp_path / "old.onnx").read_bytes() == b"what was there"
    method.export(tmp_path / "e.onnx", check=False)
    assert (tmp_path / "e.onnx").exists()


def with_data(folder):
    """The path of a model whose weights are in a file of the folder."""
    weights = {"w": np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)}
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Tanh", ["m"], ["y"])]
    model = build(nodes, {"x": ["N", 64]}, {"y": ["N", 32]}, weights)
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    return folder / "m.onnx"


@pytest.mark.parametrize("weights", ["inside", "beside", "shared"])
def test_the_file_itself_is_run(weights, tmp_path):
    """Where it will be, with its weights, and before it has its name; what fails takes all that was written away."""
    method = attributions.Saliency(with_data(tmp_path))
    seen = []

    def run(path):
        session = onnxruntime.InferenceSession(str(path))
        seen.append((path.parent, path.name, [value.name for value in session.get_outputs()]))
        assert not (tmp_path / "e.onnx").exists()
        raise ModelError("no")

    before = sorted(tmp_path.iterdir())
    with pytest.raises(ModelError, match="no"):
        write_model(method.explainer(), tmp_path / "e.onnx", weights, tmp_path, check=run)
    ((folder, name, outputs),) = seen
    assert (folder, outputs) == (tmp_path, ["prediction", "attribution"])
    assert name.endswith(".part")
    assert sorted(tmp_path.iterdir()) == before
    method.export(tmp_path / "e.onnx", weights=weights)
    assert onnxattr.load(tmp_path / "e.onnx").explain(np.ones((2, 64), np.float32)).shape == (2, 64)


@pytest.mark.parametrize("weights", ["inside", "beside", "shared"])
def test_an_explainer_that_fails_leaves_no_file_wherever_its_weights_are(weights, tmp_path):
    method, before = failing(with_data(tmp_path)), sorted(tmp_path.iterdir())
    with pytest.raises(ModelError, match="is not written"):
        method.export(tmp_path / "e.onnx", weights=weights)
    assert sorted(tmp_path.iterdir()) == before


ENDED = """
import os, signal, sys
from pathlib import Path
from onnxattr import Saliency
from onnxattr.loading.weights.files import write_model
folder = Path(sys.argv[1])
model = Saliency(folder / "m.onnx").explainer()
write_model(model, folder / "e.onnx", "beside", folder, check=lambda path: os.kill(os.getpid(), signal.SIGTERM))
"""


def test_a_process_that_is_ended_while_the_file_is_run_leaves_no_data(tmp_path):
    with_data(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert subprocess.run([sys.executable, "-c", ENDED, tmp_path], check=False).returncode == -signal.SIGTERM
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.filterwarnings("default")
def test_what_the_model_refuses_is_said(tmp_path):
    """The model divides its 13 columns into parts that only 7 columns or their like have."""
    nodes = [node("Reshape", ["x", "shape"], ["r"]), node("ReduceSum", ["r", "axis"], ["y"], keepdims=0)]
    model = build(
        nodes, {"x": ["N", "W"]}, {"y": ["N", 13]}, {"shape": np.array([0, 13, -1]), "axis": np.array([2])}
    )
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        make("Saliency", model).export(tmp_path / "e.onnx")
    rows, run = (str(warning.message) for warning in heard)
    assert "Whether the samples of a batch are independent is not known: Reshape node" in rows
    assert "not run before it is written: the model itself refuses every input" in run
    assert (tmp_path / "e.onnx").exists()


def test_command_line(tmp_path, capsys):
    onnx.save(mlp().model, tmp_path / "m.onnx")
    for extra in ([], ["--no-check"]):
        path = tmp_path / f"e{len(extra)}.onnx"
        arguments = ["export", str(tmp_path / "m.onnx"), "--method", "Saliency", "-o", str(path), *extra]
        assert cli.main(arguments) == 0
        assert path.exists()
