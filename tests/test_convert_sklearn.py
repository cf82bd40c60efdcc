"""scikit-learn estimators: conversion, and gradients against closed forms and differences of the estimator itself."""

import warnings

import numpy as np
import onnx
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from onnxattr.converters.common import dependencies
from onnxattr.converters.common.verify import values
from onnxattr.converters.sklearn import to_onnx
from onnxattr.converters.sklearn.convert import _options
from sklearn.base import BaseEstimator, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.decomposition import NMF, PCA, IncrementalPCA, KernelPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import RFE, SelectKBest
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
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
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
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
from sklearn.random_projection import GaussianRandomProjection
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR
from support.estimators import close, differences, gradient, scaled
from support.tiny_graphs import parse

from onnxattr.attributions import DeconvNet, GradientInput, Saliency
from onnxattr.compile.gradient import vjp
from onnxattr.errors import ConversionError, ModelError, RuntimeMissingError, UnsupportedOpError
from onnxattr.loading.layers import read_layers

IRIS, KINDS = load_iris(return_X_y=True)
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)
MLP = {"hidden_layer_sizes": (16, 8), "max_iter": 60, "random_state": 0, "activation": "tanh"}


NAMES = np.array(["a", "b", "c"])[KINDS]
VOTERS = [("a", scaled(LogisticRegression())), ("left out", "drop"), ("b", GaussianNB())]
MASKED = ColumnTransformer([("a", StandardScaler(), [True, False, True, False]), ("b", MinMaxScaler(), [-1])])
SLICED = ColumnTransformer([("a", StandardScaler(), slice(-2, None)), ("b", MinMaxScaler(), slice(None, 1))])
CLASSIFIERS = [
    *(
        scaled(MLPClassifier(**{**MLP, "activation": kind}))
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
    StackingClassifier([("a", LogisticRegression()), ("b", GaussianNB())]),
    BaggingClassifier(LogisticRegression(), 2, random_state=0),
    GridSearchCV(scaled(LogisticRegression()), {"logisticregression__C": [1.0]}),
    scaled(GridSearchCV(LogisticRegression(), {"C": [1.0]})),
    scaled(GridSearchCV(LinearSVC(), {"C": [1.0]})),
    VotingClassifier(VOTERS, voting="soft"),
    scaled(VotingClassifier(VOTERS, voting="soft", weights=[1, 9, 3])),
    Pipeline([("a", StandardScaler()), ("b", "passthrough"), ("c", None), ("d", LogisticRegression())]),
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
REGRESSORS = [
    *(kind() for kind in LINEAR),
    *(scaled(MLPRegressor(**{**MLP, "activation": kind})) for kind in ("identity", "logistic", "tanh", "relu")),
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
    estimator = scaled(MLPClassifier(**MLP)).fit(IRIS, KINDS)
    model = to_onnx(estimator, IRIS, opset=opset)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] <= opset
    x = IRIS[::30].astype(np.float32)
    close(gradient(model, x, 1), differences(lambda rows: estimator.predict_proba(rows)[:, 1], x))


@pytest.mark.filterwarnings("ignore")
def test_several_targets_lie_side_by_side():
    estimator = MLPRegressor(**MLP).fit(IRIS[:, :2], IRIS[:, 2:])
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
    estimator = scaled(MLPClassifier(**MLP)).fit(IRIS, labels)
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


# Layer -> its numbers by scikit-learn itself, from the fitted pipeline and rows.
SCALED = {"standardscaler": lambda e, x: e[:1].transform(x)}
LOGITS = {
    "logits": lambda e, x: e.decision_function(x).reshape(len(x), -1),
    0: lambda e, x: e[:1].transform(x),
    -1: lambda e, x: e.predict_proba(x),
}
NETWORK = {
    **SCALED,
    "hidden1": lambda e, x: np.maximum(e[:-1].transform(x) @ e[-1].coefs_[0] + e[-1].intercepts_[0], 0),
    "mlpclassifier": lambda e, x: e.predict_proba(x),
}
UNION = Pipeline([
    ("columns", ColumnTransformer([("some", RobustScaler(), [0, 2]), ("rest", "passthrough", [1, 3])])),
    ("union", FeatureUnion([("pca", PCA(2)), ("more", make_pipeline(PolynomialFeatures(2), MaxAbsScaler()))])),
    ("probability", LogisticRegression()),
])  # fmt: skip
UNITED = {
    "columns/some": lambda e, x: e[:1].transform(x)[:, :2],
    "columns": lambda e, x: e[:1].transform(x),
    "union/pca": lambda e, x: e[1].transformer_list[0][1].transform(e[:1].transform(x)),
    "union/more/polynomialfeatures": lambda e, x: (
        e[1].transformer_list[1][1][:1].transform(e[:1].transform(x))
    ),
    "union/more": lambda e, x: e[1].transformer_list[1][1].transform(e[:1].transform(x)),
    "union": lambda e, x: e[:2].transform(x),
    "probability/logits": lambda e, x: e.decision_function(x),
    "probability": lambda e, x: e.predict_proba(x),
}
DECISION = {"decision_function": lambda e, x: e.decision_function(x)}
RELU = {**MLP, "activation": "relu"}
TWO = KINDS > 0
LAYERS = {
    "logistic regression": (make_pipeline(StandardScaler(), LogisticRegression()), KINDS, LOGITS),
    "of two classes": (make_pipeline(StandardScaler(), LogisticRegression()), TWO, LOGITS),
    "log loss": (make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)), TWO, LOGITS),
    "hinge": (make_pipeline(StandardScaler(), LinearSVC()), KINDS, DECISION),
    "alone": (LinearDiscriminantAnalysis(), KINDS, {"lineardiscriminantanalysis/logits": LOGITS["logits"]}),
    "network": (make_pipeline(StandardScaler(), MLPClassifier(**RELU)), KINDS, NETWORK),
    "network of two classes": (make_pipeline(StandardScaler(), MLPClassifier(**RELU)), TWO, NETWORK),
    "union": (UNION, KINDS, UNITED),
    "clipped": (make_pipeline(MinMaxScaler(clip=True), Ridge()), KINDS,
                {"minmaxscaler": lambda e, x: e[:1].transform(x), "ridge": lambda e, x: e.predict(x)[:, None]}),
    "selected": (make_pipeline(RFE(Ridge(), n_features_to_select=2), Ridge()), KINDS,
                 {"rfe": lambda e, x: e[:1].transform(x)}),
    "searched": (GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [1.0]}),
                 KINDS, {"standardscaler": lambda e, x: e.best_estimator_[:1].transform(x)}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", LAYERS)
def test_layers_have_the_numbers_of_the_estimator(case):
    estimator, targets, layers = LAYERS[case]
    model = to_onnx(estimator.fit(IRIS, targets), IRIS)
    x = (IRIS[::20] + np.random.default_rng(0).normal(size=(8, 4))).astype(
        np.float32
    )  # beyond the sample, too
    for layer, numbers in layers.items():
        found = GradientInput(model, output_layer=layer).predict(x)
        close(found, np.asarray(numbers(estimator, x.astype(np.float64))).reshape(found.shape))


def test_logits_of_a_network_make_its_probabilities():
    estimator = make_pipeline(StandardScaler(), MLPClassifier(**MLP)).fit(IRIS, KINDS)
    model, x = to_onnx(estimator, IRIS), IRIS[::30].astype(np.float32)
    logits = np.exp(GradientInput(model, output_layer="logits").predict(x))
    close(logits / logits.sum(1, keepdims=True), estimator.predict_proba(x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "targets", "label"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), KINDS, 2),
        (make_pipeline(StandardScaler(), LogisticRegression()), TWO, 0),
        (make_pipeline(StandardScaler(), LogisticRegression()), TWO, 1),
        (make_pipeline(Normalizer(), LinearSVC()), KINDS, 1),
        (make_pipeline(StandardScaler(), RidgeClassifier()), KINDS, 1),
    ],
)
def test_decision_functions_have_the_gradient_of_the_estimator(estimator, targets, label):
    model = to_onnx(estimator.fit(IRIS, targets), IRIS)
    layer = "logits" if hasattr(estimator, "predict_proba") else "decision_function"
    x = IRIS[::30].astype(np.float32)
    found = GradientInput(model, output_layer=layer).explain(x, np.full(len(x), label)) / x

    def score(rows):
        scores = estimator.decision_function(rows)
        return scores[:, label] if scores.ndim == 2 else scores if label else -scores

    close(found, differences(score, x))


@pytest.mark.parametrize("estimator", [LogisticRegression(), MLPClassifier((5,), max_iter=20)])
def test_who_explains_probabilities_is_told_the_name_of_the_logits(estimator):
    model = to_onnx(make_pipeline(StandardScaler(), estimator).fit(IRIS, KINDS), IRIS[:5])
    name = type(estimator).__name__.lower()
    with pytest.warns(UserWarning, match=f"pass output_layer='{name}/logits'"):
        GradientInput(model)


def test_predictions_do_not_compute_the_logits():
    """They are in the table only: the file holds what skl2onnx wrote."""
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, KINDS)
    model = to_onnx(estimator, IRIS)
    assert [node.op_type for node in model.graph.node] == ["Scaler", "LinearClassifier", "Normalizer"]
    assert not model.graph.initializer


def test_relus_of_networks_are_those_of_the_layers():
    estimator = MLPClassifier(**RELU).fit(IRIS, KINDS)
    model, x = to_onnx(estimator, IRIS), IRIS[::30].astype(np.float32)
    maps = [
        DeconvNet(model, output_layer="logits", relu_policy=policy).explain(x, KINDS[::30])
        for policy in ("all", "xplique")
    ]
    np.testing.assert_array_equal(*maps)
    assert len(read_layers({e.key: e.value for e in model.metadata_props})[0].relus) == 1


def test_without_onnx_runtime_the_table_is_filled_by_onnx_itself(monkeypatch):
    def missing():
        raise RuntimeMissingError("ONNX Runtime is not installed.")

    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, KINDS)
    expected = to_onnx(estimator, IRIS)
    monkeypatch.setattr(dependencies, "onnxruntime", missing)
    assert to_onnx(estimator, IRIS, verify=False) == expected


def test_dictionaries_of_other_converters_count_as_scores():
    """skl2onnx' default output: a dictionary of class and probability for each row."""
    import skl2onnx

    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, KINDS)
    zipped = skl2onnx.to_onnx(estimator, IRIS[:1].astype(np.float32))
    assert "ZipMap" in {node.op_type for node in zipped.graph.node}
    x = IRIS[::30].astype(np.float32)
    close(gradient(zipped, x, 1), gradient(to_onnx(estimator, IRIS), x, 1))


@pytest.mark.parametrize("opset", [{"": 9, "ai.onnx.ml": 1}, {"": 15, "ai.onnx.ml": 3}])
def test_trees_whose_output_is_a_dictionary_are_refused_as_trees(opset):
    """Not for the number of axes of the dictionary, which the schemas of ai.onnx.ml 1 leave open."""
    import skl2onnx

    forest = RandomForestClassifier(2, max_depth=2).fit(IRIS, KINDS)
    zipped = skl2onnx.to_onnx(forest, IRIS[:1].astype(np.float32), target_opset=opset)
    with pytest.raises(UnsupportedOpError, match="Decision trees are piecewise constant"):
        GradientInput(zipped).explain(IRIS[:2].astype(np.float32))


def test_neighbours_have_no_gradient():
    model = to_onnx(KNeighborsClassifier().fit(IRIS, KINDS), IRIS)
    with pytest.raises(
        ModelError, match=r"No float input reaches the score.*No float value inside does either"
    ):
        GradientInput(model)


@pytest.mark.parametrize("estimator", [IsolationForest(n_estimators=3), AdaBoostClassifier(n_estimators=2)])
def test_forests_whose_votes_are_counted_are_refused_as_trees(estimator):
    with pytest.raises(
        ModelError, match=r"No float input reaches the score.*Decision trees are piecewise constant"
    ):
        GradientInput(to_onnx(estimator.fit(IRIS, KINDS), IRIS))


def test_forests_have_no_gradient():
    model = to_onnx(RandomForestClassifier(3).fit(IRIS, KINDS), IRIS)
    with pytest.raises(UnsupportedOpError, match="piecewise"):
        vjp(model, "X", model.graph.output[-1].name)


@pytest.mark.parametrize("shape", ["ovo", "ovr"])
def test_support_vector_classifiers_by_their_decision_values(shape):
    estimator = make_pipeline(StandardScaler(), SVC(decision_function_shape=shape)).fit(IRIS, KINDS)
    x = IRIS[::30].astype(np.float32)
    found = GradientInput(to_onnx(estimator, IRIS)).explain(x, np.ones(len(x), int)) / x
    close(found, differences(lambda rows: estimator.decision_function(rows)[:, 1], x))


@pytest.mark.parametrize(
    "estimator",
    [
        CalibratedClassifierCV(LinearSVC()).fit(IRIS, KINDS),
        OneVsRestClassifier(GaussianProcessClassifier(RBF() * 2)).fit(IRIS, KINDS),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_no_part_is_asked_what_it_is_that_predicts_nothing(estimator, monkeypatch):
    """From scikit-learn 1.9 on is_classifier refuses kernels and the classifiers inside a CalibratedClassifierCV."""

    def strict(part):
        assert isinstance(part, BaseEstimator), part
        return is_classifier(part)

    monkeypatch.setattr("sklearn.base.is_classifier", strict)
    _options(estimator)


def test_trees_that_skl2onnx_cannot_write(monkeypatch):
    def fails(*_, **__):
        raise TypeError("Unable to create node 'TreeEnsembleRegressor'")

    monkeypatch.setattr("skl2onnx.convert_sklearn", fails)
    with pytest.raises(ConversionError, match=r"the trees of Ridge.*piecewise constant"):
        to_onnx(Ridge().fit(IRIS, KINDS), IRIS)


def test_files_are_whole(tmp_path):
    estimator = LinearRegression().fit(IRIS[:, :3], IRIS[:, 3])
    model = to_onnx(estimator, IRIS[:, :3], tmp_path / "linear.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["linear.onnx"]
    assert onnx.load(tmp_path / "linear.onnx") == model
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


@pytest.mark.parametrize(
    ("estimator", "sample", "match"),
    [
        (LogisticRegression(), IRIS, "Fit the estimator"),
        (LinearRegression().fit(IRIS, KINDS), IRIS[0], "expected rows"),
        (LinearRegression().fit(IRIS, KINDS), [["a", "b"]], "expected numbers. Encode text"),
        (
            make_pipeline(CountVectorizer(), LogisticRegression()).fit(["good film", "bad film"], [1, 0]),
            ["good film"],
            "expected numbers. Explain what follows the CountVectorizer",
        ),
        (LinearRegression().fit(IRIS, KINDS), IRIS[:, :2], "features"),
        (
            make_pipeline(NMF(2), Ridge()).fit(IRIS, KINDS),
            IRIS,
            "NMF.*skl2onnx supports",
        ),
        (
            ClassifierChain(LogisticRegression()).fit(IRIS, np.eye(3)[KINDS]),
            IRIS,
            "ClassifierChain.*skl2onnx supports",
        ),
        (
            MultiOutputClassifier(LogisticRegression()).fit(IRIS, np.eye(3)[KINDS]),
            IRIS,
            "MultiOutputClassifier gives a list.*one by one",
        ),
        (
            GaussianProcessClassifier().fit(IRIS, KINDS > 0),
            IRIS,
            "does not load.*Solve.*Leave out the layer or step",
        ),
        (
            make_pipeline(Normalizer("max"), Ridge()).fit(IRIS - 4, KINDS),
            IRIS - 4,
            "skl2onnx writes something else",
        ),
    ],
)
def test_refusals(estimator, sample, match):
    with pytest.raises(ConversionError, match=match):
        to_onnx(estimator, sample)


def test_counts_of_words_are_given_sparse():
    """y = w x + b of the counts x: gradient times input is w x, word by word."""
    texts = ["good good film", "bad film", "good plot", "bad bad plot"]
    words = CountVectorizer()
    counts = words.fit_transform(texts)
    estimator = Ridge().fit(counts, [1.0, -1.0, 1.0, -2.0])
    found = GradientInput(to_onnx(estimator, counts)).explain(counts)
    np.testing.assert_allclose(found, counts.toarray() * estimator.coef_, rtol=1e-4, atol=1e-6)


def test_what_neither_runtime_nor_evaluator_runs_is_an_error_of_conversion():
    model = parse("g (float[2,3] x) => (float[2,3] y) { y = ConstantOfShape(x) }")
    with pytest.raises(ConversionError, match=r"does not load.*onnx's evaluator stops too"):
        values(model, [], {"x": np.zeros((2, 3), np.float32)})


def test_of_several_numbers_one_is_to_be_chosen():
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    coefficients = np.array([[1.0, 2], [3, 4], [5, 6]])
    method = Saliency(to_onnx(Ridge(alpha=1e-6).fit(x, x @ coefficients), x))
    with pytest.warns(
        UserWarning, match="gives 2 numbers, no classes: without targets the largest is explained"
    ):
        method.explain(x[:4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = method.explain(x[:4], [1, 1, 1, 0])
    np.testing.assert_allclose(found, coefficients.T[[1, 1, 1, 0]], rtol=1e-5)
