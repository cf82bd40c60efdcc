"""Missing features: what is put in their place, and which are missing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from .writing import Writer


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


def _indicated(op: Writer, indicator: Any) -> str:
    if _is_nan(indicator.missing_values):
        missing = op("IsNaN", op.x)
    else:
        missing = op("Equal", op.x, float(indicator.missing_values))
    return op("Cast", op("Gather", missing, indicator.features_, axis=1), to=onnx.TensorProto.FLOAT)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and bool(np.isnan(value))


def conversions() -> dict[type, Callable[[Writer], str]]:
    """How each of these is written."""
    from sklearn.impute import MissingIndicator, SimpleImputer

    return {MissingIndicator: missing_indicator, SimpleImputer: simple_imputer}
