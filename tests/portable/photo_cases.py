"""Explainers with preprocessing in front: photos of any size go in, and maps of their pixels come out."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from PIL import Image
from support.small_models import build, node

from models import photos
from onnxattr import IntegratedGradients, Saliency
from portable.accelerators import RIGHT, said, state, write_manifest

#: What `preprocess=` is given, by the name of the case.
PREPROCESSING = {
    "imagenet": "imagenet",
    "keras-tf": "keras-tf",
    "keras-caffe": "keras-caffe",
    "keras-torch": "keras-torch",
    "0..1": "0..1",
    "letterbox": {"preset": "0..1", "resize": "letterbox", "pad": 114},
    "bicubic": {"preset": "keras-caffe", "kernel": "bicubic"},
    "nearest": {"preset": "0..1", "kernel": "nearest"},
    "crop alone": {"preset": "0..1", "resize": "none", "crop": [32, 32]},
}
#: Height and width: one is made smaller, the other larger in one direction.
SIZES = {"shrunk": (47, 61), "enlarged": (20, 48)}


def network() -> onnx.ModelProto:
    """Two convolutions with Tanh on 32 x 32 pixels: a smooth function, so that runtimes differ by rounding alone."""
    rng = np.random.default_rng(0)
    sizes = {"first": (8, 3, 3, 3), "second": (12, 8, 3, 3), "dense": (12, 5)}
    weights = {name: rng.normal(scale=0.2, size=size).astype(np.float32) for name, size in sizes.items()}
    strided = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "first"], ["a"], **strided),
        node("Tanh", ["a"], ["b"]),
        node("Conv", ["b", "second"], ["c"], **strided),
        node("Tanh", ["c"], ["d"]),
        node("GlobalAveragePool", ["d"], ["e"]),
        node("Flatten", ["e"], ["f"]),
        node("MatMul", ["f", "dense"], ["y"]),
    ]
    return build(nodes, {"x": ["N", 3, 32, 32]}, {"y": ["N", 5]}, weights)


def write_photo_cases(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Writes the files and their manifest; returns what ONNX Runtime gives on the CPU, by name and output."""
    photo = Image.fromarray(photos.load("chelsea"))
    model, cases = network(), {}
    for name, given in PREPROCESSING.items():
        file = exported(Saliency(model, preprocess=given))
        for size, (height, width) in SIZES.items():
            if name != "crop alone" or min(height, width) >= 32:
                cases[f"{name}, {size}"] = file, _feeds(photo, height, width)
    feeds = _feeds(photo, *SIZES["shrunk"])
    at_input = Saliency(model, preprocess="imagenet", attributions_at="input")
    cases["imagenet, at the input"] = exported(at_input), feeds
    path = IntegratedGradients(model, batch_size=2, steps=4, preprocess="imagenet", baseline_value=127.0)
    cases["imagenet, a loop"] = exported(path, "loop"), feeds
    return write_manifest(folder, cases)


def exported(method: Saliency | IntegratedGradients, rendering: str = "batch") -> onnx.ModelProto:
    """What a method writes into a file."""
    with tempfile.TemporaryDirectory() as folder:
        method.export(Path(folder) / "file.onnx", rendering)
        return onnx.load(Path(folder) / "file.onnx")


def _feeds(photo: Image.Image, height: int, width: int) -> dict[str, np.ndarray]:
    pixels = np.asarray(photo.resize((width, height)))[None]
    return {"pixels": pixels, "target": np.zeros(1, np.int64)}


def wrong(folder: Path, runtime: str, expected: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """The files that a runtime does not compute rightly, and of which its table does not say so."""
    found = {name: state(folder, runtime, name, outputs) for name, outputs in expected.items()}
    return [
        f"{name} in {runtime}: {there} ({error:.1e})"
        for name, (there, error) in found.items()
        if there not in (RIGHT, said(folder / f"{name}.onnx", runtime))
    ]
