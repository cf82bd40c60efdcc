"""Gradients of models that end in a sigmoid, a softmax or their like keep relative accuracy where these saturate."""

import numpy as np
import pytest
from support.tiny_graphs import parse, run

import onnxattr
from models import emotion, photos
from onnxattr import vjp, xp
from onnxattr.attributions import GradientInput, IntegratedGradients
from onnxattr.autodiff.registry import STANDARD

Z = np.array([-20, -16, -12, -8, -3, 0, 3, 8, 12, 16, 20], np.float32)[:, None]
#: The largest score leads the others by up to 17.
SCORES = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32) + np.outer(
    [0, 2, 5, 8, 11, 14, 17], np.eye(5)[2]
).astype(np.float32)
TARGETS = {
    "the largest": np.eye(5)[[2] * 7],
    "another": np.eye(5)[[1] * 7],
    "weights": np.random.default_rng(1).normal(size=(7, 5)),
}


def logistic(z):
    """Its derivative; nothing is subtracted."""
    e = np.exp(-np.abs(z.astype(np.float64)))
    return e / (1 + e) ** 2


UNITS = {
    "y = Sigmoid(x)": logistic,
    "y = Tanh(x)": lambda z: 4 * logistic(2 * z),
    "y = Softplus(x)": lambda z: 1 / (1 + np.exp(-z.astype(np.float64))),
    "s = Sigmoid(x) y = Reshape(s, rows)": logistic,
    "y = Elu(x)": lambda z: np.exp(np.minimum(z, 0).astype(np.float64)),
    "y = Elu <alpha = 0.5> (x)": lambda z: np.where(
        z > 0, 1, 0.5 * np.exp(np.minimum(z, 0).astype(np.float64))
    ),
    "y = Celu <alpha = 2.0> (x)": lambda z: np.exp(np.minimum(z / 2, 0).astype(np.float64)),
    "y = Selu <alpha = 1.5, gamma = 2.0> (x)": (
        lambda z: np.where(z < 0, 3 * np.exp(np.minimum(z, 0).astype(np.float64)), 2)
    ),
    "e = Exp(x) s = Add(e, one) y = Div(e, s)": logistic,
    "n = Neg(x) e = Exp(n) s = Add(one, e) d = Sub(one, e) y = Div(d, s)": lambda z: 2 * logistic(z),
    "n = Neg(x) a = Exp(x) b = Exp(n) d = Sub(a, b) s = Add(b, a) i = Reciprocal(s) y = Mul(i, d)": lambda z: (
        4 * logistic(2 * z)
    ),
    "w = Mul(x, hundred) a = Abs(w) s = Add(a, one) y = Div(w, s)": lambda z: (
        100 / (1 + 100 * np.abs(z)) ** 2
    ),
    "s = Sigmoid(x) t = Sub(one, s) y = Concat<axis=1>(t, s)": lambda z: logistic(z) * (3 - 1),
    "s = Sigmoid(x) t = Transpose(s) u = Mul(t, three) y = Transpose(u)": lambda z: 3 * logistic(z),
    "s = Sigmoid(x) y = Max(s, zero)": logistic,
    "s = Sigmoid(x) b = Less(x, hundred) y = Where(b, s, x)": logistic,
    "r = ReduceSum<keepdims = 0>(x) c = Less(r, hundred) "
    "y = If(c) <then_branch = t () => (float[N,1] a) { a = Sigmoid(x) }, "
    "else_branch = e () => (float[N,1] b) { b = Identity(x) }>": logistic,
    "y = Loop(twice, yes, x) <body = l (int64 i, bool c, float[N,1] s) => (bool d, float[N,1] p) "
    "{ d = Identity(c) p = Sigmoid(x) }>": logistic,
    "s, t = Scan(x, rows) <num_scan_inputs = 1, body = b (float[N,1] h, int64 i) => (float[N,1] g, float[N,1] p) "
    "{ g = Identity(h) q = Tanh(h) p = Mul(q, half) } > y = ReduceSum<keepdims=0>(t, first)": lambda z: (
        4 * logistic(2 * z)
    ),
    # Not at the end: what is added outweighs what is lost.
    "s = Sigmoid(x) q = Mul(s, s) y = Add(q, x)": lambda z: (
        1 + 2 / (1 + np.exp(-z.astype(np.float64))) * logistic(z)
    ),
}


def close(found, expected, tolerance=2e-6):
    """Each row to a share of its own largest number."""
    assert found.shape == expected.shape
    largest = np.abs(expected).max(axis=1, keepdims=True).clip(1e-30)
    assert (np.abs(found - expected) / largest).max() < tolerance


@pytest.mark.parametrize("body", UNITS)
def test_units(body):
    model = parse(
        "g (float[N,1] x) => (float[N,k] y) <int64[2] rows = {-1, 1}, float one = {1}, float three = {3}, "
        "float zero = {0}, float half = {0.5}, float hundred = {100}, int64 twice = {2}, int64[1] first = {0}, "
        "bool yes = {1}> "
        f"{{ {body} }}"
    )
    ct = np.array([[1, 3]] if "Concat" in body else [[1]], np.float32).repeat(len(Z), axis=0)
    close(run(vjp(model), x=Z, y_cotangent=ct)["x_gradient"], UNITS[body](Z))


def part(z, sign=1):
    """The sigmoid of z or -z."""
    return 1 / (1 + np.exp(-sign * z.astype(np.float64)))


#: Of the sigmoid p at z, of q = 1 - p and of z: what follows -> the derivative by z.
FUNCTIONS = {
    "y = Log(s)": lambda p, q, z: q,
    "t = Sub(one, s) y = Log(t)": lambda p, q, z: -p,
    "m = Neg(s) t = Add(m, one) y = Log(t)": lambda p, q, z: -p,
    "m = Sub(s, one) t = Neg(m) y = Log(t)": lambda p, q, z: -p,
    "m = Sub(s, one) t = Mul(m, m) y = Log(t)": lambda p, q, z: -2 * p,
    "a = Log(s) t = Sub(one, s) b = Log(t) y = Sub(a, b)": lambda p, q, z: p + q,
    "p = Sub(one, s) q = Div(s, p) y = Log(q)": lambda p, q, z: p + q,
    "y = Div(three, s)": lambda p, q, z: -3 * q / p,
    "y = Reciprocal(s)": lambda p, q, z: -q / p,
    "y = Sqrt(s)": lambda p, q, z: q * np.sqrt(p) / 2,
    "t = Sub(one, s) y = Div(s, t)": lambda p, q, z: p / q,
    # Of two ways one divides.
    "t = Log(s) b = Less(x, zero) y = Where(b, t, s)": lambda p, q, z: np.where(z < 0, q, p * q),
    # Polynomials and other smooth functions.
    "y = Mul(s, s)": lambda p, q, z: 2 * p * p * q,
    "y = Pow(s, three)": lambda p, q, z: 3 * p**3 * q,
    "t = Sub(s, three) y = Mul(t, t)": lambda p, q, z: 2 * (p - 3) * p * q,
    "t = Sub(one, s) y = Mul(s, t)": lambda p, q, z: (q - p) * p * q,
    "y = Exp(s)": lambda p, q, z: np.exp(p) * p * q,
    "t = Add(s, one) y = Reciprocal(t)": lambda p, q, z: -p * q / (1 + p) ** 2,
    "y = Mul(s, x)": lambda p, q, z: p + z * p * q,
    # What is added or taken off is small beside 1, or nearly 1.
    "t = Add(s, small) y = Log(t)": lambda p, q, z: p * q / (p + SMALL),
    "r = Sub(one, s) t = Add(r, small) y = Log(t)": lambda p, q, z: -p * q / (q + SMALL),
    "t = Sub(more, s) y = Log(t)": lambda p, q, z: -p * q / (q + (float(MORE) - 1)),
    "c = Clip(s, small, less) t = Sub(one, c) a = Log(c) b = Log(t) y = Sub(a, b)": (
        lambda p, q, z: np.where((p > SMALL) & (q > SMALL), 1.0, 0)
    ),
    "h = Sub(half, s) t = Sub(two, h) y = Log(t)": lambda p, q, z: p * q / (1.5 + p),
    # Through products, squares and what picks values.
    "t = Mul(s, s) r = Sub(one, t) y = Log(r)": lambda p, q, z: -2 * p * p / (1 + p),
    "a = Sub(one, s) b = Pow(a, two) t = Sub(one, b) y = Log(t)": lambda p, q, z: 2 * q * q / (1 + q),
    "a = Sub(s, one) b = Mul(a, a) t = Sub(one, b) y = Log(t)": lambda p, q, z: 2 * q * q / (1 + q),
    "d = Mul(s, two) a = Sub(one, d) t = Sub(one, a) y = Log(t)": lambda p, q, z: q,
    "c = Concat<axis = 1>(s, s) g = Gather<axis = 1>(c, first) t = Sub(one, g) y = Log(t)": lambda p, q, z: (
        -p
    ),
    "t = Max(s, s) m = ReduceMax<keepdims = 1>(t, axes) r = Sub(one, m) y = Log(r)": lambda p, q, z: -p,
    # Entropies and losses.
    "a = Log(s) y = Mul(s, a)": lambda p, q, z: p * q * (log_of(z) + 1),
    "t = Sub(one, s) a = Log(s) b = Log(t) c = Mul(s, a) d = Mul(t, b) y = Add(c, d)": (
        lambda p, q, z: z * p * q
    ),
    "t = Sub(one, s) a = Log(s) b = Mul(t, t) y = Mul(b, a)": (
        lambda p, q, z: q * q * (q - 2 * p * log_of(z))
    ),
    "t = Sub(one, s) a = Log(t) b = Mul(s, s) y = Mul(b, a)": (
        lambda p, q, z: p * p * (2 * q * log_of(-z) - p)
    ),
    "t = Sub(one, s) a = Log(s) b = Log(t) c = Mul(a, two) y = Add(b, c)": lambda p, q, z: 2 * q - p,
}
MORE, SMALL = np.float32(1.0001), float(np.float32(1e-6))
FAR = np.array([-30, *Z[:, 0], 30], np.float32)[:, None]


def log_of(z):
    """The logarithm of the sigmoid."""
    return -np.logaddexp(0, -z)


@pytest.mark.parametrize("body", FUNCTIONS)
def test_functions_of_a_sigmoid(body):
    z = FAR.astype(np.float64)
    model = parse(
        "g (float[N,1] x) => (float[N,1] y) <float one = {1}, float two = {2}, float three = {3}, float zero = {0}, "
        "float half = {0.5}, float small = {1e-6}, float less = {0.999999}, float more = {1.0001}, "
        f"int64[1] first = {{0}}, int64[1] axes = {{1}}> {{ s = Sigmoid(x) {body} }}"
    )
    found = run(vjp(model), x=FAR, y_cotangent=np.ones_like(FAR))["x_gradient"]
    close(found, FUNCTIONS[body](part(z), part(z, -1), z))


#: What follows a tanh -> the derivative by z.
OF_TANH = {
    "t = Sub(one, s) y = Log(t)": lambda z: -2 * part(2 * z),
    "t = Add(s, one) y = Log(t)": lambda z: 2 * part(-2 * z),
    # The logarithm of the density of a squashed normal distribution.
    "q = Mul(s, s) t = Sub(one, q) y = Log(t)": lambda z: -2 * np.tanh(z.astype(np.float64)),
    "q = Pow(s, two) t = Sub(one, q) r = Add(t, small) y = Log(r)": (
        lambda z: -8 * np.tanh(z.astype(np.float64)) * logistic(2 * z) / (4 * logistic(2 * z) + SMALL)
    ),
}


@pytest.mark.parametrize("body", OF_TANH)
def test_functions_of_a_tanh(body):
    model = parse(
        "g (float[N,1] x) => (float[N,1] y) <float one = {1}, float two = {2}, float small = {1e-6}> "
        f"{{ s = Tanh(x) {body} }}"
    )
    z = Z[Z != 0][:, None]
    close(run(vjp(model), x=z, y_cotangent=np.ones_like(z))["x_gradient"], OF_TANH[body](z))


#: What follows a branch that ends in a sigmoid -> logits for which the runtime's values have digits, the derivative.
OF_A_BRANCH = {
    "y = Log(s)": (Z[2:], lambda z: part(z, -1)),
    "t = Sub(one, s) y = Log(t)": (Z[:9], lambda z: -part(z)),
    "y = Mul(s, s)": (Z[5:], lambda z: 2 * part(z) * logistic(z)),
}


@pytest.mark.parametrize("body", OF_A_BRANCH)
def test_functions_of_a_branch(body):
    """What is outside of the branch has the runtime's values: inside it the rule whose error cancels out is taken."""
    z, exact = OF_A_BRANCH[body]
    model = parse(
        "g (float[N,1] x) => (float[N,1] y) <float hundred = {100}, float one = {1}> "
        "{ r = ReduceSum<keepdims = 0>(x) "
        "c = Less(r, hundred) s = If(c) <then_branch = t () => (float[N,1] a) { a = Sigmoid(x) }, "
        f"else_branch = e () => (float[N,1] b) {{ b = Identity(x) }}> {body} }}"
    )
    close(run(vjp(model), x=z, y_cotangent=np.ones_like(z))["x_gradient"], exact(z))


@pytest.mark.parametrize(
    ("end", "derivative"),
    [
        ("y = Sub(one, r)", lambda p, log: p * np.exp(log)),
        ("t = Sub(one, r) y = Log(t)", lambda p, log: -p * np.exp(log) / np.expm1(log)),
        ("y = Log(r)", lambda p, log: -p),
        ("t = Sub(one, r) o = Div(r, t) y = Log(o)", lambda p, log: p / np.expm1(log)),
    ],
)
def test_one_of_several(end, derivative):
    """The probability 1 - prod(1 - p) that one of several is true, as pools of instances have it."""
    model = parse(
        "g (float[N,5] x) => (float[N,1] y) <int64[1] axes = {1}, float one = {1}> "
        f"{{ s = Sigmoid(x) q = Sub(one, s) r = ReduceProd(q, axes) {end} }}"
    )
    x = np.concatenate([SCORES * 1.5, -SCORES, SCORES - 17, SCORES - 40]).astype(np.float32)
    logarithm = -np.logaddexp(0, x.astype(np.float64)).sum(axis=1, keepdims=True)
    close(
        run(vjp(model), x=x, y_cotangent=np.ones((len(x), 1), np.float32))["x_gradient"],
        derivative(part(x), logarithm),
        1e-5,
    )


def softmax(scores, target):
    """sum_j y_i y_j (t_i - t_j): differences of targets alone."""
    e = np.exp(scores.astype(np.longdouble) - scores.max(axis=1, keepdims=True))
    y = e / e.sum(axis=1, keepdims=True)
    return (y[:, :, None] * y[:, None] * (target[:, :, None] - target[:, None])).sum(axis=2).astype(float)


def log_softmax(scores, target):
    """sum_j (t_i y_j - y_i t_j) over the others."""
    e = np.exp(scores.astype(np.longdouble) - scores.max(axis=1, keepdims=True))
    y = e / e.sum(axis=1, keepdims=True)
    each = target[:, :, None] * y[:, None] - y[:, :, None] * target[:, None]
    return each.sum(axis=2).astype(float)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("body", "exact"),
    [
        ("y = Softmax(x)", softmax),
        ("y = LogSoftmax(x)", log_softmax),
        ("l = LogSoftmax(x) y = Exp(l)", softmax),
        ("e = Exp(x) s = ReduceSum(e, axes) y = Div(e, s)", softmax),
        ("n = Neg(x) e = Exp(n) q = Reciprocal(e) s = ReduceSum(q, axes) y = Div(q, s)", softmax),
        ("m = ReduceMax(x, axes) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, axes) y = Div(e, s)", softmax),
        ("s = ReduceLogSumExp(x, axes) d = Sub(x, s) y = Exp(d)", softmax),
        (
            "s = ReduceLogSumExp<keepdims = 0>(x, axes) r = Reshape(s, column) d = Sub(x, r) y = Exp(d)",
            softmax,
        ),
    ],
)
def test_classes(body, exact, target):
    ct = TARGETS[target].astype(np.float32)
    constants = "<int64[1] axes = {1}, int64[2] column = {-1, 1}>"
    model = parse(f"g (float[N,5] x) => (float[N,5] y) {constants} {{ {body} }}")
    close(run(vjp(model), x=SCORES, y_cotangent=ct)["x_gradient"], exact(SCORES, ct.astype(np.float64)))


def own_classes(scores, target):
    """Of units of their own."""
    return target * logistic(scores)


def entropy(scores, target):
    """sum_j (t_i y_j - y_i t_j), that of sum t log(y)."""
    return log_softmax(scores, target)


def brier(scores, target):
    """2 (y - 2 t) s'."""
    return 2 * (part(scores) - 2 * target) * logistic(scores)


def focal(p, y, xp):
    """(1 - p)^2 log(p)."""
    return (1 - p) ** 2 * xp.log(p) * y


def weighted(scores, target, derivative):
    """That of sum_j t_j f(p_j), by the derivative of f at p, 1 - p and log(p)."""
    e = np.exp(scores.astype(np.longdouble) - scores.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    q = np.stack([np.delete(p, j, axis=1).sum(axis=1) for j in range(p.shape[1])], axis=1)
    log_p = np.where(p > 0.5, np.log1p(-q), np.log(p))
    return softmax(scores, target * derivative(p, q, log_p))


#: What stands behind the model's output -> its derivative by the scores.
OPERATORS = {
    "sigmoid": (lambda f, x, y: (xp.sigmoid(f(x)) * y).sum(axis=-1), own_classes),
    "mean": (lambda f, x, y: (xp.sigmoid(f(x)) * y).mean(axis=-1), lambda s, t: own_classes(s, t) / 5),
    "softmax": (lambda f, x, y: (xp.softmax(f(x), axis=-1) * y).sum(axis=-1), softmax),
    "log_softmax": (lambda f, x, y: (xp.log_softmax(f(x), axis=-1) * y).sum(axis=-1), log_softmax),
    "entropy": (lambda f, x, y: (xp.log(xp.softmax(f(x), axis=-1)) * y).sum(axis=-1), entropy),
    "log of one": (lambda f, x, y: xp.log((xp.softmax(f(x), axis=-1) * y).sum(axis=-1)), entropy),
    "Brier": (lambda f, x, y: ((xp.sigmoid(f(x)) - 2 * y) ** 2).sum(axis=-1), brier),
    "focal": (
        lambda f, x, y: focal(xp.softmax(f(x), axis=-1), y, xp).sum(axis=-1),
        lambda s, t: weighted(s, t, lambda p, q, log_p: q * q / p - 2 * q * log_p),
    ),
    "others": (
        lambda f, x, y: (xp.log(1 - xp.softmax(f(x), axis=-1)) * y).sum(axis=-1),
        lambda s, t: weighted(s, t, lambda p, q, log_p: -1 / q),
    ),
    "entropies": (
        lambda f, x, y: (xp.softmax(f(x), axis=-1) * xp.log(xp.softmax(f(x), axis=-1))).sum(axis=-1),
        lambda s, t: weighted(s, np.ones_like(t), lambda p, q, log_p: log_p + 1),
    ),
    "segmentation": ("semantic segmentation", lambda s, t: own_classes(s, t)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_scores_that_saturate(name, tmp_path):
    """What an operator computes of the model's output keeps relative accuracy as the model's end does."""
    operator, exact = OPERATORS[name]
    end = "Sigmoid" if isinstance(operator, str) else "Identity"
    model = parse(f"g (float[N,5] x) => (float[N,5] y) {{ y = {end}(x) }}")
    target = np.eye(5, dtype=np.float32)[[2, 2, 2, 1, 2, 2, 2]]
    expected = SCORES * exact(SCORES, target.astype(np.float64))
    method = GradientInput(model, operator=operator)
    close(method.explain(SCORES, target), expected)
    method.export(tmp_path / "e.onnx", target="weights")
    close(onnxattr.load(tmp_path / "e.onnx").explain(SCORES, target), expected)


def test_two_largest_scores():
    """Where none is alone the standard formula is as good."""
    scores, ct = np.array([[3, 3, -2]], np.float32), np.array([[1, -2, 4]], np.float32)
    for op_type, exact in (("Softmax", softmax), ("LogSoftmax", log_softmax)):
        model = parse(f"g (float[N,3] x) => (float[N,3] y) {{ y = {op_type}(x) }}")
        close(run(vjp(model), x=scores, y_cotangent=ct)["x_gradient"], exact(scores, ct.astype(np.float64)))


@pytest.mark.parametrize("bias", [-12, 12])
def test_maps_of_confident_units(bias, tmp_path):
    """y = sigmoid(x w + b): the gradient is w s'(z), in Python and in files."""
    model = parse(
        "g (float[N,3] x) => (float[N,1] y) <float[3,1] w = {1, -2, 0.5}, float b = "
        f"{{{bias}}}> {{ z = MatMul(x, w) s = Add(z, b) y = Sigmoid(s) }}"
    )
    x, w = np.array([[0.5, 0.2, -1], [1, -0.5, 0.25]], np.float32), np.array([1, -2, 0.5])
    points = [alpha * x.astype(np.float64) for alpha in (0, 0.5, 1)]
    slopes = np.stack([logistic(point @ w + bias)[:, None] * w for point in points])
    weights = np.array([0.25, 0.5, 0.25])[:, None, None]
    for method, expected in (
        (GradientInput(model), x * slopes[-1]),
        (IntegratedGradients(model, steps=3, reducer=None), x * (weights * slopes).sum(axis=0)),
    ):
        close(method.explain(x, [1, 1]), expected)
        renderings = ("batch", "loop") if isinstance(method, IntegratedGradients) else ("batch",)
        for rendering in renderings:
            method.export(tmp_path / "e.onnx", rendering)
            close(onnxattr.load(tmp_path / "e.onnx").explain(x, [1, 1]), expected)


def test_a_confident_face():
    """1 - p is 0.001: the gradient of p is that of the logits, weighted by the exact derivatives of the softmax."""
    face, happy = emotion.preprocess(photos.face()), emotion.LABELS.index("happy")
    faces = np.stack([contrast * face for contrast in (0.7, 0.8, 0.9, 1, 1.1)]).clip(-1, 1).astype(np.float32)
    logits = GradientInput(emotion.ONNX_FILE, -2)
    scores = logits.predict(faces)
    one_hot = np.eye(scores.shape[1])[[happy] * len(faces)]
    maps = np.stack([logits.explain(faces, [label] * len(faces)) for label in range(scores.shape[1])])
    expected = np.einsum("nc,cn...->n...", softmax(scores, one_hot), maps.astype(np.float64))
    found = GradientInput(emotion.ONNX_FILE).explain(faces, [happy] * len(faces))
    close(found.reshape(5, -1), expected.reshape(5, -1))


def test_a_rule_of_the_caller_is_used_at_the_end_too():
    model = parse("g (float[N,1] x) => (float[N,1] y) { y = Sigmoid(x) }")
    table = STANDARD | {"Sigmoid": lambda op, node, ct: (op.Mul(ct, 7.0),)}
    found = run(vjp(model, rules=table), x=Z, y_cotangent=np.ones_like(Z))["x_gradient"]
    np.testing.assert_array_equal(found, np.full_like(Z, 7))
