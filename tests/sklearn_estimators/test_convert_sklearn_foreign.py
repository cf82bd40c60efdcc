"""Estimators of other packages: what is said where skl2onnx has no converter."""

import numpy as np
import pytest
from onnxattr.converters.sklearn import to_onnx
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.decomposition import NMF
from sklearn.ensemble import StackingRegressor, VotingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OutputCodeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from onnxattr.errors import ConversionError

ROWS = np.random.default_rng(0).normal(size=(20, 3))


class Elsewhere(RegressorMixin, BaseEstimator):
    """An estimator that skl2onnx does not know."""

    def fit(self, x, y):
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, x):
        return np.full(len(x), self.mean_)


class Boosted(Elsewhere):
    """One that is linear by a parameter."""

    def __init__(self, booster="gblinear", linear_tree=True):
        self.booster, self.linear_tree = booster, linear_tree


def of_package(name, kind=Elsewhere):
    return type("Elsewhere", (kind,), {"__module__": name})()


@pytest.mark.parametrize(
    "put",
    [
        lambda e: e,
        lambda e: make_pipeline(StandardScaler(), e),
        lambda e: StackingRegressor([("a", e)], Ridge()),
    ],
)
@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("lightgbm.sklearn", "Elsewhere is of lightgbm. Boosted trees are piecewise constant"),
        ("xgboost.sklearn", "Elsewhere is of xgboost. Boosted trees are piecewise constant"),
        ("skorch.regressor", r"explain that, estimator.module_, .*pipeline\[:-1\].transform"),
        ("imblearn.pipeline", "no part in predictions: give a Pipeline of scikit-learn"),
        ("mine", "Fit the estimator first"),
    ],
)
def test_the_way_out_is_said(module, said, put):
    estimator = put(of_package(module)).fit(ROWS, ROWS[:, 0])
    with pytest.raises(ConversionError, match=said):
        to_onnx(estimator, ROWS)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (
            "xgboost.sklearn",
            r"linear booster.*x \* coef_.*three.*coef_\.ravel\(\)\.reshape\(n_features, -1\)\[:, k\]",
        ),
        ("lightgbm.sklearn", "Linear trees have a slope in each leaf"),
    ],
)
def test_boosting_of_linear_models_is_told_apart(module, said):
    with pytest.raises(ConversionError, match=said):
        to_onnx(of_package(module, Boosted).fit(ROWS, ROWS[:, 0]), ROWS)


def test_steps_without_a_form_are_named():
    """Without what skl2onnx says of registering converters."""
    estimator = make_pipeline(NMF(2), Ridge()).fit(abs(ROWS), ROWS[:, 0])
    with pytest.raises(
        ConversionError, match=r"Pipeline: it has no form for NMF\. .*explain the steps behind"
    ) as raised:
        to_onnx(estimator, ROWS)
    assert "register" not in str(raised.value)


@pytest.mark.parametrize(
    ("classifier", "said"),
    [
        (OutputCodeClassifier(LogisticRegression()), r"almost everywhere\. Explain the estimators in it"),
        (NearestCentroid(metric="manhattan"), "metric='euclidean'"),
        (VotingClassifier([("a", LogisticRegression())]), "voting='soft'"),
    ],
)
def test_classes_alone(classifier, said):
    with pytest.raises(ConversionError, match=said):
        to_onnx(classifier.fit(ROWS, ROWS[:, 0] > 0), ROWS)
