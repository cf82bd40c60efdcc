"""Points added until every row's attributions add up to f(x) - f(b): everywhere on the path, or where needed."""

import warnings

import numpy as np
import pytest
from support.path_with_kinks import LABELS, B, V, W, X, as_list, exact, kinks, method, mixed
from support.small_models import SMALL

from onnxattr import IntegratedGradients
from onnxattr.compile import quadrature
from onnxattr.running.refine import _Path

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def score(x):
    return np.maximum(x @ W + B, 0) @ V


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


@pytest.mark.parametrize("places", quadrature.PLACES)
def test_one_sample(places):
    refined = IntegratedGradients(mixed(), points=places, steps=9, tolerance=0.02, progress=False)
    maps = refined.explain(X[:3], np.ones((3, 4), np.float32))
    total = (np.maximum(X[:3] - X[:3].mean(axis=0), 0) * X[:3]).sum()
    assert maps.shape == (3, 4)
    assert maps.sum() == pytest.approx(total, rel=0.021)
    assert refined.spent_steps.shape == (1,)
