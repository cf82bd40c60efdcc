"""Quantiles of the normal distribution, which the exporter does not write, in 64 bits."""

import math
from collections.abc import Sequence
from typing import Any

from ...common.normal_quantile import FAR, MIDDLE, NEAR, TAIL
from .elementwise import operators
from .wide import number, polynomial, widened


def ndtri(self: Any) -> Any:
    """The x that a normal number is below with probability y."""
    op, y = operators(), widened(self)
    return op.CastLike(_quantile(y, op.Sub(number(1), y)), self)


def erfinv(self: Any) -> Any:
    """ndtri((1 + x) / 2) / sqrt(2)."""
    op = operators()
    half = op.Mul(widened(self), number(0.5))
    found = _quantile(op.Add(number(0.5), half), op.Sub(number(0.5), half))
    return op.CastLike(op.Mul(found, number(math.sqrt(0.5))), self)


def _quantile(below: Any, above: Any) -> Any:
    """x of the probabilities below and above it, whose sum is 1; the smaller one is exact."""
    op = operators()
    left = op.Less(below, above)
    y = op.Where(left, below, above)
    middle = op.Mul(op.Sub(below, above), number(0.5))
    square = op.Mul(middle, middle)
    more = op.Mul(square, _ratio(square, MIDDLE))
    middle = op.Mul(op.Add(middle, op.Mul(middle, more)), number(math.sqrt(2 * math.pi)))
    x = op.Sqrt(op.Mul(number(-2), op.Log(y)))
    z = op.Reciprocal(x)
    less = op.Mul(z, op.Where(op.Less(z, number(1 / 8)), _ratio(z, FAR), _ratio(z, NEAR)))
    tail = op.Sub(op.Sub(x, op.Div(op.Log(x), x)), less)
    tail = op.Where(op.Equal(y, number(0)), number(math.inf), tail)
    tail = op.Where(left, op.Neg(tail), tail)
    return op.Where(op.Greater(y, number(TAIL)), middle, tail)


def _ratio(x: Any, of: tuple[Sequence[float], Sequence[float]]) -> Any:
    """One polynomial over another."""
    return operators().Div(*(polynomial(x, factors) for factors in of))
