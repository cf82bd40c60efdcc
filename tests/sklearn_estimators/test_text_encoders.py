"""Encoders of columns of text and of numbers that are categories: each setting, behind imputers, names of any kind."""

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("skl2onnx")
from onnxattr.converters.common.verify import Session  # noqa: E402
from onnxattr.converters.sklearn import to_onnx  # noqa: E402
from onnxattr.converters.sklearn.own import calibration, encoders, imputers  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.compose import make_column_selector, make_column_transformer  # noqa: E402
from sklearn.ensemble import StackingRegressor  # noqa: E402
from sklearn.feature_selection import SelectKBest  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder  # noqa: E402

from onnxattr import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

RNG = np.random.default_rng(0)
COUNT = 160
ROWS = pd.DataFrame(
    {
        "floor space (m\u00b2)": RNG.normal(40, 9, COUNT).astype(np.float32),
        "city/town": RNG.choice(
            ["Paris", "Rome", "Oslo", "Bergen", "Nice"], COUNT, p=[0.4, 0.3, 0.2, 0.05, 0.05]
        ),
    }
)
SPACE, CITY = ROWS.columns
PRICE = (ROWS[SPACE] / 40 + 2 * (ROWS[CITY] == "Rome") - (ROWS[CITY] == "Nice")).to_numpy()
KINDS = np.digitize(PRICE, [1, 2])
KNOWN = {"handle_unknown": "ignore"}
RARE = {"handle_unknown": "infrequent_if_exist", "min_frequency": 20}
CODES = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
ENCODERS = {
    "one-hot": OneHotEncoder(**KNOWN),
    "one-hot, dense": OneHotEncoder(sparse_output=False, **KNOWN),
    "one-hot, dropped": OneHotEncoder(drop="first", **KNOWN),
    "one-hot, rare": OneHotEncoder(**RARE),
    "one-hot, few": OneHotEncoder(max_categories=3, **KNOWN),
    "one-hot, rare and dropped": OneHotEncoder(drop="first", **RARE),
    "codes": OrdinalEncoder(**CODES),
    "codes, rare": OrdinalEncoder(min_frequency=20, **CODES),
    "codes, few": OrdinalEncoder(max_categories=2, **CODES),
    "means": TargetEncoder(target_type="continuous"),
    "imputed": make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(**KNOWN)),
    "imputed by a word": make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OrdinalEncoder(**CODES)),
    "scaled": make_pipeline(OrdinalEncoder(**CODES), StandardScaler()),
    "selected": make_pipeline(OneHotEncoder(**KNOWN), SelectKBest(k=2)),
}  # fmt: skip


def fitted(encoder, last, targets, rows=ROWS):
    columns = make_column_transformer((StandardScaler(), [SPACE]), (encoder, [CITY]))
    return make_pipeline(columns, last).fit(rows, targets)


@pytest.mark.parametrize("case", ENCODERS)
def test_encoders_of_text(case):
    """What a text adds is what its codes add: code times weight, of known and unknown texts."""
    model = fitted(ENCODERS[case], Ridge(), PRICE)
    method = GradientInput(to_onnx(model, ROWS))
    rows = ROWS.head(30).copy()
    rows.loc[2:3, CITY] = "Bonn"
    np.testing.assert_allclose(method.predict(rows).ravel(), model.predict(rows), atol=1e-5)
    found, codes = method.explain(rows), np.asarray(model[0].transform(rows))
    scaled_codes = codes[:, 1:]
    if case == "scaled":  # the codes are explained, before they are scaled
        scaled_codes = scaled_codes + model[0].named_transformers_["pipeline"][-1].mean_ / np.sqrt(
            model[0].named_transformers_["pipeline"][-1].var_
        )
    np.testing.assert_allclose(found[CITY].ravel(), scaled_codes @ model[-1].coef_[1:], rtol=1e-4, atol=1e-5)


def wrong_between(monkeypatch):
    """skl2onnx' own form of isotonic calibration is right at the thresholds alone."""
    from skl2onnx.operator_converters import calibrated_classifier_cv

    monkeypatch.setattr(calibration, "_isotonic", calibrated_classifier_cv._transform_isotonic)
    voter = CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2)
    return fitted(OneHotEncoder(**KNOWN), voter, KINDS > 1)


def wrong_for_unknown_texts(monkeypatch):
    tables = encoders._tables
    monkeypatch.setattr(encoders, "_tables", lambda one: [np.append(t[:-1], t[:1], 0) for t in tables(one)])
    return fitted(OneHotEncoder(**KNOWN), Ridge(), PRICE)


def wrong_for_missing_numbers(monkeypatch):
    """All are 0 instead of the mean."""
    monkeypatch.setattr(imputers, "simple_imputer", lambda op: op("Where", op("IsNaN", op.x), 0.0, op.x))
    gaps = ROWS.assign(rooms=np.arange(COUNT) % 7.0)
    gaps.loc[::9, SPACE] = np.nan
    columns = make_column_transformer((SimpleImputer(), [SPACE, "rooms"]), (OneHotEncoder(**KNOWN), [CITY]))
    return make_pipeline(columns, Ridge()).fit(gaps, PRICE)


@pytest.mark.parametrize("case", [wrong_between, wrong_for_unknown_texts, wrong_for_missing_numbers])
def test_what_is_wrong_beyond_the_rows_of_the_sample_is_refused(case, monkeypatch):
    model, rows = case(monkeypatch), ROWS.iloc[:5].assign(rooms=[3.0, 0.0, 1.0, 5.0, 2.0])
    with pytest.raises(ConversionError, match="differs from the original"):
        to_onnx(model, rows[model.feature_names_in_])


def test_members_of_a_stack_that_encode_alike():
    """One value explains the text: its codes times the weights of all members."""
    members = [(str(alpha), fitted(OneHotEncoder(**KNOWN), Ridge(alpha), PRICE)) for alpha in (1, 100)]
    model = StackingRegressor(members, Ridge()).fit(ROWS, PRICE)
    method = GradientInput(to_onnx(model, ROWS))
    np.testing.assert_allclose(method.predict(ROWS).ravel(), model.predict(ROWS), atol=1e-5)
    found, expected = method.explain(ROWS), 0
    for member, weight in zip(model.estimators_, model.final_estimator_.coef_, strict=True):
        expected = expected + weight * member[0].transform(ROWS)[:, 1:] @ member[-1].coef_[1:]
    np.testing.assert_allclose(found[CITY].ravel(), expected, rtol=1e-4, atol=1e-5)


def test_calibrated_classifiers_of_text():
    model = CalibratedClassifierCV(fitted(OneHotEncoder(**KNOWN), LogisticRegression(), KINDS > 1), cv=2)
    model.fit(ROWS.iloc[:, ::-1], KINDS > 1)  # text first
    method = GradientInput(to_onnx(model, ROWS.iloc[:, ::-1]))
    np.testing.assert_allclose(method.predict(ROWS), model.predict_proba(ROWS.iloc[:, ::-1]), atol=1e-6)
    size = ROWS.head(5)[SPACE].to_numpy(np.float64)

    def probability(space):
        return model.predict_proba(ROWS.iloc[:5, ::-1].assign(**{SPACE: space}))[:, 1]

    slopes = (probability(size + 1e-3) - probability(size - 1e-3)) / 2e-3
    found = method.explain(ROWS.head(5), np.ones(5, int))[SPACE].ravel()
    np.testing.assert_allclose(found, slopes * size, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("labels", [["low", "mid", "high"], [True, False, True], [3, 7, -1]], ids=str)
def test_means_of_each_class(labels):
    targets = np.array(labels)[KINDS]
    model = fitted(TargetEncoder(), LogisticRegression(), targets)
    found = GradientInput(to_onnx(model, ROWS)).predict(ROWS)
    np.testing.assert_allclose(found, model.predict_proba(ROWS), atol=1e-6)


TYPES = {"string": "string", "category": "category", "object": object}


@pytest.mark.parametrize("kind", TYPES)
def test_columns_of_pandas_types(kind):
    """Chosen by their types, with a rest that passes."""
    rows = ROWS.assign(garden=RNG.random(COUNT) > 0.5, age=RNG.integers(1, 90, COUNT))
    rows = rows.astype({SPACE: "Float64", CITY: TYPES[kind], "garden": "boolean", "age": "Int64"})
    texts = make_column_selector(dtype_exclude=["number", "boolean"])
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(**KNOWN), texts),
        remainder="passthrough",
    )
    model = make_pipeline(columns, Ridge()).fit(rows, PRICE)
    converted = to_onnx(model, rows.head(1))
    assert [value.name for value in converted.graph.input] == [SPACE, CITY, "garden", "age"]
    method = GradientInput(converted)
    shuffled = rows[["age", CITY, SPACE, "garden"]].head(20)
    np.testing.assert_allclose(method.predict(shuffled).ravel(), model.predict(rows.head(20)), atol=1e-5)


NUMBERS = {
    "one-hot": OneHotEncoder(**KNOWN),
    "one-hot, rare": OneHotEncoder(**RARE),
    "one-hot, dropped": OneHotEncoder(drop="if_binary", **KNOWN),
    "codes": OrdinalEncoder(**CODES),
    "codes, few": OrdinalEncoder(max_categories=2, **CODES),
    "means": TargetEncoder(target_type="continuous"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("case", NUMBERS)
def test_encoders_of_numbers(case, gaps):
    """A number between two categories is none; skl2onnx takes that below."""
    data = np.stack([RNG.integers(-2, 4, COUNT), RNG.integers(0, 3, COUNT) / 2], 1).astype(np.float64)
    if gaps:
        data[::7, 0] = np.nan
    encoder = NUMBERS[case].fit(data, PRICE)
    session = Session(to_onnx(encoder, data))
    rows = np.concatenate(
        [data, data + 0.25, -data, np.zeros((1, 2)), np.full((1, 2), np.nan), np.full((1, 2), 1e9)]
    )
    expected = encoder.transform(rows)
    expected = expected.toarray() if hasattr(expected, "toarray") else expected
    np.testing.assert_allclose(session.run({"X": rows.astype(np.float32)})[-1], expected, atol=1e-5)
