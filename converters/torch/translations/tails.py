"""The complementary error function of PyTorch and what is made of it, in 64 bits where it is small.

The exporter writes 1 - erf(x), which has no digits of the tail of the normal distribution.
"""

import math
from typing import Any

import onnx

from ...common.normal_tail import FACTORS, START
from .elementwise import operators

_DOUBLE = onnx.TensorProto.DOUBLE


def erfc(self: Any) -> Any:
    """1 - erf(x)."""
    return operators().CastLike(_wide(self), self)


def erfcx(self: Any) -> Any:
    """exp(x^2) erfc(x)."""
    op = operators()
    x = op.Cast(self, to=_DOUBLE)
    near = op.Mul(op.Exp(op.Mul(x, x)), _wide(self))
    return op.CastLike(op.Where(op.Less(x, _number(START)), near, _scaled_tail(x)), self)


def log_ndtr(self: Any) -> Any:
    """log(erfc(-x / sqrt(2)) / 2): the logarithm of the normal distribution."""
    op = operators()
    z = op.Mul(self, op.CastLike(-math.sqrt(0.5), self))
    wide = op.Cast(z, to=_DOUBLE)
    near = op.Log(op.Mul(_wide(z), _number(0.5)))
    far = op.Sub(op.Log(op.Mul(_scaled_tail(wide), _number(0.5))), op.Mul(wide, wide))
    return op.CastLike(op.Where(op.Less(wide, _number(START)), near, far), self)


def _wide(self: Any) -> Any:
    """erfc(x) in 64 bits."""
    op = operators()
    x = op.Cast(self, to=_DOUBLE)
    size = op.Abs(x)
    near = op.Sub(_number(1), op.Cast(op.Erf(self), to=_DOUBLE))
    tail = op.Mul(op.Exp(op.Neg(op.Mul(x, x))), _scaled_tail(size))
    tail = op.Where(op.Less(x, _number(0)), op.Sub(_number(2), tail), tail)
    return op.Where(op.Less(size, _number(START)), near, tail)


def _scaled_tail(x: Any) -> Any:
    """exp(x^2) erfc(x) from x = 1/2 on; below, its value there."""
    op = operators()
    t = op.Div(_number(2), op.Add(op.Max(x, _number(START)), _number(2)))
    total = _number(FACTORS[0])
    for factor in FACTORS[1:]:
        total = op.Add(op.Mul(total, t), _number(factor))
    return op.Mul(t, total)


def _number(value: float) -> Any:
    """A constant of 64 bits."""
    return operators().Constant(value=onnx.helper.make_tensor("", onnx.TensorProto.DOUBLE, [], [value]))
