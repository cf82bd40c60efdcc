"""Missing features: what is put in their place, and which are missing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import ConversionError

from .writing import Writer

# A squared distance that is none.
_FAR = 1e300


def simple_imputer(op: Writer) -> str:
    """y = x, or a constant of each feature where x is missing; behind it which are missing, if that is asked for."""
    imputer = op.estimator
    constants = np.asarray(imputer.statistics_, np.float64)
    all_kept = imputer.strategy == "constant" or imputer.keep_empty_features
    kept = np.arange(len(constants)) if all_kept else np.flatnonzero(~np.isnan(constants))
    x = op.x if len(kept) == len(constants) else op("Gather", op.x, kept, axis=1)
    if _is_nan(imputer.missing_values):
        filled = op(
            "Imputer",
            x,
            op_domain="ai.onnx.ml",
            imputed_value_floats=constants[kept].astype(np.float32).tolist(),
            replaced_value_float=np.nan,
        )
    else:
        filled = op("Where", op("Equal", x, float(imputer.missing_values)), constants[kept], x)
    if imputer.indicator_ is None:
        return filled
    return op("Concat", filled, _indicated(op, imputer.indicator_), axis=1)


def missing_indicator(op: Writer) -> str:
    """y = 1 where x is missing, else 0."""
    return _indicated(op, op.estimator)


def knn_imputer(op: Writer) -> str:
    """y = x, or where x is missing the mean over the nearest rows of the fit that have the feature.

    Raises:
        ConversionError: Weights are a function, distances another's, or missing values no NaN.
    """
    imputer = op.estimator
    known_ways = imputer.weights in ("uniform", "distance") and imputer.metric == "nan_euclidean"
    if not known_ways or not _is_nan(imputer.missing_values):
        raise ConversionError(
            f"{imputer} has no ONNX form here; supported: weights 'uniform' and 'distance', metric='nan_euclidean' and "
            "missing_values=nan. Fill what is missing before the pipeline, or by a SimpleImputer."
        )
    doubles = op.in_doubles()
    missing = doubles("IsNaN", doubles.x)
    far = _squared_distances(doubles, missing)
    kept = np.flatnonzero(imputer._valid_mask | imputer.keep_empty_features)
    filled = doubles("Concat", *(_from_neighbours(doubles, far, int(place)) for place in kept), axis=1)
    own = [doubles("Gather", one, kept, axis=1) for one in (missing, doubles.x)]
    y = doubles("Where", own[0], filled, own[1])
    if not imputer._valid_mask[kept].all():  # which are 0 whatever a row has
        y = doubles("Mul", y, imputer._valid_mask[kept].astype(np.float64))
    y = op("Cast", y, to=onnx.TensorProto.FLOAT)
    return y if imputer.indicator_ is None else op("Concat", y, _indicated(op, imputer.indicator_), axis=1)


def iterative_imputer(op: Writer) -> str:
    """y = x, or where x is missing what linear regressions on the other features give, in the rounds of the fit.

    Raises:
        ConversionError: A regression is not linear, or values are drawn at random.
    """
    imputer, doubles = op.estimator, op.in_doubles()
    kept = np.arange(imputer.n_features_in_)[~imputer._is_empty_feature | imputer.keep_empty_features]
    x = doubles("Gather", doubles.x, kept, axis=1)
    missing = _missing(doubles, x, imputer.missing_values)
    y = doubles("Where", missing, np.asarray(imputer.initial_imputer_.statistics_, np.float64)[kept], x)
    some = missing
    if not imputer._is_empty_feature[
        kept
    ].any():  # else a row of which nothing is known stays as it was filled first
        known = doubles("Cast", doubles("Not", missing), to=onnx.TensorProto.INT64)
        known = doubles("Greater", doubles("ReduceMax", known, np.array([1]), keepdims=1), np.array(0))
        some = doubles("And", missing, known)
    tables = imputer.imputation_sequence_ if imputer.n_iter_ else []
    for place, others, regression in tables:
        if imputer._is_empty_feature[kept[place]]:
            continue
        weights, bias = _linear(imputer, regression, others, len(kept))
        value = doubles("Add", doubles("MatMul", y, weights), bias)
        for kind, limit in (("Max", imputer._min_value[place]), ("Min", imputer._max_value[place])):
            value = doubles(kind, value, float(limit)) if np.isfinite(limit) else value
        own = doubles("Equal", np.arange(len(kept)), np.array([place]))
        y = doubles("Where", doubles("And", some, own), value, y)
    y = op("Cast", y, to=onnx.TensorProto.FLOAT)
    return y if imputer.indicator_ is None else op("Concat", y, _indicated(op, imputer.indicator_), axis=1)


def _linear(imputer: Any, regression: Any, others: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """The weights (count, 1) and the bias of a regression on some of the features."""
    unit, rng = np.zeros((1, len(others))), np.random.default_rng(0)
    bias = float(regression.predict(unit)[0])
    own = regression.predict(np.eye(len(others))) - bias
    around = rng.normal(size=(64, len(others))) * 10.0 ** rng.uniform(-2, 3, (64, 1))
    found, expected = around @ own + bias, regression.predict(around)
    linear = hasattr(regression, "coef_") or hasattr(regression, "steps")
    if imputer.sample_posterior or not (linear and np.allclose(found, expected, rtol=1e-6, atol=1e-6)):
        raise ConversionError(
            f"{imputer} has no ONNX form here; supported: linear estimators, as the BayesianRidge of the default, and "
            "sample_posterior=False. Fill what is missing before the pipeline, or by a SimpleImputer."
        )
    weights = np.zeros((count, 1))
    weights[others, 0] = own
    return weights, bias


def _squared_distances(op: Writer, missing: str) -> str:
    """From the rows of the fit, (N, rows), by the features that both have; _FAR where there are none."""
    rows, known = op.estimator._fit_X, (~op.estimator._mask_fit_X).astype(np.float64)
    rows = np.where(known > 0, rows, 0.0)
    x = op("Where", missing, 0.0, op.x)
    given = op("Sub", 1.0, op("Cast", missing, to=onnx.TensorProto.DOUBLE))
    products = op("Mul", op("MatMul", x, rows.T), 2.0)
    squares = op("Sub", op("MatMul", op("Mul", x, x), known.T), products)
    squares = op("Max", op("Add", squares, op("MatMul", given, (rows**2).T)), 0.0)
    shared = op("MatMul", given, known.T)
    each = op("Div", op("Mul", squares, float(rows.shape[1])), op("Max", shared, 1.0))
    return op("Where", op("Less", shared, 0.5), _FAR, each)


def _from_neighbours(op: Writer, far: str, place: int) -> str:
    """What is put in the place of a feature, (N, 1); its mean for rows without any distance."""
    imputer = op.estimator
    donors = np.flatnonzero(~imputer._mask_fit_X[:, place])
    if not len(donors):
        first = op("Gather", far, np.array([0]), axis=1)
        return op("Mul", first, 0.0)
    count = np.array([min(imputer.n_neighbors, len(donors))])
    near, index = op.pair("TopK", op("Gather", far, donors, axis=1), count, axis=1, largest=0)
    weights = (
        op("Reciprocal", op("Sqrt", op("Max", near, 1 / _FAR))) if imputer.weights == "distance" else 1.0
    )
    weights = op("Where", op("Less", near, _FAR), weights, 0.0)
    total = op("ReduceSum", weights, np.array([1]), keepdims=1)
    values = imputer._fit_X[donors, place]
    found = op("ReduceSum", op("Mul", weights, op("Gather", values, index)), np.array([1]), keepdims=1)
    none = op("Equal", total, 0.0)
    return op("Where", none, float(values.mean()), op("Div", found, op("Where", none, 1.0, total)))


def _missing(op: Writer, x: str, value: Any) -> str:
    return op("IsNaN", x) if _is_nan(value) else op("Equal", x, float(value))


def _indicated(op: Writer, indicator: Any) -> str:
    missing = _missing(op, op.x, indicator.missing_values)
    return op("Cast", op("Gather", missing, indicator.features_, axis=1), to=onnx.TensorProto.FLOAT)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and bool(np.isnan(value))


def conversions() -> dict[type, Callable[[Writer], str]]:
    """How each of these is written."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer

    return {
        IterativeImputer: iterative_imputer,
        KNNImputer: knn_imputer,
        MissingIndicator: missing_indicator,
        SimpleImputer: simple_imputer,
    }
