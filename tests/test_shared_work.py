"""What is the same at all points of a sample is computed once for it; the maps are those of points by themselves."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper
from support.small_models import build, node
from support.tiny_graphs import parse

from onnxattr import IntegratedGradients, SmoothGrad, SquareGrad, VarGrad
from onnxattr.attributions import ExpectedGradients
from onnxattr.graph.affine import is_affine

ROWS = 5


def weights(*shape):
    """The same for each test, in whatever order they run."""
    return (np.random.default_rng(shape).normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


def vector_model(nodes, **tensors):
    return build(nodes, {"x": ["N", 6]}, {"y": ["N", 3]}, {"v": weights(8, 3), "w": weights(6, 8)} | tensors)


def ends(value):
    """The part behind the cut: two nonlinearities."""
    return [node("Tanh", [value], ["t"]), node("MatMul", ["t", "v"], ["m"]), node("Atan", ["m"], ["y"])]


def image_model(nodes, last, **tensors):
    back = [
        node("Relu", [last], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "v"], ["y"]),
    ]
    return build(
        nodes + back,
        {"x": ["N", 2, 6, 6]},
        {"y": ["N", 3]},
        {"v": weights(4, 3), "k": weights(4, 2, 3, 3)} | tensors,
    )


BATCH_NORM = {name: np.abs(weights(4)) + 0.1 for name in ("scale", "shift", "mean", "var")}
#: By name: the model, and the frontier of its largest cut.
MODELS = {
    "MatMul and Add": (
        lambda: vector_model(
            [node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "c"], ["a"]), *ends("a")], c=weights(8)
        ),
        ["a"],
    ),
    "Gemm with transposed weights": (
        lambda: vector_model(
            [node("Gemm", ["x", "wt", "c"], ["h"], transB=1, alpha=0.5), *ends("h")],
            wt=weights(8, 6),
            c=weights(8),
        ),
        ["h"],
    ),
    "branches that join": (
        lambda: vector_model(
            [
                node("Slice", ["x", "zero", "three", "one"], ["s"]),
                node("MatMul", ["s", "w3"], ["g"]),
                node("MatMul", ["x", "w"], ["h"]),
                node("Sub", ["h", "g"], ["d"]),
                node("Mul", ["d", "c"], ["a"]),
                *ends("a"),
            ],
            w3=weights(3, 8),
            c=weights(8),
            zero=np.array([0]),
            one=np.array([1]),
            three=np.array([3]),
        ),
        ["a"],
    ),
    "a way around the cut": (
        lambda: vector_model(
            [
                node("MatMul", ["x", "w"], ["h"]),
                node("Mul", ["x", "x"], ["q"]),
                node("MatMul", ["q", "w"], ["g"]),
                node("Add", ["h", "g"], ["a"]),
                *ends("a"),
            ]
        ),
        ["h", "x"],
    ),
    "sizes of the input read behind the cut": (
        lambda: vector_model(
            [
                node("MatMul", ["x", "w"], ["h"]),
                node("Relu", ["h"], ["a"]),
                node("Shape", ["x"], ["sx"], end=1),
                node("Concat", ["sx", "rest"], ["sizes"], axis=0),
                node("Reshape", ["a", "sizes"], ["q"]),
                node("ReduceMean", ["q", "two"], ["p"], keepdims=0),
                node("MatMul", ["p", "v4"], ["y"]),
            ],
            rest=np.array([4, 2]),
            two=np.array([2]),
            v4=weights(4, 3),
        ),
        ["h"],
    ),
    "sizes of an inner value read behind the cut": (
        lambda: vector_model(
            [
                node("Flatten", ["x"], ["g"]),
                node("MatMul", ["g", "w"], ["h"]),
                node("Relu", ["h"], ["r"]),
                node("Shape", ["g"], ["sx"], end=1),
                node("Concat", ["sx", "rest"], ["sizes"], axis=0),
                node("Reshape", ["r", "sizes"], ["q"]),
                node("ReduceMean", ["q", "two"], ["p"], keepdims=0),
                node("MatMul", ["p", "v4"], ["y"]),
            ],
            rest=np.array([4, 2]),
            two=np.array([2]),
            v4=weights(4, 3),
        ),
        ["h"],
    ),
    "convolution, normalisation and pads": (
        lambda: image_model(
            [
                node("Pad", ["x", "pads"], ["b"]),
                node("Conv", ["b", "k"], ["h"], strides=[2, 2]),
                node("BatchNormalization", ["h", "scale", "shift", "mean", "var"], ["n"]),
            ],
            "n",
            pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
            **BATCH_NORM,
        ),
        ["n"],
    ),
    "pools, concatenation and a transposed layout": (
        lambda: image_model(
            [
                node("Transpose", ["x"], ["last"], perm=[0, 2, 3, 1]),
                node("Transpose", ["last"], ["first"], perm=[0, 3, 1, 2]),
                node("AveragePool", ["first"], ["a"], kernel_shape=[2, 2], strides=[1, 1]),
                node("Neg", ["a"], ["m"]),
                node("Concat", ["a", "m"], ["c"], axis=1),
            ],
            "c",
        ),
        ["c"],
    ),
}


def inputs(model, rows=ROWS):
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return np.random.default_rng(3).normal(size=(rows, *dims)).astype(np.float32)


def both(model, **options):
    """The method without and with shared work."""
    options = {"steps": 7, "reducer": None, "progress": False} | options
    return [IntegratedGradients(model, **options, share=share) for share in (False, True)]


def largest_difference(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


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
            method.batch_size = chunk
        expected, found = plain.explain(x, labels), shared.explain(x, labels)
        assert largest_difference(found, expected) <= 2e-6
    np.testing.assert_allclose(
        shared.convergence_delta(x, labels), plain.convergence_delta(x, labels), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("name", MODELS)
def test_gradients_at_noisy_points_are_summed_before_the_prefix(name):
    build_model, frontier = MODELS[name]
    model = build_model()
    plain, shared = (
        SmoothGrad(model, nb_samples=7, seed=3, reducer=None, progress=False, share=share)
        for share in (False, True)
    )
    # Beside a way around the cut, gradients are those by the explained value; a wide concatenation saves nothing.
    tail, expected = shared._plan.request.tail, {"h x": [], "c": ["a"]}.get(" ".join(frontier), frontier)
    assert ([] if tail is None else sorted(tail.cut.summed)) == expected
    x, labels = inputs(model), np.array([0, 1, 2, -1, 1])
    for chunk in (1, 4, 32):
        plain.batch_size = shared.batch_size = chunk
        assert largest_difference(shared.explain(x, labels), plain.explain(x, labels)) <= 2e-6


def run(path, x, labels, **more):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x, "target": labels} | more), strict=True))


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


@pytest.mark.parametrize(
    ("text", "frontier"),
    [
        ("h = MatMul(x, w) y = Relu(h)", ["h"]),
        ("h = Add(x, far) y = Relu(h)", None),  # sums with numbers near the end of float32 may overflow
        ("h = Add(x, endless) y = Relu(h)", None),
        ("h = Mul(x, x) y = Relu(h)", None),
        ("h = Relu(x) y = MatMul(h, w)", None),
        ("y = MatMul(x, w)", None),  # the score itself is no cut
        (
            "h = Transpose<perm = [1, 0]>(x) g = Relu(h) y = Transpose<perm = [1, 0]>(g)",
            None,
        ),  # no rows there
    ],
)
def test_where_a_model_is_cut(text, frontier):
    constants = (
        "float[4,4] w = {1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8}, float far = {-3.4e38}, float endless = {-inf}"
    )
    if "endless" in text:
        constants = constants.replace(", float endless = {-inf}", "")
    model = parse(f"m (float[N,4] x) => (float[N,4] y) <{constants}> {{ {text} }}")
    if "endless" in text:
        model.graph.initializer.append(helper.make_tensor("endless", TensorProto.FLOAT, [], [-np.inf]))
    _, shared = both(model)
    tail = shared._plan.request.tail
    assert (None if tail is None else list(tail.cut.frontier)) == frontier


def test_a_cut_is_made_where_it_pays():
    wide = build(
        [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["y"])],
        {"x": ["N", 5000]},
        {"y": ["N", 2]},
        {"w": weights(5000, 64), "v": weights(64, 2)},
    )
    narrow = MODELS["MatMul and Add"][0]()
    decided = [IntegratedGradients(m, steps=200)._plan.request.tail is not None for m in (wide, narrow)]
    assert decided == [True, False]


@pytest.mark.parametrize(
    ("op_type", "varying", "attributes", "expected"),
    [
        ("Gemm", [0], {}, True),
        ("Gemm", [0, 2], {}, True),
        ("Gemm", [0, 1], {}, False),
        ("Mul", [1], {}, True),
        ("Mul", [0, 1], {}, False),
        ("Div", [0], {}, True),
        ("Div", [1], {}, False),
        ("Where", [1, 2], {}, True),
        ("Where", [0], {}, False),
        ("Concat", [0, 1, 2], {}, True),
        ("BatchNormalization", [0], {}, True),
        ("BatchNormalization", [0], {"training_mode": 1}, False),
        ("Relu", [0], {}, False),
        ("Cast", [0], {}, False),
    ],
)
def test_operators(op_type, varying, attributes, expected):
    values = [ir.Value(name=f"v{i}") for i in range(5)]
    assert is_affine(ir.node(op_type, values, attributes), varying) == expected


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


def two_inputs():
    """A branch of an input that is not explained, with a mask of infinities behind it, and a layer to explain."""
    nodes = [
        node("MatMul", ["z", "w"], ["zh"]),
        node("Tanh", ["zh"], ["branch"]),
        node("Log", ["open"], ["mask"]),
        node("MatMul", ["x", "w"], ["h"]),
        node("Sigmoid", ["h"], ["layer"]),
        node("Mul", ["layer", "branch"], ["j"]),
        node("Add", ["j", "mask"], ["k"]),
        node("Softmax", ["k"], ["s"]),
        node("Mul", ["s", "j"], ["t"]),
        node("MatMul", ["t", "v"], ["y"]),
    ]
    given = {"x": ["N", 6], "z": ["N", 6], "open": ["N", 8]}
    return build(nodes, given, {"y": ["N", 3]}, {"w": weights(6, 8), "v": weights(8, 3)})


#: The method, what is explained, and the values that are computed once for each sample.
ONCE = {
    "a branch": (IntegratedGradients, "x", {"h", "branch", "mask"}),
    "a branch and what is before a layer": (IntegratedGradients, "layer", {"j", "mask"}),
    "a branch, with noise": (SmoothGrad, "x", {"x", "branch", "mask"}),
    "a branch, with noise at a layer": (VarGrad, "layer", {"layer", "branch", "mask"}),
    "squares of gradients": (SquareGrad, "layer", {"layer", "branch", "mask"}),
    "a background": (ExpectedGradients, "x", {"x", "branch", "mask"}),
}


@pytest.mark.parametrize("case", ONCE)
def test_what_does_not_depend_on_the_explained_value(case, tmp_path):
    kind, wrt, once = ONCE[case]
    model = two_inputs()
    x = {name: inputs(model) for name in "xz"}
    x["z"] = x["z"][::-1]
    x["open"] = (np.random.default_rng(7).uniform(size=(ROWS, 8)) > 0.3).astype(np.float32)
    options = {"steps": 7, "baseline_value": 0.25} if kind is IntegratedGradients else {"nb_samples": 7}
    options |= (
        {"background": np.random.default_rng(8).normal(size=(4, 6))} if kind is ExpectedGradients else {}
    )
    plain, shared = (
        kind(model, wrt=wrt, reducer=None, progress=False, share=share, **options) for share in (False, True)
    )
    tail = shared._plan.request.tail
    assert {*tail.cut.frontier, *tail.cut.given} == once
    for chunk in (2, 32):
        plain.batch_size = shared.batch_size = chunk
        expected, found = (m.explain(x, np.array([0, 1, 2, -1, 1])) for m in (plain, shared))
        assert largest_difference(found, expected) <= 1e-5
        for rendering in ("batch", "loop"):
            shared.export(tmp_path / "shared.onnx", rendering, check=False)
            others = {name: x[name] for name in ("z", "open")}
            seed = {} if kind is IntegratedGradients else {"seed": np.array(0)}
            file = run(tmp_path / "shared.onnx", x["x"], np.array([0, 1, 2, -1, 1]), **others | seed)
            assert largest_difference(file["attribution"], expected) <= 1e-5


def test_random_numbers_are_drawn_at_each_point():
    nodes = [
        node("RandomUniformLike", ["z"], ["r"]),
        node("MatMul", ["x", "w"], ["h"]),
        node("Mul", ["h", "r"], ["q"]),
        node("Relu", ["q"], ["y"]),
    ]
    model = build(nodes, {"x": ["N", 6], "z": ["N", 8]}, {"y": ["N", 8]}, {"w": weights(6, 8)})
    assert IntegratedGradients(model, wrt="x", share=True)._plan.request.tail is None
