"""Tables with columns of text: text goes in, and attributions are summed over what encoders make of each column."""

import numpy as np
import pytest

from onnxattr import GradientInput, IntegratedGradients, SmoothGrad
from onnxattr.errors import ConversionError, ShapeError
from onnxattr.running.explainers.explainer import load

pd = pytest.importorskip("pandas")
pytest.importorskip("skl2onnx")
compose = pytest.importorskip("sklearn.compose")
from onnxattr.converters.sklearn import to_onnx  # noqa: E402
from sklearn.compose import TransformedTargetRegressor  # noqa: E402
from sklearn.feature_selection import SelectKBest  # noqa: E402
from sklearn.kernel_ridge import KernelRidge  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.neural_network import MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder  # noqa: E402
from sklearn.svm import LinearSVC  # noqa: E402

RNG = np.random.default_rng(0)
ROWS = pd.DataFrame(
    {
        "age": RNG.normal(40, 9, 120),
        "city": RNG.choice(["Paris", "Rome", "Oslo"], 120),
        "income": RNG.normal(3, 1, 120),
        "size": RNG.choice(["S", "M"], 120),
    }
).astype({"age": np.float32, "income": np.float32})
PRICE = ROWS.age / 40 + 2 * (ROWS.city == "Rome") - (ROWS["size"] == "M") * ROWS.income
NUMBERS, TEXTS = ["age", "income"], ["city", "size"]


def pipeline(last, encoder=None):
    encoder = encoder or OneHotEncoder(handle_unknown="ignore")
    # An encoder of codes for each column; test_codes_of_several_columns_are_told_apart has one for both.
    parts = (
        [(encoder, [name]) for name in TEXTS] if isinstance(encoder, OrdinalEncoder) else [(encoder, TEXTS)]
    )
    columns = compose.make_column_transformer((StandardScaler(), NUMBERS), *parts)
    return make_pipeline(columns, last)


def test_an_estimator_is_the_same_file_each_time():
    model = pipeline(LinearRegression()).fit(ROWS, PRICE)
    first, second = to_onnx(model, ROWS), to_onnx(model, ROWS)
    assert first.SerializeToString() == second.SerializeToString()
    assert first.graph.name == "LinearRegression"
    domains = [entry.domain for entry in first.opset_import]
    assert domains == sorted(domains)


def test_a_linear_model_is_told_exactly():
    """Each column's attribution is its own term of the sum; that of text the weight of its category."""
    model = pipeline(LinearRegression()).fit(ROWS, PRICE)
    converted = to_onnx(model, ROWS)
    method = IntegratedGradients(converted, steps=2)
    assert method.explained == ("age", "city", "income", "size")
    found = method.explain(ROWS[:7])
    scaler, encoder = (model[0].named_transformers_[name] for name in ("standardscaler", "onehotencoder"))
    weights = dict(zip(NUMBERS, model[-1].coef_[:2] / scaler.scale_, strict=True))
    places = [
        f"{name}_{text}" for name, texts in zip(TEXTS, encoder.categories_, strict=True) for text in texts
    ]
    by_text = dict(zip(places, model[-1].coef_[2:], strict=True))
    for name in NUMBERS:
        np.testing.assert_allclose(found[name][:, 0], weights[name] * ROWS[name][:7], rtol=1e-4, atol=1e-6)
    for name in TEXTS:
        right = [by_text[f"{name}_{text}"] for text in ROWS[name][:7]]
        assert found[name].shape == (7, 1)
        np.testing.assert_allclose(found[name][:, 0], right, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "last", [MLPRegressor(hidden_layer_sizes=(8,), max_iter=300, random_state=0), LinearRegression()]
)
@pytest.mark.parametrize("encoder", [OneHotEncoder(), OrdinalEncoder()])
def test_attributions_of_columns_add_up(last, encoder, tmp_path):
    model = pipeline(last, encoder).fit(ROWS, PRICE)
    converted = to_onnx(model, ROWS)
    method = IntegratedGradients(converted, steps=400)
    found = method.explain(ROWS[:5])
    total = sum(array.reshape(5, -1).sum(axis=1) for array in found.values())
    np.testing.assert_allclose(
        total, method.convergence_delta(ROWS[:5]) + _difference(model, encoder), rtol=2e-3, atol=2e-3
    )
    np.testing.assert_allclose(
        method.predict(ROWS[:5]).reshape(-1), model.predict(ROWS[:5]), rtol=1e-3, atol=1e-4
    )
    method.export(tmp_path / "explainer.onnx", check=False)
    again = load(tmp_path / "explainer.onnx").explain(ROWS[:5])
    for name, array in found.items():
        np.testing.assert_allclose(again[name], array, rtol=1e-3, atol=1e-4)


def _difference(model, encoder):
    """f(x) - f(b), where b is 0 in numbers and no category, or the first, in text."""
    inside = model[0].transform(ROWS[:5])
    start = inside.copy()
    start[:, :2] = (0 - model[0].named_transformers_["standardscaler"].mean_) / model[0].named_transformers_[
        "standardscaler"
    ].scale_
    start[:, 2:] = 0
    return model[-1].predict(inside) - model[-1].predict(start)


def test_classifiers_and_other_methods():
    model = pipeline(LogisticRegression()).fit(ROWS, PRICE > 1)
    converted = to_onnx(model, ROWS)
    for method in (
        GradientInput(converted, output="probabilities"),
        SmoothGrad(converted, output="probabilities", nb_samples=3),
    ):
        found = method.explain(ROWS[:3], [1, 0, 1])
        assert {name: array.shape for name, array in found.items()} == dict.fromkeys(ROWS.columns, (3, 1))
    np.testing.assert_allclose(
        GradientInput(converted, output="probabilities").predict(ROWS[:9]),
        model.predict_proba(ROWS[:9]),
        atol=1e-5,
    )


def test_text_that_is_none_is_refused():
    model = pipeline(LinearRegression()).fit(ROWS, PRICE)
    method = GradientInput(to_onnx(model, ROWS))
    with pytest.raises(ShapeError, match="'city' holds 3; expected text"):
        method.explain(ROWS[:2].assign(city=[3, 4]))


@pytest.mark.parametrize("dropped", ["number", "text"])
@pytest.mark.parametrize("way", ["positions", "a mask", "a slice of names", "names"])
def test_columns_that_the_model_drops_are_left_out_of_the_sample(way, dropped):
    """Whose place in the table of the fit is then another one; so it is in a table of another order."""
    rows = ROWS[["age", "city", "size", "income"]]
    left, kept = ("age", ["city", "size"]) if dropped == "number" else ("city", ["size"])
    places = [list(rows).index(name) for name in kept]
    chosen = {
        "positions": places, "a mask": np.isin(rows.columns, kept), "a slice of names": slice(kept[0], kept[-1]),
        "names": kept,
    }[way]  # fmt: skip
    numbers = ["income"] if dropped == "number" else NUMBERS
    columns = compose.make_column_transformer((StandardScaler(), numbers), (OrdinalEncoder(), chosen))
    model = make_pipeline(columns, LinearRegression()).fit(rows, PRICE)
    with pytest.raises(ConversionError, match=f"'{left}' is read by nothing.*out of the sample"):
        to_onnx(model, rows)
    sample = rows[["income", "size", "city", "age"]].drop(columns=left)
    method = GradientInput(to_onnx(model, sample))
    np.testing.assert_allclose(method.predict(sample[:7]).ravel(), model.predict(rows[:7]), atol=1e-5)
    found = method.explain(sample[:7])
    codes = model[0].transform(rows[:7])[:, len(numbers) :] * model[-1].coef_[len(numbers) :]
    for name, expected in zip(kept, codes.T, strict=True):
        np.testing.assert_allclose(found[name].ravel(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("output", ["default", "pandas"])
def test_positions_behind_another_step(output):
    first = compose.make_column_transformer((StandardScaler(), NUMBERS), (OrdinalEncoder(), TEXTS))
    second = compose.make_column_transformer((StandardScaler(), [0, 2]), remainder="passthrough")
    model = make_pipeline(first.set_output(transform=output), second, LinearRegression()).fit(ROWS, PRICE)
    method = GradientInput(to_onnx(model, ROWS))
    np.testing.assert_allclose(method.predict(ROWS[:7]).ravel(), model.predict(ROWS[:7]), atol=1e-5)


def test_text_that_the_model_drops_is_refused():
    numbers = make_pipeline(
        compose.make_column_transformer((StandardScaler(), NUMBERS)), LinearRegression()
    ).fit(ROWS, PRICE)
    with pytest.raises(ConversionError, match=r"'city' is read by nothing.*out of the sample"):
        to_onnx(numbers, ROWS)


@pytest.mark.parametrize(
    "encoder",
    [
        OrdinalEncoder(),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-3),
        TargetEncoder(random_state=0),
    ],
    ids=["codes", "a code for what is unknown", "means of the target"],
)
def test_codes_of_several_columns_are_told_apart(encoder):
    """One encoder of two columns: each has its own term of the sum."""
    columns = compose.make_column_transformer((StandardScaler(), NUMBERS), (encoder, TEXTS))
    model = make_pipeline(columns, LinearRegression()).fit(ROWS, PRICE)
    rows = ROWS[:7].copy()
    if getattr(encoder, "handle_unknown", "error") != "error":
        rows.loc[2:3, "city"] = "Bonn"
    method = GradientInput(to_onnx(model, ROWS))
    np.testing.assert_allclose(method.predict(rows).ravel(), model.predict(rows), atol=1e-5)
    found, codes = method.explain(rows), model[0].transform(rows)[:, 2:]
    for place, name in enumerate(TEXTS):
        expected = codes[:, place] * model[-1].coef_[2 + place]
        np.testing.assert_allclose(found[name].ravel(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"encoded_missing_value": -2}])
@pytest.mark.parametrize("numbers", [NUMBERS, []], ids=["with numbers", "alone"])
def test_unknown_texts_that_encoders_refuse_give_no_number(numbers, settings):
    """Not the number of the first category."""
    columns = compose.make_column_transformer(("passthrough", numbers), (OrdinalEncoder(**settings), TEXTS))
    model = make_pipeline(columns, LinearRegression()).fit(ROWS, PRICE)
    rows = ROWS[:4].copy()[[*numbers, *TEXTS]]
    method = GradientInput(to_onnx(model, ROWS[[*numbers, *TEXTS]]))
    expected = model.predict(rows)
    rows.loc[rows.index[2], "city"], expected[2] = "Bonn", np.nan
    with pytest.raises(ValueError, match="unknown categories"):
        model.predict(rows)
    np.testing.assert_allclose(method.predict(rows).ravel(), expected, atol=1e-5)


FIRST = len(NUMBERS)
WAYS = {
    "names": TEXTS,
    "a mask": [False] * FIRST + [True] * len(TEXTS),
    "a mask of NumPy": np.arange(FIRST + len(TEXTS)) >= FIRST,
    "positions": list(range(FIRST, FIRST + len(TEXTS))),
    "from the end": list(range(-len(TEXTS), 0)),
    "a slice": slice(FIRST, None),
    "a slice of names": slice(TEXTS[0], TEXTS[-1]),
    "a slice up to the last": slice(TEXTS[0], None),
    "by dtype": compose.make_column_selector(dtype_exclude="number"),
}


@pytest.mark.parametrize("encoder", [OrdinalEncoder(), OneHotEncoder()], ids=["codes", "one-hot"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_choose_columns_of_text(way, encoder):
    columns = compose.make_column_transformer((StandardScaler(), NUMBERS), (encoder, WAYS[way]))
    rows = ROWS[[*NUMBERS, *TEXTS]]
    model = make_pipeline(columns, LinearRegression()).fit(rows, PRICE)
    method = GradientInput(to_onnx(model, rows))
    np.testing.assert_allclose(method.predict(rows[:7]).ravel(), model.predict(rows[:7]), atol=1e-5)
    found = method.explain(rows[:7])
    terms = np.asarray(model[0].transform(rows[:7])) * model[-1].coef_
    place = len(NUMBERS)
    for name, categories in zip(TEXTS, model[0].transformers_[1][1].categories_, strict=True):
        width = len(categories) if isinstance(encoder, OneHotEncoder) else 1
        expected = terms[:, place : place + width].sum(1)
        np.testing.assert_allclose(found[name].ravel(), expected, rtol=1e-4, atol=1e-6)
        place += width


def test_scaled_codes_of_several_columns_are_told_apart():
    """Each column is encoded as a float of its own, and has its own term of the sum."""
    scaled_codes = make_pipeline(OrdinalEncoder(), StandardScaler())
    both = compose.make_column_transformer((StandardScaler(), NUMBERS), (scaled_codes, TEXTS))
    model, rows = make_pipeline(both, LinearRegression()).fit(ROWS, PRICE), ROWS[:7]
    found = GradientInput(to_onnx(model, ROWS)).explain(rows)
    encoder, scaler = model[0].named_transformers_["pipeline"]
    expected = encoder.transform(rows[TEXTS]) * model[-1].coef_[2:] / scaler.scale_
    np.testing.assert_allclose(np.hstack([found[name] for name in TEXTS]), expected, rtol=1e-4, atol=1e-6)


def test_columns_that_are_encoded_twice_are_refused():
    both = compose.make_column_transformer(
        (StandardScaler(), NUMBERS), (OneHotEncoder(), TEXTS), (OrdinalEncoder(), ["city"])
    )
    with pytest.raises(ConversionError, match=r"'city' is encoded as \[.*Encode it once"):
        to_onnx(make_pipeline(both, LinearRegression()).fit(ROWS, PRICE), ROWS)


SELECTED = make_pipeline(SelectKBest(k=3), LogisticRegression())
LASTS = {
    "of which samples are compared": (SELECTED, "predict_proba"),
    "one score": (RidgeClassifier(), "decision_function"),
    "scores of support vectors": (LinearSVC(), "decision_function"),
    "searched": (GridSearchCV(LogisticRegression(), {"C": [0.5]}), "predict_proba"),
    "kernels": (KernelRidge(kernel="rbf"), "predict"),
    "a transformed target": (TransformedTargetRegressor(Ridge(), func=np.arcsinh, inverse_func=np.sinh), "predict"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", LASTS)
def test_gradients_of_numbers_beside_text(case):
    """Central differences of the estimator, for an income that is explained beside cities."""
    last, function = LASTS[case]
    model = pipeline(last).fit(ROWS, PRICE > 1 if function != "predict" else PRICE)
    method, rows = GradientInput(to_onnx(model, ROWS)), ROWS[:5].astype({"income": np.float64})
    scores = method.predict(ROWS[:5])
    one = np.full(5, scores.shape[-1] - 1) if scores.shape[-1] > 1 else np.ones((5, 1))
    found = method.explain(ROWS[:5], one)["income"].ravel() / ROWS.income[:5]

    def moved(step):
        return getattr(model, function)(rows.assign(income=rows.income + step)).reshape(5, -1)[:, -1]

    expected = (moved(1e-4) - moved(-1e-4)) / 2e-4
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_pictures_and_files_of_text(tmp_path):
    model = pipeline(LinearRegression()).fit(ROWS, PRICE)
    method = IntegratedGradients(to_onnx(model, ROWS), steps=3)
    method(ROWS[:1]).plot(path=tmp_path / "one.svg")
    assert f"city = {ROWS.city[0]}" in (tmp_path / "one.svg").read_text()
    method(ROWS[:5]).plot(path=tmp_path / "many.svg")
    with pytest.warns(UserWarning, match="whose shape is unknown or whose values are text"):
        method.export(tmp_path / "explainer.onnx")
