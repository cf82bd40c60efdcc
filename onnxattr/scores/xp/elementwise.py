"""Functions that compute each element from those at its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import OperatorError
from onnxattr.graph.intervals import FLOATS
from onnxattr.scores.arrays import Array
from onnxattr.scores.operands import Binary, binary, common, negated, unary

add, subtract, multiply = binary("Add"), binary("Sub"), binary("Mul")
divide, pow = binary("Div", real=True), binary("Pow", real=True)
maximum, minimum = binary("Max"), binary("Min")
equal, less, greater = binary("Equal"), binary("Less"), binary("Greater")
less_equal, greater_equal = binary("LessOrEqual"), binary("GreaterOrEqual")
not_equal = negated(equal)
exp, log, sqrt, tanh, sigmoid, erf = (unary(n) for n in ("Exp", "Log", "Sqrt", "Tanh", "Sigmoid", "Erf"))
sin, cos, tan, sinh, cosh = (unary(n) for n in ("Sin", "Cos", "Tan", "Sinh", "Cosh"))
asin, acos, atan, asinh, acosh, atanh = (
    unary(n) for n in ("Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh")
)
floor, ceil, round = unary("Floor"), unary("Ceil"), unary("Round")
negative, abs, sign = (unary(n, real=False) for n in ("Neg", "Abs", "Sign"))
isnan, isinf = unary("IsNaN"), unary("IsInf")


def positive(a: Any) -> Array:
    """The operand itself."""
    return common(a)[0]


def square(a: Any) -> Array:
    """a * a."""
    return multiply(a, a)


def reciprocal(a: Any) -> Array:
    """1 / a."""
    return divide(1.0, a)


def trunc(a: Any) -> Array:
    """Rounded towards zero."""
    return multiply(sign(a), floor(abs(a)))


def log1p(a: Any) -> Array:
    """log(1 + a), as exact as 1 + a is."""
    return log(add(a, 1))


def expm1(a: Any) -> Array:
    """exp(a) - 1, as exact as exp(a) is."""
    return subtract(exp(a), 1)


def log2(a: Any) -> Array:
    """The logarithm to base 2."""
    return multiply(log(a), 1 / math.log(2))


def log10(a: Any) -> Array:
    """The logarithm to base 10."""
    return multiply(log(a), 1 / math.log(10))


def logaddexp(a: Any, b: Any) -> Array:
    """log(exp(a) + exp(b)), without overflow."""
    # Of two equal infinities the difference is NaN.
    apart = where(equal(a, b), 0.0, subtract(a, b))
    return add(maximum(a, b), log1p(exp(negative(abs(apart)))))


def hypot(a: Any, b: Any) -> Array:
    """sqrt(a^2 + b^2)."""
    return sqrt(add(square(a), square(b)))


def floor_divide(a: Any, b: Any) -> Array:
    """The quotient rounded down."""
    left, right = common(a, b)
    if left.kind in FLOATS:
        return floor(divide(left, right))
    return left.new(left.op.Div(subtract(left, remainder(left, right)).value, right.value))


def remainder(a: Any, b: Any) -> Array:
    """What the quotient rounded down leaves, with the sign of the divisor."""
    left, right = common(a, b)
    if left.kind in FLOATS:
        return subtract(left, multiply(floor(divide(left, right)), right))
    return left.new(left.op.Mod(left.value, right.value))


def clip(a: Any, min: Any = None, max: Any = None) -> Array:
    """a, no less than ``min`` and no more than ``max``."""
    (array,) = common(a)
    plain = [limit is None or np.ndim(limit) == 0 for limit in (min, max) if not isinstance(limit, Array)]
    if len(plain) == 2 and all(plain) and array.kind in FLOATS:
        low, high = (None if v is None else array.constant(v, array.kind).value for v in (min, max))
        return array.new(array.op.Clip(array.value, low, high))
    array = array if min is None else maximum(array, min)
    return array if max is None else minimum(array, max)


def isfinite(a: Any) -> Array:
    """Whether elements are neither NaN nor infinite."""
    return logical_not(logical_or(isnan(a), isinf(a)))


def truth(a: Any) -> Array:
    """Whether elements are not 0."""
    return common(a)[0].astype(ir.DataType.BOOL)


def logical_not(a: Any) -> Array:
    """Whether elements are 0 or False."""
    array = truth(a)
    return array.new(array.op.Not(array.value))


def _logical(op_type: str) -> Binary:
    def function(a: Any, b: Any) -> Array:
        left, right = (v.astype(ir.DataType.BOOL) for v in common(a, b))
        return left.new(left.op.node(op_type, [left.value, right.value]))

    return function


logical_and, logical_or, logical_xor = _logical("And"), _logical("Or"), _logical("Xor")


def of_truths(symbol: str, function: Callable[..., Array]) -> Callable[..., Array]:
    """What &, |, ^ or ~ computes of truth values; NumPy's combine the bits of whole numbers, and take no floats."""

    def operator(*operands: Any) -> Array:
        other = next((v for v in common(*operands) if v.kind != ir.DataType.BOOL), None)
        if other is not None:
            raise OperatorError(
                f"The operator computes {symbol} of {other!r}; expected truth values: compare first, as in a != 0, or "
                "call logical_and, logical_or, logical_xor or logical_not."
            )
        return function(*operands)

    operator.__doc__ = function.__doc__
    return operator


def where(condition: Any, a: Any, b: Any) -> Array:
    """a where the condition holds, b elsewhere."""
    if not isinstance(condition, Array):
        traced = next((v for v in (a, b) if isinstance(v, Array)), None)
        if traced is None:
            raise OperatorError("The operator calls where() on no traced array.")
        condition = traced.constant(np.asarray(condition, np.bool_))
    if not isinstance(a, Array) and not isinstance(b, Array):
        floats = any(np.asarray(v).dtype.kind == "f" for v in (a, b))
        a = condition.constant(a, condition.real if floats else None)
    left, right = common(a, b)
    if left.kind == ir.DataType.BOOL:  # ONNX Runtime chooses among numbers alone
        return where(condition, left.astype(ir.DataType.INT64), right.astype(ir.DataType.INT64)).astype(
            left.kind
        )
    return left.new(left.op.Where(condition.astype(ir.DataType.BOOL).value, left.value, right.value))
