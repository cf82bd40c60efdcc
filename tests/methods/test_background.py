"""Averages over a background set: against the formulas in float64 at the same draws, and against Captum."""

import itertools
import json

import numpy as np
import onnxruntime
import pytest
from golden import captum_baselines as captum
from support.row_models import COMPUTED, inputs, model, weights
from support.small_models import SMALL, build, elementwise, embedding, node, rows

import onnxattr
from onnxattr import ExpectedGradients, GradientShap, IntegratedGradients
from onnxattr.compile.noise import draw_noise, draw_starts
from onnxattr.errors import ParameterError

SHAPE, MEMBERS, DRAWS, NOISE, SEED = (4, 3), 5, 6, 0.3, 11
X, ONES = rows(1, *SHAPE).astype(np.float64), np.ones((3, *SHAPE))
SET = np.concatenate([rows(2, *SHAPE), rows(3, *SHAPE)])[:MEMBERS].astype(np.float64)
CUBES = elementwise(SHAPE)


def of_cubes(x, chosen, alphas, noise=0.0):
    """mean (x' - b) g(b + alpha (x' - b)) for f = x^3; draws along the first axis of the last three."""
    z = x + noise
    alphas = alphas.reshape(alphas.shape + (1,) * (x.ndim - 1))
    return ((z - SET[chosen]) * 3 * (SET[chosen] + alphas * (z - SET[chosen])) ** 2).mean(0)


def drawn(noise=0.0, seed=SEED):
    alphas, chosen = draw_starts(seed, 3, DRAWS, MEMBERS)
    e = noise * draw_noise(seed, X.shape, DRAWS).astype(np.float64) if noise else 0.0
    return of_cubes(X, chosen, alphas.astype(np.float64), e)


def averaged():
    """With two points on each path: (x - b) (3 x^2 + 3 b^2) / 2."""
    return ((X - SET[:, None]) * 1.5 * (X**2 + SET[:, None] ** 2)).mean(0)


METHODS = {
    "averaged": (IntegratedGradients, {"steps": 2}, averaged),
    "expected": (ExpectedGradients, {"nb_samples": DRAWS, "seed": SEED}, drawn),
    "shap": (GradientShap, {"nb_samples": DRAWS, "noise": NOISE, "seed": SEED}, lambda: drawn(NOISE)),
    "shap without noise": (GradientShap, {"nb_samples": DRAWS, "seed": SEED}, drawn),
}


def make(name, **options):
    method, own, _ = METHODS[name]
    return method(options.pop("model", CUBES), reducer=None, **{"background": SET} | own | options)


def close(found, expected, tolerance=2e-6):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", METHODS)
def test_formulas_in_every_rendering(name, tmp_path):
    expected = METHODS[name][2]()
    gap = (expected - (X**3 - (SET**3).mean(0))).sum((1, 2))  # f(x) minus the mean of f over the set
    for size in (1, 4, None):
        method = make(name, batch_size=size)
        close(method.explain(X, ONES), expected)
        np.testing.assert_allclose(method.convergence_delta(X, ONES), gap, rtol=0, atol=1e-4)
    for rendering, size in (("batch", 4), ("loop", 1), ("loop", 4), ("loop", 32)):
        make(name, batch_size=size).export(tmp_path / "e.onnx", rendering)
        loaded = onnxattr.load(tmp_path / "e.onnx", seed=SEED)
        close(loaded.explain(X, ONES), expected)
        np.testing.assert_allclose(loaded.convergence_delta(X, ONES), gap, rtol=0, atol=1e-4)


def test_draws():
    """Positions are uniform, members equally frequent, and both are independent of each other and of the row."""
    alphas, chosen = draw_starts(5, 40, 500, 7)
    assert 0 <= alphas.min() < 1e-3 < 1 - 1e-3 < alphas.max() <= 1
    for counts in (np.histogram(alphas, 20, (0, 1))[0], np.bincount(chosen.ravel(), minlength=7)):
        each = alphas.size / len(counts)
        assert np.abs(counts - each).max() < 5 * np.sqrt(each)
    assert abs(np.corrcoef(alphas.ravel(), chosen.ravel())[0, 1]) < 5 / np.sqrt(alphas.size)
    pairs = np.corrcoef(alphas.T)[~np.eye(40, dtype=bool)]
    assert np.abs(pairs).max() < 5.5 / np.sqrt(500)
    np.testing.assert_array_equal(draw_starts(5, 10, 500, 7, first_row=30)[0], alphas[:, 30:])
    assert not np.array_equal(draw_starts(6, 40, 500, 7)[1], chosen)


def test_many_draws_are_the_mean_over_the_set():
    """Over all members and positions: the mean of the integrals, each f(x) - f(b) for a sum of cubes."""
    expected = X**3 - (SET**3).mean(0)
    deviations = []
    for draws in (500, 8000):
        found = make("expected", nb_samples=draws, batch_size=None).explain(X, ONES)
        deviations.append(np.sqrt(((found - expected) ** 2).mean()))
    assert deviations[0] < 0.4 * np.abs(expected).max()
    assert deviations[1] < 0.5 * deviations[0]  # a quarter, but for chance
    exact = make("averaged", steps=4, quadrature="gauss_legendre")
    close(exact.explain(X, ONES), expected)
    np.testing.assert_allclose(exact.convergence_delta(X, ONES), 0, atol=1e-5)


def test_rows_of_a_dataset_have_the_draws_of_their_places():
    pairs = [(X[:1], ONES[:1]), (X[1:], ONES[1:])]
    for name in METHODS:
        close(make(name).explain(iter(pairs)), METHODS[name][2]())


@pytest.mark.parametrize("case", SMALL)
def test_networks(case):
    """The mean over the members of the path from each; with several inputs a member is one of all of them."""
    small, labels = SMALL[case](), [0, 2, 1]
    members = {name: np.concatenate([array[::-1], array[:1] / 2]) for name, array in small.inputs.items()}
    given = members if len(members) > 1 else members[next(iter(members))]
    method = IntegratedGradients(small.model, steps=5, reducer=None, background=given)
    single = IntegratedGradients(small.model, steps=5, reducer=None)
    apart = [
        single.explain(small.inputs, labels, baselines={name: array[j] for name, array in members.items()})
        for j in range(4)
    ]
    found = method.explain(small.inputs, labels)
    if isinstance(found, dict):
        for name in found:
            close(found[name], np.mean([maps[name] for maps in apart], axis=0))
    else:
        close(found, np.mean(apart, axis=0))


WAYS = {
    "list": lambda: list(SET),
    "list of lists": lambda: SET.tolist(),
    "tuple": lambda: tuple(SET),
    "dict": lambda: {"x": SET},
    "dict of lists": lambda: {"x": list(SET)},
    "tuple of one": lambda: (SET,),
    "float32": lambda: SET.astype(np.float32),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_give_a_set(way):
    if way != "tuple of one":
        close(make("expected", background=WAYS[way]()).explain(X, ONES), drawn())
    else:
        close(make("expected", background=[SET[0]]).explain(X, ONES, baselines=list(SET)), drawn())


def test_numbers_as_members():
    """Black and white."""
    two = make("averaged", background=[0.0, 1.0])
    one = [make("averaged", background=None, baseline_value=b).explain(X, ONES) for b in (0.0, 1.0)]
    close(two.explain(X, ONES), np.mean(one, axis=0))
    with pytest.raises(ParameterError, match=r"\(3,\) for 'x', one baseline.*\(members, 3\)"):
        IntegratedGradients(elementwise([3]), background=[0.0, 1.0, 2.0])


def test_another_set_for_one_call():
    method = make("expected", background=SET[:2])
    close(method.explain(X, ONES, baselines=SET), drawn())
    gap = (drawn() - (X**3 - (SET**3).mean(0))).sum((1, 2))
    np.testing.assert_allclose(method.convergence_delta(X, ONES, baselines=SET), gap, rtol=0, atol=1e-4)
    assert np.abs(method.explain(X, ONES) - drawn()).max() > 0.1


def test_inputs_that_are_not_explained_keep_their_rows():
    """f = x^2 u: the mean of f over the set is taken with each row's own u."""
    nodes = [node("Mul", ["x", "x"], ["s"]), node("Mul", ["s", "u"], ["y"])]
    proto = build(nodes, {"x": ["N", 3], "u": ["N", 3]}, {"y": ["N", 3]})
    x, u, members = rows(1, 3), rows(2, 3), rows(3, 3)
    method = IntegratedGradients(proto, wrt="x", steps=2, background=members, batch_size=4)
    ones = np.ones((3, 3))
    close(method.explain({"x": x, "u": u}, ones), ((x**2 - members[:, None] ** 2) * u).mean(0))
    np.testing.assert_allclose(method.convergence_delta({"x": x, "u": u}, ones), 0, atol=1e-5)
    shap = ExpectedGradients(proto, wrt="x", nb_samples=9, background=members, batch_size=4)
    total = shap.explain({"x": x, "u": u}, ones).sum(1)
    expected = total - ((x**2 - (members**2).mean(0)) * u).sum(1)
    np.testing.assert_allclose(shap.convergence_delta({"x": x, "u": u}, ones), expected, atol=1e-5)


def test_a_gradient_at_a_member_has_no_part_in_the_draws(tmp_path):
    """f = sqrt(x): infinite at members of 0, where the scores alone are needed."""
    proto = build([node("Sqrt", ["x"], ["y"])], {"x": ["N", 2]}, {"y": ["N", 2]})
    x, ones = np.array([[1, 4], [9, 2]], np.float32), np.ones((2, 2))
    method = ExpectedGradients(proto, nb_samples=5, background=np.zeros((1, 2)), batch_size=3)
    alphas = draw_starts(0, 2, 5, 1)[0].astype(np.float64)[..., None]
    expected = (x * 0.5 / np.sqrt(alphas * x)).mean(0)
    close(method.explain(x, ones), expected)
    for rendering in ("batch", "loop"):
        method.export(tmp_path / "e.onnx", rendering, target="weights")
        close(onnxattr.load(tmp_path / "e.onnx").explain(x, ones), expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float16, 3e-2), (np.float64, 1e-6)])
@pytest.mark.parametrize("name", METHODS)
def test_other_dtypes(name, dtype, tolerance):
    close(make(name, model=elementwise(SHAPE, dtype)).explain(X, ONES), METHODS[name][2](), tolerance)


def test_inner_values():
    """At the embedding, from the rows of other tokens: the path is that of the tokens' vectors."""
    case = embedding()
    members = rows(4, 7, 5)
    method = IntegratedGradients(case.model, wrt="embedded", steps=5, background=members)
    single = IntegratedGradients(case.model, wrt="embedded", steps=5)
    apart = [single.explain(case.given, [0, 1, 2], baselines=member) for member in members]
    close(method.explain(case.given, [0, 1, 2]), np.mean(apart, axis=0))


@pytest.mark.filterwarnings("ignore:The samples of a batch are not")
@pytest.mark.parametrize("name", list(COMPUTED)[:3])
def test_models_whose_first_axis_is_no_batch(name, tmp_path):
    x, proto = inputs(name), model(name)
    target = weights(name, x)
    members = np.stack([x / 2, -x, x * 0])
    method = IntegratedGradients(proto, steps=4, reducer=None, background=members)
    single = IntegratedGradients(proto, steps=4, reducer=None)
    expected = np.mean([single.explain(x, target, baselines=member) for member in members], axis=0)
    close(method.explain(x, target), expected)
    method.export(tmp_path / "e.onnx", target="weights")
    close(onnxattr.load(tmp_path / "e.onnx").explain(x, target), expected)


def test_the_set_is_once_in_the_file(tmp_path):
    members = np.random.default_rng(0).normal(size=(64, 64, 3)).astype(np.float32)
    for name, rendering in itertools.product(METHODS, ("batch", "loop")):
        make(name, model=elementwise([64, 3]), background=members, batch_size=8).export(
            tmp_path / "e.onnx", rendering
        )
        assert (tmp_path / "e.onnx").stat().st_size < 1.1 * members.nbytes + 32768
        names = [value.name for value in onnxruntime.InferenceSession(tmp_path / "e.onnx").get_inputs()]
        assert ("seed" in names) == (name != "averaged")


GOLDEN = json.loads(captum.FILE.read_text())


def captums_model():
    w = captum.WEIGHTS
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"]), node("Tanh", ["h"], ["t"]), node("Gemm", ["t", "w2", "b2"], ["y"]),
    ]  # fmt: skip
    return build(nodes, {"x": ["N", captum.FEATURES]}, {"y": ["N", 3]}, w)


def test_rows_of_baselines_are_captums():
    method = IntegratedGradients(captums_model(), steps=20, quadrature="gauss_legendre")
    close(method.explain(captum.X, captum.LABELS, baselines=captum.BASELINES), GOLDEN["rows"])


def tanh_net(chosen, alphas, normal):
    """The formula on Captum's network, in float64."""
    w = {name: array.astype(np.float64) for name, array in captum.WEIGHTS.items()}
    z, b = captum.X + normal.astype(np.float64), captum.BACKGROUND[chosen].astype(np.float64)
    slope = 1 - np.tanh((b + alphas[..., None] * (z - b)) @ w["w1"] + w["b1"]) ** 2
    return ((z - b) * ((slope * w["w2"].T[captum.LABELS]) @ w["w1"].T)).mean(0)


@pytest.mark.parametrize("noise", [0.0, captum.NOISE])
def test_gradient_shap_is_captums_formula(noise):
    """Captum with draws of ours gives the formula; the method gives it with its own."""
    close(tanh_net(captum.CHOSEN, captum.ALPHAS, noise * captum.NORMAL), GOLDEN[f"shap, {noise}"], 1e-5)
    method = GradientShap(
        captums_model(), nb_samples=captum.DRAWS, noise=noise, background=captum.BACKGROUND, seed=3
    )
    alphas, chosen = draw_starts(3, captum.ROWS, captum.DRAWS, captum.MEMBERS)
    normal = noise * draw_noise(3, captum.X.shape, captum.DRAWS)
    close(method.explain(captum.X, captum.LABELS), tanh_net(chosen, alphas.astype(np.float64), normal))


WRONG = {
    "no set": ({"background": None}, ["ExpectedGradients", "background="]),
    "one row": ({"background": SET[0]}, ["(4, 3)", "one baseline", "(members, 4, 3)"]),
    "another shape": ({"background": SET[:, :2]}, ["(5, 2, 3)", "(4, 3)"]),
    "no member": ({"background": SET[:0]}, ["[0] members", "one or more"]),
    "a name": ({"background": "blur"}, ["'blur'", "arrays"]),
    "a function": ({"background": np.zeros_like}, ["zeros_like", "arrays"]),
    "ragged": ({"background": [SET[0], SET[0, :2]]}, ["different shapes", "(2, 3)"]),
    "NaN": ({"background": SET * np.nan}, ["background", "finite"]),
    "unknown input": ({"background": {"y": SET}}, ["['y']", "['x']"]),
    "no draws": ({"nb_samples": 0}, ["nb_samples=0"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_set(case):
    options, fragments = WRONG[case]
    with pytest.raises(ParameterError) as error:
        ExpectedGradients(CUBES, **{"background": SET} | options)
    assert all(fragment in str(error.value) for fragment in fragments), error.value


def test_what_excludes_each_other(tmp_path):
    with pytest.raises(ParameterError, match="baseline_value and background"):
        IntegratedGradients(CUBES, baseline_value="mean", background=SET)
    with pytest.raises(ParameterError, match="noise=-1"):
        GradientShap(CUBES, background=SET, noise=-1)
    for name in METHODS:
        with pytest.raises(ParameterError, match="background set is in the file"):
            make(name).export(tmp_path / "e.onnx", baseline_input=True)
    small = SMALL["two_inputs"]()
    uneven = {name: array[: 1 + index] for index, (name, array) in enumerate(small.inputs.items())}
    with pytest.raises(ParameterError, match=r"\[1, 2\] members"):
        IntegratedGradients(small.model, background=uneven)
