"""Functions whose attributes have defaults: calls that leave them out have those, in ONNX Runtime and prepared."""

import numpy as np
import pytest
from support.tiny_graphs import parse, run

from onnxattr.compile.gradient import vjp

X = np.array([[-1.0, 2.0, -3.0]], np.float32)
INNER = '<domain: "dom", opset_import: ["": 18]> Leaky {k} (a) => (o) {{ o = LeakyRelu<alpha: float = @{name}>(a) }}'
OUTER = """<domain: "dom", opset_import: ["": 18, "dom": 1]> Turned {s} (p) => (o)
{{ q = Neg(p) o = dom.Leaky {given} (q) }}"""
WITH, WITHOUT = "<k: float = 0.5>", "<k>"
HANDED_ON = "<k: float = @s>"
CALLED, GIVEN = "y = dom.Turned(x)", "y = dom.Turned<s = 0.75>(x)"

#: The call, what Turned and Leaky have as attributes, what Turned gives Leaky, and the slope.
CASES = {
    "of the function called": (CALLED, "<s: float = 0.25>", WITHOUT, HANDED_ON, 0.25),
    "before that of the next": (CALLED, "<s: float = 0.25>", WITH, HANDED_ON, 0.25),
    "of the next, handed on": (CALLED, "<s>", WITH, HANDED_ON, 0.5),
    "of the next, left out": (CALLED, "<s>", WITH, "", 0.5),
    "of the next, beside another": (GIVEN, "<s: float = 0.25>", WITH, "", 0.5),
    "given": (GIVEN, "<s: float = 0.25>", WITH, HANDED_ON, 0.75),
    "given without defaults": (GIVEN, "<s>", WITHOUT, HANDED_ON, 0.75),
    "the operator's own": (CALLED, "<s>", WITHOUT, HANDED_ON, 0.01),
    "in a branch": (
        "z = ReduceSum<keepdims = 0>(x) c = Less(z, zero) y = If(c) <then_branch = t () => (float[1,3] u) "
        "{ u = dom.Turned(x) }, else_branch = e () => (float[1,3] v) { v = Abs(x) }>",
        "<s: float = 0.25>", WITHOUT, HANDED_ON, 0.25,
    ),
}  # fmt: skip


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("case", CASES)
def test_default(case, order):
    call, outer, inner, given, slope = CASES[case]
    functions = [INNER.format(k=inner, name="k"), OUTER.format(s=outer, given=given)]
    graph = f"g (float[1,3] x) => (float[1,3] y) <float zero = {{0}}> {{ {call} }}"
    model = parse(" ".join([graph, *functions[::order]]), ir_version=9, domains="dom")
    expected = np.where(X < 0, -X, -X * slope)
    np.testing.assert_allclose(run(model, x=X)["y"], expected, rtol=1e-6)
    results = run(vjp(model), x=X, y_cotangent=np.ones_like(X))
    np.testing.assert_allclose(results["y"], expected, rtol=1e-6)
    np.testing.assert_allclose(results["x_gradient"], np.where(X < 0, -1, -slope), rtol=1e-6)
