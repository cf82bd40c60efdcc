"""Baselines given as arrays and by name, at embeddings, and what is no baseline."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument
from support.baseline_kinds import OTHER, SERIES, SIGMA, TABLE, X, blurred, close, cubic, make
from support.row_models import COMPUTED, inputs, model, weights
from support.small_models import SMALL, build, elementwise, embedding, mlp, node, rows
from support.tiny_graphs import parse

import onnxattr
from onnxattr import ExpectedGradients, GradientShap, IntegratedGradients, NoiseTunnel
from onnxattr.compile.noise import draw_starts
from onnxattr.errors import NonFiniteWarning, OnnxAttrError, ParameterError, ShapeError


@pytest.mark.parametrize("name", ["blur", "mean", "uniform"])
def test_missing_values_have_no_part_in_baselines(name):
    """y = Where(IsNaN(x), 0, x)^2: the gaps stay gaps on the path, and count as the mean of the others in a blur."""
    nodes = [
        node("IsNaN", ["x"], ["gone"]),
        node("Where", ["gone", "zero", "x"], ["z"]),
        node("Mul", ["z", "z"], ["y"]),
    ]
    proto = build(nodes, {"x": ["N", *SERIES]}, {"y": ["N", *SERIES]}, {"zero": np.float32(0)})
    x = rows(1, *SERIES)
    x[0, 2, 1] = x[1, :, 0] = np.nan
    method = IntegratedGradients(proto, steps=2, reducer=None, sigma=SIGMA)
    maps = method.explain(x, np.ones_like(x), baselines=name)
    assert (maps[np.isnan(x)] == 0).all()
    means = np.nan_to_num(
        np.nanmean(np.where(np.isnan(x).all(1, keepdims=True), 0, x), axis=1, keepdims=True)
    )
    filled = np.where(np.isnan(x), means, x).astype(np.float64)
    if name != "uniform":
        b = blurred(filled) if name == "blur" else means
        close(maps, np.where(np.isnan(x), 0, x**2 - b**2))
    low, high = (edge(x, axis=(1, 2), keepdims=True) for edge in (np.nanmin, np.nanmax))
    b2 = np.where(np.isnan(x), 0, x**2 - maps)
    assert (b2 <= np.maximum(low**2, high**2) + 1e-5).all()


def test_a_padding_token_at_the_embedding():
    case = embedding()
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in case.model.graph.initializer}
    table, w = weights["table"].astype(np.float64), weights["w"].astype(np.float64)
    method = IntegratedGradients(case.model, wrt="embedded", steps=300)
    found = method.explain(case.given, [0, 2, 1], baselines=weights["table"][0])
    full = IntegratedGradients(
        case.model, wrt="embedded", steps=300, baseline_value=np.tile(weights["table"][0], (7, 1))
    )
    close(found, full.explain(case.given, [0, 2, 1]))
    x, alphas = table[case.given], np.linspace(0, 1, 300)
    slope = 1 - np.tanh(table[0] + alphas[:, None, None, None] * (x - table[0])) ** 2
    integral = (slope[1:] + slope[:-1]).sum(0) / 2 / 299
    close(found, (x - table[0]) * integral * w.T[[0, 2, 1]][:, None] / 7)
    assert np.abs(found[case.given == 0]).max(initial=0) == 0


def test_several_inputs_by_name_and_in_order():
    small = SMALL["two_inputs"]()
    image, features = small.inputs["image"], small.inputs["features"]
    method, labels = IntegratedGradients(small.model, steps=4, reducer=None), [0, 2, 1]
    expected = method.explain(
        small.inputs, labels, baselines=(np.full_like(image, 0.5), np.zeros_like(features))
    )
    ways = [
        {"image": 0.5}, {"image": np.full((1, 1), 0.5), "features": 0}, (0.5, 0.0),
        {"image": lambda given: 0 * given["image"] + 0.5}, lambda given: (0 * given["image"] + 0.5, 0.0),
        lambda given: {"image": 0.5, "features": given["features"] * 0},
    ]  # fmt: skip
    for way in ways:
        found = method.explain(small.inputs, labels, baselines=way)
        own = IntegratedGradients(small.model, steps=4, reducer=None, baseline_value=way).explain(
            small.inputs, labels
        )
        for name in expected:
            close(found[name], expected[name])
            close(own[name], expected[name])


def test_rows_of_baselines_follow_a_dataset():
    x, b = X[TABLE], OTHER[TABLE]
    pairs = [(x[:2], np.ones((2, 6))), (x[2:], np.ones((1, 6)))]
    method = make(TABLE)
    close(method.explain(iter(pairs), baselines=b), cubic(x, b))
    close(method.explain(iter(pairs), baselines=lambda given: given[:, ::-1]), cubic(x, x[:, ::-1]))
    for wrong in (np.concatenate([b, b]), b[:2]):
        with pytest.raises(ShapeError, match=f"{len(wrong)} rows; expected 1 or 3"):
            method.explain(iter(pairs), baselines=wrong)


def test_a_list_with_a_baseline_for_each_sample(tmp_path):
    method, x, b = make(TABLE), X[TABLE], OTHER[TABLE]
    close(method.explain(x, np.ones((3, 6)), baselines=list(b)), cubic(x, b))
    method.export(tmp_path / "e.onnx", baseline_input=True, target="weights")
    close(onnxattr.load(tmp_path / "e.onnx").explain(x, np.ones((3, 6)), baselines=list(b)), cubic(x, b))
    with pytest.raises(
        ShapeError, match=r"2 rows; expected 1 or 3 rows.*background=<rows> of ExpectedGradients"
    ):
        method.explain(x, np.ones((3, 6)), baselines=list(b[:2]))


@pytest.mark.parametrize("loaded", [False, True])
def test_rows_of_baselines_follow_a_dataset_in_files(loaded, tmp_path):
    x, b = X[TABLE], OTHER[TABLE]
    make(TABLE).export(tmp_path / "e.onnx", baseline_input=True, target="weights")
    explainer = onnxattr.load(tmp_path / "e.onnx", baseline=b if loaded else None)
    pairs = [(x[:2], np.ones((2, 6))), (x[2:], np.ones((1, 6)))]
    close(explainer.explain(iter(pairs), baselines=None if loaded else b), cubic(x, b))
    close(explainer.explain(iter(pairs), baselines=b[:1]), cubic(x, b[:1]))
    for wrong in (np.concatenate([b, b]), b[:2]):
        with pytest.raises(ShapeError, match=f"{len(wrong)} rows; expected 1 or 3"):
            explainer.explain(iter(pairs), baselines=wrong)


def test_named_columns():
    pandas = pytest.importorskip("pandas")
    names = ["a", "b", "c", "d", "e", "f"]
    proto = elementwise(TABLE)
    proto.metadata_props.add(key="onnxattr.features", value=f'{{"x": {names}}}'.replace("'", '"'))
    x, b = X[TABLE], OTHER[TABLE]
    method = IntegratedGradients(proto, steps=2)
    frame = pandas.DataFrame(b, columns=names)[names[::-1]]
    close(method.explain(x, np.ones_like(x), baselines=frame), cubic(x, b))
    close(method.explain(x, np.ones_like(x), baselines=frame.iloc[1]), cubic(x, b[1]))
    close(IntegratedGradients(proto, steps=2, baseline_value=frame).explain(x, np.ones_like(x)), cubic(x, b))
    for name in ("blur", "mean"):
        with pytest.raises(ParameterError, match=r"a table.*background="):
            IntegratedGradients(proto, baseline_value=name)


@pytest.mark.filterwarnings("ignore:The samples of a batch are not")
@pytest.mark.parametrize("name", list(COMPUTED)[:3])
def test_models_whose_first_axis_is_no_batch(name, tmp_path):
    x, proto = inputs(name), model(name)
    target = weights(name, x)
    method = IntegratedGradients(proto, steps=4, reducer=None)
    half = IntegratedGradients(proto, steps=4, reducer=None, baseline_value=x / 2).explain(x, target)
    for given in (x / 2, x[None] / 2, lambda given: given / 2):
        close(method.explain(x, target, baselines=given), half)
    method.export(tmp_path / "e.onnx", target="weights", baseline_input=True)
    close(onnxattr.load(tmp_path / "e.onnx", baseline=x / 2).explain(x, target), half)
    means = method.explain(x, target, baselines="mean")
    axes = tuple(range(max(1, x.ndim - 1)))
    close(means, method.explain(x, target, baselines=x.mean(axes, keepdims=True) + 0 * x))
    with pytest.raises(ShapeError, match="expected 1"):
        method.explain(x, target, baselines=np.stack([x, x]))


def test_a_baseline_without_a_finite_gradient_is_named():
    proto = build([node("Sqrt", ["x"], ["y"])], {"x": ["N", 2]}, {"y": ["N", 2]})
    method = IntegratedGradients(proto, steps=3)
    for baseline in (-1.0, lambda x: -x):
        with pytest.warns(NonFiniteWarning, match="point 1 of 3"):
            method.explain([[1, 4]], np.ones((1, 2)), baselines=baseline)


X6 = mlp().given
WRONG = {
    "a colour's name": (
        {"baseline_value": "Black"},
        ["'Black': what number that is depends on how", "give the number"],
    ),
    "a name of zero": ({"baseline_value": "zeros"}, ["'zeros': give 0.0"]),
    "another name of noise": ({"baseline_value": "gaussian"}, ["'uniform' draws"]),
    "another name": ({"baseline_value": "black"}, ["'black'", "'blur'", "numbers"]),
    "two baselines": ({"baseline_value": [X6[0], X6[1]]}, ["2 baselines", "background="]),
    "a list of rows": ({"baseline_value": [0.0, 1.0]}, ["(2,)", "(6,)", "(N, 6)"]),
    "unknown input": ({"baseline_value": {"y": 0.0}}, ["['y']", "['x']"]),
    "no blur": ({"baseline_value": "blur", "sigma": 0}, ["sigma=0", "above 0"]),
    "None": ({"baseline_value": None}, ["None", "numbers"]),
    "infinite in a dict": ({"baseline_value": {"x": np.inf}}, ["baseline_value['x']", "finite"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_baseline(case):
    options, fragments = WRONG[case]
    with pytest.raises(ParameterError) as error:
        IntegratedGradients(mlp().model, **options)
    assert all(fragment in str(error.value) for fragment in fragments), error.value


CALLS = {
    "rows": (X6[:2], ["2 rows", "1 or 3"]),
    "function to another shape": (lambda x: x[:, :4], ["(inputs)", "(3, 4)", "(6,)"]),
    "function to nothing": (lambda x: None, ["(inputs)", "numbers"]),
    "function to NaN": (lambda x: x * np.nan, ["(inputs)", "finite"]),
    "function to another name": (lambda x: {"y": x}, ["['y']", "'x'"]),
    "name": ("blurry", ["'blurry'", "'blur'"]),
}


@pytest.mark.parametrize("case", CALLS)
def test_what_is_no_baseline_of_these_inputs(case):
    given, fragments = CALLS[case]
    with pytest.raises(OnnxAttrError) as error:
        IntegratedGradients(mlp().model, steps=3).explain(X6, baselines=given)
    assert all(fragment in str(error.value) for fragment in fragments), error.value


def test_numbers_for_an_axis_that_could_be_another_are_refused():
    with pytest.raises(ParameterError, match=r"such as \(3, 1, 1\) or \(1, 1, 3\)"):
        IntegratedGradients(elementwise([3, 5, 3]), baseline_value=np.ones(3))
    with pytest.raises(ParameterError, match=r"such as \(3, 1, 1\)"):
        IntegratedGradients(elementwise([3, 5, 6]), baseline_value=np.ones(3))
    IntegratedGradients(elementwise([3, 5, 3]), baseline_value=np.ones((3, 1, 1)))


def test_files_say_whether_they_take_baselines(tmp_path):
    x = X6
    IntegratedGradients(mlp().model, steps=3).export(tmp_path / "e.onnx")
    with pytest.raises(ParameterError, match=r"takes no baselines.*baseline_input=True"):
        onnxattr.load(tmp_path / "e.onnx", baseline=1.0).explain(x)
    IntegratedGradients(mlp().model, steps=3).export(tmp_path / "e.onnx", baseline_input=True)
    for wrong in ("blur", abs):
        with pytest.raises(ParameterError, match="numbers"):
            onnxattr.load(tmp_path / "e.onnx", baseline=wrong).explain(x)
    expected = IntegratedGradients(mlp().model, steps=3, baseline_value=x[0]).explain(x)
    close(onnxattr.load(tmp_path / "e.onnx", baseline=x[0]).explain(x), expected)


@pytest.mark.parametrize("given", [{"baseline_value": np.ones((11, 4))}, {"background": np.ones((2, 11, 4))}])
def test_an_export_is_tried_at_the_sizes_of_the_baseline(given, tmp_path):
    x = rows(1, 11, 4)
    method = IntegratedGradients(elementwise(["T", 4]), steps=2, reducer=None, **given)
    method.export(tmp_path / "e.onnx")
    close(onnxattr.load(tmp_path / "e.onnx").explain(x, np.ones_like(x)), cubic(x.astype(np.float64), 1.0))


#: Squares summed over time, of which the length is open, at the input or at a value inside.
OF_ANY_LENGTH = """g (float[N,T,2] x) => (float[N,2] y) <int64[1] time = {1}> {
    h = Neg(x) s = Mul(h, h) y = ReduceSum<keepdims = 0>(s, time) }"""


def _maps_of_file(method, path, x, **given):
    method.export(
        path, target="weights", baseline_input=bool(given), rendering=given.pop("rendering", "auto")
    )
    session = onnxruntime.InferenceSession(path)
    feeds = {"x": x, "target": np.ones((len(x), 2), np.float32), "seed": np.array(0)} | given
    return session.run(["attribution"], {i.name: feeds[i.name] for i in session.get_inputs()})[0]


@pytest.mark.parametrize("wrt", [None, "h"])
@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("kind", ["fixed", "at the input", "members", "drawn", "noisy"])
def test_samples_are_not_broadcast_to_baselines(kind, length, wrt, tmp_path):
    proto, members = parse(OF_ANY_LENGTH), np.linspace(0.1, 0.5, 6, dtype=np.float32).reshape(1, 3, 2)
    common = {"wrt": wrt, "reducer": None}
    method = {
        "fixed": lambda: IntegratedGradients(proto, baseline_value=members[0], steps=2, **common),
        "at the input": lambda: IntegratedGradients(
            proto, baseline_value={"x": members[0] * (1 if wrt is None else -1)}, steps=2, **common
        ),
        "members": lambda: IntegratedGradients(proto, background=members, steps=2, **common),
        "drawn": lambda: ExpectedGradients(proto, background=members, nb_samples=8, **common),
        "noisy": lambda: GradientShap(proto, background=members, nb_samples=8, noise=1e-6, **common),
    }[kind]()
    x = np.linspace(1, 2, 4 * length, dtype=np.float32).reshape(2, length, 2)
    if length == 3:
        way = (x if wrt is None else -x) - members
        alpha = 0.5
        if kind in ("drawn", "noisy"):
            alpha = draw_starts(0, 2, 8, 1)[0].mean(0).reshape(2, 1, 1)
        for found in (method.explain(x, np.ones((2, 2))), _maps_of_file(method, tmp_path / "e.onnx", x)):
            np.testing.assert_allclose(found, way * 2 * (members + alpha * way), rtol=1e-4)
        return
    with pytest.raises(ShapeError, match=r"their sizes differ|baseline has other sizes"):
        method.explain(x, np.ones((2, 2)))
    with pytest.raises((Fail, InvalidArgument), match="onnxattr/baseline_fit"):
        _maps_of_file(method, tmp_path / "e.onnx", x)


@pytest.mark.parametrize("rendering", ["batch", "loop"])
@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize(("samples", "rows"), [(1, 3), (2, 3), (4, 2), (4, 3), (3, 3), (3, 1)])
def test_files_take_one_baseline_or_one_for_each_sample(samples, rows, noise, rendering, tmp_path):
    """Others were broadcast, cut or repeated."""
    method = IntegratedGradients(parse(OF_ANY_LENGTH), steps=2, reducer=None)
    if noise:
        method = NoiseTunnel(method, nb_samples=2, noise=1e-6)
    x = np.linspace(1, 2, 4 * samples, dtype=np.float32).reshape(samples, 2, 2)
    starts = np.linspace(0, 0.5, 4 * rows, dtype=np.float32).reshape(rows, 2, 2)
    given = {"baseline": starts, "rendering": rendering}
    if rows in (1, samples):
        found = _maps_of_file(method, tmp_path / "e.onnx", x, **given)
        np.testing.assert_allclose(found, x**2 - starts**2, rtol=1e-4)
        return
    with pytest.raises((Fail, InvalidArgument), match="onnxattr/baseline_fit"):
        _maps_of_file(method, tmp_path / "e.onnx", x, **given)
