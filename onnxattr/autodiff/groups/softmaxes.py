"""Softmax as a quotient of exponentials, as it is written by hand: y = exp(x) / sum(exp(x))."""

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
from onnxattr.graph.values import ints_of


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


def _rule(axis: int, op: OpBuilder, node: Span, ct: ir.Value) -> Sequence[Cotangent]:
    """That of a model's last softmax: the rules of the nodes subtract what is nearly equal where y is close to 1."""
    return (softmax_ct(op, node.y, ct, axis),)
