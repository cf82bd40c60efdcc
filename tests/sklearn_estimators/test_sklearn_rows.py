"""scikit-learn estimators at rows in the data and beyond it, far from 0, of zeros, negative and missing features."""

import numpy as np
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from onnxattr.converters.common.verify import Session
from onnxattr.converters.sklearn import to_onnx
from sklearn.decomposition import KernelPCA, MiniBatchSparsePCA, SparsePCA
from sklearn.ensemble import BaggingClassifier, ExtraTreesRegressor, IsolationForest, RandomForestClassifier
from sklearn.feature_selection import GenericUnivariateSelect, SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, QuantileTransformer, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from support.estimators import close, differences, gradient
from support.iris import IRIS, KINDS

from onnxattr.attributions import GradientInput
from onnxattr.errors import ConversionError

RNG = np.random.default_rng(0)
DATA = (IRIS[:, :3] + RNG.normal(0, 0.01, (len(IRIS), 3))).astype(np.float32).astype(np.float64)
GAPS = DATA.copy()
GAPS[::7, 0], GAPS[::11, 2] = np.nan, np.nan
EMPTY = GAPS.copy()
EMPTY[:, 1] = np.nan
SAME = DATA * [1, 0, 1] + [0, 2.5, 0]
# More quantiles than values: some are one number.
TIED = np.round(DATA)
FAR = DATA + np.array([1e6, 0, 0])
ZEROS = DATA * (RNG.random(DATA.shape) > 0.2)


def quantiles(**settings):
    return QuantileTransformer(n_quantiles=20, **settings)


TRANSFORMERS = {
    **{
        f"quantiles, {kind}, {name}": (quantiles(output_distribution=kind), data)
        for kind in ("uniform", "normal")
        for name, data in (("apart", DATA), ("tied", TIED), ("constant", SAME), ("far", FAR), ("missing", GAPS))
    },
    "imputer": (SimpleImputer(), GAPS),
    "imputer of empty features": (SimpleImputer(strategy="median"), EMPTY),
    "imputer that keeps empty features": (SimpleImputer(keep_empty_features=True), EMPTY),
    "imputer with indicator": (SimpleImputer(add_indicator=True), GAPS),
    "imputer with indicator, empty": (SimpleImputer(strategy="most_frequent", add_indicator=True), EMPTY),
    "imputer with indicator, no gaps": (SimpleImputer(strategy="constant", add_indicator=True), DATA),
    "imputer of zeros": (SimpleImputer(missing_values=0, add_indicator=True), ZEROS),
    "imputer in front": (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), GAPS),
    "neighbours": (KNNImputer(), GAPS),
    "neighbours by distance": (KNNImputer(n_neighbors=3, weights="distance", add_indicator=True), GAPS),
    "neighbours without any": (KNNImputer(), EMPTY),
    "neighbours, empty features kept": (KNNImputer(keep_empty_features=True), EMPTY),
    "indicator": (MissingIndicator(error_on_new=False), GAPS),
    "indicator of all": (MissingIndicator(features="all"), GAPS),
    "indicator of zeros": (MissingIndicator(missing_values=0, features="all"), ZEROS),
    "bins": (KBinsDiscretizer(4, encode="onehot"), DATA),
    "SparsePCA": (SparsePCA(2, alpha=0.1, random_state=0), DATA),
    "MiniBatchSparsePCA": (MiniBatchSparsePCA(2, alpha=0.1, random_state=0), DATA),
    **{
        f"KernelPCA, {kind}": (KernelPCA(2, kernel=kind, gamma=0.02), DATA)
        for kind in ("linear", "rbf", "poly", "sigmoid")
    },
    "KernelPCA, cosine": (KernelPCA(2, kernel="cosine"), np.concatenate([DATA, np.zeros((1, 3))])),
    "selected by a model": (SelectFromModel(Ridge()), DATA),
    "selected by score": (GenericUnivariateSelect(mode="k_best", param=2), DATA),
    "selected by spread": (VarianceThreshold(0.3), GAPS),
}  # fmt: skip


def rows_of(data):
    """Rows between those of the data and beyond, of zeros, negative and missing features."""
    rng = np.random.default_rng(1)
    first, second = data[rng.integers(0, len(data), (2, 30))]
    mean, spread = np.nan_to_num(np.nanmean(data, 0)), np.nan_to_num(np.nanstd(data, 0)) + 1e-3
    missing = data[:4] + np.where(np.eye(4)[:, :3] > 0, np.nan, 0)
    zero = np.where(np.eye(4)[:, :3] > 0, 0, data[:4])
    around = mean + rng.normal(size=(30, 3)) * spread
    far = mean + 20 * rng.normal(size=(30, 3)) * spread
    every = (
        data,
        (first + second) / 2,
        around,
        far,
        -first,
        zero,
        np.zeros((1, 3)),
        missing,
        missing[:1] * np.nan,
    )
    return [rows.astype(np.float32) for rows in every]


def taken(function, rows):
    """What an estimator gives for rows; None where it refuses them."""
    try:
        found = function(rows.astype(np.float64))
    except ValueError:
        return None
    return np.asarray(found, np.float64).reshape(len(rows), -1)


def dense(found):
    return found.toarray() if hasattr(found, "toarray") else found


def numbers(function, data, model):
    """The numbers of an estimator and of its model agree, and infinities and NaN are in the same places."""
    session = Session(model)
    count = 0
    for rows in rows_of(data):
        expected = taken(function, rows)
        if expected is not None:
            count += 1
            found = session.run({"X": rows})[-1]
            np.testing.assert_allclose(
                found, expected, rtol=0, atol=1e-4 * np.nanmax(np.abs(expected), initial=0.1)
            )
    assert count > 4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", TRANSFORMERS)
def test_transformers(case):
    estimator, data = TRANSFORMERS[case]
    estimator.fit(data, KINDS[: len(data)] if len(data) == len(KINDS) else None)
    model = to_onnx(estimator, data)
    numbers(lambda rows: dense(estimator.transform(rows)), data, model)
    if "indicator" in case or np.isnan(data).any() or "tied" in case or case == "bins":
        return
    x = (data[3::30] + 0.013).astype(np.float32)
    expected = differences(lambda rows: estimator.transform(rows)[:, -1], x)
    last = estimator.transform(x[:2].astype(np.float64)).shape[-1] - 1
    close(gradient(model, x, last), np.nan_to_num(expected))  # a feature without spread has no step


TREES = {
    "forest": RandomForestClassifier(5, random_state=0),
    "extra trees": ExtraTreesRegressor(5, random_state=0),
    "tree": DecisionTreeRegressor(random_state=0),
    "tree of classes": DecisionTreeClassifier(max_depth=3, random_state=0),
    "trees in a bag": BaggingClassifier(DecisionTreeClassifier(), 3, random_state=0),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", [GAPS, DATA], ids=["missing", "complete"])
@pytest.mark.parametrize("case", TREES)
def test_trees_send_missing_features_where_they_learned_it(case, data):
    """skl2onnx sends them to the right (predictions alone: trees have no gradient)."""
    estimator = TREES[case].fit(data, KINDS)
    session = Session(to_onnx(estimator, data))
    function = getattr(estimator, "predict_proba", estimator.predict)
    for rows in rows_of(data):
        expected = taken(function, rows)
        if expected is not None:
            np.testing.assert_allclose(session.run({"X": rows})[-1], expected, atol=1e-5)


def test_anomalies_of_rows_with_missing_features():
    estimator = IsolationForest(n_estimators=5, random_state=0).fit(GAPS)
    session = Session(to_onnx(estimator, GAPS))
    for rows in rows_of(GAPS):
        expected = estimator.decision_function(rows.astype(np.float64))
        np.testing.assert_allclose(session.run({"X": rows})[-1].ravel(), expected, atol=1e-5)


@pytest.mark.parametrize("gamma", [0.1, 1.0])
@pytest.mark.parametrize("offset", [1e3, 1e6])
@pytest.mark.parametrize("kind", [SVR, SVC])
def test_support_vectors_far_from_zero(kind, offset, gamma):
    """|x|^2 + |v|^2 - 2 x v has no digit left of |x - v|^2 in float32."""
    data = (DATA + np.array([offset, 0, 0])).astype(np.float32).astype(np.float64)
    estimator = kind(gamma=gamma).fit(data, IRIS[:, 3] if kind is SVR else KINDS > 1)
    x = (data[3::30] + np.array([offset * 1e-6, 0.013, 0.013])).astype(np.float32)
    function = estimator.predict if kind is SVR else estimator.decision_function
    model = to_onnx(estimator, data)
    found = GradientInput(model).predict(x)[:, -1]
    close(found, function(x.astype(np.float64)))
    given = x.astype(np.float64)[:, None] - estimator.support_vectors_
    weights = estimator.dual_coef_[0] * np.exp(-gamma * (given**2).sum(-1))
    expected = -2 * gamma * np.einsum("nv,nvf->nf", weights, given)
    close(gradient(model, x, 0 if kind is SVR else 1), expected)


def test_selectors_of_nothing_are_refused():
    estimator = SelectKBest(lambda x, y: np.ones(3), k=0).fit(DATA, KINDS)
    with pytest.raises(ConversionError, match=r"SelectKBest selects no feature.*threshold"):
        to_onnx(estimator, DATA)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("targets", [IRIS[:, 3], IRIS[:, 2:]], ids=["one", "two"])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_networks_of_counts(loss, targets):
    if "loss" not in MLPRegressor().get_params():
        pytest.skip("scikit-learn before 1.7")
    network = MLPRegressor(
        hidden_layer_sizes=(5,), loss=loss, activation="tanh", max_iter=100, random_state=0
    )
    estimator = make_pipeline(StandardScaler(), network).fit(DATA, targets)
    x, model = (DATA[3::30] + 0.013).astype(np.float32), to_onnx(estimator, DATA)
    numbers(estimator.predict, DATA, model)
    last = lambda rows: estimator.predict(rows).reshape(len(rows), -1)[:, -1]  # noqa: E731
    close(gradient(model, x, targets.ndim - 1), differences(last, x))
