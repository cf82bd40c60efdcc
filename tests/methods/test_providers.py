"""What sessions ask of ONNX Runtime's providers."""

import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from packaging.requirements import Requirement
from support.small_models import mlp

from onnxattr import Saliency, providers

ROOT = Path(__file__).parents[2]

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
FLOAT32 = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([CUDA, CPU], [(CUDA, FLOAT32), CPU]),
        ([(CUDA, {"device_id": "1"})], [(CUDA, {**FLOAT32, "device_id": "1"})]),
        ([(CUDA, {"use_tf32": "1"})], [(CUDA, {**FLOAT32, "use_tf32": "1"})]),
        ([(CPU, {"a": "b"}), CPU], [(CPU, {"a": "b"}), CPU]),
    ],
)
def test_cuda_computes_in_float32_unless_its_options_say_otherwise(given, expected):
    assert providers.exact(given) == expected


@pytest.fixture
def preloaded(monkeypatch):
    """How often the libraries of CUDA were asked for, by sessions that this test makes."""
    calls, load = [], onnxruntime.preload_dlls

    def counted():
        calls.append(1)
        print("as it does where a library is missing")
        load()

    monkeypatch.setattr(onnxruntime, "preload_dlls", counted)
    providers._load_cuda_libraries.cache_clear()
    yield calls
    providers._load_cuda_libraries.cache_clear()


@pytest.mark.parametrize(
    ("asked", "times"),
    [
        ([CPU], 0),
        ([CUDA, CPU], 1),
        ([CPU, (CUDA, {"device_id": "1"})], 1),
        (["TensorrtExecutionProvider", CUDA, CPU], 1),
        (["CoreMLExecutionProvider", CPU], 0),
    ],
)
def test_libraries_of_cuda_are_loaded_once_where_cuda_is_asked_for(asked, times, preloaded, capsys):
    providers.preload_cuda(asked)
    providers.preload_cuda(asked)
    assert len(preloaded) == times
    # Results may go to the standard output.
    assert capsys.readouterr().out == ""


def test_sessions_on_the_cpu_load_no_libraries_of_cuda(preloaded):
    model = mlp()
    assert np.isfinite(Saliency(model.model, providers=[CPU]).explain(model.given)).all()
    assert preloaded == []


def test_the_gpu_extra_brings_the_libraries_of_cuda():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (wheel,) = map(Requirement, extras["gpu"])
    assert (wheel.name, wheel.extras) == ("onnxruntime-gpu", {"cuda", "cudnn"})
