"""The rules that integrate along the path: polynomials in closed form, Captum's numbers, and what lies at the ends."""

import json

import numpy as np
import onnxruntime
import pytest
from golden import captum_quadrature as captum
from numpy.polynomial import polynomial
from support.tiny_graphs import parse

from onnxattr import IntegratedGradients
from onnxattr.compile import quadrature
from onnxattr.errors import ParameterError

X = np.random.default_rng(3).normal(size=(3, 4)).astype(np.float32)
ONE = np.ones((3, 1), np.float32)
BASELINE = np.array([0.25, -0.5, 0.125, 0.75], np.float32)
RULES = tuple(quadrature.FEWEST)


def power(degree):
    """f = sum(x^degree), whose gradient has degree - 1 along the path."""
    products = " ".join(f"x{k} = Mul(x{k - 1}, x)" for k in range(2, degree + 1))
    return parse(
        f"g (float[N, 4] x) => (float[N, 1] y) <int64[1] axis = {{-1}}> "
        f"{{ x1 = Identity(x) {products} y = ReduceSum(x{degree}, axis) }}"
    )


def tanh_network():
    shapes = {"w": "4, 6", "b": "6", "v": "6, 3"}
    own = captum.arrays()
    held = ", ".join(
        f"float[{shape}] {name} = {{{', '.join(f'{v:.9g}' for v in own[name].ravel())}}}"
        for name, shape in shapes.items()
    )
    return parse(
        f"g (float[N, 4] x) => (float[N, 3] y) <{held}> "
        "{ h = MatMul(x, w) a = Add(h, b) t = Tanh(a) y = MatMul(t, v) }"
    )


def renderings(method, x, target, folder):
    """Maps, deltas and gaps: driven, as a batch and as loops."""
    yield "driven", (method.explain(x, target), method.convergence_delta(x, target))
    for rendering in ("batch", "loop"):
        path = folder / f"{rendering}.onnx"
        method.export(path, rendering, target="weights")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = ["attribution", "convergence_delta"]
        yield rendering, session.run(names, {"x": x, "target": target})


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("degree", "steps"), [(1, 2), (4, 2), (6, 3), (5, 7), (3, 1)])
def test_polynomials(rule, degree, steps, tmp_path):
    """phi = (x - b) * sum_k w_k f'(b + a_k (x - b)) in float64; Gauss-Legendre is exact up to degree 2 steps."""
    if steps < quadrature.FEWEST[rule]:
        steps = 2
    method = IntegratedGradients(
        power(degree), steps=steps, baseline_value=BASELINE, quadrature=rule, batch_size=4, progress=False
    )
    points = quadrature.points(rule, steps)
    x, baseline = X.astype(np.float64), BASELINE.astype(np.float64)
    path = baseline + points.alphas[:, None, None] * (x - baseline)
    expected = (x - baseline) * np.tensordot(points.weights, degree * path ** (degree - 1), 1)
    exact = x**degree - baseline**degree
    if rule == "gauss_legendre" and degree <= 2 * steps:
        np.testing.assert_allclose(expected, exact, rtol=1e-11, atol=1e-11)
    delta = (expected - exact).sum(axis=1)
    for name, (maps, found) in renderings(method, X, ONE, tmp_path):
        np.testing.assert_allclose(maps, expected, rtol=2e-5, atol=2e-6, err_msg=name)
        np.testing.assert_allclose(found, delta, atol=1e-5 * (1 + np.abs(exact).max()), err_msg=name)


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 50])
@pytest.mark.parametrize("rule", RULES)
def test_points(rule, steps):
    """Both ends are among them; the weights integrate what the rule is exact for."""
    if steps < quadrature.FEWEST[rule]:
        return
    points = quadrature.points(rule, steps)
    assert (points.alphas[0], points.alphas[-1]) == (0, 1)
    assert (np.diff(points.alphas) > 0).all()
    assert np.count_nonzero(points.weights) == steps
    np.testing.assert_array_equal(points.ends, [-1, *[0] * (len(points.ends) - 2), 1])
    exact = {"gauss_legendre": 2 * steps, "trapezoid": 2, "riemann_middle": 2}.get(rule, 1)
    for degree in range(exact):
        assert points.weights @ points.alphas**degree == pytest.approx(1 / (degree + 1), abs=1e-13)


@pytest.mark.parametrize("case", json.loads(captum.FILE.read_text()))
def test_captum(case):
    """The maps and deltas of Captum's rules, computed in float64, from the same network."""
    rule, steps = case.split()
    rule = rule.replace("gausslegendre", "gauss_legendre")
    own, expected = captum.arrays(), json.loads(captum.FILE.read_text())[case]
    method = IntegratedGradients(
        tanh_network(), steps=int(steps), baseline_value=own["baseline"], quadrature=rule, progress=False
    )
    maps = method.explain(own["x"], captum.TARGETS)
    np.testing.assert_allclose(maps, expected["maps"], rtol=1e-5, atol=2e-6)
    delta = method.convergence_delta(own["x"], captum.TARGETS)
    np.testing.assert_allclose(delta, expected["delta"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", ["riemann_right", "riemann_middle", "gauss_legendre"])
def test_gradients_that_do_not_count_have_no_part(rule, tmp_path):
    """The root's slope at the baseline 0 is infinite: a rule without that point is finite in every rendering."""
    root = parse(
        "g (float[N, 4] x) => (float[N, 1] y) <int64[1] a = {-1}> { r = Sqrt(x) y = ReduceSum(r, a) }"
    )
    method = IntegratedGradients(root, steps=9, quadrature=rule, batch_size=4, progress=False)
    x = np.abs(X)
    points = quadrature.points(rule, 9)
    counting = points.weights > 0
    sums = points.weights[counting] @ (0.5 / np.sqrt(points.alphas[counting]))
    for name, (maps, delta) in renderings(method, x, ONE, tmp_path):
        np.testing.assert_allclose(maps, np.sqrt(x) * sums, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(delta, (np.sqrt(x) * (sums - 1)).sum(axis=1), atol=1e-5, err_msg=name)


def test_only_gradients_that_count_are_taken():
    """What the progress bar counts; the score at the ends costs predictions."""
    for rule in RULES:
        method = IntegratedGradients(power(2), steps=7, quadrature=rule, progress=False)
        assert method._plan.driver.work(3) == 21


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quadrature": "simpson"}, "quadrature='simpson': expected one of"),
        ({"quadrature": None}, "quadrature=None: expected one of"),
        ({"quadrature": "gauss_legendre", "steps": 0}, "steps=0: .* at least 1"),
        ({"quadrature": "riemann_left", "steps": 2.0}, "steps=2.0: "),
        ({"steps": 1}, r"steps=1: .* at least 2 \(both ends of the path\)"),
    ],
)
def test_bad_parameters(options, words):
    with pytest.raises(ParameterError, match=words):
        IntegratedGradients(power(2), **options)


def test_the_degree_of_exactness_in_numpy():
    """Five Gauss points integrate every polynomial of degree 9."""
    points = quadrature.points("gauss_legendre", 5)
    coefficients = np.random.default_rng(0).normal(size=10)
    exact = polynomial.polyval(1.0, polynomial.polyint(coefficients))
    assert points.weights @ polynomial.polyval(points.alphas, coefficients) == pytest.approx(exact, abs=1e-13)
