"""Quantiles of features, in float64: steps between quantiles of large numbers are lost in float32."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...common.normal_quantile import MIDDLE, NEAR, TAIL
from .features import piecewise
from .writing import Writer

# What scikit-learn keeps between a probability and 0 or 1, and a value and the outermost quantiles.
_BOUND = 1e-7


def quantile_transformer(op: Writer) -> str:
    """y = the share of the fitted rows below x, between quantiles on a line; the normal quantile of that share.

    Where several quantiles are one number, the share is the mean of the first and the last of them.
    """
    transformer, op = op.estimator, op.in_doubles()
    quantiles, shares = transformer.quantiles_.T, transformer.references_
    last = interpolated(op, op.x, quantiles, shares)
    first = interpolated(op, op("Neg", op.x), -quantiles[:, ::-1], -shares[::-1])
    share = op("Mul", op("Sub", last, first), 0.5)
    lowest, highest = quantiles[:, 0], quantiles[:, -1]
    if transformer.output_distribution == "uniform":
        share = op("Where", op("Equal", op.x, highest), 1.0, share)
        return op("Where", op("Equal", op.x, lowest), 0.0, share)
    share = op("Where", op("Greater", op("Add", op.x, _BOUND), highest), 1.0, share)
    share = op("Where", op("Less", op("Sub", op.x, _BOUND), lowest), 0.0, share)
    least = _BOUND - np.spacing(1)
    return _normal_quantile(op, op("Min", op("Max", share, least), 1 - least))


def interpolated(op: Writer, x: str, points: np.ndarray, levels: np.ndarray) -> str:
    """Lines between levels at ascending points, (N, features); level beyond them, the last level where points repeat.

    Args:
        op: Where to write.
        x: Values (N, features).
        points: (features, points).
        levels: (points,) or (features, points).
    """
    levels = np.broadcast_to(levels, points.shape)
    steps = np.diff(points)
    slopes = np.divide(np.diff(levels), steps, out=np.zeros_like(steps), where=steps > 0)
    level = np.zeros((len(points), 1))
    starts = np.concatenate([level - np.inf, points], 1)
    table = np.stack([
        np.concatenate([level, slopes, level], 1),
        np.concatenate([levels[:, :1], levels], 1),
    ], 2)  # fmt: skip
    return op("Reshape", piecewise(op, x, starts, table[..., None]), np.array([-1, len(points)]))


def _normal_quantile(op: Writer, p: str) -> str:
    """The normal quantile of 1e-7 to 1 - 1e-7; each formula computes with numbers of its own range alone."""
    centred = op("Sub", p, 0.5)
    tail = op("Greater", op("Abs", centred), 0.5 - TAIL)
    z = op("Where", tail, 0.0, centred)
    square = op("Mul", z, z)
    middle = op("Add", z, op("Mul", op("Mul", z, square), _ratio(op, square, MIDDLE)))
    u = op("Where", tail, op("Sub", 0.5, op("Abs", centred)), TAIL)
    x = op("Sqrt", op("Mul", op("Log", u), -2.0))
    inverse = op("Reciprocal", x)
    away = op("Sub", x, op("Mul", op("Log", x), inverse))
    away = op("Sub", away, op("Mul", inverse, _ratio(op, inverse, NEAR)))
    return op("Where", tail, op("Mul", op("Sign", centred), away), op("Mul", middle, np.sqrt(2 * np.pi)))


def _ratio(op: Writer, x: str, parts: Sequence[Sequence[float]]) -> str:
    """One polynomial of x over another one, the highest power first."""
    both = []
    for coefficients in parts:
        y: Any = float(coefficients[0])
        for one in coefficients[1:]:
            y = op("Add", op("Mul", y, x), float(one))
        both.append(y)
    return op("Div", *both)


def conversions() -> dict[type, Callable[[Writer], str]]:
    """How each of these is written."""
    from sklearn.preprocessing import QuantileTransformer

    return {QuantileTransformer: quantile_transformer}
