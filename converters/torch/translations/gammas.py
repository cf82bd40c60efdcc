"""The logarithm of the gamma function and its derivative, which the exporter does not write, in 64 bits."""

import math
from collections.abc import Sequence
from typing import Any

from ...common.gamma_series import DERIVATIVE, LOGARITHM, MOVED
from .elementwise import operators
from .wide import number, widened


def lgamma(self: Any) -> Any:
    """log |gamma(x)|; below a half log(pi / |sin(pi x)|) - lgamma(1 - x)."""
    op = operators()
    x, below, start, angle = _reflected(self)
    product, z = start, op.Add(start, number(MOVED))
    for step in range(1, MOVED):
        product = op.Mul(product, op.Add(start, number(step)))
    main = op.Sub(op.Mul(op.Sub(z, number(0.5)), op.Log(z)), z)
    main = op.Add(op.Add(main, number(math.log(2 * math.pi) / 2)), op.Div(_series(LOGARITHM, z), z))
    value = op.Sub(main, op.Log(product))
    reflected = op.Sub(op.Sub(number(math.log(math.pi)), op.Log(op.Abs(op.Sin(angle)))), value)
    found = op.Where(below, reflected, value)
    infinite = number(math.inf)
    return op.CastLike(op.Where(op.Equal(op.Abs(x), infinite), infinite, found), self)


def digamma(self: Any) -> Any:
    """The derivative of lgamma; below a half digamma(1 - x) - pi / tan(pi x)."""
    op = operators()
    _, below, start, angle = _reflected(self)
    z = op.Add(start, number(MOVED))
    value = op.Sub(op.Log(z), op.Div(number(0.5), z))
    value = op.Sub(value, op.Div(_series(DERIVATIVE, z), op.Mul(z, z)))
    for step in range(MOVED):
        value = op.Sub(value, op.Reciprocal(op.Add(start, number(step))))
    cotangent = op.Div(op.Cos(angle), op.Sin(angle))
    reflected = op.Sub(value, op.Mul(number(math.pi), cotangent))
    return op.CastLike(op.Where(below, reflected, value), self)


def _reflected(self: Any) -> tuple[Any, Any, Any, Any]:
    """x in 64 bits, where it is below a half, 1 - x there and x elsewhere, and pi (x - round(x))."""
    op, x = operators(), widened(self)
    below = op.Less(x, number(0.5))
    angle = op.Mul(op.Sub(x, op.Round(x)), number(math.pi))
    return x, below, op.Where(below, op.Sub(number(1), x), x), angle


def _series(factors: Sequence[float], over: Any) -> Any:
    """The sum of factors[k] / over^(2 k)."""
    op = operators()
    square = op.Reciprocal(op.Mul(over, over))
    total = number(factors[-1])
    for factor in factors[-2::-1]:
        total = op.Add(op.Mul(total, square), number(factor))
    return total
