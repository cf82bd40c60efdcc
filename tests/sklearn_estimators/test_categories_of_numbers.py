"""Categories that are numbers, in an array of numbers: what the warning says makes maps complete."""

import warnings

import numpy as np
import pytest
from support.small_models import build, node

from onnxattr import ExpectedGradients, GradientInput, IntegratedGradients
from onnxattr.cli import main
from onnxattr.errors import ConversionError, ParameterError

pd = pytest.importorskip("pandas")
pytest.importorskip("skl2onnx")
from onnxattr.converters.sklearn import to_onnx  # noqa: E402
from sklearn.compose import make_column_transformer  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.neural_network import MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder  # noqa: E402

RNG = np.random.default_rng(0)
X = np.stack([RNG.normal(size=90), RNG.integers(0, 3, 90), RNG.normal(size=90), RNG.integers(4, 6, 90)], 1)
PRICE = X[:, 0] + 2 * (X[:, 1] == 1) - X[:, 2] * (X[:, 3] == 5)
ENCODERS = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "codes": OrdinalEncoder(),
    "means": TargetEncoder(target_type="continuous", random_state=0),
}


TABLE = pd.DataFrame(X, columns=["a", "kind", "b", "size"])


def fitted(encoder, last):
    columns = make_column_transformer((StandardScaler(), [0, 2]), (encoder, [1, 3]))
    return make_pipeline(columns, last).fit(X, PRICE)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("on", ["a table", "an array"])
@pytest.mark.parametrize("case", ENCODERS)
def test_each_term_of_a_sum_by_column(case, on, tmp_path, monkeypatch):
    """Of numbers the weight times the value; of categories the weight times what encodes them."""
    monkeypatch.chdir(tmp_path)
    columns = [0, 2], [1, 3]
    parts = [[TABLE.columns[k] for k in part] for part in columns] if on == "a table" else columns
    encoded = make_column_transformer((StandardScaler(), parts[0]), (ENCODERS[case], parts[1]))
    model = make_pipeline(encoded, Ridge()).fit(TABLE if on == "a table" else X, PRICE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "X (does not have valid|has) feature names")
        method = GradientInput(to_onnx(model, TABLE[:20], by_column=True))
    codes = model[0].transform(TABLE[:5] if on == "a table" else X[:5])[:, 2:] * model[-1].coef_[2:]
    first = 3 if case == "one-hot" else 1
    numbers = X[:5, [0, 2]] * model[-1].coef_[:2] / model[0].transformers_[0][1].scale_
    expected = np.stack([numbers[:, 0], codes[:, :first].sum(1), numbers[:, 1], codes[:, first:].sum(1)], 1)
    found = method.explain(TABLE[:5])
    np.testing.assert_allclose(np.hstack([found[name] for name in TABLE]), expected, rtol=1e-4, atol=1e-6)
    assert method.prepared.layers[-1].path == "ridge"
    method.export("e.onnx")
    TABLE[:5].to_csv("rows.csv", index=False)
    assert main(["explain", "e.onnx", "rows.csv", "-o", "maps.csv"]) == 0
    np.testing.assert_allclose(pd.read_csv("maps.csv")[list(TABLE)], expected, rtol=1e-4, atol=1e-6)


def test_maps_of_a_network_add_up_by_column():
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (ENCODERS["one-hot"], ["kind", "size"]))
    last = MLPRegressor(hidden_layer_sizes=(8,), max_iter=200, random_state=0)
    model = make_pipeline(columns, last).fit(TABLE, PRICE)
    found = IntegratedGradients(to_onnx(model, TABLE, by_column=True), steps=300)(TABLE[:5])
    inner = model[0].transform(TABLE[:5])
    start = np.zeros_like(inner)
    start[:, :2] = -model[0].transformers_[0][1].mean_ / model[0].transformers_[0][1].scale_
    total = sum(array.sum(1) for array in found.attributions.values())
    np.testing.assert_allclose(
        total, model[-1].predict(inner) - model[-1].predict(start), rtol=2e-3, atol=2e-3
    )


def test_the_way_out_is_said():
    with pytest.warns(UserWarning, match=r"'X' by way of .*to_onnx\(estimator, table, by_column=True\)"):
        IntegratedGradients(to_onnx(fitted(ENCODERS["one-hot"], Ridge()), X[:20]))


def test_an_array_has_no_columns_by_name():
    with pytest.raises(ConversionError, match="needs a table with named columns"):
        to_onnx(fitted(ENCODERS["one-hot"], Ridge()), X[:20], by_column=True)


CODE = [
    node("Gather", ["table", "id"], ["e"]),
    node("Mul", ["e", "x"], ["p"]),
    node("Add", ["p", "x"], ["y"]),
]
BESIDE = build(
    CODE, {"x": ["N", 2], "id": (["N"], 7)}, {"y": ["N", 2]}, {"table": np.eye(2, dtype=np.float32)}
)


def test_inputs_and_what_codes_are_looked_up_in_add_up_together():
    """f = x e + x of the target's column: what the warning names is complete, x alone is not."""
    with pytest.warns(UserWarning, match=r"add up: wrt=\['x', 'e'\] \(--wrt for each\)"):
        IntegratedGradients(BESIDE)
    feeds = {"x": np.array([[2, 3], [4, 5]], np.float32), "id": np.array([0, 1])}
    found = IntegratedGradients(BESIDE, wrt=["x", "e"], steps=3).explain(feeds, [0, 1])
    np.testing.assert_allclose(sum(array.sum(1) for array in found.values()), [4, 10], rtol=1e-5)


BESIDE_STARTS = {
    "numbers": {"x": 0.5, "id": 1},
    "one row": {"x": [[0.5, 0.5]], "id": [1]},
    "a function": {"x": lambda feeds: np.full((2, 2), 0.5), "id": 1},
}


@pytest.mark.parametrize("call", ["at once", "for a call"])
@pytest.mark.parametrize("case", BESIDE_STARTS)
def test_baselines_of_an_input_and_of_what_an_integer_is_looked_up_in(case, call):
    """f = x e + x: (x - 0.5) (1 + (e + e0) / 2) and (e - e0) (x + 0.5) / 2 of the target's column, e0 = (0, 1)."""
    feeds = {"x": np.array([[2, 3], [4, 5]], np.float32), "id": np.array([0, 1])}
    given = {"baseline_value": BESIDE_STARTS[case]} if call == "at once" else {}
    later = {} if given else {"baselines": BESIDE_STARTS[case]}
    found = IntegratedGradients(BESIDE, wrt=["x", "e"], steps=3, **given).explain(feeds, [0, 1], **later)
    np.testing.assert_allclose(found["x"], [[2.25, 0], [0, 9]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["e"], [[1.25, 0], [0, 0]], rtol=1e-5, atol=1e-6)


BESIDE_WRONG = {
    "an input is left out": ({"id": 1}, r"names \['id'\], on which wrt 'x' does not depend; name it, too"),
    "unknown": ({"x": 0.5, "id": 1, "z": 1}, r"names \['z'\]; the explained values are"),
}


@pytest.mark.parametrize("case", BESIDE_WRONG)
def test_what_is_no_baseline_of_both(case):
    given, message = BESIDE_WRONG[case]
    with pytest.raises(ParameterError, match=message):
        IntegratedGradients(BESIDE, wrt=["x", "e"], baseline_value=given)


COLUMN_STARTS = {
    "a dict": lambda table: {name: float(table[name].iloc[0]) for name in table},
    "a row of the table": lambda table: table[:1],
    "a Series": lambda table: table.iloc[0],
}


@pytest.mark.parametrize("case", COLUMN_STARTS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_paths_by_column_start_at_a_row(encoder, case):
    """The category that a row has is the baseline, and no number in place of what encodes it."""
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (ENCODERS[encoder], ["kind", "size"]))
    model = make_pipeline(columns, Ridge()).fit(TABLE, PRICE)
    start = TABLE[7:8]
    method = IntegratedGradients(
        to_onnx(model, TABLE, by_column=True), steps=2, baseline_value=COLUMN_STARTS[case](start)
    )
    total = sum(array.sum(1) for array in method.explain(TABLE[:5]).values())
    np.testing.assert_allclose(total, model.predict(TABLE[:5]) - model.predict(start), rtol=1e-4, atol=1e-5)


NO_COLUMN_STARTS = {
    "a table": (lambda: {"baseline_value": TABLE[:3]}, r"\['kind'\] has shape \(3, 1\)"),
    "a background": (lambda: {"background": TABLE[:3]}, "background names 'kind'.*numbers of 'gather'"),
}


@pytest.mark.parametrize("case", NO_COLUMN_STARTS)
def test_codes_are_not_taken_for_what_encodes_them(case):
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (ENCODERS["one-hot"], ["kind", "size"]))
    model = to_onnx(make_pipeline(columns, Ridge()).fit(TABLE, PRICE), TABLE, by_column=True)
    given, message = NO_COLUMN_STARTS[case]
    kind = ExpectedGradients if case == "a background" else IntegratedGradients
    with pytest.raises(ParameterError, match=message):
        kind(model, **given())


@pytest.mark.parametrize("case", ENCODERS)
def test_an_encoder_is_a_layer_that_has_a_gradient(case):
    """Its outputs, not what categories are compared by, which equals them for categories that are known."""
    columns = make_column_transformer((StandardScaler(), [0, 2]), (ENCODERS[case], [1]))
    model = make_pipeline(columns, Ridge()).fit(X, PRICE)
    layer = f"columntransformer/{type(ENCODERS[case]).__name__.lower()}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method = GradientInput(to_onnx(model, X[:20]), wrt=["X", layer])
    found = method.explain(X[:5])[1]
    np.testing.assert_allclose(
        found, model[0].transform(X[:5])[:, 2:] * model[-1].coef_[2:], rtol=1e-4, atol=1e-6
    )


def test_what_is_computed_by_floats_is_not_set_beside_its_source():
    model = fitted(ENCODERS["one-hot"], Ridge())
    with pytest.raises(ParameterError, match="is computed from wrt 'X'"):
        IntegratedGradients(to_onnx(model, X[:20]), wrt=["X", "columntransformer/standardscaler"])
