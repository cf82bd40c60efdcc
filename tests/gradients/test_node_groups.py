"""What exporters write as several nodes is differentiated as one, and what only looks like it is not."""

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnxattr.converters.keras import to_onnx
from support.node_group_models import (
    CENTRED,
    DEVIATION,
    FACTOR,
    GROUPS,
    INVERSE,
    NEAR_MISSES,
    RNG,
    VARIANCE,
    X,
    model_of,
)
from support.tiny_graphs import parse, run

from onnxattr import vjp
from onnxattr.autodiff.groups import Group, grouped
from onnxattr.autodiff.paths import active_nodes
from onnxattr.autodiff.standard import STANDARD
from onnxattr.graph.values import named_values
from onnxattr.loading.load import load
from onnxattr.testing import check_vjp


def found_in(model: onnx.ModelProto, wrt: str = "x", rules=STANDARD) -> list[str]:
    loaded = load(model)
    values = named_values(loaded.graph)
    outputs, sources = list(loaded.graph.outputs), [values[wrt]]
    nodes, needed = active_nodes(list(loaded.graph), outputs, sources, rules)
    nodes = grouped(nodes, needed, [*outputs, *sources], rules)
    return [node.op_type for node in nodes if isinstance(node, Group)]


@pytest.mark.parametrize("name", GROUPS)
def test_groups(name):
    """They are found, and their gradients are float64 differences."""
    nodes, kind = GROUPS[name]
    model = model_of(nodes)
    assert found_in(model) == [kind]
    check_vjp(model, {"x": X})


@pytest.mark.parametrize(
    "nodes",
    [
        f"{INVERSE} f = Mul(i, wide) p = Mul(x, f) o = Mul(m, f) y = Sub(p, o)",
        f"{FACTOR} o = Mul(m, f) w = Sub(wide, o) y = Add(p, w)",
        f"{VARIANCE} e = Add(v, eps4) s = Sqrt(e) y = Div(c0, s)",
        f"{DEVIATION} i = Div(one4, s) y = Mul(c0, i)",
        f"{CENTRED} q = Pow(c0, two4) v = ReduceMean(q, last) e = Add(v, eps) s = Sqrt(e) y = Div(c0, s)",
        "m = GlobalAveragePool(x) c0 = Sub(x, m) q = Mul(c0, c0) v = GlobalAveragePool(q) e = Add(v, eps4) "
        "s = Sqrt(e) y = Div(c0, s)",
    ],
    ids=["gain", "offset", "epsilon", "one", "power", "average pool"],
)
def test_operands_of_more_axes_than_x(nodes):
    """Axes of the means are those of x, and its cotangent is summed over the others."""
    check_vjp(model_of(nodes, "float[A,B,3,4] y"), {"x": X})


@pytest.mark.parametrize(
    ("nodes", "kinds"),
    [
        (
            "a = Exp(x) c0 = Exp(n) s = Add(a, c0) u = Div(a, s) v = Div(c0, s) h = Mul(v, two) y = Sub(u, h)",
            2,
        ),
        ("a = Exp(x) s = Add(a, one) u = Div(a, s) y = Mul(u, s)", 1),
        ("a = Exp(x) s = Add(a, one) u = Div(a, s) v = Log(s) y = Add(u, v)", 1),
        ("a = Exp(x) s = Add(a, one) t = Add(s, a) u = Div(s, t) y = Div(u, s)", 1),
        ("a = Abs(x) s = Add(a, one) u = Div(x, s) y = Mul(u, a)", 1),
    ],
)
def test_sums_that_others_read_too(nodes, kinds):
    model = model_of(f"n = Neg(x) {nodes}" if "(n)" in nodes else nodes)
    assert found_in(model) == ["Quotient"] * kinds
    check_vjp(model, {"x": X})


def test_numbers_that_are_nearly_those_of_the_formula():
    """The rules take the model's own numbers."""
    model = parse(
        "g (float[N,3,4] x) => (float[N,3,4] y) <float r = {0.7071080}, float one = {1.0}, float h = {0.5000005}, "
        "float n = {0.9999995}> { d = Mul(x, r) t = Erf(d) a = Add(t, one) w = Mul(x, a) z = Mul(w, h) u = Mul(z, r) "
        "s = Sigmoid(u) v = Mul(s, n) y = Mul(z, v) }"
    )
    assert sorted(found_in(model)) == ["Gelu", "Swish"]
    assert check_vjp(model, {"x": X}, tolerance=1e-8, step=1e-4) < 1e-8


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses(name):
    """They are differentiated node by node."""
    model = model_of(NEAR_MISSES[name])
    assert found_in(model) == []
    check_vjp(model, {"x": X})


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("torch layer norm", "c0"),
        ("keras layer norm", "m"),
        ("torch gelu", "t"),
        ("quick gelu", "t"),
        ("sigmoid of an exponential", "s"),
        ("tanh of exponentials", "d"),
        ("softsign", "a"),
    ],
)
def test_inner_values_that_are_asked_for(name, inner):
    """With respect to a value inside, or with a cotangent for it, there is no group; as an output alone there is."""
    nodes, kind = GROUPS[name]
    model = model_of(nodes)
    assert found_in(model, wrt=inner) == []
    check_vjp(model, {"x": X}, wrt=["x"], outputs=["y", inner])
    plain = vjp(model, wrt=inner, outputs="y")
    assert f"{inner}_gradient" in [value.name for value in plain.graph.output]
    size = "4" if inner != "m" else "1"
    both = model_of(nodes, f"float[N,3,4] y, float[N,3,{size}] {inner}")
    gradient = vjp(both, outputs="y")
    ct = np.ones_like(X)
    expected = run(vjp(model), x=X, y_cotangent=ct)["x_gradient"]
    found = run(gradient, x=X, y_cotangent=ct)
    np.testing.assert_array_equal(found["x_gradient"], expected)
    assert found[inner].shape[-1] == int(size)
    assert kind in found_in(model)


def test_a_body_that_reads_a_value_inside():
    """Its cotangent comes through the body."""
    nodes, _ = GROUPS["torch gelu"]
    model = model_of(
        nodes.replace("y = ", "y0 = ") + " go = Greater(zero, x0) w0 = Identity(y0) y = If<then_branch = "
        "a () => (float[N,3,4] o) { o = Add(w0, t) }, else_branch = b () => (float[N,3,4] o2) { o2 = Sub(w0, t) }>(go)"
    )
    model.graph.input.append(onnx.helper.make_tensor_value_info("x0", onnx.TensorProto.FLOAT, []))
    assert found_in(model) == []
    for sign in (-1, 1):
        check_vjp(model, {"x": X, "x0": np.float32(sign)}, wrt=["x"])


@pytest.mark.parametrize(
    ("name", "overridden"), [("torch gelu", "Erf"), ("keras layer norm", "Mul"), ("softsign", "Add")]
)
def test_rules_that_a_table_overrides_are_called(name, overridden):
    calls = []

    def counted(op, node, ct):
        calls.append(node.name)
        return STANDARD[overridden](op, node, ct)

    model = model_of(GROUPS[name][0])
    table = STANDARD | {overridden: counted}
    assert found_in(model, rules=table) == []
    vjp(model, rules=table)
    assert calls


@pytest.mark.parametrize("name", ["torch gelu", "keras gelu", "tanh gelu", "swish", "quick gelu"])
def test_far_from_zero(name):
    """Slopes are 0 or 1 there, and nothing overflows."""
    x = np.array([-3e38, -1e20, -200.0, -30.0, 0.0, 30.0, 200.0, 3e38, 1e20, -1e10, 50.0, -50.0], np.float32)
    x = x.reshape(1, 3, 4)
    if name == "tanh gelu":
        # Its own cube is infinite beyond.
        x = np.clip(x, -1e12, 1e12)
    found = run(vjp(model_of(GROUPS[name][0])), x=x, y_cotangent=np.ones_like(x))["x_gradient"]
    slope = np.where(x > 0, 1.0, np.where(x < 0, 0.0, 0.5))
    np.testing.assert_allclose(found, slope, atol=1e-6)


@pytest.mark.parametrize("kind", ["norm", "gelu", "tanh", "silu", "attention"])
def test_keras(kind):
    """Layers as the converter writes them, against TensorFlow."""
    keras.utils.set_random_seed(1)
    x = tokens = keras.Input((6, 8))
    if kind == "norm":
        layer = keras.layers.LayerNormalization()
        y = layer(x)
        layer.set_weights([RNG.normal(size=8), RNG.normal(size=8)])
    elif kind == "attention":
        y = keras.layers.MultiHeadAttention(2, 4)(x, x)
    else:
        activation = {"gelu": "gelu", "silu": "silu", "tanh": None}[kind]
        y = keras.layers.Dense(5, activation=activation)(x)
        y = keras.ops.gelu(y, approximate=True) if kind == "tanh" else y
    model = keras.Model(tokens, y)
    converted = to_onnx(model)
    groups = {"norm": ["LayerNormalization"], "attention": [], "silu": ["Swish"]}.get(kind, ["Gelu"])
    assert found_in(converted, wrt=converted.graph.input[0].name) == groups
    value = RNG.normal(size=(3, 6, 8)).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(value))
        result = model(given)
    ct = RNG.normal(size=result.shape).astype(np.float32)
    expected = tape.gradient(result, given, ct).numpy()
    names = converted.graph.input[0].name, converted.graph.output[0].name
    found = run(vjp(converted), **{names[0]: value, f"{names[1]}_cotangent": ct})[f"{names[0]}_gradient"]
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
