"""Operators of PyTorch on elements, written in those of ONNX."""

import importlib
import math
from typing import Any


def operators() -> Any:
    """onnxscript's operators, with which translations write."""
    return importlib.import_module("onnxscript").opset18


def log_sigmoid(x: Any) -> Any:
    """log(1 / (1 + exp(-x))); the exporter writes Log(Sigmoid(x)), which is -inf where ONNX Runtime's Sigmoid is 0.

    That is below x = -18 already.
    """
    op = operators()
    return op.Neg(op.Softplus(op.Neg(x)))


def logaddexp(self: Any, other: Any) -> Any:
    """max(a, b) + log(1 + exp(-|a - b|)); the exporter writes Log(Exp(a) + Exp(b)), which is inf from 89 on."""
    op = operators()
    largest, distance = _largest_and_distance(self, other)
    return op.Add(largest, op.Softplus(op.Neg(distance)))


def logaddexp2(self: Any, other: Any) -> Any:
    """max(a, b) + log2(1 + 2^-|a - b|)."""
    op = operators()
    largest, distance = _largest_and_distance(self, other)
    above = op.Softplus(op.Mul(distance, op.CastLike(-math.log(2), self)))
    return op.Add(largest, op.Div(above, op.CastLike(math.log(2), self)))


def _largest_and_distance(self: Any, other: Any) -> tuple[Any, Any]:
    """max(a, b) and |a - b|, which is 0 of equal numbers, infinite ones too."""
    op = operators()
    distance = op.Where(op.Equal(self, other), op.CastLike(0.0, self), op.Abs(op.Sub(self, other)))
    return _shared(self, other, op.Max(self, other)), distance


def largest(self: Any, other: Any) -> Any:
    """max(a, b)."""
    return _shared(self, other, operators().Max(self, other))


def smallest(self: Any, other: Any) -> Any:
    """min(a, b)."""
    return _shared(self, other, operators().Min(self, other))


def _shared(self: Any, other: Any, chosen: Any) -> Any:
    """Of equal floats (a + b) / 2, which divides the gradient as PyTorch does; Max and Min give it to the first.

    What another translation computed is of no known type: floats.
    """
    if self.dtype is not None and not self.dtype.is_floating_point():
        return chosen
    op = operators()
    half = op.CastLike(0.5, self)
    return op.Where(op.Equal(self, other), op.Add(op.Mul(self, half), op.Mul(other, half)), chosen)


def hard_tanh(self: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """min(max(x, low), high), without a gradient at the bounds.

    The exporter's Clip has one there, but for a lower bound of 0: that is ReLU6 and stays.
    """
    op = operators()
    if not min_val:
        return op.Clip(self, op.CastLike(min_val, self), op.CastLike(max_val, self))
    low, high = op.CastLike(min_val, self), op.CastLike(max_val, self)
    return op.Where(op.LessOrEqual(self, low), low, op.Where(op.GreaterOrEqual(self, high), high, self))


def hypotenuse(self: Any, other: Any) -> Any:
    """sqrt(a^2 + b^2)."""
    op = operators()
    return op.Sqrt(op.Add(op.Mul(self, self), op.Mul(other, other)))


def with_sign(self: Any, other: Any) -> Any:
    """|a| with the sign of b, which -0.0 has too."""
    op = operators()
    other, zero = op.CastLike(other, self), op.CastLike(0.0, self)
    under = op.Less(op.Div(op.CastLike(1.0, self), other), zero)
    negative = op.Or(op.Less(other, zero), op.And(op.Equal(other, zero), under))
    return op.Where(negative, op.Neg(op.Abs(self)), op.Abs(self))


def largest_number(self: Any, other: Any) -> Any:
    """The larger one, or the one that is a number; the first of equal ones has the gradient."""
    op = operators()
    return op.Where(op.Or(op.GreaterOrEqual(self, other), op.IsNaN(other)), self, other)


def smallest_number(self: Any, other: Any) -> Any:
    """The smaller one, or the one that is a number; the first of equal ones has the gradient."""
    op = operators()
    return op.Where(op.Or(op.LessOrEqual(self, other), op.IsNaN(other)), self, other)
