"""Transformers of single features: powers, functions, splines."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import ConversionError

from .functions import apply_function
from .writing import Writer


def function_transformer(op: Writer) -> str:
    """y = f(x)."""
    advice = "Apply another function to the table before the pipeline, and convert the pipeline without it."
    return apply_function(op, op.estimator.func, op.estimator.kw_args, op.x, advice)


def power_transformer(op: Writer) -> str:
    """Yeo-Johnson: y = f(max(x, 0), l) - f(max(-x, 0), 2 - l), f(u, l) = ((1 + u)^l - 1) / l or log(1 + u) for l = 0.

    Box-Cox: y = (x^l - 1) / l or log x. No part of it computes with numbers of the wrong sign and throws them away.
    """
    transformer, x = op.estimator, op.x

    def power(base: str, exponents: np.ndarray) -> str:
        zero = np.abs(exponents) < np.finfo(np.float64).eps
        rest = op("Div", op("Sub", op("Pow", base, exponents), 1.0), np.where(zero, np.inf, exponents))
        return op("Add", rest, op("Mul", op("Log", base), zero.astype(np.float32))) if zero.any() else rest

    exponents = transformer.lambdas_
    if transformer.method == "yeo-johnson":
        negative = op("Less", x, 0.0)
        above = op("Add", op("Where", negative, 0.0, x), 1.0)
        below = op("Add", op("Where", negative, op("Neg", x), 0.0), 1.0)
        y = op("Sub", power(above, exponents), power(below, 2 - exponents))
    else:
        y = power(x, exponents)
    if transformer.standardize:
        y = op("Div", op("Sub", y, transformer._scaler.mean_), transformer._scaler.scale_)
    return y


def spline_transformer(op: Writer) -> str:
    """B-splines; what lies beyond the outer knots is an interval of its own, NaN where scikit-learn refuses it."""
    transformer = op.estimator
    least = {"linear": 2 if len(transformer.bsplines_) > 1 else 0, "periodic": 1}.get(
        transformer.extrapolation, 0
    )
    if transformer.degree < least:
        raise ConversionError(
            f"SplineTransformer has degree={transformer.degree} with extrapolation={transformer.extrapolation!r}, for "
            f"which scikit-learn computes no spline; supported: degrees from {least}, or extrapolation='continue'."
        )
    pieces = [_pieces(spline, transformer.extrapolation) for spline in transformer.bsplines_]
    starts, tables = (np.stack(arrays) for arrays in zip(*pieces, strict=True))
    if not transformer.include_bias:
        tables = tables[..., :-1]
    x = op.x
    if transformer.extrapolation == "periodic":
        low, end = starts[:, 1], np.array([spline.t[-spline.k - 1] for spline in transformer.bsplines_])
        x = op("Sub", x, op("Mul", op("Floor", op("Div", op("Sub", x, low), end - low)), end - low))
    y = piecewise(op, x, starts, tables)
    return op("Reshape", y, np.array([-1, tables.shape[0] * tables.shape[-1]]))


def piecewise(op: Writer, x: str, starts: np.ndarray, tables: np.ndarray) -> str:
    """y_s = sum over p of c_sp (x - t)^p, where t is the last start that is not above x.

    Args:
        op: Where to write.
        x: Values (N, features).
        starts: (features, intervals), ascending; the first is -inf, and its t the start behind it.
        tables: Coefficients (features, intervals, powers, functions), the highest power first.

    Returns:
        (N, features, functions).
    """
    features, intervals, powers, functions = tables.shape
    reached = op("Not", op("Less", op("Unsqueeze", x, np.array([2])), starts[:, 1:]))
    place = op("ReduceSum", op("Cast", reached, to=onnx.TensorProto.INT64), np.array([2]), keepdims=0)
    index = op("Add", place, np.arange(features) * intervals)
    origins = np.concatenate([starts[:, 1:2], starts[:, 1:]], 1)
    distance = op("Unsqueeze", op("Sub", x, op("Gather", origins.ravel(), index)), np.array([2]))
    table = tables.reshape(features * intervals, powers, functions)
    y = op("Gather", table[:, 0], index)
    for power in range(1, powers):
        y = op("Add", op("Mul", y, distance), op("Gather", table[:, power], index))
    return y


def _pieces(spline: Any, extrapolation: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the intervals of one feature start, (intervals,), and their polynomials.

    The latter are (intervals, powers, basis functions), the highest power first.
    """
    from scipy.interpolate import PPoly

    degree, knots = spline.k, spline.t
    functions = [PPoly.from_spline((knots, column, degree)) for column in spline.c.T]
    inner = slice(degree, len(knots) - degree - 1)
    starts = knots[inner]
    table = np.stack([function.c[:, inner].T for function in functions], 2)
    if extrapolation in ("continue", "periodic"):
        return np.concatenate([[-np.inf], starts]), np.concatenate([table[:1], table])
    ends = knots[degree], knots[-degree - 1]
    beyond = np.zeros((2, *table.shape[1:]))
    for one, end in zip(beyond, ends, strict=True):
        if extrapolation == "error":
            one[:] = np.nan
            continue
        one[-1] = spline(end)
        if extrapolation == "linear" and degree > 0:
            one[-2] = spline(end, nu=1)
    # The last knot itself belongs to the interval before it.
    last = np.nextafter(np.float32(ends[1]), np.float32(np.inf))
    return np.concatenate([[-np.inf], starts, [last]]), np.concatenate([beyond[:1], table, beyond[1:]])


def isotonic(op: Writer) -> str:
    """y = y_i + (y_i+1 - y_i) (x - x_i) / (x_i+1 - x_i); beyond the thresholds its ends, NaN where there are none."""
    line, op = op.estimator, op.in_doubles()
    x, y = (np.asarray(array, np.float64) for array in (line.X_thresholds_, line.y_thresholds_))
    slopes = np.diff(y) / np.diff(x)
    low, high = (y[0], y[-1]) if line.out_of_bounds == "clip" else (np.nan, np.nan)
    # The last threshold itself belongs to the interval before it; of the data of the fit, what float32 rounds to beyond
    # an end has no number, as in scikit-learn.
    starts = np.array([-np.inf, *x[:-1], np.nextafter(x[-1], np.inf)])[None]
    table = np.stack([[0.0, *slopes, 0.0], [low, *y[:-1], high]], 1)
    return op("Reshape", piecewise(op, op.x, starts, table[None, :, :, None]), np.array([-1, 1]))


def conversions() -> dict[type, Callable[[Writer], str]]:
    """How each of these is written."""
    from sklearn.isotonic import IsotonicRegression
    from sklearn.preprocessing import FunctionTransformer, PowerTransformer, SplineTransformer

    return {
        FunctionTransformer: function_transformer,
        IsotonicRegression: isotonic,
        PowerTransformer: power_transformer,
        SplineTransformer: spline_transformer,
    }
