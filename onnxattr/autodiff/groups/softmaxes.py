"""Softmax as it is written by hand: a quotient of exponentials, or the exponential of a difference of logarithms."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.groups.matching import both_ways, made_by
from onnxattr.autodiff.groups.registry import Group, group
from onnxattr.autodiff.node import Span
from onnxattr.autodiff.registry import Cotangent
from onnxattr.autodiff.rules.saturated import softmax_ct
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of, ints_of


@group("Div", "Mul")
def softmax(node: ir.Node) -> Group | None:
    """y = exp(x) / s, or exp(x) * (1 / s), with s = sum(exp(x)) along one axis."""
    for powers, other in both_ways(node):
        exponential, nodes, divisor = made_by(powers, "Exp"), {node}, other
        if node.op_type == "Mul":
            inverse = made_by(other, "Reciprocal")
            if inverse is None or inverse.inputs[0] is None:
                continue
            nodes.add(inverse)
            divisor = inverse.inputs[0]
        elif node.inputs[0] is not powers:
            return None
        total = made_by(divisor, "ReduceSum")
        if exponential is None or total is None or total.inputs[0] is not powers:
            continue
        axes = ints_of(total.inputs[1]) if len(total.inputs) > 1 else None
        if axes is not None and len(axes) == 1 and total.attributes.get_int("keepdims", 1) == 1:
            return Group(
                op_type="Softmax",
                inputs=(exponential.inputs[0],),
                outputs=(node.outputs[0],),
                name=node.name or "",
                nodes=frozenset({exponential, total, *nodes}),
                rule=functools.partial(_rule, axes[0]),
            )
    return None


@group("Exp")
def softmax_of_logarithms(node: ir.Node) -> Group | None:
    """y = exp(x - s), with s = log(sum(exp(x))) along one axis."""
    difference = made_by(node.inputs[0], "Sub")
    if difference is None:
        return None
    x, total = difference.inputs
    shaped = made_by(total, "Reshape", "Unsqueeze")
    logarithm = made_by(shaped.inputs[0] if shaped is not None else total, "ReduceLogSumExp")
    if x is None or logarithm is None or logarithm.inputs[0] is not x:
        return None
    axes = ints_of(logarithm.inputs[1]) if len(logarithm.inputs) > 1 else None
    if axes is None or len(axes) != 1 or not _lies_along(axes[0], x, logarithm, shaped):
        return None
    return Group(
        op_type="Softmax",
        inputs=(x,),
        outputs=(node.outputs[0],),
        name=node.name or "",
        nodes=frozenset({node, difference, logarithm, *([] if shaped is None else [shaped])}),
        rule=functools.partial(_rule, axes[0]),
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
