"""Gradients of scikit-learn estimators: of the converted model, and differences of the estimator's own functions."""

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from onnxattr.attributions import GradientInput


def gradient(model, x, label):
    """The gradient of one output column, from gradient times input."""
    return GradientInput(model, reducer=None).explain(x, np.full(len(x), label)) / x


def differences(function, x):
    """Central differences in float64 of one number for each row; steps in proportion to the spread of a feature.

    Those by features that are missing are 0.
    """
    found = np.zeros(x.shape)
    x = x.astype(np.float64)
    known = ~np.isnan(x)
    for column in np.flatnonzero(known.any(0)):
        step = 1e-4 * np.nanstd(x[:, column])
        shift = np.zeros(x.shape[1])
        shift[column] = step
        found[:, column] = (function(x + shift) - function(x - shift)) / (2 * step)
    return np.where(known, found, 0.0)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def scaled(estimator):
    return make_pipeline(StandardScaler(), estimator)
