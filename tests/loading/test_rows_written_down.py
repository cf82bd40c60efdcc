"""Models that write some rows of a batch down as numbers: points of a path are no further rows of them."""

import numpy as np
import pytest
from support.tiny_graphs import parse, run

import onnxattr
from onnxattr import IntegratedGradients
from onnxattr.compile.gradient import vjp

pytestmark = pytest.mark.filterwarnings(
    "ignore:The samples of a batch are", "ignore:The explainer was not run"
)
STEPS = 5

#: What is done to x (2, 3), or (2, 3, 2), with weights i, u and w.
WRITTEN = {
    "ScatterElements": (
        "q = ScatterElements<axis = 1>(x, i, u)", "int64[2,2] i = {0, 2, 1, 1}, float[2,2] u = {1, 2, 3, 4}"
    ),
    "ScatterElements, added": (
        'q = ScatterElements<axis = 1, reduction = "add">(x, i, u)',
        "int64[2,2] i = {0, 2, 1, 0}, float[2,2] u = {1, 2, 3, 4}",
    ),
    "ScatterElements, one row": (
        "q = ScatterElements<axis = 1>(x, i, u)", "int64[1,2] i = {0, 2}, float[1,2] u = {1, 2}"
    ),
    "ScatterND, an element": ("q = ScatterND(x, i, u)", "int64[1,2] i = {1, 2}, float[1] u = {3}"),
    "ScatterND, a row": ("q = ScatterND(x, i, u)", "int64[1,1] i = {1}, float[1,3] u = {1, 2, 3}"),
    "ScatterND, a column": (
        "q = ScatterND(x, i, u)", "int64[2,1,2] i = {0, 1, 1, 1}, float[2,1] u = {3, 4}"
    ),
    "ScatterND, rows last": (
        "t = Transpose(x) s = ScatterND(t, i, u) q = Transpose(s)", "int64[1,1] i = {1}, float[1,2] u = {1, 2}"
    ),
    "one row apart": (
        "a = Slice(x, zero, one, zero) e = Exp(a) b = Slice(x, one, end, zero) q = Concat<axis = 0>(e, b)",
        "int64[1] zero = {0}, int64[1] one = {1}, int64[1] end = {9223372036854775807}",
    ),
    "one row apart, padded": (
        """a = Slice(x, zero, one, zero) e = Exp(a) b = Slice(x, one, end, zero) n = Shape<start = 0, end = 1>(x)
        r = Sub(n, one) p = Concat<axis = 0>(zero, zero, r, zero) f = Pad(e, p) g = Pad(b, i) q = Add(f, g)""",
        """int64[1] zero = {0}, int64[1] one = {1}, int64[1] end = {9223372036854775807},
        int64[4] i = {1, 0, 0, 0}""",
    ),
    "rows as channels": (
        "c = Unsqueeze(x, zero) n = InstanceNormalization<epsilon = 1.0>(c, u, u) q = Squeeze(n, zero)",
        "int64[1] zero = {0}, float[2] u = {1, 2}",
    ),
    "ReverseSequence": ("q = ReverseSequence<batch_axis = 0, time_axis = 1>(x, i)", "int64[2] i = {3, 2}"),
    "Einsum": ('q = Einsum<equation = "ni,nij->nj">(x, w)', "float[2,3,1] w = {1, 2, 3, -1, 4, -2}"),
    "Gemm, rows added": ("q = Gemm(x, w, u)", "float[3,1] w = {1, -2, 3}, float[2,1] u = {2, -1}"),
}  # fmt: skip
X = np.array([[0.5, -1.5, 2.0], [1.0, 0.25, -0.75]], np.float32)


@pytest.mark.parametrize("batch", ["2", "N"])
@pytest.mark.parametrize("case", WRITTEN)
def test_path(case, batch, tmp_path):
    nodes, weights = WRITTEN[case]
    model = parse(f"g (float[{batch},3] x) => (float[?,?] y) <{weights}> {{ {nodes} y = Mul(q, q) }}")
    width = run(model, x=X)["y"].shape[1]
    target = np.array([[1, -2, 3], [-4, 5, 6]], np.float32)[:, :width]
    gradient, points = vjp(model), np.linspace(0, 1, STEPS, dtype=np.float32)
    found = [run(gradient, x=X * a, y_cotangent=target)["x_gradient"] for a in points]
    expected = X * np.trapezoid(found, points, axis=0)
    method = IntegratedGradients(model, steps=STEPS, reducer=None)
    np.testing.assert_allclose(method.predict(X), run(model, x=X)["y"])
    np.testing.assert_allclose(method.explain(X, target), expected, rtol=1e-5, atol=1e-6)
    method.export(tmp_path / "e.onnx", target="weights")
    np.testing.assert_allclose(
        onnxattr.load(tmp_path / "e.onnx").explain(X, target), expected, rtol=1e-5, atol=1e-6
    )
    assert method.prepared.rows.mixed


def test_rows_that_are_counted_are_apart():
    """What is written to the same column of every row, as exporters write x[:, 2] = 7."""
    nodes = """s = Shape<start = 0, end = 1>(x) n = Squeeze(s) r = Range(zero, n, one) c = Unsqueeze(r, axis)
      l = Mul(c, zero) k = Add(l, two) i = Concat<axis = 1>(c, k) u = Expand(seven, s) y = ScatterND(x, i, u)"""
    weights = "int64 zero = {0}, int64 one = {1}, int64 two = {2}, int64[1] axis = {1}, float[1] seven = {7}"
    method = IntegratedGradients(parse(f"g (float[N,3] x) => (float[N,3] y) <{weights}> {{ {nodes} }}"))
    assert method.prepared.rows.kind == "proven"
