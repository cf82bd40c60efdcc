"""Points added until every row's attributions add up to f(x) - f(b): everywhere on the path, or where needed."""

import warnings

import numpy as np
import pytest
from onnx import helper
from support.small_models import SMALL, build, node
from support.tiny_graphs import parse

from onnxattr import IntegratedGradients, NoiseTunnel, load
from onnxattr.compile import quadrature
from onnxattr.errors import ParameterError
from onnxattr.running.refine import _Path

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

RNG = np.random.default_rng(8)
W, V = RNG.normal(size=(4, 12)), RNG.normal(size=(12, 3))
B = RNG.normal(size=12) * 0.2
X = (2 * RNG.normal(size=(7, 4))).astype(np.float32)
LABELS = np.array([0, 1, 2, 2, 1, 0, 1])


def kinks(dtype=np.float32, batch="N"):
    """A network of ReLUs, whose score has a kink wherever the path crosses one."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Add", ["h", "b"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
    ]
    weights = {"w": W.astype(dtype), "b": B.astype(dtype), "v": V.astype(dtype)}
    return build(nodes, {"x": ([batch, 4], kind)}, {"y": ([batch, 3], kind)}, weights)


def score(x):
    return np.maximum(x @ W + B, 0) @ V


def exact(x, labels, points=200_001):
    """The integral along the path by a fine midpoint rule in float64."""
    alphas = (np.arange(points) + 0.5) / points
    found = []
    for row, label in zip(x.astype(np.float64), labels, strict=True):
        open_units = (alphas[:, None] * (row @ W) + B > 0).mean(axis=0)
        found.append(row * (W @ (open_units * V[:, label])))
    return np.array(found)


def method(model=None, **options):
    return IntegratedGradients(kinks() if model is None else model, progress=False, **options)


@pytest.mark.parametrize(("rule", "begin", "reached"), [
    ("trapezoid", 5, 17), ("riemann_left", 4, 16), ("riemann_right", 4, 16), ("riemann_middle", 3, 27),
    ("gauss_legendre", 5, 20),
])  # fmt: skip
def test_a_finer_rule_is_that_rule(rule, begin, reached):
    """Points that stay and points that are added give what the finer rule gives at once."""
    spent = {"gauss_legendre": 35}.get(rule, reached)
    fine = method(steps=begin, quadrature=rule, tolerance=1e-9, max_steps=spent)
    coarse = method(steps=reached, quadrature=rule)
    np.testing.assert_allclose(fine.explain(X, LABELS), coarse.explain(X, LABELS), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(fine.spent_steps, spent)
    np.testing.assert_allclose(
        fine.convergence_delta(X, LABELS), coarse.convergence_delta(X, LABELS), atol=1e-5
    )


@pytest.mark.parametrize(
    ("errors", "tolerance", "halved"),
    [
        # The sum is 2.6. Halving takes three quarters of an error: of the third interval it leaves 0.025.
        ([4, -5, 3.5, 0.1], 0.05, 2),
        ([4, -5, 3.5, 0.1], 0.01, 1),
        ([4, -5, 3.5, 0.1], None, 1),
        # Errors below 0.09 of the largest do not count at 5 %, those below 1/256 at none.
        ([0.2, 5, -5, 0], 0.05, 1),
        ([0.2, 5, -5, 0], 0.5, 0),
        ([0.015, 5, -5, 0], 0.5, 1),
        ([-0.3, 3, 0.1, 0.1], 0.05, 1),
    ],
)
def test_coarse_tolerances_look_at_the_sum(errors, tolerance, halved):
    path, alphas = _Path(), np.linspace(0, 1, 5)
    path.add(alphas, np.zeros(5), -np.cumsum([0, *errors]), {"g": np.zeros(5)})
    found = path.more(quadrature.refinement("trapezoid", 50, "adaptive", tolerance, tolerance and 200))
    assert found.tolist() == [alphas[halved] + 0.125]


@pytest.mark.parametrize("places", quadrature.PLACES)
@pytest.mark.parametrize("tolerance", [0.1, 0.02, 0.005])
def test_every_row_is_within_the_tolerance(places, tolerance):
    """Held against the network in NumPy; rows stop by themselves, and no map is far from the exact one."""
    refined = method(steps=9, tolerance=tolerance, points=places, max_steps=3000)
    maps = refined.explain(X, LABELS)
    rows = np.arange(len(X))
    difference = (score(X) - score(0 * X))[rows, LABELS]
    gaps = np.abs(maps.sum(axis=1) - difference) / np.abs(difference)
    assert (gaps <= tolerance + 1e-5).all()
    np.testing.assert_allclose(refined.relative_gap(X, LABELS), gaps, atol=1e-5)
    assert len(set(refined.spent_steps)) > 1
    assert refined.spent_steps.min() >= 9
    found = refined(X, LABELS)
    np.testing.assert_array_equal(found.spent_steps, refined.spent_steps)
    np.testing.assert_array_equal(found.select([2]).spent_steps, refined.spent_steps[2:3])
    assert found.spent_steps.dtype == np.int64
    if places == "adaptive":
        error = np.abs(maps - exact(X, LABELS)).max() / np.abs(maps).max()
        assert error <= 0.1


def test_points_go_where_the_score_bends():
    """One kink at 0.03: halving finds it, where uniform points need a hundred times as many."""
    path, refinement = _Path(), quadrature.refinement("trapezoid", 50, "adaptive", 1e-4, 200)
    wanted = np.linspace(0, 1, refinement.steps)
    while len(wanted):
        slopes, scores = np.where(wanted < 0.03, 5.0, 1.0), np.where(wanted < 0.03, 5 * wanted, 0.12 + wanted)
        path.add(wanted, slopes, scores, {"g": slopes})
        wanted = path.more(refinement)
    assert len(path.alphas) <= 24
    assert path.weights().sum() == pytest.approx(1)
    assert path.weights() @ path.slopes == pytest.approx(path.difference, rel=1e-4)
    assert np.median(np.abs(path.alphas[9:] - 0.03)) < 0.01


@pytest.mark.parametrize("places", quadrature.PLACES)
@pytest.mark.parametrize("name", SMALL)
def test_rows_alone_and_among_others(name, places):
    """The same points for a row in any company and in chunks of any size, with one input or several."""
    case = SMALL[name]()
    labels = np.array([1, 0, 1])
    options = {"steps": 5, "tolerance": 0.02, "points": places, "max_steps": 400, "baseline_value": 0.1}
    together = IntegratedGradients(case.model, progress=False, **options)
    maps, spent = as_list(together.explain(case.given, labels)), together.spent_steps
    assert ((together.relative_gap(case.given, labels) <= 0.02) | (spent > 200)).all()
    alone = IntegratedGradients(case.model, progress=False, batch_size=3, **options)
    for row in range(3):
        one = {key: array[row : row + 1] for key, array in case.inputs.items()}
        found = as_list(
            alone.explain(one if len(one) > 1 else next(iter(one.values())), labels[row : row + 1])
        )
        assert alone.spent_steps[0] == spent[row]
        for a, b in zip(found, maps, strict=True):
            np.testing.assert_allclose(a[0], b[row], rtol=0, atol=2e-6 * np.abs(b).max())


def as_list(maps):
    return list(maps.values()) if isinstance(maps, dict) else maps if isinstance(maps, list) else [maps]


def test_a_fixed_number_of_adaptive_points():
    """``steps`` of them without a tolerance, and closer than as many uniform ones."""
    adaptive, uniform = method(points="adaptive", steps=40), method(steps=40)
    expected = exact(X, LABELS)
    errors = [np.abs(m.explain(X, LABELS) - expected).max(axis=1) for m in (adaptive, uniform)]
    np.testing.assert_array_equal(adaptive.spent_steps, 40)
    assert np.median(errors[0] / errors[1]) < 0.7


def test_rows_that_do_not_get_there_are_named():
    refined = method(points="adaptive", tolerance=1e-5, max_steps=12)
    with pytest.warns(
        UserWarning, match=r"samples miss f\(x\) - f\(b\) by more than tolerance=1e-05 .* sample \d"
    ) as heard:
        refined.explain(X, LABELS)
    assert refined.spent_steps.max() <= 12
    missed = np.flatnonzero(refined.relative_gap(X, LABELS) > 1e-5)
    assert f"{len(missed)} of 7" in str(heard[-1].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method(points="adaptive", tolerance=0.05).explain(X, LABELS)


@pytest.mark.parametrize("places", quadrature.PLACES)
def test_no_difference_to_add_up_to(places):
    """Where x is the baseline the gap is absolute, and 0."""
    refined = method(points=places, tolerance=0.01, baseline_value=X[0])
    maps = refined.explain(X[:1], LABELS[:1])
    np.testing.assert_array_equal(maps, 0)
    assert refined.spent_steps[0] == (9 if places == "adaptive" else 50)
    np.testing.assert_array_equal(refined.relative_gap(X[:1], LABELS[:1]), 0)


@pytest.mark.parametrize(
    "options", [{"points": "adaptive"}, {"steps": 9}, {"steps": 9, "quadrature": "gauss_legendre"}]
)
@pytest.mark.parametrize("baseline", [0.0, "mean", "uniform", X[::-1].copy(), lambda x: 0.5 * x])
def test_baselines(baseline, options):
    """Any baseline: fixed, computed in the graph, with a row for each sample, from a function."""
    refined = method(baseline_value=baseline, tolerance=0.02, max_steps=5000, **options)
    fine = method(baseline_value=baseline, steps=2000)
    maps, expected = refined.explain(X, LABELS), fine.explain(X, LABELS)
    assert (refined.relative_gap(X, LABELS) <= 0.02).all()
    np.testing.assert_allclose(maps, expected, rtol=0, atol=0.15 * np.abs(expected).max())


@pytest.mark.parametrize("places", quadrature.PLACES)
@pytest.mark.parametrize(("dtype", "batch", "tolerance"), [(np.float16, "N", 0.05), (np.float32, 1, 0.01)])
def test_half_precision_and_a_fixed_batch(dtype, batch, tolerance, places):
    refined = method(kinks(dtype, batch), points=places, steps=9, tolerance=tolerance)
    rows = X.astype(dtype)
    maps = refined.explain(rows, LABELS)
    assert (refined.relative_gap(rows, LABELS) <= tolerance).all()
    expected = exact(X, LABELS)
    np.testing.assert_allclose(maps, expected, rtol=0, atol=0.15 * np.abs(expected).max())


def mixed():
    """A model whose rows are one sample."""
    return parse(
        "g (float[M, 4] x) => (float[M, 4] y) <int64[1] first = {0}> "
        "{ m = ReduceMean<keepdims = 1, axes = [0]>(x) d = Sub(x, m) r = Relu(d) y = Mul(r, x) }",
        opset=17,
    )


@pytest.mark.parametrize("places", quadrature.PLACES)
def test_one_sample(places):
    refined = IntegratedGradients(mixed(), points=places, steps=9, tolerance=0.02, progress=False)
    maps = refined.explain(X[:3], np.ones((3, 4), np.float32))
    total = (np.maximum(X[:3] - X[:3].mean(axis=0), 0) * X[:3]).sum()
    assert maps.shape == (3, 4)
    assert maps.sum() == pytest.approx(total, rel=0.021)
    assert refined.spent_steps.shape == (1,)


EXPORTED = {
    "chunks of 32": (kinks, {}, np.float32),
    "chunks of 1": (kinks, {"batch_size": 1}, np.float32),
    "no chunks": (kinks, {"batch_size": None}, np.float32),
    "a fixed batch": (lambda: kinks(batch=1), {}, np.float32),
    "float16": (lambda: kinks(np.float16), {"tolerance": 0.05}, np.float16),
    "one sample": (mixed, {}, np.float32),
    "mean": (kinks, {"baseline_value": "mean"}, np.float32),
    "uniform": (kinks, {"baseline_value": "uniform", "seed": 3}, np.float32),
    "two inputs": (lambda: SMALL["two_inputs"]().model, {"tolerance": 0.05}, np.float32),
    "a coarse tolerance": (kinks, {"tolerance": 0.1}, np.float32),
    "several points at once": (kinks, {"tolerance": 0.0101}, np.float32),
    "images": (lambda: SMALL["cnn_nchw"]().model, {}, np.float32),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_adaptive_points(name, tmp_path):
    """A file takes the same points as ``explain``, for each row until it is within the tolerance."""
    build_model, options, dtype = EXPORTED[name]
    tolerance = options.get("tolerance", 0.02)
    options = {"points": "adaptive", "tolerance": 0.02, "max_steps": 300, "progress": False} | options
    refined = IntegratedGradients(build_model(), **options)
    x, target = X.astype(dtype), LABELS
    if name in ("two inputs", "images"):
        x, target = SMALL["two_inputs" if name == "two inputs" else "cnn_nchw"]().given, np.array([1, 0, 1])
    if name == "one sample":
        x, target = X[:3], np.ones((3, 4), np.float32)
    if name == "a fixed batch":
        x, target = X[:1], LABELS[:1]
    refined.export(tmp_path / "e.onnx")
    file = load(tmp_path / "e.onnx", seed=options.get("seed", 0))
    found, expected = as_list(file.explain(x, target)), as_list(refined.explain(x, target))
    assert (file.gaps <= tolerance * 1.01).all()
    np.testing.assert_array_equal(file.spent_steps, refined.spent_steps)
    assert (file.spent_steps < 300).all()
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a - b).max() <= (1e-3 if name == "float16" else 1e-5) * np.abs(b).max()


def test_exported_rows_are_apart_and_bounded(tmp_path):
    """A row's points do not depend on the others; none takes more than ``max_steps``."""
    method(points="adaptive", tolerance=1e-6, max_steps=31).export(tmp_path / "e.onnx")
    file = load(tmp_path / "e.onnx", check_finite="ignore")
    maps, spent = file.explain(X, LABELS), file.spent_steps
    assert spent.max() == 31
    np.testing.assert_array_equal(file(X, LABELS).spent_steps, spent)
    for row in (0, 3, 6):
        np.testing.assert_allclose(
            file.explain(X[row : row + 1], LABELS[row : row + 1])[0], maps[row], rtol=1e-6
        )
    fixed = method(points="adaptive", steps=30)
    fixed.export(tmp_path / "fixed.onnx")
    file = load(tmp_path / "fixed.onnx")
    np.testing.assert_allclose(
        file.explain(X, LABELS), exact(X, LABELS), rtol=0, atol=0.05 * np.abs(maps).max()
    )
    np.testing.assert_array_equal(file.spent_steps, 30)


@pytest.mark.parametrize(
    ("options", "rendering", "words"),
    [
        ({"points": "adaptive"}, "batch", "adaptive points follow from those before them"),
        ({"tolerance": 0.1}, "auto", "adds points while explain"),
    ],
)
def test_what_cannot_be_exported(options, rendering, words, tmp_path):
    with pytest.raises(ParameterError, match=words):
        method(**options).export(tmp_path / "e.onnx", rendering)
    assert not (tmp_path / "e.onnx").exists()


@pytest.mark.parametrize("options", [{"points": "adaptive"}, {"tolerance": 0.1}])
def test_no_background(options):
    with pytest.raises(ParameterError, match="all members have paths with the same points"):
        method(background=X[:3], **options)


def test_a_tunnel_around_it():
    """Adaptive points are placed at every noisy copy; uniform ones with a tolerance cannot be, in a graph."""
    tunnel = NoiseTunnel(method(points="adaptive", tolerance=0.01), nb_samples=4, noise=0.1, seed=5)
    fine = NoiseTunnel(method(steps=400), nb_samples=4, noise=0.1, seed=5)
    expected = fine.explain(X, LABELS)
    np.testing.assert_allclose(tunnel.explain(X, LABELS), expected, rtol=0, atol=0.1 * np.abs(expected).max())
    with pytest.raises(ParameterError, match="a fixed number of steps"):
        NoiseTunnel(method(tolerance=0.1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points": "random"}, r"points='random': expected one of \('uniform', 'adaptive'\)"),
        ({"tolerance": 0}, "tolerance=0: expected a share"),
        ({"tolerance": -0.1}, "tolerance=-0.1"),
        ({"tolerance": "1%"}, "tolerance='1%'"),
        ({"tolerance": True}, "tolerance=True"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"max_steps": 100}, "max_steps=100 limits the points that tolerance= adds"),
        ({"max_steps": 40, "tolerance": 0.1}, "max_steps=40: expected an integer from 50 on"),
        (
            {"max_steps": 1, "tolerance": 0.1, "points": "adaptive"},
            "max_steps=1: expected an integer from 2 on",
        ),
        ({"max_steps": 9.5, "tolerance": 0.1}, "max_steps=9.5"),
        ({"points": "adaptive", "quadrature": "gauss_legendre"}, "adaptive points need 'trapezoid'"),
    ],
)
def test_bad_parameters(options, words):
    with pytest.raises(ParameterError, match=words):
        method(**options)
