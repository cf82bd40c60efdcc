"""A model with external data, a folder with a small model, and everything that writes a file."""

import numpy as np
import onnx
import pytest

import onnxattr
from onnxattr import files, plots
from onnxattr.attributions import GradientInput, Saliency
from onnxattr.cli import main
from onnxattr.errors import ParameterError
from support.small_models import build, mlp, node

MLP = mlp()
SIZE = 60
X = np.random.default_rng(1).normal(size=(2, SIZE)).astype(np.float32)


def wide(seed=0):
    """y = x W with 14,400 bytes of weights, and W."""
    weights = np.random.default_rng(seed).normal(size=(SIZE, SIZE)).astype(np.float32)
    return build(
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", SIZE]}, {"y": ["N", SIZE]}, {"w": weights}
    ), weights


def save_external(path, location, seed=0):
    model, weights = wide(seed)
    onnx.save(model, path, save_as_external_data=True, location=location, size_threshold=0)
    return weights


def beside(folder, seed):
    """An explainer with its weights in one file beside it, written by the two ways there are."""
    model = wide(seed)[0]
    onnxattr.export([Saliency(model), GradientInput(model)], folder)
    GradientInput(model).export(folder / "single.onnx", weights="beside")


def contents():
    return {p: p.read_bytes() for p in sorted(files.Path().rglob("*")) if p.is_file()}


def writers():
    """Everything that writes a file, by name: each takes a path."""
    method, maps = Saliency(MLP.model), np.ones((3, 4), np.float32)
    return {
        "export": method.export,
        "beside": lambda path: Saliency(wide()[0]).export(path, weights="beside"),
        "picture": lambda path: plots.tabular(list("abcd"), maps[0], title="", path=path),
        "command": lambda path: command("explain", "m.onnx", "m.npy", "-o", path),
    }


def command(*arguments):
    if main([str(argument) for argument in arguments]):
        raise ParameterError("the command failed")


@pytest.fixture
def mlp_folder(tmp_path, monkeypatch):
    onnx.save(MLP.model, tmp_path / "m.onnx")
    np.save(tmp_path / "m.npy", MLP.given)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path
