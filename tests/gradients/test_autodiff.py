"""The reverse sweep itself, on models small enough to differentiate by hand."""

import json

import numpy as np
import onnx_ir as ir
import pytest
from support.small_models import build, node
from support.tiny_graphs import CT, X, parse, run

from onnxattr.autodiff.engine import pullback
from onnxattr.autodiff.registry import Span
from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.gradient import vjp
from onnxattr.graph.builder import OpBuilder
from onnxattr.loading.layers import METADATA_KEY
from onnxattr.loading.load import load

# What comes out


@pytest.mark.parametrize("dims", ["2,3", "N,3", "N,M", "?,?"])
def test_cotangents_add_up_where_a_value_is_used_often(dims):
    model = parse(
        f"g (float[{dims}] x) => (float[{dims}] y) {{ s = Mul(x, x) t = Add(s, x) u = Mul(x, s) y = Sum(t, u, x) }}"
    )
    found = run(vjp(model), x=X, y_cotangent=CT)
    np.testing.assert_allclose(found["x_gradient"], CT * (2 * X + 2 + 3 * X**2), rtol=1e-6)
    np.testing.assert_allclose(found["y"], X**2 + X + X**3 + X, rtol=1e-6)


def test_several_outputs_and_several_inputs():
    model = parse(
        "g (float[2,3] a, float[3] b) => (float[2,3] p, float[2,3] q) { p = Mul(a, b) q = Sub(a, b) }"
    )
    b = np.array([2.0, -1.0, 0.5], np.float32)
    other = CT[::-1].copy()
    found = run(vjp(model), a=X, b=b, p_cotangent=CT, q_cotangent=other)
    np.testing.assert_allclose(found["a_gradient"], CT * b + other, rtol=1e-6)
    np.testing.assert_allclose(found["b_gradient"], (CT * X - other).sum(axis=0), rtol=1e-6)
    only_q = run(vjp(model, "b", "q"), a=X, b=b, q_cotangent=other)
    assert "a_gradient" not in only_q
    np.testing.assert_allclose(only_q["b_gradient"], -other.sum(axis=0), rtol=1e-6)


def test_with_respect_to_an_inner_value_and_the_input():
    model = parse("g (float[2,3] x) => (float[2,3] y) { h = Mul(x, x) y = Mul(h, h) }")
    found = run(vjp(model, ["h", "x"]), x=X, y_cotangent=CT)
    np.testing.assert_allclose(found["h_gradient"], 2 * CT * X**2, rtol=1e-6)
    np.testing.assert_allclose(found["x_gradient"], 4 * CT * X**3, rtol=1e-6)


def test_with_respect_to_weights_and_to_the_output():
    model = parse("g (float[2,3] x) => (float[2,3] y) <float[3] w = {2, 3, 4}> { y = Mul(x, w) }")
    found = run(vjp(model, ["w", "y"]), x=X, y_cotangent=CT)
    np.testing.assert_allclose(found["w_gradient"], (CT * X).sum(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(found["y_gradient"], CT)


def test_cotangent_of_an_inner_value():
    model = parse("g (float[2,3] x) => (float[2,3] y) { h = Mul(x, x) y = Exp(h) }")
    found = run(vjp(model, "x", "h"), x=X, h_cotangent=CT)
    np.testing.assert_allclose(found["x_gradient"], 2 * CT * X, rtol=1e-6)
    np.testing.assert_allclose(found["h"], X**2, rtol=1e-6)


@pytest.mark.parametrize("dims", ["2,3", "N,3", "?,?"])
@pytest.mark.parametrize(
    "body", ["y = Relu(z)", "i = Greater(x, z) c = Cast<to=1>(i) y = Mul(c, z)", "s = Sign(x) y = Mul(s, z)"]
)
def test_zeros_where_no_path_leads(dims, body):
    """No path at all, or one through operators that carry no gradient; infinities must not leak into the zeros."""
    model = parse(f"g (float[{dims}] x, float[{dims}] z) => (float[{dims}] y) {{ {body} }}")
    x = np.where(X > 0, X, -np.inf).astype(np.float32)
    found = run(vjp(model, "x"), x=x, z=X, y_cotangent=CT)["x_gradient"]
    np.testing.assert_array_equal(found, np.zeros_like(X))


def test_integer_paths_carry_no_gradient():
    model = parse("g (float[2,3] x) => (float[2,3] y) { i = Cast<to=7>(x) f = Cast<to=1>(i) y = Mul(f, x) }")
    found = run(vjp(model), x=X, y_cotangent=CT)
    np.testing.assert_array_equal(found["x_gradient"], CT * np.trunc(X))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_other_float_dtypes(dtype):
    def gradient(dtype):
        name = {np.float16: "float16", np.float32: "float", np.float64: "double"}[dtype]
        model = parse(
            f"g ({name}[N,3] x, {name}[3,2] w) => ({name}[N,2] y) {{ h = MatMul(x, w) r = Relu(h) "
            "s = LeakyRelu(r) t = HardSigmoid(s) y = Softmax(t) }"
        )
        w = np.array([[1, -2], [0.5, 1], [2, -1]], dtype)
        return run(vjp(model, "x"), x=X.astype(dtype), w=w, y_cotangent=CT[:, :2].astype(dtype))["x_gradient"]

    found = gradient(dtype)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, gradient(np.float64), atol=2e-3 if dtype == np.float16 else 1e-6)


# Broadcasting

PAIRS = [
    ((2, 3), (3,)),
    ((2, 3), (1, 3)),
    ((2, 3), (2, 1)),
    ((2, 3), ()),
    ((1, 3), (2, 1)),
    ((4, 1, 3), (2, 1)),
]


@pytest.mark.parametrize("known", ["static", "symbols", "one symbol", "unknown"])
@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_broadcasting_is_undone(a, b, known):
    """Whatever is known of the shapes; the one symbol N stands for sizes 1 and 3 of different inputs nowhere."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in (a, b)]

    def dims(name: str, shape: tuple[int, ...]) -> list:
        if known == "static":
            return list(shape)
        if known == "unknown":
            return [None] * len(shape)
        if known == "one symbol":
            return [f"S{size}" if size != 1 else 1 for size in shape]
        return [f"{name}{axis}" for axis in range(len(shape))]

    full = np.broadcast_shapes(a, b)
    model = build(
        [node("Mul", ["a", "b"], ["y"])], {"a": dims("a", a), "b": dims("b", b)}, {"y": [None] * len(full)}
    )
    ct = rng.normal(size=full).astype(np.float32)
    found = run(vjp(model), a=arrays[0], b=arrays[1], y_cotangent=ct)
    for name, shape, other in (("a", a, arrays[1]), ("b", b, arrays[0])):
        whole = ct * other
        extra = tuple(range(whole.ndim - len(shape)))
        expected = whole.sum(axis=extra)
        ones = tuple(axis for axis, size in enumerate(shape) if size == 1)
        expected = expected.sum(axis=ones, keepdims=True) if ones else expected
        np.testing.assert_allclose(found[f"{name}_gradient"], expected, rtol=1e-5)


def test_same_shapes_cost_no_summing():
    model = parse("g (float[N,3] a, float[N,3] b) => (float[N,3] y) { y = Add(a, b) }")
    assert [node.op_type for node in vjp(model).graph.node] == ["Add", "Identity", "Identity"]


def test_unknown_sizes_of_one_operand_cost_no_summing():
    model = parse("g (float[?,?] x) => (float[?,?] y) { h = Exp(x) y = Sigmoid(h) }")
    operators = [node.op_type for node in vjp(model).graph.node]
    assert "ReduceSum" not in operators
    assert "Shape" not in operators


# Spans


def test_a_span_is_differentiated_as_one_node():
    model = load(
        parse(
            "g (float[2,3] x) => (float[2,3] y) <float five = {5}, float zero = {0}> "
            "{ s = Mul(x, x) r = Relu(s) m = Min(r, five) t = Max(m, zero) y = Mul(t, x) }"
        )
    )
    graph = model.graph
    values = {value.name: value for node in graph for value in node.outputs}
    op = OpBuilder(graph, 18)
    ct = op.input("ct", ir.DataType.FLOAT, [2, 3])
    span = Span("Capped", (values["s"],), (values["t"],), "group")
    seen = []

    def rule(op, node, ct):
        seen.append((node.name, node.inputs, node.outputs))
        return (op.Mul(ct, 10.0),)

    table = STANDARD | {"Capped": rule}
    (gradient,) = pullback(op, {values["y"]: ct}, [graph.inputs[0]], table, {values["t"].producer(): span})
    assert seen == [("group", (values["s"],), (values["t"],))]
    gradient.name = "gradient"
    graph.outputs.append(gradient)
    found = run(ir.serde.serialize_model(model), x=X, ct=CT)["gradient"]
    capped = np.minimum(X**2, 5)
    np.testing.assert_allclose(found, CT * capped + CT * X * 10 * 2 * X, rtol=1e-6)


# What is named


def layered():
    """y = tanh(x)^2 z with a layer table, and a node with a name."""
    model = parse(
        "g (float[2,3] x, float[2,3] z) => (float[2,3] y) { t = Tanh(x) s = Mul(t, t) y = Mul(s, z) }"
    )
    model.graph.node[1].name = "squared"
    rows = [
        {"name": "tanh", "index": 1, "class": "Activation", "path": "block/tanh", "output": "t"},
        {"name": "out", "index": 2, "class": "Multiply", "path": "out", "output": "y"},
    ]
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps({"layers": rows}))
    return model


AT_TANH = 2 * np.tanh(X) * X * CT


@pytest.mark.parametrize(
    ("wrt", "outputs", "expected"),
    [
        ("block/tanh", None, {"block/tanh_gradient": AT_TANH}),
        ("tanh", "y", {"tanh_gradient": AT_TANH}),
        (1, -1, {"block/tanh_gradient": AT_TANH}),
        ("squared", "out", {"squared_gradient": X * CT}),
        (
            ["z", "s", 1],
            2,
            {"z_gradient": np.tanh(X) ** 2 * CT, "s_gradient": X * CT, "block/tanh_gradient": AT_TANH},
        ),
        ("x", "block/tanh", {"x_gradient": CT * (1 - np.tanh(X) ** 2)}),
    ],
)
def test_layers_and_nodes_are_taken_by_name_path_and_index(wrt, outputs, expected):
    gradient = vjp(layered(), wrt, outputs)
    fed = [value.name for value in gradient.graph.input if value.name.endswith("_cotangent")]
    found = run(gradient, x=X, z=X, **dict.fromkeys(fed, CT))
    assert {name for name in found if name.endswith("_gradient")} == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
