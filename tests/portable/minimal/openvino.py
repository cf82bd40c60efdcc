"""Minimal files for OpenVINO."""

from functools import partial

import numpy as np
from onnx.parser import parse_model
from support.small_models import build, node

#: On both sides of the step.
SIGNS = np.float32([[-3, -1e-3, 0, 1e-3, 0.5, 3]])


def hard_sigmoid():
    """The step at 0 as HardSigmoid with beta = 0, behind a ReLU."""
    nodes = [
        node("Relu", ["x"], ["on"]),
        node("HardSigmoid", ["on"], ["y"], alpha=2.0**126, beta=0.0),
    ]
    return build(nodes, {"x": [1, 6]}, {"y": [1, 6]}), {"x": SIGNS}


def shared_kernel():
    """A convolution and a transposed one with one kernel, 32 channels each."""
    rng = np.random.default_rng(0)
    settings = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "w"], ["c"], **settings),
        node("ConvTranspose", ["u", "w"], ["y"], **settings),
    ]
    feeds = {
        name: rng.standard_normal((2, 32, size, size)).astype(np.float32)
        for name, size in (("x", 15), ("u", 8))
    }
    kernel = rng.standard_normal((32, 32, 3, 3)).astype(np.float32)
    shapes = {name: ["N", *array.shape[1:]] for name, array in feeds.items()}
    return build(nodes, shapes, {"c": ["N", 32, 8, 8], "y": ["N", 32, 15, 15]}, {"w": kernel}), feeds


def shared_matrix():
    """Two products with one square matrix, as it is and transposed."""
    rng = np.random.default_rng(0)
    nodes = [
        node("MatMul", ["x", "w"], ["y"]),
        node("Transpose", ["w"], ["turned"], perm=[1, 0]),
        node("MatMul", ["u", "turned"], ["z"]),
    ]
    feeds = {name: rng.standard_normal((2, 20, 16)).astype(np.float32) for name in "xu"}
    matrix = rng.standard_normal((16, 16)).astype(np.float32)
    outputs = {name: ["N", 20, 16] for name in "yz"}
    return build(nodes, {name: ["N", 20, 16] for name in "xu"}, outputs, {"w": matrix}), feeds


def scales_of_the_sum(product="MatMul"):
    """A product with a dequantised matrix that has a scale for each row, over which the product sums."""
    rng = np.random.default_rng(0)
    axis, options = (1, {"transB": 1}) if product == "Gemm" else (0, {})
    nodes = [
        node("DequantizeLinear", ["q", "scale"], ["w"], axis=axis),
        node(product, ["x", "w"], ["y"], **options),
    ]
    numbers = rng.integers(-128, 128, (16, 16)).astype(np.int8)
    scale = rng.uniform(0.002, 0.02, 16).astype(np.float32)
    feeds = {"x": rng.standard_normal((2, 16)).astype(np.float32)}
    return build(nodes, {"x": ["N", 16]}, {"y": ["N", 16]}, {"q": numbers, "scale": scale}), feeds


def axes_of_unknown_length():
    """A sum over the axes where a mask is true."""
    model = parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> main (float[2,3] x, bool[2] mask) => (float[a,b] y)
        <int64[1] first = {0}> {
          where = NonZero (mask)
          axes = Squeeze (where, first)
          y = ReduceSum (x, axes)
        }"""
    )
    return model, {"x": SIGNS.reshape(2, 3), "mask": np.array([True, False])}


def scan_captures():
    """Running sums of products with a value that is computed outside."""
    model = parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        main (float[3,2] x, float[2] start) => (float[2] last, float[3,2] y) {
          factor = Add (start, start)
          last, y = Scan <num_scan_inputs = 1, body = b (float[2] sum, float[2] row) => (float[2] next, float[2] out) {
            product = Mul (row, factor)
            next = Add (sum, product)
            out = Identity (next)
          }> (start, x)
        }"""
    )
    return model, {"x": SIGNS.reshape(3, 2), "start": np.ones(2, np.float32)}


def scan_constant():
    """Running sums of scaled rows; with a batch of unknown size the same is right."""
    model = parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> main (float[3,2] x, float[2] start) => (float[2] y)
        <float[2] scale = {2, 3}> {
          y = Scan <num_scan_inputs = 1, body = b (float[2] sum, float[2] row) => (float[2] next) {
            product = Mul (row, scale)
            next = Add (sum, product)
          }> (start, x)
        }"""
    )
    return model, {"x": SIGNS.reshape(3, 2), "start": np.ones(2, np.float32)}


def two_recurrent():
    """Two layers on the same sequences: all states of the one, the last of the other; right for one sample."""
    rng = np.random.default_rng(0)
    sizes = {"w": (1, 8, 5), "r": (1, 8, 8), "v": (1, 8, 5), "s": (1, 8, 8)}
    weights = {name: rng.normal(scale=0.3, size=size).astype(np.float32) for name, size in sizes.items()}
    nodes = [
        node("RNN", ["x", "w", "r"], ["all"], hidden_size=8),
        node("RNN", ["x", "v", "s"], ["", "last"], hidden_size=8),
    ]
    model = build(nodes, {"x": ["T", "N", 5]}, {"all": ["T", 1, "N", 8], "last": [1, "N", 8]}, weights)
    return model, {"x": rng.normal(size=(7, 2, 5)).astype(np.float32)}


MINIMAL = {
    "hard_sigmoid": hard_sigmoid,
    "shared_kernel": shared_kernel,
    "shared_matrix": shared_matrix,
    "scales_of_the_sum": scales_of_the_sum,
    "scales_of_the_sum_of_gemm": partial(scales_of_the_sum, "Gemm"),
    "axes_of_unknown_length": axes_of_unknown_length,
    "scan_captures": scan_captures,
    "scan_constant": scan_constant,
    "two_recurrent": two_recurrent,
}
