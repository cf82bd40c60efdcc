"""Models whose explanations have closed forms, and an explanation that has everything."""

import ml_dtypes
import numpy as np
import onnx

from onnxattr import Explanation, IntegratedGradients
from support.tiny_graphs import parse

#: y = W x^3: along a path of m intervals the trapezoid rule misses sum_i W_ci d_i^3 / (2 m^2).
W = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]], np.float32)
CUBIC = """g (float[N, 3] x) => (float[N, 2] y)
    <float[3, 2] w = {1, 0.25, -2, 3, 0.5, -1}> { s = Mul(x, x) c = Mul(s, x) y = MatMul(c, w) }"""
IMAGE = """g (float[N, 3, 4, 5] image) => (float[N, 3] y)
    <float[3, 3, 1, 1] w = {1, 0, 0, 0, 2, 0, 0, 0, -1}, int64[2] axes = {2, 3}>
    { c = Conv(image, w) s = Mul(c, c) y = ReduceSum <keepdims = 0> (s, axes) }"""
RNG = np.random.default_rng(0)
X = np.array([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0], [2.0, 0.25, 0.0]], np.float32)
PHOTOS = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
STEPS, BASELINE = 5, 0.5


def model(text=CUBIC, **metadata) -> onnx.ModelProto:
    proto = parse(text)
    onnx.helper.set_model_props(proto, {key.replace("__", "."): value for key, value in metadata.items()})
    return proto


def explanation() -> Explanation:
    """Of the cubic model, by Integrated Gradients."""
    return IntegratedGradients(model(), steps=STEPS, baseline_value=BASELINE)(X)


def rich() -> Explanation:
    """An explanation that has everything, with names that are hostile."""
    return Explanation(
        {"<x>": X, "ids": RNG.normal(size=(3, 4)).astype(np.float32)},
        "A<b>&method",
        np.array([1, 0, 1]),
        np.array([0.5, np.nan, -np.inf], np.float32),
        ('</td><script>alert("1")</script>', "'b'", ""),
        baseline_scores=np.zeros(3, np.float32),
        delta=np.array([1e-45, 1, 2], np.float32),
        relative_gap=np.array([0.1, np.inf, 0], np.float32),
        spent_steps=np.array([9, 800, 50]),
        parameters={"steps": 50, "baseline_value": np.arange(3.0), "operator": len, "wrt": None},
        model="/tmp/<img src=x>.onnx",
        output="logits&<i>",
        layer="<layer>",
        inputs={
            "half": X.astype(ml_dtypes.bfloat16),
            "ids": np.arange(3),
            "flag": np.array([True, False, True]),
        },
        axes={"<x>": ("row", "feature"), "ids": ("row", "token")},
        features={"<x>": ("<script>", "b", "\u2028")},
        classes=("a", "b"),
        as_dict=True,
    )


def same(a: Explanation, b: Explanation) -> None:
    for name in a.__dataclass_fields__:
        left, right = getattr(a, name), getattr(b, name)
        if isinstance(left, np.ndarray):
            assert (left.dtype, left.tobytes()) == (right.dtype, right.tobytes()), name
        elif isinstance(left, dict) and left and isinstance(next(iter(left.values())), np.ndarray):
            assert list(left) == list(right)
            for key in left:
                assert (left[key].dtype, left[key].tobytes()) == (right[key].dtype, right[key].tobytes()), (
                    name,
                    key,
                )
                assert left[key].shape == right[key].shape
        elif name != "parameters":
            assert left == right, name
