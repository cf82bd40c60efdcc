"""Rules of reductions and cumulative sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, NodeView, vjp
from onnxattr.autodiff.rules.elementwise import product_of_others
from onnxattr.autodiff.rules.pool import first_of_ties, split_ties
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import Range
from onnxattr.graph.ties import FIRST, SHARED, ties_of
from onnxattr.graph.values import dims_of, ints_of


def reduction(
    *op_types: str, singular: str = "", compares: bool = False
) -> Callable[[Callable[..., ir.Value]], Callable[..., ir.Value]]:
    """Registers ``f(op, x, y, ct, axes) -> xbar``; y and ct come with the reduced axes kept as 1."""

    def register(function: Callable[..., ir.Value]) -> Callable[..., ir.Value]:
        def rule(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
            return op.expand_like(function(op, node.x, *_with_axes(op, node, ct)), node.x), None

        rule.__name__, rule.__doc__ = function.__name__, function.__doc__
        vjp(*op_types, singular=singular, compares=compares)(rule)
        return function

    return register


def _with_axes(op: OpBuilder, node: NodeView, ct: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """y and ct with the reduced axes kept as 1, and these axes."""
    y, axes = node.y, node.inputs[1]
    if axes is not None and dims_of(axes) == [0]:
        axes = None
    if axes is None and node.get_int("noop_with_empty_axes"):
        return y, ct, op.constant([], ir.DataType.INT64)
    if axes is None:
        axes = op.constant([*range(node.rank(node.x))], ir.DataType.INT64)
    if node.get_int("keepdims"):
        return y, ct, axes
    return op.Unsqueeze(y, axes), op.Unsqueeze(ct, axes), axes


@reduction("ReduceSum")
def reduce_sum(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value, axes: ir.Value) -> ir.Value:
    """y = sum(x);  xbar = ybar."""
    return ct


@reduction("ReduceMean")
def reduce_mean(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value, axes: ir.Value) -> ir.Value:
    """y = sum(x) / n;  xbar = ybar / n."""
    known = ints_of(axes)
    if dims_of(x) is not None and known is not None:
        count = op.elements(x, axes=known)
    else:
        count = op.Div(op.Size(x), op.Max(op.Size(y), 1))
    return op.Div(ct, op.cast_like(count, x))


@vjp("ReduceMax", "ReduceMin", compares=True)
def reduce_extremum(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = max(x);  ybar is split evenly over the elements that equal y.

    Where it stands for PyTorch's ``max(dim)``, which also gives a place, the first of them has it.
    """
    x, (y, ct, axes) = node.x, _with_axes(op, node, ct)
    known = ints_of(axes) or []
    if ties_of(node.node, SHARED) == FIRST and len(known) == 1:
        axis, rank = known[0] % node.rank(x), node.rank(x)
        return first_of_ties(op, x, y, ct, range(axis, axis + 1), rank), None
    return op.expand_like(split_ties(op, x, y, ct, axes), x), None


@reduction("ReduceProd")
def reduce_prod(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value, axes: ir.Value) -> ir.Value:
    """y = product of x;  xbar = ybar times the product of the other elements, also where elements are 0."""

    def fold(value: ir.Value, add: bool) -> ir.Value:
        return (op.ReduceSum if add else op.ReduceProd)(value, axes, keepdims=1, noop_with_empty_axes=1)

    return op.Mul(ct, product_of_others(op, x, fold))


@reduction("ReduceL1")
def reduce_l1(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value, axes: ir.Value) -> ir.Value:
    """y = sum(|x|);  xbar = ybar * sign(x)."""
    return op.Mul(ct, op.Sign(x))


@reduction("ReduceL2", singular="x = 0")
def reduce_l2(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value, axes: ir.Value) -> ir.Value:
    """y = sqrt(sum(x^2));  xbar = ybar * x / y, 0 where y is 0."""
    zero = op.Equal(y, 0.0)
    return op.Where(zero, 0.0, op.Mul(ct, op.Div(x, op.Where(zero, 1.0, y))))


@reduction("ReduceSumSquare")
def reduce_sum_square(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value, axes: ir.Value) -> ir.Value:
    """y = sum(x^2);  xbar = 2 ybar x."""
    return op.Mul(op.Mul(ct, x), 2.0)


@reduction("ReduceLogSum", singular="sum(x) <= 0")
def reduce_log_sum(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value, axes: ir.Value) -> ir.Value:
    """y = log(sum(x));  xbar = ybar / exp(y)."""
    return op.Div(ct, op.Exp(y))


@reduction("ReduceLogSumExp", singular="rows of minus infinity")
def reduce_log_sum_exp(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value, axes: ir.Value) -> ir.Value:
    """y = log(sum(exp(x)));  xbar = ybar * exp(x - y), 0 where y is minus infinity."""
    share = op.note_range(op.Sub(x, y), Range(high=0.0, below=True, nan=not op.range_of(x).finite))
    if not op.range_of(x).finite:
        share = op.Where(op.Equal(y, -math.inf), -math.inf, share)
    return op.Mul(ct, op.Exp(share))


@vjp("CumSum")
def cum_sum(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = running sum along an axis;  xbar = running sum of ybar from the other end."""
    reverse, exclusive = node.get_int("reverse"), node.get_int("exclusive")
    return op.CumSum(ct, node.inputs[1], reverse=1 - reverse, exclusive=exclusive), None


@vjp("CumProd")
def cum_prod(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = running product along an axis;  xbar = (running sum of ybar y from the other end) / x.

    Where x is 0 for the first time, the products are those of the other elements; behind it, xbar is 0.
    """
    x, axis = node.required(2)
    y, forwards = node.y, 1 - node.get_int("reverse")
    exclusive = node.get_int("exclusive")

    def back(products: ir.Value) -> ir.Value:
        return op.CumSum(op.Mul(ct, products), axis, reverse=forwards, exclusive=exclusive)

    zero = op.Equal(x, 0.0)
    before = op.CumSum(op.cast_like(zero, x), axis, reverse=1 - forwards, exclusive=1)
    first = op.And(zero, op.Equal(before, 0.0))
    others = op.CumProd(op.Where(first, 1.0, x), axis, reverse=1 - forwards, exclusive=exclusive)
    return op.Where(first, back(others), op.Div(back(y), op.Where(zero, 1.0, x))), None
