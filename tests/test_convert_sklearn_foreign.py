"""Estimators of other packages: what is said where skl2onnx has no converter."""

import numpy as np
import pytest
from onnxattr.converters.sklearn import to_onnx
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import StackingRegressor
from sklearn.linear_model import Ridge
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


def of_package(name):
    return type("Elsewhere", (Elsewhere,), {"__module__": name})()


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
