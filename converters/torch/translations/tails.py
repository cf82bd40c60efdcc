"""The complementary error function of PyTorch and what is made of it, in 64 bits where it is small.

The exporter writes 1 - erf(x), which has no digits of the tail of the normal distribution.
"""

import math
from typing import Any

from ...common.normal_tail import FACTORS, START
from .elementwise import operators
from .wide import number, polynomial, widened


def erfc(self: Any) -> Any:
    """1 - erf(x)."""
    return operators().CastLike(_wide(self), self)


def erfcx(self: Any) -> Any:
    """exp(x^2) erfc(x)."""
    op = operators()
    x = widened(self)
    near = op.Mul(op.Exp(op.Mul(x, x)), _wide(self))
    return op.CastLike(op.Where(op.Less(x, number(START)), near, _scaled_tail(x)), self)


def log_ndtr(self: Any) -> Any:
    """log(erfc(-x / sqrt(2)) / 2): the logarithm of the normal distribution."""
    op = operators()
    z = op.Mul(self, op.CastLike(-math.sqrt(0.5), self))
    wide = widened(z)
    near = op.Log(op.Mul(_wide(z), number(0.5)))
    far = op.Sub(op.Log(op.Mul(_scaled_tail(wide), number(0.5))), op.Mul(wide, wide))
    return op.CastLike(op.Where(op.Less(wide, number(START)), near, far), self)


def _wide(self: Any) -> Any:
    """erfc(x) in 64 bits."""
    op = operators()
    x = widened(self)
    size = op.Abs(x)
    near = op.Sub(number(1), widened(op.Erf(self)))
    tail = op.Mul(op.Exp(op.Neg(op.Mul(x, x))), _scaled_tail(size))
    tail = op.Where(op.Less(x, number(0)), op.Sub(number(2), tail), tail)
    return op.Where(op.Less(size, number(START)), near, tail)


def _scaled_tail(x: Any) -> Any:
    """exp(x^2) erfc(x) from x = 1/2 on; below, its value there."""
    op = operators()
    t = op.Div(number(2), op.Add(op.Max(x, number(START)), number(2)))
    return op.Mul(t, polynomial(t, FACTORS))
