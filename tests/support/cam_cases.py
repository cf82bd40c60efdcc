"""Models for class activation maps, with their layers."""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from onnx import TensorProto

from support.small_models import build, cnn_nchw, cnn_nhwc, node, random, rows, series, two_inputs

LABELS = np.array([1, 0, 2])


def volume():
    """Two 3-D convolutions on volumes (N, 2, 5, 6, 7), channels first; the batch and two sizes are free."""
    nodes = [
        node("Conv", ["v", "k1"], ["c1"], strides=[2, 2, 2], pads=[1] * 6), node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "k2"], ["c2"], pads=[1] * 6), node("Tanh", ["c2"], ["r2"]),
        node("GlobalAveragePool", ["r2"], ["g"]), node("Flatten", ["g"], ["f"]), node("Gemm", ["f", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"k1": 2 * random(1, 4, 2, 3, 3, 3), "k2": 2 * random(2, 5, 4, 3, 3, 3), "w": random(3, 5, 3)}
    return build(nodes, {"v": ["N", 2, 5, "H", "W"]}, {"y": ["N", 3]}, weights), rows(3, 2, 5, 6, 7)


def grey():
    """Grey images (N, 9, 7), without an axis of channels."""
    nodes = [
        node("Unsqueeze", ["x", "one"], ["u"]), node("Conv", ["u", "k"], ["c"], strides=[2, 2]),
        node("Sigmoid", ["c"], ["s"]), node("GlobalMaxPool", ["s"], ["g"]), node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"one": np.array([1]), "k": 2 * random(1, 4, 1, 3, 3), "w": random(2, 4, 3)}
    return build(nodes, {"x": ["N", 9, 7]}, {"y": ["N", 3]}, weights), rows(4, 9, 7)


def series_in_two_axes():
    """Series (N, 12, 3) whose convolution is written with two axes of space, one of size 1; bytes come in."""
    nodes = [
        node("Cast", ["x"], ["real"], to=TensorProto.FLOAT), node("Mul", ["real", "scale"], ["scaled"]),
        node("Unsqueeze", ["scaled", "one"], ["u"]), node("Transpose", ["u"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "k"], ["c"], strides=[1, 2]), node("Elu", ["c"], ["e"]),
        node("ReduceMean", ["e", "space"], ["m"], keepdims=0), node("Gemm", ["m", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"one": np.array([1]), "k": 2 * random(1, 4, 3, 1, 3), "w": random(2, 4, 3), "space": np.array([2, 3]),
               "scale": np.float32(1 / 64)}  # fmt: skip
    model = build(nodes, {"x": (["N", 12, 3], TensorProto.UINT8)}, {"y": ["N", 3]}, weights)
    return model, np.random.default_rng(5).integers(0, 255, (3, 12, 3)).astype(np.uint8)


def transposed():
    """A decoder: a transposed convolution, then a mean over the image; channels last."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), node("ConvTranspose", ["t", "k"], ["c"], strides=[2, 2]),
        node("Softplus", ["c"], ["s"]), node("Transpose", ["s"], ["last"], perm=[0, 2, 3, 1]),
        node("Mul", ["last", "last"], ["square"]),
        node("ReduceMean", ["square", "space"], ["m"], keepdims=0), node("Gemm", ["m", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"k": 2 * random(1, 2, 4, 3, 3), "w": random(2, 4, 3), "space": np.array([1, 2])}
    return build(nodes, {"x": ["N", 4, 5, 2]}, {"y": ["N", 3]}, weights), rows(6, 4, 5, 2)


@dataclass(frozen=True)
class Case:
    """A model, what it is given, the layer that is looked at, its channel axis, and the shape of a map."""

    make: object
    layer: str
    channel: int
    shape: tuple
    options: dict = field(default_factory=dict)


def of(small):
    return lambda: (small().model, small().given)


CASES = {
    "nchw": Case(of(cnn_nchw), "c2", 1, (1, 8, 9)),
    "nchw, first convolution": Case(of(cnn_nchw), "r1", 1, (1, 8, 9), {"conv_layer": "r1"}),
    "nhwc": Case(of(cnn_nhwc), "c2", 1, (8, 9, 1)),
    "nhwc, pooled": Case(of(cnn_nhwc), "p1", 1, (8, 9, 1), {"conv_layer": "p1"}),
    "series": Case(of(series), "c2", 1, (20, 1)),
    "volume": Case(volume, "c2", 1, (1, 5, 6, 7)),
    "grey": Case(grey, "c", 1, (9, 7, 1)),
    "series in two axes": Case(series_in_two_axes, "c", 1, (12, 1)),
    "transposed": Case(transposed, "c", 1, (4, 5, 1)),
    "transposed, channels last": Case(transposed, "last", 3, (4, 5, 1), {"conv_layer": "last"}),
    "two inputs": Case(of(two_inputs), "c", 1, (1, 6, 6)),
}


@cache
def made(name):
    return CASES[name].make()
