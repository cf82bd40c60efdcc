"""A score whose path has kinks, and its exact integral."""

import numpy as np
from onnx import helper

from onnxattr import IntegratedGradients
from support.small_models import build, node
from support.tiny_graphs import parse

RNG = np.random.default_rng(8)
W, V = RNG.normal(size=(4, 12)), RNG.normal(size=(12, 3))
B = RNG.normal(size=12) * 0.2
X = (2 * RNG.normal(size=(7, 4))).astype(np.float32)
LABELS = np.array([0, 1, 2, 2, 1, 0, 1])


def kinks(dtype=np.float32, batch="N"):
    """A network of ReLUs, whose score has a kink wherever the path crosses one."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Add", ["h", "b"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
    ]
    weights = {"w": W.astype(dtype), "b": B.astype(dtype), "v": V.astype(dtype)}
    return build(nodes, {"x": ([batch, 4], kind)}, {"y": ([batch, 3], kind)}, weights)


def exact(x, labels, points=200_001):
    """The integral along the path by a fine midpoint rule in float64."""
    alphas = (np.arange(points) + 0.5) / points
    found = []
    for row, label in zip(x.astype(np.float64), labels, strict=True):
        open_units = (alphas[:, None] * (row @ W) + B > 0).mean(axis=0)
        found.append(row * (W @ (open_units * V[:, label])))
    return np.array(found)


def method(model=None, **options):
    return IntegratedGradients(kinks() if model is None else model, progress=False, **options)


def as_list(maps):
    return list(maps.values()) if isinstance(maps, dict) else maps if isinstance(maps, list) else [maps]


def mixed():
    """A model whose rows are one sample."""
    return parse(
        "g (float[M, 4] x) => (float[M, 4] y) <int64[1] first = {0}> "
        "{ m = ReduceMean<keepdims = 1, axes = [0]>(x) d = Sub(x, m) r = Relu(d) y = Mul(r, x) }",
        opset=17,
    )
