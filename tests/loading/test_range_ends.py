"""Range whose ends are vectors of one element, which ONNX Runtime takes only where it cannot see that."""

import numpy as np
import pytest
from support.tiny_graphs import parse, run

from onnxattr import vjp
from onnxattr.errors import OnnxAttrError

CONSTANTS = "int64[1] none = {0}, int64[1] one = {1}, int64[1] three = {3}, int64 zero = {0}"
#: Nodes that give the int64 numbers 0, 1, 2 as r, for x of shape (2, 3).
NUMBERS = {
    "constants": "r = Range(none, three, one)",
    "a size of the input": "s = Shape(x) e = Gather(s, one) r = Range(none, e, one)",
    "a size, one end a scalar": "s = Shape(x) e = Gather(s, one) r = Range(zero, e, one)",
    "a matrix of one element": "u = Unsqueeze(three, none) r = Range(none, u, one)",
    "a vector of unknown length": "s = Shape(x) k = NonZero(zero) e = Slice(s, one, three) r = Range(none, e, one)",
    "behind an If": """n = Size(x) c = Greater(n, zero) e = If(c) <then_branch = t () => (a) { s = Shape(x)
        a = Gather(s, one) }, else_branch = e () => (b) { b = Identity(one) }> r = Range(none, e, one)""",
    "behind an If that only a run decides": """m = ReduceSum<keepdims = 0>(x) w = Cast<to = 7>(m) c = Less(w, zero)
        e = If(c) <then_branch = t () => (a) { a = Identity(none) }, else_branch = e () => (b) { s = Shape(x)
        b = Gather(s, one) }> r = Range(none, e, one)""",
    "inside an If": """m = ReduceSum<keepdims = 0>(x) w = Cast<to = 7>(m) c = Less(w, zero)
        r = If(c) <then_branch = t () => (a) { a = Identity(none) }, else_branch = e () => (b) {
        b = Range(none, three, one) }>""",
    "inside a Loop": """m = Constant<value = int64 {1}>() go = Constant<value = bool {1}>() l = Loop(m, go)
        <body = b (int64 i, bool c) => (bool d, k) { d = Identity(c) k = Range(none, three, one) }>
        r = Squeeze(l, none)""",
}


@pytest.mark.parametrize("opset", [13, 18, 23])
@pytest.mark.parametrize("case", NUMBERS)
def test_gradient(case, opset):
    """y = x^2 * (0, 1, 2);  xbar = 2 x * (0, 1, 2)."""
    model = parse(
        f"g (float[2,3] x) => (float[?,?] y) <{CONSTANTS}> {{ {NUMBERS[case]} f = Cast<to = 1>(r) q = Mul(x, x) "
        "y = Mul(q, f) }",
        opset,
    )
    x = np.random.default_rng(0).uniform(0.5, 1.5, (2, 3)).astype(np.float32)
    found = run(vjp(model), x=x, y_cotangent=np.ones_like(x))
    np.testing.assert_allclose(found["y"], x * x * [0, 1, 2], rtol=1e-6)
    np.testing.assert_allclose(found["x_gradient"], 2 * x * [0, 1, 2], rtol=1e-6)


def test_two_ends_are_none():
    model = parse(
        f"g (float[2] x) => (float[?] y) <{CONSTANTS}, int64[2] two = {{2, 2}}> {{ r = Range(none, two, one) "
        "f = Cast<to = 1>(r) y = Mul(x, f) }"
    )
    with pytest.raises(OnnxAttrError, match="should be scalars"):
        vjp(model)


def test_vectors_ask_for_as_much_as_scalars_do():
    huge = f"{CONSTANTS}, int64[1] huge = {{{2**40}}}"
    model = parse(
        f"g (float[2] x) => (float[?] y) <{huge}> {{ r = Range(none, huge, one) f = Cast<to = 1>(r) "
        "s = ReduceSum<keepdims = 0>(f) y = Mul(x, s) }"
    )
    with pytest.raises(OnnxAttrError, match="r'"):
        vjp(model)
