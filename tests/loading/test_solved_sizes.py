"""Sizes that inference leaves open and that follow from others."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from onnxattr import vjp
from onnxattr.loading.shapes.infer import infer_shapes

HEADER = '<ir_version: 8, opset_import: ["" : 18]> g '
GATE = "r = Reshape(g, four) y = Mul(x, r)"


@pytest.mark.parametrize(
    ("inputs", "nodes", "expected"),
    [
        ("float[N,2,3,3] x, float[N,2] g", GATE, ["N", 2, 3, 3]),
        # Behind one broadcast the next.
        (
            "float[N,2,3,3] x, float[N,2] g",
            GATE.replace("y", "a") + " b = Sub(x, a) y = Where(c, a, b)",
            ["N", 2, 3, 3],
        ),
        (
            "float[N,2,3,3] x, float[N,2] g",
            GATE.replace("y", "a") + " p = Reshape(a, flat) y = Tanh(p)",
            ["N", 18],
        ),
        ("float[N,2,3,3] x, float[N,2] g", GATE.replace("y", "a") + " y = MatMul(a, x)", ["N", 2, 3, 3]),
        ("float[N,4,3] x, float[M,12] g", "r = Reshape(g, three) y = Identity(r)", ["M", 4, 3]),
        # Half of the elements of two rows, and two unknown sizes, are no one size.
        ("float[N,4] x", "y = Reshape(x, eights)", [None, 8]),
        ("float[N,A] x", "r = Reshape(x, eights) y = Tanh(r)", [None, 8]),
        # Two sizes that differ broadcast to one that only a run knows.
        ("float[N,2] x, float[M,2] g", "y = Add(x, g)", [None, 2]),
        # A caller's own name is no open size.
        ("float[unk__0,2,1,1] x, float[N,2] g", GATE, [None, 2, 1, 1]),
    ],
)
def test_sizes(inputs, nodes, expected):
    constants = (
        "<int64[4] four = {-1,2,1,1}, int64[2] flat = {-1,18}, int64[3] three = {-1,4,3}, int64[2] eights = {-1,8}, "
        "bool[1] c = {1}>"
    )
    rank = ",".join("?" * len(expected))
    model = onnx.parser.parse_model(f"{HEADER}({inputs}) => (float[{rank}] y) {constants} {{ {nodes} }}")
    read = ir.serde.deserialize_model(model)
    infer_shapes(read)
    (y,) = ir.serde.serialize_model(read).graph.output
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in y.type.tensor_type.shape.dim]
    names = [d if not isinstance(d, str) or d in "NM" else None for d in dims]
    assert names == expected


def test_a_gate_of_channels_needs_no_look_at_sizes():
    """x times its own channel means: the gradient broadcasts without a test at run time, and is that of the formula."""
    model = onnx.parser.parse_model(
        HEADER
        + """(float[N,2,3,3] x) => (float[N,2,3,3] y) <int64[4] four = {-1,2,1,1}, int64[2] axes = {2,3}> {
          m = ReduceMean<keepdims = 0>(x, axes) r = Reshape(m, four) y = Mul(x, r)
        }"""
    )
    gradient = vjp(model)
    assert not {"NonZero", "Equal"} & {node.op_type for node in gradient.graph.node}
    rng = np.random.default_rng(0)
    x, ct = (rng.normal(size=(4, 2, 3, 3)).astype(np.float32) for _ in range(2))
    session = onnxruntime.InferenceSession(gradient.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["x_gradient"], {"x": x, "y_cotangent": ct})
    means = x.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(found, ct * means + (ct * x).sum(axis=(2, 3), keepdims=True) / 9, atol=1e-5)
