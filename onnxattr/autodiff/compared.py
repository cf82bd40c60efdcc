"""Rules that ask which elements are those that an operator chose, in half precision.

ONNX Runtime's CPU provider has half-precision kernels of few operators. Others it computes in float32, and rounds what
they give only for the operators that have a kernel. So a Clip may read rounded numbers where an Equal beside it reads
those before rounding, and no element of what was clipped is equal to one of what came in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView, attributes_of
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import HALVES


def compared_in_float32(rule: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
    """A rule that compares a node's first output with its inputs, where they are of half precision in float32.

    The node is computed once more, of the very float32 numbers that are compared with what it gives.
    """

    @functools.wraps(rule)
    def wide(op: OpBuilder, node: NodeView, ct: Any) -> Sequence[Any]:
        if node.x.dtype not in HALVES:
            return rule(op, node, ct)
        inputs = tuple(_widened(op, value) for value in node.inputs)
        with op.primal():
            y = op.node(node.op_type, inputs, attributes_of(node))
        y.shape = node.y.shape
        cts = tuple(_widened(op, value) for value in node.cts)
        seen = replace(node, inputs=inputs, outputs=(y, *node.outputs[1:]), cts=cts)
        entries = rule(op, seen, cts[0])
        return [_back(op, entry, value) for entry, value in zip(entries, node.inputs, strict=False)]

    return wide


def _widened(op: OpBuilder, value: ir.Value | None) -> ir.Value | None:
    """A value of half precision in float32; others as they are."""
    return value if value is None or value.dtype not in HALVES else op.cast(value, ir.DataType.FLOAT)


def _back(op: OpBuilder, entry: Any, value: ir.Value | None) -> Any:
    """An entry of a rule in the type of the input that it is for."""
    if value is None or value.dtype not in HALVES:
        return entry
    if isinstance(entry, ir.Value):
        return op.cast(entry, value.dtype)
    return (lambda: op.cast(entry(), value.dtype)) if callable(entry) else entry
