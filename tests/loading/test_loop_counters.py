"""Loops whose body declares the number of the step with one axis, as tf2onnx does: ONNX Runtime gives it like that."""

import numpy as np
import onnxruntime
import pytest
from support.tiny_graphs import parse, run

from onnxattr.compile.gradient import vjp

READS = {
    "where a Slice starts": "e = Add(i, one) r0 = Slice(w, i, e, zero) r = Add(r0, r0)",
    "in a list": "rows = Concat<axis = 0>(zero, i) r1 = Gather(w, rows) r = ReduceSum<keepdims = 1>(r1, zero)",
    "by its shape": "s1 = Shape(i) s2 = ReduceSum<keepdims = 0>(s1) s3 = Cast<to = 1>(s2) r1 = Gather(w, i)"
    " r = Mul(r1, s3)",
    "in a branch": """r = If(c) <
        then_branch = p () => (float[1,3] a) { a0 = Add(i, one) a = Slice(w, i, a0, zero) },
        else_branch = q () => (float[1,3] b) { b = Identity(first) } >""",
}


@pytest.mark.parametrize("reads", READS.values(), ids=READS)
def test_a_counter_that_is_declared_with_one_axis(reads):
    body = f"""body = b (int64[1] i, bool c, float[N,3] s) => (bool d, float[N,3] t) {{
        d = Identity(c) {reads} m = Mul(s, r) t = Tanh(m) }}"""
    start = "w = {1, 2, 3, -1, 2, 1, 0.5, 1.5, -1}, int64[1] one = {1}, int64[1] zero = {0}, int64 many = {3}"
    model = parse(
        f"""g (float[N,3] x) => (float[N,3] y) <float[3,3] {start}, bool yes = {{1}},
            float[1,3] first = {{1, 2, 3}}> {{ y = Loop(many, yes, x) <{body}> }}""",
        17,
    )
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    ones = np.ones((4, 3), np.float32)
    found = run(vjp(model), x=x, y_cotangent=ones)
    np.testing.assert_array_equal(found["y"], session.run(["y"], {"x": x})[0])
    step = np.float32(2**-8)
    up, down = (session.run(["y"], {"x": x + sign * step})[0].astype(np.float64) for sign in (1, -1))
    np.testing.assert_allclose(found["x_gradient"], (up - down) / (2 * step), rtol=2e-2, atol=2e-3)
