"""scikit-learn estimators: conversion, and gradients against closed forms and differences of the estimator itself."""

import numpy as np
import onnx
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from onnxattr.converters.sklearn import to_onnx
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC, SVR

from onnxattr.attributions import GradientInput
from onnxattr.errors import ConversionError, UnsupportedOpError
from onnxattr.gradient import vjp

IRIS, KINDS = load_iris(return_X_y=True)
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)
MLP = {"hidden_layer_sizes": (16, 8), "max_iter": 60, "random_state": 0, "activation": "tanh"}


def gradient(model, x, label):
    """The gradient of one output column, from gradient times input."""
    return GradientInput(model, reducer=None).explain(x, np.full(len(x), label)) / x


def differences(function, x):
    """Central differences in float64 of one number for each row; steps in proportion to the spread of a feature."""
    found = np.zeros(x.shape)
    x = x.astype(np.float64)
    for column, step in enumerate(1e-4 * x.std(0)):
        shift = np.zeros(x.shape[1])
        shift[column] = step
        found[:, column] = (function(x + shift) - function(x - shift)) / (2 * step)
    return found


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "data", "targets", "label"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), IRIS, KINDS, 2),
        (make_pipeline(StandardScaler(), LogisticRegression()), CANCER, MALIGNANT, 1),
        (make_pipeline(MinMaxScaler(), LogisticRegression()), IRIS, np.array(["a", "b", "c"])[KINDS], 1),
        (make_pipeline(Normalizer(), LogisticRegression()), IRIS, KINDS, 0),
        (make_pipeline(StandardScaler(), MLPClassifier(**MLP)), IRIS, KINDS, 1),
        (make_pipeline(StandardScaler(), MLPClassifier(**MLP)), CANCER, MALIGNANT, 0),
    ],
)
def test_classifiers(estimator, data, targets, label):
    estimator.fit(data, targets)
    x = data[::30].astype(np.float32)
    x[x == 0] = 1e-3
    found = gradient(to_onnx(estimator, data), x, label)
    close(found, differences(lambda rows: estimator.predict_proba(rows)[:, label], x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [LinearRegression(), make_pipeline(StandardScaler(), Ridge()), make_pipeline(StandardScaler(), MLPRegressor(**MLP)),
     make_pipeline(StandardScaler(), SVR()), make_pipeline(StandardScaler(), SVR(kernel="poly", coef0=1.0))],
)  # fmt: skip
def test_regressors(estimator):
    data, targets = IRIS[:, :3], IRIS[:, 3]
    estimator.fit(data, targets)
    x = data[::30].astype(np.float32)
    found = GradientInput(to_onnx(estimator, data)).explain(x, np.ones((len(x), 1))) / x
    close(found, differences(estimator.predict, x))


def test_logistic_regression_has_the_gradient_of_its_formula():
    """p = sigmoid(w x + b);  dp/dx = p (1 - p) w."""
    estimator = LogisticRegression(max_iter=5000).fit(CANCER, MALIGNANT)
    x = CANCER[::60].astype(np.float32)
    p = estimator.predict_proba(x)[:, 1:]
    found = gradient(to_onnx(estimator, CANCER), np.where(x == 0, 1e-3, x).astype(np.float32), 1)
    np.testing.assert_allclose(found, p * (1 - p) * estimator.coef_, rtol=0, atol=1e-4)


def test_dictionaries_of_other_converters_count_as_scores():
    """skl2onnx' default output: a dictionary of class and probability for each row."""
    import skl2onnx

    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, KINDS)
    zipped = skl2onnx.to_onnx(estimator, IRIS[:1].astype(np.float32))
    assert "ZipMap" in {node.op_type for node in zipped.graph.node}
    x = IRIS[::30].astype(np.float32)
    close(gradient(zipped, x, 1), gradient(to_onnx(estimator, IRIS), x, 1))


@pytest.mark.parametrize(("estimator", "match"), [(RandomForestClassifier(3), "piecewise"), (SVC(), "votes")])
def test_estimators_without_gradient(estimator, match):
    model = to_onnx(estimator.fit(IRIS, KINDS), IRIS)
    with pytest.raises(UnsupportedOpError, match=match):
        vjp(model, "X", model.graph.output[-1].name)


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
        (LinearRegression().fit(IRIS, KINDS), [["a", "b"]], "more than numbers"),
        (LinearRegression().fit(IRIS, KINDS), IRIS[:, :2], "features"),
    ],
)
def test_refusals(estimator, sample, match):
    with pytest.raises(ConversionError, match=match):
        to_onnx(estimator, sample)
