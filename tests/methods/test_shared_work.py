"""What is the same at all points of a sample is computed once for it; the maps are those of points by themselves."""

import numpy as np
import onnxruntime
import pytest
from support.affine_starts import (
    MODELS,
    ROWS,
    both,
    ends,
    inputs,
    largest_difference,
    run,
    vector_model,
    weights,
)
from support.explained import in_chunks
from support.small_models import build, node
from support.tiny_graphs import parse

from onnxattr.compile.renderings.driven import finish_model

BASELINES = {
    "a number": 0.25,
    "computed from the sample": "mean",
    "drawn": "uniform",
    "a function": lambda x: 0.5 * x[::-1],
}


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("name", MODELS)
def test_maps_are_the_same(name, baseline):
    build_model, frontier = MODELS[name]
    model = build_model()
    plain, shared = both(model, baseline_value=BASELINES[baseline])
    tail = shared._plan.request.tail
    assert sorted(tail.cut.frontier) == frontier
    assert plain._plan.request.tail is None
    x, labels = inputs(model), np.array([0, 1, 2, -1, 1])
    for chunk in (1, 4, 32):
        for method in (plain, shared):
            in_chunks(method, chunk)
        expected, found = plain.explain(x, labels), shared.explain(x, labels)
        assert largest_difference(found, expected) <= 2e-6
    np.testing.assert_allclose(
        shared.convergence_delta(x, labels), plain.convergence_delta(x, labels), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize(("rendering", "chunk"), [("batch", 32), ("loop", 1), ("loop", 4), ("loop", 32)])
@pytest.mark.parametrize("baseline", [0.25, "mean", "uniform", "an input"])
@pytest.mark.parametrize("name", MODELS)
def test_exported_maps_are_the_same(name, baseline, rendering, chunk, tmp_path):
    model = MODELS[name][0]()
    fed, value = baseline == "an input", 0.25 if baseline == "an input" else baseline
    plain, shared = both(model, baseline_value=value, batch_size=chunk)
    x, labels = inputs(model), np.array([0, 1, 2, -1, 1])
    more = {"seed": np.array(0)} if baseline == "uniform" else {}
    more |= {"baseline": np.full((1, *x.shape[1:]), 0.25, np.float32)} if fed else {}
    shared.export(tmp_path / "shared.onnx", rendering, baseline_input=fed, check=False)
    found = run(tmp_path / "shared.onnx", x, labels, **more)
    expected = plain.explain(x, labels)
    assert largest_difference(found["attribution"], expected) <= 2e-6
    np.testing.assert_allclose(found["prediction"], plain.predict(x), rtol=1e-6, atol=1e-6)
    delta = plain.convergence_delta(x, labels)
    np.testing.assert_allclose(found["convergence_delta"], delta, rtol=0, atol=2e-6)


def test_exported_adaptive_points(tmp_path):
    model = MODELS["MatMul and Add"][0]()
    plain, shared = both(model, points="adaptive", tolerance=0.01, steps=24)
    x, labels = inputs(model), np.array([0, 1, 2, -1, 1])
    shared.export(tmp_path / "shared.onnx")
    found = run(tmp_path / "shared.onnx", x, labels)
    assert largest_difference(found["attribution"], plain.explain(x, labels)) <= 2e-6
    np.testing.assert_array_equal(found["spent_steps"], plain.spent_steps)


@pytest.mark.parametrize("rendering", ["batch", "loop"])
def test_what_overflows_in_a_file_is_said(rendering, tmp_path):
    """A file has no other way: the map of the sample is NaN, those of others are as they are."""
    w = np.abs(weights(6, 8)) * np.float32(1e28)
    model = vector_model(
        [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["y"])],
        w=w,
    )
    plain, shared = both(model, check_finite="ignore", batch_size=4)
    assert shared._plan.request.tail is not None
    x, labels = inputs(model), np.zeros(ROWS, int)
    x[2] = 1e30
    shared.export(tmp_path / "shared.onnx", rendering, check=False)
    found, expected = run(tmp_path / "shared.onnx", x, labels)["attribution"], plain.explain(x, labels)
    assert np.isnan(found[2]).all()
    others = [0, 1, 3, 4]
    assert largest_difference(found[others], expected[others]) <= 2e-6


@pytest.mark.parametrize(
    "options",
    [
        {"quadrature": "riemann_middle"},
        {"quadrature": "gauss_legendre", "steps": 4},
        {"points": "adaptive", "steps": 24},
        {"tolerance": 0.01, "steps": 5},
        {"points": "adaptive", "tolerance": 0.01, "steps": 24},
    ],
    ids=str,
)
def test_other_points_on_the_path(options):
    model = MODELS["MatMul and Add"][0]()
    plain, shared = both(model, **options)
    x, labels = inputs(model), np.array([0, 1, 2, 2, 1])
    assert largest_difference(shared.explain(x, labels), plain.explain(x, labels)) <= 2e-6
    np.testing.assert_array_equal(shared.spent_steps, plain.spent_steps)


def test_groups_of_samples(monkeypatch):
    """Values at the cut are kept for some samples at a time."""
    monkeypatch.setattr("onnxattr.running.sharing._KEPT_BYTES", 300)
    model = MODELS["MatMul and Add"][0]()
    plain, shared = both(model, batch_size=3, baseline_value="mean", points="adaptive", steps=20)
    x, labels = inputs(model, 11), np.arange(11) % 3
    driver = shared._plan.driver
    assert len(list(driver._groups(driver._behind, baseline_feeds(shared, x), 11))) > 3
    assert largest_difference(shared.explain(x, labels), plain.explain(x, labels)) <= 2e-6


def baseline_feeds(method, x):
    fed = {"x": x, "target": np.ones((len(x), 3), np.float32)}
    return method._plan.driver.with_baselines(fed, len(x), 0)


def test_points_are_exact():
    """Integral by the trapezoid rule in float64, with the model's own formula."""
    w, c, v = weights(6, 8), weights(8), weights(8, 3)
    model = vector_model(
        [
            node("MatMul", ["x", "w"], ["h"]),
            node("Add", ["h", "c"], ["a"]),
            node("Tanh", ["a"], ["t"]),
            node("MatMul", ["t", "v"], ["y"]),
        ],
        w=w,
        c=c,
        v=v,
    )
    x = inputs(model)
    found = both(model, baseline_value=0.25)[1].explain(x, np.ones(ROWS, int))
    alphas, b = np.linspace(0, 1, 7), np.full((ROWS, 6), 0.25)
    weight = np.full(7, 1 / 6)
    weight[[0, -1]] /= 2
    at = [1 - np.tanh((b + a * (x - b)) @ w.astype(float) + c) ** 2 for a in alphas]
    slope = sum(p * (s * v[:, 1]) @ w.T.astype(float) for p, s in zip(weight, at, strict=True))
    assert largest_difference(found, (x - b) * slope) <= 2e-6


def test_both_ends_are_rounded_alike():
    """Where the sample is the baseline nothing is to be explained, to the last bit."""
    model = MODELS["MatMul and Add"][0]()
    x = inputs(model)
    shared = both(model, baseline_value=x[0])[1]
    np.testing.assert_array_equal(shared.explain(x[:1], [1]), 0)
    np.testing.assert_array_equal(shared.convergence_delta(x[:1], [1]), 0)


HUGE = {
    # Behind these weights the sample is infinite, and points near the baseline are not.
    "the sample overflows": (1e30, 1e28, 0.0),
    "the baseline overflows": (1.0, 1e28, 1e30),
    "large numbers, no overflow": (1e15, 1e10, 0.0),
}


@pytest.mark.parametrize("case", HUGE)
def test_numbers_that_overflow_are_as_without_a_cut(case):
    size, factor, baseline = HUGE[case]
    model = vector_model(
        [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["y"])],
        w=np.abs(weights(6, 8)) * np.float32(factor),
        v=np.abs(weights(8, 3)),
    )
    plain, shared = both(model, baseline_value=baseline, check_finite="ignore")
    assert shared._plan.request.tail is not None
    x = inputs(model)
    x[2] = size
    expected, found = plain.explain(x, np.zeros(ROWS, int)), shared.explain(x, np.zeros(ROWS, int))
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    there = np.isfinite(expected)
    np.testing.assert_allclose(found[there], expected[there], rtol=3e-6)


AFFINE = {
    "nearest neighbours": 'Resize<mode="nearest", nearest_mode="floor">(x, , larger)',
    "linear interpolation": 'Resize<mode="linear">(x, , larger)',
    "means": "AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)",
    "padding": "Pad(x, pads)",
    "sums": "ReduceSum(x, axis)",
}


@pytest.mark.parametrize("case", AFFINE)
def test_an_infinite_gradient_behind_the_cut_stays_where_it_is(case):
    """Of log(h) at a baseline where some h are 0: elements that those do not reach are finite."""
    model = parse(
        f"""m (float[N,1,4,4] x) => (float[N,1] y)
        <float[4] larger = {{1,1,1.5,1.5}}, int64[8] pads = {{0,0,1,1,0,0,0,0}}, int64[1] axis = {{3}},
         int64[2] axes = {{2,3}}> {{
            h = {AFFINE[case]} g = Log(h) y = ReduceSum<keepdims=0>(g, axes) }}"""
    )
    baseline = np.ones((1, 4, 4), np.float32)
    baseline[0, :2] = 0
    plain, shared = both(model, baseline_value=baseline, check_finite="ignore")
    assert shared._plan.request.tail is not None
    x = np.random.default_rng(0).uniform(0.5, 1, (2, 1, 4, 4)).astype(np.float32)
    expected, found = plain.explain(x, [0, 0]), shared.explain(x, [0, 0])
    there = np.isfinite(expected)
    assert there.any()
    np.testing.assert_array_equal(np.isfinite(found), there)
    np.testing.assert_allclose(found[there], expected[there], rtol=1e-5)


def test_a_missing_value_is_as_without_a_cut():
    model = parse(
        """m (float[N,4] x) => (float[N,2] y) <float zero = {0}, float[4,2] w = {1,2,3,4,5,6,7,8}> {
            gone = IsNaN(x) kept = Where(gone, zero, x) h = MatMul(kept, w) y = Tanh(h) }"""
    )
    plain, shared = both(model)
    x = np.array([[0.1, np.nan, 0.2, 0.3], [0.1, 0.1, 0.1, 0.1]], np.float32)
    np.testing.assert_allclose(shared.explain(x, [0, 1]), plain.explain(x, [0, 1]), rtol=2e-6)


@pytest.mark.parametrize("batch", [1, "N"])
def test_a_fixed_batch_and_an_inner_value(batch):
    """The explained value is a layer, behind which the model is affine up to the next nonlinearity."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Softplus", ["h"], ["s"]),
        node("MatMul", ["s", "u"], ["g"]),
        node("Add", ["g", "c"], ["a"]),
        *ends("a"),
    ]
    tensors = {"w": weights(6, 8), "v": weights(8, 3), "u": weights(8, 8), "c": weights(8)}
    model = build(nodes, {"x": [batch, 6]}, {"y": [batch, 3]}, tensors)
    for wrt in (None, "s"):
        plain, shared = both(model, wrt=wrt, baseline_value=0.5)
        assert shared._plan.request.tail.cut.frontier == (("h",) if wrt is None else ("a",))
        x = inputs(model)
        labels = np.arange(ROWS) % 3
        assert largest_difference(shared.explain(x, labels), plain.explain(x, labels)) <= 2e-6


@pytest.mark.parametrize("behind", ["Identity", "Softplus"])
def test_a_fixed_batch_whose_widest_value_is_before_the_cut(behind):
    """Behind the cut as many rows as were as wide would fit, but the batch is 1."""
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("MatMul", ["h", "v"], ["a"]), node(behind, ["a"], ["y"])]
    model = build(nodes, {"x": [1, 6]}, {"y": [1, 3]}, {"w": weights(6, 64), "v": weights(64, 3)})
    plain, shared = both(model, batch_size=2)
    assert shared._plan.request.tail.cut.frontier == ("a",)
    x = inputs(model)
    feeds = {"x": x[:1], "target": np.eye(3, dtype=np.float32)[[1]]}
    session = onnxruntime.InferenceSession(shared.explainer("loop", target="weights").SerializeToString())
    found = session.run(["attribution"], feeds)[0]
    assert largest_difference(found, plain.explain(x[:1], [1])) <= 2e-6
    assert largest_difference(shared.explain(x, [1] * len(x)), plain.explain(x, [1] * len(x))) <= 2e-6


@pytest.mark.parametrize(("behind", "products"), [("Tanh", 1), ("Log", 3)])
def test_guards_against_infinite_gradients_are_those_of_the_part_behind(behind, products):
    """The last graph goes back through the prefix once where the gradients that it gets are finite."""
    model = vector_model(
        [node("MatMul", ["x", "w"], ["h"]), node(behind, ["h"], ["g"]), node("MatMul", ["g", "v"], ["y"])],
        w=weights(6, 8).round(1),  # some are 0, which times infinity would be NaN
    )
    driver = both(model)[1]._plan.driver
    ranges = driver._behind.graphs.gradient_ranges
    graph = finish_model(driver.request, driver.request.tail, ranges).graph
    assert sum(n.op_type in ("MatMul", "Gemm") for n in graph) == products


def test_rows_of_the_part_behind():
    """A run holds as many as are no wider together than ``batch_size`` rows of the model."""
    model = build(
        [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["y"])],
        {"x": ["N", 100]},
        {"y": ["N", 3]},
        {"w": weights(100, 8), "v": weights(8, 3)},
    )
    plain, shared = both(model, batch_size=4, steps=13)
    assert shared._plan.driver._behind.chunk == 4 * (100 // 8)
    x, labels = inputs(model, 11), np.arange(11) % 3
    assert largest_difference(shared.explain(x, labels), plain.explain(x, labels)) <= 2e-6
