"""Rows in float64, of which models take what float32 makes: what that changes is said, or refused."""

import warnings

import numpy as np
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from onnxattr.converters.common.verify import values
from onnxattr.converters.sklearn import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import Binarizer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from onnxattr.errors import ConversionError

pd = pytest.importorskip("pandas")
COUNT = 120
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "price": RNG.choice([0.1, 0.2, 0.3], COUNT),
        "zip": RNG.choice([16777216, 16777217, 16777219], COUNT),
        "seconds": 1.7e9 + np.arange(COUNT),
        "city": RNG.choice(["Oslo", "Rome"], COUNT),
        "size": RNG.normal(size=COUNT),
    }
)
TARGET = (TABLE["price"] == 0.1) + (TABLE["city"] == "Rome") + TABLE["size"] + TABLE["seconds"] % 60 / 30


def encoding(encoder, *names):
    return make_pipeline(
        ColumnTransformer([("codes", encoder, list(names))], remainder="passthrough"), Ridge()
    )


def fed(model, table):
    if len(model.graph.input) == 1:
        return {"X": table.to_numpy(np.float32)}
    return {
        name: np.asarray(column, object if name == "city" else np.float32)[:, None]
        for name, column in table.items()
    }


@pytest.mark.parametrize("by_column", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(),
        OneHotEncoder(handle_unknown="ignore"),
        OrdinalEncoder(),
        TargetEncoder(random_state=0),
    ],
    ids=["error", "ignored", "ordinal", "target"],
)
def test_fractions_that_are_categories(encoder, by_column):
    """0.1 in float32 is none of the categories in float64, and the model knows it as one."""
    table = TABLE[["price", "size"]]
    estimator = encoding(encoder, "price").fit(table, TARGET)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = to_onnx(estimator, table, by_column=by_column)
    found = values(model, [], fed(model, table))["variable"]
    np.testing.assert_allclose(found[:, 0], estimator.predict(table), rtol=1e-5)


@pytest.mark.parametrize("by_column", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("encoder", [OneHotEncoder(), OrdinalEncoder(), TargetEncoder(random_state=0)])
def test_categories_that_are_one_number_in_float32_are_refused(encoder, by_column):
    """Whatever the sample holds: other rows would get the numbers of another category."""
    table = TABLE[["zip", "size"]]
    estimator = encoding(encoder, "zip").fit(table, TARGET)
    with pytest.raises(
        ConversionError, match=r"16777216 and 16777217 apart, which are one number.*astype\(str\)"
    ):
        to_onnx(estimator, table[:1], by_column=by_column)


@pytest.mark.parametrize("last", [Ridge(), LogisticRegression()], ids=["regressor", "classifier"])
@pytest.mark.parametrize(
    "names", [["seconds", "size"], ["seconds", "city", "price"]], ids=["rows", "columns"]
)
def test_digits_that_float32_loses_are_said(names, last):
    steps = [("scaled", StandardScaler(), ["seconds"])]
    codes = [name for name in names if name in ("city", "price")]
    steps += [("codes", OneHotEncoder(handle_unknown="ignore"), codes)] if codes else []
    estimator = make_pipeline(ColumnTransformer(steps, remainder="passthrough"), last)
    estimator.fit(
        TABLE[names], TARGET > 1.5 if isinstance(last, LogisticRegression) else TABLE["seconds"] - 1.7e9
    )
    with pytest.warns(
        UserWarning, match="float32, which changes column 'seconds' by up to 6.*differences from one"
    ):
        to_onnx(estimator, TABLE[names])
    with warnings.catch_warnings():  # rows that float32 holds
        warnings.simplefilter("error")
        to_onnx(estimator, TABLE[names].assign(seconds=TABLE["seconds"] // 128 * 128))


def test_numbers_at_an_edge_are_those_of_the_rows_as_given():
    """0.1 is not above a threshold of 0.1, though what float32 makes of it is."""
    rows = np.round(np.random.default_rng(0).random((40, 2)), 1)
    estimator = make_pipeline(make_union(Binarizer(threshold=0.1), StandardScaler()), LinearRegression())
    estimator.fit(rows, rows[:, 0] > 0.1)
    found = values(to_onnx(estimator, rows), [], {"X": rows.astype(np.float32)})["variable"]
    np.testing.assert_allclose(found[:, 0], estimator.predict(rows), atol=1e-5)
