"""scikit-learn estimators: conversion, and gradients against closed forms and differences of the estimator itself."""

import numpy as np
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from onnxattr.converters.sklearn import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA, IncrementalPCA, KernelPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier, VotingRegressor
from sklearn.feature_selection import RFE, SelectKBest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    HuberRegressor,
    Lars,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR
from support.estimators import close, differences, gradient, scaled
from support.iris import IRIS, KINDS, SMALL_NETWORK

from onnxattr.attributions import GradientInput, Saliency

CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)


NAMES = np.array(["a", "b", "c"])[KINDS]
VOTERS = [("a", scaled(LogisticRegression())), ("left out", "drop"), ("b", GaussianNB())]
#: skl2onnx writes sigmoids instead of the softmax of the first, and the other way round of two classes of the second.
LINKS = [("a", scaled(LogisticRegression(solver="newton-cholesky"))), ("b", LinearDiscriminantAnalysis())]
MASKED = ColumnTransformer([("a", StandardScaler(), [True, False, True, False]), ("b", MinMaxScaler(), [-1])])
SLICED = ColumnTransformer([("a", StandardScaler(), slice(-2, None)), ("b", MinMaxScaler(), slice(None, 1))])
CLASSIFIERS = [
    *(
        scaled(MLPClassifier(**{**SMALL_NETWORK, "activation": kind}))
        for kind in ("identity", "logistic", "tanh", "relu")
    ),
    *(scaled(LogisticRegression(solver=solver)) for solver in ("lbfgs", "newton-cholesky")),
    LogisticRegression(fit_intercept=False),
    scaled(LogisticRegressionCV(Cs=2)),
    OneVsRestClassifier(scaled(LogisticRegression())),
    make_pipeline(MinMaxScaler(), LogisticRegression()),
    make_pipeline(Normalizer(), LogisticRegression()),
    scaled(SGDClassifier(loss="log_loss", alpha=0.1, random_state=0)),
    scaled(SGDClassifier(random_state=0)),
    scaled(Perceptron()),
    scaled(LinearSVC()),
    RidgeClassifier(),
    *(scaled(SVC(kernel=kind, probability=True, random_state=0)) for kind in ("rbf", "poly")),
    scaled(NuSVC(nu=0.3, probability=True, random_state=0)),
    *(scaled(SVC(kernel=kind)) for kind in ("linear", "sigmoid")),
    GaussianNB(),
    scaled(LinearDiscriminantAnalysis()),
    QuadraticDiscriminantAnalysis(),
    CalibratedClassifierCV(LinearSVC()),
    CalibratedClassifierCV(scaled(LogisticRegression()), cv=2),
    StackingClassifier([("a", scaled(LogisticRegression()))], stack_method="decision_function"),
    StackingClassifier([("a", LogisticRegression()), ("b", GaussianNB())]),
    StackingClassifier([("a", scaled(SVC())), ("b", scaled(LogisticRegression())), ("left out", "drop")]),
    StackingClassifier([("a", RidgeClassifier()), ("b", scaled(LinearSVC()))], passthrough=True),
    BaggingClassifier(LogisticRegression(), 2, random_state=0),
    BaggingClassifier(LogisticRegression(solver="newton-cholesky"), 2, random_state=0),
    VotingClassifier(LINKS, voting="soft"),
    GridSearchCV(scaled(LogisticRegression()), {"logisticregression__C": [1.0]}),
    scaled(GridSearchCV(LogisticRegression(), {"C": [1.0]})),
    scaled(GridSearchCV(LinearSVC(), {"C": [1.0]})),
    VotingClassifier(VOTERS, voting="soft"),
    scaled(VotingClassifier(VOTERS, voting="soft", weights=[1, 9, 3])),
    Pipeline([("a", StandardScaler()), ("b", "passthrough"), ("c", None), ("d", LogisticRegression())]),
    make_pipeline(LinearDiscriminantAnalysis(), LogisticRegression()),
    make_pipeline(FeatureUnion([("a", LinearDiscriminantAnalysis(solver="eigen")), ("b", PCA(1))]), SVC()),
    make_pipeline(MASKED, LogisticRegression()),
    make_pipeline(SLICED, LogisticRegression()),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("targets", [NAMES, KINDS > 1], ids=["three names", "two"])
@pytest.mark.parametrize(
    "estimator", CLASSIFIERS, ids=lambda e: type(e[-1] if isinstance(e, Pipeline) else e).__name__
)
def test_classifiers(estimator, targets):
    estimator.fit(IRIS, targets)
    x = IRIS[3::30].astype(np.float32)
    function = getattr(
        estimator, "predict_proba" if hasattr(estimator, "predict_proba") else "decision_function"
    )
    # The last of one score is that of the second of two classes.
    expected = differences(lambda rows: function(rows).reshape(len(rows), -1)[:, -1], x)
    model = to_onnx(estimator, IRIS)
    close(gradient(model, x, model.graph.output[-1].type.tensor_type.shape.dim[1].dim_value - 1), expected)


def test_cancer_by_logistic_regression():
    """Thirty features of very different scales."""
    estimator = scaled(LogisticRegression()).fit(CANCER, MALIGNANT)
    x = CANCER[::30].astype(np.float32)
    x[x == 0] = 1e-3
    found = gradient(to_onnx(estimator, CANCER), x, 1)
    close(found, differences(lambda rows: estimator.predict_proba(rows)[:, 1], x))


LINEAR = (
    LinearRegression,
    Ridge,
    Lasso,
    ElasticNet,
    BayesianRidge,
    HuberRegressor,
    Lars,
    PoissonRegressor,
    LinearSVR,
)
ACTIVATIONS = "identity", "logistic", "tanh", "relu"
REGRESSORS = [
    *(kind() for kind in LINEAR),
    *(scaled(MLPRegressor(**{**SMALL_NETWORK, "activation": kind})) for kind in ACTIVATIONS),
    scaled(SVR()),
    scaled(SVR(kernel="poly", coef0=1.0)),
    scaled(NuSVR()),
    GaussianProcessRegressor(RBF(), alpha=0.1),
    VotingRegressor([("a", Ridge()), ("left out", "drop"), ("b", SVR())], weights=[1, 9, 2]),
    *(
        make_pipeline(transformer, Ridge(0.1))
        for transformer in (
            MinMaxScaler(clip=True), RobustScaler(), MaxAbsScaler(), Normalizer(), Normalizer("l1"), PowerTransformer(),
            PowerTransformer("box-cox"), PowerTransformer(standardize=False), QuantileTransformer(n_quantiles=10),
            PolynomialFeatures(2), PCA(2, whiten=True), KernelPCA(2, kernel="rbf"), TruncatedSVD(2), IncrementalPCA(2),
            GaussianRandomProjection(2, random_state=0), SelectKBest(k=2), RFE(Ridge(), n_features_to_select=2),
            SimpleImputer(), SelectKBest(lambda x, y: -np.arange(3), k=1),
            SparseRandomProjection(2, density=0.5, random_state=0),
        )
    ),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator", REGRESSORS, ids=lambda e: type(e[-2] if isinstance(e, Pipeline) else e).__name__
)
def test_regressors(estimator):
    # Off the grid of a tenth on which the flowers were measured: quantiles have kinks there.
    data = IRIS[:, :3] + np.random.default_rng(0).normal(size=(len(IRIS), 3)) * 0.01
    estimator.fit(data, IRIS[:, 3])
    x = data[3::30].astype(np.float32)
    found = GradientInput(to_onnx(estimator, data)).explain(x, np.ones((len(x), 1))) / x
    close(found, differences(lambda rows: estimator.predict(rows).reshape(len(rows)), x))


ONE_FOR_EACH = (
    SGDClassifier(loss="log_loss", alpha=0.1, random_state=0),
    LogisticRegression(multi_class="ovr"),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("below", "estimator"),
    [
        (150, ONE_FOR_EACH[0]),
        *((2000, one) for one in ONE_FOR_EACH),
        *(
            (below, BaggingClassifier(one, 2, random_state=0))
            for below in (150, 2000)
            for one in ONE_FOR_EACH
        ),
        (150, OneVsRestClassifier(LogisticRegression())),
        (150, OneVsRestClassifier(SGDClassifier(loss="log_loss", random_state=0))),
    ],
)
def test_sigmoids_that_are_zero_are_shared_out(below, estimator):
    """Scores of -150 for each class have sigmoids of 0 in float32, and no sum to divide by."""
    estimator.fit(IRIS, KINDS)
    for one in getattr(estimator, "estimators_", [estimator]):
        one.intercept_ -= below
    x = (IRIS[3::30] + 0.013).astype(np.float32)
    explained, expected = (
        GradientInput(to_onnx(estimator, IRIS)),
        estimator.predict_proba(x.astype(np.float64)),
    )
    np.testing.assert_allclose(explained.predict(x), expected, atol=1e-4)
    if below < 745:
        slopes = differences(lambda rows: estimator.predict_proba(rows)[:, 1], x)
        np.testing.assert_allclose(explained.explain(x, np.full(len(x), 1)) / x, slopes, atol=1e-4)


NEIGHBOURS = [
    KNeighborsRegressor(weights="distance"),
    KNeighborsRegressor(7, weights="distance", p=1),
    KNeighborsRegressor(3, weights="distance", p=3),
    KNeighborsClassifier(9, weights="distance"),
    scaled(KNeighborsRegressor(weights="distance")),
]


@pytest.mark.parametrize("estimator", NEIGHBOURS)
def test_neighbours_count_by_their_distance(estimator):
    """skl2onnx gives each one weight: between rows the mean of the neighbours, whose gradient is 0."""
    rng = np.random.default_rng(0)
    data = IRIS + rng.normal(0, 0.01, IRIS.shape)
    targets = (IRIS[:, 0] > 5.8) if hasattr(estimator, "predict_proba") else data[:, 3]
    estimator.fit(data[:, :3], targets)
    x = (data[::7, :3] + rng.normal(0, 0.2, (22, 3))).astype(np.float32)
    function = getattr(estimator, "predict_proba", estimator.predict)
    one = lambda rows: function(rows).reshape(len(rows), -1)[:, -1]  # noqa: E731
    explained = GradientInput(to_onnx(estimator, x))
    both = np.concatenate([x, data[:20, :3].astype(np.float32)])
    np.testing.assert_allclose(explained.predict(both)[:, -1], one(both.astype(np.float64)), atol=2e-5)
    found = (
        explained.explain(x, np.full(len(x), 1) if function != estimator.predict else np.ones((len(x), 1)))
        / x
    )
    slopes = differences(one, x)
    assert np.abs(slopes).max() > 0.1
    close(found, slopes)


def test_sigmoids_do_not_overflow():
    """exp(100) is no float32: the gradient of 1 / (1 + exp(-z)) would be no number where the sigmoid is 0."""
    estimator = scaled(SGDClassifier(loss="log_loss", random_state=0)).fit(IRIS, KINDS)
    estimator[-1].coef_ *= 2
    x = IRIS[3::15].astype(np.float32)
    assert estimator.decision_function(x).min() < -100
    found = gradient(to_onnx(estimator, IRIS), x, 1)
    close(found, differences(lambda rows: estimator.predict_proba(rows)[:, 1], x))


@pytest.mark.parametrize("value", [0.0, -1.5, 1.5])
def test_power_transformer_on_both_sides_of_zero(value):
    data = np.random.default_rng(0).normal(size=(50, 2))
    estimator = make_pipeline(PowerTransformer(), LinearRegression()).fit(data, data[:, 0] ** 3)
    x = np.full((1, 2), value, np.float32)
    found = Saliency(to_onnx(estimator, data), reducer=None).explain(x, np.ones((1, 1)))
    step = 1e-4 * np.eye(2)
    expected = (estimator.predict(x + step) - estimator.predict(x - step)) / 2e-4
    np.testing.assert_allclose(found[0], np.abs(expected), rtol=1e-4)


@pytest.mark.parametrize("opset", [13, 18, 22])
def test_opsets(opset):
    estimator = scaled(MLPClassifier(**SMALL_NETWORK)).fit(IRIS, KINDS)
    model = to_onnx(estimator, IRIS, opset=opset)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] <= opset
    x = IRIS[::30].astype(np.float32)
    close(gradient(model, x, 1), differences(lambda rows: estimator.predict_proba(rows)[:, 1], x))


@pytest.mark.filterwarnings("ignore")
def test_several_targets_lie_side_by_side():
    estimator = MLPRegressor(**SMALL_NETWORK).fit(IRIS[:, :2], IRIS[:, 2:])
    x = IRIS[::30, :2].astype(np.float32)
    explained = GradientInput(to_onnx(estimator, IRIS[:, :2]))
    close(explained.predict(x), estimator.predict(x))
    close(
        explained.explain(x, np.ones(len(x), int)) / x,
        differences(lambda rows: estimator.predict(rows)[:, 1], x),
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [2, 3])
def test_labels_that_do_not_exclude_each_other(count):
    """Column k is the probability of label k; skl2onnx takes two labels for two classes."""
    labels = np.stack([KINDS == 0, IRIS[:, 0] > 5.8, KINDS == 2], 1)[:, :count].astype(int)
    estimator = scaled(MLPClassifier(**SMALL_NETWORK)).fit(IRIS, labels)
    model, x = to_onnx(estimator, IRIS), IRIS[3::30].astype(np.float32)
    close(GradientInput(model).predict(x), estimator.predict_proba(x))
    for label in range(count):
        expected = differences(lambda rows, label=label: estimator.predict_proba(rows)[:, label], x)
        close(gradient(model, x, label), expected)


def test_logistic_regression_has_the_gradient_of_its_formula():
    """p = sigmoid(w x + b);  dp/dx = p (1 - p) w."""
    estimator = LogisticRegression(solver="newton-cholesky").fit(CANCER, MALIGNANT)
    x = CANCER[::60].astype(np.float32)
    p = estimator.predict_proba(x)[:, 1:]
    found = gradient(to_onnx(estimator, CANCER), np.where(x == 0, 1e-3, x).astype(np.float32), 1)
    np.testing.assert_allclose(found, p * (1 - p) * estimator.coef_, rtol=0, atol=1e-4)
