"""Identities of weights, as exporters write them for equal ones, hide nothing: neither shapes, bounds nor kernels."""

import numpy as np
import onnx
import pytest
from support.tiny_graphs import parse, run

from onnxattr.compile.gradient import vjp
from onnxattr.loading.load import load
from onnxattr.testing import check_vjp

X = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(1, 4, 27)).astype(np.float32)

STANDARDISED = """g (float[N,3,6,6] x, int64 n) => (float[?,?,?,?] y)
    <int64[4] shape = {4, 3, 3, 3}, float[4] one = {1, 1, 1, 1}, float[4] zero = {0, 0, 0, 0}> {
    copy = Identity(shape) same = Identity(copy) scale = Identity(one) w2 = Identity(w)
    z = InstanceNormalization(w2, scale, zero) k = Reshape(z, same) BODY
}"""
BODIES = {
    "conv": "y = Conv(x, k)",
    "conv of a computed shape": (
        "minus = Constant<value = int64 {-1}>() four = Constant<value = int64 {4}>() at = Mod(minus, four) "
        "flat = Constant<value = int64[1] {-1}>() end = Reshape(at, flat) start = Constant<value = int64[1] {0}>() "
        "s = Shape(k) most = Slice(s, start, end) rest = Slice(s, end, four1) t = Concat<axis = 0>(most, rest) "
        "q = Reshape(z, t) y = Conv(x, q)"
    ),
    "in a loop": (
        "h = Relu(x) y2 = Loop(n, , h) <body = b (int64 i, bool c, float[N,3,6,6] s) => "
        "(bool d, float[N,3,6,6] t) { d = Identity(c) three = Constant<value = int64[1] {1}>() "
        "other = Identity(same) q = Reshape(z, other) "
        "p = Slice(q, three1, four1, three1) r = Conv<pads = [1, 1, 1, 1]>(s, q3) t = Mul(r, s) }> y = Conv(y2, k)"
    ),
}


def model_of(body: str) -> onnx.ModelProto:
    model = parse(STANDARDISED.replace("BODY", body))
    model.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS, "w"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([4]), "four1"))
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(WEIGHTS[0, :3].reshape(3, 3, 3, 3)[:, :, :, :], "q3")
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "three1"))
    return model


@pytest.mark.parametrize("body", BODIES)
def test_kernels(body):
    feeds = {"x": X, "n": np.array(2)}
    check_vjp(model_of(BODIES[body]), feeds)
    gradient = vjp(model_of(BODIES[body]))
    y = run(model_of(BODIES[body]), **feeds)["y"]
    np.testing.assert_array_equal(run(gradient, **feeds, y_cotangent=y)["y"], y)


def test_bounds_of_a_relu6():
    """With its bounds in sight a Clip is a ReLU6, which passes nothing at 6."""
    text = """g (float[4] x) => (float[4] y) <float zero = {0}, float six = {6}> {
        low = Identity(zero) high = Identity(six) y = Clip(x, low, high) }"""
    x = np.array([-1, 0, 6, 3], np.float32)
    found = run(vjp(parse(text)), x=x, y_cotangent=np.ones(4, np.float32))["x_gradient"]
    np.testing.assert_array_equal(found, [0, 0, 0, 1])


def test_results_and_other_copies_stay():
    text = """g (float[2] x, bool c) => (float[2] y, float[2] same, float[2] z) <float[2] w = {1, 2}> {
        same = Identity(w) h = Identity(x) y = Mul(h, same)
        z = If(c) <then_branch = a () => (float[2] p) { p = Identity(w) }, else_branch = b () => (float[2] q)
            { q = Mul(same, x) }>
    }"""
    assert [node.op_type for node in load(parse(text)).graph] == ["Identity", "Identity", "Mul", "If"]
    x = np.array([3, 4], np.float32)
    for c, expected in ((True, [1, 2]), (False, [3, 8])):
        results = run(vjp(parse(text), "x", ["y", "z"]), x=x, c=np.array(c), y_cotangent=x, z_cotangent=x)
        np.testing.assert_array_equal(results["z"], expected)
        np.testing.assert_array_equal(results["x_gradient"], x * [1, 2] + (0 if c else x * [1, 2]))
