"""Models with If, Loop and Scan, their inputs, and gradients of ONNX Runtime that float64 agrees with."""

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnxattr.compile.gradient import vjp
from onnxattr.testing import CORRECTED, as_double
from support.tiny_graphs import run

RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 1.5, (2, 3)).astype(np.float32)
W = RNG.uniform(-0.8, 0.8, (3, 3)).astype(np.float32)
T = RNG.uniform(0.5, 1.5, (4, 2, 3)).astype(np.float32)

UNTIL = """g (float[N,3] x, float[3,3] w) => (float[N,3] y) <int64 many = {100}, float limit = {40}> {
    yes = Constant<value = bool {1}>()
    y = Loop(many, yes, x) <body = b (int64 i, bool c, float[N,3] s) => (bool d, float[N,3] t) {
        v = MatMul(s, w) a = Abs(v) t = Add(a, s) sum = ReduceSum<keepdims = 0>(t) d = Less(sum, limit) }>
}"""

NESTED = """g (float[N,3] x, int64 n) => (float[N,3] y, float[K,N,3] all) <float half = {0.5}, int64 two = {2}> {
    h = Sin(x)
    y, all = Loop(n, , x) <body = outer (int64 i, bool c, float[N,3] s) => (bool d, float[N,3] t, float[N,3] u) {
        d = Identity(c) p = Mul(s, half) rest = Mod(i, two) zero = Sub(two, two) even = Equal(rest, zero)
        m = Add(i, two)
        q = Loop(m, , p) <body = inner (int64 j, bool e, float[N,3] a) => (bool f, float[N,3] b) {
            f = Identity(e) ah = Mul(a, h) sh = Mul(s, half)
            v = If(even) <then_branch = yes () => (float[N,3] k) { k = Add(ah, sh) },
                          else_branch = no () => (float[N,3] k2) { o = Mul(ah, sh) k2 = Add(o, x) }>
            b = Tanh(v) }>
        t = Add(q, p) u = Mul(q, q) }>
}"""


def n(count: int) -> np.ndarray:
    return np.array(count, np.int64)


def gradients(model: onnx.ModelProto, feeds: dict) -> dict[str, np.ndarray]:
    """The float32 gradients of ONNX Runtime for random cotangents, and that the outputs stay the same."""
    gradient, rng = vjp(model), np.random.default_rng(1)
    onnx.checker.check_model(gradient, full_check=True)
    primal = run(model, **feeds)
    cts = {
        f"{k}_cotangent": rng.normal(size=y.shape).astype(y.dtype)
        for k, y in primal.items()
        if y.dtype.kind == "f"
    }
    results = run(gradient, **feeds, **cts)
    for name, array in primal.items():
        np.testing.assert_array_equal(results[name], array)
    wide = ReferenceEvaluator(vjp(as_double(model)), new_ops=CORRECTED)
    exact = wide.run(
        None, {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in (feeds | cts).items()}
    )
    for name, array in zip(wide.output_names, exact, strict=True):
        assert results[name].shape == array.shape
        np.testing.assert_allclose(results[name], array, rtol=0, atol=1e-5 * np.abs(array).max(initial=1e-3))
    return {name: array for name, array in results.items() if name.endswith("_gradient")}
