"""Softmax as it is written by hand, as a quotient of exponentials or by logarithms, and shares of a sum."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.groups.matching import made_by, makers, quotients
from onnxattr.autodiff.groups.quotients import quotient_of
from onnxattr.autodiff.groups.registry import Group, group
from onnxattr.autodiff.node import Span
from onnxattr.autodiff.registry import Cotangent
from onnxattr.autodiff.rules.saturated import less_average, softmax_ct
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of, ints_of


@group("Div", "Mul")
def softmax(node: ir.Node) -> Group | None:
    """y = exp(x) / s, or exp(x) * (1 / s), with s = sum(exp(x)) along one axis."""
    for powers, divisor, between in quotients(node):
        exponential, total = made_by(powers, "Exp"), made_by(divisor, "ReduceSum")
        axis = _summed_axis(total, powers)
        if exponential is not None and total is not None and axis is not None:
            return Group(
                op_type="Softmax",
                inputs=(exponential.inputs[0],),
                outputs=(node.outputs[0],),
                name=node.name or "",
                nodes=frozenset({node, exponential, total, *makers(between)}),
                rule=functools.partial(_rule, axis),
            )
    return None


@group("Div", "Mul")
def share(node: ir.Node) -> Group | None:
    """y = x / s, or x * (1 / s), with s = sum(x) along one axis."""
    for x, total, seen in quotients(node):
        axis = _summed_axis(made_by(total, "ReduceSum"), x)
        if axis is not None:
            return quotient_of(node, [x], {*seen, total}, functools.partial(_share_rule, axis, total))
    return None


def _summed_axis(total: ir.Node | None, x: ir.Value) -> int | None:
    """The axis that a sum of x is along, if it keeps it and there is one."""
    kept = total is not None and total.attributes.get_int("keepdims", 1) == 1
    return _axis_of(total, x) if kept else None


def _axis_of(total: ir.Node | None, x: ir.Value | None) -> int | None:
    """The only axis that a sum of x is along."""
    if total is None or x is None or total.inputs[0] is not x or len(total.inputs) < 2:
        return None
    axes = ints_of(total.inputs[1])
    return axes[0] if axes is not None and len(axes) == 1 else None


@group("Exp")
def softmax_of_logarithms(node: ir.Node) -> Group | None:
    """y = exp(x - s), with s = log(sum(exp(x))) along one axis."""
    difference = made_by(node.inputs[0], "Sub")
    if difference is None:
        return None
    x, total = difference.inputs
    shaped = made_by(total, "Reshape", "Unsqueeze")
    logarithm = made_by(shaped.inputs[0] if shaped is not None else total, "ReduceLogSumExp")
    axis = _axis_of(logarithm, x)
    if x is None or logarithm is None or axis is None or not _lies_along(axis, x, logarithm, shaped):
        return None
    return Group(
        op_type="Softmax",
        inputs=(x,),
        outputs=(node.outputs[0],),
        name=node.name or "",
        nodes=frozenset({node, difference, logarithm, *([] if shaped is None else [shaped])}),
        rule=functools.partial(_rule, axis),
    )


def _lies_along(axis: int, x: ir.Value, logarithm: ir.Node, shaped: ir.Node | None) -> bool:
    """Whether a sum along an axis of x is subtracted along the same one."""
    if logarithm.attributes.get_int("keepdims", 1) == 1:
        return shaped is None
    if shaped is None:
        return False
    places, dims = ints_of(shaped.inputs[1]), dims_of(x)
    if dims is None:
        return False
    if shaped.op_type == "Unsqueeze":
        return places is not None and [place % len(dims) for place in places] == [axis % len(dims)]
    return len(dims) == 2 and axis % 2 == 1 and places is not None and list(places) == [-1, 1]


def _rule(axis: int, op: OpBuilder, node: Span, ct: ir.Value) -> Sequence[Cotangent]:
    """That of a model's last softmax: the rules of the nodes subtract what is nearly equal where y is close to 1."""
    return (softmax_ct(op, node.y, ct, axis),)


def _share_rule(axis: int, total: ir.Value, op: OpBuilder, node: Span, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x / s with s = sum(x);  xbar = (d - sum(d y)) / s with d = ybar - ybar where y is largest.

    As the y add up to 1, any number may be taken off ybar.
    """
    return (op.Div(less_average(op, node.y, ct, axis), total),)
