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
    """max(a, b) and |a - b|.

    Of equal numbers they are (a + b) / 2, which divides the gradient as PyTorch does, and 0, for infinite ones too.
    """
    op = operators()
    equal, half = op.Equal(self, other), op.CastLike(0.5, self)
    mean = op.Add(op.Mul(self, half), op.Mul(other, half))
    largest = op.Where(equal, mean, op.Max(self, other))
    return largest, op.Where(equal, op.CastLike(0.0, self), op.Abs(op.Sub(self, other)))


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
