"""Gradients of scikit-learn estimators: of the converted model, and differences of the estimator's own functions."""

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from onnxattr.attributions import GradientInput


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


def scaled(estimator):
    return make_pipeline(StandardScaler(), estimator)
