"""Regressors of a transformed target: the regressor, and behind it the way back to the target."""

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from .functions import apply_function
from .quantiles import interpolated
from .writing import Writer

_BY_HAND = "Convert its regressor (regressor_) and transform back yourself."


def way_back(op: Writer, transformer: Any, y: str) -> str:
    """What `transformer.inverse_transform` makes of y, (N, targets).

    Raises:
        ConversionError: The transformer has no way back here.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import (
        FunctionTransformer,
        MaxAbsScaler,
        MinMaxScaler,
        PowerTransformer,
        QuantileTransformer,
        RobustScaler,
        StandardScaler,
    )

    if isinstance(transformer, Pipeline):
        for _, step in reversed(transformer.steps):
            y = y if step in (None, "passthrough") else way_back(op, step, y)
        return y
    if isinstance(transformer, FunctionTransformer):
        return apply_function(op, transformer.inverse_func, transformer.inv_kw_args, y, _BY_HAND)
    if isinstance(transformer, (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)):
        bias = transformer.inverse_transform(np.zeros((1, transformer.n_features_in_)))
        scale = transformer.inverse_transform(np.ones((1, transformer.n_features_in_))) - bias
        return op("Add", op("Mul", y, scale), bias)
    if isinstance(transformer, PowerTransformer):
        return _from_powers(op, transformer, y)
    if isinstance(transformer, QuantileTransformer):
        return _from_quantiles(op, transformer, y)
    raise ConversionError(
        f"The target is transformed by {type(transformer).__name__}, whose way back has no ONNX form here; supported: "
        "FunctionTransformer, StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, PowerTransformer, "
        f"QuantileTransformer and pipelines of these. {_BY_HAND}"
    )


def _from_powers(op: Writer, transformer: Any, y: str) -> str:
    """Box-Cox: x = (l y + 1)^(1/l), or exp y for l = 0.

    Yeo-Johnson: x = g(max(y, 0), l) - g(max(-y, 0), 2 - l), g(u, l) = (l u + 1)^(1/l) - 1, or exp(u) - 1 for l = 0.
    """

    def root(base: str, exponents: np.ndarray) -> str:
        zero = np.abs(exponents) < np.finfo(np.float64).eps
        inverse = 1 / np.where(zero, 1.0, exponents)
        powers = op("Pow", op("Add", op("Mul", base, exponents), 1.0), inverse)
        if not zero.any():
            return powers
        # Where the exponent is 0, base * 0 + 1 to the power of 1 is 1: a factor.
        return op("Mul", powers, op("Exp", op("Mul", base, zero.astype(np.float32))))

    exponents = transformer.lambdas_
    if transformer.standardize:
        y = op("Add", op("Mul", y, transformer._scaler.scale_), transformer._scaler.mean_)
    if transformer.method == "box-cox":
        return root(y, exponents)
    negative = op("Less", y, 0.0)
    above = root(op("Where", negative, 0.0, y), exponents)
    below = root(op("Where", negative, op("Neg", y), 0.0), 2 - exponents)
    return op("Sub", above, below)


def _from_quantiles(op: Writer, transformer: Any, y: str) -> str:
    """Linear between quantiles; a normal distribution is made a uniform one first."""
    if transformer.output_distribution == "normal":
        y = op("Mul", op("Add", op("Erf", op("Div", y, np.sqrt(2))), 1.0), 0.5)
    quantiles = transformer.quantiles_.T  # (targets, quantiles)
    return interpolated(op, y, np.broadcast_to(transformer.references_, quantiles.shape), quantiles)


def transformed_target(op: Writer) -> str:
    """y of the target, from the regressor's y."""
    model = op.estimator
    predicted = op(
        "Reshape", op.result_of(model.regressor_), np.array([-1, model.transformer_.n_features_in_])
    )
    return way_back(op, model.transformer_, predicted)


def conversions() -> dict[type, Callable[[Writer], str]]:
    """How each of these is written."""
    from sklearn.compose import TransformedTargetRegressor

    return {TransformedTargetRegressor: transformed_target}
