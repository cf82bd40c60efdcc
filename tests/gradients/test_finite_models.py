"""Gradients of models are finite where the mathematics is: what is not taken, not used or held fixed spoils nothing."""

from collections import Counter

import numpy as np
import onnx
import pytest
from support.gradient_graphs import nodes_of, run
from support.tiny_graphs import parse

from onnxattr import IntegratedGradients, SquareGrad
from onnxattr.autodiff.overrides import GUIDED
from onnxattr.compile.gradient import vjp

INF = np.inf
X = np.array([[-1, 0, 4], [4, 1, -9]], np.float32)
ROOT = np.array([[0, 0, 0.25], [0.25, 0.5, 0]])
ZERO_ROW = np.array([[0, 0, 0], [3, 0, 4]], np.float32)


def unary(body: str, constants: str = "", dtype: str = "float", opset: int = 18):
    return parse(f"g ({dtype}[N,3] x) => ({dtype}[N,3] y) <{constants}> {{ {body} }}", opset=opset)


def gradient(model, x: np.ndarray, ct: np.ndarray | None = None, rules=None, **feeds) -> np.ndarray:
    """The gradient in ONNX Runtime, with ones as cotangents if none are given."""
    graph = vjp(model, ["x"], **({} if rules is None else {"rules": rules}))
    (wanted,) = (v for v in graph.graph.input if v.name.endswith("_cotangent"))
    if ct is None:
        ct = np.ones([d.dim_value or len(x) for d in wanted.type.tensor_type.shape.dim], x.dtype)
    return run(graph, {"x": x, wanted.name: ct, **feeds})["x_gradient"]


COUNTS = "int64 n = {2}, bool go = {1}"

#: Square roots of what is held at 0: name, body, constants, opset.
HELD = [
    ("Relu", "r = Relu(x) y = Sqrt(r)", ""),
    ("ReLU6", "r = Clip(x, low, high) y = Sqrt(r)", "float low = {0}, float high = {6}"),
    ("Max", "r = Max(low, x) y = Sqrt(r)", "float low = {0}"),
    ("LeakyRelu of slope 0", "r = LeakyRelu<alpha = 0.0>(x) y = Sqrt(r)", ""),
    ("PRelu of slope 0", "r = PRelu(x, s) y = Sqrt(r)", "float[1] s = {0}"),
    ("ThresholdedRelu", "r = ThresholdedRelu<alpha = 0.0>(x) y = Sqrt(r)", ""),
    ("a product with a mask", "c = Greater(x, z) m = Cast<to = 1>(c) r = Mul(x, m) y = Sqrt(r)", "float z = {0}"),
    ("Where", "c = Greater(x, z) r = Where(c, x, z) y = Sqrt(r)", "float z = {0}"),
    ("Pow", "r = Relu(x) y = Pow(r, p)", "float p = {0.5}"),
    ("two ReLUs", "q = Relu(x) r = Relu(q) y = Sqrt(r)", ""),
    ("a ReLU in front of more", "q = Relu(x) t = Transpose<perm = [1, 0]>(q) s = Sqrt(t) "
     "y = Transpose<perm = [1, 0]>(s)", ""),
    ("a branch", "c = Cast<to = 9>(o) q = If(c) <then_branch = t () => (a) { a = Relu(x) }, "
     "else_branch = e () => (b) { b = Identity(x) }> y = Sqrt(q)", "float o = {1}"),
    ("a root in a branch", "c = Cast<to = 9>(o) q = Relu(x) y = If(c) <then_branch = t () => (a) { a = Sqrt(q) }, "
     "else_branch = e () => (b) { b = Identity(q) }>", "float o = {1}"),
    ("a Loop", "l = Loop(n, go, x) <body = b (int64 i, bool c, float[N,3] s) => (c2, s2) { c2 = Identity(c) "
     "s2 = Relu(s) }> y = Sqrt(l)", COUNTS),
    ("a Scan", "s, r = Scan<num_scan_inputs = 1, body = b (float[3] a, float[3] v) => (a2, w) "
     "{ a2 = Identity(a) w = Relu(v) }>(a0, x) y = Sqrt(r)", "float[3] a0 = {0, 0, 0}"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "constants"), [row[1:] for row in HELD], ids=[row[0] for row in HELD])
def test_root_of_what_is_held_at_zero(body, constants):
    np.testing.assert_allclose(gradient(unary(body, constants), X), ROOT, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "double"])
def test_root_of_a_relu_in_other_precisions(dtype):
    model = unary("r = Relu(x) y = Sqrt(r)", dtype=dtype)
    found = gradient(model, X.astype({"float16": np.float16, "double": np.float64}[dtype]))
    np.testing.assert_allclose(found, ROOT, rtol=1e-3)


def test_root_of_a_clip():
    """At its bound a clip lets all through, as in TensorFlow: there the root is infinitely steep."""
    found = gradient(unary("r = Clip(x, low) y = Sqrt(r)", "float low = {0}"), X)
    np.testing.assert_allclose(found, [[0, INF, 0.25], [0.25, 0.5, 0]], rtol=1e-6)


def test_guided_root_of_a_relu():
    np.testing.assert_allclose(gradient(unary("r = Relu(x) y = Sqrt(r)"), X, rules=GUIDED), ROOT, rtol=1e-6)


def test_recurrent_relu_that_is_off():
    model = parse(
        "g (float[4,1,2] x) => (float[4,1,1,2] y) <float[1,2,2] w = {1, 0, 0, 1}, float[1,2,2] r = {0, 0, 0, 0}>"
        ' { h = RNN<hidden_size = 2, activations = ["Relu"]>(x, w, r) y = Sqrt(h) }'
    )
    x = np.array([4, -1, 1, -4, 4, 0, 1, 1], np.float32).reshape(4, 1, 2)
    expected = np.array([0.25, 0, 0.5, 0, 0.25, 0, 0.5, 0.5]).reshape(4, 1, 2)
    np.testing.assert_allclose(gradient(model, x, np.ones((4, 1, 1, 2), np.float32)), expected, rtol=1e-6)


#: where(x > 0, f(x), x): f as nodes from x to t, and its derivative where x > 0.
BRANCHES = [
    ("sqrt", "t = Sqrt(x)", lambda x: 0.5 / np.sqrt(x)),
    ("log", "t = Log(x)", lambda x: 1 / x),
    ("1 / x", "t = Reciprocal(x)", lambda x: -1 / x**2),
    ("x / x", "t = Div(x, x)", lambda x: 0 * x),
    ("x^0.5", "t = Pow(x, half)", lambda x: 0.5 / np.sqrt(x)),
    ("x^x", "t = Pow(x, x)", lambda x: x**x * (np.log(x) + 1)),
    ("exp(-1000 x)", "k = Mul(x, large) t = Exp(k)", lambda x: 0 * x),
    ("x sqrt(x)", "q = Sqrt(x) t = Mul(q, x)", lambda x: 1.5 * np.sqrt(x)),
    ("x log(x)", "q = Log(x) t = Mul(q, x)", lambda x: np.log(x) + 1),
    ("sqrt(log(x + 1))", "a = Add(x, one) q = Log(a) t = Sqrt(q)", lambda x: 0.5 / ((x + 1) * np.sqrt(np.log1p(x)))),
    ("sigmoid(log(x))", "q = Log(x) t = Sigmoid(q)", lambda x: 1 / (1 + x) ** 2),
    ("relu(log(x))", "q = Log(x) t = Relu(q)", lambda x: np.where(x > 1, 1 / x, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("body", "slope"), [row[1:] for row in BRANCHES], ids=[row[0] for row in BRANCHES])
def test_branch_that_is_not_taken(body, slope):
    constants = "float zero = {0}, float one = {1}, float half = {0.5}, float large = {-1000}"
    model = unary(f"{body} c = Greater(x, zero) y = Where(c, t, x)", constants)
    with np.errstate(all="ignore"):
        expected = np.where(X > 0, slope(X.astype(np.float64)), 1)
    np.testing.assert_allclose(gradient(model, X), expected, rtol=1e-5, atol=1e-6)


#: Divisors that are 0 at the first x, where small numbers are lost: nodes, x, the gradient at the others.
LOST = [
    ("(sigmoid(x) - 1e-9) - 1", "s = Sigmoid(x) a = Sub(s, tiny) d = Sub(a, one)", [30, 0, 0], -1),
    ("(x^2 + 1e-9)^8", "s = Mul(x, x) a = Add(s, tiny) d = Pow(a, eight)", [0, 1, 1], -16),
    ("where(x = 0, 1, x)^2", "z = Equal(x, zero) w = Where(z, one, x) d = Mul(w, w)", [1e-30, 2, 2], -0.25),
    ("float16(clip(x))", "c = Clip(x, tiny) h = Cast<to = 10>(c) d = Cast<to = 1>(h)", [0, 2, 2], -0.25),
]


@pytest.mark.parametrize(("body", "x", "slope"), [row[1:] for row in LOST], ids=[row[0] for row in LOST])
def test_small_numbers_that_are_lost(body, x, slope):
    constants = "float zero = {0}, float one = {1}, float tiny = {1e-9}, float eight = {8}"
    model = unary(f"{body} y = Reciprocal(d)", constants)
    found = gradient(model, np.array([x], np.float32), np.array([[0, 1, 1]], np.float32))
    np.testing.assert_allclose(found, [[0, slope, slope]], rtol=1e-5)


#: What x of a zero row and of (3, 0, 4) gives: body, constants, the gradient for cotangents (0, 0, 0) and (1, 2, 3).
UNUSED = [
    ("x / norm", "n = ReduceL2(x, a) y = Div(x, n)", "int64[1] a = {1}", [-0.16, 0.4, 0.12]),
    ("x / sqrt(sum of squares)", "s = ReduceSumSquare(x, a) n = Sqrt(s) y = Div(x, n)", "int64[1] a = {1}",
     [-0.16, 0.4, 0.12]),
    ("x * rsqrt", "s = ReduceSumSquare(x, a) n = Sqrt(s) r = Reciprocal(n) y = Mul(x, r)", "int64[1] a = {1}",
     [-0.16, 0.4, 0.12]),
    ("LpNormalization", "y = LpNormalization<axis = 1>(x)", "", [-0.16, 0.4, 0.12]),
    ("x / sum", "s = ReduceSum(x, a) y = Div(x, s)", "int64[1] a = {1}",
     [1 / 7 - 15 / 49, 2 / 7 - 15 / 49, 3 / 7 - 15 / 49]),
    ("x / max", "s = ReduceMax(x, a) y = Div(x, s)", "int64[1] a = {1}", [0.25, 0.5, -3 / 16]),
    ("log of a product", "s = ReduceProd(x, a) l = Log(s) o = Add(x, l) q = Where(c, o, x) y = Mul(q, two)",
     "int64[1] a = {1}, bool c = {0}, float two = {2}", [2, 4, 6]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "constants", "expected"), [r[1:] for r in UNUSED], ids=[r[0] for r in UNUSED]
)
def test_rows_that_are_not_used(body, constants, expected):
    ct = np.array([[0, 0, 0], [1, 2, 3]], np.float32)
    found = gradient(unary(body, constants), ZERO_ROW, ct)
    np.testing.assert_allclose(found, [[0, 0, 0], expected], rtol=1e-5, atol=1e-6)


#: Sums with weights of 0 in front of a square root: model, x, gradient for cotangents of 1.
LEFT_OUT = {
    "MatMul": (
        "g (float[N,3] x) => (float[N,2] y) <float[3,2] w = {1, 0, 0, 1, 0, 0}> { s = MatMul(x, w) y = Sqrt(s) }",
        [[0, 4, 1]],
        [[INF, 0.25, 0]],
    ),
    "Gemm": (
        "g (float[N,3] x) => (float[N,2] y) <float[2,3] w = {1, 0, 0, 0, 1, 0}>"
        " { s = Gemm<transB = 1>(x, w) y = Sqrt(s) }",
        [[0, 4, 1]],
        [[INF, 0.25, 0]],
    ),
    "Conv": (
        "g (float[N,1,4] x) => (float[N,1,2] y) <float[1,1,3] w = {1, 0, 1}> { s = Conv(x, w) y = Sqrt(s) }",
        [[[0, 4, 0, 5]]],
        [[[INF, 1 / 6, INF, 1 / 6]]],
    ),
    "nearest Resize": (
        "g (float[N,1,3] x) => (float[N,1,6] y) <float[3] s = {1, 1, 2}>"
        ' { r = Relu(x) q = Resize<mode = "nearest">(r, , s) y = Sqrt(q) }',
        [[[-1, 0, 4]]],
        [[[0, 0, 0.5]]],
    ),
    "linear Resize": (
        "g (float[N,1,4] x) => (float[N,1,8] y) <float[3] s = {1, 1, 2}>"
        ' { r = Relu(x) q = Resize<mode = "linear">(r, , s) y = Sqrt(q) }',
        [[[-1, -2, -3, 4]]],
        [[[0, 0, 0, 0.125 + 0.375 / np.sqrt(3) + 0.25]]],
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_infinite_cotangents_do_not_reach_what_is_left_out(name):
    text, x, expected = LEFT_OUT[name]
    np.testing.assert_allclose(gradient(parse(text), np.array(x, np.float32)), expected, rtol=1e-6)


@pytest.mark.parametrize("cube", ["q = Pow(x, p)", "s = Mul(x, x) q = Mul(s, x)"])
def test_gelu_of_large_values_in_float16(cube):
    """Its cube is infinite in float16 from 41 on, and its derivative 0 or 1."""
    constants = {"p": 3, "k": 0.044715, "c": 0.797885, "one": 1, "half": 0.5}
    casts = " ".join(f"{name} = Cast<to = 10>({name}_)" for name in constants)
    model = unary(
        f"{casts} {cube} a = Mul(q, k) b = Add(x, a) d = Mul(b, c) t = Tanh(d) e = Add(t, one) f = Mul(x, e)"
        " y = Mul(f, half)",
        ", ".join(f"float {name}_ = {{{value}}}" for name, value in constants.items()),
        dtype="float16",
    )
    found = gradient(model, np.array([[300, -300, 0]], np.float16))
    np.testing.assert_allclose(found, [[1, 0, 0.5]], rtol=1e-3)


SCORES = "k = Mul(x, two) t = Transpose<perm = [0, 2, 1]>(k) s = MatMul(x, t) "
HEAVY = np.zeros((4, 4), np.float32)
HEAVY[0, 3] = -INF
MASK = HEAVY.copy()
MASK[1] = -INF
#: Attention in which the second query sees no key, and whose second row is not read.
ATTENTION = {
    "added": "float[4,4] m | a = Add(s, m) p = Softmax<axis = -1>(a) h = MatMul(p, x)",
    "chosen": "bool[4,4] m | z = Sub(two, two) o = Div(two, z) i = Neg(o) a = Where(m, s, i) p = Softmax<axis = -1>(a)"
    " h = MatMul(p, x)",
    "einsum": 'float[4,4] m | a = Add(s, m) p = Softmax<axis = -1>(a) h = Einsum<equation = "bqk,bkd->bqd">(p, x)',
    "written out": "float[4,4] m | a = Add(s, m) n = ReduceMax(a, last) d = Sub(a, n) e = Exp(d)"
    " u = ReduceSum(e, last) p = Div(e, u) h = MatMul(p, x)",
    "LogSoftmax": "float[4,4] m | a = Add(s, m) l = LogSoftmax<axis = -1>(a) p = Exp(l) h = MatMul(p, x)",
    "and more": "float[4,4] m | a = Add(s, m) p = Softmax<axis = -1>(a) q = MatMul(p, x) r = MatMul(q, w) v = Relu(r)"
    " g = Gelu(v) h = LayerNormalization(g, ones)",
    "operator": "float[4,4] m | q = Unsqueeze(x, first) o = Attention(q, q, q, m) h = Squeeze(o, first)",
}  # fmt: skip


@pytest.mark.parametrize("constant", [False, True], ids=["fed", "constant"])
@pytest.mark.parametrize("name", ATTENTION)
def test_query_that_is_masked_out(name, constant):
    mask_input, _, body = ATTENTION[name].partition(" | ")
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    ct = np.random.default_rng(1).normal(size=(2, 3, 3)).astype(np.float32)
    constants = "float two = {2}, int64[3] rows = {0, 2, 3}, int64[1] last = {-1}, int64[1] first = {1},"
    constants += "float[3] ones = {1, 1, 1}, float[3,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 10}"
    found = []
    for mask in (MASK, HEAVY):
        text = f"g (float[N,4,3] x, {mask_input}) => (float[N,3,3] y) <{constants}> {{ {SCORES} {body}"
        model = parse(f"{text} y = Gather<axis = 1>(h, rows) }}", opset=23)
        value = mask == 0 if mask_input.startswith("bool") else mask
        if constant:
            model.graph.initializer.append(onnx.numpy_helper.from_array(value, "m"))
            del model.graph.input[1]
            found.append(gradient(model, x, ct))
        else:
            found.append(gradient(model, x, ct, m=value))
    assert np.isfinite(found[1]).all()
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


#: Models that keep away from singular points, and so pay nothing.
PLAIN = {
    "convolutions": "g (float[N,3,8,8] x, float[4,3,3,3] w, float[4] b) => (float[N,4] y) { c = Conv(x, w)"
    " n = BatchNormalization(c, b, b, b, b) r = Relu(n) p = MaxPool<kernel_shape = [2, 2]>(r)"
    " a = AveragePool<kernel_shape = [2, 2], pads = [1, 1, 1, 1]>(p) q = GlobalAveragePool(a) f = Flatten(q)"
    " y = Softmax<axis = 1>(f) }",
    "normalised by hand": "g (float[N,4] x) => (float[N,4] y) <int64[1] a = {1}, float e = {0.001}, float t = {2}>"
    " { m = ReduceMean(x, a) d = Sub(x, m) p = Pow(d, t) v = ReduceMean(p, a) s = Add(v, e) r = Sqrt(s)"
    " y = Div(d, r) }",
    "normalised by reciprocals": "g (float[N,4] x) => (float[N,4] y) <int64[1] a = {1}, float e = {0.001}>"
    " { m = ReduceMean(x, a) d = Sub(x, m) p = Mul(d, d) v = ReduceMean(p, a) s = Add(v, e) r = Sqrt(s)"
    " q = Reciprocal(r) y = Mul(d, q) }",
    "attention": "g (float[N,4,4] x, int64[N,4] k, float[4] w) => (float[N,4,4] y) <int64[1] a = {1},"
    " float l = {-10000}> { n = LayerNormalization(x, w)"
    " t = Transpose<perm = [0, 2, 1]>(n) s = MatMul(n, t) c = Cast<to = 1>(k)"
    " u = Unsqueeze(c, a) b = Mul(u, l) z = Add(s, b) p = Softmax<axis = -1>(z) h = MatMul(p, n) y = Gelu(h) }",
    "norm with a floor": "g (float[N,4] x) => (float[N,4] y) <int64[1] a = {1}, float e = {0.001}>"
    " { n = ReduceL2(x, a) c = Clip(n, e) y = Div(x, c) }",
    "sigmoid by exp": "g (float[N,4] x) => (float[N,4] y) <float o = {1}, float m = {-9}, float h = {9}>"
    " { c = Clip(x, m, h) n = Neg(c) e = Exp(n) s = Add(e, o) y = Reciprocal(s) }",
}  # fmt: skip


#: How often the rules of models hold Equal, Where and Or for reasons of their own: ties, kinks and norms of zeros.
OWN = {"convolutions": [2, 0, 0], "norm with a floor": [2, 2, 0], "sigmoid by exp": [1, 0, 0]}


@pytest.mark.parametrize("name", PLAIN)
def test_models_that_keep_away_from_singular_points_pay_nothing(name):
    model, own = parse(PLAIN[name], opset=20), OWN.get(name, [0, 0, 0])
    for value in list(model.graph.input)[1:]:
        if value.name in ("w", "b"):
            dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
            weights = np.linspace(0.5, 1, int(np.prod(dims)), dtype=np.float32).reshape(dims)
            model.graph.initializer.append(onnx.numpy_helper.from_array(weights, value.name))
            model.graph.input.remove(value)
    operators = Counter(node.op_type for node in nodes_of(vjp(model, ["x"]).graph))
    assert [operators[name] for name in ("Equal", "Where", "Or")] == own


def needed_for(graph, output):
    """The nodes of a graph without subgraphs that an output is computed from."""
    sought, needed = {output}, []
    for node in reversed(graph.node):
        if not sought.isdisjoint(node.output):
            sought.update(node.input)
            needed.append(node)
    return needed


def test_noise_counts_as_finite():
    """Noisy points are finite numbers, so that masks multiply there as they do on a path."""
    model = parse("g (float[N,4] x) => (float[N,4] y) { h = Sin(x) y = Relu(h) }")
    explainers = [
        method(model).explainer("batch", target="weights") for method in (IntegratedGradients, SquareGrad)
    ]
    path, noisy = (
        Counter(node.op_type for node in needed_for(explainer.graph, "attribution"))
        for explainer in explainers
    )
    assert noisy["Where"] == path["Where"]
