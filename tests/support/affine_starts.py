"""Models that are affine at their inputs, for the tests of what samples share, and what those do with them."""

import numpy as np
import onnxruntime

from onnxattr import IntegratedGradients
from support.small_models import build, node

ROWS = 5


def weights(*shape):
    """The same for each test, in whatever order they run."""
    return (np.random.default_rng(shape).normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


def vector_model(nodes, **tensors):
    return build(nodes, {"x": ["N", 6]}, {"y": ["N", 3]}, {"v": weights(8, 3), "w": weights(6, 8)} | tensors)


def measured_model(before, value):
    """What is behind the cut reads the sizes of a value before it."""
    return vector_model(
        [
            *before,
            node("MatMul", [value, "w"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("Shape", [value], ["sx"], end=1),
            node("Concat", ["sx", "rest"], ["sizes"], axis=0),
            node("Reshape", ["r", "sizes"], ["q"]),
            node("ReduceMean", ["q", "two"], ["p"], keepdims=0),
            node("MatMul", ["p", "v4"], ["y"]),
        ],
        rest=np.array([4, 2]),
        two=np.array([2]),
        v4=weights(4, 3),
    )


def ends(value):
    """The part behind the cut: two nonlinearities."""
    return [node("Tanh", [value], ["t"]), node("MatMul", ["t", "v"], ["m"]), node("Atan", ["m"], ["y"])]


def image_model(nodes, last, **tensors):
    back = [
        node("Relu", [last], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "v"], ["y"]),
    ]
    return build(
        nodes + back,
        {"x": ["N", 2, 6, 6]},
        {"y": ["N", 3]},
        {"v": weights(4, 3), "k": weights(4, 2, 3, 3)} | tensors,
    )


BATCH_NORM = {name: np.abs(weights(4)) + 0.1 for name in ("scale", "shift", "mean", "var")}
#: By name: the model, and the frontier of its largest cut.
MODELS = {
    "MatMul and Add": (
        lambda: vector_model(
            [node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "c"], ["a"]), *ends("a")], c=weights(8)
        ),
        ["a"],
    ),
    "Gemm with transposed weights": (
        lambda: vector_model(
            [node("Gemm", ["x", "wt", "c"], ["h"], transB=1, alpha=0.5), *ends("h")],
            wt=weights(8, 6),
            c=weights(8),
        ),
        ["h"],
    ),
    "branches that join": (
        lambda: vector_model(
            [
                node("Slice", ["x", "zero", "three", "one"], ["s"]),
                node("MatMul", ["s", "w3"], ["g"]),
                node("MatMul", ["x", "w"], ["h"]),
                node("Sub", ["h", "g"], ["d"]),
                node("Mul", ["d", "c"], ["a"]),
                *ends("a"),
            ],
            w3=weights(3, 8),
            c=weights(8),
            zero=np.array([0]),
            one=np.array([1]),
            three=np.array([3]),
        ),
        ["a"],
    ),
    "a way around the cut": (
        lambda: vector_model(
            [
                node("MatMul", ["x", "w"], ["h"]),
                node("Mul", ["x", "x"], ["q"]),
                node("MatMul", ["q", "w"], ["g"]),
                node("Add", ["h", "g"], ["a"]),
                *ends("a"),
            ]
        ),
        ["h", "x"],
    ),
    "sizes of the input read behind the cut": (
        lambda: measured_model([], "x"),
        ["h"],
    ),
    "sizes of an inner value read behind the cut": (
        lambda: measured_model([node("Flatten", ["x"], ["g"])], "g"),
        ["h"],
    ),
    "convolution, normalisation and pads": (
        lambda: image_model(
            [
                node("Pad", ["x", "pads"], ["b"]),
                node("Conv", ["b", "k"], ["h"], strides=[2, 2]),
                node("BatchNormalization", ["h", "scale", "shift", "mean", "var"], ["n"]),
            ],
            "n",
            pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
            **BATCH_NORM,
        ),
        ["n"],
    ),
    "pools, concatenation and a transposed layout": (
        lambda: image_model(
            [
                node("Transpose", ["x"], ["last"], perm=[0, 2, 3, 1]),
                node("Transpose", ["last"], ["first"], perm=[0, 3, 1, 2]),
                node("AveragePool", ["first"], ["a"], kernel_shape=[2, 2], strides=[1, 1]),
                node("Neg", ["a"], ["b"]),
                node("Neg", ["b"], ["m"]),
                node("Concat", ["a", "m"], ["c"], axis=1),
            ],
            "c",
        ),
        ["c"],
    ),
}


def inputs(model, rows=ROWS):
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return np.random.default_rng(3).normal(size=(rows, *dims)).astype(np.float32)


def both(model, **options):
    """The method without and with shared work."""
    options = {"steps": 7, "reducer": None, "progress": False} | options
    return [IntegratedGradients(model, **options, share=share) for share in (False, True)]


def largest_difference(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def run(path, x, labels, **more):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x, "target": labels} | more), strict=True))


def two_inputs():
    """A branch of an input that is not explained, with a mask of infinities behind it, and a layer to explain."""
    nodes = [
        node("MatMul", ["z", "w"], ["zh"]),
        node("Tanh", ["zh"], ["branch"]),
        node("Log", ["open"], ["mask"]),
        node("MatMul", ["x", "w"], ["h"]),
        node("Sigmoid", ["h"], ["layer"]),
        node("Mul", ["layer", "branch"], ["j"]),
        node("Add", ["j", "mask"], ["k"]),
        node("Softmax", ["k"], ["s"]),
        node("Mul", ["s", "j"], ["t"]),
        node("MatMul", ["t", "v"], ["y"]),
    ]
    given = {"x": ["N", 6], "z": ["N", 6], "open": ["N", 8]}
    return build(nodes, given, {"y": ["N", 3]}, {"w": weights(6, 8), "v": weights(8, 3)})
