"""Rules of activations that a model ends in, whose derivatives keep their relative accuracy where they saturate.

ONNX Runtime computes Sigmoid and Tanh to about 1e-7 of 1 and not of their value, and 1 - y loses the digits of a y that
is close to 1. Between layers such an error is one of many. At the end of a model it scales the whole map: at a logit of
-12 the standard rule is off by 0.6 %, at 16 by half.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, NodeView, Rule
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

#: A result y, None for that of the runtime, and y + k by k.
Written = tuple[ir.Value | None, Mapping[int, ir.Value]]


def _decayed(op: OpBuilder, x: ir.Value, rate: float) -> tuple[ir.Value, ir.Value]:
    """e = exp(-rate |x|), which is at most 1, and 1 + e."""
    e = op.Exp(op.Mul(op.Abs(x), -rate))
    return e, op.Add(e, 1.0)


def _logistic(op: OpBuilder, x: ir.Value, rate: float) -> tuple[ir.Value, ir.Value]:
    """The sigmoids of rate x and -rate x."""
    e, more = _decayed(op, x, rate)
    below = op.Less(x, 0.0)
    return op.Div(op.Where(below, e, 1.0), more), op.Div(op.Where(below, 1.0, e), more)


def _slope(op: OpBuilder, x: ir.Value) -> ir.Value:
    """e / (1 + e)^2 with e = exp(-|x|), the derivative of the sigmoid."""
    e, more = _decayed(op, x, 1.0)
    return op.Div(e, op.Mul(more, more))


def _alone(op: OpBuilder, y: ir.Value, axis: int) -> ir.Value:
    """Where y is larger than all others along an axis."""
    top = op.Equal(y, op.ReduceMax(y, [axis], keepdims=1))
    return op.And(top, op.Equal(op.ReduceSum(op.cast(top, y.dtype), [axis], keepdims=1), 1.0))


def _sum_without(op: OpBuilder, top: ir.Value, values: ir.Value, axis: int) -> ir.Value:
    """The sum of values along an axis without that at the top."""
    return op.ReduceSum(op.Where(top, 0.0, values), [axis], keepdims=1)


def sigmoid(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = 1 / (1 + exp(-x));  xbar = ybar * e / (1 + e)^2 with e = exp(-|x|)."""
    return (op.Mul(ct, _slope(op, node.x)),)


def _divided_sigmoid(large: bool, op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """The same, but ybar * y (1 - y) where y is small, or where it is large: an error of y cancels out there.

    That is so where ybar is divided by y, or by 1 - y for a large y.
    """
    exact, standard = _slope(op, node.x), op.Mul(node.y, op.Sub(1.0, node.y))
    small, other = (exact, standard) if large else (standard, exact)
    return (op.Mul(ct, op.Where(op.Less(node.x, 0.0), small, other)),)


def tanh(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = tanh(x);  xbar = ybar * 4 e / (1 + e)^2 with e = exp(-2 |x|)."""
    e, more = _decayed(op, node.x, 2.0)
    return (op.Mul(ct, op.Div(op.Mul(e, 4.0), op.Mul(more, more))),)


def softplus(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = log(1 + exp(x));  xbar = ybar * (e where x < 0, else 1) / (1 + e) with e = exp(-|x|)."""
    slope, _ = _logistic(op, node.x, 1.0)
    return (op.Mul(ct, slope),)


def less_average(op: OpBuilder, y: ir.Value, ct: ir.Value, axis: int) -> ir.Value:
    """ct - sum(ct * y) of y that add up to 1 along an axis, as d - sum(d * y) with d = ct - ct where y is largest.

    Any number may be taken off ct. That one leaves the largest y, from which the others cannot be told by subtraction,
    out of the sum.
    """
    dims = dims_of(y)
    if dims is not None:
        axis %= len(dims)  # Onnx's own evaluator refuses a GatherElements with a negative axis.
    largest = op.ArgMax(y, axis=axis, keepdims=1)
    d = op.Sub(ct, op.GatherElements(ct, largest, axis=axis))
    return op.Sub(d, op.ReduceSum(op.Mul(d, y), [axis], keepdims=1))


def softmax_ct(op: OpBuilder, y: ir.Value, ct: ir.Value, axis: int) -> ir.Value:
    """xbar = y * (d - sum(d * y)) with d = ybar - ybar where y is largest."""
    return op.Mul(y, less_average(op, y, ct, axis))


def softmax(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = exp(x) / sum(exp(x));  xbar = y * (d - sum(d * y)) with d = ybar - ybar where y is largest."""
    return (softmax_ct(op, node.y, ct, node.get_int("axis")),)


def log_softmax(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x - log(sum(exp(x)));  xbar = ybar - p * s with p = exp(y), s = sum(ybar).

    Where p is largest that is s * (the sum of the other p) - (the sum of the other ybar).
    """
    y, axis = node.y, node.get_int("axis")
    p, s = op.Exp(y), op.ReduceSum(ct, [axis], keepdims=1)
    top = _alone(op, y, axis)
    others, rest = _sum_without(op, top, p, axis), _sum_without(op, top, ct, axis)
    return (op.Where(top, op.Sub(op.Mul(s, others), rest), op.Sub(ct, op.Mul(p, s))),)


#: By operator, in place of the standard rule for the last operator of a model.
SATURATED: Mapping[str, Rule] = {
    "LogSoftmax": log_softmax,
    "Sigmoid": sigmoid,
    "Softmax": softmax,
    "Softplus": softplus,
    "Tanh": tanh,
}
#: The same where the cotangents are divided by the runtime's values.
DIVIDED: Mapping[str, Rule] = {
    "Sigmoid": functools.partial(_divided_sigmoid, False),
    "Softmax": softmax,
    "Softplus": softplus,
}
#: The same where they are divided by 1 minus such a value, or by another sum with it.
DIVIDED_BY_REST: Mapping[str, Rule] = {
    "Sigmoid": functools.partial(_divided_sigmoid, True),
    "Softplus": softplus,
}


def _written_sigmoid(op: OpBuilder, node: NodeView) -> Written:
    """s and s - 1."""
    s, rest = _logistic(op, node.x, 1.0)
    return s, {-1: op.Neg(rest)}


def _written_tanh(op: OpBuilder, node: NodeView) -> Written:
    """t - 1 = -2 / (1 + exp(2 x)) and t + 1 = 2 / (1 + exp(-2 x)); the runtime's t has all digits."""
    s, rest = _logistic(op, node.x, 2.0)
    return None, {-1: op.Mul(rest, -2.0), 1: op.Mul(s, 2.0)}


def _written_softmax(op: OpBuilder, node: NodeView) -> Written:
    """y - 1, for the largest y by the sum of the others; the runtime's y has all digits."""
    y, axis = node.y, node.get_int("axis")
    top = _alone(op, y, axis)
    return None, {-1: op.Where(top, op.Neg(_sum_without(op, top, y, axis)), op.Sub(y, 1.0))}


#: By operator, what writes its result y with all digits, None where the runtime's has them, and y + k by k.
WRITTEN: Mapping[str, Callable[[OpBuilder, NodeView], Written]] = {
    "Sigmoid": _written_sigmoid,
    "Softmax": _written_softmax,
    "Tanh": _written_tanh,
}
