"""Control flow in whole models: iterations with a known derivative, TensorFlow's loops, LSTMs, attribution methods."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support.control_flow import NESTED, UNTIL, W, X, n
from support.tiny_graphs import parse, run

from onnxattr import DeconvNet, GradientInput, GuidedBackprop, IntegratedGradients, Saliency, SmoothGrad
from onnxattr.compile.gradient import vjp
from onnxattr.inspection import inspect
from onnxattr.testing import check_vjp

RNG = np.random.default_rng(3)

# Iterations with a known derivative

NEWTON = """g (double[N] x) => (double[N] y) <int64 many = {50}, double half = {0.5}, double tiny = {1e-24}> {
    yes = Constant<value = bool {1}>()
    y = Loop(many, yes, x) <body = b (int64 i, bool c, double[N] s) => (bool d, double[N] t) {
        q = Div(x, s) sum = Add(s, q) t = Mul(sum, half)
        error = Sub(t, s) squares = ReduceSumSquare<keepdims = 0>(error) d = Greater(squares, tiny) }>
}"""

SERIES = """g (double[N] x, int64 n) => (double[N] y) {
    one = Constant<value = double {1}>() zeros = Sub(x, x) ones = Add(zeros, one)
    y, last = Loop(n, , zeros, ones) <body = b (int64 i, bool c, double[N] s, double[N] p)
        => (bool d, double[N] t, double[N] r) { d = Identity(c) t = Add(s, p) r = Mul(p, x) }>
}"""

POWER = """g (double[3,3] a, double[3] v) => (double y) <int64 many = {400}, int64[2] column = {3, 1}> {
    s0 = Reshape(v, column)
    s = Loop(many, , s0) <body = b (int64 i, bool c, double[3,1] s) => (bool d, double[3,1] t) {
        d = Identity(c) p = MatMul(a, s) norm = ReduceL2(p) t = Div(p, norm) }>
    p = MatMul(a, s) sp = Mul(s, p) y = ReduceSum<keepdims = 0>(sp)
}"""


def test_newtons_square_root():
    """The derivative of the fixed point, 1 / (2 sqrt(x)), although no step is differentiated in closed form."""
    x = np.array([0.3, 2.0, 30.0])
    found = run(vjp(parse(NEWTON)), x=x, y_cotangent=np.ones(3))
    np.testing.assert_allclose(found["y"], np.sqrt(x), rtol=1e-12)
    np.testing.assert_allclose(found["x_gradient"], 0.5 / np.sqrt(x), rtol=1e-9)


@pytest.mark.parametrize("terms", [0, 1, 2, 7, 300])
def test_geometric_series(terms):
    x = np.array([-0.9, 0.0, 0.5, 0.8])
    found = run(vjp(parse(SERIES)), x=x, n=n(terms), y_cotangent=np.ones(4))["x_gradient"]
    powers = np.arange(1, max(terms, 1))
    np.testing.assert_allclose(found, (powers * x[:, None] ** (powers - 1)).sum(axis=1), rtol=1e-12)


def test_power_iteration():
    """The largest eigenvalue of a symmetric matrix: its gradient is v v^T, of the start 0."""
    half = RNG.normal(size=(3, 3))
    a = half @ half.T
    found = run(vjp(parse(POWER)), a=a, v=np.ones(3), y_cotangent=np.ones(()))
    values, vectors = np.linalg.eigh(a)
    np.testing.assert_allclose(found["y"], values[-1], rtol=1e-10)
    np.testing.assert_allclose(found["a_gradient"], np.outer(vectors[:, -1], vectors[:, -1]), atol=1e-9)
    np.testing.assert_allclose(found["v_gradient"], 0, atol=1e-9)


# Against TensorFlow


def until(tf, x, w):
    (s,) = tf.while_loop(lambda s: tf.reduce_sum(s) < 40.0, lambda s: (tf.abs(s @ w) + s,), (x,))
    return [s]


def nested(tf, x, steps):
    h = tf.sin(x)

    def outer(i, s, seen):
        def inner(j, a):
            shared = tf.cond(i % 2 == 0, lambda: a * h + s * 0.5, lambda: a * h * (s * 0.5) + x)
            return j + 1, tf.tanh(shared)

        p = s * 0.5
        _, q = tf.while_loop(lambda j, a: j < i + 2, inner, (tf.constant(0), p))
        return i + 1, q + p, seen.write(i, q * q)

    seen = tf.TensorArray(tf.float32, size=steps, element_shape=x.shape)
    _, s, seen = tf.while_loop(lambda i, s, _: i < steps, outer, (tf.constant(0), x, seen))
    return [s, seen.stack()]


@pytest.mark.parametrize(
    ("text", "function", "feeds", "fixed"),
    [(UNTIL, until, {"x": X, "w": W}, []), (NESTED, nested, {"x": X, "n": n(3)}, ["n"])],
    ids=["until", "nested"],
)
def test_like_tensorflow(text, function, feeds, fixed):
    import tensorflow as tf

    variables = {name: tf.constant(array) for name, array in feeds.items() if name not in fixed}
    with tf.GradientTape() as tape:
        tape.watch(list(variables.values()))
        outputs = tf.function(lambda *args: function(tf, *args, *(int(feeds[name]) for name in fixed)))(
            *variables.values()
        )
        cts = [np.random.default_rng(5).normal(size=y.shape).astype(np.float32) for y in outputs]
        score = tf.add_n([tf.reduce_sum(y * ct) for y, ct in zip(outputs, cts, strict=True)])
    expected = tape.gradient(score, variables)
    model = parse(text)
    names = [output.name for output in model.graph.output]
    found = run(vjp(model), **feeds, **{f"{name}_cotangent": ct for name, ct in zip(names, cts, strict=True)})
    for name, y in zip(names, outputs, strict=True):
        np.testing.assert_allclose(found[name], y, rtol=1e-5)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[f"{name}_gradient"], gradient, rtol=1e-4, atol=1e-6)


# Against the rule of LSTM

LSTM = """g (float[T,2,3] x, float[1,2,5] h, float[1,2,5] c) => (float[T,1,2,5] y, float[1,2,5] hn, float[1,2,5] cn) {
    y, hn, cn = LSTM<hidden_size = 5>(x, w, r, b, , h, c)
}"""
STEPS = """g (float[T,2,3] x, float[1,2,5] h, float[1,2,5] c) => (float[T,1,2,5] y, float[1,2,5] hn, float[1,2,5] cn) {
    w0 = Squeeze(w) wt = Transpose(w0) r0 = Squeeze(r) rt = Transpose(r0) b0 = Squeeze(b)
    bw, br = Split<num_outputs = 2>(b0)
    hn, cn, y = Scan<num_scan_inputs = 1, body = step (float[1,2,5] s, float[1,2,5] k, float[2,3] u)
        => (float[1,2,5] s1, float[1,2,5] k1, float[1,2,5] s2) {
        p = MatMul(u, wt) q = MatMul(s, rt) pq = Add(p, q) pb = Add(pq, bw) gates = Add(pb, br)
        i0, o0, f0, g0 = Split<axis = -1, num_outputs = 4>(gates)
        i = Sigmoid(i0) o = Sigmoid(o0) f = Sigmoid(f0) g = Tanh(g0)
        kept = Mul(f, k) new = Mul(i, g) k1 = Add(kept, new) th = Tanh(k1) s1 = Mul(o, th) s2 = Identity(s1) }>(h, c, x)
}"""


def test_an_lstm_written_as_a_scan():
    weights = {
        "w": RNG.normal(size=(1, 20, 3)),
        "r": RNG.normal(size=(1, 20, 5)),
        "b": RNG.normal(size=(1, 40)),
    }
    feeds = {
        "x": RNG.normal(size=(6, 2, 3)),
        "h": RNG.normal(size=(1, 2, 5)),
        "c": RNG.normal(size=(1, 2, 5)),
    }
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    found = []
    for text in (LSTM, STEPS):
        model = parse(text)
        arrays = (numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items())
        model.graph.initializer.extend(arrays)
        primal = run(model, **feeds)
        cts = {
            f"{name}_cotangent": np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
            for name, y in primal.items()
        }
        found.append(run(vjp(model), **feeds, **cts))
    for name in ("y", "x_gradient", "h_gradient", "c_gradient"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-4, atol=1e-6)


# What exporters and files hold


def test_functions_and_initializers_inside_subgraphs():
    """A function called in a branch, weights of a branch's own, and names that both branches use."""
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 18, "own": 1]>
    g (float[N,3] x, bool c) => (float[N,3] y) {
        y = If(c) <then_branch = yes () => (float[N,3] r) <float[3] k = {1, 2, 3}> { h = own.Twice(x) r = Mul(h, k) },
                   else_branch = no () => (float[N,3] s) <float[3] k = {4, 5, 6}> { h = Sin(x) s = Mul(h, k) }>
    }
    <domain: "own", opset_import: ["": 18]> Twice (a) => (b) { h = Exp(a) b = Add(h, a) }""")
    _check_branches(model, (np.exp(X) + 1) * [1, 2, 3], np.cos(X) * [4, 5, 6])


def test_a_name_that_is_a_weight_in_one_branch_and_computed_in_the_other():
    model = parse("""g (float[N,3] x, bool c) => (float[N,3] y) {
        y = If(c) <then_branch = yes () => (float[N,3] r) <float[3] k = {1, 2, 3}> { r = Mul(x, k) },
                   else_branch = no () => (float[N,3] s) { k = Sin(x) s = Mul(k, x) }>
    }""")
    _check_branches(model, np.broadcast_to([1.0, 2, 3], X.shape), np.cos(X) * X + np.sin(X))


def _check_branches(model, then_slope, else_slope):
    slope = {True: then_slope, False: else_slope}
    for taken, expected in slope.items():
        found = run(vjp(model), x=X, c=np.array(taken), y_cotangent=np.ones_like(X))["x_gradient"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_operators_that_only_their_definition_differentiates_inside_a_loop():
    text = """g (float[N,3] x, int64 n) => (float[N,3] y) {
        y = Loop(n, , x) <body = b (int64 i, bool c, float[N,3] s) => (bool d, float[N,3] t) {
            d = Identity(c) u = MeanVarianceNormalization<axes = [1]>(s) t = Mul(u, x) }>
    }"""
    check_vjp(parse(text), {"x": X, "n": n(2)}, runtime="onnxruntime")


def test_inspection_counts_what_is_inside():
    lines = inspect(parse(NESTED), verbose=True).splitlines()
    counts = {
        words[2]: (int(words[0]), int(words[1]))
        for words in map(str.split, lines)
        if len(words) > 2 and words[0].isdigit()
    }
    assert counts["Loop"] == (2, 2)
    assert counts["If"] == (1, 1)
    assert counts["Mod"] == (1, 0)
    assert counts["Tanh"] == (1, 1)
    assert counts["Mul"] == (5, 5)


# Attribution methods

HEAD = "g (float[N,3] x, bool up) => (float[N,4] y) <int64 three = {3}, float[1] one = {1}> "
LOOPED = (
    HEAD
    + """{
    a = MatMul(x, w)
    s = Loop(three, , a) <body = b (int64 i, bool c, float[N,5] s) => (bool d, float[N,5] t) {
        d = Identity(c) p = MatMul(s, r) pa = Add(p, a) t = Relu(pa) }>
    h = If(up) <then_branch = yes () => (float[N,5] e) { e = Softplus(s) },
                else_branch = no () => (float[N,5] f) { f = Neg(s) }>
    y = MatMul(h, v)
}"""
)
PLAIN = (
    HEAD
    + """{
    a = MatMul(x, w)
    p0 = MatMul(a, r) q0 = Add(p0, a) s0 = Relu(q0) p1 = MatMul(s0, r) q1 = Add(p1, a) s1 = Relu(q1)
    p2 = MatMul(s1, r) q2 = Add(p2, a) s2 = Relu(q2) h = Softplus(s2) y = MatMul(h, v)
}"""
)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (Saliency, {}),
        (GradientInput, {}),
        (IntegratedGradients, {"steps": 7}),
        (SmoothGrad, {"nb_samples": 3, "seed": 0}),
        (DeconvNet, {}),
        (GuidedBackprop, {}),
    ],
)
def test_methods_explain_models_with_control_flow(method, settings):
    rng = np.random.default_rng(7)
    weights = {"w": (3, 5), "r": (5, 5), "v": (5, 4)}
    inputs = {"x": rng.normal(size=(6, 3)).astype(np.float32), "up": np.array(True)}
    arrays = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), k) for k, shape in weights.items()
    ]
    maps = []
    for text in (LOOPED, PLAIN):
        model = parse(text)
        model.graph.initializer.extend(arrays)
        maps.append(method(model, operator="classification", **settings).explain(inputs))
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-4, atol=1e-6)
    assert np.abs(maps[0]).max() > 0.01


@pytest.mark.parametrize("rendering", ["batch", "loop"])
def test_exports_of_models_with_control_flow(rendering, tmp_path):
    rng = np.random.default_rng(7)
    model, feeds = parse(LOOPED), {"x": rng.normal(size=(6, 3)).astype(np.float32), "up": np.array(True)}
    for name, shape in {"w": (3, 5), "r": (5, 5), "v": (5, 4)}.items():
        model.graph.initializer.append(
            numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        )
    method = IntegratedGradients(model, operator="classification", steps=9)
    method.export(tmp_path / "explainer.onnx", rendering=rendering)
    found = run(onnx.load(tmp_path / "explainer.onnx"), **feeds, target=np.full(6, -1))["attribution"]
    np.testing.assert_allclose(found, method.explain(feeds), rtol=1e-5, atol=1e-6)


#: Branches that give constants of one name; sizes that are checked node by node; a node that needs the converter.
NAMESAKES = """m (float[N,4] x) => (float[N,1] y)
<float most = {100}, int64[1] b = {1}, int64[1] e = {4}, int64[1] a = {1}, int64[4] pads = {0,1,0,0}> {
    total = ReduceSum<keepdims = 0>(x)
    low = Less(total, most)
    right = Slice(x, b, e, a)
    padded = Pad(right, pads)
    s = Slice(padded, b, e, a)
    c = If(low) <then_branch = g () => (bool o) { o = Identity(low) }, else_branch = g () => (bool k) <bool k = {0}> {}>
    d = If(low) <then_branch = g () => (bool p) { p = Identity(low) }, else_branch = g () => (bool k) <bool k = {0}> {}>
    both = And(c, d)
    n = Neg(s)
    w = Where(both, s, n)
    q = Sin(w)
    y = ReduceMax<axes = [1]>(q)
}"""


@pytest.mark.parametrize("first", [0.0, 200.0])
def test_constants_of_one_name_in_several_branches(first):
    x = np.array([[first, 0.1, 0.4, -0.3]], np.float32)
    found = run(vjp(parse(NAMESAKES, opset=17)), x=x, y_cotangent=np.ones((1, 1), np.float32))
    values = np.sin(x[0, 1:]) * (1 if first < 100 else -1)
    expected = np.zeros_like(x)
    expected[0, 1 + values.argmax()] = np.cos(x[0, 1 + values.argmax()]) * (1 if first < 100 else -1)
    np.testing.assert_allclose(found["y"], [[values.max()]], rtol=1e-6)
    np.testing.assert_allclose(found["x_gradient"], expected, rtol=1e-6)
