"""Numbers that are categories, in tables with text: attributions are summed over what encoders make of them."""

import numpy as np
import pytest

from onnxattr import GradientInput

pd = pytest.importorskip("pandas")
pytest.importorskip("skl2onnx")
compose = pytest.importorskip("sklearn.compose")
from onnxattr.converters.sklearn import to_onnx  # noqa: E402
from sklearn.linear_model import LinearRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder  # noqa: E402

RNG = np.random.default_rng(0)
ROWS = pd.DataFrame(
    {"age": RNG.normal(40, 9, 120).astype(np.float32), "city": RNG.choice(["Paris", "Rome", "Oslo"], 120)}
)
PRICE = ROWS.age / 40 + 2 * (ROWS.city == "Rome")


CODES = {
    "one-hot": OneHotEncoder(),
    "one-hot without the first": OneHotEncoder(drop="first"),
    "codes": OrdinalEncoder(),
    "means of the target": TargetEncoder(random_state=0),
}


@pytest.mark.parametrize("together", [True, False], ids=["one encoder", "an encoder of the numbers"])
@pytest.mark.parametrize("case", CODES)
def test_numbers_that_are_categories(case, together):
    """Truth values, integers and floats beside text are looked up too: each column has its own term of the sum."""
    rng, encoded = np.random.default_rng(3), ["city", "late", "zone", "grade"]
    rows = ROWS[["age", "city"]].assign(
        late=rng.integers(0, 2, 120) > 0, zone=rng.integers(3, 7, 120), grade=rng.choice([1.0, 2.0], 120)
    )
    parts = [encoded] if together else [encoded[:1], encoded[1:]]
    columns = compose.make_column_transformer(
        ("passthrough", ["age"]), *((CODES[case], part) for part in parts)
    )
    model = make_pipeline(columns, LinearRegression()).fit(
        rows, PRICE + rows.late - (rows.zone == 5) + rows.grade
    )
    found = GradientInput(to_onnx(model, rows)).explain(rows[:7])
    assert list(found) == ["age", *encoded]
    for name in encoded:
        place = [name in feature for feature in model[0].get_feature_names_out()]
        terms = np.asarray(model[0].transform(rows[:7]))[:, place] @ model[-1].coef_[place]
        assert np.abs(terms).max() > 0.01
        np.testing.assert_allclose(found[name].ravel(), terms, rtol=1e-4, atol=1e-6)


def test_a_number_that_is_a_category_too():
    """A column that is scaled and encoded is explained as the number that it is, and the integers are said."""
    rows = ROWS[["city"]].assign(zone=np.random.default_rng(3).integers(3, 7, 120))
    columns = compose.make_column_transformer((StandardScaler(), ["zone"]), (OneHotEncoder(), list(rows)))
    model = make_pipeline(columns, LinearRegression()).fit(rows, PRICE)
    with pytest.warns(UserWarning, match="depends on integers, which have no gradient: 'zone'"):
        found = GradientInput(to_onnx(model, rows)).explain(rows[:7])
    expected = model[-1].coef_[0] / model[0].named_transformers_["standardscaler"].scale_[0] * rows.zone[:7]
    np.testing.assert_allclose(found["zone"].ravel(), expected, rtol=1e-4, atol=1e-6)
