"""Rules of activations that a model ends in, whose derivatives keep their relative accuracy where they saturate.

ONNX Runtime computes Sigmoid and Tanh to about 1e-7 of 1 and not of their value, and 1 - y loses the digits of a y that
is close to 1. Between layers such an error is one of many. At the end of a model it scales the whole map: at a logit of
-12 the standard rule is off by 0.6 %, at 16 by half.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum

import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, NodeView, Rule
from onnxattr.graph.builder import OpBuilder


class Divisor(Enum):
    """What of an activation's result s the cotangent is divided by."""

    NONE = 0
    ITSELF = 1  # s, as in log(s)
    REST = 2  # c - s, as in log(1 - s)

    def turned(self) -> Divisor:
        """That of s where this is of c - s."""
        return {Divisor.ITSELF: Divisor.REST, Divisor.REST: Divisor.ITSELF}.get(self, self)


def _decayed(op: OpBuilder, x: ir.Value, rate: float) -> tuple[ir.Value, ir.Value]:
    """e = exp(-rate |x|), which is at most 1, and 1 + e."""
    e = op.Exp(op.Mul(op.Abs(x), -rate))
    return e, op.Add(e, 1.0)


def _exact(op: OpBuilder, x: ir.Value) -> ir.Value:
    """e / (1 + e)^2 with e = exp(-|x|), the derivative of the sigmoid."""
    e, more = _decayed(op, x, 1.0)
    return op.Div(e, op.Mul(more, more))


def _standard(op: OpBuilder, y: ir.Value) -> ir.Value:
    """y (1 - y), the same with the runtime's errors of y and 1 - y."""
    return op.Mul(y, op.Sub(1.0, y))


def sigmoid(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = 1 / (1 + exp(-x));  xbar = ybar * e / (1 + e)^2 with e = exp(-|x|)."""
    return (op.Mul(ct, _exact(op, node.x)),)


def _sigmoid_of_small(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """The same, but ybar * y (1 - y) where y is small: an error of y cancels out, as ybar is divided by y."""
    small = op.Less(node.x, 0.0)
    return (op.Mul(ct, op.Where(small, _standard(op, node.y), _exact(op, node.x))),)


def _sigmoid_of_large(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """The same, but ybar * y (1 - y) where 1 - y is small: its error cancels out, as ybar is divided by it."""
    small = op.Less(node.x, 0.0)
    return (op.Mul(ct, op.Where(small, _exact(op, node.x), _standard(op, node.y))),)


def tanh(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = tanh(x);  xbar = ybar * 4 e / (1 + e)^2 with e = exp(-2 |x|)."""
    e, more = _decayed(op, node.x, 2.0)
    return (op.Mul(ct, op.Div(op.Mul(e, 4.0), op.Mul(more, more))),)


def softplus(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = log(1 + exp(x));  xbar = ybar * (e where x < 0, else 1) / (1 + e) with e = exp(-|x|)."""
    e, more = _decayed(op, node.x, 1.0)
    return (op.Mul(ct, op.Div(op.Where(op.Less(node.x, 0.0), e, 1.0), more)),)


def softmax(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = exp(x) / sum(exp(x));  xbar = y * (d - sum(d * y)) with d = ybar - ybar where y is largest.

    As all y add up to 1, any number may be taken off ybar. That one leaves the largest y, from which the others cannot
    be told by subtraction, out of the sum.
    """
    y, axis = node.y, node.get_int("axis")
    largest = op.ArgMax(y, axis=axis, keepdims=1)
    d = op.Sub(ct, op.GatherElements(ct, largest, axis=axis))
    return (op.Mul(y, op.Sub(d, op.ReduceSum(op.Mul(d, y), [axis], keepdims=1))),)


def log_softmax(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x - log(sum(exp(x)));  xbar = ybar - p * s with p = exp(y), s = sum(ybar).

    The largest p is 1 - the sum of the others.
    """
    y, axis = node.y, node.get_int("axis")
    p, s = op.Exp(y), op.ReduceSum(ct, [axis], keepdims=1)
    top = op.Equal(y, op.ReduceMax(y, [axis], keepdims=1))
    others = op.ReduceSum(op.Where(top, 0.0, p), [axis], keepdims=1)
    alone = op.Equal(op.ReduceSum(op.cast(top, ct.dtype), [axis], keepdims=1), 1.0)
    at_top = op.Add(op.Sub(ct, s), op.Mul(s, others))
    return (op.Where(op.And(top, alone), at_top, op.Sub(ct, op.Mul(p, s))),)


#: By operator, in place of the standard rule for the last operator of a model.
SATURATED: Mapping[str, Rule] = {
    "LogSoftmax": log_softmax,
    "Sigmoid": sigmoid,
    "Softmax": softmax,
    "Softplus": softplus,
    "Tanh": tanh,
}
#: Of operators whose cotangents are divided; ONNX Runtime computes small results of a softmax to all digits, and the
#: errors of softplus have nothing in common with those of its standard rule.
_DIVIDED: Mapping[tuple[str, Divisor], Rule] = {
    ("Sigmoid", Divisor.ITSELF): _sigmoid_of_small,
    ("Sigmoid", Divisor.REST): _sigmoid_of_large,
    ("Softmax", Divisor.ITSELF): softmax,
    ("Softplus", Divisor.ITSELF): softplus,
    ("Softplus", Divisor.REST): softplus,
}


def rule_at_the_end(name: str, divisors: Collection[Divisor], standard: Rule | None) -> Rule | None:
    """The rule of an operator that a model ends in; the standard one where no other is better.

    Args:
        name: The operator.
        divisors: What its cotangents are divided by.
        standard: The standard rule.
    """
    divided = set(divisors) - {Divisor.NONE}
    if not divided:
        return SATURATED.get(name, standard)
    rules = {_DIVIDED.get((name, divisor), standard) for divisor in divided}
    return rules.pop() if len(rules) == 1 else standard
